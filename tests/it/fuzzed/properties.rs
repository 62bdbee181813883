//! What must hold for every input, as functions that panic where it does not. `make fuzz` runs them as well.

use std::collections::BTreeMap;

use hydrant::formats::hasoffers::Body;
use hydrant::formats::hasoffers::event::{Context, parse};
use hydrant::formats::hasoffers::fields::FIELDS;
use hydrant::formats::value::Type;
use hydrant::store::batch::{Batch, Origin};
use serde_json::value::RawValue;

/// What a body may inflate to here.
const MAX_BYTES: usize = 1 << 20;
/// Inputs beyond this tell nothing new.
const INPUT_MAX: usize = 64 << 10;

/// Other orders of its keys that an event is tried in.
const ORDERS: usize = 8;

/// The decoder takes any bytes as a body, and as an event between others. It never panics, nothing is lost on the way, what it
/// opens stays below its limit, and the neighbours of a bad event survive.
pub fn decoder(bytes: &[u8]) {
    if bytes.len() > INPUT_MAX {
        return;
    }
    if let Ok(body) = Body::open(bytes, MAX_BYTES, Some("n")) {
        assert!(body.len() <= MAX_BYTES, "{} bytes were opened", body.len());
        let raw = body.raw_events().count();
        let decoded = read(body);
        let outcomes = decoded.facts().len() + decoded.rejects().len();
        assert_eq!(outcomes, raw, "an event has no outcome");
        assert!(
            decoded
                .rejects()
                .iter()
                .all(|reject| !reject.payload.is_empty())
        );
    }
    if let Ok(event) = serde_json::from_slice::<&RawValue>(bytes) {
        among_others(event.get());
    }
}

/// Whatever JSON stands between two good events does not touch them.
fn among_others(event: &str) {
    let good = |id: &str| format!(r#"{{"event_id":"{id}","action":"click","offer_id":7}}"#);
    let (first, last) = (good("first"), good("last"));
    let text = format!(r#"{{"network_id":"n","data":[{first},{event},{last}]}}"#);
    let body = Body::open(text.as_bytes(), MAX_BYTES, None).expect("the envelope is right");
    let batch = read(body);
    assert_eq!(batch.facts().len() + batch.rejects().len(), 3, "{text}");
    let ids: Vec<&str> = batch
        .facts()
        .iter()
        .map(|fact| batch.event_id(fact))
        .collect();
    assert_eq!(
        (ids.first(), ids.last()),
        (Some(&"first"), Some(&"last")),
        "{text}"
    );
    for reject in batch.rejects() {
        assert_eq!(reject.payload, event.trim().as_bytes(), "its very bytes");
    }
}

fn read(mut body: Body) -> Batch {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    assert!(body.read_into(&mut batch, 0, "message"));
    batch
}

/// An event has one content hash however it is written: its keys in any order and spelling, white space, blanks that say
/// nothing, whole numbers as text.
pub fn canonical(bytes: &[u8]) {
    if bytes.len() > INPUT_MAX {
        return;
    }
    // Of a key that comes twice this keeps the last, as the decoder does.
    let Ok(members) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(bytes) else {
        return;
    };
    let members: Vec<(&str, &str)> = members.iter().map(|(k, v)| (k.as_str(), v.get())).collect();
    let as_it_came = outcome(std::str::from_utf8(bytes).expect("JSON is UTF-8"));
    for order in 0..ORDERS {
        let members = reordered(&members, order);
        assert_eq!(
            outcome(&written(&members, key)),
            as_it_came,
            "order {order}"
        );
    }
    assert_eq!(
        outcome(&written(&members, escaped)),
        as_it_came,
        "keys with escapes"
    );
    assert_eq!(outcome(&spaced(&members)), as_it_came, "white space");
    assert_eq!(outcome(&with_blanks(&members)), as_it_came, "blanks");
    if as_it_came.is_ok() {
        let quoted: Vec<_> = members
            .iter()
            .map(|(name, raw)| (*name, quoted(name, raw)))
            .collect();
        let quoted: Vec<_> = quoted
            .iter()
            .map(|(name, raw)| (*name, raw.as_str()))
            .collect();
        assert_eq!(
            outcome(&written(&quoted, key)),
            as_it_came,
            "numbers as text"
        );
    }
}

/// Begun somewhere else, and every other time backwards.
fn reordered<'a>(members: &[(&'a str, &'a str)], order: usize) -> Vec<(&'a str, &'a str)> {
    let mut members = members.to_vec();
    let begin = members.len() * order / ORDERS;
    members.rotate_left(begin);
    if order.is_multiple_of(2) {
        members.reverse();
    }
    members
}

/// The content hash of an event, or why it is refused.
fn outcome(event: &str) -> Result<[u8; 16], String> {
    let context = Context {
        network_id: Some("n".into()),
        ..Context::default()
    };
    let event = parse(event.trim(), &context).map_err(|bad| bad.refusal.reason.to_string())?;
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    let origin = Origin {
        delivery: 0,
        event: 0,
    };
    batch.push(&event, origin);
    Ok(batch.facts()[0].content_hash)
}

fn key(name: &str) -> String {
    serde_json::to_string(name).expect("text is JSON")
}

/// The key with its first letter as an escape.
fn escaped(name: &str) -> String {
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => {
            let rest = key(&name[1..]);
            format!("\"\\u{:04X}{}", u32::from(first), &rest[1..])
        }
        _ => key(name),
    }
}

fn written(members: &[(&str, &str)], key: fn(&str) -> String) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, raw)| format!("{}:{raw}", key(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn spaced(members: &[(&str, &str)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(n, raw)| format!("\t{} :\n {raw}\r\n ", key(n)))
        .collect();
    format!("{{ {} }}", members.join(" ,"))
}

/// With each known field that is missing as null or as an empty text.
fn with_blanks(members: &[(&str, &str)]) -> String {
    let missing = FIELDS
        .iter()
        .filter(|field| members.iter().all(|(name, _)| *name != field.name));
    let blanks = missing
        .enumerate()
        .map(|(n, field)| (field.name, ["null", "\"\""][n % 2]));
    let all: Vec<_> = members.iter().copied().chain(blanks).collect();
    written(&all, key)
}

/// A whole number of a known field as text.
fn quoted(name: &str, raw: &str) -> String {
    let is_known = FIELDS
        .iter()
        .any(|field| field.name == name && matches!(field.kind, Type::BigInt | Type::Amount));
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let is_whole = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_known && is_whole {
        format!("\"{raw}\"")
    } else {
        raw.to_owned()
    }
}
