//! How the daemon ends: it finishes what it holds, or gives it back.

use std::time::Duration;

use sqlx::{Connection, Executor};

use crate::support::{
    Counts, Daemon, Database, Queue, body, conversion, database, envelope, wait_until,
};

/// How long an idle daemon may take to stop.
const AT_ONCE: Duration = Duration::from_secs(2);

fn messages(count: usize) -> Vec<String> {
    let message = |n: usize| body(&envelope(&format!("[{}]", conversion(&n.to_string()))));
    (0..count).map(message).collect()
}

async fn stored(database: &Database) -> Vec<String> {
    database.rows("select count(*) from events").await
}

/// Waits until a session waits for a lock in this database.
async fn until_it_waits(database: &Database) {
    let sql = "select count(*) > 0 from pg_locks join pg_database d on d.oid = database
               where not granted and datname = current_database()";
    wait_until("the daemon waits for a lock", 30, async || {
        database.rows(sql).await == ["t"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_stops_at_once() {
    let (queue, database) = (Queue::start().await, database().await);
    for signal in ["TERM", "INT"] {
        let mut least = Duration::MAX;
        // The best of three: this machine may be busy.
        for _ in 0..3 {
            let daemon =
                Daemon::start(&database.url, &[&queue], "source.one.wait_time_secs = 20").await;
            let ended = daemon.stop(signal).await;
            assert_eq!(ended.status, Some(0), "{}", ended.log);
            least = least.min(ended.took);
            if least < AT_ONCE {
                break;
            }
        }
        assert!(least < AT_ONCE, "{least:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_finished_first() {
    for signal in ["TERM", "INT"] {
        let (queue, database) = (Queue::start().await, database().await);
        let daemon = Daemon::start(&database.url, &[&queue], "").await;
        let mut other = database.connect().await;
        let mut lock = other.begin().await.unwrap();
        lock.execute("lock table events").await.unwrap();
        queue.send(&messages(3)).await;
        until_it_waits(&database).await;
        daemon.signal(signal);
        wait_until("it knows that it stops", 10, async || {
            daemon.ready().await.1.contains("stopping")
        })
        .await;
        lock.rollback().await.unwrap();
        let ended = daemon.ended(10).await;
        assert_eq!(ended.status, Some(0), "{}", ended.log);
        // One worker may have been on its way to the messages that the other did not take: they are still there.
        let left = queue.counts().await;
        assert_eq!((left.in_flight, left.dead), (0, 0));
        let all = left.visible + stored(&database).await[0].parse::<usize>().unwrap();
        assert_eq!(all, 3, "{left:?}");
        assert!(left.visible < 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_finished_is_given_back() {
    for signal in ["TERM", "INT"] {
        let (queue, database) = (Queue::start().await, database().await);
        let daemon = Daemon::start(&database.url, &[&queue], "shutdown_secs = 5").await;
        let mut other = database.connect().await;
        let mut lock = other.begin().await.unwrap();
        lock.execute("lock table events").await.unwrap();
        queue.send(&messages(3)).await;
        until_it_waits(&database).await;
        let ended = daemon.stop(signal).await;
        assert_eq!(ended.status, Some(0), "{}", ended.log);
        // By its own clock it took less, or it would have failed; by ours, not much more.
        assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
        let all_visible = Counts {
            visible: 3,
            ..Counts::NONE
        };
        assert_eq!(queue.counts().await, all_visible);
        lock.rollback().await.unwrap();
        assert_eq!(stored(&database).await, ["0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_lets_go_at_once() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "shutdown_secs = 60").await;
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    lock.execute("lock table events").await.unwrap();
    queue.send(&messages(3)).await;
    until_it_waits(&database).await;
    daemon.signal("TERM");
    wait_until("it knows that it stops", 10, async || {
        daemon.ready().await.1.contains("stopping")
    })
    .await;
    let ended = daemon.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    // And not only before its minute is up.
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    assert_eq!(queue.counts().await.visible, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_empty_waits_for_what_is_in_flight_elsewhere() {
    let (queue, database) = (Queue::start().await, database().await);
    queue.send(&messages(25)).await;
    assert_eq!(queue.receive(6).await.len(), 10);
    let daemon = Daemon::spawn(&database.url, &[&queue], "", &["--until-empty"]);
    let ended = daemon.ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    assert_eq!(queue.counts().await, Counts::NONE);
    assert_eq!(stored(&database).await, ["25"]);
    // And when there is nothing to do.
    let ended = Daemon::spawn(&database.url, &[&queue], "", &["--until-empty"])
        .ended(30)
        .await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
}
