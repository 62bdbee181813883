//! Whether `/readyz` says which source is not well and why, and the clocks among the metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Connection, Executor};

use crate::support::webhook::post;
use crate::support::{Daemon, Queue, body, conversion, database, envelope, free_port, wait_until};

const RECEIVED: &str = "hydrant_last_receive_timestamp_seconds";
const COMMITTED: &str = "hydrant_last_commit_timestamp_seconds";

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs_f64()
}

fn message(id: &str) -> String {
    envelope(&format!("[{}]", conversion(id)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_holds_what_it_cannot_store_is_not_well() {
    let (queue, database, port) = (Queue::start().await, database().await, free_port());
    let settings = format!(
        "source.hooks.type = \"http\"
         source.hooks.listen = \"127.0.0.1:{port}\"
         source.hooks.route.open.format = \"hasoffers\"
         source.hooks.route.open.auth = \"none\""
    );
    let daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    let started = now();
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    lock.execute("lock table events").await.unwrap();
    let sending = tokio::spawn(async move {
        let sent = message("1");
        post(port, "/in/hooks/open", "", sent.as_bytes())
            .await
            .status
    });
    // Its sender is told to send it again after 25 s: that is too long for anybody.
    wait_until("it says that it holds it for long", 60, async || {
        let (status, text) = daemon.ready().await;
        status == 503 && text.starts_with("source hooks: the oldest in flight was received ")
    })
    .await;
    let (_, text) = daemon.ready().await;
    assert!(!text.contains("source one"), "{text}");
    let well = "hydrant_source_well";
    assert_eq!(daemon.metric(well, "hooks").await, 0.0);
    assert_eq!(daemon.metric(well, "one").await, 1.0);
    assert!(
        daemon
            .metric("hydrant_oldest_in_flight_seconds", "hooks")
            .await
            > 25.0
    );
    assert_eq!(daemon.metric(COMMITTED, "").await, 0.0);
    // That nobody sends is well, and so is an empty queue: it was asked all the time.
    assert!(daemon.metric(RECEIVED, "one").await >= started);

    lock.rollback().await.unwrap();
    daemon.until_ready(60).await;
    assert_eq!(sending.await.unwrap(), 503);
    assert_eq!(
        daemon
            .metric("hydrant_oldest_in_flight_seconds", "hooks")
            .await,
        0.0
    );
    assert!(daemon.metric(COMMITTED, "hooks").await >= started);
    assert_eq!(database.rows("select event_id from events").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_drains_is_not_ready() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    lock.execute("lock table events").await.unwrap();
    queue.send(&[body(&message("1"))]).await;
    wait_until("it is held", 30, async || {
        daemon.metric("hydrant_messages_in_flight", "").await > 0.0
    })
    .await;
    daemon.signal("TERM");
    wait_until("it says so", 10, async || {
        daemon.ready().await == (503, "stopping\n".to_owned())
    })
    .await;
    lock.rollback().await.unwrap();
    assert_eq!(daemon.ended(30).await.status, Some(0));
}
