use super::*;

const EXAMPLE: &str = include_str!("../../../tests/fixtures/recurly/usage.json");

fn example() -> Event {
    read(EXAMPLE.trim()).unwrap()
}

/// The example with one text replaced by another.
fn changed(from: &str, to: &str) -> Event {
    assert!(EXAMPLE.contains(from), "{from}");
    read(EXAMPLE.replace(from, to).trim()).unwrap()
}

#[test]
fn what_happened_is_the_user_the_deed_and_the_time() {
    for (from, to) in [
        ("\"123\"", "\"124\""),
        ("Home Page", "Other Page"),
        ("\"type\": \"page\"", "\"type\": \"track\""),
        ("1630476856", "1630476857"),
        ("8e282c72", "9e282c72"),
        ("\"url_path\": \"/\"", "\"url_path\": \"/a\""),
    ] {
        let other = changed(from, to);
        assert_ne!(other.natural_hash, example().natural_hash, "{to}");
        assert_ne!(other.content_hash, example().content_hash, "{to}");
    }
    for (from, to) in [
        ("\"app_id\"", "\"application\""),
        ("2528a84d8fa8", "another"),
        ("redfast", "other"),
        ("\"use_regex\": false", "\"use_regex\": true"),
        ("gold", "silver"),
        ("Engaged", "Idle"),
        ("Prompt A", "Prompt B"),
        ("1630476856", "1630476856000"),
    ] {
        let other = changed(from, to);
        assert_eq!(other.natural_hash, example().natural_hash, "{to}");
        assert_ne!(other.content_hash, example().content_hash, "{to}");
    }
}

#[test]
fn spelling_makes_no_difference() {
    for (from, to) in [
        ("\"123\"", "123"),
        ("1630476856", "\"1630476856\""),
        ("\"platform\"", "\"zone\": null, \"platform\""),
        ("Home Page", "Home\\u0020Page"),
        (
            "{ \"plan\": \"gold\", \"age\": 31 }",
            "{\"age\":31.0,\"plan\":\"gold\"}",
        ),
    ] {
        let other = changed(from, to);
        assert_eq!(other.content_hash, example().content_hash, "{to}");
        assert_eq!(other.natural_hash, example().natural_hash, "{to}");
    }
}

#[test]
fn an_anonymous_user_is_no_user_of_that_id() {
    let known = read(r#"{"event":"e","user_id":"7"}"#).unwrap();
    let anonymous = read(r#"{"event":"e","user_id":"","anonymous_user_id":"7"}"#).unwrap();
    assert_ne!(known.natural_hash, anonymous.natural_hash);
}

#[test]
fn a_time_is_seconds_or_milliseconds_by_its_size() {
    for (ts, occurred_at) in [
        ("1630476856", Some("2021-09-01 06:14:16+00")),
        ("\"1630476856\"", Some("2021-09-01 06:14:16+00")),
        ("1630476856789", Some("2021-09-01 06:14:16.789+00")),
        ("100000000", Some("1973-03-03 09:46:40+00")),
        ("9999999999", Some("2286-11-20 17:46:39+00")),
        ("9999999999999", Some("2286-11-20 17:46:39.999+00")),
        ("99999999", None),
        ("10000000000", None),
        ("10000000000000", None),
        ("0", None),
        ("-1630476856", None),
        ("9223372036854775807", None),
        ("\"yesterday\"", None),
        ("1630476856.5", None),
        ("null", None),
    ] {
        let event = read(&format!(r#"{{"type":"page","ts":{ts}}}"#)).unwrap();
        let found = event.happened.map(timestamptz);
        assert_eq!(found.as_deref(), occurred_at, "{ts}");
    }
}

#[test]
fn what_has_no_column_or_does_not_fit_is_kept() {
    for (event, row) in [
        (
            r#"{"type":"new kind","activity":"Goal","ts":"soon","user_id":{"a":1}}"#,
            r#"{"extra":{"activity":"Goal","ts":"soon","user_id":{"a":1}},"type":"new kind"}"#,
        ),
        (
            r#"{"event":"e","properties":{"id":7,"values":{},"more":[1.0]},"properties_id":"x"}"#,
            r#"{"event":"e","extra":{"properties.more":[1],"properties_id":"x"},"properties_id":"7","properties_values":{}}"#,
        ),
        (
            r#"{"event":"e","properties":"none","type":"","traits":null}"#,
            r#"{"event":"e","extra":{"properties":"none"}}"#,
        ),
    ] {
        assert_eq!(read(event).unwrap().row, row);
    }
}

#[test]
fn what_is_no_event_is_refused() {
    let deep = format!(
        r#"{{"event":"e","traits":{}{}}}"#,
        "[".repeat(32),
        "]".repeat(32)
    );
    for (event, reason) in [
        ("7", Reason::NotAnObject),
        ("[]", Reason::NotAnObject),
        ("{}", Reason::EventType),
        (
            r#"{"event":"","type":null,"user_id":"1"}"#,
            Reason::EventType,
        ),
        (&deep, Reason::Depth),
    ] {
        assert_eq!(read(event).unwrap_err().reason, reason, "{event}");
    }
}

#[test]
fn who_it_was_and_what_is_known_of_them_may_be_about_a_person() {
    let expected = [
        "user_id",
        "anonymous_user_id",
        "properties_values",
        "traits",
        "segments",
        "paths",
    ];
    assert_eq!(personal().collect::<Vec<_>>(), expected);
}
