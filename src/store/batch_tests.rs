use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::formats::hasoffers::Body;
use crate::formats::hasoffers::fields::Class;

/// The one fact of a body.
fn fact_of(body: &str) -> Fact {
    let mut batch = Batch::new(10, 1 << 20);
    let mut body = Body::open(body.as_bytes(), 1 << 20, None).unwrap();
    assert!(body.read_into(&mut batch, 0, "message"));
    assert_eq!(batch.rejects(), []);
    assert_eq!(batch.facts().len(), 1);
    batch.facts()[0].clone()
}

/// The hash of an event of network `n`.
fn hash_of(event: &str) -> [u8; 16] {
    fact_of(&format!(r#"{{"network_id":"n","data":[{event}]}}"#)).content_hash
}

const EVENT: &str = r#"{"event_id":"e","action":"conversion","affiliate_id":1029,"payout":1,"update_stats":true,
    "datetime":"2022-10-03 11:13:52","new":{"a":1,"b":[2]},"note":"x"}"#;

#[test]
fn the_same_content_has_one_hash_however_it_is_written() {
    let same = [
        // The order of keys, white space.
        r#"{"new":{"b":[2],"a":1},"note":"x","datetime":"2022-10-03 11:13:52","update_stats":true,"payout":1,
            "affiliate_id":1029,"action":"conversion","event_id":"e"}"#,
        // Blanks.
        r#"{"event_id":"e","action":"conversion","affiliate_id":1029,"payout":1,"update_stats":true,"num":null,"ip":"",
            "tune_event_id":"","adjust_action":null,"datetime":"2022-10-03 11:13:52","new":{"a":1,"b":[2]},"note":"x",
            "newer":""}"#,
        // Numbers, flags, times and text in other spellings, a repeated key, a repeated network.
        r#"{"event_id":"e","action":"conversion","affiliate_id":"1029","payout":"1.0","update_stats":1,"note":"y",
            "datetime":"2022-10-03T11:13:52.0","new":{"a":1.0,"b":[2e0]},"note":"\u0078","network_id":"n"}"#,
    ];
    for event in same {
        assert_eq!(hash_of(event), hash_of(EVENT), "{event}");
    }
    let envelopes = [
        format!(
            r#"{{"network_id":"n","data":{EVENT},"dispatch_id":"d","dispatch_timestamp":1,"is_test":true}}"#
        ),
        json!({"network_id": "n", "dispatch_timestamp": "2", "data": format!("[{EVENT}]")})
            .to_string(),
    ];
    for envelope in &envelopes {
        assert_eq!(fact_of(envelope).content_hash, hash_of(EVENT), "{envelope}");
    }
}

#[test]
fn every_part_of_the_identity_counts() {
    let base = json!({"event_id": "e", "action": "click", "network_id": "n"});
    let hash = |changed: &[(&str, &str)]| {
        let mut event = base.clone();
        for (name, value) in changed {
            event[name] = json!(value);
        }
        fact_of(&json!({ "data": [event] }).to_string()).content_hash
    };
    let hashes = [
        hash(&[]),
        hash(&[("event_id", "f")]),
        hash(&[("network_id", "m")]),
        hash(&[("action", "impression")]),
        hash(&[("tune_event_id", "e")]),
        hash(&[("adjust_action", "create")]),
        hash(&[("adjust_action", "update")]),
        // Lengths keep neighbours apart.
        hash(&[("aff_sub", "ab")]),
        hash(&[("aff_sub", "a"), ("aff_sub2", "b")]),
        hash(&[("aff_sub2", "ab")]),
        hash(&[("unknown", "ab")]),
    ];
    let different: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len());
}

#[test]
fn the_role_and_partition_follow_from_kind_and_action() {
    let role = |members: &str| {
        let event = format!(r#"{{"event_id":"e","date":"2022-10-03",{members}}}"#);
        fact_of(&format!(r#"{{"network_id":"n","data":{event}}}"#)).role
    };
    let original = |partition_day| Role::Original { partition_day };
    let day = Day::parse("2022-10-03").unwrap();
    assert_eq!(role(r#""action":"click""#), original(day));
    assert_eq!(
        role(r#""action":"impression","adjust_action":1"#),
        original(day)
    );
    assert_eq!(role(r#""action":"conversion""#), original(Day::CONVERSIONS));
    assert_eq!(
        role(r#""action":"conversion","adjust_action":"create""#),
        original(Day::CONVERSIONS)
    );
    for action in ["impression", "click", "conversion"] {
        assert_eq!(
            role(&format!(r#""action":"{action}","adjust_action":2"#)),
            Role::Adjustment
        );
    }
}

/// Two different values that fit a field, and the first of them in another spelling.
fn values(kind: Type, n: u16) -> (Json, Json, Json) {
    let (n, next) = (i64::from(n % 30_000), i64::from(n % 30_000) + 1);
    let (minute, day) = (n % 60, n % 28 + 1);
    match kind {
        Type::BigInt | Type::Integer | Type::SmallInt => {
            (json!(n), json!(next), json!(n.to_string()))
        }
        Type::Boolean => (json!(true), json!(false), json!("1")),
        Type::Date => (
            json!(format!("2022-10-{day:02}")),
            json!(format!("2022-11-{day:02}")),
            json!(format!("2022-10-{day:02} ")),
        ),
        Type::Timestamp => (
            json!(format!("2022-10-{day:02} 00:{minute:02}:00")),
            json!(format!("2022-10-{day:02} 00:{minute:02}:00.000001")),
            json!(format!("2022-10-{day:02}T00:{minute:02}:00.000")),
        ),
        Type::Amount => (
            json!(format!("{n}.5")),
            json!(format!("{n}.500000000001")),
            json!(format!("{n}.50")),
        ),
        Type::Text | Type::Key => (json!(n.to_string()), json!(format!("{n} ")), json!(n)),
    }
}

proptest! {
    #[test]
    fn any_changed_value_changes_the_hash(
        fields in proptest::collection::btree_map(0..FIELDS.len(), any::<u16>(), 1..20),
        pick in any::<proptest::sample::Index>(),
    ) {
        let mut event = Map::from_iter([("event_id".to_owned(), json!("e")), ("action".to_owned(), json!("click"))]);
        for (at, n) in &fields {
            event.insert(FIELDS[*at].name.to_owned(), values(FIELDS[*at].kind, *n).0);
        }
        let hash = |event: &Map<String, Json>| hash_of(&Json::from(event.clone()).to_string());
        let before = hash(&event);
        let at = *fields.keys().nth(pick.index(fields.len())).unwrap();
        let (_, other, same) = values(FIELDS[at].kind, fields[&at]);
        let name = FIELDS[at].name;
        // A value that does not fit these is refused.
        let refused = FIELDS[at].class == Class::Delta || name == "adjustment_sequence_id";
        let misfit = if refused { json!("") } else { json!({"no": "fit"}) };
        for (value, is_same) in [(same, true), (other, false), (json!(""), false), (misfit, false)] {
            event.insert(name.to_owned(), value.clone());
            prop_assert_eq!(hash(&event) == before, is_same, "{} = {}", name, value);
        }
    }
}
