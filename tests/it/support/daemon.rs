//! The program itself, as a process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Queue, free_port, wait_until};

/// The secret half of the dummy credentials: no word that a log would have by itself.
pub const AWS_SECRET: &str = "aws-geheim";

/// The program with this configuration file and no environment but dummy credentials.
pub fn hydrant(args: &[&str], config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydrant"));
    command
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .args(args)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null());
    command
}

/// A `hydrant run`. It is killed when it is dropped.
pub struct Daemon {
    child: Child,
    port: u16,
    folder: TempDir,
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` after a signal.
    pub status: Option<i32>,
    pub took: Duration,
    pub log: String,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub async fn start(database: &str, queues: &[&Queue], settings: &str) -> Daemon {
        let daemon = Daemon::spawn(database, queues, settings, &[]);
        daemon.until_ready(30).await;
        daemon
    }

    /// Starts it. The sources are `one`, `two` and so on. `settings` are lines as `source.one.workers = 1`; they replace
    /// those that the tests have in common.
    pub fn spawn(database: &str, queues: &[&Queue], settings: &str, args: &[&str]) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        Daemon::spawn_in(folder, database, queues, settings, args, &[], log.into())
    }

    /// Starts it with these variables, as a supervisor sets them.
    pub fn spawn_under(
        database: &str,
        queues: &[&Queue],
        settings: &str,
        variables: &[(&str, String)],
    ) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        Daemon::spawn_in(
            folder,
            database,
            queues,
            settings,
            &[],
            variables,
            log.into(),
        )
    }

    /// Starts it with a log that goes where `log` says.
    pub fn spawn_logging(database: &str, queues: &[&Queue], settings: &str, log: Stdio) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        Daemon::spawn_in(folder, database, queues, settings, &[], &[], log)
    }

    fn spawn_in(
        folder: TempDir,
        database: &str,
        queues: &[&Queue],
        settings: &str,
        args: &[&str],
        variables: &[(&str, String)],
        log: Stdio,
    ) -> Daemon {
        let port = free_port();
        let config = folder.path().join("hydrant.toml");
        fs::write(&config, configuration(database, port, queues, settings)).unwrap();
        let child = hydrant(&[&["run"], args].concat(), &config)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon {
            child,
            port,
            folder,
        }
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("hydrant.toml")
    }

    /// Of its admin server.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn until_ready(&self, seconds: u64) {
        wait_until("the daemon is ready", seconds, async || {
            self.get("/readyz")
                .await
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// The status and the text of `/readyz`; (0, "") while there is no answer.
    pub async fn ready(&self) -> (u16, String) {
        self.get("/readyz").await.unwrap_or_default()
    }

    /// The sum of all series of a metric whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = self.get("/metrics").await.unwrap();
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| {
                let (series, its_labels) = series.split_once('{').unwrap_or((series, ""));
                series == name && its_labels.contains(labels)
            })
            .map(|(_, value)| value.parse::<f64>().unwrap())
            .sum()
    }

    /// Status and body of a page; `None` if nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Everything that it has logged, where that goes to a file.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The most memory that it held so far, in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    }

    /// Sends a signal, `TERM` or `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// Sends a signal and waits for the end.
    pub async fn stop(self, signal: &str) -> Ended {
        self.signal(signal);
        self.ended(60).await
    }

    /// Waits for the end.
    pub async fn ended(mut self, seconds: u64) -> Ended {
        let since = Instant::now();
        let mut exit = None;
        wait_until("the daemon ended", seconds, async || {
            exit = self.child.try_wait().unwrap();
            exit.is_some()
        })
        .await;
        Ended {
            status: exit.unwrap().code(),
            took: since.elapsed(),
            log: self.log(),
        }
    }

    /// As a crash: `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.log());
        }
    }
}

fn configuration(database: &str, port: u16, queues: &[&Queue], settings: &str) -> String {
    let mut lines = vec![
        format!("database.url = \"{database}\""),
        format!("admin.listen = \"127.0.0.1:{port}\""),
    ];
    for (queue, name) in queues.iter().zip(["one", "two"]) {
        let source = [
            ("type", "sqs"),
            ("format", "hasoffers"),
            ("region", "us-east-1"),
            ("queue_url", &queue.url),
            ("endpoint_url", &queue.endpoint),
        ];
        lines.extend(source.map(|(key, value)| format!("source.{name}.{key} = \"{value}\"")));
        // A long poll that waits for nothing makes no test wait for it.
        lines.push(format!("source.{name}.wait_time_secs = 1"));
    }
    let all: BTreeMap<&str, &str> = lines
        .iter()
        .map(String::as_str)
        .chain(settings.lines())
        .filter_map(|line| line.trim().split_once(" = "))
        .collect();
    all.iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}
