//! The real daemon.

use std::fs;

use super::*;
use crate::support::{Daemon, Queue, body, hydrant, wait_until};

const FIREHOSE: &str = "source.one.format = \"everflow\"
    source.one.event_type = \"firehose\"
    source.one.fields.revenue_usd = \"revenue\"
    source.one.workers = 2
    source.one.visibility_timeout_secs = 5";

fn message(id: usize) -> String {
    let click = json!({"network_id": 1, "transaction_id": id, "unix_timestamp": "1709500000"});
    let update = json!({"network_id": 1, "conversion_id": id, "update_timestamp": 2, "conversion_status": "approved"});
    let conversion = json!({"network_id": 1, "conversion_id": id, "transaction_id": id, "conversion_status": "pending",
        "payout": "0.10", "revenue_usd": 0.2});
    let events = json!([click, update, conversion]).to_string();
    // Plain, as the vendor's HTTP sink sends it, and as HasOffers does.
    if id.is_multiple_of(2) {
        events
    } else {
        body(&events)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_firehose_over_a_queue_survives_a_crash() {
    let (queue, database) = (Queue::start_with(20).await, database().await);
    let messages: Vec<String> = (0..400).map(message).collect();
    let daemon = Daemon::start(&database.url, &[&queue], FIREHOSE).await;
    for some in messages.chunks(10) {
        queue.send(some).await;
    }
    wait_until("something is stored", 30, async || {
        let count = database
            .rows("select count(*) from everflow_conversions")
            .await;
        count != ["0"]
    })
    .await;
    daemon.kill();
    let daemon = Daemon::start(&database.url, &[&queue], FIREHOSE).await;
    // Everything once more.
    for some in messages.chunks(10) {
        queue.send(some).await;
    }
    queue.drained(60).await;
    let sums = "select count(*), sum(payout), sum(revenue), count(*) filter (where status = 'approved')
            from everflow_conversions;
        select count(*), count(*) filter (where event_type = 'firehose_conversion') from everflow_conversion_versions;
        select count(*) from everflow_clicks; select count(*) from quarantine";
    assert_eq!(
        database.rows(sums).await,
        ["400|40.0|80.0|400", "800|400", "400", "0"]
    );
    assert_eq!(daemon.ready().await.0, 200);
    let log = daemon.stop("TERM").await.log;
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_goes_to_quarantine_and_comes_back_by_retry() {
    let (queue, database) = (Queue::start().await, database().await);
    let settings =
        "source.one.format = \"everflow\"\nsource.one.event_type = \"firehose_conversion\"";
    let daemon = Daemon::start(&database.url, &[&queue], settings).await;
    let bad = [
        r#"{"network_id":1,"transaction_id":"t","unix_timestamp":1}"#,
        r#"{"network_id":1,"conversion_id":"a", "payout":"x"}"#,
        r#"{"conversion_id":"b","payout": 1.50}"#,
        r#"{"network_id":1,"order":"b"}"#,
        "7",
    ];
    let good = r#"{"network_id":1,"conversion_id":"good"}"#;
    queue
        .send(&[format!("[{good},{}]", bad.join(",")), "{\"cut\"".into()])
        .await;
    queue.drained(30).await;
    let sql = "select scope, reason, network_id, event_id, encode(payload, 'escape') from quarantine order by reason, 1";
    assert_eq!(
        database.rows(sql).await,
        [
            format!("event|amount|1|a|{}", bad[1]),
            format!("event|event_id|1|NULL|{}", bad[3]),
            format!("event|event_type|1|t|{}", bad[0]),
            format!("event|network_missing|NULL|b|{}", bad[2]),
            format!("event|not_an_object|NULL|NULL|{}", bad[4]),
            "body|not_json|NULL|NULL|{\"cut\"".to_owned(),
        ]
    );
    assert_eq!(daemon.metric("hydrant_events_total", "stored").await, 1.0);
    daemon.stop("TERM").await;

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hydrant.toml");
    let source = format!(
        "[database]\nurl = \"{}\"\n[source.one]\ntype = \"sqs\"\nformat = \"everflow\"\nnetwork_id = 7\n\
         event_type = \"firehose_conversion\"\nqueue_url = \"{}\"\n[source.one.fields]\norder = \"conversion_id\"\n",
        database.url, queue.url
    );
    fs::write(&config, source).unwrap();
    let retried = hydrant(&["quarantine", "retry", "--all"], &config)
        .output()
        .unwrap();
    let said = String::from_utf8(retried.stdout).unwrap();
    assert!(said.starts_with("resolved 2, still bad 4\n"), "{said}");
    let conversions =
        "select network_id, conversion_id, payout from everflow_conversions order by 2, 1";
    assert_eq!(
        database.rows(conversions).await,
        ["1|b|NULL", "7|b|1.5", "1|good|NULL"]
    );
}
