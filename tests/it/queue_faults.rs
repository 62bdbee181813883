//! What the queue can do to the daemon: it refuses calls, does not answer them, loses answers, forgets deletes, gives messages
//! twice, or is gone. The daemon goes on, says so, and stores everything once.

use std::collections::HashSet;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::{Connection, Executor};

use crate::support::sqs_proxy::{Answer, SqsProxy};
use crate::support::{
    Counts, Daemon, Database, Queue, body, conversion, database, envelope, wait_until,
};

const RECEIVES: &str = "hydrant_receives_total";
const RECEIVED: &str = "hydrant_messages_received_total";
const DELETED: &str = "hydrant_messages_deleted_total";
const DELETE_FAILURES: &str = "hydrant_delete_failures_total";
const EXTENSIONS: &str = "hydrant_visibility_extensions_total";
const EVENTS: &str = "hydrant_events_total";

/// A daemon whose calls go through a proxy.
struct Set {
    queue: Queue,
    database: Database,
    proxy: SqsProxy,
    daemon: Daemon,
}

impl Set {
    async fn start() -> Set {
        Set::start_with(2).await
    }

    async fn start_with(workers: usize) -> Set {
        Set::on(Queue::start().await, workers).await
    }

    async fn on(queue: Queue, workers: usize) -> Set {
        let database = database().await;
        let proxy = SqsProxy::start(&queue.endpoint).await;
        let settings = format!(
            "source.one.workers = {workers}\nsource.one.visibility_timeout_secs = 5\n{}",
            proxy.setting
        );
        let daemon = Daemon::start(&database.url, &[&queue], &settings).await;
        Set {
            queue,
            database,
            proxy,
            daemon,
        }
    }

    /// All calls of this operation get this answer, up to a number.
    fn answer(&self, operation: &'static str, answer: Answer, mut times: usize) {
        self.proxy.decide(move |called| {
            if called != operation || times == 0 {
                return Answer::Pass;
            }
            times -= 1;
            answer
        });
    }

    async fn until_not_ready(&self, words: &str) {
        wait_until(words, 30, async || {
            let (status, text) = self.daemon.ready().await;
            status == 503 && text.starts_with("source one: ") && text.contains(words)
        })
        .await;
        assert_eq!(self.daemon.get("/healthz").await.unwrap().0, 200);
    }

    async fn stored_once(&self, count: usize) {
        let sql = "select count(*), count(distinct event_id) from events";
        assert_eq!(self.database.rows(sql).await, [format!("{count}|{count}")]);
    }
}

fn messages(count: usize) -> Vec<String> {
    let message = |n: usize| body(&envelope(&format!("[{}]", conversion(&n.to_string()))));
    (0..count).map(message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn receives_that_fail_are_tried_again() {
    // One worker: when it has failed, nobody receives.
    let set = Set::start_with(1).await;
    let faults = [
        (
            Answer::Refuse(400, "ThrottlingException"),
            "ThrottlingException",
        ),
        (Answer::Refuse(400, "RequestThrottled"), "RequestThrottled"),
        (Answer::Refuse(500, "InternalFailure"), "InternalFailure"),
        (
            Answer::Refuse(503, "ServiceUnavailable"),
            "ServiceUnavailable",
        ),
        (Answer::Refuse(400, "KmsThrottled"), "KmsThrottled"),
        (Answer::Reset { arrives: false }, "no answer"),
    ];
    for (nth, (answer, words)) in faults.into_iter().enumerate() {
        let errors = set.daemon.metric(RECEIVES, "error").await;
        set.answer("ReceiveMessage", answer, usize::MAX);
        set.until_not_ready(&format!("could not receive messages ({words})"))
            .await;
        set.queue.send(&messages(nth + 1)[nth..]).await;
        wait_until("it has failed three times", 30, async || {
            set.daemon.metric(RECEIVES, "error").await >= errors + 3.0
        })
        .await;
        assert_eq!(set.queue.counts().await.visible, 1);
        set.answer("ReceiveMessage", Answer::Pass, 0);
        set.daemon.until_ready(30).await;
        set.queue.drained(30).await;
    }
    set.stored_once(faults.len()).await;
    let log = set.daemon.log();
    assert!(log.contains("receive failed"), "{log}");
    // A line for the first failure of a series, then fewer and fewer.
    let errors = set.daemon.metric(RECEIVES, "error").await;
    assert!((log.matches("receive failed").count() as f64) < errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_receive_whose_answer_is_lost_come_again() {
    let set = Set::start().await;
    set.answer("ReceiveMessage", Answer::Reset { arrives: true }, 2);
    set.queue.send(&messages(15)).await;
    set.queue.drained(30).await;
    assert_eq!(set.proxy.hits().len(), 2);
    set.stored_once(15).await;
    assert_eq!(set.daemon.metric(EVENTS, "duplicate").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_is_never_answered_is_given_up() {
    let set = Set::start().await;
    // Each of the two workers.
    set.answer("ReceiveMessage", Answer::Silence { arrives: false }, 2);
    wait_until("both wait", 10, async || set.proxy.hits().len() == 2).await;
    set.queue.send(&messages(1)).await;
    // A long poll of a second, and ten more.
    set.until_not_ready("could not receive messages").await;
    set.queue.drained(30).await;
    wait_until("both have given up", 30, async || {
        set.daemon.metric(RECEIVES, "error").await == 2.0
    })
    .await;
    set.daemon.until_ready(10).await;
    set.stored_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_fails_for_one_message_is_tried_again() {
    let set = Set::start().await;
    let fails = Answer::FailFirst {
        sender_fault: false,
    };
    set.answer("DeleteMessageBatch", fails, 2);
    set.queue.send(&messages(5)).await;
    set.queue.drained(30).await;
    assert_eq!(set.proxy.hits().len(), 2);
    assert_eq!(set.daemon.metric(DELETED, "").await, 5.0);
    assert_eq!(set.daemon.metric(DELETE_FAILURES, "").await, 0.0);
    assert_eq!(set.daemon.metric(RECEIVED, "").await, 5.0);
    set.stored_once(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_deleted_comes_again_and_changes_nothing() {
    let calls = [
        // A fault of the sender is final, others are tried three times.
        (Answer::FailFirst { sender_fault: true }, 1),
        (
            Answer::FailFirst {
                sender_fault: false,
            },
            3,
        ),
        (Answer::Refuse(500, "InternalFailure"), 3),
        (Answer::Reset { arrives: false }, 3),
    ];
    for (answer, times) in calls {
        let set = Set::start().await;
        set.answer("DeleteMessageBatch", answer, times);
        set.queue.send(&messages(1)).await;
        wait_until("the failure is counted", 30, async || {
            set.daemon.metric(DELETE_FAILURES, "").await == 1.0
        })
        .await;
        let log = set.daemon.log();
        let words = "messages could not be deleted; they will come again";
        assert!(log.contains(words), "{log}");
        set.queue.drained(30).await;
        assert_eq!(set.proxy.hits().len(), times, "{answer:?}");
        assert_eq!(set.daemon.metric(RECEIVED, "").await, 2.0, "{answer:?}");
        assert_eq!(set.daemon.metric(EVENTS, "duplicate").await, 1.0);
        assert_eq!(set.daemon.metric(DELETED, "").await, 1.0);
        set.stored_once(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_whose_answer_is_lost_is_done_again() {
    let set = Set::start().await;
    set.answer("DeleteMessageBatch", Answer::Reset { arrives: true }, 1);
    set.queue.send(&messages(1)).await;
    wait_until("it is counted", 30, async || {
        set.daemon.metric(DELETED, "").await == 1.0
    })
    .await;
    assert_eq!(set.proxy.hits().len(), 1);
    assert_eq!(set.queue.counts().await, Counts::NONE);
    assert_eq!(set.daemon.metric(DELETE_FAILURES, "").await, 0.0);
    set.stored_once(1).await;
}

/// SQS may say that it has deleted a message and bring it once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_that_comes_again_changes_nothing() {
    let set = Set::start().await;
    set.answer("DeleteMessageBatch", Answer::Pretend, 1);
    set.queue.send(&messages(1)).await;
    wait_until("it is deleted twice", 30, async || {
        set.daemon.metric(DELETED, "").await == 2.0
    })
    .await;
    assert_eq!(set.queue.counts().await, Counts::NONE);
    assert_eq!(set.proxy.hits(), [Answer::Pretend]);
    assert_eq!(set.daemon.metric(RECEIVED, "").await, 2.0);
    assert_eq!(set.daemon.metric(DELETE_FAILURES, "").await, 0.0);
    assert_eq!(set.daemon.metric(EVENTS, "stored").await, 1.0);
    assert_eq!(set.daemon.metric(EVENTS, "duplicate").await, 1.0);
    set.stored_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_while_it_is_held_is_deleted_by_its_newest_receipt() {
    let set = Set::start().await;
    let mut other = set.database.connect().await;
    let mut lock = other.begin().await.unwrap();
    lock.execute("lock table events").await.unwrap();
    // It cannot be kept invisible: the other worker gets it, too.
    let refused = Answer::Refuse(503, "ServiceUnavailable");
    set.answer("ChangeMessageVisibilityBatch", refused, usize::MAX);
    set.queue.send(&messages(1)).await;
    wait_until("it has come twice", 30, async || {
        set.daemon.metric(RECEIVED, "").await == 2.0
    })
    .await;
    assert!(set.daemon.metric(EXTENSIONS, "failed").await >= 2.0);
    let log = set.daemon.log();
    assert!(log.contains("visibility could not be extended"), "{log}");
    set.answer("ChangeMessageVisibilityBatch", Answer::Pass, 0);
    lock.rollback().await.unwrap();
    // An older receipt would report success and delete nothing, and it would come a third time.
    wait_until("both copies are dealt with", 30, async || {
        set.daemon.metric("hydrant_messages_in_flight", "").await == 0.0
    })
    .await;
    assert_eq!(set.queue.counts().await, Counts::NONE);
    assert_eq!(set.daemon.metric(RECEIVED, "").await, 2.0);
    assert_eq!(set.daemon.metric(EVENTS, "stored").await, 1.0);
    assert_eq!(set.daemon.metric(EVENTS, "duplicate").await, 1.0);
    set.stored_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_are_waited_for() {
    let set = Set::start_with(1).await;
    for (nth, code) in ["ExpiredToken", "AccessDenied", "SignatureDoesNotMatch"]
        .into_iter()
        .enumerate()
    {
        let errors = set.daemon.metric(RECEIVES, "error").await;
        set.proxy.decide(move |_| Answer::Refuse(403, code));
        set.queue.send(&messages(nth + 1)[nth..]).await;
        set.until_not_ready(&format!(
            "SQS refuses the credentials or the right to receive messages ({code})"
        ))
        .await;
        wait_until("it has tried for a while", 30, async || {
            set.daemon.metric(RECEIVES, "error").await >= errors + 6.0
        })
        .await;
        set.proxy.decide(|_| Answer::Pass);
        set.daemon.until_ready(30).await;
        set.queue.drained(30).await;
    }
    set.stored_once(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_is_waited_for() {
    let set = Set::start().await;
    set.queue.delete().await;
    set.until_not_ready("/feed does not exist: check queue_url")
        .await;
    set.queue.create_again().await;
    set.daemon.until_ready(30).await;
    set.queue.send(&messages(1)).await;
    set.queue.drained(30).await;
    set.stored_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_faults_loses_and_doubles_nothing() {
    // A receive whose answer is lost counts as one: after a few of them a message would be in the dead-letter queue.
    let set = Set::on(Queue::start_with(1000).await, 2).await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    set.proxy.decide(move |operation| {
        let mut faults = vec![
            Answer::Refuse(400, "RequestThrottled"),
            Answer::Refuse(500, "InternalFailure"),
            Answer::Reset { arrives: false },
            Answer::Reset { arrives: true },
        ];
        if operation == "DeleteMessageBatch" {
            faults.extend([true, false].map(|sender_fault| Answer::FailFirst { sender_fault }));
            faults.push(Answer::Pretend);
        }
        if rng.random_bool(0.4) {
            *faults.choose(&mut rng).unwrap()
        } else {
            Answer::Pass
        }
    });
    let mut count = 0;
    while set.proxy.hits().len() < 50 {
        set.queue.send(&messages(count + 50)[count..]).await;
        count += 50;
        let all = format!("select count(*) = {count} from events");
        wait_until("all are stored", 60, async || {
            set.database.rows(&all).await == ["t"]
        })
        .await;
    }
    set.proxy.decide(|_| Answer::Pass);
    let hits = set.proxy.hits();
    let kinds: HashSet<String> = hits.iter().map(|hit| format!("{hit:?}")).collect();
    println!("{} faults of {} kinds", hits.len(), kinds.len());
    assert!(kinds.len() >= 4, "{kinds:?}");
    wait_until("every message is deleted", 60, async || {
        let counts = set.queue.counts().await;
        counts.visible + counts.in_flight == 0
    })
    .await;
    set.stored_once(count).await;
}
