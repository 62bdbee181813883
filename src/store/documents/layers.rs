//! What the versions of one key come to. Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// What a delivery says of its thing. Whatever order they come in, deliveries lie one over the other like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum Layer {
    /// A whole state. Of several the latest counts.
    Base = 0,
    /// A whole state as another feed has it: over the base, field by field.
    Upper = 1,
    /// Some fields. All updates count, in their order; they make no thing that there is no whole state of.
    Update = 2,
}

/// One content of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub layer: i16,
    /// The feed's own order.
    pub version: Option<i64>,
    /// What kind of delivery it was.
    pub event_type: String,
    /// Its place among the versions of its key as they were stored, from 1.
    pub nth: i32,
    pub content_hash: Vec<u8>,
}

impl Version {
    /// By the feed's own order, where it has one: then the time of arrival does not matter. What has none comes before, and
    /// the later arrival after the earlier one. Of the same second an update comes after the creation, as their words do:
    /// `offer_created`, `offer_updated`.
    fn rank(&self) -> (Option<i64>, i32, &str, &[u8]) {
        let nth = match self.version {
            Some(_) => 0,
            None => self.nth,
        };
        (self.version, nth, &self.event_type, &self.content_hash)
    }
}

/// The versions that make up the state, the lowest first; none where there is no whole state.
pub fn in_force(versions: &[Version]) -> Vec<&Version> {
    let greatest = |layer: Layer| {
        let of_layer = versions.iter().filter(move |v| v.layer == layer as i16);
        of_layer.max_by_key(|version| version.rank())
    };
    let mut in_force: Vec<&Version> = greatest(Layer::Base)
        .into_iter()
        .chain(greatest(Layer::Upper))
        .collect();
    if in_force.is_empty() {
        return in_force;
    }
    let updates = versions.iter();
    let mut updates: Vec<&Version> = updates
        .filter(|version| version.layer == Layer::Update as i16)
        .collect();
    updates.sort_by_key(|version| version.rank());
    in_force.extend(updates);
    in_force
}

type Object = BTreeMap<String, Box<RawValue>>;

/// Lays JSON objects one over the other: of each member the last one counts. `extra` is laid member by member as well.
///
/// # Errors
/// One is no JSON object.
pub fn laid<'a>(contents: impl IntoIterator<Item = &'a str>) -> serde_json::Result<String> {
    let mut state = Object::new();
    for content in contents {
        for (name, value) in serde_json::from_str::<Object>(content)? {
            let value = match state.get(&name) {
                Some(below) if name == "extra" => joined(below, &value)?,
                _ => value,
            };
            state.insert(name, value);
        }
    }
    serde_json::to_string(&state)
}

fn joined(below: &RawValue, above: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut joined: Object = serde_json::from_str(below.get())?;
    joined.extend(serde_json::from_str::<Object>(above.get())?);
    serde_json::value::to_raw_value(&joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(layer: Layer, version: Option<i64>, nth: i32) -> Version {
        Version {
            layer: layer as i16,
            version,
            event_type: "offer_created".into(),
            nth,
            content_hash: vec![nth as u8],
        }
    }

    fn order(versions: &[Version]) -> Vec<i32> {
        in_force(versions).iter().map(|v| v.nth).collect()
    }

    #[test]
    fn the_latest_whole_states_lie_below_all_updates() {
        use Layer::{Base, Update, Upper};
        let versions = [
            version(Update, Some(20), 1),
            version(Upper, None, 2),
            version(Base, None, 3),
            version(Update, Some(10), 4),
            version(Base, None, 5),
            version(Update, None, 6),
        ];
        assert_eq!(order(&versions), [5, 2, 6, 4, 1]);
        assert!(order(&[versions[0].clone(), versions[3].clone()]).is_empty());
    }

    #[test]
    fn an_order_of_the_feed_counts_and_not_the_arrival() {
        let (newer, older) = (
            version(Layer::Base, Some(2), 1),
            version(Layer::Base, Some(1), 2),
        );
        assert_eq!(
            order(&[newer.clone(), older, version(Layer::Base, None, 3)]),
            [1]
        );
        let mut same_time = version(Layer::Base, Some(2), 3);
        same_time.content_hash = vec![0];
        assert_eq!(order(&[newer.clone(), same_time.clone()]), [1]);
        // An update of the same second is the later one, whatever its hash.
        same_time.event_type = "offer_updated".into();
        assert_eq!(order(&[newer.clone(), same_time.clone()]), [3]);
        assert_eq!(order(&[same_time, newer]), [3]);
    }

    #[test]
    fn values_are_laid_over_each_other_and_keep_their_digits() {
        let below = r#"{"a":1,"extra":{"x":1,"y":[1]},"p":0.30000000000000000004}"#;
        let above = r#"{"a":"2","b":null,"extra":{"x":2}}"#;
        assert_eq!(
            laid([below, above]).unwrap(),
            r#"{"a":"2","b":null,"extra":{"x":2,"y":[1]},"p":0.30000000000000000004}"#
        );
    }
}
