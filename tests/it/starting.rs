//! How the daemon starts: it waits for what may come, and ends with one clear sentence where somebody has to mend something.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use sqlx::Executor;

use crate::support::program::run;
use crate::support::store::{date, store};
use crate::support::{
    Daemon, Database, Ended, Postgres, Queue, Stop, body, click, conversion, database, envelope,
    wait_until,
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

#[test]
fn the_admin_server_listens_on_this_machine_alone_unless_told_otherwise() {
    // Whoever has the port, the program cannot, and says where it wanted to listen.
    let _taken = TcpListener::bind("127.0.0.1:9464");
    let source = [
        ("HYDRANT__SOURCE__ONE__TYPE", "sqs"),
        ("HYDRANT__SOURCE__ONE__FORMAT", "hasoffers"),
        ("HYDRANT__SOURCE__ONE__QUEUE_URL", "http://127.0.0.1:1/1/q"),
        ("HYDRANT__SOURCE__ONE__REGION", "us-east-1"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
    ];
    let ended = run(&["run"], &source, b"");
    assert_eq!(ended.status, 1, "{}", ended.err);
    let words = "cannot listen on admin.listen = 127.0.0.1:9464";
    assert!(ended.err.contains(words), "{}", ended.err);
}

/// Lets a daemon with that log store a message and stop. How many lines it dropped, and how it ended.
async fn work_with(log: impl FnOnce(&Queue, &Database) -> Daemon) -> (f64, Ended) {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = log(&queue, &database);
    daemon.until_ready(30).await;
    wait_until("it has said much", 60, async || {
        daemon.metric("hydrant_receives_total", "").await > 1_000.0
    })
    .await;
    queue
        .send(&[body(&envelope(&format!("[{}]", click("1"))))])
        .await;
    queue.drained(30).await;
    let dropped = daemon.metric("hydrant_log_lines_dropped_total", "").await;
    (dropped, daemon.stop("TERM").await)
}

/// Everything is logged, and nothing is waited for: many lines in a short time.
const TALKATIVE: &str = "log.level = \"info,aws=trace,aws_smithy_runtime=trace,hyper_util=trace\"\n\
                         source.one.wait_time_secs = 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_any_more_ends_nobody() {
    let (_, ended) = work_with(|queue, database| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Daemon::spawn_logging(&database.url, &[queue], TALKATIVE, writer.into())
    })
    .await;
    assert_eq!(ended.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stands_still_holds_nobody_up() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (dropped, ended) = work_with(|queue, database| {
        Daemon::spawn_logging(&database.url, &[queue], TALKATIVE, writer.into())
    })
    .await;
    assert!(dropped > 0.0);
    assert_eq!(ended.status, Some(0));
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_version_are_not_written() {
    let (queue, database) = (Queue::start().await, database().await);
    store(&database).await;
    let newest = "(select max(version) from hydrant_migrations)";
    for (sql, words) in [
        (
            format!(
                "insert into hydrant_migrations select 29990101000000, 'later', now(), true, '', 0 from {newest} one"
            ),
            "29990101000000, which only a newer version of hydrant knows",
        ),
        (
            format!(
                "delete from hydrant_migrations where version >= {newest} or version = 29990101000000"
            ),
            "run hydrant migrate",
        ),
    ] {
        database.rows(&sql).await;
        let ended = Daemon::spawn(&database.url, &[&queue], "", &["--no-migrate"])
            .ended(20)
            .await;
        assert!(failure(&ended).contains(words), "{}", ended.log);
        database
            .rows("delete from hydrant_migrations where version = 29990101000000")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_is_worth_is_told() {
    let queue = Queue::start().await;
    let postgres = Postgres::start();
    // The other tests' server is fast, and may lose what it has confirmed.
    let (durable, forgetful) = (postgres.database().await, database().await);
    for (database, metric, words) in [
        (durable, 1.0, "what is committed is on this server's disk"),
        (
            forgetful,
            0.0,
            "the database forgets in a crash what it has confirmed",
        ),
    ] {
        let daemon = Daemon::start(&database.url, &[&queue], "").await;
        assert_eq!(daemon.metric("hydrant_store_durable", "").await, metric);
        let ended = daemon.stop("TERM").await;
        assert!(ended.log.contains(words), "{}", ended.log);
    }
}
