//! What must be right in an event.

use super::*;

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
