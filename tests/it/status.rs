//! The status page, in a real browser and without one: what it tells, and that it tells it to everybody.

mod page;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::webhook::Sender;
use crate::support::{Daemon, Queue, body, conversion, database, envelope, wait_until};

const DOCS: &str = include_str!("../../docs/status.md");

async fn status(daemon: &Daemon) -> Value {
    let (code, text) = daemon.get("/status.json").await.unwrap();
    assert_eq!(code, 200);
    serde_json::from_str(&text).unwrap()
}

/// The bodies of one of everything: an event, the same again, an orphan, and what is nothing.
fn bodies() -> Vec<String> {
    let orphan = r#"{"event_id":"o","action":"conversion","adjust_action":"update","num":1,"tune_event_id":"other"}"#;
    let (one, bad) = (conversion("1"), r#"{"action":"conversion"}"#);
    [one.as_str(), one.as_str(), orphan, bad]
        .map(|event| body(&envelope(&format!("[{event}]"))))
        .into_iter()
        .chain(["***".to_owned()])
        .collect()
}

/// Names of members, at any depth.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_all_that_is_documented() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    for body in bodies() {
        queue.send(&[body]).await;
        queue.drained(30).await;
    }
    let mut told = Value::Null;
    wait_until("it has looked at everything", 60, async || {
        told = status(&daemon).await;
        let is_seen = |what: &Value| !what["found"].is_null();
        let quarantine = &told["database"]["found"]["quarantine"];
        is_seen(&told["database"])
            && is_seen(&told["orphans"])
            && quarantine["open"] == 2
            && told["orphans"]["found"]["waiting"] == 1
            && told["sources"][0]["waiting"]["count"] == 0
            && told["history"]["paused"].as_array().unwrap().len() > 1
    })
    .await;
    assert_eq!(told["state"], "well", "{told}");
    let source = &told["sources"][0];
    assert_eq!(
        (&source["name"], &source["kind"]),
        (&"one".into(), &"sqs".into())
    );
    for (outcome, count) in [
        ("stored", 1),
        ("adjustments", 1),
        ("duplicates", 1),
        ("variants", 0),
        ("quarantined", 2),
    ] {
        assert_eq!(source["outcomes"][outcome], count, "{outcome}: {source}");
    }
    assert_eq!(source["waiting"]["dead_letters"], 0);
    assert_eq!(source["in_flight"], 0);
    let now = told["now"].as_i64().unwrap();
    for clock in ["last_receive", "last_commit"] {
        let at = source[clock].as_i64().unwrap();
        assert!((now - 120..=now).contains(&at), "{clock}: {at}, {now}");
    }
    let rates = source["history"]["events_per_second"].as_array().unwrap();
    assert!(
        rates.iter().any(|rate| rate.as_f64() > Some(0.0)),
        "{rates:?}"
    );
    for queue in ["main", "dead_letter"] {
        let labels = format!("queue=\"{queue}\",outcome=\"answered\"");
        assert!(daemon.metric("hydrant_queue_looks_total", &labels).await >= 1.0);
    }
    assert!(
        daemon
            .metric("hydrant_queue_retention_seconds", "one")
            .await
            > 0.0
    );
    let found = &told["database"]["found"];
    assert_eq!(
        (&found["fsync"], &found["is_durable"]),
        (&"off".into(), &false.into())
    );
    let refusals = found["quarantine"]["refusals"].as_array().unwrap();
    let reasons: BTreeSet<_> = refusals
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, BTreeSet::from(["event_id", "not_base64"]));

    let mut names = BTreeSet::new();
    keys(&told, &mut names);
    let untold: Vec<_> = names
        .iter()
        .filter(|key| !DOCS.contains(&format!("`{key}`")))
        .collect();
    assert!(untold.is_empty(), "not in docs/status.md: {untold:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_asks_the_database_it_asks_seldom() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    let asked = async |daemon: &Daemon| status(daemon).await["database"]["asked"].as_i64();
    wait_until("it has looked", 30, async || asked(&daemon).await.is_some()).await;
    let mut times = BTreeSet::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(12);
    while std::time::Instant::now() < end {
        times.extend(asked(&daemon).await);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!((1..=2).contains(&times.len()), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_kept_and_the_page_may_load_nothing() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    let mut sender = Sender::connect(daemon.port()).await.unwrap();
    for path in ["/", "/status.json", "/readyz", "/metrics", "/healthz"] {
        sender.send("GET", path, "", b"").await.unwrap();
        let reply = sender.reply().await.unwrap();
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        if path == "/" {
            let policy = reply.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
        }
    }
}
