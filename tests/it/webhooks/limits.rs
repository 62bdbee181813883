//! Bodies that are too large or too slow, and too many of them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::*;
use crate::support::wait_until;

const SMALL: &str = "source.hooks.max_request_bytes = 100_000
    source.hooks.max_body_bytes = 1_048_576
    source.hooks.header_timeout_secs = 1
    source.hooks.body_timeout_secs = 1";

/// A body of so many bytes that is one event, with white space around it.
fn padded(id: &str, bytes: usize) -> Vec<u8> {
    let mut body = message(id);
    body.resize(bytes, b' ');
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_a_limit_is_refused_whole() {
    let hooks = Hooks::start(SMALL).await;
    let (port, key) = (hooks.port, key());
    for (body, status) in [
        (padded("whole", 100_000), 200),
        (padded("never", 100_001), 413),
        (padded("never", 5_000_000), 413),
        (gzip(&padded("unpacked", 1_048_576)), 200),
        (gzip(&padded("never", 1_048_577)), 413),
        // A bomb: a thousand times as large as it comes.
        (gzip(&padded("never", 60_000_000)), 413),
    ] {
        let reply = post(port, "/in/hooks/key", &key, &body).await;
        assert_eq!(reply.status, status, "{} bytes", body.len());
    }
    // Whoever does not say how large it is, and whoever asks before sending.
    let mut sender = Sender::connect(port).await.unwrap();
    let head = format!("POST /in/hooks/key HTTP/1.1\r\nhost: test\r\n{key}");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    sender.write(chunked.as_bytes()).await.unwrap();
    for _ in 0..11 {
        let chunk = format!("2710\r\n{}\r\n", " ".repeat(10_000));
        sender.write(chunk.as_bytes()).await.unwrap();
    }
    assert_eq!(sender.reply().await.unwrap().status, 413);
    let mut sender = Sender::connect(port).await.unwrap();
    let polite = format!("{head}expect: 100-continue\r\ncontent-length: 100001\r\n\r\n");
    sender.write(polite.as_bytes()).await.unwrap();
    assert_eq!(sender.reply().await.unwrap().status, 413);
    assert_eq!(hooks.stored().await, ["unpacked", "whole"]);
    assert_eq!(hooks.counted("key", 413).await, 6.0);
    let peak = hooks.daemon.peak_memory() >> 20;
    assert!(peak < 120, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_cut_off() {
    let hooks = Hooks::start(SMALL).await;
    let head = format!(
        "POST /in/hooks/key HTTP/1.1\r\nhost: test\r\n{}content-length: 9\r\n",
        key()
    );
    let since = Instant::now();
    let (mut silent, mut slow, mut dripping) = (
        Sender::connect(hooks.port).await.unwrap(),
        Sender::connect(hooks.port).await.unwrap(),
        Sender::connect(hooks.port).await.unwrap(),
    );
    slow.write(head.as_bytes()).await.unwrap();
    dripping
        .write(format!("{head}\r\n").as_bytes())
        .await
        .unwrap();
    // Each drip comes in time, and all of them too late: with the ninth the body would be whole.
    let mut reply = None;
    for _ in 0..9 {
        dripping.write(b" ").await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(800), dripping.reply());
        if let Ok(answer) = waiting.await {
            reply = Some(answer.unwrap().status);
            break;
        }
    }
    assert_eq!(reply, Some(408));
    assert_eq!(silent.closed().await, "");
    assert_eq!(slow.closed().await, "");
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(hooks.counted("key", 408).await, 1.0);
    assert_eq!(hooks.post(&message("next")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_requests_until_one_is_junk() {
    let hooks = Hooks::start("").await;
    let mut sender = Sender::connect(hooks.port).await.unwrap();
    for n in 0..3 {
        let body = message(&n.to_string());
        sender
            .send("POST", "/in/hooks/key", &key(), &body)
            .await
            .unwrap();
    }
    sender.write(b"\0\0 junk \r\n\r\n").await.unwrap();
    for _ in 0..3 {
        assert_eq!(sender.reply().await.unwrap().status, 200);
    }
    assert!(sender.closed().await.starts_with("HTTP/1.1 400"));
    assert_eq!(hooks.stored().await, ["0", "1", "2"]);
    // A head without end.
    let mut sender = Sender::connect(hooks.port).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nx: {}", "x".repeat(100_000));
    let _ = sender.write(head.as_bytes()).await;
    assert!(sender.closed().await.starts_with("HTTP/1.1 431"));
    // A body that breaks off is no delivery.
    let mut sender = Sender::connect(hooks.port).await.unwrap();
    let broken = format!(
        "POST /in/hooks/key HTTP/1.1\r\nhost: test\r\n{}transfer-encoding: chunked\r\n\r\nnonsense\r\n",
        key()
    );
    sender.write(broken.as_bytes()).await.unwrap();
    assert_eq!(sender.reply().await.unwrap().status, 400);
    assert_eq!(hooks.stored().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_be_for_some_networks_alone() {
    let hooks = Hooks::start(
        "source.hooks.proxies = [\"127.0.0.1\"]
         source.hooks.route.key.networks = [\"203.0.113.0/24\", \"2001:db8::1\"]
         source.hooks.route.open.networks = [\"127.0.0.0/8\"]",
    )
    .await;
    let forwarded = |from: &str| format!("{}x-forwarded-for: {from}\r\n", key());
    let wrong = "x-api-key: wrong\r\nx-forwarded-for: 203.0.113.9\r\n".to_owned();
    for (path, headers, status) in [
        ("/in/hooks/key", key(), 403),
        ("/in/hooks/key", forwarded("198.51.100.1"), 403),
        ("/in/hooks/key", forwarded("203.0.113.9, 198.51.100.1"), 403),
        ("/in/hooks/key", forwarded("unknown"), 403),
        ("/in/hooks/key", wrong, 401),
        ("/in/hooks/key", forwarded("203.0.113.9"), 200),
        ("/in/hooks/key", forwarded("198.51.100.1, 2001:db8::1"), 200),
        ("/in/hooks/open", forwarded("203.0.113.9"), 403),
        ("/in/hooks/open", String::new(), 200),
    ] {
        let reply = post(hooks.port, path, &headers, b"[]").await;
        assert_eq!(reply.status, status, "{path} {headers}");
    }
    assert_eq!(hooks.counted("key", 403).await, 4.0);
    let log = hooks.daemon.stop("TERM").await.log;
    assert!(
        log.contains("not from one of the route's networks"),
        "{log}"
    );
    assert!(!log.contains("198.51.100"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_so_many_requests_a_second() {
    let hooks = Hooks::start("source.hooks.route.key.requests_per_second = 5").await;
    let (since, mut taken, mut refused) = (Instant::now(), 0, 0);
    // Together, because each waits for its COMMIT.
    while refused == 0 {
        let bodies: Vec<_> = (0..20).map(|n| message(&format!("{taken}-{n}"))).collect();
        let key = key();
        let sent = bodies
            .iter()
            .map(|body| post(hooks.port, "/in/hooks/key", &key, body));
        for reply in join_all(sent).await {
            match reply.status {
                200 => taken += 1,
                429 => {
                    assert_eq!(reply.header("retry-after"), Some("1"));
                    refused += 1;
                }
                status => panic!("{status}"),
            }
        }
        let allowed = 5.0 + 5.0 * since.elapsed().as_secs_f64();
        assert!(f64::from(taken) <= allowed + 1.0, "{taken} of {allowed}");
    }
    assert!(taken >= 5, "{taken}");
    // Other routes have nothing to do with it, and a second later there is room again.
    let other = post(hooks.port, "/in/hooks/open", "", &message("other")).await;
    assert_eq!(other.status, 200);
    wait_until("there is room again", 10, async || {
        hooks.post(&message("later")).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_requests_and_bytes_may_wait() {
    let settings = "source.hooks.max_inflight_requests = 3
        source.hooks.max_request_bytes = 100_000
        source.hooks.max_inflight_request_bytes = 150_000";
    let hooks = Hooks::start(settings).await;
    let in_flight = async |count: f64| {
        wait_until("so many are in flight", 20, async || {
            hooks
                .daemon
                .metric("hydrant_http_requests_in_flight", "")
                .await
                == count
        })
        .await;
    };
    let mut holder = hooks.database.connect().await;
    let mut hold = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut holder).await.unwrap();
    };
    hold("begin; lock table events_conversions in share mode").await;
    let mut waiting = Vec::new();
    for n in 0..3 {
        let mut sender = Sender::connect(hooks.port).await.unwrap();
        let body = message(&n.to_string());
        sender
            .send("POST", "/in/hooks/key", &key(), &body)
            .await
            .unwrap();
        waiting.push(sender);
    }
    in_flight(3.0).await;
    let full = hooks.post(&message("never")).await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    hold("rollback").await;
    for sender in &mut waiting {
        assert_eq!(sender.reply().await.unwrap().status, 200);
    }
    // Two that are allowed by themselves, and not together.
    hold("begin; lock table events_conversions in share mode").await;
    let mut large = Sender::connect(hooks.port).await.unwrap();
    let body = padded("large", 100_000);
    large
        .send("POST", "/in/hooks/key", &key(), &body)
        .await
        .unwrap();
    in_flight(1.0).await;
    wait_until("it holds the bytes", 20, async || {
        hooks.post(&padded("never", 100_000)).await.status == 503
    })
    .await;
    hold("rollback").await;
    assert_eq!(large.reply().await.unwrap().status, 200);
    assert_eq!(hooks.stored().await, ["0", "1", "2", "large"]);
}
