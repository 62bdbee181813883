//! Bad input, rule by rule: a bad thing stands between two good ones, the good ones are stored, and the bad one is in
//! quarantine byte for byte.

use std::collections::BTreeMap;

use crate::support::{
    Daemon, Database, Queue, base64, body, click, conversion, database, envelope, gzip, nested,
};

/// Quarantine by payload in hexadecimal: scope, reason, network, event, message, time of dispatch and how often it was seen.
async fn quarantine(database: &Database) -> BTreeMap<String, String> {
    let sql = "select encode(payload, 'hex'), scope, reason, network_id, event_id, message_id, dispatch_timestamp, seen
               from quarantine where status = 'open'";
    let rows = database.rows(sql).await;
    rows.iter()
        .filter_map(|row| row.split_once('|'))
        .map(|(hex, rest)| (hex.to_owned(), rest.to_owned()))
        .collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn before(name: &str) -> String {
    format!("before {name}")
}

fn after(name: &str) -> String {
    format!("after {name}")
}

/// That of each row the two neighbours are stored, and nothing else.
async fn expect_neighbours(database: &Database, names: impl Iterator<Item = &str>) {
    let mut all: Vec<String> = names.flat_map(|name| [before(name), after(name)]).collect();
    all.sort();
    let sql = r#"select event_id from events order by event_id collate "C""#;
    assert_eq!(database.rows(sql).await, all);
}

/// Name, reason, and bytes of what has no id that is known.
const WITHOUT_ID: &str = r#"
a number                     | not_an_object | 1
a text                       | not_an_object | "an event"
null                         | not_an_object | null
an array                     | not_an_object | [{"event_id": "in an array"}]
no event_id                  | event_id      | {"action":"click"}
a blank event_id             | event_id      | {"event_id":"","action":"click"}
an event_id of spaces        | event_id      | {"event_id":"  ","action":"click"}
a null event_id              | event_id      | {"event_id":null,"action":"click"}
a fraction as event_id       | event_id      | { "event_id" : 1.5 ,"action":"click"}
a boolean as event_id        | event_id      | {"event_id":true,"action":"click"}
an object as event_id        | event_id      | {"event_id":{"a":1},"action":"click"}
a control character          | event_id      | {"event_id":"a\u0007b","action":"click"}
a NUL in event_id            | event_id      | {"event_id":"a\u0000b","action":"click"}
a lone surrogate in event_id | event_id      | {"event_id":"a\ud800b","action":"click"}
"#;

/// Name, reason, and a member that spoils an event.
const MEMBERS: &str = r#"
a fraction as tune_event_id  | tune_event_id          | "tune_event_id":0.5
an array as tune_event_id    | tune_event_id          | "tune_event_id":[]
a NUL in tune_event_id       | tune_event_id          | "tune_event_id":"\u0000"
no action                    | action                 | "x":1
a null action                | action                 | "action":null
an unknown action            | action                 | "action":"install"
a number as action           | action                 | "action":1
an unknown adjust_action     | adjust_action          | "adjust_action":"delete"
an adjust_action of 3        | adjust_action          | "adjust_action":3
a boolean as adjust_action   | adjust_action          | "adjust_action":true
an object as adjust_action   | adjust_action          | "adjust_action":{}
a negative sequence          | adjustment_sequence_id | "adjustment_sequence_id":-1
a sequence of 2^63           | adjustment_sequence_id | "adjustment_sequence_id":"9223372036854775808"
a fraction as sequence       | adjustment_sequence_id | "adjustment_sequence_id":1.5
a word as sequence           | adjustment_sequence_id | "adjustment_sequence_id":"ten"
a boolean as sequence        | adjustment_sequence_id | "adjustment_sequence_id":true
a word as num                | amount                 | "num":"ten"
a payout of 10^15            | amount                 | "payout":1e15
a comma in payout            | amount                 | "payout":"1,50"
a payout beyond any float    | amount                 | "payout":1e400
a revenue with 13 decimals   | amount                 | "revenue":0.0000000000001
no number as sale_amount     | amount                 | "sale_amount":"NaN"
infinite payout_cents        | amount                 | "payout_cents":"Infinity"
a boolean as revenue_cents   | amount                 | "revenue_cents":false
an array as sale_cents       | amount                 | "sale_cents":[1]
the network of another       | network_mismatch       | "network_id":"other"
an object as network_id      | network_id             | "network_id":{}
"#;

/// The rows of a table: name, reason, and the rest.
fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    table.trim().lines().map(|line| {
        let mut columns = line.splitn(3, '|').map(str::trim);
        let mut next = || columns.next().unwrap();
        (next(), next(), next())
    })
}

/// Name, reason, bytes and the event id that is known.
fn bad_events() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let long = "x".repeat(256);
    let mut all: Vec<_> = rows(WITHOUT_ID)
        .map(|(name, reason, raw)| (name, reason, raw.to_owned(), "NULL"))
        .collect();
    all.extend(rows(MEMBERS).map(|(name, reason, member)| {
        let action = match reason {
            "action" => "",
            _ => r#""action":"conversion","#,
        };
        let raw = format!(r#"{{"event_id":"known",{action}{member}}}"#);
        (name, reason, raw, "known")
    }));
    let id = format!(r#"{{"event_id":"{long}","action":"click"}}"#);
    all.push(("an event_id of 256 bytes", "event_id", id, "NULL"));
    let record = format!(r#"{{"event_id":"known","action":"click","tune_event_id":"{long}"}}"#);
    all.push((
        "a tune_event_id of 256 bytes",
        "tune_event_id",
        record,
        "known",
    ));
    all.push(("33 levels", "depth", nested("known", 33), "known"));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_leaves_its_siblings_alone() {
    let (queue, database) = (Queue::start().await, database().await);
    let events = bad_events();
    let mut bodies: Vec<String> = events
        .iter()
        .map(|(name, _, raw, _)| {
            let (first, last) = (conversion(&before(name)), click(&after(name)));
            body(&envelope(&format!("[{first},{raw} , {last}]")))
        })
        .collect();
    // In an envelope without a network the events tell theirs.
    let of_acme = |event: &str| event.replacen('{', r#"{"network_id":"acme","#, 1);
    let first = of_acme(&conversion("before no network"));
    let last = of_acme(&conversion("after no network"));
    let without = click("of no network");
    let bad_of_acme = of_acme(r#"{"event_id":"its own network"}"#);
    bodies.push(body(&format!(
        r#"{{"data":[{first},{without},{last},{bad_of_acme}]}}"#
    )));
    let ids = queue.send(&bodies).await;

    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(30).await;

    let names = events.iter().map(|(name, ..)| *name);
    expect_neighbours(&database, names.chain(["no network"])).await;
    let mut found = quarantine(&database).await;
    for ((name, reason, raw, event_id), message_id) in events.iter().zip(&ids) {
        let expected = format!("event|{reason}|acme|{event_id}|{message_id}|1760000000|1");
        assert_eq!(found.remove(&hex(raw)), Some(expected), "{name}");
    }
    let last_id = ids.last().unwrap();
    let expected = format!("event|network_missing|NULL|of no network|{last_id}|NULL|1");
    assert_eq!(found.remove(&hex(&without)), Some(expected));
    let expected = format!("event|action|acme|its own network|{last_id}|NULL|1");
    assert_eq!(found.remove(&hex(&bad_of_acme)), Some(expected));
    assert_eq!(found, BTreeMap::new());
    let bad = events.len() as f64 + 2.0;
    let labels = r#"scope="event""#;
    assert_eq!(
        daemon.metric("hydrant_quarantined_total", labels).await,
        bad
    );
}

/// Name, reason, and an envelope's text.
const ENVELOPES: &str = r#"
gzip of nothing         | not_json          |
half an envelope        | not_json          | {"network_id":"acme","data":[{"event_id":1}
two envelopes           | not_json          | {"network_id":"acme","data":[]}{"network_id":"acme","data":[]}
no JSON number          | not_json          | {"network_id":"acme","data":[NaN]}
words as data           | not_json          | {"network_id":"acme","data":"three clicks"}
an array                | not_an_object     | [{"event_id":1,"action":"click"}]
a number                | not_an_object     | 5
another target_class    | unsupported_class | {"network_id":"acme","target_class":"fraud","data":[]}
another dispatch_class  | unsupported_class | {"network_id":"acme","dispatch_class":"report","data":[]}
a number as class       | unsupported_class | {"network_id":"acme","dispatch_class":1,"data":[]}
an object as network_id | network_id        | {"network_id":{},"data":[]}
no data                 | data_shape        | {"network_id":"acme"}
null as data            | data_shape        | {"network_id":"acme","data":null}
a number as data        | data_shape        | {"network_id":"acme","data":5}
true as data            | data_shape        | {"network_id":"acme","data":true}
no event as data        | data_shape        | {"network_id":"acme","data":{"a":1}}
two arrays as data      | data_shape        | {"network_id":"acme","data":{"a":[],"b":[]}}
text within text        | data_shape        | {"network_id":"acme","data":"\"[]\""}
"#;

fn bad_bodies() -> Vec<(&'static str, &'static str, String)> {
    let good = gzip(envelope("[]").as_bytes());
    let half = &good[..good.len() / 2];
    // Its last eight bytes are the checksum and the length.
    let wrong = |at: usize| {
        let mut bytes = good.clone();
        bytes[good.len() - at] ^= 1;
        base64(&bytes)
    };
    let mut all: Vec<_> = rows(ENVELOPES)
        .map(|(name, reason, json)| (name, reason, body(json)))
        .collect();
    all.extend([
        ("white space", "empty_body", " \n ".to_owned()),
        ("no base64", "not_base64", "what is this?".to_owned()),
        ("base64 of a text", "not_gzip", base64(b"what is this?")),
        ("half a gzip member", "gzip_truncated", base64(half)),
        (
            "half a second member",
            "gzip_truncated",
            base64(&[&good, half].concat()),
        ),
        ("a wrong checksum", "gzip_corrupt", wrong(8)),
        ("a wrong length", "gzip_corrupt", wrong(4)),
        (
            "no UTF-8",
            "not_utf8",
            base64(&gzip(b"{\"data\":[\"\xff\"]}")),
        ),
    ]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_leaves_its_neighbours_alone() {
    let (queue, database) = (Queue::start().await, database().await);
    let bad = bad_bodies();
    let good = |id: String| body(&envelope(&conversion(&id)));
    let bodies: Vec<String> = bad
        .iter()
        .flat_map(|(name, _, text)| [good(before(name)), text.clone(), good(after(name))])
        .collect();
    // All are there before the first receive: each takes good and bad ones.
    let ids = queue.send(&bodies).await;

    let daemon = Daemon::start(&database.url, &[&queue], "source.one.workers = 1").await;
    queue.drained(30).await;

    expect_neighbours(&database, bad.iter().map(|(name, ..)| *name)).await;
    let mut found = quarantine(&database).await;
    for (at, (name, reason, text)) in bad.iter().enumerate() {
        let expected = format!("body|{reason}|NULL|NULL|{}|NULL|1", ids[at * 3 + 1]);
        assert_eq!(found.remove(&hex(text)), Some(expected), "{name}");
    }
    assert_eq!(found, BTreeMap::new());

    // The same again: the good ones are duplicates, a bad one is the same row, seen twice.
    queue.send(&bodies).await;
    queue.drained(30).await;
    let seen = "select min(seen), max(seen), count(*) from quarantine";
    assert_eq!(database.rows(seen).await, [format!("2|2|{}", bad.len())]);
    let twice = bad.len() as f64 * 2.0;
    for (metric, labels) in [
        ("hydrant_bodies_total", r#"outcome="quarantined""#),
        ("hydrant_events_total", r#"outcome="duplicate""#),
        ("hydrant_events_total", r#"outcome="stored""#),
    ] {
        assert_eq!(
            daemon.metric(metric, labels).await,
            twice,
            "{metric} {labels}"
        );
    }
}
