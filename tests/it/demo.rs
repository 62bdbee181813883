//! `hydrant demo`, as somebody runs it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::database;

/// The demo with these arguments, and a folder for temporary files of its own.
fn demo(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydrant"));
    command
        .args(["demo", "--seed", "3"])
        .args(arguments)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A folder that the server's user can pass through as well.
fn temporary() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .permissions(permissions)
        .tempdir()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The numbers of the line `n published = n stored + …`.
fn figures(shown: &str) -> Vec<u64> {
    let line = shown.lines().find(|line| line.contains(" published = "));
    let words = line.unwrap().split_whitespace();
    words
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect()
}

/// The port that stands behind `words`.
fn port(text: &str, words: &str) -> u16 {
    let (_, rest) = text.split_once(words).unwrap();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

const SERVER: &str = "server on 127.0.0.1:";

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "never {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_demo_adds_up_twice_and_leaves_nothing_behind() {
    let temporary = temporary();
    let run = || {
        let shown = text(
            &demo(temporary.path(), &["--messages", "50"])
                .output()
                .unwrap(),
        );
        assert!(is_empty(temporary.path()) && !answers(port(&shown, SERVER)));
        assert!(shown.contains("Everything adds up."), "{shown}");
        figures(&shown)
    };
    let first = run();
    assert_eq!(first.len(), 6);
    assert!(first.iter().all(|count| *count > 0), "{first:?}");
    assert_eq!(first[0], first[1..].iter().sum::<u64>());
    assert_eq!(run(), first);
}

#[tokio::test]
async fn in_a_given_database_it_uses_a_schema_of_its_own() {
    let temporary = temporary();
    let db = database().await;
    let schemas = "select count(*) from pg_namespace where nspname = 'hydrant_demo'";
    let run = |arguments: &[&str]| {
        let given = [&["--messages", "50", "--database", &db.url], arguments].concat();
        demo(temporary.path(), &given).output().unwrap()
    };
    assert!(text(&run(&[])).contains("Everything adds up."));
    assert_eq!(db.rows(schemas).await, ["0"]);
    let shown = text(&run(&["--keep"]));
    assert_eq!(db.rows(schemas).await, ["1"]);
    let stored = db.rows("select count(*) from hydrant_demo.events").await;
    assert_eq!(stored, [figures(&shown)[1].to_string()]);
    // What is there is not touched.
    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        words.contains("drop schema \"hydrant_demo\" cascade"),
        "{words}"
    );
    assert_eq!(
        db.rows("select count(*) from hydrant_demo.events").await,
        stored
    );
    assert!(is_empty(temporary.path()));
}

#[test]
fn a_kept_server_is_removed_as_told() {
    let temporary = temporary();
    let shown = text(
        &demo(temporary.path(), &["--messages", "50", "--keep"])
            .output()
            .unwrap(),
    );
    assert!(answers(port(&shown, SERVER)));
    let command = shown.lines().find(|line| line.contains("pg_ctl")).unwrap();
    let removed = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert!(is_empty(temporary.path()) && !answers(port(&shown, SERVER)));
}

/// A demo whose daemon is at work, with the ports of its server and its daemon.
fn at_work(temporary: &Path) -> (Child, [u16; 2]) {
    let mut child = demo(temporary, &["--messages", "5000"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut shown = String::new();
    while !shown.contains(" events\n") || !shown.contains("--config") {
        shown += &lines.next().unwrap().unwrap();
        shown.push('\n');
    }
    let config = shown.split("--config ").nth(1).unwrap().lines().next();
    let config = std::fs::read_to_string(config.unwrap()).unwrap();
    let ports = [port(&shown, SERVER), port(&config, "listen = \"127.0.0.1:")];
    assert!(ports.iter().all(|port| answers(*port)));
    (child, ports)
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let temporary = temporary();
    let (mut child, ports) = at_work(temporary.path());
    let id = child.id().to_string();
    let sent = Command::new("sh")
        .args(["-c", "kill -INT $1", "sh", &id])
        .status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(is_empty(temporary.path()) && !ports.iter().any(|port| answers(*port)));
}

#[test]
fn a_killed_demo_leaves_nothing_behind() {
    let temporary = temporary();
    let (mut child, ports) = at_work(temporary.path());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("removed", || is_empty(temporary.path()));
    assert!(!ports.iter().any(|port| answers(*port)));
}
