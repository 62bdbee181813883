//! Which values may be shown, and reading them by the names of their fields.

use crate::formats::hasoffers::event::delta_fields;
use crate::formats::hasoffers::fields::{self, FIELDS};
use crate::store::explain::Fact;

/// What stands for a value that may not be shown.
pub const HIDDEN: &str = "hidden";

/// Whether a value may not be shown. Sums and nets are no fields of an event.
fn is_personal(name: &str) -> bool {
    fields::is_personal(name) && !name.starts_with("net_")
}

/// The value as it may be shown.
pub fn shown(name: &str, value: Option<&str>, personal: bool) -> Option<String> {
    value.map(|value| {
        if personal || !is_personal(name) {
            value.to_owned()
        } else {
            HIDDEN.to_owned()
        }
    })
}

/// The value of a field of an event.
pub fn value<'a>(fact: &'a Fact, name: &str) -> Option<&'a str> {
    let position = FIELDS.iter().position(|field| field.name == name)?;
    fact.values[position].as_deref()
}

/// The differences that an adjustment gives, by the names of their fields.
pub fn differences(fact: &Fact) -> Vec<(&'static str, String)> {
    delta_fields()
        .filter_map(|(n, field)| Some((field.name, fact.values[n].clone()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_personal_unless_it_is_known_not_to_be() {
        for name in [
            "ip",
            "user_agent",
            "refer",
            "aff_sub",
            "transaction_id",
            "extra",
        ] {
            assert_eq!(
                shown(name, Some("x"), false).as_deref(),
                Some(HIDDEN),
                "{name}"
            );
            assert_eq!(shown(name, Some("x"), true).as_deref(), Some("x"));
            assert_eq!(shown(name, None, false), None);
        }
        for name in [
            "status",
            "payout",
            "net_payout",
            "session_datetime",
            "offer_id",
        ] {
            assert_eq!(
                shown(name, Some("x"), false).as_deref(),
                Some("x"),
                "{name}"
            );
        }
    }
}
