//! `hydrant decode`.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::program::{Finished, run};

/// A body as the queue gives it.
pub fn body(json: &str) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(json.as_bytes()).unwrap();
    STANDARD.encode(gzip.finish().unwrap())
}

fn decode(args: &[&str], input: &[u8]) -> Finished {
    run(&[&["decode"], args].concat(), &[], input)
}

fn document(ended: &Finished) -> Value {
    serde_json::from_slice(&ended.out).unwrap()
}

const MIXED: &str = r#"{
    "dispatch_id": "d-1", "dispatch_timestamp": 14395106601, "is_test": 0, "network_id": "net",
    "target_class": "stats", "dispatch_class": "event",
    "data": [
        {"event_id": "e1", "action": "click", "date": "2026-10-02", "offer_id": "ten", "hour": 7, "colour": "red",
         "user_agent": "a\u0000b", "aff_sub": "", "ip": null},
        {"event_id": "e2", "action": "conversion", "tune_event_id": "t2", "datetime": "2026-10-02 03:04:05.250",
         "payout": "12345678901234.100000000001", "created_from_adjustment": true, "adjust_action": "CREATE"},
        {"event_id": "e3", "action": "conversion", "tune_event_id": "t2", "adjust_action": 2, "payout": -0.10,
         "created_timestamp": 1759374245},
        {"event_id": "e4", "action": "view",   "note": "kept as it stands"},
        5
    ]}"#;

#[test]
fn a_body_is_shown_as_the_rows_that_it_becomes() {
    let ended = decode(&[], body(MIXED).as_bytes());
    assert_eq!(ended.status, 0, "{}", ended.err);
    let document = document(&ended);
    assert_eq!(
        document["envelope"],
        json!({"dispatch_id": "d-1", "dispatch_timestamp": 14395106601u64, "is_test": 0, "network_id": "net",
               "target_class": "stats", "dispatch_class": "event"})
    );
    assert_eq!(
        document["events"][0],
        json!({"table": "events", "network_id": "net", "event_id": "e1", "record_id": "e1", "action": "click",
               "event_day": "2026-10-02", "dispatch_timestamp": 14395106601u64, "hour": 7, "date": "2026-10-02",
               "user_agent": "a\u{fffd}b", "extra": {"colour": "red", "offer_id": "ten"}, "misfits": ["offer_id"],
               "repaired_texts": 1})
    );
    assert_eq!(document["events"][1]["datetime"], "2026-10-02 03:04:05.25");
    assert_eq!(document["events"][1]["adjust_action"], "create");
    assert_eq!(document["events"][2]["table"], "adjustments");
    assert_eq!(document["events"][2]["record_id"], "t2");
    assert_eq!(document["events"][2]["event_day"], "2025-10-02");
    assert_eq!(document["events"].as_array().unwrap().len(), 3);
    assert_eq!(
        document["quarantine"],
        json!([
            {"scope": "event", "reason": "action", "detail": "action is not impression, click or conversion",
             "position": 3, "network_id": "net", "event_id": "e4",
             "event": {"event_id": "e4", "action": "view", "note": "kept as it stands"}},
            {"scope": "event", "reason": "not_an_object", "detail": "the event is not a JSON object", "position": 4,
             "network_id": "net", "event": 5}
        ])
    );
    assert_eq!(
        document["summary"],
        json!({"events": 5, "actions": {"click": 1, "conversion": 2}, "adjustments": {"create": 1, "update": 1},
               "quarantine": {"action": 1, "not_an_object": 1}, "misfit_fields": {"offer_id": 1},
               "unknown_fields": {"colour": 1}, "repaired_texts": 1, "json_bytes": MIXED.len(), "trailing_bytes": 0})
    );
    // No digit of an amount is lost on the way, and a rejected event keeps its very bytes.
    assert!(
        ended
            .text()
            .contains(r#""payout": 12345678901234.100000000001"#)
    );
    assert!(
        ended
            .text()
            .contains(r#"{"event_id": "e4", "action": "view",   "note": "kept as it stands"}"#)
    );
    assert_eq!(
        ended.err,
        "5 events\n  actions: click 1, conversion 2\n  adjustments: create 1, update 1\n  \
         to quarantine: action 1, not_an_object 1\n  did not fit, kept in extra: offer_id 1\n  \
         without a column, kept in extra: colour 1\n  texts repaired: 1\n"
    );
}

#[test]
fn a_body_comes_from_a_file_or_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    let json = r#"{"data":{"event_id":1,"action":"click"}}"#;
    std::fs::write(&file, body(json)).unwrap();
    let file = file.to_str().unwrap();
    let network = ["--network-id", "n7"];
    let from_file = decode(&[file, network[0], network[1]], b"");
    assert_eq!(document(&from_file)["events"][0]["network_id"], "n7");
    let plain = decode(&["-", network[0], network[1]], json.as_bytes());
    assert_eq!(document(&plain), document(&from_file));
    // Without a network the event cannot be stored; the body as such is right.
    let unnamed = decode(&[file], b"");
    assert_eq!(unnamed.status, 0);
    assert_eq!(
        document(&unnamed)["quarantine"][0]["reason"],
        "network_missing"
    );
    let empty = decode(&[], br#"{"network_id":1,"data":[]}"#);
    assert_eq!(document(&empty)["events"], json!([]));
    assert_eq!((empty.status, empty.err.as_str()), (0, "no events\n"));
}

#[test]
fn a_body_that_is_bad_as_a_whole_says_why() {
    let ended = decode(&[], b"@@@");
    assert_eq!(ended.status, 1);
    let shown = document(&ended);
    assert_eq!(shown["envelope"], Value::Null);
    assert_eq!(shown["events"], json!([]));
    assert_eq!(
        shown["quarantine"],
        json!([{"scope": "body", "reason": "not_base64", "detail": "neither base64 nor JSON"}])
    );
    assert_eq!(shown["summary"]["quarantine"], json!({"not_base64": 1}));
    assert_eq!(
        ended.err,
        "hydrant: the body cannot be read and would go to quarantine: neither base64 nor JSON (not_base64)\n"
    );
    // The envelope is shown where there is one.
    let ended = decode(
        &[],
        br#"{"target_class":"else","network_id":"n","data":[{"event_id":1}]}"#,
    );
    assert_eq!(ended.status, 1);
    assert_eq!(
        document(&ended)["envelope"],
        json!({"target_class": "else", "network_id": "n"})
    );
    assert_eq!(
        document(&ended)["quarantine"][0]["reason"],
        "unsupported_class"
    );
    let ended = decode(&["--max-body-bytes", "30"], body(MIXED).as_bytes());
    assert_eq!(ended.status, 1);
    assert_eq!(document(&ended)["quarantine"][0]["reason"], "too_large");
}

#[test]
fn wrong_use_of_decode_is_told_in_a_sentence() {
    let ended = decode(&["/nowhere/body"], b"");
    assert_eq!(ended.status, 2);
    assert_eq!(ended.text(), "");
    assert_eq!(
        ended.err,
        "hydrant: cannot read /nowhere/body: No such file or directory (os error 2)\n"
    );
    for wrong in [["--network-id", ""], ["--max-body-bytes", "0"]] {
        let ended = decode(&wrong, b"{}");
        assert_eq!(ended.status, 2, "{wrong:?}");
        assert!(ended.err.contains(wrong[0]), "{}", ended.err);
    }
}

#[test]
fn a_reader_may_go_away() {
    let event = r#"{"event_id":"e","action":"click"},"#;
    let many = format!(r#"{{"network_id":1,"data":[{}5]}}"#, event.repeat(20_000));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, many).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .arg("decode")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its output is more than a pipe holds.
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    // No summary of a part, which would look like that of the whole.
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert!(ended.status.success());
}
