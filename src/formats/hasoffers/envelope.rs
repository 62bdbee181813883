//! The envelope: control fields and the raw slices of its events. A record of Kinesis has none: it is one event.

use std::borrow::Cow;

use super::event::Context;
use crate::formats::body::validate;
use crate::formats::id::parse_id;
use crate::formats::{Reason, Refusal};
use crate::json::valid::checked_members;
use crate::json::{self, Scalar};

/// The events of one envelope, to be cut out one after the other.
#[derive(Debug)]
pub struct Envelope<'a> {
    pub context: Context<'a>,
    pub data: Data<'a>,
}

/// Where the events of an envelope stand.
#[derive(Debug, PartialEq)]
pub enum Data<'a> {
    /// Nothing to do.
    Empty,
    /// The raw slice of an array of events.
    Array(&'a str),
    /// The raw slice of one event.
    One(&'a str),
    /// JSON text within a JSON string, to be looked into by [`data`] again.
    Packed(String),
}

/// Reads an envelope, or a bare event: an object with an `event_id`, whatever else it holds, unless it names what only an
/// envelope does. The text is validated here, once and as a whole.
///
/// # Errors
/// What makes the whole body useless: no JSON, no object, a class that is not ours, no events where they should be.
pub fn parse(text: &str) -> Result<Envelope<'_>, Refusal> {
    let mut members = checked_members(text);
    let envelope = read(text.trim_ascii(), &mut members);
    if members.is_valid {
        return envelope;
    }
    // No JSON, or a refusal came before the end.
    let raw = validate(text)?;
    if !raw.starts_with('{') {
        return Err(Refusal::new(
            Reason::NotAnObject,
            "the body is JSON, but not an object",
        ));
    }
    read(raw, &mut json::members(raw))
}

fn read<'a>(
    raw: &'a str,
    members: &mut impl Iterator<Item = (Cow<'a, str>, &'a str)>,
) -> Result<Envelope<'a>, Refusal> {
    let (mut network_id, mut dispatch_timestamp, mut data_raw) = (None, None, None);
    let (mut has_event_id, mut is_dispatched) = (false, false);
    for (key, raw) in members {
        is_dispatched |= matches!(
            key.as_ref(),
            "dispatch_id" | "target_class" | "dispatch_class"
        );
        match key.as_ref() {
            "event_id" => has_event_id = true,
            "network_id" => network_id = Some(raw),
            "dispatch_timestamp" => dispatch_timestamp = Some(raw),
            "data" => data_raw = Some(raw),
            "target_class" => expect_class("target_class", raw, "stats")?,
            "dispatch_class" => expect_class("dispatch_class", raw, "event")?,
            _ => {}
        }
    }
    // An event may have a field `data` of its own: taken for an envelope, an empty one would lose it.
    if has_event_id && (data_raw.is_none() || !is_dispatched) {
        return Ok(Envelope {
            context: Context::default(),
            data: Data::One(raw),
        });
    }
    let network_id = parse_id(network_id.map(json::scalar))
        .map_err(|rule| Refusal::new(Reason::NetworkId, format!("network_id {rule}")))?;
    let context = Context {
        network_id,
        dispatch_timestamp: dispatch_timestamp.and_then(timestamp),
        ..Context::default()
    };
    let data_raw = data_raw.ok_or_else(|| Refusal::new(Reason::DataShape, "data is missing"))?;
    Ok(Envelope {
        context,
        data: data(data_raw)?,
    })
}

/// A future class must not be guessed at; one that is not given is ours.
fn expect_class(name: &'static str, raw: &str, ours: &str) -> Result<(), Refusal> {
    match json::scalar(raw) {
        Scalar::Null => Ok(()),
        Scalar::Text(text) if text.value.is_empty() || text.value == ours => Ok(()),
        _ => Err(Refusal::new(
            Reason::UnsupportedClass,
            format!("{name} is not {ours}"),
        )),
    }
}

/// Where the events are: an array, one event, an object that holds one array, or any of these as JSON text in a string.
///
/// # Errors
/// [`Reason::DataShape`] for anything else.
pub fn data(raw: &str) -> Result<Data<'_>, Refusal> {
    match json::scalar(raw) {
        Scalar::Nested if raw.starts_with('[') => Ok(match json::elements(raw).next() {
            Some(_) => Data::Array(raw),
            None => Data::Empty,
        }),
        Scalar::Nested => object(raw),
        Scalar::Text(text) => match text.value {
            Cow::Borrowed(text) => Ok(Data::Packed(text.to_owned())),
            Cow::Owned(text) => Ok(Data::Packed(text)),
        },
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => Err(Refusal::new(
            Reason::DataShape,
            "data is neither an array nor an object",
        )),
    }
}

/// An object with an `event_id` is an event, whatever else it holds.
fn object(raw: &str) -> Result<Data<'_>, Refusal> {
    let (mut members, mut arrays, mut array) = (0, 0, "");
    for (key, value) in json::members(raw) {
        if key == "event_id" {
            return Ok(Data::One(raw));
        }
        members += 1;
        if value.starts_with('[') {
            arrays += 1;
            array = value;
        }
    }
    match (members, arrays) {
        (0, _) => Ok(Data::Empty),
        (_, 1) => data(array),
        _ => Err(Refusal::new(
            Reason::DataShape,
            "data is an object without event_id that does not hold one array",
        )),
    }
}

/// `None`, which is later than all others, where it is no integer.
fn timestamp(raw: &str) -> Option<i64> {
    let text = match json::scalar(raw) {
        Scalar::Number(number) => Cow::Borrowed(number),
        Scalar::Text(text) => text.value,
        Scalar::Null | Scalar::Bool(_) | Scalar::Nested => return None,
    };
    text.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Reason {
        parse(text).unwrap_err().reason
    }

    #[test]
    fn data_comes_in_four_shapes() {
        let events = |text: &str| format!(r#"{{"network_id":"n","data":{text}}}"#);
        let text = events(r#"[{"event_id":1}]"#);
        assert_eq!(
            parse(&text).unwrap().data,
            Data::Array(r#"[{"event_id":1}]"#)
        );
        let text = events(r#"{"event_id":1,"tags":[1]}"#);
        assert_eq!(
            parse(&text).unwrap().data,
            Data::One(r#"{"event_id":1,"tags":[1]}"#)
        );
        let text = events(r#"{"n":1,"events":[{"event_id":1}]}"#);
        assert_eq!(
            parse(&text).unwrap().data,
            Data::Array(r#"[{"event_id":1}]"#)
        );
        let text = events(r#""[{\"event_id\":1}]""#);
        assert_eq!(
            parse(&text).unwrap().data,
            Data::Packed(r#"[{"event_id":1}]"#.into())
        );
        for empty in ["[]", "{}", "[ ]", r#"{"events":[]}"#] {
            assert_eq!(parse(&events(empty)).unwrap().data, Data::Empty, "{empty}");
        }
        for bad in ["5", "null", "true", r#"{"a":1}"#, r#"{"a":[1],"b":[2]}"#] {
            assert_eq!(reason(&events(bad)), Reason::DataShape, "{bad}");
        }
        assert_eq!(reason(r#"{"network_id":"n"}"#), Reason::DataShape);
    }

    #[test]
    fn an_event_may_come_without_an_envelope() {
        let event = r#"{"network_id":{},"event_id":1,"dispatch_timestamp":5}"#;
        let spaced = format!(" {event}\n");
        let bare = parse(&spaced).unwrap();
        assert_eq!(bare.data, Data::One(event));
        assert_eq!(bare.context, Context::default(), "all is the event's own");
        for data in ["[]", "{}", "null", "5", "\"x\"", r#"[{"event_id":2}]"#] {
            let event = format!(r#"{{"data":{data},"network_id":"n","event_id":1}}"#);
            let bare = parse(&event).unwrap();
            assert_eq!(bare.data, Data::One(&event), "its own field");
            assert_eq!(bare.context, Context::default());
            for dispatched in [
                r#""dispatch_id":"d""#,
                r#""target_class":"stats""#,
                r#""dispatch_class":"event""#,
            ] {
                let envelope =
                    format!(r#"{{"event_id":1,{dispatched},"data":[{{"event_id":2}}]}}"#);
                let inner = Data::Array(r#"[{"event_id":2}]"#);
                assert_eq!(parse(&envelope).unwrap().data, inner, "{dispatched}");
            }
        }
        assert_eq!(reason(r#"{"event_id":1"#), Reason::NotJson);
        assert_eq!(reason(r#"{"event_ids":1}"#), Reason::DataShape);
    }

    #[test]
    fn control_fields_may_be_text_or_number() {
        fn context(text: &str) -> Context<'_> {
            parse(text).unwrap().context
        }
        let both = Context {
            network_id: Some("12".into()),
            dispatch_timestamp: Some(14_395_106_601),
            ..Context::default()
        };
        assert_eq!(
            context(r#"{"network_id":12,"dispatch_timestamp":14395106601,"data":[]}"#),
            both
        );
        assert_eq!(
            context(
                r#"{"data":[],"network_id":" 12","dispatch_timestamp":"14395106601","is_test":1}"#
            ),
            both
        );
        assert_eq!(
            context(r#"{"data":[],"network_id":"","dispatch_timestamp":"soon"}"#),
            Context::default()
        );
        assert_eq!(
            context(r#"{"data":[],"network_id":1,"network_id":12,"dispatch_timestamp":1.5}"#)
                .network_id,
            Some("12".into())
        );
    }

    #[test]
    fn what_is_no_envelope_says_why() {
        assert_eq!(reason(""), Reason::NotJson);
        assert_eq!(reason(r#"{"data": ["#), Reason::NotJson);
        assert_eq!(reason("{} {}"), Reason::NotJson);
        assert_eq!(reason(r#"{"data":[NaN]}"#), Reason::NotJson);
        assert_eq!(reason("[]"), Reason::NotAnObject);
        assert_eq!(reason("5"), Reason::NotAnObject);
        assert_eq!(reason(r#"{"network_id":{},"data":[]}"#), Reason::NetworkId);
        assert_eq!(
            reason(r#"{"target_class":"other","data":[]}"#),
            Reason::UnsupportedClass
        );
        assert_eq!(
            reason(r#"{"dispatch_class":1,"data":[]}"#),
            Reason::UnsupportedClass
        );
        assert!(parse(r#"{"target_class":null,"dispatch_class":"event","data":[]}"#).is_ok());
    }
}
