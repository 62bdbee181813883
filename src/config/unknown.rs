//! What somebody may have meant by a key that does not exist.

use super::keys;

pub const TABLES: &str = "[database], [retention], [admin], [log] and [source.NAME]";

pub fn is_below(key: &str, table: &str) -> bool {
    key.strip_prefix(table)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The nearest key as `write` puts it, or what there is in its place.
pub fn hint(key: &str, known: &[String], write: fn(&str) -> String) -> String {
    let mut candidates = known.to_vec();
    if let [_, name, _] = key.split('.').collect::<Vec<_>>()[..] {
        candidates.extend(keys::of_source(name));
    }
    if let Some(nearest) = nearest(key, &candidates) {
        let at_the_top = if key.contains('.') && !nearest.contains('.') {
            " It stands before the first [table]"
        } else {
            ""
        };
        return format!("did you mean {}?{at_the_top}", write(nearest));
    }
    let mut table = key;
    while let Some((above, _)) = table.rsplit_once('.') {
        table = above;
        let keys = known.iter().filter(|known| is_below(known, table));
        let keys: Vec<String> = keys.map(|known| write(known)).collect();
        if !keys.is_empty() {
            return format!("there are {}", keys.join(", "));
        }
    }
    format!("there are the tables {TABLES}, and before them shutdown_secs and max_inflight_bytes")
}

/// A key that differs by a slip of the hand, else one of the same name in another table.
fn nearest<'a>(key: &str, candidates: &'a [String]) -> Option<&'a str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |candidate: &str| strsim::osa_distance(key, candidate);
    let slip = candidates
        .iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    let namesake = || {
        candidates
            .iter()
            .find(|candidate| last(candidate) == last(key))
    };
    slip.or_else(namesake).map(String::as_str)
}
