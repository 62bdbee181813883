//! Two writers add entries to the ledger of one record at the same time: its patch must hold both.
//!
//! The first writer is stopped between its patch phase and its COMMIT, by a third session that keeps it out of
//! `quarantine`. The second one then adds its entry, which the first has not seen, and has to wait for the patch's row.
//!
//! The test was seen to fail (a count of 1 instead of 2) with either half of the protocol in `store::patches` taken away:
//! without the statement that locks, and with that statement and the reading of the ledgers joined into one.

use std::time::Duration;

use hydrant::store::Store;
use hydrant::store::batch::Batch;
use hydrant::store::fault::Fault;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, raw_sql};

use crate::support::store::{WAITING, batch, store, until};
use crate::support::{Database, database};

fn update(event_id: &str, payout: i64) -> Value {
    json!({"event_id": event_id, "tune_event_id": "r", "action": "conversion", "adjust_action": "update",
           "adjustment_sequence_id": payout, "payout": payout, "status": event_id})
}

async fn write(mut store: Store, batch: Batch) {
    let written = store.write("test", &batch).await.unwrap();
    assert_eq!(
        (written.tally.adjustments, written.tally.duplicates),
        (1, 0)
    );
}

/// Writes two entries of one record, the second while the first is not committed.
async fn write_both_at_once(database: &Database, first: Value, second: Value) {
    let settings = store(database).await.settings;
    let mut third = database.connect().await;
    let hold = "begin; lock table quarantine in share mode";
    raw_sql(hold).execute(&mut third).await.unwrap();

    // The second event is bad: its quarantine is what the first writer waits for.
    let first = batch(&[first, json!("bad")]);
    let first = tokio::spawn(write(Store::new(settings.clone()), first));
    until(database, WAITING, &["1"]).await;
    let second = tokio::spawn(write(Store::new(settings), batch(&[second])));
    let behind_the_first = "select count(*) from pg_stat_activity second
        join pg_stat_activity first on first.pid = any (pg_blocking_pids(second.pid))
        where second.datname = current_database() and first.wait_event_type = 'Lock'";
    until(database, behind_the_first, &["1"]).await;

    raw_sql(AssertSqlSafe("commit"))
        .execute(&mut third)
        .await
        .unwrap();
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn a_patch_holds_the_entries_of_two_writers() {
    let database = database().await;
    let patch =
        "select adjustment_count, payout, status, last_adjustment_sequence_id from record_patches";
    // The record's first entries: the second writer waits for a row that is not there yet.
    write_both_at_once(&database, update("u1", 1), update("u2", 2)).await;
    assert_eq!(database.rows(patch).await, ["2|3|u2|2"]);
    // And for one that is.
    write_both_at_once(&database, update("u4", 4), update("u3", 3)).await;
    assert_eq!(database.rows(patch).await, ["4|10|u4|4"]);
}

/// Not at its COMMIT, where nobody can tell any more what it was.
#[tokio::test]
async fn a_patch_that_others_hold_fails_the_transaction_at_once() {
    let database = database().await;
    let mut store = store(&database).await;
    store.settings.lock_timeout = Duration::from_millis(200);
    let first = batch(&[update("u1", 1)]);
    store.write("test", &first).await.unwrap();
    let mut other = database.connect().await;
    let hold = "begin; select from record_patches for update";
    raw_sql(hold).execute(&mut other).await.unwrap();
    let second = batch(&[update("u2", 2)]);
    let fault = store.write("test", &second).await.unwrap_err();
    assert!(matches!(fault, Fault::Contention(_)), "{fault}");
}
