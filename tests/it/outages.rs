//! What makes a database take no rows for a while. Whatever it is: nothing is acknowledged, and it goes on by itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Daemon, Database, Postgres, Queue, Stop, body, conversion, database, envelope, wait_until,
};

const SETTINGS: &str = "source.one.visibility_timeout_secs = 5";
const RECEIVED: &str = "hydrant_messages_received_total";
const EXTENSIONS: &str = "hydrant_visibility_extensions_total";

fn message(id: &str) -> String {
    body(&envelope(&format!("[{}]", conversion(id))))
}

async fn stored(database: &Database) -> Vec<String> {
    let sql = "select count(*), count(distinct event_id) from events";
    database.rows(sql).await
}

async fn until_paused(daemon: &Daemon, reason: &str) {
    wait_until(reason, 30, async || {
        daemon.ready().await == (503, format!("paused: {reason}\n"))
    })
    .await;
}

/// Waits until what is held was extended for three visibility timeouts.
async fn outlast(daemon: &Daemon, queue: &Queue, held: usize) {
    let before = daemon.metric(EXTENSIONS, "extended").await;
    wait_until("it is extended nine times", 60, async || {
        assert_eq!(queue.counts().await.dead, 0);
        let extended = daemon.metric(EXTENSIONS, "extended").await - before;
        extended >= 9.0 * held as f64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_are_not_the_datas_are_waited_out() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], SETTINGS).await;
    database
        .rows(
            "create sequence attempts;
             create function fail() returns trigger language plpgsql
                 as $$ begin
                     if nextval('attempts') % 4 <> 0 then
                         raise exception 'refused' using errcode = new.source;
                     end if;
                     return new;
                 end $$;
             create trigger fail before insert on events_conversions for each row execute function fail()",
        )
        .await;
    // Full disk, memory, connections; shutdown, crash, cancelled; lost connection; deadlock, serialisation, lock; I/O; bug;
    // a password or a right that changed; and one that nobody has heard of.
    let states = [
        "53100", "53200", "53300", "57P01", "57P02", "57014", "08006", "40P01", "40001", "55P03",
        "58030", "XX000", "28P01", "42501", "25006", "HY000",
    ];
    for state in states {
        let event = format!(r#"{{"event_id":"{state}","action":"conversion","source":"{state}"}}"#);
        queue.send(&[body(&envelope(&event))]).await;
        queue.drained(30).await;
    }
    let count = states.len();
    assert_eq!(stored(&database).await, [format!("{count}|{count}")]);
    assert_eq!(
        database.rows("select count(*) from quarantine").await,
        ["0"]
    );
    let faults = daemon.metric("hydrant_store_faults_total", "").await;
    assert!(faults >= 2.0 * count as f64, "{faults}");
    daemon.until_ready(10).await;
    assert_eq!(daemon.metric(RECEIVED, "").await, count as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_hold_nothing_receive_nothing_meanwhile() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    let settings = format!("{SETTINGS}\nsource.one.workers = 4");
    let daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    postgres.stop(Stop::Immediate);
    queue.send(&[message("0")]).await;
    until_paused(&daemon, "store_unavailable").await;
    let receives = async || daemon.metric("hydrant_receives_total", "").await;
    wait_until("the last long poll has ended", 30, async || {
        let before = receives().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        before == receives().await
    })
    .await;
    let waiting: Vec<String> = (1..=30).map(|n| message(&n.to_string())).collect();
    queue.send(&waiting).await;
    outlast(&daemon, &queue, 1).await;
    assert_eq!(queue.counts().await.visible, 30);
    postgres.start_again();
    daemon.until_ready(30).await;
    queue.drained(30).await;
    assert_eq!(stored(&database).await, ["31|31"]);
    assert_eq!(daemon.metric(RECEIVED, "").await, 31.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_demoted_gets_no_second_chance_on_its_connections() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = postgres.database().await;
    // The worker that is refused has its connection from before: there is no other that had nothing to write yet.
    let settings = format!("{SETTINGS}\nsource.one.workers = 1");
    let daemon = Daemon::start(&database.url, &[&queue], &settings).await;
    queue.send(&[message("1")]).await;
    queue.drained(30).await;
    let set = async |state: &str| {
        // Each in a transaction of its own: ALTER SYSTEM takes no other. The sessions live on, and are read-only.
        let sql = format!("alter system set default_transaction_read_only = {state}");
        database.rows(&sql).await;
        database.rows("select pg_reload_conf()").await;
    };
    // Those of the workers: the one that is asked for /readyz writes nothing.
    let sessions = async || {
        let sql = "select pid from pg_stat_activity where application_name = 'hydrant'
                   and datname = current_database() and query not like 'select current_setting%'";
        database.rows(sql).await
    };
    let before = sessions().await;
    assert!(!before.is_empty());
    set("on").await;
    queue.send(&[message("2")]).await;
    until_paused(&daemon, "store_read_only").await;
    let faults = daemon
        .metric("hydrant_store_faults_total", "store_read_only")
        .await;
    assert!(faults >= 1.0);
    outlast(&daemon, &queue, 1).await;
    set("off").await;
    daemon.until_ready(30).await;
    queue.drained(30).await;
    assert_eq!(stored(&database).await, ["2|2"]);
    assert_eq!(daemon.metric(RECEIVED, "").await, 2.0);
    // The server tells who was refused. A worker that has not tried to write may keep its connection.
    let log = fs::read_to_string(postgres.data.join("log")).unwrap();
    let lines = log.lines();
    let lines = lines.filter(|line| line.contains("cannot execute COPY FROM in a read-only"));
    let pid = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
    let refused: Vec<String> = lines.filter_map(pid).collect();
    assert!(refused.iter().any(|pid| before.contains(pid)), "{log}");
    let kept = sessions().await;
    assert!(
        !refused.iter().any(|pid| kept.contains(pid)),
        "{kept:?} has one of {refused:?}"
    );
}

/// A file system of a few megabytes. It is unmounted when it is dropped.
struct TinyDisk(PathBuf);

impl TinyDisk {
    /// None where we may not mount one.
    fn mount(folder: &Path, owner: u32) -> Option<TinyDisk> {
        fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(folder)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let disk = TinyDisk(folder.to_owned());
        chown(folder, Some(owner), None).unwrap();
        Some(disk)
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_out() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let owner = postgres.data.metadata().unwrap().uid();
    let Some(disk) = TinyDisk::mount(&folder.path().join("disk"), owner) else {
        const WHY: &str = "a full disk takes the right to mount a tmpfs";
        // Whoever builds it by machine sees no such line.
        assert!(std::env::var_os("CI").is_none(), "{WHY}");
        eprintln!("skipped: {WHY}");
        return;
    };
    let database = postgres.database().await;
    let tiny = format!("create tablespace tiny location '{}'", disk.0.display());
    database.rows(&tiny).await;
    let name = database.url.rsplit('/').next().unwrap();
    let url = postgres.url("postgres");
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    let moved = format!("alter database {name} set tablespace tiny");
    sqlx::raw_sql(sqlx::AssertSqlSafe(moved))
        .execute(&mut other)
        .await
        .unwrap();
    let daemon = Daemon::start(&database.url, &[&queue], SETTINGS).await;
    queue.send(&[message("first")]).await;
    queue.drained(30).await;

    // Something else takes what is left.
    let filler = disk.0.join("filler");
    let full = Command::new("dd")
        .args([
            "if=/dev/zero",
            "bs=4096",
            &format!("of={}", filler.display()),
        ])
        .output()
        .unwrap();
    assert!(!full.status.success(), "the disk is not full");
    // More than fits into the pages that there are.
    let events: Vec<String> = (0..200).map(|n| conversion(&n.to_string())).collect();
    queue
        .send(&[body(&envelope(&format!("[{}]", events.join(","))))])
        .await;
    until_paused(&daemon, "store_unavailable").await;
    let log = daemon.log();
    assert!(log.contains("SQLSTATE 53100"), "{log}");
    outlast(&daemon, &queue, 1).await;
    assert_eq!(stored(&database).await, ["1|1"]);

    fs::remove_file(filler).unwrap();
    daemon.until_ready(30).await;
    queue.drained(30).await;
    assert_eq!(stored(&database).await, ["201|201"]);
    assert_eq!(
        database.rows("select count(*) from quarantine").await,
        ["0"]
    );
    assert_eq!(daemon.metric(RECEIVED, "").await, 2.0);
    postgres.stop(Stop::Fast);
}
