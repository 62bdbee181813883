use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::formats::hasoffers::Body;
use crate::formats::hasoffers::fields::Class;
use crate::formats::value::Type;

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

/// Databases hold these hashes: another one for the same content would make a variant of every event that comes again.
#[test]
fn a_hash_never_changes() {
    let sample = include_str!("../../tests/fixtures/hasoffers/create.json");
    let network = r#""network_id":"n""#;
    let known: Vec<String> = FIELDS
        .iter()
        .enumerate()
        .map(|(at, field)| format!("\"{}\":{}", field.name, values(field.kind, at as u16 + 1).0))
        .collect();
    let known = known.join(",");
    let events = [
        sample.to_owned(),
        EVENT.replacen('{', &format!("{{{network},"), 1),
        r#"{"event_id":"e","action":"click","network_id":7}"#.to_owned(),
        format!(
            r#"{{{network},"event_id":"é\"","tune_event_id":1e3,"action":"impression","adjust_action":2,{known},
                "z":"\u0000\ud83d\ude00","hour":"late","a":{{"b":[1.50,true,null],"a":-1e2}},"long":"{}"}}"#,
            "long ".repeat(100)
        ),
        format!(
            r#"{{{network},"event_id":"e","action":"conversion","adjust_action":"create","num":-1,"payout":-0.000000000001,
                "revenue":999999999999999.999999999999,"sale_amount":"18446744073709.551616","note":"{}","hour":-3,
                "datetime":"1000-01-01T00:00:00.5","session_datetime":"9999-12-31 23:59:59","ip":1.50,"refer":true}}"#,
            "\\\\\\u00e9".repeat(40)
        ),
    ];
    let hashes = events.map(|event| {
        let hash = fact_of(&format!(r#"{{"data":[{event}]}}"#)).content_hash;
        format!("{:032x}", u128::from_be_bytes(hash))
    });
    assert_eq!(
        hashes,
        [
            "a7b40b45b65e4312ddfca0d30b97e5d9",
            "dd45e6c6138ec0e3ad6619f6f3858e75",
            "b79c0ff9d9acb2a44728a728d1193fe4",
            "9e88fe21f4c42ad3ef7164e028446e29",
            "51dd84891ca6ecd4519bdd10f8be7331",
        ]
    );
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
