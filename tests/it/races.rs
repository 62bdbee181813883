//! Writers that get in each other's way, and days whose partitions are not where a writer thinks.

use std::sync::Arc;
use std::time::Duration;

use hydrant::config::PartitionBy;
use hydrant::store::batch::Batch;
use hydrant::store::migrate::migrate;
use hydrant::store::{Claims, Store, Tally};
use serde_json::{Value, json};
use sqlx::raw_sql;

use crate::support::store::{WAITING, batch, click, date, deliver, settings, store, until};
use crate::support::{Database, database};

async fn written(store: &mut Store, events: &[Value]) -> Tally {
    store.write("test", &batch(events)).await.unwrap().tally
}

fn stored(stored: u64) -> Tally {
    Tally {
        stored,
        ..Tally::default()
    }
}

fn duplicates(duplicates: u64) -> Tally {
    Tally {
        duplicates,
        ..Tally::default()
    }
}

/// Every event with the table that it is in.
async fn leaves(database: &Database) -> Vec<String> {
    database
        .rows("select event_id, tableoid::regclass from events order by event_id")
        .await
}

/// An event in an envelope of this time.
fn delivered(time: i64, event: Value) -> Batch {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    let envelope = json!({"network_id": "n", "dispatch_timestamp": time, "data": event});
    deliver(&envelope, &mut batch);
    batch
}

fn day_table(date: &str) -> String {
    format!("events_{}", date.replace('-', ""))
}

#[tokio::test]
async fn of_two_writers_of_one_batch_the_later_finds_duplicates() {
    let database = database().await;
    let mut first = store(&database).await;
    let mut second = Store::new(first.settings.clone());
    let today = date(&database, 0).await;
    let update = |id: &str| json!({"event_id": id, "tune_event_id": "r", "action": "conversion", "adjust_action": 2, "payout": 1});
    let mut events = vec![
        click("a", &today),
        click("b", &today),
        json!({"event_id": "c", "action": "conversion", "payout": 1}),
        update("u"),
        update("v"),
    ];
    let both = batch(&events);
    // The first writer has copied everything and waits for the quarantine of one bad event.
    let mut third = database.connect().await;
    raw_sql("begin; lock table quarantine in share mode")
        .execute(&mut third)
        .await
        .unwrap();
    events.push(json!("bad"));
    let with_bad = batch(&events);
    let first = tokio::spawn(async move { first.write("test", &with_bad).await.unwrap().tally });
    until(&database, WAITING, &["1"]).await;
    // The second finds nothing, copies, and waits for the first one's keys.
    let second = tokio::spawn(async move { second.write("test", &both).await.unwrap().tally });
    until(&database, WAITING, &["2"]).await;
    raw_sql("commit").execute(&mut third).await.unwrap();
    let expected = Tally {
        stored: 3,
        adjustments: 2,
        ..Tally::default()
    };
    assert_eq!(first.await.unwrap(), expected);
    assert_eq!(second.await.unwrap(), duplicates(5));
    let counts = "select (select count(*) from events), (select count(*) from adjustments),
        (select count(*) from event_variants), adjustment_count, payout from record_patches";
    assert_eq!(database.rows(counts).await, ["3|2|0|2|2"]);
}

#[tokio::test]
async fn of_two_workers_of_one_process_the_later_waits_without_a_lock() {
    let database = database().await;
    let settings = store(&database).await.settings;
    let claims = Arc::new(Claims::default());
    let [mut first, mut second] =
        [(); 2].map(|()| Store::beside(settings.clone(), Arc::clone(&claims)));
    let today = date(&database, 0).await;
    let (a, b) = (click("a", &today), click("b", &today));
    let with_bad = batch(&[a.clone(), json!("bad")]);
    let both = batch(&[a, b]);
    let mut third = database.connect().await;
    raw_sql("begin; lock table quarantine in share mode")
        .execute(&mut third)
        .await
        .unwrap();
    let first = tokio::spawn(async move { first.write("test", &with_bad).await.unwrap().tally });
    until(&database, WAITING, &["1"]).await;
    let second = tokio::spawn(async move { second.write("test", &both).await.unwrap().tally });
    // It has stored the other one, and waits for its neighbour without a transaction.
    let there = "select event_id from events";
    until(&database, there, &["b"]).await;
    assert_eq!(database.rows(WAITING).await, ["1"]);
    raw_sql("commit").execute(&mut third).await.unwrap();
    assert_eq!(first.await.unwrap(), stored(1));
    let expected = Tally {
        stored: 1,
        duplicates: 1,
        ..Tally::default()
    };
    assert_eq!(second.await.unwrap(), expected);
}

#[tokio::test]
async fn a_day_may_be_made_by_another_session_at_the_same_moment() {
    let database = database().await;
    let mut store = store(&database).await;
    for (days, end) in [(-3, "commit"), (-4, "rollback")] {
        let (date, next) = (date(&database, days).await, date(&database, days + 1).await);
        let table = day_table(&date);
        let mut other = database.connect().await;
        let make = format!(
            "begin; create table {table} (like events including defaults);
             alter table {table} add constraint {table}_key unique (network_id, event_id);
             alter table events attach partition {table} for values from ('{date}') to ('{next}')"
        );
        raw_sql(sqlx::AssertSqlSafe(make))
            .execute(&mut other)
            .await
            .unwrap();
        let events = [click(end, &date)];
        let writer = tokio::spawn(async move {
            let tally = written(&mut store, &events).await;
            (store, tally)
        });
        until(&database, WAITING, &["1"]).await;
        raw_sql(end).execute(&mut other).await.unwrap();
        let tally;
        (store, tally) = writer.await.unwrap();
        assert_eq!(tally, stored(1));
        let there = format!("{end}|{table}");
        assert!(leaves(&database).await.contains(&there), "{there}");
    }
}

#[tokio::test]
async fn a_very_old_day_stays_in_the_default_partition() {
    let database = database().await;
    let mut store = store(&database).await;
    let events = [click("old", "2019-02-28"), click("undated", "")];
    assert_eq!(written(&mut store, &events).await, stored(2));
    assert_eq!(written(&mut store, &events).await, duplicates(2));
    assert_eq!(
        leaves(&database).await,
        ["old|events_default", "undated|events_default"]
    );
}

#[tokio::test]
async fn a_day_that_the_default_partition_holds_stays_there() {
    let database = database().await;
    let mut undivided = Store::new(settings(&database, PartitionBy::None));
    migrate(&undivided.settings).await.unwrap();
    let yesterday = date(&database, -1).await;
    written(&mut undivided, &[click("a", &yesterday)]).await;
    let mut divided = store(&database).await;
    let events = [click("a", &yesterday), click("b", &yesterday)];
    let tally = written(&mut divided, &events).await;
    assert_eq!(
        tally,
        Tally {
            stored: 1,
            duplicates: 1,
            ..Tally::default()
        }
    );
    assert_eq!(
        leaves(&database).await,
        ["a|events_default", "b|events_default"]
    );
}

#[tokio::test]
async fn a_day_that_another_made_in_the_meantime_is_found() {
    let database = database().await;
    let mut late = Store::new(settings(&database, PartitionBy::None));
    migrate(&late.settings).await.unwrap();
    let yesterday = date(&database, -1).await;
    late.connect().await.unwrap();
    let mut store = store(&database).await;
    written(&mut store, &[click("a", &yesterday)]).await;
    // It still believes in the default partition.
    let events = [click("a", &yesterday), click("b", &yesterday)];
    let tally = written(&mut late, &events).await;
    assert_eq!(
        tally,
        Tally {
            stored: 1,
            duplicates: 1,
            ..Tally::default()
        }
    );
    let table = day_table(&yesterday);
    assert_eq!(
        leaves(&database).await,
        [format!("a|{table}"), format!("b|{table}")]
    );
}

#[tokio::test]
async fn a_day_that_was_dropped_is_made_again() {
    let database = database().await;
    let mut store = store(&database).await;
    let yesterday = date(&database, -1).await;
    written(&mut store, &[click("a", &yesterday)]).await;
    let table = day_table(&yesterday);
    database.rows(&format!("drop table {table}")).await;
    assert_eq!(
        written(&mut store, &[click("b", &yesterday)]).await,
        stored(1)
    );
    assert_eq!(leaves(&database).await, [format!("b|{table}")]);
}

#[tokio::test]
async fn a_day_that_was_detached_takes_no_rows() {
    let database = database().await;
    let mut store = store(&database).await;
    let yesterday = date(&database, -1).await;
    written(&mut store, &[click("a", &yesterday)]).await;
    let table = day_table(&yesterday);
    database
        .rows(&format!("alter table events detach partition {table}"))
        .await;
    // The name of the day is taken.
    assert_eq!(
        written(&mut store, &[click("b", &yesterday)]).await,
        stored(1)
    );
    assert_eq!(leaves(&database).await, ["b|events_default"]);
    assert_eq!(
        database
            .rows(&format!("select event_id from {table}"))
            .await,
        ["a"]
    );
}

/// A content that lost while its day was in the default partition, and then came again when the day had its own.
#[tokio::test]
async fn a_variant_of_a_day_that_got_a_partition_is_no_obstacle() {
    let database = database().await;
    let mut undivided = Store::new(settings(&database, PartitionBy::None));
    migrate(&undivided.settings).await.unwrap();
    let (one, other) = (date(&database, -1).await, date(&database, -2).await);
    let contents = [
        delivered(1, click("a", &one)),
        delivered(3, click("a", &other)),
    ];
    for content in &contents {
        undivided.write("test", content).await.unwrap();
    }
    let mut divided = store(&database).await;
    divided.write("test", &contents[1]).await.unwrap();
    let mut better = click("a", &other);
    better["aff_sub"] = json!("better");
    let tally = divided
        .write("test", &delivered(2, better))
        .await
        .unwrap()
        .tally;
    assert_eq!(
        tally,
        Tally {
            variants: 1,
            ..Tally::default()
        }
    );
    let times = "select dispatch_timestamp, tableoid::regclass from events union all
        select dispatch_timestamp, 'event_variants' from event_variants order by 1";
    let table = day_table(&other);
    let expected = [
        "1|events_default".to_owned(),
        format!("2|{table}"),
        "3|event_variants".to_owned(),
    ];
    assert_eq!(database.rows(times).await, expected);
}

/// Two contents of one adjustment, of two records: the loser's record has no ledger, so it has no patch.
#[tokio::test]
async fn a_record_that_lost_its_only_entry_has_no_patch() {
    let database = database().await;
    let mut store = store(&database).await;
    for (time, record) in [(2, "r2"), (1, "r1")] {
        let update = json!({"event_id": "u", "tune_event_id": record, "action": "conversion", "adjust_action": 2});
        store.write("test", &delivered(time, update)).await.unwrap();
    }
    let patches = "select record_id, adjustment_count from record_patches";
    assert_eq!(database.rows(patches).await, ["r1|1"]);
}

/// Every row takes 50 ms, and a hundred days are a hundred statements: all of it is more than the deadline of one
/// transaction, although no statement is.
#[tokio::test]
async fn a_slow_database_gets_less_at_a_time() {
    let database = database().await;
    let mut settings = settings(&database, PartitionBy::Day);
    let mut days = Vec::new();
    for n in 0..60 {
        days.push(date(&database, -n).await);
    }
    let mut warm = store(&database).await;
    let clicks: Vec<_> = days
        .iter()
        .map(|day| click(&format!("warm {day}"), day))
        .collect();
    warm.write("test", &batch(&clicks)).await.unwrap();
    warm.close().await;
    database
        .rows(
            "create function wait() returns trigger language plpgsql as
                 $$ begin perform pg_sleep(0.05); return new; end $$;
             create trigger wait before insert on events for each row execute function wait()",
        )
        .await;
    settings.statement_timeout = Duration::from_secs(1);
    settings.lock_timeout = Duration::from_secs(1);
    let clicks: Vec<_> = days.iter().map(|day| click(day, day)).collect();
    let written = Store::new(settings)
        .write("test", &batch(&clicks))
        .await
        .unwrap();
    assert_eq!(written.tally.stored, 60);
}
