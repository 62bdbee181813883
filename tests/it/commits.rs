//! A COMMIT counts only when the server said that it is done. Everything else may mean anything: the message stays, and when
//! it comes again it changes nothing.

use std::sync::atomic::Ordering;

use hydrant::demo::feed::UNITS;
use hydrant::demo::publication::Publication;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::Executor;

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Counts, Daemon, Queue, body, conversion, database, envelope, wait_until};

const DELETED: &str = "hydrant_messages_deleted_total";
const EVENTS: &str = "hydrant_events_total";
const STORE_FAULTS: &str = "hydrant_store_faults_total";

fn message(id: &str) -> String {
    body(&envelope(&format!("[{}]", conversion(id))))
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_in_commit_lose_and_double_nothing() {
    const CUTS: usize = 60;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    let mut feed = Publication::new(seed);
    let bodies = feed.backlog(40);
    // Parts of a message's forty events, so that there are commits enough.
    let daemon = Daemon::start(&proxy.url, &[&queue], "source.one.batch_events = 10").await;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut left = CUTS;
    proxy.decide(move |message| {
        let cuts = [
            Fault::CutBefore,
            Fault::CutWithin,
            Fault::CutAfter,
            Fault::CutAnswer,
        ];
        if left == 0 || !message.is_commit() || rng.random_bool(0.5) {
            return Fault::None;
        }
        left -= 1;
        *cuts.choose(&mut rng).unwrap()
    });
    queue.send(&bodies).await;
    queue.drained(120).await;

    let hits = proxy.hits();
    let count = |fault| hits.iter().filter(|hit| **hit == fault).count();
    println!(
        "{} cuts in COMMIT: {} before, {} within, {} after it, {} of its answer",
        hits.len(),
        count(Fault::CutBefore),
        count(Fault::CutWithin),
        count(Fault::CutAfter),
        count(Fault::CutAnswer)
    );
    assert!(hits.len() >= 50, "only {} cuts", hits.len());
    assert!(daemon.metric(STORE_FAULTS, "").await >= hits.len() as f64);
    let expected = feed.expected;
    let counts = "select (select count(*) from events), (select count(*) from adjustments),
        (select count(*) from event_variants), (select count(*) from quarantine)";
    let in_quarantine = expected.quarantined + feed.bad_bodies;
    assert_eq!(
        database.rows(counts).await,
        [format!(
            "{}|{}|{}|{in_quarantine}",
            expected.stored, expected.adjustments, expected.variants
        )]
    );
    let sums = format!(
        "select sum(impressions)::bigint, sum(clicks)::bigint, sum(conversions)::bigint,
             (sum(payout) * {UNITS})::bigint, (sum(revenue) * {UNITS})::bigint,
             (sum(sale_amount) * {UNITS})::bigint from stats"
    );
    let totals = feed.totals;
    assert_eq!(
        database.rows(&sums).await,
        [format!(
            "{}|{}|{}|{}|{}|{}",
            totals.impressions,
            totals.clicks,
            totals.conversions,
            totals.payout,
            totals.revenue,
            totals.sale_amount
        )]
    );
    let folded = "select count(*) from record_patches p where adjustment_count <>
        (select count(*) from adjustments a where (a.network_id, a.record_id) = (p.network_id, p.record_id))";
    assert_eq!(database.rows(folded).await, ["0"]);
    assert_eq!(
        daemon.metric(DELETED, "").await,
        bodies.len() as f64,
        "each message was deleted once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_unknown_is_never_acknowledged() {
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    let settings = "source.one.visibility_timeout_secs = 5";
    let daemon = Daemon::start(&proxy.url, &[&queue], settings).await;
    let refusing = proxy.refusing.clone();
    proxy.decide(move |message| {
        if message.is_commit() {
            refusing.store(true, Ordering::SeqCst);
            return Fault::CutAnswer;
        }
        Fault::None
    });
    queue.send(&[message("1")]).await;
    wait_until("it is paused, and held on to", 60, async || {
        let extended = daemon
            .metric("hydrant_visibility_extensions_total", "extended")
            .await;
        extended >= 4.0 && daemon.ready().await == (503, "paused: store_unavailable\n".into())
    })
    .await;
    // It is there, but the daemon cannot know.
    assert_eq!(proxy.hits(), [Fault::CutAnswer]);
    assert_eq!(database.rows("select event_id from events").await, ["1"]);
    let held = Counts {
        in_flight: 1,
        ..Counts::NONE
    };
    assert_eq!(queue.counts().await, held);
    assert_eq!(daemon.metric(DELETED, "").await, 0.0);
    assert_eq!(daemon.metric(EVENTS, "").await, 0.0);

    proxy.decide(|_| Fault::None);
    proxy.refusing.store(false, Ordering::SeqCst);
    queue.drained(30).await;
    daemon.until_ready(10).await;
    assert_eq!(database.rows("select event_id from events").await, ["1"]);
    assert_eq!(daemon.metric(EVENTS, "duplicate").await, 1.0);
    assert_eq!(daemon.metric(EVENTS, "").await, 1.0);
    assert_eq!(daemon.metric(DELETED, "").await, 1.0);
    let received = daemon.metric("hydrant_messages_received_total", "").await;
    assert_eq!(received, 1.0, "what was held was kept invisible");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_server_answers_with_rollback_is_no_commit() {
    let (queue, database) = (Queue::start().await, database().await);
    // What it is about: the library takes ROLLBACK for success.
    let mut session = database.connect().await;
    session.execute("begin").await.unwrap();
    session.execute("select 1/0").await.unwrap_err();
    session.execute("commit").await.unwrap();
    session.execute("begin").await.unwrap();
    session.execute("select 1/0").await.unwrap_err();
    session.execute("select 1; commit").await.unwrap_err();

    let proxy = Proxy::start(&database.url).await;
    let daemon = Daemon::start(&proxy.url, &[&queue], "").await;
    let mut left = 3;
    proxy.decide(move |message| {
        if left == 0 || !message.is_commit() {
            return Fault::None;
        }
        left -= 1;
        Fault::FailedStatement
    });
    queue.send(&[message("1")]).await;
    queue.drained(30).await;
    assert_eq!(proxy.hits(), [Fault::FailedStatement; 3]);
    assert_eq!(database.rows("select event_id from events").await, ["1"]);
    assert_eq!(daemon.metric(EVENTS, "stored").await, 1.0);
    assert_eq!(daemon.metric(STORE_FAULTS, "commit_rolled_back").await, 3.0);
    assert_eq!(daemon.metric(DELETED, "").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_may_fail_in_every_way_at_a_commit() {
    const FAULTS: [Fault; 6] = [
        Fault::Reset,
        Fault::HalfClose,
        Fault::Slow,
        Fault::BlackHole,
        Fault::BlackHoleAfter,
        Fault::CutWithin,
    ];
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    let settings = "database.statement_timeout_ms = 1000\ndatabase.lock_timeout_ms = 500";
    let daemon = Daemon::start(&proxy.url, &[&queue], settings).await;
    for (nth, fault) in FAULTS.into_iter().enumerate() {
        let mut armed = true;
        proxy.decide(move |message| {
            let strikes = armed && message.is_commit();
            armed &= !strikes;
            if strikes { fault } else { Fault::None }
        });
        // Two events, which are tried by halves after a deadline.
        let events = [0, 1].map(|n| conversion(&format!("{nth}-{n}")));
        queue
            .send(&[body(&envelope(&format!("[{}]", events.join(","))))])
            .await;
        // The deadline is two seconds; what a black hole left behind holds its locks for one more.
        queue.drained(12).await;
        assert_eq!(proxy.hits().last(), Some(&fault));
    }
    let rows = database
        .rows("select count(*), count(distinct event_id) from events")
        .await;
    assert_eq!(rows, [format!("{n}|{n}", n = 2 * FAULTS.len())]);
    assert_eq!(daemon.metric(DELETED, "").await, FAULTS.len() as f64);
    let lost = daemon.metric(STORE_FAULTS, "commit_unknown").await;
    assert_eq!(
        lost, 3.0,
        "a reset, a half close and a cut; slow is no fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_after_a_race_is_left_in_time() {
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    // Without days: who makes one may roll back, too.
    let settings = "database.statement_timeout_ms = 1000\ndatabase.lock_timeout_ms = 500\n\
                    database.partition_by = \"none\"";
    let daemon = Daemon::start(&proxy.url, &[&queue], settings).await;
    // Another process has the event already: it is copied in vain, and everything is looked at again.
    let other_queue = Queue::start().await;
    other_queue.send(&[message("1")]).await;
    let other = Daemon::start(&database.url, &[&other_queue], settings).await;
    other_queue.drained(30).await;
    assert_eq!(other.stop("TERM").await.status, Some(0));
    let (mut rolled_back, mut armed) = (false, true);
    proxy.decide(move |message| {
        let strikes = armed && rolled_back;
        rolled_back |= message.sql == "rollback";
        armed &= !strikes;
        if strikes {
            Fault::BlackHole
        } else {
            Fault::None
        }
    });
    queue.send(&[message("1")]).await;
    queue.drained(20).await;
    assert_eq!(proxy.hits(), [Fault::BlackHole]);
    assert_eq!(database.rows("select event_id from events").await, ["1"]);
    assert_eq!(daemon.metric(EVENTS, "duplicate").await, 1.0);
}
