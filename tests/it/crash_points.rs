//! The daemon is killed (`kill -9`), its connection ends, or the server reports an error, at every step that anybody else can
//! see.
//!
//! Between two messages to Postgres or to the queue a process changes nothing outside itself, so that it does not matter where
//! in between it dies. So these are all the points at which it can die, and they are those of the program as it is shipped.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Connection, Executor};

use crate::support::proxy::{Fault, Message, Proxy};
use crate::support::sqs_proxy::{Answer, SqsProxy};
use crate::support::{
    Counts, Daemon, Database, Queue, body, conversion, database, envelope, wait_until,
};

const VISIBILITY: Duration = Duration::from_secs(5);
/// Without days: they are made in transactions of their own, of one message each.
const SETTINGS: &str = "source.one.visibility_timeout_secs = 5\nsource.one.workers = 1\n\
                        database.partition_by = \"none\"";
/// Kills take turns waiting for the visibility timeout.
const LANES: usize = 4;

/// What is sent, one message at a time.
#[derive(Clone, Copy, Debug)]
enum Feed {
    /// Something for each phase of the transaction: originals of two tables, an adjustment, a bad event.
    Plain,
    /// Two ids more, of which each message has another content that wins: a click, and an adjustment that goes from record to
    /// record.
    Contested,
    /// One event more, which only the database refuses: it takes several transactions to find.
    Refused,
}

impl Feed {
    /// The message of this number, from 1 on.
    fn message(self, number: usize) -> String {
        let update = |id: &str, payout: &str| {
            format!(
                r#"{{"event_id":"{id}","action":"conversion","adjust_action":"update","tune_event_id":"record-{number}","adjustment_sequence_id":1,"payout":{payout}}}"#
            )
        };
        let click = |id: &str| {
            format!(
                r#"{{"event_id":"{id}","action":"click","date":"2020-03-04","offer_id":{number}}}"#
            )
        };
        let mut events = vec![
            conversion(&number.to_string()),
            click(&format!("click-{number}")),
            update(&format!("update-{number}"), "0.25"),
            format!(r#"{{"bad":"{number}"}}"#),
        ];
        match self {
            Feed::Plain => {}
            Feed::Contested => events.extend([click("contested"), update("contested", "0")]),
            Feed::Refused => events.push(conversion(&format!("refused-{number}"))),
        }
        // The earliest content wins.
        let time = (1_760_000_000 - number).to_string();
        body(&envelope(&format!("[{}]", events.join(","))).replace("1760000000", &time))
    }

    /// Before the first message: what the database has to refuse.
    async fn prepare(self, database: &Database) {
        if let Feed::Refused = self {
            let sql = "create function refuse() returns trigger language plpgsql
                    as $$ begin raise exception 'refused' using errcode = '22000'; end $$;
                create trigger refuse before insert on events_conversions for each row
                    when (new.event_id like 'refused-%') execute function refuse()";
            database.rows(sql).await;
        }
    }

    /// Expects everything of so many messages once.
    async fn expect(self, database: &Database, messages: usize) {
        let (once, lost, bad) = match self {
            Feed::Plain => (0, 0, messages),
            Feed::Contested => (1, 2 * (messages - 1), messages),
            Feed::Refused => (0, 0, 2 * messages),
        };
        let sql = "select (select count(*) from events), (select count(*) from adjustments),
            (select count(*) from event_variants), (select count(*) from quarantine), (select count(*) from conversions),
            (select sum(adjustment_count) from conversions), (select sum(net_payout) from conversions)";
        let (events, ledger) = (2 * messages + once, messages + once);
        let sum = messages as f64 * 1.75;
        assert_eq!(
            database.rows(sql).await,
            [format!(
                "{events}|{ledger}|{lost}|{bad}|{messages}|{ledger}|{sum:.2}"
            )],
            "{self:?}"
        );
    }

    /// Whether a kill is worth its time at this message: where another feed has the same, it is not.
    fn is_own(self, message: &Message<'_>) -> bool {
        match self {
            Feed::Plain => true,
            Feed::Contested => matches!(message.kind, b'Q' | b'P'),
            Feed::Refused => message.sql.starts_with("begin"),
        }
    }

    /// With what its own steps begin. The COPY of a contested click fails, and then it is looked up.
    fn begins_with(self) -> &'static str {
        match self {
            Feed::Plain | Feed::Refused => "begin isolation level",
            Feed::Contested => "rollback",
        }
    }
}

/// Strikes once: at the message of this number, of those that count, from one with these words on, which is 0.
fn strike_at(
    number: usize,
    from: &'static str,
    counts: impl Fn(&Message<'_>) -> bool + Send + 'static,
    fault: Fault,
) -> impl FnMut(&Message<'_>) -> Fault + Send + 'static {
    let mut next = None;
    move |message| {
        if next.is_none() && message.sql.starts_with(from) {
            next = Some(0);
        }
        let Some(at) = &mut next else {
            return Fault::None;
        };
        // Queries, statements to prepare and to run, and data.
        if !matches!(message.kind, b'Q' | b'P' | b'B' | b'd' | b'c') || !counts(message) {
            return Fault::None;
        }
        *at += 1;
        if *at == number + 1 {
            fault
        } else {
            Fault::None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_end_at_any_message_of_the_transaction() {
    for feed in [Feed::Plain, Feed::Contested, Feed::Refused] {
        strike_at_every_message(feed, Fault::CutBefore).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_may_report_an_error_at_any_message_of_the_transaction() {
    for feed in [Feed::Plain, Feed::Contested, Feed::Refused] {
        strike_at_every_message(feed, Fault::FailedStatement).await;
    }
}

/// One daemon, which lives on: each message is struck at its next step, until there is none.
async fn strike_at_every_message(feed: Feed, fault: Fault) {
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    let daemon = Daemon::start(&proxy.url, &[&queue], SETTINGS).await;
    feed.prepare(&database).await;
    let mut strikes = 0;
    loop {
        proxy.decide(strike_at(strikes, "begin isolation level", |_| true, fault));
        queue.send(&[feed.message(strikes + 1)]).await;
        queue.drained(30).await;
        feed.expect(&database, strikes + 1).await;
        if proxy.hits().len() == strikes {
            break;
        }
        strikes += 1;
    }
    println!("{strikes} times {fault:?} in {feed:?}");
    let least = match feed {
        Feed::Plain => 12,
        Feed::Contested | Feed::Refused => 25,
    };
    assert!(strikes >= least, "only {strikes}: not everything");
    assert_eq!(
        daemon.metric("hydrant_messages_deleted_total", "").await,
        (strikes + 1) as f64
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_message_of_the_transaction_loses_and_doubles_nothing() {
    kill_at_every_message(Feed::Plain, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_contents_of_one_id_are_settled_loses_and_doubles_nothing() {
    kill_at_every_message(Feed::Contested, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_refused_event_is_looked_for_loses_and_doubles_nothing() {
    kill_at_every_message(Feed::Refused, 6).await;
}

async fn kill_at_every_message(feed: Feed, least: usize) {
    let lanes = (0..LANES).map(|first| kill_at_every_fourth(feed, first));
    let kills: usize = join_all(lanes).await.iter().sum();
    println!("{kills} kills in {feed:?}");
    assert!(kills >= least, "only {kills} kills: not everything");
}

/// How many kills there were.
async fn kill_at_every_fourth(feed: Feed, first: usize) -> usize {
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    // One that nothing happens to: the contents of the next ones are contested.
    let daemon = Daemon::start(&proxy.url, &[&queue], SETTINGS).await;
    feed.prepare(&database).await;
    queue.send(&[feed.message(1)]).await;
    queue.drained(30).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
    let mut messages = 1;
    for number in (first..).step_by(LANES) {
        let daemon = Daemon::start(&proxy.url, &[&queue], SETTINGS).await;
        let hits = proxy.hits().len();
        let is_own = move |message: &Message<'_>| feed.is_own(message);
        proxy.decide(strike_at(number, feed.begins_with(), is_own, Fault::Hold));
        messages += 1;
        queue.send(&[feed.message(messages)]).await;
        wait_until(
            "it waits at the message, or is past the last",
            30,
            async || proxy.hits().len() > hits || queue.counts().await == Counts::NONE,
        )
        .await;
        if proxy.hits().len() == hits {
            break;
        }
        proxy.decide(|_| Fault::None);
        let next = recover(daemon, &queue, &proxy.url, SETTINGS).await;
        feed.expect(&database, messages).await;
        assert_eq!(next.stop("TERM").await.status, Some(0));
    }
    feed.expect(&database, messages).await;
    messages - 2
}

/// Kills the daemon. A new one, once it has started, has everything within the visibility timeout and five seconds.
async fn recover(daemon: Daemon, queue: &Queue, url: &str, settings: &str) -> Daemon {
    daemon.kill();
    let killed = Instant::now();
    let next = Daemon::start(url, &[queue], settings).await;
    // A process of its own takes as long to start as this machine is busy.
    let start = killed.elapsed();
    queue.drained(30).await;
    let took = killed.elapsed() - start.min(VISIBILITY);
    assert!(took <= VISIBILITY + Duration::from_secs(5), "{took:?}");
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_call_to_the_queue_loses_and_doubles_nothing() {
    let answer = |arrives| Answer::Silence { arrives };
    let calls = [
        // What was received is known to the queue alone.
        ("ReceiveMessage", answer(true)),
        ("DeleteMessageBatch", answer(false)),
        ("DeleteMessageBatch", answer(true)),
        ("ChangeMessageVisibilityBatch", answer(false)),
        ("ChangeMessageVisibilityBatch", answer(true)),
    ];
    join_all(calls.map(|(operation, answer)| kill_at_call(operation, answer))).await;
}

async fn kill_at_call(operation: &'static str, answer: Answer) {
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = SqsProxy::start(&queue.endpoint).await;
    let settings = format!(
        "{SETTINGS}\nsource.one.wait_time_secs = 5\n{}",
        proxy.setting
    );
    let daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    // What is held has to be extended.
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    if operation == "ChangeMessageVisibilityBatch" {
        lock.execute("lock table events").await.unwrap();
    }
    proxy.decide(move |called| {
        if called == operation {
            answer
        } else {
            Answer::Pass
        }
    });
    let struck = async || wait_until(operation, 30, async || !proxy.hits().is_empty()).await;
    if operation == "ReceiveMessage" {
        // Not to the receive under way, whose answer still comes.
        struck().await;
    }
    queue.send(&[Feed::Plain.message(1)]).await;
    struck().await;
    wait_until("it was received", 10, async || {
        queue.counts().await.visible == 0
    })
    .await;
    proxy.decide(|_| Answer::Pass);
    lock.rollback().await.unwrap();
    let next = recover(daemon, &queue, &database.url, &settings).await;
    Feed::Plain.expect(&database, 1).await;
    assert_eq!(next.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_it_stops_loses_and_doubles_nothing() {
    let (queue, database) = (Queue::start().await, database().await);
    let proxy = Proxy::start(&database.url).await;
    let daemon = Daemon::start(&proxy.url, &[&queue], SETTINGS).await;
    proxy.decide(|message| {
        if message.is_commit() {
            Fault::Hold
        } else {
            Fault::None
        }
    });
    queue.send(&[Feed::Plain.message(1)]).await;
    wait_until("it waits at COMMIT", 30, async || !proxy.hits().is_empty()).await;
    daemon.signal("TERM");
    wait_until("it knows that it stops", 10, async || {
        daemon.ready().await.1.contains("stopping")
    })
    .await;
    proxy.decide(|_| Fault::None);
    let next = recover(daemon, &queue, &proxy.url, SETTINGS).await;
    Feed::Plain.expect(&database, 1).await;
    assert_eq!(next.stop("TERM").await.status, Some(0));
}
