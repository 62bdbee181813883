//! What happens to the daemon while it runs: the database goes away, is read-only or slow; the daemon is killed.
//! Whatever it is, every event is stored once, by itself, and no message goes to the dead-letter queue.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};

use crate::support::{
    Counts, Daemon, Database, Postgres, Queue, Stop, body, conversion, database, envelope,
    wait_until,
};

const SHORT_VISIBILITY: &str = "source.one.visibility_timeout_secs = 5";
/// An outage of several visibility timeouts: without extensions, the messages held would go to the dead-letter queue.
const OUTAGE: Duration = Duration::from_secs(16);

fn message(id: &str) -> String {
    body(&envelope(&format!("[{}]", conversion(id))))
}

fn messages(count: usize) -> Vec<String> {
    (0..count).map(|n| message(&n.to_string())).collect()
}

/// How many conversions there are, and how many different ones.
async fn stored(database: &Database) -> Vec<String> {
    let sql = "select count(*), count(distinct event_id) from events";
    database.rows(sql).await
}

async fn until_paused(daemon: &Daemon, reason: &str) {
    wait_until(reason, 30, async || {
        let (status, text) = daemon.ready().await;
        status == 503 && text == format!("paused: {reason}\n")
    })
    .await;
    assert_eq!(daemon.metric("hydrant_store_up", "").await, 0.0);
    let labels = format!(r#"reason="{reason}""#);
    assert_eq!(daemon.metric("hydrant_paused", &labels).await, 1.0);
    assert_eq!(
        daemon.metric("hydrant_paused", "").await,
        1.0,
        "one reason at a time"
    );
}

/// Sends a message every 50 ms until told to stop, while `during` runs; how many were sent.
async fn while_messages_flow(queue: &Queue, during: impl Future<Output = ()>) -> usize {
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let flow = async {
        while !stop.load(Ordering::Relaxed) {
            let id = sent.fetch_add(1, Ordering::Relaxed).to_string();
            queue.send(&[message(&id)]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let during = async {
        during.await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(flow, during);
    sent.into_inner()
}

/// The daemon is paused: for a while nothing is received, and nothing goes to the dead-letter queue.
async fn outlast(daemon: &Daemon, queue: &Queue, outage: Duration) {
    let receives = daemon.metric("hydrant_receives_total", "").await;
    let end = Instant::now() + outage;
    while Instant::now() < end {
        assert_eq!(queue.counts().await.dead, 0);
        assert_eq!(daemon.ready().await.0, 503);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let more = daemon.metric("hydrant_receives_total", "").await - receives;
    // Each of the two workers had one under way, and may have looked once for more.
    assert!(more <= 4.0, "{more} receives while the store was down");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_loses_and_doubles_nothing() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    let daemon = Daemon::start(&database.url, &[&queue], SHORT_VISIBILITY).await;
    let sent = while_messages_flow(
        &queue,
        Box::pin(async {
            wait_until("some are stored", 30, async || {
                stored(&database).await != ["0|0"]
            })
            .await;
            postgres.stop(Stop::Immediate);
            until_paused(&daemon, "store_unavailable").await;
            outlast(&daemon, &queue, OUTAGE).await;
            postgres.start_again();
            daemon.until_ready(30).await;
        }),
    )
    .await;
    queue.drained(30).await;
    assert_eq!(stored(&database).await, [format!("{sent}|{sent}")]);
    assert_eq!(daemon.metric("hydrant_store_up", "").await, 1.0);
    assert_eq!(daemon.metric("hydrant_paused", "").await, 0.0);
    let received = daemon.metric("hydrant_messages_received_total", "").await;
    assert_eq!(received, sent as f64, "what was held was kept invisible");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_waited_for() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    let daemon = Daemon::start(&database.url, &[&queue], SHORT_VISIBILITY).await;
    let set = async |state: &str| {
        // Each in a transaction of its own: ALTER SYSTEM takes no other.
        database
            .rows(&format!(
                "alter system set default_transaction_read_only = {state}"
            ))
            .await;
        database.rows("select pg_reload_conf()").await;
        database
            .rows("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hydrant'")
            .await;
    };
    let sent = while_messages_flow(
        &queue,
        Box::pin(async {
            wait_until("some are stored", 30, async || {
                stored(&database).await != ["0|0"]
            })
            .await;
            set("on").await;
            until_paused(&daemon, "store_read_only").await;
            outlast(&daemon, &queue, Duration::from_secs(6)).await;
            set("off").await;
            daemon.until_ready(30).await;
        }),
    )
    .await;
    queue.drained(30).await;
    assert_eq!(stored(&database).await, [format!("{sent}|{sent}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_may_take_longer_than_the_visibility_timeout() {
    let (queue, database) = (Queue::start().await, database().await);
    let settings = format!(
        "{SHORT_VISIBILITY}\ndatabase.lock_timeout_ms = 60000\ndatabase.statement_timeout_ms = 60000"
    );
    let daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    lock.execute("lock table events").await.unwrap();
    queue.send(&messages(5)).await;
    // Three extensions take one visibility timeout. Each of the two workers holds what its first receive gave it.
    wait_until("what is held is extended 8 times", 60, async || {
        let Counts {
            visible,
            in_flight,
            dead,
        } = queue.counts().await;
        assert_eq!((visible + in_flight, dead), (5, 0));
        let extended = daemon
            .metric(
                "hydrant_visibility_extensions_total",
                r#"outcome="extended""#,
            )
            .await;
        in_flight > 0 && extended >= 8.0 * in_flight as f64
    })
    .await;
    assert_eq!(
        daemon.metric("hydrant_messages_deleted_total", "").await,
        0.0
    );
    lock.rollback().await.unwrap();
    queue.drained(30).await;
    assert_eq!(stored(&database).await, ["5|5"]);
    assert_eq!(
        daemon.metric("hydrant_messages_received_total", "").await,
        5.0
    );
    assert_eq!(
        daemon
            .metric("hydrant_visibility_extensions_total", r#"outcome="failed""#)
            .await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_loses_and_doubles_nothing() {
    const COUNT: usize = 500;
    let (queue, database) = (Queue::start().await, database().await);
    // Small transactions, and a database that takes its time: the kill comes in the middle.
    let settings =
        format!("{SHORT_VISIBILITY}\nsource.one.batch_events = 5\nsource.one.linger_ms = 0");
    let mut daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    database
        .rows(
            "create function wait() returns trigger language plpgsql
                 as $$ begin perform pg_sleep(0.002); return new; end $$;
             create trigger wait before insert on events_conversions for each row execute function wait()",
        )
        .await;
    let with_update = |n: usize| {
        let update = format!(
            r#"{{"event_id":"update-{n}","action":"conversion","adjust_action":"update","tune_event_id":"record-{n}","adjustment_sequence_id":{n},"payout":0.25}}"#
        );
        body(&envelope(&format!(
            "[{update},{}]",
            conversion(&n.to_string())
        )))
    };
    queue
        .send(&(0..COUNT).map(with_update).collect::<Vec<_>>())
        .await;
    for enough in [30, 60] {
        wait_until("some are stored", 30, async || {
            let sql = format!("select count(*) > {enough} from events");
            database.rows(&sql).await == ["t"]
        })
        .await;
        daemon.kill();
        assert_ne!(
            queue.counts().await,
            Counts::NONE,
            "it was killed in the middle"
        );
        daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    }
    queue.drained(60).await;
    let sum = COUNT as f64 * 1.75;
    let sql = "select count(*), sum(adjustment_count), sum(net_payout) from conversions";
    assert_eq!(
        database.rows(sql).await,
        [format!("{COUNT}|{COUNT}|{sum:.2}")]
    );
    assert_eq!(
        database.rows("select count(*) from quarantine").await,
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_are_apart() {
    let (one, two, database) = (Queue::start().await, Queue::start().await, database().await);
    let named = |source: &str| vec![message(&format!("of {source}")), format!("bad of {source}")];
    one.send(&named("one")).await;
    two.send(&named("two")).await;
    two.send(&[message("more of two")]).await;
    let daemon = Daemon::start(&database.url, &[&one, &two], "").await;
    one.drained(30).await;
    two.drained(30).await;
    let sql = "select event_id from events order by 1";
    assert_eq!(
        database.rows(sql).await,
        ["more of two", "of one", "of two"]
    );
    let sql = "select source, encode(payload, 'escape') from quarantine order by 1";
    assert_eq!(
        database.rows(sql).await,
        ["one|bad of one", "two|bad of two"]
    );
    for (source, count) in [("one", 2.0), ("two", 3.0)] {
        let labels = format!(r#"source="{source}""#);
        assert_eq!(
            daemon
                .metric("hydrant_messages_deleted_total", &labels)
                .await,
            count
        );
    }
}
