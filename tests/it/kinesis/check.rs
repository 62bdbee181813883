//! `hydrant check` of a stream.

use crate::support::{Database, LocalStream, Stream, database, hydrant};

/// What `hydrant check` says of the source, and whether nothing of it failed.
fn check(database: &Database, settings: &str) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    let database = format!("database.url = \"{}\"\n", database.url);
    std::fs::write(&file, database + settings).unwrap();
    let output = hydrant(&["check"], &file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.contains("source.one"));
    let said = lines.collect::<Vec<_>>().join("\n");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!said.is_empty(), "{text}{err}");
    let fits = !said.lines().any(|line| line.starts_with("fail"));
    assert!(fits || !output.status.success());
    (said, fits)
}

async fn migrated() -> Database {
    let database = database().await;
    crate::support::store::store(&database).await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_fit_is_told_so() {
    let (stream, database) = (Stream::start(2).await, migrated().await);
    stream.put(0, "left where it is");
    let (said, fits) = check(&database, &stream.settings("one"));
    assert!(fits, "{said}");
    for words in [
        "stream: ACTIVE",
        "retention: records are kept for 168 hours",
        "shards: 2; a daemon reads 8 at most",
        "encryption: none at rest",
        "right to read: granted",
    ] {
        assert!(
            said.contains(&format!("ok    source.one     {words}")),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_should_be_better_is_told() {
    let (stream, database) = (Stream::start(3).await, migrated().await);
    stream.retain_hours(24);
    let settings = stream.settings("one") + "source.one.workers = 2\n";
    let (said, fits) = check(&database, &settings);
    assert!(fits, "{said}");
    assert_eq!(said.matches("warn").count(), 2, "{said}");
    assert!(
        said.contains("kept for 24 hours → raise it to 168"),
        "{said}"
    );
    assert!(said.contains("raise workers"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_fails() {
    let (stream, database) = (LocalStream::start(1).await, migrated().await);
    let settings = stream.settings("one");
    let (said, fits) = check(&database, &settings);
    assert!(fits, "{said}");
    let settings = settings.replace("\"feed\"", "\"another\"");
    let (said, fits) = check(&database, &settings);
    assert!(!fits);
    assert!(
        said.contains("the stream another or its shard does not exist"),
        "{said}"
    );
}
