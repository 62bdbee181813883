//! Bodies near SQS' limit of 1 MiB can inflate to a thousand times that. Memory stays bounded, whatever is in them.

use crate::support::{Daemon, Queue, base64, body, click, conversion, database, envelope, gzip};

const MIB: usize = 1 << 20;
/// SQS takes no larger message.
const MESSAGE_MAX: usize = MIB;
/// What a daemon with default settings may take, at most.
const MEMORY_MAX: usize = 300 * MIB;
/// One event of 60 MiB stands in memory as JSON, as a row, and on its way to the database, more than once.
const LARGE_EVENT_MEMORY_MAX: usize = 360 * MIB;

fn good(id: &str) -> String {
    body(&envelope(&format!("[{}]", conversion(id))))
}

/// Copies of an element, as many as fit.
fn array_of(element: &str, bytes: usize) -> String {
    format!(
        "[{}{element}]",
        format!("{element},").repeat(bytes / (element.len() + 1))
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_mebibytes_of_events_are_stored_completely() {
    let (queue, database) = (Queue::start().await, database().await);
    // Long texts that repeat, and enough that does not for the body to come near the limit.
    let mut data = String::from("[");
    let mut count = 0;
    while data.len() < 60 * MIB {
        let noise: u64 = rand::random();
        let agent = format!("Mozilla/5.0 {noise:x} {}", "like Gecko ".repeat(200));
        data += &format!(
            r#"{}{{"event_id":"{count}","action":"conversion","user_agent":"{agent}","payout":0.01}}"#,
            if count == 0 { "" } else { "," }
        );
        count += 1;
    }
    data += "]";
    let large = body(&envelope(&data));
    assert!(
        (MESSAGE_MAX / 2..MESSAGE_MAX).contains(&large.len()),
        "{} bytes",
        large.len()
    );
    queue.send(&[good("before"), large, good("after")]).await;

    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(60).await;

    let sql = "select count(*), count(distinct event_id), sum(payout), min(length(user_agent)) > 2000 from events
               where event_id not in ('before', 'after')";
    let sum = format!("{}.{:02}", count / 100, count % 100);
    assert_eq!(
        database.rows(sql).await,
        [format!("{count}|{count}|{sum}|t")]
    );
    let sql = "select count(*) from events where event_id in ('before', 'after')";
    assert_eq!(database.rows(sql).await, ["2"]);
    assert_eq!(
        daemon.metric("hydrant_messages_received_total", "").await,
        3.0
    );
    assert!(
        daemon.peak_memory() < MEMORY_MAX,
        "{} MiB",
        daemon.peak_memory() / MIB
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_not_inflated() {
    let (queue, database) = (Queue::start().await, database().await);
    // As much as deflate can pack into one message.
    let bomb = base64(&gzip(&vec![b' '; 760 * MIB]));
    assert!(bomb.len() < MESSAGE_MAX, "{} bytes", bomb.len());
    queue
        .send(&[good("before"), bomb.clone(), good("after")])
        .await;

    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(60).await;

    let sql = "select scope, reason, length(payload) from quarantine";
    assert_eq!(
        database.rows(sql).await,
        [format!("body|too_large|{}", bomb.len())]
    );
    let sql = "select event_id from events order by 1";
    assert_eq!(database.rows(sql).await, ["after", "before"]);
    assert!(
        daemon.peak_memory() < MEMORY_MAX,
        "{} MiB",
        daemon.peak_memory() / MIB
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_events_do_not_become_large_ones() {
    let (queue, database) = (Queue::start().await, database().await);
    // As rows with all their columns they would take twenty times the memory of their JSON.
    let many = body(&envelope(&array_of(&click("1"), 60 * MIB)));
    // Each becomes a row of quarantine. It is one row, because all have the same bytes.
    let ones = body(&envelope(&array_of("1", 4 * MIB)));
    queue
        .send(&[good("before"), many, ones, good("after")])
        .await;

    // A line of log for each of two million events is no part of this test.
    let daemon = Daemon::start(&database.url, &[&queue], r#"log.level = "error""#).await;
    queue.drained(60).await;

    let sql = "select event_id from events order by 1";
    assert_eq!(database.rows(sql).await, ["1", "after", "before"]);
    let sql = "select reason, encode(payload, 'escape'), seen from quarantine";
    assert_eq!(
        database.rows(sql).await,
        [format!("not_an_object|1|{}", 2 * MIB + 1)]
    );
    assert_eq!(
        daemon.metric("hydrant_messages_received_total", "").await,
        4.0
    );
    assert!(
        daemon.peak_memory() < MEMORY_MAX,
        "{} MiB",
        daemon.peak_memory() / MIB
    );
}

/// Stores one event of 60 MiB, between two small ones; gives back the most memory that took.
async fn peak_of_one_event(member: &str, expected: &str) -> usize {
    let (queue, database) = (Queue::start().await, database().await);
    let text = "x".repeat(60 * MIB);
    let event = format!(r#"[{{"event_id":"large","action":"click","{member}":"{text}"}}]"#);
    queue
        .send(&[good("before"), body(&envelope(&event)), good("after")])
        .await;
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(60).await;
    let sql = "select event_id, length(url), extra from events where event_id = 'large'
               union all select reason, length(payload), null from quarantine";
    assert_eq!(database.rows(sql).await, [expected]);
    let sql = "select count(*) from events where event_id in ('before', 'after')";
    assert_eq!(database.rows(sql).await, ["2"]);
    daemon.peak_memory()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_may_be_as_large_as_its_body() {
    let length = 60 * MIB;
    for (member, expected) in [
        ("url", format!("large|{length}|NULL")),
        // What has no column is stored as jsonb, which has limits.
        ("new", format!("too_large|{}|NULL", length + 46)),
        ("payout", format!("amount|{}|NULL", length + 49)),
    ] {
        let peak = peak_of_one_event(member, &expected).await;
        assert!(
            peak < LARGE_EVENT_MEMORY_MAX,
            "{member}: {} MiB",
            peak / MIB
        );
    }
}
