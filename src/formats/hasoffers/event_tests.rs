use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::amount::Amount;
use crate::formats::value::Moment;

#[path = "members_tests.rs"]
mod members;

/// TUNE's published sample of a create.
const SAMPLE: &str = include_str!("../../../tests/fixtures/hasoffers/create.json");

fn network(id: &str) -> Context<'_> {
    Context {
        network_id: Some(id.into()),
        dispatch_timestamp: Some(7),
        ..Context::default()
    }
}

/// A click of network `n` with these members, too.
fn click(members: &str) -> String {
    format!(r#"{{"event_id":"e","action":"click",{members}}}"#)
}

fn parsed(raw: &str) -> Event<'_> {
    parse(raw, &network("n")).unwrap_or_else(|bad| panic!("{bad:?} for {raw}"))
}

fn reason(raw: &str) -> Reason {
    parse(raw, &network("n")).unwrap_err().refusal.reason
}

fn value<'a>(event: &'a Event<'_>, name: &str) -> &'a Value<'a> {
    let at = FIELDS.iter().position(|field| field.name == name);
    &event.values[at.unwrap_or_else(|| panic!("{name} is no known field"))]
}

fn day(members: &str) -> String {
    parsed(&click(members)).event_day.to_string()
}

#[test]
fn the_published_sample_lands_field_by_field() {
    let event = parse(SAMPLE.trim(), &Context::default()).unwrap();
    assert_eq!(event.network_id, "demo");
    assert_eq!(event.event_id, "a6f0653c-ace9-4e63-bfaf-8c953d30fb99");
    assert_eq!(event.record_id(), "adc6c18f-5d50-4a0f-a8cc-ff63f06b6336");
    assert_eq!(
        (event.action, event.kind),
        (Action::Conversion, Kind::Create)
    );
    assert_eq!(event.event_day.to_string(), "2022-10-03");
    assert_eq!((event.extra, event.misfits, event.repaired), (None, 0, 0));
    let amount = |text| Value::Amount(Amount::parse(text).unwrap());
    let text = |text| Value::Text(Cow::Borrowed(text));
    let filled = [
        ("adjustment_sequence_id", Value::Int(16_648_208_123_366)),
        ("adjustment_timestamp", Value::Int(1_664_820_812)),
        ("created_timestamp", Value::Int(1_664_810_032)),
        ("offer_id", Value::Int(1)),
        ("affiliate_id", Value::Int(1029)),
        ("affiliate_manager_id", Value::Int(1)),
        ("conversion_id", Value::Int(923_242)),
        ("status_code", Value::Int(52)),
        ("hour", Value::Int(11)),
        ("created_from_adjustment", Value::Bool(true)),
        ("update_stats", Value::Bool(true)),
        ("date", Value::Date(Day::parse("2022-10-03").unwrap())),
        (
            "datetime",
            Value::Timestamp(Moment::parse("2022-10-03 11:13:52").unwrap()),
        ),
        ("num", amount("1")),
        ("payout", amount("1")),
        ("payout_cents", amount("1")),
        ("current_payout", amount("1")),
        ("revenue", amount("2")),
        ("revenue_cents", amount("2")),
        ("current_revenue", amount("2")),
        ("sale_amount", amount("0")),
        ("sale_cents", amount("0")),
        ("status", text("approved")),
        ("timezone", text("America/New_York")),
        ("currency", text("EUR")),
        ("country_code", text("INT")),
        ("payout_type", text("cpa_flat")),
        ("revenue_type", text("cpa_flat")),
    ];
    let zero = "advertiser_id advertiser_manager_id goal_id creative_url_id offer_file_id ad_campaign_id \
                ad_campaign_creative_id customer_id browser_id";
    let filled: HashMap<_, _> = zero
        .split_whitespace()
        .map(|name| (name, Value::Int(0)))
        .chain(filled)
        .collect();
    for (field, found) in FIELDS.iter().zip(&event.values) {
        let expected = filled.get(field.name).unwrap_or(&Value::Null);
        assert_eq!(found, expected, "{}", field.name);
    }
    // The rest of its 72 members are the five of the identity and empty texts.
    let members = json::members(SAMPLE.trim()).count();
    let empty = json::members(SAMPLE.trim()).filter(|(_, raw)| *raw == "\"\"");
    assert_eq!(members, 5 + filled.len() + empty.count());
}

#[test]
fn the_day_comes_from_the_event_alone() {
    let (date, datetime) = (
        r#""date":"2022-10-03""#,
        r#""datetime":"2022-10-04 23:59:59""#,
    );
    let created = r#""created_timestamp":1664971199"#;
    assert_eq!(day(&format!("{created},{datetime},{date}")), "2022-10-03");
    assert_eq!(day(&format!("{created},{datetime}")), "2022-10-04");
    assert_eq!(day(created), "2022-10-05");
    assert_eq!(day(r#""created_timestamp":-1"#), "1969-12-31");
    assert_eq!(day(r#""hour":1"#), "1970-01-01");
    // What does not fit is skipped.
    for bad in [
        "\"now\"",
        "\"0001-01-01\"",
        "20221003",
        "\"\"",
        "null",
        "[]",
    ] {
        let text = format!(r#""date":{bad},{datetime}"#);
        assert_eq!(day(&text), "2022-10-04", "{bad}");
        let text = format!(r#""datetime":{bad},{created}"#);
        assert_eq!(day(&text), "2022-10-05", "{bad}");
    }
    for odd in [
        "2022-10-04",
        "2022-10-04 25:00:00",
        " 2022-10-04T00:00:00",
        "2022-10-04 00:00:00Z",
    ] {
        assert_eq!(
            day(&format!(r#""datetime":"{odd}""#)),
            "2022-10-04",
            "{odd}"
        );
    }
    for far in ["1e18", "-1e18", "\"soon\"", "-62135596800"] {
        let text = format!(r#""created_timestamp":{far}"#);
        assert_eq!(day(&text), "1970-01-01", "{far}");
    }
}

#[test]
fn a_sequence_must_be_right() {
    for (raw, value) in [
        ("null", Value::Null),
        ("\"\"", Value::Null),
        ("0", Value::Int(0)),
        ("\"16648208123366\"", Value::Int(16_648_208_123_366)),
        ("9223372036854775807", Value::Int(i64::MAX)),
    ] {
        let text = click(&format!(r#""adjustment_sequence_id":{raw}"#));
        assert_eq!(parsed(&text).values[SEQUENCE], value, "{raw}");
    }
    for raw in [
        "-1",
        "9223372036854775808",
        "1.5",
        "\"first\"",
        "true",
        "[]",
        "\" \"",
    ] {
        let text = click(&format!(r#""adjustment_sequence_id":{raw}"#));
        assert_eq!(reason(&text), Reason::AdjustmentSequenceId, "{raw}");
    }
}

#[test]
fn every_difference_must_be_right_and_no_other_amount() {
    let bad = [
        "\"ten\"",
        "true",
        "[1]",
        "1e15",
        "\"-1000000000000000\"",
        "0.0000000000001",
        "\"NaN\"",
        "\"Infinity\"",
        "\"1,5\"",
        "1e999",
    ];
    for (_, field) in delta_fields() {
        let with = |raw: &str| click(&format!(r#""{}":{raw}"#, field.name));
        for raw in bad {
            assert_eq!(reason(&with(raw)), Reason::Amount, "{} {raw}", field.name);
        }
        for (raw, text) in [
            ("-12.50", "-12.5"),
            ("\"12.50\"", "12.5"),
            ("1e-05", "0.00001"),
            (
                "999999999999999.999999999999",
                "999999999999999.999999999999",
            ),
        ] {
            let amount = Value::Amount(Amount::parse(text).unwrap());
            assert_eq!(*value(&parsed(&with(raw)), field.name), amount, "{raw}");
        }
    }
    for raw in bad {
        let text = click(&format!(r#""current_payout":{raw}"#));
        assert_eq!(parsed(&text).misfits, 1, "{raw}");
    }
}

#[test]
fn blanks_leave_nothing() {
    let names = FIELDS.iter().map(|field| field.name).chain(["unheard_of"]);
    let blanks: Vec<_> = names
        .enumerate()
        .map(|(n, name)| format!(r#""{name}":{}"#, ["null", "\"\""][n % 2]))
        .collect();
    let event = click(&blanks.join(","));
    assert_eq!(
        parsed(&event),
        parsed(r#"{"event_id":"e","action":"click"}"#)
    );
}

#[test]
fn what_does_not_fit_goes_to_extra_in_canonical_form() {
    let text = click(
        r#""zeta" : 1.50, "offer_id":"seven", "hour": 4e9, "date":"now", "ip":["1"], "note":{"b":1,"a":[ 2 ]},
           "alpha":"x\/y", "none":"", "huge":1e999"#,
    );
    let event = parsed(&text);
    let extra = r#"{"alpha":"x/y","date":"now","hour":4000000000,"huge":"1e999","ip":["1"],"note":{"a":[2],"b":1},"offer_id":"seven","zeta":1.5}"#;
    assert_eq!(event.extra.as_deref(), Some(extra));
    assert_eq!(event.misfits, 5);
    for name in ["offer_id", "hour", "date", "ip", "note"] {
        assert_eq!(*value(&event, name), Value::Null, "{name}");
    }
}

#[test]
fn an_event_may_be_32_levels_deep() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for name in ["unknown", "note"] {
        let deepest = click(&format!(r#""{name}":{}"#, nested(31)));
        assert_eq!(
            parsed(&deepest).extra,
            Some(format!(r#"{{"{name}":{}}}"#, nested(31)))
        );
        let too_deep = click(&format!(r#""{name}":{}"#, nested(32)));
        assert_eq!(reason(&too_deep), Reason::Depth);
    }
}

#[test]
fn an_event_or_a_field_of_it_may_have_10_000_members() {
    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!(r#""m{n}":1"#)).collect();
        members.join(",")
    };
    let top = |count| click(&members(count));
    let nested = |count| click(&format!(r#""new":[{{{}}}]"#, members(count)));
    for text in [top(10_000), nested(10_000)] {
        assert!(parsed(&text).extra.is_some());
    }
    for text in [top(10_001), top(30_000), nested(10_001)] {
        let bad = parse(&text, &network("n")).unwrap_err();
        assert_eq!(bad.refusal.reason, Reason::TooLarge);
        assert_eq!(bad.event_id.as_deref(), Some("e"));
    }
    // It is the different ones that count.
    let repeated = click(&format!(r#"{0},{0},"m0":2"#, members(10_000)));
    assert!(parsed(&repeated).extra.unwrap().starts_with(r#"{"m0":2,"#));
}

#[test]
fn fields_without_a_column_may_take_16_mib() {
    let of_length = |length: usize| {
        click(&format!(
            r#""z":"{}""#,
            "a".repeat(length - r#"{"z":""}"#.len())
        ))
    };
    let most = parsed(&of_length(EXTRA_LENGTH_MAX)).extra.unwrap();
    assert_eq!(most.len(), EXTRA_LENGTH_MAX);
    assert_eq!(reason(&of_length(EXTRA_LENGTH_MAX + 1)), Reason::TooLarge);
    assert_eq!(reason(&of_length(EXTRA_LENGTH_MAX + 2)), Reason::TooLarge);
}

#[test]
fn text_that_postgres_cannot_hold_is_repaired_and_counted() {
    let text = click(
        r#""note":"a\u0000b","ip":"\ud83d","aff_sub":"\ud83d\ude00","new":["\u0000","\udc00x","\u0000"]"#,
    );
    let event = parsed(&text);
    assert_eq!(*value(&event, "note"), Value::Text("a\u{fffd}b".into()));
    assert_eq!(*value(&event, "ip"), Value::Text("\u{fffd}".into()));
    assert_eq!(*value(&event, "aff_sub"), Value::Text("\u{1f600}".into()));
    assert_eq!(
        event.extra.as_deref(),
        Some("{\"new\":[\"\u{fffd}\",\"\u{fffd}x\",\"\u{fffd}\"]}")
    );
    assert_eq!(event.repaired, 5);
}

#[test]
fn of_duplicate_keys_the_last_wins() {
    let text = r#"{"event_id":[],"action":"install","num":"x","note":"a","z":1,
                   "z":2,"note":"b","num":1,"action":"click","event_id":"e","n\u006fte":""}"#;
    let event = parsed(text);
    assert_eq!(
        (event.event_id.as_ref(), event.action),
        ("e", Action::Click)
    );
    assert_eq!(*value(&event, "num"), Value::Amount(Amount::ONE));
    assert_eq!(*value(&event, "note"), Value::Null);
    assert_eq!(event.extra.as_deref(), Some(r#"{"z":2}"#));
}

proptest! {
    /// Whatever JSON stands in an event, it is understood or refused, and what is kept in `extra` is JSON.
    #[test]
    fn no_value_is_too_odd(values in proptest::collection::vec((0..FIELDS.len() + 5, json_value()), 0..8)) {
        let names = ["event_id", "tune_event_id", "action", "adjust_action", "other"];
        let members: Vec<_> = values.iter().map(|(at, value)| {
            let name = FIELDS.get(*at).map_or_else(|| names[at - FIELDS.len()], |field| field.name);
            format!("\"{name}\":{value}")
        }).collect();
        let text = click(&members.join(",")).replace(",}", "}");
        if let Ok(event) = parse(&text, &network("n")) {
            let extra = event.extra.as_deref().unwrap_or("{}");
            prop_assert!(serde_json::from_str::<&RawValue>(extra).is_ok(), "{}", extra);
        }
    }
}

fn json_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,2})(\\.[0-9]{1,14})?(e-?[0-9]{1,4})?",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        Just(r#"{"a":[1,{"b":null}]}"#.to_owned()),
        Just(r#""\ud800\u0000""#.to_owned()),
        Just(r#""2022-10-03 11:13:52""#.to_owned()),
    ]
}
