//! What was bad and is good now comes back to where it stood.

use std::fs;

use super::daemon::{lines, retried};
use super::*;
use crate::support::Daemon;
use crate::support::bucket::Bucket;

/// Neither an event nor a type.
const BAD: &str = "{\"ts\":1}";
const QUARANTINE: &str =
    "select scope, origin, line, occurrence, seen, status, etag is null from quarantine
     where origin is not null order by origin, line";
const EVENTS: &str =
    "select origin, user_id, line, occurrence, etag is null from recurly_usage_events
     where user_id in ('a', 'b', 'c') order by origin, line, user_id, occurrence";

/// Reads what is new in a bucket.
async fn read(database: &Database, settings: &str) {
    let daemon = Daemon::spawn(&database.url, &[], settings, &["--until-empty"]);
    let ended = daemon.ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
}

/// What two objects with these lines come to in quarantine.
fn rows(seen: u32, status: &str) -> Vec<String> {
    let (one, two) = ("s3://feed/exports/usages-1", "s3://feed/exports/usages-2");
    [
        ("event", one, 1, 1),
        ("body", one, 2, 1),
        ("event", one, 4, 2),
        ("body", two, 1, 1),
        ("event", two, 2, 1),
        ("body", two, 3, 2),
    ]
    .map(|(scope, origin, line, occurrence)| {
        format!("{scope}|{origin}|{line}|{occurrence}|{seen}|{status}|f")
    })
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bad_lines_come_back_each_to_its_place() {
    let database = database().await;
    let bucket = Bucket::start().await;
    let settings = bucket.settings("recurly");
    let objects = [
        format!("{BAD}\nno\n{}{BAD}\n", lines(0..1)),
        format!("no\n{BAD}\nno\n"),
    ];
    let put = async |objects: &[String; 2]| {
        for (object, number) in objects.iter().zip(1..) {
            let key = format!("exports/usages-{number}");
            bucket.put(&key, object.clone()).await;
        }
    };
    put(&objects).await;
    read(&database, &settings).await;
    assert_eq!(database.rows(QUARANTINE).await, rows(1, "open"));
    // Grown, so that they are read again.
    put(&objects.clone().map(|object| object + &lines(7..8))).await;
    read(&database, &settings).await;
    assert_eq!(database.rows(QUARANTINE).await, rows(2, "open"));

    // As if they had been bad for a version that is gone.
    let [a, b, c] = ["a", "b", "c"].map(|user| event(user, 1));
    let array = format!("[{b},{b},{c}]");
    let better = format!(
        "update quarantine set payload = case scope when 'event' then '{a}'::bytea else '{array}' end"
    );
    database.rows(&better).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hydrant.toml");
    let text = format!("database.url = \"{}\"\n{settings}", database.url);
    fs::write(&config, text).unwrap();
    assert_eq!(retried(&config), "resolved 6, still bad 0");
    let (one, two) = ("s3://feed/exports/usages-1", "s3://feed/exports/usages-2");
    let events: Vec<String> = [
        (one, "a", 1, 1),
        (one, "b", 2, 1),
        (one, "b", 2, 2),
        (one, "c", 2, 1),
        (one, "a", 4, 2),
        (two, "b", 1, 1),
        (two, "b", 1, 2),
        (two, "c", 1, 1),
        (two, "a", 2, 1),
        (two, "b", 3, 3),
        (two, "b", 3, 4),
        (two, "c", 3, 2),
    ]
    .map(|(origin, user, line, occurrence)| format!("{origin}|{user}|{line}|{occurrence}|f"))
    .into();
    assert_eq!(database.rows(EVENTS).await, events);

    // As after a crash before the mark; and the objects again, good from the beginning.
    database.rows("update quarantine set status = 'open'").await;
    assert_eq!(retried(&config), "resolved 6, still bad 0");
    let good = objects.map(|object| {
        object
            .replace(BAD, &a)
            .replace("no\n", &format!("{array}\n"))
    });
    put(&good).await;
    read(&database, &settings).await;
    assert_eq!(database.rows(EVENTS).await, events);
    assert_eq!(database.rows(QUARANTINE).await, rows(2, "resolved"));
}

#[tokio::test]
async fn equal_bad_events_of_a_pushed_body_are_kept_apart_and_a_repetition_is_none() {
    let database = database().await;
    let mut store = store(&database).await;
    let body = format!("[{BAD},{},{BAD}]", event("a", 1));
    for _ in 0..2 {
        let mut batch = Batch::new(usize::MAX, usize::MAX);
        let mut body = Format::Recurly.open(body.as_bytes(), usize::MAX).unwrap();
        assert!(body.read_into(&mut batch, 0, "message"));
        store.write("hooks.push", &batch).await.unwrap();
    }
    let found = format!(
        "select line, occurrence, seen, etag is null, origin = encode(sha256('{body}'), 'hex'),
             event_id = 'push ' || origin || ' ' || occurrence
         from quarantine order by line"
    );
    assert_eq!(database.rows(&found).await, ["1|1|2|t|t|t", "3|2|2|t|t|t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_keeps_its_place() {
    let database = database().await;
    drop(store(&database).await);
    database
        .rows("alter table recurly_usage_events add constraint mine check (user_id <> '7')")
        .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usages");
    fs::write(&file, lines(7..8) + &lines(0..1) + &lines(7..8)).unwrap();
    let settings = format!(
        "source.one.type = \"file\"
         source.one.format = \"recurly\"
         source.one.path = \"{}\"
         source.one.settle_secs = 0\n",
        folder.path().display()
    );
    read(&database, &settings).await;
    let reasons = "select reason, line, occurrence from quarantine order by line";
    let refused = ["refused_by_database|1|1", "refused_by_database|3|2"];
    assert_eq!(database.rows(reasons).await, refused);
    database
        .rows("alter table recurly_usage_events drop constraint mine")
        .await;
    let config = folder.path().join("hydrant.toml");
    let text = format!("database.url = \"{}\"\n{settings}", database.url);
    fs::write(&config, text).unwrap();
    assert_eq!(retried(&config), "resolved 2, still bad 0");
    let events = "select user_id, line, occurrence from recurly_usage_events order by line";
    assert_eq!(database.rows(events).await, ["7|1|1", "0|2|1", "7|3|2"]);
}
