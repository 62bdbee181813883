//! `hydrant replay`: files take the path of a queue's messages, once in effect.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::program::{Finished, run};
use crate::support::{Database, body, click, conversion, database, envelope, gzip, wait_until};

/// Replays with a migrated database; the summary as JSON.
async fn replay(db: &Database, args: &[&str]) -> (i32, Value, String) {
    let variables = [("DATABASE_URL", db.url.as_str())];
    let migrated = run(&["migrate"], &variables, b"");
    assert_eq!(migrated.status, 0, "{}", migrated.err);
    let done = run(&[&["replay", "--json"], args].concat(), &variables, b"");
    let summary = serde_json::from_slice(&done.out).unwrap_or_default();
    (done.status, summary, done.err)
}

fn counts(summary: &Value) -> [u64; 7] {
    [
        "files_read",
        "files_read_before",
        "stored",
        "adjustments",
        "duplicates",
        "variants",
        "quarantined",
    ]
    .map(|key| summary[key].as_u64().unwrap())
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    file.to_str().unwrap().to_owned()
}

fn one(event: &str) -> String {
    envelope(&format!("[{event}]"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_a_file_is_read_and_again_changes_nothing() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        body(&one(&click("a1"))),
        String::new(),
        one(&conversion("a2")),
        "{\"data\":[".to_owned(),
        body(&one(&click("a3"))),
    ];
    write(folder.path(), "lines.txt", lines.join("\n"));
    let packed = [one(&click("b1")), one(&click("b2"))].join("\n") + "\n";
    write(folder.path(), "deeper/lines.gz", gzip(packed.as_bytes()));
    let pretty: Value = serde_json::from_str(&one(&click("c1"))).unwrap();
    let pretty = serde_json::to_string_pretty(&pretty).unwrap();
    write(folder.path(), "pretty.json", &pretty);
    let array = format!("[{pretty},\n {}]", one(&click("c2")));
    write(folder.path(), "array.json", array);
    write(folder.path(), ".hidden", one(&click("no")));
    write(folder.path(), "unfinished.tmp", one(&click("no")));

    let path = folder.path().to_str().unwrap();
    let (status, summary, err) = replay(&db, &[path]).await;
    assert_eq!(status, 0, "{err}");
    assert_eq!(counts(&summary), [4, 0, 7, 0, 1, 0, 1], "{summary}");
    let ids = "select string_agg(event_id, ' ' order by event_id) from events";
    assert_eq!(db.rows(ids).await, ["a1 a2 a3 b1 b2 c1 c2"]);
    let bad = db
        .rows("select source, scope, reason, message_id like '%/lines.txt:4' from quarantine")
        .await;
    assert_eq!(bad, ["replay|body|not_json|t"]);

    let (status, summary, _) = replay(&db, &[path]).await;
    assert_eq!(
        (status, counts(&summary)),
        (0, [0, 4, 0, 0, 0, 0, 0]),
        "{summary}"
    );
    let (status, summary, _) = replay(&db, &[path, "--again"]).await;
    assert_eq!(
        (status, counts(&summary)),
        (0, [4, 0, 0, 0, 8, 0, 1]),
        "{summary}"
    );
    assert_eq!(db.rows(ids).await, ["a1 a2 a3 b1 b2 c1 c2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grew_is_read_on_and_one_that_changed_anew() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let first = one(&click("a1")) + "\n";
    let file = write(folder.path(), "a.jsonl", &first);
    assert_eq!(
        counts(&replay(&db, &[&file]).await.1),
        [1, 0, 1, 0, 0, 0, 0]
    );
    write(
        folder.path(),
        "a.jsonl",
        format!("{first}{}", one(&click("a2"))),
    );
    assert_eq!(
        counts(&replay(&db, &[&file]).await.1),
        [1, 0, 1, 0, 0, 0, 0]
    );
    let position = db
        .rows("select position::jsonb ->> 'number', is_ended from positions")
        .await;
    assert_eq!(position, ["2|t"]);
    // As long as the two before, and another.
    let other = format!("{}\n{}", one(&click("b1")), one(&click("b2")));
    write(folder.path(), "a.jsonl", other);
    assert_eq!(
        counts(&replay(&db, &[&file]).await.1),
        [1, 0, 2, 0, 0, 0, 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_begins_as_it_did_is_read_from_its_beginning() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = |ids: std::ops::Range<usize>| -> String {
        ids.map(|id| one(&click(&format!("{id:04}"))) + "\n")
            .collect()
    };
    let begins = lines(0..10);
    assert!(begins.len() > 1024);
    let file = write(folder.path(), "a.jsonl", begins.clone() + &lines(10..50));
    assert_eq!(counts(&replay(&db, &[&file]).await.1)[2..5], [50, 0, 0]);
    // Longer, then shorter than what was read before.
    write(folder.path(), "a.jsonl", begins.clone() + &lines(100..160));
    assert_eq!(counts(&replay(&db, &[&file]).await.1)[2..5], [60, 0, 10]);
    write(folder.path(), "a.jsonl", begins + &lines(200..205));
    assert_eq!(counts(&replay(&db, &[&file]).await.1)[2..5], [5, 0, 10]);
    assert_eq!(db.rows("select count(*) from events").await, ["115"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_dies_goes_on_where_it_was() {
    const EACH: usize = 30_000;
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = |file: usize| -> String {
        let ids = EACH * file..EACH * (file + 1);
        ids.map(|id| one(&click(&id.to_string())) + "\n").collect()
    };
    let plain = write(folder.path(), "plain", lines(0));
    let packed = write(folder.path(), "packed", gzip(lines(1).as_bytes()));
    let files = [plain.as_str(), &packed];
    let count = "select count(*) from events";
    let variables = [("DATABASE_URL", db.url.as_str())];
    assert_eq!(run(&["migrate"], &variables, b"").status, 0);
    for (signal, status) in [("KILL", None), ("INT", Some(1))] {
        let before = db.rows(count).await;
        let mut child = Command::new(env!("CARGO_BIN_EXE_hydrant"))
            .arg("replay")
            .args(files)
            .envs(variables)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("more is stored", 60, async || {
            db.rows(count).await != before
        })
        .await;
        let kill = format!("kill -{signal} {}", child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), status);
        assert_ne!(
            db.rows(count).await,
            [(2 * EACH).to_string()],
            "it was done already"
        );
    }
    let stored: u64 = db.rows(count).await[0].parse().unwrap();
    let (status, summary, err) = replay(&db, &files).await;
    assert_eq!(status, 0, "{err}");
    // Nothing was stored before without its position.
    let rest = (2 * EACH) as u64 - stored;
    assert_eq!(counts(&summary)[2..], [rest, 0, 0, 0, 0]);
    assert_eq!(db.rows(count).await, [(2 * EACH).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_to_the_end_is_told() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..500)
        .map(|n| one(&click(&format!("{}", n * 7919 % 1000))))
        .collect();
    let packed = gzip((ids.join("\n") + "\n").as_bytes());
    let file = write(folder.path(), "cut.gz", &packed[..packed.len() - 12]);
    let (status, summary, err) = replay(&db, &[&file]).await;
    assert_eq!(status, 1, "{err}");
    assert!(
        err.contains("cut.gz") && err.contains("cut off or wrong"),
        "{err}"
    );
    assert_eq!(summary["failures"].as_array().unwrap().len(), 1);
    assert!(summary["stored"].as_u64().unwrap() > 0, "{summary}");
    // A second run reads nothing of it, and is no better.
    let (status, summary, err) = replay(&db, &[&file]).await;
    assert!(status == 1 && err.contains("cut off or wrong"), "{err}");
    assert_eq!(summary["failures"].as_array().unwrap().len(), 1);
    assert_eq!(summary["files_read_before"], 1);

    write(folder.path(), "cut.gz", &packed);
    let (status, summary, err) = replay(&db, &[&file]).await;
    assert_eq!((status, counts(&summary)[6]), (0, 0), "{err}");
    assert_eq!(db.rows("select count(*) from events").await, ["500"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let said = async |args: &[&str]| {
        let (status, _, err) = replay(&db, args).await;
        (status, err)
    };
    let (status, err) = said(&[path]).await;
    assert!(
        status == 2 && err.contains("there is no file in"),
        "{status} {err}"
    );
    let (status, err) = said(&["/nowhere/at/all"]).await;
    assert!(
        status == 2 && err.contains("/nowhere/at/all"),
        "{status} {err}"
    );
    write(folder.path(), "a", one(&click("a")));
    let (status, err) = said(&[path, "--source", "absent"]).await;
    assert!(status == 2 && err.contains("\"absent\""), "{status} {err}");
    let (status, err) = said(&[path, "--format", "other"]).await;
    assert!(
        status == 2 && err.contains("\"hasoffers\""),
        "{status} {err}"
    );
    let rubbish: String = (0..300).map(|n| format!("rubbish {n}\n")).collect();
    write(folder.path(), "rubbish", rubbish);
    let (status, err) = said(&[path]).await;
    assert!(
        status == 1 && err.contains("over half of the last 200 bodies"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_source_count_as_its_own() {
    let db = database().await;
    let folder = tempfile::tempdir().unwrap();
    let config = write(
        folder.path(),
        "hydrant.toml",
        format!(
            "database.url = {:?}\n[source.feed]\ntype = \"file\"\npath = \"/nowhere\"\nformat = \"hasoffers\"\nnetwork_id = 29\n",
            db.url
        ),
    );
    let event = envelope(&format!("[{}]", click("a"))).replace("\"network_id\":\"acme\",", "");
    let file = write(folder.path(), "a", event + "\n@");
    let migrated = run(&["migrate", "--config", &config], &[], b"");
    assert_eq!(migrated.status, 0, "{}", migrated.err);
    let Finished { status, out, err } = run(
        &["replay", "--config", &config, "--source", "feed", &file],
        &[],
        b"",
    );
    assert_eq!(status, 0, "{err}");
    let out = String::from_utf8(out).unwrap();
    assert_eq!(
        out,
        "1 file read\n  events: 1 stored, 0 adjustments, 0 duplicates, 0 variants, 1 to quarantine\n"
    );
    assert_eq!(db.rows("select network_id from events").await, ["29"]);
    assert_eq!(
        db.rows("select q.source, p.source, p.part = message_id or message_id = p.part || ':2' from quarantine q, positions p")
            .await,
        ["feed|feed|t"]
    );
}
