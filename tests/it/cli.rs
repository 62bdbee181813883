//! The command line: exit statuses, and one clear sentence for what is wrong.

use std::fs;
use std::process::Output;

use crate::support::{database, hydrant};

/// The program's end with this configuration file (none if empty) and environment.
fn end(args: &[&str], config: &str, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    if !config.is_empty() {
        fs::write(&file, config).unwrap();
    }
    let environment = environment.iter().copied();
    hydrant(args, &file).envs(environment).output().unwrap()
}

/// What it says when it fails: one line.
fn sentence(output: &Output) -> &str {
    let text = str::from_utf8(&output.stderr).unwrap().trim_end();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

const SOURCE: &str = r#"
[source.feed]
type = "sqs"
format = "hasoffers"
queue_url = "https://sqs.us-east-1.amazonaws.com/1/feed"
"#;

const DATABASE: &str = r#"
[database]
url = "postgres://someone:hunter2@127.0.0.1:1/nothing"
"#;

#[test]
fn help_and_version() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_hydrant"));
    let help = program().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    for word in ["run", "migrate", "--version"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let version = program().arg("--version").output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        text(&version.stdout),
        concat!("hydrant ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for args in [&[][..], &["fly"], &["run", "--fast"]] {
        assert_eq!(
            program().args(args).output().unwrap().status.code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn migrate_twice_is_migrate_once() {
    let database = database().await;
    let config = format!("[database]\nurl = \"{}\"\nschema = \"Feeds\"", database.url);
    let tables = "select string_agg(n.nspname || '.' || c.relname, ' ' order by n.nspname, c.relname) from pg_class c
                  join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname not in ('pg_catalog', 'pg_toast', 'information_schema')";
    let mut before = None;
    for _ in 0..2 {
        let output = end(&["migrate"], &config, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stdout),
            "the database is up to date (schema Feeds)\n"
        );
        let now = database.rows(tables).await;
        assert!(
            now[0].contains("Feeds.events_conversions") && !now[0].contains("public."),
            "{now:?}"
        );
        assert!(before.is_none_or(|before| before == now));
        before = Some(now);
    }
}

#[test]
fn a_wrong_configuration_is_explained() {
    let whole = format!("{DATABASE}{SOURCE}");
    let with = |line: &str| format!("{line}\n{whole}");
    let rows: [(&str, &str, &[&str]); 15] = [
        ("no file", "", &["cannot be read", "hydrant.toml"]),
        ("no TOML", "[database\nurl =", &["hydrant.toml, line 1"]),
        (
            "no TOML around a secret",
            "[database]\nurl = \"postgres://someone:hunter2@host/",
            &["hydrant.toml, line 2"],
        ),
        ("no source", DATABASE, &["source"]),
        ("no database", SOURCE, &["database"]),
        (
            "an unknown key",
            &with("shutdown_seconds = 5"),
            &["shutdown_seconds", "hydrant.toml"],
        ),
        (
            "an unknown key in a table",
            &format!("{whole}visibility = 5"),
            &["source.feed", "visibility", "hydrant.toml"],
        ),
        (
            "a value out of range",
            &format!("{whole}workers = 0"),
            &["source.feed.workers", "0", "1", "256"],
        ),
        (
            "a value of the wrong type",
            &format!("{whole}workers = \"two\""),
            &["source.feed.workers", "two", "hydrant.toml"],
        ),
        (
            "an unknown type of source",
            &whole.replace("\"sqs\"", "\"kafka\""),
            &["source.feed.type", "kafka", "sqs"],
        ),
        (
            "no URL of a queue",
            &whole.replace("https://", ""),
            &["source.feed.queue_url", "https://"],
        ),
        (
            "no URL of a database",
            &whole.replace("postgres://", "mysql://"),
            &["database.url", "postgres://"],
        ),
        (
            "an unknown parameter of the database's address",
            &whole.replace("/nothing\"", "/nothing?sslmod=hunter2\""),
            &["database.url", "sslmod", "sslmode"],
        ),
        (
            "too little memory",
            &with("max_inflight_bytes = 1000000"),
            &["max_inflight_bytes", "1000000"],
        ),
        (
            "no filter",
            &format!("{whole}[log]\nlevel = \"hydrant=loud\""),
            &["log.level", "hydrant=loud"],
        ),
    ];
    for (name, config, words) in rows {
        let output = end(&["run"], config, &[]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{name}: {}",
            text(&output.stderr)
        );
        let sentence = sentence(&output);
        for word in words {
            assert!(
                sentence.contains(word),
                "{name}: {word:?} is not in {sentence}"
            );
        }
        assert!(!sentence.contains("hunter2"), "{name}: {sentence}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let whole = format!("{DATABASE}{SOURCE}workers = 2");
    let output = end(
        &["run"],
        &whole,
        &[("HYDRANT__SOURCE__FEED__WORKERS", "300")],
    );
    assert_eq!(output.status.code(), Some(2));
    let said = sentence(&output);
    assert!(
        said.contains("source.feed.workers") && said.contains("300"),
        "{said}"
    );
    let output = end(&["run"], &whole, &[("HYDRANT__SOURCE__FEED__WORKER", "3")]);
    assert_eq!(output.status.code(), Some(2));
    let said = sentence(&output);
    assert!(
        said.contains("HYDRANT__SOURCE__FEED__WORKER sets"),
        "{said}"
    );
    // DATABASE_URL is for that one key.
    let output = end(
        &["migrate"],
        SOURCE,
        &[("DATABASE_URL", "mysql://hunter2@host")],
    );
    assert_eq!(output.status.code(), Some(2));
    let said = sentence(&output);
    assert!(
        said.contains("database.url") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn nothing_is_forgotten_but_with_the_rollup() {
    let output = end(
        &["migrate", "--rollup", "on", "--forget-dropped"],
        &format!("{DATABASE}{SOURCE}"),
        &[],
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        sentence(&output),
        "hydrant: --forget-dropped goes with --rollup off: nothing is forgotten otherwise"
    );
}
