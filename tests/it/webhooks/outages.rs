//! What was answered with 200 is in the database, whatever ends or goes away; the rest hears 503.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::*;
use crate::support::{Postgres, Stop, wait_until};

/// The id of what was sent, and the answer if one came.
type Sent = (String, Option<Reply>);

/// Senders that send one event after the other, and what became of each.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Sent>>>,
    senders: JoinSet<()>,
}

impl Load {
    fn start(port: u16, senders: usize) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            answers: Arc::default(),
            senders: JoinSet::new(),
        };
        for sender in 0..senders {
            let (stop, answers) = (Arc::clone(&load.stop), Arc::clone(&load.answers));
            load.senders.spawn(async move {
                let mut connection = None;
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("{sender:02}-{n:06}");
                    let reply = deliver(port, &mut connection, &id).await;
                    let is_taken = reply.as_ref().is_some_and(|reply| reply.status == 200);
                    answers.lock().unwrap().push((id, reply));
                    if !is_taken {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            });
        }
        load
    }

    fn count(&self, status: u16) -> usize {
        let answers = self.answers.lock().unwrap();
        let of_status =
            |reply: &Option<Reply>| reply.as_ref().is_some_and(|it| it.status == status);
        answers.iter().filter(|(_, reply)| of_status(reply)).count()
    }

    async fn until(&self, status: u16, more: usize) {
        let before = self.count(status);
        wait_until(
            &format!("{more} more with status {status}"),
            60,
            async || self.count(status) >= before + more,
        )
        .await;
    }

    /// Ends it; the ids that were answered with 200. Every other answer was a 503 with the time to come again.
    async fn end(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        let mut stored = BTreeSet::new();
        for (id, reply) in answers {
            match reply {
                Some(reply) if reply.status == 200 => drop(stored.insert(id)),
                Some(reply) => {
                    assert_eq!(reply.status, 503, "{reply:?}");
                    assert!(reply.header("retry-after").is_some());
                }
                None => {}
            }
        }
        stored
    }
}

/// Sends one event on a connection that is kept; None where there is no answer.
async fn deliver(port: u16, connection: &mut Option<Sender>, id: &str) -> Option<Reply> {
    let mut sender = match connection.take() {
        Some(sender) => sender,
        None => Sender::connect(port).await.ok()?,
    };
    let reply = sender
        .post("/in/hooks/key", &key(), &message(id))
        .await
        .ok()?;
    if reply.header("connection") != Some("close") {
        *connection = Some(sender);
    }
    Some(reply)
}

fn expect_all(answered: &BTreeSet<String>, stored: &[String]) {
    let stored: BTreeSet<&String> = stored.iter().collect();
    let lost: Vec<_> = answered.iter().filter(|id| !stored.contains(id)).collect();
    assert!(!answered.is_empty());
    assert_eq!(lost, [""; 0], "of {}", answered.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_a_transaction() {
    let hooks = Hooks::start("source.hooks.linger_ms = 20").await;
    let load = Load::start(hooks.port, 40);
    load.until(200, 1_000).await;
    let answered = load.end().await;
    let stored = hooks.stored().await;
    expect_all(&answered, &stored);
    assert_eq!(stored.len(), answered.len());
    let transactions = "select count(distinct xmin::text) from events_conversions";
    let transactions: usize = hooks.database.rows(transactions).await[0].parse().unwrap();
    assert!(
        transactions * 4 < stored.len(),
        "{transactions} for {}",
        stored.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_answered_with_503() {
    let postgres = Postgres::start();
    let hooks = Hooks::start_on(postgres.database().await, "").await;
    let load = Load::start(hooks.port, 8);
    load.until(200, 100).await;
    for how in [Stop::Immediate, Stop::Fast] {
        postgres.stop(how);
        load.until(503, 50).await;
        let (status, _) = hooks.daemon.ready().await;
        assert_eq!(status, 503);
        postgres.start_again();
        load.until(200, 100).await;
    }
    let answered = load.end().await;
    expect_all(&answered, &hooks.stored().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_has_stored_what_it_said() {
    let hooks = Hooks::start("").await;
    let load = Load::start(hooks.port, 16);
    load.until(200, 300).await;
    let Hooks {
        daemon, database, ..
    } = hooks;
    daemon.kill();
    let answered = load.end().await;
    let stored = database.rows("select event_id from events").await;
    expect_all(&answered, &stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_held_and_sends_others_away() {
    let hooks = Hooks::start("").await;
    let mut holder = hooks.database.connect().await;
    let lock = "begin; lock table events_conversions in share mode";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let mut held = Sender::connect(hooks.port).await.unwrap();
    let body = message("held");
    held.send("POST", "/in/hooks/key", &key(), &body)
        .await
        .unwrap();
    let waiting = crate::support::store::WAITING;
    wait_until("the writer waits", 20, async || {
        hooks.database.rows(waiting).await == ["1"]
    })
    .await;
    hooks.daemon.signal("TERM");
    wait_until("it stops", 20, async || {
        hooks.daemon.log().contains("stopping")
    })
    .await;
    let load = Load::start(hooks.port, 2);
    load.until(503, 10).await;
    sqlx::raw_sql("rollback")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!(held.reply().await.unwrap().status, 200);
    let Hooks {
        daemon, database, ..
    } = hooks;
    let ended = daemon.ended(20).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let mut answered = load.end().await;
    answered.insert("held".to_owned());
    expect_all(
        &answered,
        &database.rows("select event_id from events").await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_or_goes_away_undoes_nothing() {
    let hooks = Hooks::start("").await;
    let mut holder = hooks.database.connect().await;
    let lock = "begin; lock table events_conversions in share mode";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let mut patient = Sender::connect(hooks.port).await.unwrap();
    let mut impatient = Sender::connect(hooks.port).await.unwrap();
    for (sender, id) in [(&mut patient, "patient"), (&mut impatient, "impatient")] {
        sender
            .send("POST", "/in/hooks/key", &key(), &message(id))
            .await
            .unwrap();
    }
    wait_until("both are in", 20, async || {
        hooks.daemon.metric("hydrant_messages_in_flight", "").await == 2.0
    })
    .await;
    drop(impatient);
    wait_until("one has gone away", 20, async || {
        hooks.counted("key", 499).await == 1.0
    })
    .await;
    let reply = patient.reply().await.unwrap();
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(hooks.stored().await, [""; 0]);
    sqlx::raw_sql("rollback")
        .execute(&mut holder)
        .await
        .unwrap();
    wait_until("both are stored", 30, async || {
        hooks.stored().await == ["impatient", "patient"]
    })
    .await;
}
