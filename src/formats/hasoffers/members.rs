//! The members of an event, and those of them that must be right: ids, action, kind.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::event::{Action, Context, Kind};
use super::fields::FIELDS;
use crate::formats::{Reason, Refusal};
use crate::json::{self, MEMBERS_MAX, Scalar};

/// Bytes of an id.
const ID_LENGTH_MAX: usize = 255;

static BY_NAME: LazyLock<FxHashMap<&'static str, usize>> = LazyLock::new(|| {
    FIELDS
        .iter()
        .enumerate()
        .map(|(at, field)| (field.name, at))
        .collect()
});

/// The raw members of an event by what they are; of duplicate keys the last one.
pub struct Members<'a> {
    pub event_id: Option<&'a str>,
    pub tune_event_id: Option<&'a str>,
    pub network_id: Option<&'a str>,
    pub action: Option<&'a str>,
    pub adjust_action: Option<&'a str>,
    pub known: [Option<&'a str>; FIELDS.len()],
    /// At most one more than [`MEMBERS_MAX`]: such an event is refused.
    pub unknown: BTreeMap<Cow<'a, str>, &'a str>,
}

impl<'a> Members<'a> {
    pub fn of(raw: &'a str) -> Members<'a> {
        let mut members = Members {
            event_id: None,
            tune_event_id: None,
            network_id: None,
            action: None,
            adjust_action: None,
            known: [None; FIELDS.len()],
            unknown: BTreeMap::new(),
        };
        for (key, raw) in json::members(raw) {
            match key.as_ref() {
                "event_id" => members.event_id = Some(raw),
                "tune_event_id" => members.tune_event_id = Some(raw),
                "network_id" => members.network_id = Some(raw),
                "action" => members.action = Some(raw),
                "adjust_action" => members.adjust_action = Some(raw),
                name => match BY_NAME.get(name) {
                    Some(at) => members.known[*at] = Some(raw),
                    None if members.unknown.len() <= MEMBERS_MAX => {
                        members.unknown.insert(key, raw);
                    }
                    None => {}
                },
            }
        }
        members
    }

    /// An id, `None` where it is blank.
    pub fn id(
        &self,
        raw: Option<&'a str>,
        reason: Reason,
        name: &str,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        parse_id(raw).map_err(|rule| Refusal::new(reason, format!("{name} {rule}")))
    }

    pub fn network_id(&self, context: &Context<'a>) -> Result<Cow<'a, str>, Refusal> {
        let own = self.id(self.network_id, Reason::NetworkId, "network_id")?;
        match (own, &context.network_id) {
            (Some(own), Some(envelope)) if own != *envelope => Err(Refusal::new(
                Reason::NetworkMismatch,
                "network_id is not the envelope's",
            )),
            (Some(own), _) => Ok(own),
            (None, Some(envelope)) => Ok(envelope.clone()),
            (None, None) => context.source_network_id.clone().ok_or_else(|| {
                Refusal::new(
                    Reason::NetworkMissing,
                    "no network_id in the event, its envelope or the source",
                )
            }),
        }
    }

    pub fn action(&self) -> Result<Action, Refusal> {
        match self.action.map(json::scalar) {
            Some(Scalar::Text(text)) if text.value == "impression" => Ok(Action::Impression),
            Some(Scalar::Text(text)) if text.value == "click" => Ok(Action::Click),
            Some(Scalar::Text(text)) if text.value == "conversion" => Ok(Action::Conversion),
            _ => Err(Refusal::new(
                Reason::Action,
                "action is not impression, click or conversion",
            )),
        }
    }

    pub fn kind(&self) -> Result<Kind, Refusal> {
        let word = match self.adjust_action.map(json::scalar) {
            None | Some(Scalar::Null) => Cow::Borrowed(""),
            Some(Scalar::Text(text)) => Cow::Owned(text.value.trim().to_ascii_lowercase()),
            Some(Scalar::Number(number)) => {
                json::plain_number(number).unwrap_or(Cow::Borrowed("?"))
            }
            Some(Scalar::Bool(_) | Scalar::Nested) => Cow::Borrowed("?"),
        };
        match word.as_ref() {
            "" => Ok(Kind::Standard),
            "1" | "create" => Ok(Kind::Create),
            "2" | "update" => Ok(Kind::Update),
            _ => Err(Refusal::new(
                Reason::AdjustAction,
                "adjust_action is not create (1) or update (2)",
            )),
        }
    }
}

/// An id as text, `None` where it is blank. Never repaired: that could make two ids equal.
///
/// # Errors
/// The rule that it breaks, to be read after the field's name.
pub fn parse_id(raw: Option<&str>) -> Result<Option<Cow<'_, str>>, &'static str> {
    let id = match raw.map(json::scalar) {
        None | Some(Scalar::Null) => return Ok(None),
        Some(Scalar::Number(number)) => json::plain_number(number)
            .filter(|plain| !plain.contains('.'))
            .ok_or("is a number, but no integer")?,
        Some(Scalar::Text(text)) if text.repaired => return Err("holds a NUL or a lone surrogate"),
        Some(Scalar::Text(text)) => match text.value {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
            Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
        },
        Some(Scalar::Bool(_) | Scalar::Nested) => return Err("is neither text nor an integer"),
    };
    if id.is_empty() {
        return Ok(None);
    }
    if id.len() > ID_LENGTH_MAX {
        return Err("is longer than 255 bytes");
    }
    if id
        .chars()
        .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
    {
        return Err("holds a control or replacement character");
    }
    Ok(Some(id))
}
