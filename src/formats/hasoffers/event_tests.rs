use proptest::prelude::*;
use serde_json::value::RawValue;

use super::super::value::Moment;
use std::collections::HashMap;

use super::*;
use crate::amount::Amount;

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
fn the_kind_is_told_by_adjust_action() {
    for (raw, kind) in [
        ("null", Kind::Standard),
        ("\"\"", Kind::Standard),
        ("1", Kind::Create),
        ("1.0", Kind::Create),
        ("\"1\"", Kind::Create),
        ("\"Create\"", Kind::Create),
        ("2", Kind::Update),
        ("\"2\"", Kind::Update),
        ("\"UPDATE\"", Kind::Update),
    ] {
        let text = click(&format!(r#""adjust_action":{raw}"#));
        assert_eq!(parsed(&text).kind, kind, "{raw}");
    }
    assert_eq!(
        parsed(r#"{"event_id":"e","action":"click"}"#).kind,
        Kind::Standard
    );
    for raw in ["0", "3", "12", "\"delete\"", "true", "[]", "{}", "1e999"] {
        let text = click(&format!(r#""adjust_action":{raw}"#));
        assert_eq!(reason(&text), Reason::AdjustAction, "{raw}");
    }
}

#[test]
fn an_event_is_an_object_with_an_action() {
    for raw in ["5", "null", "\"event\"", "[{}]"] {
        assert_eq!(reason(raw), Reason::NotAnObject, "{raw}");
    }
    for action in ["impression", "click", "conversion"] {
        let text = format!(r#"{{"event_id":"e","action":"{action}"}}"#);
        assert_eq!(parsed(&text).action.as_str(), action);
    }
    for raw in [
        "\"install\"",
        "\"\"",
        "null",
        "1",
        "\"Click\"",
        "[\"click\"]",
    ] {
        let text = format!(r#"{{"event_id":"e","action":{raw}}}"#);
        assert_eq!(reason(&text), Reason::Action, "{raw}");
    }
    assert_eq!(reason(r#"{"event_id":"e"}"#), Reason::Action);
}

#[test]
fn an_id_is_text_or_an_integer() {
    let longest = "é".repeat(127) + "x";
    for (raw, id) in [
        ("\"a\"", "a"),
        ("1029", "1029"),
        ("1029.0", "1029"),
        ("1e3", "1000"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("\"1.5\"", "1.5"),
        ("\" a b \"", "a b"),
        ("\"\\u00e9\\\"\"", "é\""),
        (&format!("\"{longest}\""), &longest),
    ] {
        let text = format!(r#"{{"event_id":{raw},"tune_event_id":{raw},"action":"click"}}"#);
        let event = parsed(&text);
        assert_eq!(event.event_id, id);
        assert_eq!(event.tune_event_id.as_deref(), Some(id));
    }
    let too_long = format!("\"{}\"", "é".repeat(128));
    for raw in [
        "1.5",
        "true",
        "[]",
        "{}",
        "\"a\\u0000\"",
        "\"a\\n b\"",
        "\"\\ud800\"",
        "\"\\ufffd\"",
        "\"\\u009f\"",
        &too_long,
    ] {
        let event_id = format!(r#"{{"event_id":{raw},"action":"click"}}"#);
        assert_eq!(reason(&event_id), Reason::EventId, "{raw}");
        let tune_event_id = click(&format!(r#""tune_event_id":{raw}"#));
        assert_eq!(reason(&tune_event_id), Reason::TuneEventId, "{raw}");
    }
    for blank in ["null", "\"\"", "\"  \""] {
        let event_id = format!(r#"{{"event_id":{blank},"action":"click"}}"#);
        assert_eq!(reason(&event_id), Reason::EventId, "{blank}");
        let tune_event_id = click(&format!(r#""tune_event_id":{blank}"#));
        assert_eq!(parsed(&tune_event_id).tune_event_id, None, "{blank}");
        assert_eq!(parsed(&tune_event_id).record_id(), "e", "{blank}");
    }
    assert_eq!(reason(r#"{"action":"click"}"#), Reason::EventId);
}

#[test]
fn the_network_is_the_events_or_its_envelopes() {
    let own = click(r#""network_id":12"#);
    assert_eq!(parse(&own, &Context::default()).unwrap().network_id, "12");
    assert_eq!(parse(&own, &network("12")).unwrap().network_id, "12");
    assert_eq!(reason(&own), Reason::NetworkMismatch);
    assert_eq!(reason(&click(r#""network_id":[]"#)), Reason::NetworkId);
    for blank in ["null", "\"\""] {
        let text = click(&format!(r#""network_id":{blank}"#));
        assert_eq!(parsed(&text).network_id, "n");
        let bad = parse(&text, &Context::default()).unwrap_err();
        assert_eq!(bad.refusal.reason, Reason::NetworkMissing);
    }
}

#[test]
fn a_bad_event_tells_the_ids_that_it_has() {
    let ids = |raw: &str, context: &Context<'_>| {
        let bad = parse(raw, context).unwrap_err();
        (bad.network_id, bad.event_id)
    };
    let known = (Some("n".to_owned()), Some("e".to_owned()));
    assert_eq!(ids(&click(r#""num":"x""#), &network("n")), known);
    let own = click(r#""num":"x","network_id":"n""#);
    assert_eq!(ids(&own, &Context::default()), known);
    assert_eq!(ids(&click(r#""network_id":"o""#), &network("n")), known);
    assert_eq!(ids("5", &Context::default()), (None, None));
    assert_eq!(ids(r#"{"event_id":[]}"#, &Context::default()), (None, None));
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
fn text_that_postgres_cannot_hold_is_repaired_and_counted() {
    let text = click(
        r#""note":"a\u0000b","ip":"\ud83d","aff_sub":"\ud83d\ude00","new":["\u0000","\udc00x"]"#,
    );
    let event = parsed(&text);
    assert_eq!(*value(&event, "note"), Value::Text("a\u{fffd}b".into()));
    assert_eq!(*value(&event, "ip"), Value::Text("\u{fffd}".into()));
    assert_eq!(*value(&event, "aff_sub"), Value::Text("\u{1f600}".into()));
    assert_eq!(
        event.extra.as_deref(),
        Some("{\"new\":[\"\u{fffd}\",\"\u{fffd}x\"]}")
    );
    assert_eq!(event.repaired, 4);
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
