//! The real store on a database of the test's own, and batches as the real decoder makes them.

use std::time::{Duration, Instant};

use hydrant::config::PartitionBy;
use hydrant::formats::hasoffers::Body;
use hydrant::store::batch::Batch;
use hydrant::store::migrate::migrate;
use hydrant::store::{Settings, Store};
use serde_json::{Value, json};

use super::Database;

/// How the store reaches a database. Locks are waited for long: a test that holds one lets go of it by itself.
pub fn settings(database: &Database, partition_by: PartitionBy) -> Settings {
    Settings {
        options: database.url.parse().unwrap(),
        schema: "public".into(),
        partition_by,
        lock_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(60),
    }
}

/// A store with days on a database that it has migrated.
pub async fn store(database: &Database) -> Store {
    let settings = settings(database, PartitionBy::Day);
    migrate(&settings).await.unwrap();
    Store::new(settings)
}

/// What one delivery of events of network `n` comes to.
pub fn batch(events: &[Value]) -> Batch {
    let envelope = json!({"network_id": "n", "dispatch_timestamp": 1, "data": events});
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    deliver(&envelope, &mut batch);
    batch
}

/// Adds the events of an envelope to a batch.
pub fn deliver(envelope: &Value, batch: &mut Batch) {
    let text = envelope.to_string();
    let mut body = Body::open(text.as_bytes(), usize::MAX, None).unwrap();
    assert!(body.read_into(batch, 0, "message"));
}

/// Stores events of a network, delivered at this time.
pub async fn come(store: &mut Store, network_id: &str, time: i64, events: &[Value]) {
    let envelope = json!({"network_id": network_id, "dispatch_timestamp": time, "data": events});
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    deliver(&envelope, &mut batch);
    assert_eq!(
        (batch.facts().len(), batch.rejects().len()),
        (events.len(), 0)
    );
    assert_eq!(store.write("test", &batch).await.unwrap().refused, []);
}

/// Changes to an event.
pub fn with(mut event: Value, changes: Value) -> Value {
    let changes = changes.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(changes);
    event
}

/// A click of a day.
pub fn click(event_id: &str, date: &str) -> Value {
    json!({"event_id": event_id, "action": "click", "date": date})
}

/// The day so many days from today.
pub async fn date(database: &Database, days: i32) -> String {
    let sql = format!("select (now() at time zone 'UTC')::date + ({days})");
    database.rows(&sql).await.remove(0)
}

/// Waits until a query gives these rows.
pub async fn until(database: &Database, sql: &str, rows: &[&str]) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let found = database.rows(sql).await;
        if found == rows {
            return;
        }
        assert!(
            Instant::now() < end,
            "{found:?} instead of {rows:?} from: {sql}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many sessions of this database wait for a lock.
pub const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'";
