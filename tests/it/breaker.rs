//! The mass breaker: when most input is bad, it stays in the queue.

use crate::support::{Daemon, Queue, body, conversion, database, envelope, wait_until};

const RECEIVED: &str = "hydrant_messages_received_total";

fn bad(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("bad {n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn most_of_bad_input_stays_in_the_queue() {
    let (queue, database) = (Queue::start().await, database().await);
    queue.send(&bad(1_000)).await;
    let settings = "source.one.workers = 2\nsource.one.linger_ms = 2000";
    let daemon = Daemon::spawn(&database.url, &[&queue], settings, &[]);
    wait_until("it is paused", 30, async || {
        daemon.ready().await == (503, "source one: paused: mass_bad_input\n".into())
    })
    .await;
    // Each worker may have had one receive under way when the 200th was seen.
    let received = daemon.metric(RECEIVED, "").await;
    assert!((200.0..=240.0).contains(&received), "{received}");
    assert_eq!(daemon.metric("hydrant_paused", "mass_bad_input").await, 1.0);
    wait_until("what was received is in quarantine", 10, async || {
        queue.counts().await.in_flight == 0
    })
    .await;
    let quarantined = database.rows("select count(*) from quarantine").await;
    assert_eq!(quarantined, [received.to_string()]);
    assert_eq!(queue.counts().await.visible, 1_000 - received as usize);
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_by_itself_when_the_input_is_good_again() {
    let (queue, database) = (Queue::start().await, database().await);
    // It is ready before there is anything bad, and not any more as soon as there is.
    let daemon = Daemon::start(&database.url, &[&queue], "source.one.workers = 2").await;
    queue.send(&bad(300)).await;
    let paused = async || daemon.metric("hydrant_paused", "mass_bad_input").await == 1.0;
    wait_until("it is paused", 30, paused).await;
    // What is bad is taken out, as its owner would.
    queue.delete().await;
    queue.create_again().await;
    let good: Vec<String> = (0..15)
        .map(|n| body(&envelope(&format!("[{}]", conversion(&n.to_string())))))
        .collect();
    queue.send(&good).await;
    // It looks once a minute.
    daemon.until_ready(120).await;
    queue.drained(30).await;
    assert_eq!(database.rows("select count(*) from events").await, ["15"]);
    assert_eq!(daemon.metric("hydrant_paused", "").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_empty_does_not_wait_for_better_input() {
    let (queue, database) = (Queue::start().await, database().await);
    queue.send(&bad(300)).await;
    let ended = Daemon::spawn(&database.url, &[&queue], "", &["--until-empty"])
        .ended(60)
        .await;
    assert_eq!(ended.status, Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap();
    assert!(
        last.contains("source.one") && last.contains("--accept-bad"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_bad_takes_it_all() {
    let (queue, database) = (Queue::start().await, database().await);
    queue.send(&bad(300)).await;
    queue
        .send(&[body(&envelope(&format!("[{}]", conversion("good"))))])
        .await;
    let ended = Daemon::spawn(
        &database.url,
        &[&queue],
        "",
        &["--until-empty", "--accept-bad"],
    )
    .ended(60)
    .await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    assert_eq!(
        database.rows("select count(*) from quarantine").await,
        ["300"]
    );
    assert_eq!(database.rows("select event_id from events").await, ["good"]);
}
