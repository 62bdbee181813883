//! The real daemon, with a bucket on a local S3 and a route that others push to.

use std::fs;
use std::ops::Range;
use std::path::Path;

use super::*;
use crate::support::bucket::Bucket;
use crate::support::store::until;
use crate::support::webhook::post;
use crate::support::{Daemon, free_port, gzip, hydrant, wait_until};

const COUNT: &str = "select count(*) from recurly_usage_events";
const SECRET: &str = "recurly-geheim-0123456789";

pub fn lines(users: Range<usize>) -> String {
    let line = |user: usize| event(&user.to_string(), 1_700_000_000) + "\n";
    users.map(line).collect()
}

/// A route `hooks.push` whose sender shows a secret in a header of its own name.
pub fn route(port: u16) -> String {
    format!(
        "source.hooks.type = \"http\"
         source.hooks.listen = \"127.0.0.1:{port}\"
         source.hooks.route.push.format = \"recurly\"
         source.hooks.route.push.auth = \"header\"
         source.hooks.route.push.auth_header = \"your-api-key\"
         source.hooks.route.push.secrets = [\"{SECRET}\"]\n"
    )
}

pub async fn send(port: u16, body: &str) -> u16 {
    let headers = format!("your-api-key: {SECRET}\r\ncontent-type: application/json\r\n");
    let reply = post(port, "/in/hooks/push/", &headers, body.as_bytes()).await;
    reply.status
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_come_grow_and_change_double_nothing() {
    let database = database().await;
    let bucket = Bucket::start().await;
    // Two equal lines are two events.
    let twice = lines(0..2) + &lines(0..1);
    bucket.put("exports/usages-1.json", twice.clone()).await;
    bucket
        .put("exports/activities-1.json", lines(800..803))
        .await;
    let settings = bucket.settings("recurly")
        + "source.one.batch_events = 2\nsource.one.access_key_id = \"id\"\nsource.one.secret_access_key = \"secret\"\n";
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    until(&database, COUNT, &["3"]).await;

    bucket
        .put("exports/usages-2.json.gz", gzip(lines(10..15).as_bytes()))
        .await;
    until(&database, COUNT, &["8"]).await;
    let array = format!("[{},\n{}]", event("20", 1), event("21", 1));
    bucket.put("exports/2026/usages", array).await;
    until(&database, COUNT, &["10"]).await;
    // Grown by one that is new, one that is there twice, and one that is bad.
    bucket
        .put(
            "exports/usages-1.json",
            format!("{twice}{{\"ts\":1}}\n{}{}", lines(30..31), lines(0..1)),
        )
        .await;
    until(&database, COUNT, &["12"]).await;
    // The same events in another order, packed.
    let changed = lines(30..31) + &lines(0..2) + &lines(0..1) + &lines(31..32);
    bucket
        .put("exports/usages-1.json", gzip(changed.as_bytes()))
        .await;
    until(&database, COUNT, &["13"]).await;
    assert_eq!(
        database
            .rows("select line, occurrence, etag is null from recurly_usage_events where user_id = '0' order by 1")
            .await,
        ["1|1|f", "3|2|f", "6|3|f"]
    );
    let quarantine = "select scope, reason, message_id, event_id from quarantine";
    until(
        &database,
        quarantine,
        &["event|event_type|s3://feed/exports/usages-1.json:4|pull s3://feed/exports/usages-1.json 1"],
    )
    .await;
    // Nothing says how far an object was read, but that it was.
    let ended = "select count(*), bool_and(is_ended) from positions";
    until(&database, ended, &["3|t"]).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_again_is_one_and_meets_what_is_pulled_in_the_view() {
    let database = database().await;
    let bucket = Bucket::start().await;
    let port = free_port();
    let settings = bucket.settings("recurly") + &route(port);
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    let (a, b) = (event("a", 1_700_000_000), event("b", 1_700_000_000));
    let batch = format!("[{a},{b},{b}]");
    for _ in 0..3 {
        assert_eq!(send(port, &batch).await, 200);
    }
    assert_eq!(send(port, &a).await, 200);
    assert_eq!(database.rows(COUNT).await, ["4"]);
    bucket
        .put("exports/usages-1", format!("{a}\n{a}\n{b}\n"))
        .await;
    until(&database, COUNT, &["7"]).await;
    assert_eq!(
        counts(&database, "recurly_usages").await,
        ["a|pull|2", "b|push|2"]
    );
    // One bad event spoils no other.
    assert_eq!(
        send(port, &format!("[{{\"user_id\":1}},7,{}]", event("c", 1))).await,
        200
    );
    let reasons = "select reason, event_id like 'push %' from quarantine order by 1";
    assert_eq!(
        database.rows(reasons).await,
        ["event_type|t", "not_an_object|t"]
    );
    assert_eq!(database.rows(COUNT).await, ["8"]);
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_within_a_large_object_loses_and_doubles_nothing() {
    let database = database().await;
    let bucket = Bucket::start().await;
    // Each event twice, the second one far behind the first.
    let all = 5_000;
    let body = lines(0..all) + &lines(0..all);
    bucket.put("exports/usages-plain", body.clone()).await;
    bucket
        .put("exports/usages-packed", gzip(body.as_bytes()))
        .await;
    let settings = bucket.settings("recurly") + "source.one.batch_events = 100\n";
    for least in [500, 8_000, 14_000] {
        let daemon = Daemon::spawn(&database.url, &[], &settings, &[]);
        let some = format!("select count(*) >= {least} from recurly_usage_events");
        wait_until("some events are stored", 60, async || {
            // The first daemon has to make the table first.
            database
                .rows("select to_regclass('recurly_usage_events') is not null")
                .await
                == ["t"]
                && database.rows(&some).await == ["t"]
        })
        .await;
        daemon.kill();
    }
    let daemon = Daemon::spawn(&database.url, &[], &settings, &["--until-empty"]);
    let ended = daemon.ended(120).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let sums =
        "select origin, count(*), count(distinct user_id), max(occurrence), count(distinct line)
        from recurly_usage_events group by 1 order by 1";
    assert_eq!(
        database.rows(sums).await,
        [
            "s3://feed/exports/usages-packed|10000|5000|2|10000",
            "s3://feed/exports/usages-plain|10000|5000|2|10000"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_is_counted_from_its_beginning() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usages");
    fs::write(&file, lines(0..2)).unwrap();
    let settings = format!(
        "source.one.type = \"file\"
         source.one.format = \"recurly\"
         source.one.path = \"{}\"
         source.one.poll_secs = 1
         source.one.settle_secs = 0\n",
        folder.path().display()
    );
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    until(&database, COUNT, &["2"]).await;
    let more = lines(0..2) + &lines(0..3) + "{\"event\":\"half";
    fs::write(&file, more).unwrap();
    until(&database, COUNT, &["5"]).await;
    let counts = "select user_id, max(occurrence), bool_and(etag is null) from recurly_usage_events group by 1 order by 1";
    assert_eq!(database.rows(counts).await, ["0|2|t", "1|2|t", "2|1|t"]);
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_files_of_two_folders_and_equal_lines_are_all_counted() {
    let database = database().await;
    let mut settings = String::new();
    let folders = ["one", "two"].map(|name| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("usages"), lines(0..2) + &lines(0..1)).unwrap();
        settings += &format!(
            "source.{name}.type = \"file\"
             source.{name}.format = \"recurly\"
             source.{name}.path = \"{}\"
             source.{name}.poll_secs = 1
             source.{name}.settle_secs = 0\n",
            folder.path().display()
        );
        folder
    });
    let daemon = Daemon::spawn(&database.url, &[], &settings, &["--until-empty"]);
    let ended = daemon.ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let found = "select user_id, count(*), count(distinct origin) from recurly_usage_events group by 1 order by 1";
    assert_eq!(database.rows(found).await, ["0|4|2", "1|2|2"]);
    // A replay of one of them knows where it is.
    let file = fs::canonicalize(folders[0].path()).unwrap().join("usages");
    let replayed = run(
        &["replay", "--format", "recurly", file.to_str().unwrap()],
        &[("DATABASE_URL", &database.url)],
        b"",
    );
    assert_eq!(replayed.status, 0, "{}", replayed.err);
    assert_eq!(database.rows(COUNT).await, ["6"]);
}

/// What was replayed without a source comes back as what it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_comes_back_as_usage() {
    let database = database().await;
    drop(store(&database).await);
    let variables = [("DATABASE_URL", database.url.as_str())];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usages");
    fs::write(&file, "{\"ts\":1}\nno\n").unwrap();
    let args = [
        "replay",
        "--format",
        "recurly",
        "--accept-bad",
        file.to_str().unwrap(),
    ];
    let replayed = run(&args, &variables, b"");
    assert_eq!(replayed.status, 0, "{}", replayed.err);
    // As if they had been bad for a version that is gone.
    let better = event("a", 1);
    database
        .rows(&format!("update quarantine set payload = '{better}'"))
        .await;
    let retried = run(
        &["quarantine", "retry", "--source", "replay.recurly"],
        &variables,
        b"",
    );
    assert_eq!(retried.status, 0, "{}", retried.err);
    let path = fs::canonicalize(&file).unwrap();
    assert_eq!(
        database
            .rows("select distinct door, origin from recurly_usage_events")
            .await,
        [format!("pull|{}", path.display())]
    );
}

/// What was kept by a version that did not take it comes back as what the doors themselves would bring.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_from_quarantine_is_what_was_read() {
    let database = database().await;
    let mut store = store(&database).await;
    let (a, b) = (event("a", 1), event("b", 1));
    let c = event("c", 1);
    for (scope, payload, message, source, event_id) in [
        (
            "event",
            &a,
            "x",
            "one",
            "'pull s3://feed/exports/usages-1 1'",
        ),
        ("event", &b, "y", "hooks.push", "'push 0fe1 1'"),
        ("event", &b, "z", "hooks.other", "null"),
        ("body", &c, "s3://feed/exports/usages-1:7", "one", "null"),
    ] {
        let sql = format!(
            "insert into quarantine (scope, reason, payload, payload_sha256, source, message_id, event_id)
             values ('{scope}', 'too_large', '{payload}', sha256('{payload}'), '{source}', '{message}', {event_id})"
        );
        database.rows(&sql).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hydrant.toml");
    let other =
        "source.hooks.route.other.format = \"recurly\"\nsource.hooks.route.other.auth = \"none\"\n";
    let text = format!(
        "database.url = \"{}\"\nsource.one.type = \"s3\"\nsource.one.bucket = \"feed\"\nsource.one.format = \"recurly\"\n{}{other}",
        database.url,
        route(1)
    );
    fs::write(&config, text).unwrap();
    assert_eq!(retried(&config), "resolved 3, still bad 1");
    let rows =
        "select user_id, door, origin, line, occurrence from recurly_usage_events order by 1";
    assert_eq!(
        database.rows(rows).await,
        [
            "a|pull|s3://feed/exports/usages-1|NULL|1",
            "b|push|0fe1|NULL|1",
            "c|pull|s3://feed/exports/usages-1|7|1"
        ]
    );
    assert_eq!(
        database
            .rows("select event_id, detail from quarantine where status = 'open'")
            .await,
        ["NULL|its event_id does not say where it stood, so that it might count twice"]
    );
    let tally = pull(&mut store, "s3://feed/exports/usages-1", &[&a, &c]).await;
    assert_eq!((tally.stored, tally.duplicates), (0, 2));
}

/// The first line that a retry of everything says.
pub fn retried(config: &Path) -> String {
    let output = hydrant(&["quarantine", "retry", "--all"], config)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().next().unwrap_or_default().to_owned()
}
