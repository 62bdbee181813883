//! A message that ends the process that reads it must not take others along.

use futures_util::future::join_all;

use crate::support::store::store;
use crate::support::{
    Counts, Daemon, Database, Queue, body, conversion, database, envelope, wait_until,
};

const SETTINGS: &str = "source.one.visibility_timeout_secs = 5\nsource.one.workers = 1";
const SUSPECTS: &str = "hydrant_suspect_messages_total";

fn message(id: &str) -> String {
    body(&envelope(&format!("[{}]", conversion(id))))
}

/// Makes a daemon stand still at this event for as long as the lock is held, instead of making it end.
async fn stand_still_at(database: &Database, event_id: &str) -> sqlx::PgConnection {
    let sql = format!(
        "create function stand_still() returns trigger language plpgsql
             as $$ begin perform pg_advisory_xact_lock_shared(1); return new; end $$;
         create trigger stand_still before insert on events_conversions for each row
             when (new.event_id = '{event_id}') execute function stand_still()"
    );
    database.rows(&sql).await;
    let mut other = database.connect().await;
    sqlx::raw_sql("select pg_advisory_lock(1)")
        .execute(&mut other)
        .await
        .unwrap();
    other
}

async fn until_it_stands_still(database: &Database) {
    let sql = "select count(*) > 0 from pg_locks join pg_database d on d.oid = database
               where locktype = 'advisory' and not granted and datname = current_database()";
    wait_until("it stands still", 30, async || {
        database.rows(sql).await == ["t"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_often_is_handled_alone_after_the_others() {
    let (queue, database) = (Queue::start_with(5).await, database().await);
    let ids = ["a", "killer", "b", "c", "d"];
    queue
        .send(&ids[..3].iter().map(|id| message(id)).collect::<Vec<_>>())
        .await;
    for _ in 0..2 {
        assert_eq!(queue.receive(0).await.len(), 3);
    }
    queue
        .send(&ids[3..].iter().map(|id| message(id)).collect::<Vec<_>>())
        .await;
    store(&database).await;
    let lock = stand_still_at(&database, "killer").await;
    let daemon = Daemon::start(&database.url, &[&queue], SETTINGS).await;
    until_it_stands_still(&database).await;
    // Those that came for the first time are stored and deleted; of the three suspects, this one is held up alone.
    wait_until("the others are deleted", 10, async || {
        daemon.metric("hydrant_messages_deleted_total", "").await >= 2.0
    })
    .await;
    assert_eq!(
        daemon.metric("hydrant_messages_received_total", "").await,
        5.0
    );
    drop(lock);
    queue.drained(30).await;
    assert_eq!(daemon.metric(SUSPECTS, "").await, 3.0);
    let transactions = "select string_agg(event_id, ' ' order by event_id) from events group by xmin::text order by 1";
    assert_eq!(
        database.rows(transactions).await,
        ["a", "b", "c d", "killer"]
    );
    let log = daemon.log();
    let lines = log
        .matches("a message that came too often is handled alone")
        .count();
    assert_eq!(lines, 3, "{log}");
    assert!(log.contains("attempt=3"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_the_process_takes_no_others_along() {
    let deaths = join_all([0, 9].map(die_at)).await;
    println!("{deaths:?} deaths");
    // Twice together, once alone, and perhaps that was in front of the others: then once more.
    assert!(deaths.iter().all(|deaths| *deaths <= 4), "{deaths:?}");
}

/// The daemon dies of one message as long as there are others; how often.
async fn die_at(position: usize) -> usize {
    let (queue, database) = (Queue::start_with(5).await, database().await);
    store(&database).await;
    let lock = stand_still_at(&database, "killer").await;
    let mut ids: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    ids.insert(position, "killer".to_owned());
    queue
        .send(&ids.iter().map(|id| message(id)).collect::<Vec<_>>())
        .await;
    let (mut deaths, mut left) = (0, Counts::NONE);
    while left.visible + left.in_flight != 1 {
        let daemon = Daemon::start(&database.url, &[&queue], SETTINGS).await;
        until_it_stands_still(&database).await;
        left = queue.counts().await;
        daemon.kill();
        deaths += 1;
        assert!(deaths < 10 && left.dead == 0, "{left:?}");
        // Its session would stand there until its lock_timeout.
        let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
                   where application_name = 'hydrant' and datname = current_database()";
        database.rows(end).await;
    }
    let stored = "select count(*), count(distinct event_id) from events";
    assert_eq!(database.rows(stored).await, ["9|9"]);
    // With a daemon that can read it, it is stored like any other.
    drop(lock);
    let _daemon = Daemon::start(&database.url, &[&queue], SETTINGS).await;
    queue.drained(30).await;
    assert_eq!(database.rows(stored).await, ["10|10"]);
    deaths
}
