//! That the support itself holds.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Postgres, Stop, database};

#[tokio::test]
async fn two_databases_are_apart() {
    let (one, other) = (database().await, database().await);
    one.rows("create table facts (id int)").await;
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(one.rows(tables).await, ["1"]);
    assert_eq!(other.rows(tables).await, ["0"]);
}

#[tokio::test]
async fn rows_are_text() {
    let db = database().await;
    let sql = "select 1, 'a', null, 12.50, date '2024-02-29'; select true";
    assert_eq!(db.rows(sql).await, ["1|a|NULL|12.50|2024-02-29", "t"]);
}

#[tokio::test]
async fn a_database_goes_away_with_its_test() {
    let postgres = Postgres::start();
    let db = postgres.database().await;
    let _session = db.connect().await;
    let count = "select count(*) from pg_database where datname like 'test_%'";
    let observer = postgres.database().await;
    assert_eq!(observer.rows(count).await, ["2"]);
    drop(db);
    assert_eq!(observer.rows(count).await, ["1"]);
}

#[tokio::test]
async fn what_was_committed_survives_a_crash() {
    let postgres = Postgres::start();
    let db = postgres.database().await;
    db.rows("create table facts (id int); insert into facts values (1)")
        .await;
    for how in [Stop::Immediate, Stop::Fast] {
        postgres.stop(how);
        postgres.start_again();
        assert_eq!(db.rows("select id from facts").await, ["1"]);
    }
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let (sender, receiver) = mpsc::channel();
    let panicked = thread::spawn(move || {
        let postgres = Postgres::start();
        sender.send((postgres.data.clone(), postgres.port)).unwrap();
        panic!("as this test intends");
    });
    assert!(panicked.join().is_err());
    let (data, port) = receiver.recv().unwrap();
    assert!(is_gone(&data, port));
}

#[test]
fn a_killed_test_process_leaves_nothing_behind() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--nocapture",
            "--exact",
            "support::tests::holds_a_cluster",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (port, data) = line.trim().split_once(' ').unwrap();
    let (port, data) = (port.parse().unwrap(), PathBuf::from(data));
    assert!(!is_gone(&data, port));
    process.kill().unwrap();
    process.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while !is_gone(&data, port) {
        assert!(Instant::now() < end, "{} is still there", data.display());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "the process that a_killed_test_process_leaves_nothing_behind kills"]
fn holds_a_cluster() {
    let postgres = Postgres::start();
    eprintln!("{} {}", postgres.port, postgres.data.display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn is_gone(data: &Path, port: u16) -> bool {
    !data.parent().unwrap().exists() && TcpStream::connect(("127.0.0.1", port)).is_err()
}
