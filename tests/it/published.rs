//! TUNE's published sample of an event lands field by field.

use serde_json::{Map, Value, json};

use crate::support::{Daemon, Queue, body, database};

const CREATE: &str = include_str!("../fixtures/hasoffers/create.json");

/// What a row holds that the event does not.
const OURS: [&str; 6] = [
    "record_id",
    "event_day",
    "partition_day",
    "content_hash",
    "dispatch_timestamp",
    "received_at",
];

/// What the columns of the sample must hold; blank ones are NULL.
fn expected() -> Map<String, Value> {
    let sample: Map<String, Value> = serde_json::from_str(CREATE).unwrap();
    let mut expected: Map<String, Value> = sample
        .into_iter()
        .filter(|(_, value)| *value != json!(""))
        .map(|(name, value)| (name, plain(value)))
        .collect();
    // An id that came as text, and a time as Postgres writes it in JSON.
    expected.insert("advertiser_manager_id".into(), json!(0.0));
    expected.insert("datetime".into(), json!("2022-10-03T11:13:52"));
    expected
}

/// Numbers are equal however they are written.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_create_lands_field_by_field() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    let enveloped = format!(
        r#"{{"dispatch_id":"d","dispatch_timestamp":14395106601,"is_test":0,"network_id":"demo",
            "target_class":"stats","dispatch_class":"event","data":[{CREATE}]}}"#
    );
    // Twice in its envelope, and once without.
    queue
        .send(&[body(&enveloped), body(&enveloped), body(CREATE)])
        .await;
    queue.drained(30).await;
    let rows = "select jsonb_strip_nulls(to_jsonb(e)) from events e";
    let rows = database.rows(rows).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row: Map<String, Value> = serde_json::from_str(&rows[0]).unwrap();
    let (ours, fields): (Map<_, _>, Map<_, _>) = row
        .into_iter()
        .map(|(name, value)| (name, plain(value)))
        .partition(|(name, _)| OURS.contains(&name.as_str()));
    let expected = expected();
    assert!(expected.len() > 40, "{}", expected.len());
    assert_eq!(fields, expected);
    assert_eq!(ours.len(), OURS.len(), "{ours:?}");
    assert_eq!(ours["record_id"], expected["tune_event_id"]);
    assert_eq!(ours["event_day"], expected["date"]);
    assert_eq!(ours["dispatch_timestamp"], json!(14_395_106_601.0));
    let state = "select record_id, status, net_num::float8, net_payout::float8, net_revenue::float8
            from conversions;
        select count(*) from event_variants; select count(*) from quarantine";
    assert_eq!(
        database.rows(state).await,
        [
            "adc6c18f-5d50-4a0f-a8cc-ff63f06b6336|approved|1|1|2",
            "0",
            "0"
        ]
    );
    assert_eq!(daemon.ready().await.0, 200);
}
