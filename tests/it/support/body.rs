//! Bodies of messages, and what is in them.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The text of a message with this JSON: base64 of gzip.
pub fn body(json: &str) -> String {
    base64(&gzip(json.as_bytes()))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An envelope of the network `acme` with this `data`.
pub fn envelope(data: &str) -> String {
    format!(
        r#"{{"dispatch_id":"d1","dispatch_timestamp":1760000000,"is_test":0,"network_id":"acme","target_class":"stats","dispatch_class":"event","data":{data}}}"#
    )
}

/// A conversion that pays 1.5 and brings 2.
pub fn conversion(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","action":"conversion","tune_event_id":"record-{id}","status":"approved","date":"2026-03-04","payout":"1.50","revenue":2}}"#
    )
}

pub fn click(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","action":"click","date":"2020-03-04","offer_id":7}}"#)
}

/// A click with so many levels of nesting, itself included.
pub fn nested(id: &str, levels: usize) -> String {
    let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
    format!(r#"{{"event_id":"{id}","action":"click","deep":{open}{close}}}"#)
}
