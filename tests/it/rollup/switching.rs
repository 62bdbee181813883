//! Switching on and off while writers run, and what a crash in between leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use hydrant::config::PartitionBy;
use hydrant::store::migrate::migrate;
use hydrant::store::rollup::merge::merge;
use hydrant::store::rollup::switch::{self, Filled};
use hydrant::store::{Settings, Store};
use sqlx::{Executor, raw_sql};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{all_kinds, expect_right, merge_all, on, reads_sums, with_days};
use crate::support::database;
use crate::support::store::{WAITING, batch, click, date, until};
use crate::verify::{hydrant, prepared, write};

const WRITERS: usize = 4;

/// Lets something run beside the test that cannot go from thread to thread.
fn beside<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(move || Handle::current().block_on(work()))
}

/// Writes until told to stop: everything new, again and another content of what is there, in turn. How many batches.
async fn keep_writing(
    settings: Settings,
    name: usize,
    days: [String; 3],
    stop: Arc<AtomicBool>,
) -> u32 {
    let mut store = Store::new(settings);
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let day = &days[written as usize % days.len()];
        let id = format!("{name}-{}-", written - written % 3);
        let mut events = all_kinds(&id, day);
        for event in &mut events {
            event["offer_id"] = (written % 3).into();
        }
        store.write("test", &batch(&events)).await.unwrap();
        written += 1;
    }
    store.close().await;
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_may_go_on_while_it_is_switched() {
    let db = database().await;
    let settings = with_days(&db);
    migrate(&settings).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let days = [
        date(&db, 0).await,
        date(&db, -40).await,
        "1999-12-31".to_owned(),
    ];
    let writers: Vec<_> = (0..WRITERS)
        .map(|name| {
            tokio::spawn(keep_writing(
                settings.clone(),
                name,
                days.clone(),
                Arc::clone(&stop),
            ))
        })
        .collect();
    let merging = tokio::spawn({
        let (settings, stop) = (settings.clone(), Arc::clone(&stop));
        async move {
            let mut connection = settings.connect().await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                merge(&mut connection, &settings).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        on(&settings).await;
        for _ in 0..5 {
            expect_right(&db, &format!("on, round {round}")).await;
        }
        assert!(reads_sums(&db).await);
        assert!(switch::off(&settings, false).await.unwrap());
        expect_right(&db, &format!("off, round {round}")).await;
    }
    on(&settings).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 10);
    }
    merging.await.unwrap();
    merge_all(&settings).await;
    expect_right(&db, "in the end").await;
    assert_eq!(
        db.rows("select state, run from rollup_state").await,
        ["on|7"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_a_writer_that_has_begun_and_lets_others_on() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let today = date(&db, 0).await;
    write(&settings, 1, &[click("a", &today)]).await;
    // It found the rollup off, and has not ended.
    let mut writer = db.connect().await;
    let sql = format!(
        "begin;
         insert into events_{} (network_id, event_id, record_id, action, event_day, partition_day, content_hash)
         values ('n', 'slow', 'slow', 'click', '{today}', '{today}', '')",
        today.replace('-', "")
    );
    raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut writer)
        .await
        .unwrap();
    let switching = beside({
        let settings = settings.clone();
        async move || on(&settings).await
    });
    until(&db, WAITING, &["1"]).await;
    // Others wait behind it no longer than it waits.
    write(
        &settings,
        1,
        &[click("b", &today), click("c", "1999-12-31")],
    )
    .await;
    assert!(!switching.is_finished());
    writer.execute("commit").await.unwrap();
    switching.await.unwrap();
    assert_eq!(db.rows("select sum(clicks) from stats").await, ["4"]);
    expect_right(&db, "with the slow one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_filling_leaves_stats_right() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let days = [date(&db, 0).await, date(&db, -1).await];
    for day in &days {
        write(&settings, 1, &all_kinds(day, day)).await;
    }
    let crashed = beside({
        let settings = settings.clone();
        async move || {
            switch::on(&settings, |filled| {
                assert_eq!(filled.days, 0, "as a crash would")
            })
            .await
            .map(drop)
        }
    });
    assert!(crashed.await.unwrap_err().is_panic());
    assert_eq!(db.rows("select state from rollup_state").await, ["filling"]);
    assert!(!reads_sums(&db).await);
    write(&settings, 1, &all_kinds("since", &days[0])).await;
    expect_right(&db, "after the crash").await;
    assert_ne!(db.rows("select count(*) from stats_deltas").await, ["0"]);

    // Between filling and letting stats read the sums: the same.
    db.rows("insert into stats_hourly select network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id,
        currency, action, facts, num, payout, revenue, sale_amount from stats_deltas").await;
    on(&settings).await;
    assert!(reads_sums(&db).await);
    expect_right(&db, "switched on again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_appended_after_switching_off_is_removed() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let today = date(&db, 0).await;
    write(&settings, 1, &all_kinds("a", &today)).await;
    on(&settings).await;
    // A writer has read that it is on, and ends after it is off.
    let mut writer = db.connect().await;
    let sql = "begin; insert into stats_deltas select * from stats_hourly";
    raw_sql(sql).execute(&mut writer).await.unwrap();
    let switching = beside({
        let settings = settings.clone();
        async move || switch::off(&settings, false).await.unwrap()
    });
    until(&db, "select state from rollup_state", &["off"]).await;
    writer.execute("commit").await.unwrap();
    assert!(switching.await.unwrap());
    db.rows("insert into stats_deltas select 'n', '2026-01-01', null, 1, 2, 3, 4, null, 'click', 1, 1, 0, 0, 0").await;
    expect_right(&db, "off").await;
    on(&settings).await;
    expect_right(&db, "on again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_switch_it_on_one_does() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let today = date(&db, 0).await;
    write(&settings, 1, &all_kinds("a", &today)).await;
    let told = Arc::new(AtomicU32::new(0));
    let first = beside({
        let (settings, told) = (settings.clone(), Arc::clone(&told));
        let wait = move |_: Filled| {
            if told.fetch_add(1, Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_secs(3));
            }
        };
        async move || switch::on(&settings, wait).await
    });
    until(&db, "select state from rollup_state", &["filling"]).await;
    // It does not clear what the first one fills. When that has let go of it, either may be next: the first one ends it, or
    // the second begins afresh, and the first says so.
    let second = switch::on(&settings, |_| {}).await.unwrap();
    let first = first.await.unwrap();
    match second {
        None => assert_eq!(first.unwrap().unwrap().of_days, 1),
        Some(_) => assert!(first.unwrap_err().to_string().contains("somebody else")),
    }
    assert_eq!(db.rows("select state from rollup_state").await, ["on"]);
    expect_right(&db, "on").await;
}

#[tokio::test]
async fn the_command_says_what_it_did() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    write(&settings, 1, &all_kinds("a", &date(&db, 0).await)).await;
    for (to, said) in [
        ("off", "the rollup is off already\n"),
        (
            "on",
            "the rollup is on: the facts of 15 days are summed up in 6 rows\n",
        ),
        ("on", "the rollup is on already\n"),
        ("off", "the rollup is off: view stats reads the facts\n"),
    ] {
        let ended = hydrant(&db, &["migrate", "--rollup", to]);
        assert_eq!(ended.status, 0, "{}", ended.err);
        assert_eq!(
            ended.text(),
            format!("the database is up to date (schema public)\n{said}")
        );
    }
    assert_eq!(hydrant(&db, &["migrate", "--rollup", "half"]).status, 2);
}
