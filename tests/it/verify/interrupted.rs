//! `hydrant rebuild` that is told to stop while it waits, and one that nobody answers any more.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hydrant::config::PartitionBy;
use hydrant::store::rebuild::Rebuild;
use hydrant::store::verify::Scope;
use sqlx::Executor;

use super::good_feed;
use crate::support::proxy::{Fault, Proxy};
use crate::support::store::{WAITING, settings, until};
use crate::support::{Database, database, wait_until};

const WRONG: &str = "select count(*) from record_patches where payout = 9";

/// A database whose patches are wrong, and a session that holds one of them.
async fn held() -> (Database, sqlx::PgConnection) {
    let db = database().await;
    good_feed(&db).await;
    db.rows("update record_patches set payout = 9").await;
    let mut other = db.connect().await;
    other
        .execute("begin; select from record_patches where record_id = 'r-gone' for update")
        .await
        .unwrap();
    (db, other)
}

/// A rebuild that waits so long for a lock, and waits for one.
async fn waiting(db: &Database, lock_timeout_ms: &str) -> Child {
    let run = Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .args(["rebuild", "--all"])
        .env_clear()
        .env("DATABASE_URL", &db.url)
        .env("HYDRANT__DATABASE__LOCK_TIMEOUT_MS", lock_timeout_ms)
        .env("HYDRANT__DATABASE__STATEMENT_TIMEOUT_MS", "300000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until(db, WAITING, &["1"]).await;
    run
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Waits for its end, which must come long before it has the lock or gives up; it must say how to go on.
async fn expect_interrupted(mut run: Child) {
    let mut status = None;
    wait_until("it has ended", 30, async || {
        status = run.try_wait().unwrap();
        status.is_some()
    })
    .await;
    let (mut out, mut err) = (String::new(), String::new());
    run.stdout.unwrap().read_to_string(&mut out).unwrap();
    run.stderr.unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(status.unwrap().code(), Some(1), "{err}");
    assert!(err.contains("interrupted: go on with --all"), "{err}");
    assert!(out.contains(": 0 folded again"), "{out}");
}

#[tokio::test]
async fn one_signal_ends_the_wait_for_a_lock_when_it_would_be_tried_again() {
    let (db, mut other) = held().await;
    let run = waiting(&db, "1000").await;
    signal(&run, "INT");
    expect_interrupted(run).await;
    assert_eq!(db.rows(WRONG).await, ["3"]);
    other.execute("rollback").await.unwrap();
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (db, mut other) = held().await;
    let run = waiting(&db, "300000").await;
    signal(&run, "INT");
    signal(&run, "TERM");
    expect_interrupted(run).await;
    other.execute("rollback").await.unwrap();
    until(&db, WAITING, &["0"]).await;
    assert_eq!(db.rows(WRONG).await, ["3"]);
}

#[tokio::test]
async fn it_stops_between_two_ids() {
    let db = database().await;
    let settings = good_feed(&db).await;
    db.rows("update event_variants set dispatch_timestamp = 1")
        .await;
    let mut rebuild = Rebuild::new(&settings, Scope::All, None);
    assert!(!rebuild.run(|_| false).await.unwrap());
    assert_eq!((rebuild.settled, rebuild.records), (1, 0));
    let mut rebuild = Rebuild::new(&settings, Scope::All, None);
    assert!(rebuild.run(|_| true).await.unwrap());
    assert_eq!(rebuild.settled, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_answers_no_more_is_not_waited_for() {
    let db = database().await;
    good_feed(&db).await;
    db.rows("update record_patches set payout = 9").await;
    let proxy = Proxy::start(&db.url).await;
    proxy.decide(|message| match message.is_commit() {
        true => Fault::BlackHole,
        false => Fault::None,
    });
    let mut settings = settings(&db, PartitionBy::Day);
    settings.options = proxy.url.parse().unwrap();
    settings.statement_timeout = Duration::from_secs(3);
    let mut rebuild = Rebuild::new(&settings, Scope::All, None);
    let run = tokio::time::timeout(Duration::from_secs(60), rebuild.run(|_| true));
    let fault = run.await.unwrap().unwrap_err();
    let told = fault.to_string();
    assert!(
        told.contains("no answer from the database in 6 s"),
        "{told}"
    );
    assert_eq!(rebuild.changed, 0);
}
