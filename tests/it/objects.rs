//! Sources of files and objects: a folder that is watched, and a bucket on a local S3.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::support::bucket::Bucket;
use crate::support::program::run;
use crate::support::store::until;
use crate::support::{Daemon, click, conversion, database, envelope, gzip, wait_until};

const COUNT: &str = "select count(*) from events";

fn lines(ids: std::ops::Range<usize>) -> String {
    let line = |id| envelope(&format!("[{}]", click(&format!("e{id}")))) + "\n";
    ids.map(line).collect()
}

fn folder_settings(folder: &Path) -> String {
    format!(
        "source.one.type = \"file\"
         source.one.format = \"hasoffers\"
         source.one.path = \"{}\"
         source.one.poll_secs = 1
         source.one.settle_secs = 0\n",
        folder.display()
    )
}

/// Settings of a source `one` that reads some of the objects of a bucket.
fn bucket_settings(bucket: &Bucket) -> String {
    bucket.settings("hasoffers")
        + "source.one.prefix = \"exports/\"\nsource.one.name_prefix = \"usages\"\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_read_as_it_grows() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("deep")).unwrap();
    fs::write(folder.path().join("deep/a.jsonl"), lines(0..3)).unwrap();
    fs::write(folder.path().join("b.jsonl.tmp"), lines(100..103)).unwrap();
    let daemon = Daemon::start(&db.url, &[], &folder_settings(folder.path())).await;
    until(&db, COUNT, &["3"]).await;

    // A line and a half: the half is no bad body, because its rest is on the way.
    let more = lines(3..5);
    let (now, later) = more.split_at(more.len() - 40);
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(folder.path().join("deep/a.jsonl"))
        .unwrap();
    file.write_all(now.as_bytes()).unwrap();
    until(&db, COUNT, &["4"]).await;
    file.write_all(later.as_bytes()).unwrap();
    until(&db, COUNT, &["5"]).await;

    fs::rename(
        folder.path().join("b.jsonl.tmp"),
        folder.path().join("b.jsonl"),
    )
    .unwrap();
    until(&db, COUNT, &["8"]).await;
    let kept = "select count(*) from quarantine";
    assert_eq!(db.rows(kept).await, ["0"]);
    // Each line was read once.
    assert_eq!(
        daemon.metric("hydrant_events_total", "duplicate").await,
        0.0
    );
    until(
        &db,
        "select part, position::jsonb ->> 'number', is_ended from positions order by 1",
        &["b.jsonl|3|t", "deep/a.jsonl|5|t"],
    )
    .await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_is_told_and_found_again() {
    let db = database().await;
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("incoming");
    let daemon = Daemon::spawn(&db.url, &[], &folder_settings(&folder), &[]);
    wait_until("the trouble shows", 30, async || {
        daemon.ready().await.1.contains("incoming")
    })
    .await;
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), lines(0..1)).unwrap();
    daemon.until_ready(60).await;
    until(&db, COUNT, &["1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_until_empty_ends_when_all_files_are_read() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), lines(0..10)).unwrap();
    fs::write(folder.path().join("b"), lines(5..20)).unwrap();
    let settings = folder_settings(folder.path());
    let daemon = Daemon::spawn(&db.url, &[], &settings, &["--until-empty"]);
    let ended = daemon.ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    assert_eq!(db.rows(COUNT).await, ["20"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_packed_grown_and_changed_objects_are_read_and_others_left_alone() {
    let db = database().await;
    let bucket = Bucket::start().await;
    bucket.put("exports/usages-1.json", lines(0..3)).await;
    bucket
        .put("exports/activities-1.json", lines(900..903))
        .await;
    bucket.put("other/usages-1.json", lines(800..803)).await;
    let settings = bucket_settings(&bucket);
    let daemon = Daemon::start(&db.url, &[], &settings).await;
    until(&db, COUNT, &["3"]).await;

    bucket
        .put("exports/usages-0.json.gz", gzip(lines(3..6).as_bytes()))
        .await;
    until(&db, COUNT, &["6"]).await;
    let array = format!(
        "[{},\n{}]",
        envelope(&format!("[{}]", conversion("c1"))),
        lines(6..7)
    );
    bucket.put("exports/2026/usages", array).await;
    until(&db, COUNT, &["8"]).await;
    // The same key: grown, then with other contents and a line that is none.
    let grown = lines(0..3) + &lines(20..22);
    bucket.put("exports/usages-1.json", grown).await;
    until(&db, COUNT, &["10"]).await;
    let changed = format!("{}{{\n{}", lines(7..9), lines(0..1));
    bucket.put("exports/usages-1.json", changed).await;
    until(&db, COUNT, &["12"]).await;
    until(
        &db,
        "select reason, message_id from quarantine",
        &["not_json|s3://feed/exports/usages-1.json:3"],
    )
    .await;
    wait_until("one object is left alone", 20, async || {
        daemon.metric("hydrant_objects", "left_alone").await == 1.0
    })
    .await;
    assert_eq!(daemon.ready().await.0, 200);
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_a_listing_are_read() {
    const ALL: usize = 1_002;
    let db = database().await;
    let bucket = Bucket::start().await;
    for id in 0..ALL {
        bucket.put(&format!("{id:05}"), lines(id..id + 1)).await;
    }
    let daemon = Daemon::start(&db.url, &[], &bucket.settings("hasoffers")).await;
    wait_until("both pages are read", 180, async || {
        db.rows(COUNT).await == [ALL.to_string()]
    })
    .await;
    // One behind the last page, and one before the first.
    bucket.put("zzz", lines(ALL..ALL + 1)).await;
    bucket.put("0", lines(ALL + 1..ALL + 2)).await;
    until(&db, COUNT, &[&(ALL + 2).to_string()]).await;
    wait_until("all are read", 60, async || {
        daemon.metric("hydrant_objects", "read").await == (ALL + 2) as f64
    })
    .await;
    assert_eq!(
        daemon.metric("hydrant_events_total", "duplicate").await,
        0.0
    );
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

/// A file that is listed, and whose first byte nobody can read, not even root.
fn unreadable(path: &Path) {
    std::os::unix::fs::symlink("/proc/self/mem", path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_trouble_until_it_can_be() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    unreadable(&path);
    let daemon = Daemon::spawn(&db.url, &[], &folder_settings(folder.path()), &[]);
    let is_told = async || {
        let said = daemon.ready().await.1;
        said.contains("objects that cannot be read: 1, among them a: cannot read")
    };
    wait_until("the trouble shows", 60, is_told).await;
    // It is no less while others are read.
    fs::write(folder.path().join("z"), lines(0..3)).unwrap();
    until(&db, COUNT, &["3"]).await;
    wait_until("the trouble shows still", 60, is_told).await;
    fs::remove_file(&path).unwrap();
    fs::write(&path, lines(3..5)).unwrap();
    until(&db, COUNT, &["5"]).await;
    daemon.until_ready(60).await;
    // What is gone is no trouble either.
    unreadable(&folder.path().join("b"));
    wait_until("the trouble shows again", 60, async || {
        daemon.ready().await.0 != 200
    })
    .await;
    fs::remove_file(folder.path().join("b")).unwrap();
    daemon.until_ready(60).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

/// Who waits for the end is told how much was not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_told_and_starves_no_other() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..30 {
        fs::write(
            folder.path().join(format!("a{number:02}")),
            b"\x1f\x8bno gzip",
        )
        .unwrap();
    }
    fs::write(folder.path().join("z"), lines(0..3)).unwrap();
    let settings = folder_settings(folder.path());
    let started = std::time::Instant::now();
    let daemon = Daemon::spawn(&db.url, &[], &settings, &["--until-empty"]);
    let ended = daemon.ended(60).await;
    assert_eq!(ended.status, Some(1), "{}", ended.log);
    assert!(
        ended
            .log
            .contains("objects that cannot be read: 30, among them a00"),
        "{}",
        ended.log
    );
    assert_eq!(db.rows(COUNT).await, ["3"]);
    assert!(started.elapsed().as_secs() < 45, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_last_line_is_kept_when_its_rest_does_not_come() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, lines(0..2) + "{\"half").unwrap();
    let daemon = Daemon::start(&db.url, &[], &folder_settings(folder.path())).await;
    until(&db, COUNT, &["2"]).await;
    until(&db, "select is_ended from positions", &["f"]).await;
    assert_eq!(db.rows("select count(*) from quarantine").await, ["0"]);
    // As if more than a minute had gone by.
    let file = fs::File::options().append(true).open(&path).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(90);
    file.set_modified(long_ago).unwrap();
    until(
        &db,
        "select reason, convert_from(payload, 'UTF8') from quarantine",
        &["not_json|{\"half"],
    )
    .await;
    until(&db, "select is_ended from positions", &["t"]).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_within_a_large_object_loses_and_doubles_nothing() {
    let db = database().await;
    let bucket = Bucket::start().await;
    let all = 20_000;
    bucket.put("exports/usages-plain", lines(0..all)).await;
    let packed = gzip(lines(all..2 * all).as_bytes());
    bucket.put("exports/usages-packed", packed).await;
    let settings = bucket.settings("hasoffers") + "source.one.batch_events = 100\n";
    for least in [500, 15_000, 30_000] {
        let daemon = Daemon::spawn(&db.url, &[], &settings, &[]);
        let some = format!("select count(*) >= {least} from events");
        wait_until("some events are stored", 60, async || {
            // The first daemon has to make the tables first.
            db.rows("select to_regclass('events') is not null").await == ["t"]
                && db.rows(&some).await == ["t"]
        })
        .await;
        daemon.kill();
    }
    let positions =
        "select count(*) filter (where (position::jsonb ->> 'number')::int > 0) from positions";
    assert_ne!(db.rows(positions).await, ["0"]);
    let daemon = Daemon::spawn(&db.url, &[], &settings, &["--until-empty"]);
    let ended = daemon.ended(120).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let expected = format!("{}|{}", 2 * all, 2 * all);
    assert_eq!(
        db.rows("select count(*), count(distinct event_id) from events")
            .await,
        [expected]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_whether_objects_can_be_read() {
    let db = database().await;
    let bucket = Bucket::start().await;
    bucket.put("exports/usages-1", lines(0..1)).await;
    bucket.put("exports/activities-1", lines(0..1)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hydrant.toml");
    let text = format!(
        "database.url = \"{}\"\n{}source.two.type = \"file\"\nsource.two.format = \"hasoffers\"\nsource.two.path = \"{}\"\n",
        db.url,
        bucket_settings(&bucket),
        folder.path().display()
    );
    fs::write(&config, &text).unwrap();
    let check = |config: &Path| {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        run(&["check", "--config", config.to_str().unwrap()], &keys, b"")
    };
    let said = check(&config).text().to_owned();
    for part in [
        "bucket: feed: 1 objects to read, 1 others that are left alone",
        "right to read: granted",
        "1 files",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let gone = text.replace("bucket = \"feed\"", "bucket = \"gone\"");
    fs::write(&config, gone).unwrap();
    let said = check(&config).text().to_owned();
    assert!(said.contains("the bucket gone does not exist"), "{said}");
}
