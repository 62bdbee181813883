//! `hydrant demo`, as somebody runs it.

use std::io::{BufRead, BufReader, Read, Write};
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

/// The numbers of each line `n published = n stored + …`.
fn figures(shown: &str) -> Vec<Vec<u64>> {
    let lines = shown.lines().filter(|line| line.contains(" published = "));
    let numbers = |line: &str| {
        let words = line.split_whitespace();
        words
            .filter_map(|word| word.replace(',', "").parse().ok())
            .collect()
    };
    lines.map(numbers).collect()
}

/// That the figures of the backlog and those behind the live traffic add up, and that there was some.
fn assert_live(shown: &str) {
    assert_eq!(shown.matches("Everything adds up.").count(), 2, "{shown}");
    let figures = figures(shown);
    assert_eq!(figures.len(), 2, "{shown}");
    for figures in &figures {
        assert_eq!(figures[0], figures[1..].iter().sum::<u64>(), "{shown}");
    }
    let [published, stored, _, duplicates, ..] =
        [0, 1, 2, 3].map(|at| figures[1][at] - figures[0][at]);
    assert!(
        published > stored && stored > 0 && duplicates > 0,
        "{shown}"
    );
    assert!(shown.contains("Everything is removed."), "{shown}");
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
        let [figures] = figures(&shown).try_into().unwrap();
        figures
    };
    let first: Vec<u64> = run();
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
    let shown = text(&run(&["--seconds", "1"]));
    assert!(shown.contains("the given database, in its new schema hydrant_demo"));
    assert_live(&shown);
    assert_eq!(db.rows(schemas).await, ["0"]);
    let shown = text(&run(&["--keep"]));
    assert_eq!(db.rows(schemas).await, ["1"]);
    let stored = db.rows("select count(*) from hydrant_demo.events").await;
    assert_eq!(stored, [figures(&shown)[0][1].to_string()]);
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

#[test]
fn live_traffic_goes_on_until_it_is_told_to_end() {
    let temporary = temporary();
    let mut child = demo(temporary.path(), &["--messages", "50", "--seconds", "600"])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    while !shown.contains(" landed, ") {
        assert!(out.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    let mut page =
        TcpStream::connect(("127.0.0.1", port(&shown, "status page   http://127.0.0.1:"))).unwrap();
    page.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut metrics = String::new();
    page.read_to_string(&mut metrics).unwrap();
    assert!(metrics.contains("hydrant_events_total{"), "{metrics}");
    interrupt(&child);
    out.read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown}");
    assert_live(&shown);
    assert!(is_empty(temporary.path()) && !answers(port(&shown, SERVER)));
}

#[test]
fn on_a_terminal_it_goes_on_until_ctrl_c() {
    let temporary = temporary();
    let hydrant = env!("CARGO_BIN_EXE_hydrant");
    // Without `exec` the Ctrl-C is for the shell as well, and some shells die of it.
    let command = format!("stty cols 120 && exec {hydrant} demo --messages 50");
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .env("TERM", "xterm")
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let text = |shown: &[u8]| String::from_utf8_lossy(shown).into_owned();
    // One line that changes has no end.
    while !text(&shown).contains(" landed, ") {
        let read = out.fill_buf().unwrap();
        assert!(!read.is_empty(), "{}", text(&shown));
        shown.extend_from_slice(read);
        let length = read.len();
        out.consume(length);
    }
    child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    out.read_to_end(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", text(&shown));
    assert_live(&text(&shown));
    assert!(is_empty(temporary.path()));
}

#[test]
fn without_postgresql_it_says_what_to_do() {
    let temporary = temporary();
    let tools = tempfile::tempdir().unwrap();
    // A PATH with what the demo itself calls alone, and Debian's folder of servers empty, in a name space of its own.
    let hide = "for tool in sh id head rm sleep kill; do ln -s \"$(command -v $tool)\" \"$1\"; done
        [ ! -d /usr/lib/postgresql ] || mount -t tmpfs none /usr/lib/postgresql
        PATH=$1 exec \"$0\" demo";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "/bin/sh", "-c", hide])
        .arg(env!("CARGO_BIN_EXE_hydrant"))
        .arg(tools.path())
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(
        words.contains("apt-get install postgresql") && words.contains("--database"),
        "{words}"
    );
    assert!(is_empty(temporary.path()));
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

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("sh")
        .args(["-c", "kill -INT $1", "sh", &id])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let temporary = temporary();
    let (mut child, ports) = at_work(temporary.path());
    interrupt(&child);
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
