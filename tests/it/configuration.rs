//! What the real binary says of a configuration that it cannot use, or that is hardly meant.

use std::path::Path;
use std::process::Command;

use crate::support::{database, free_port, program};

const SOURCE: &str = "[source.a]\ntype = 'sqs'\nformat = 'hasoffers'\nqueue_url = 'https://sqs.us-east-1.amazonaws.com/1/a'\n";
const DATABASE: &str = "[database]\nurl = 'postgres://u:geheim@127.0.0.1:1/d'\n";

/// What `hydrant check` writes to standard error about `settings.toml` with this text, and these variables.
fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("settings.toml"), text).unwrap();
    run(folder.path(), &["--config", "settings.toml"], variables)
}

fn run(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .arg("check")
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert!(!said.contains("geheim"), "{said}");
    said.strip_prefix("hydrant: ")
        .unwrap()
        .trim_end()
        .to_owned()
}

/// The only thing wrong with a configuration to which `text` was added in front.
fn one_refusal(before: &str) -> String {
    refusal(&format!("{before}{DATABASE}{SOURCE}"), &[])
}

/// The same, added to the source, which comes last.
fn source_refusal(after: &str) -> String {
    refusal(&format!("{DATABASE}{SOURCE}{after}"), &[])
}

#[test]
fn a_value_is_refused_with_its_line_and_what_is_allowed() {
    for (before, expected) in [
        (
            "shutdown_secs = 1\n",
            "shutdown_secs = 1 (settings.toml, line 1) must be a whole number from 2 to 3600",
        ),
        (
            "\nshutdown_secs = 2.5\n",
            "shutdown_secs = 2.5 (settings.toml, line 2) must be a whole number from 2 to 3600",
        ),
        (
            "shutdown_secs = '9'\n",
            "shutdown_secs = \"9\" (settings.toml, line 1) must be a whole number from 2 to 3600, without quotes",
        ),
        (
            "shutdown_secs = -1\n",
            "shutdown_secs = -1 (settings.toml, line 1) must be a whole number from 2 to 3600",
        ),
        (
            "shutdown_secs = true\n",
            "shutdown_secs = true (settings.toml, line 1) must be a whole number from 2 to 3600",
        ),
        (
            "shutdown_secs = [1]\n",
            "shutdown_secs = […] (settings.toml, line 1) must be a whole number from 2 to 3600",
        ),
        (
            "log.format = 'xml'\n",
            "log.format = \"xml\" (settings.toml, line 1) must be \"text\" or \"json\"",
        ),
        (
            "log.level = 'inof'\n",
            "log.level = \"inof\" (settings.toml, line 1) must be off, error, warn, info, debug or trace, or a filter such as info,hydrant=debug",
        ),
        (
            "admin.listen = 'localhost:9464'\n",
            "admin.listen = \"localhost:9464\" (settings.toml, line 1) must be an IP address and a port, such as 127.0.0.1:9464 or 0.0.0.0:9464",
        ),
        (
            "log = 5\n",
            "log (settings.toml, line 1) must be a table: [log]",
        ),
        (
            "max_inflight_bytes = 1_048_576\n",
            "max_inflight_bytes = 1048576 (settings.toml, line 1) must be at least 92274688, which is 88 MiB: for each worker batch_bytes and 4 MiB for a body (10 MiB where it reads a shard; batch_bytes and max_body_bytes where it reads files or objects), for each listener max_inflight_request_bytes, and the largest max_body_bytes once; left out, it is enough",
        ),
    ] {
        assert_eq!(one_refusal(before), expected);
    }
    for (after, expected) in [
        (
            "schema = 5",
            "database.schema = 5 (settings.toml, line 3) must be text, in quotes",
        ),
        (
            "schema = ''",
            "database.schema = \"\" (settings.toml, line 3) must not be empty",
        ),
        (
            "partition_by = 'week'",
            "database.partition_by = \"week\" (settings.toml, line 3) must be \"day\" or \"none\"",
        ),
        (
            "lock_timeout_ms = 40_000",
            "database.lock_timeout_ms = 40000 (settings.toml, line 3) must not be above database.statement_timeout_ms = 30000 (by default): it would never be reached",
        ),
    ] {
        assert_eq!(
            refusal(&format!("{DATABASE}{after}\n{SOURCE}"), &[]),
            expected
        );
    }
    for (after, expected) in [
        (
            "workers = 0",
            "source.a.workers = 0 (settings.toml, line 7) must be a whole number from 1 to 256",
        ),
        (
            "network_id = ' '",
            "source.a.network_id = \" \" (settings.toml, line 7) must have 1 to 255 bytes and no control characters",
        ),
        (
            "endpoint_url = '127.0.0.1:4566'",
            "source.a.endpoint_url = \"127.0.0.1:4566\" (settings.toml, line 7) must be a URL, such as http://127.0.0.1:4566",
        ),
        (
            "region = 'eu-west-1'",
            "source.a.region = \"eu-west-1\" (settings.toml, line 7) contradicts queue_url, which is in us-east-1: leave region out",
        ),
    ] {
        assert_eq!(source_refusal(after), expected);
    }
}

#[test]
fn an_unknown_key_or_table_gets_a_suggestion() {
    for (before, expected) in [
        (
            "shutdown_sec = 5\n",
            "shutdown_sec (settings.toml, line 1) is not a key of hydrant: did you mean shutdown_secs?",
        ),
        (
            "workers = 5\n",
            "workers (settings.toml, line 1) is not a key of hydrant: did you mean source.a.workers?",
        ),
        (
            "databse.schema = 'x'\n",
            "databse.schema (settings.toml, line 1) is not a key of hydrant: did you mean database.schema?",
        ),
        (
            "log.colour = 'red'\n",
            "log.colour (settings.toml, line 1) is not a key of hydrant: there are log.format, log.level",
        ),
        (
            "[databse]\n",
            "[databse] (settings.toml, line 1) is not a table of hydrant: there are [database], [retention], [admin], [log] and [source.NAME]",
        ),
    ] {
        assert_eq!(one_refusal(before), expected);
    }
    for (after, expected) in [
        (
            "queue_ulr = 'x'",
            "source.a.queue_ulr (settings.toml, line 7) is not a key of hydrant: did you mean source.a.queue_url?",
        ),
        (
            "shutdown_secs = 5",
            "source.a.shutdown_secs (settings.toml, line 7) is not a key of hydrant: did you mean shutdown_secs? It stands before the first [table]",
        ),
    ] {
        assert_eq!(source_refusal(after), expected);
    }
}

#[test]
fn a_queue_must_be_a_url_of_its_own() {
    let with = |url: &str| {
        format!("{DATABASE}[source.b]\ntype = 'sqs'\nformat = 'hasoffers'\nqueue_url = {url:?}\n")
    };
    for url in [
        "feed",
        "https://",
        "https:///1/q",
        "https://sqs.us-east-1.amazonaws.com",
        "https://h/1/q\n",
    ] {
        assert_eq!(
            refusal(&with(url), &[]),
            format!(
                "source.b.queue_url = {url:?} (settings.toml, line 6) must be the URL of a queue, such as https://sqs.us-east-1.amazonaws.com/123456789012/name"
            )
        );
    }
    assert_eq!(
        refusal(
            &(with("https://sqs.us-east-1.amazonaws.com/1/a") + SOURCE),
            &[]
        ),
        "source.b.queue_url = \"https://sqs.us-east-1.amazonaws.com/1/a\" (settings.toml, line 6) is the queue of source.a too: \
         a queue has one source; raise its workers instead"
    );
    assert_eq!(
        refusal(
            &(with("https://h/1/q").replace("[source.b]", "[source.B]")),
            &[]
        ),
        "[source.B]: a source's name is made of a to z, 0 to 9 and single _ between them, so that a variable can name it"
    );
}

#[test]
fn what_is_missing_is_named_with_the_places_where_it_can_stand() {
    assert_eq!(
        refusal(SOURCE, &[]),
        "database.url is missing: set it in [database] of settings.toml, or as HYDRANT__DATABASE__URL or DATABASE_URL"
    );
    assert_eq!(
        refusal(&format!("{DATABASE}[source.a]\nformat = 'hasoffers'"), &[]),
        "source.a.type is missing: it must be \"sqs\" or \"kinesis\" or \"http\" or \"file\" or \"s3\"; set it in [source.a] of settings.toml, or as HYDRANT__SOURCE__A__TYPE\n\
         source.a.queue_url is missing: set it in [source.a] of settings.toml, or as HYDRANT__SOURCE__A__QUEUE_URL"
    );
    assert!(
        refusal(DATABASE, &[])
            .starts_with("there is no source: add a table such as [source.hasoffers]")
    );
}

#[test]
fn a_variable_is_refused_by_its_name() {
    let text = format!("{DATABASE}{SOURCE}");
    for (name, value, expected) in [
        (
            "HYDRANT__SHUTDOWN_SECS",
            "soon",
            "shutdown_secs = \"soon\" (HYDRANT__SHUTDOWN_SECS) must be a whole number from 2 to 3600",
        ),
        (
            "HYDRANT__SOURCE__A__WORKERS",
            "[1]",
            "source.a.workers = \"[1]\" (HYDRANT__SOURCE__A__WORKERS) must be a whole number from 1 to 256",
        ),
        (
            "HYDRANT__DATABSE__URL",
            "postgres://u:geheim@h/d",
            "the variable HYDRANT__DATABSE__URL sets no key of hydrant: did you mean HYDRANT__DATABASE__URL?",
        ),
        (
            "HYDRANT__SOURCE__A__QUEUE",
            "x",
            "the variable HYDRANT__SOURCE__A__QUEUE sets no key of hydrant: there are HYDRANT__SOURCE__A__TYPE, HYDRANT__SOURCE__A__FORMAT",
        ),
        (
            "HYDRANT__DATABASE",
            "x",
            "database (HYDRANT__DATABASE) must be a table: [database]",
        ),
    ] {
        let said = refusal(&text, &[(name, value)]);
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_database_url_is_refused_without_being_shown() {
    for url in [
        "mysql://u:geheim@h/d",
        "postgres://u:geheim#@h:x/d",
        "geheim",
    ] {
        let said = refusal(SOURCE, &[("DATABASE_URL", url)]);
        assert!(
            said.starts_with("database.url (DATABASE_URL) must be"),
            "{said}"
        );
    }
    let said = refusal(&format!("[database]\nurl = ['geheim']\n{SOURCE}"), &[]);
    assert_eq!(
        said,
        "database.url (settings.toml, line 2) must be text, in quotes"
    );
}

#[test]
fn a_file_must_be_there_and_be_toml() {
    let folder = tempfile::tempdir().unwrap();
    let missing = run(folder.path(), &["--config", "nowhere.toml"], &[]);
    assert_eq!(
        missing,
        "the configuration file nowhere.toml cannot be read: No such file or directory (os error 2)"
    );
    let a_folder = run(folder.path(), &["--config", "."], &[]);
    assert_eq!(
        a_folder,
        "the configuration file . cannot be read: Is a directory (os error 21)"
    );
    let said = refusal("[database]\nurl = \"postgres://u:geheim@h/d\n", &[]);
    assert!(
        said.starts_with("settings.toml, line 2: this is not TOML: "),
        "{said}"
    );
    let twice = refusal(&format!("{DATABASE}url = 'geheim'\n"), &[]);
    assert!(
        twice.starts_with("settings.toml, line 3: this is not TOML: "),
        "{twice}"
    );
}

#[test]
fn a_source_that_is_not_there_cannot_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), format!("{DATABASE}{SOURCE}")).unwrap();
    let said = run(folder.path(), &["--config", "a.toml", "--source", "b"], &[]);
    assert_eq!(said, "there is no source \"b\": the configuration has a");
}

#[tokio::test]
async fn a_database_url_that_is_not_used_is_told() {
    let (db, folder) = (database().await, tempfile::tempdir().unwrap());
    let settings = format!(
        "database.url = '{}'
         admin.listen = '127.0.0.1:{}'
         source.files.type = 'file'
         source.files.format = 'hasoffers'
         source.files.path = '{}'
         source.files.poll_secs = 1",
        db.url,
        free_port(),
        folder.path().display()
    );
    let file = folder.path().join(".settings.toml");
    std::fs::write(&file, settings).unwrap();
    let hydrant = |args: &[&str]| {
        let args = [args, &["--config", file.to_str().unwrap()]].concat();
        let other = ("DATABASE_URL", "postgres://u:geheim@127.0.0.1:1/d");
        program::run(&args, &[other], b"")
    };
    let words = "the variable DATABASE_URL is not used, because database.url is set";
    let ran = hydrant(&["run", "--until-empty"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(ran.err.matches(words).count(), 1, "{}", ran.err);
    let checked = hydrant(&["check"]);
    let told = checked.text().lines().find(|line| line.contains(words));
    assert!(
        told.is_some_and(|line| line.starts_with("warn  configuration")),
        "{}",
        checked.text()
    );
    for said in [&ran.err, &checked.err, checked.text()] {
        assert!(!said.contains("geheim"), "{said}");
    }
}

#[test]
fn a_listener_has_no_end_to_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hydrant.toml");
    let settings = "database.url = 'postgres://127.0.0.1:1/d'
         [source.pushed]
         type = 'http'
         [source.pushed.route.all]
         format = 'recurly'
         auth = 'none'";
    std::fs::write(&file, settings).unwrap();
    let args = ["run", "--until-empty", "--config", file.to_str().unwrap()];
    let ran = program::run(&args, &[], b"");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            2,
            "hydrant: source.pushed: what others push has no end: leave --until-empty out\n"
        )
    );
}
