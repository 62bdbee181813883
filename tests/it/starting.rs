//! How the daemon starts: it waits for what may come, and ends with one clear sentence where somebody has to mend something.

use std::fs;
use std::net::TcpListener;

use sqlx::Executor;

use crate::support::store::{date, store};
use crate::support::{
    Daemon, Ended, Postgres, Queue, Stop, body, click, conversion, database, envelope, wait_until,
};

/// It ended in failure; the sentence that it said last.
fn failure(ended: &Ended) -> &str {
    assert_eq!(ended.status, Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap();
    let said: Vec<&str> = ended
        .log
        .lines()
        .filter(|line| line.starts_with("hydrant: "))
        .collect();
    assert_eq!(said, [last], "{}", ended.log);
    last
}

async fn expect_failure(database: &str, queue: &Queue, settings: &str, words: &[&str]) {
    let ended = Daemon::spawn(database, &[queue], settings, &[])
        .ended(20)
        .await;
    let said = failure(&ended);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!ended.log.contains("hunter2"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_is_waited_for() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    queue
        .send(&[body(&envelope(&format!("[{}]", conversion("1"))))])
        .await;
    postgres.stop(Stop::Fast);
    let daemon = Daemon::spawn(&database.url, &[&queue], "", &[]);
    wait_until("it says what it waits for", 10, async || {
        daemon.ready().await == (503, "paused: store_unavailable\nstarting\n".into())
    })
    .await;
    assert_eq!(daemon.get("/healthz").await.unwrap().0, 200);
    assert_eq!(queue.counts().await.visible, 1);
    postgres.start_again();
    daemon.until_ready(30).await;
    queue.drained(30).await;
    assert_eq!(database.rows("select event_id from events").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_waits_for_its_database_can_be_stopped() {
    let queue = Queue::start().await;
    let daemon = Daemon::spawn("postgres://nobody@127.0.0.1:1/nothing", &[&queue], "", &[]);
    wait_until("it waits", 10, async || daemon.ready().await.0 == 503).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_us_ends_it() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    database
        .rows("create role stranger login password 'correct'; create role guest login")
        .await;
    let rules =
        "host all postgres all trust\nhost all guest all trust\nhost all all all scram-sha-256\n";
    fs::write(postgres.data.join("pg_hba.conf"), rules).unwrap();
    database.rows("select pg_reload_conf()").await;
    let name = database.url.rsplit('/').next().unwrap();
    let url =
        |login: &str, name: &str| format!("postgres://{login}@127.0.0.1:{}/{name}", postgres.port);

    let wrong = url("stranger:hunter2", name);
    expect_failure(
        &wrong,
        &queue,
        "",
        &["could not connect to the database", "stranger", "28P01"],
    )
    .await;
    let missing = url("postgres", "nowhere");
    expect_failure(
        &missing,
        &queue,
        "",
        &["could not connect to the database", "nowhere", "3D000"],
    )
    .await;
    // A guest may make no tables, and may not write the tables of others.
    expect_failure(&url("guest", name), &queue, "", &["public", "42501"]).await;
    let ended = Daemon::spawn(&database.url, &[&queue], "", &["--until-empty"])
        .ended(30)
        .await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    expect_failure(&url("guest", name), &queue, "", &["42501"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_around_it_ends_it() {
    let (queue, database) = (Queue::start().await, database().await);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = format!("admin.listen = \"{address}\"");
    expect_failure(
        &database.url,
        &queue,
        &settings,
        &["admin.listen", &address],
    )
    .await;
    let url = queue.url.replace("/feed", "/nothing");
    let settings = format!("source.one.queue_url = \"{url}\"");
    expect_failure(
        &database.url,
        &queue,
        &settings,
        &["source.one", &url, "does not exist"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_our_tables_ends_it_where_it_may_not_make_them() {
    let (queue, database) = (Queue::start().await, database().await);
    let ended = Daemon::spawn(&database.url, &[&queue], "", &["--no-migrate"])
        .ended(20)
        .await;
    let said = failure(&ended);
    assert!(said.contains("run hydrant migrate"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_hangs_can_be_stopped() {
    let (queue, database) = (Queue::start().await, database().await);
    store(&database).await;
    let mut other = database.connect().await;
    other
        .execute("begin; lock table hydrant_migrations in access exclusive mode")
        .await
        .unwrap();
    let daemon = Daemon::spawn(&database.url, &[&queue], "", &[]);
    wait_until("it waits", 10, async || daemon.ready().await.0 == 503).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_of_events_stops_nobody() {
    let (queue, database) = (Queue::start().await, database().await);
    store(&database).await;
    let mut other = database.connect().await;
    other
        .execute("begin; select count(*) from stats")
        .await
        .unwrap();
    let yesterday = date(&database, -1).await;
    let click = click("2").replace("2020-03-04", &yesterday);
    queue
        .send(&[body(&envelope(&format!("[{},{click}]", conversion("1"))))])
        .await;
    let _daemon = Daemon::start(&database.url, &[&queue], "").await;
    queue.drained(30).await;
    // No partition can be attached meanwhile: the day stays in the default one.
    assert_eq!(
        database
            .rows("select tableoid::regclass, event_id from events order by 2")
            .await,
        ["events_conversions|1", "events_default|2"]
    );
}
