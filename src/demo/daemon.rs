//! The daemon as a child process of the same program, as an operator would start it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::folder::Folder;
use super::postgres::free_port;
use super::publication::Outcomes;
use crate::telemetry::{EVENTS, QUARANTINED};

/// Longest time from SIGTERM to the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// `hydrant run`.
pub struct Daemon {
    pub config: PathBuf,
    child: Child,
    log: PathBuf,
    port: u16,
}

/// What the daemon's metrics say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub events: Outcomes,
    pub bad_bodies: u64,
}

impl Daemon {
    /// Writes the configuration file and starts the daemon with it.
    ///
    /// # Errors
    /// The file cannot be written, or the program cannot be started.
    pub fn start(
        folder: &mut Folder,
        database: (&str, &str),
        endpoint: &str,
        queue_url: &str,
    ) -> anyhow::Result<Daemon> {
        let port = free_port();
        // What JSON writes as a string is one in TOML, too.
        let config = format!(
            "[database]\nurl = {}\nschema = {}\n\n[admin]\nlisten = \"127.0.0.1:{port}\"\n\n[source.hasoffers]\n\
             type = \"sqs\"\nformat = \"hasoffers\"\nqueue_url = {}\nregion = \"us-east-1\"\nendpoint_url = {}\n",
            json!(database.0),
            json!(database.1),
            json!(queue_url),
            json!(endpoint),
        );
        let path = folder.join("hydrant.toml");
        let log = folder.join("hydrant.log");
        // It holds the database's password.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?
            .write_all(config.as_bytes())?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        // With nothing of this environment: its settings and credentials are not meant for the demo. In a process group of
        // its own: Ctrl-C is for the demo alone.
        let child = Command::new(&program)
            .args(["run", "--config"])
            .arg(&path)
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", "demo")
            .env("AWS_SECRET_ACCESS_KEY", "demo")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        folder.guard(child.id())?;
        Ok(Daemon {
            config: path,
            child,
            log,
            port,
        })
    }

    /// Where its admin server listens.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has counted so far; `None` while it does not answer yet.
    ///
    /// # Errors
    /// It has ended.
    pub async fn counted(&mut self) -> anyhow::Result<Option<Counted>> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the daemon ended ({status}):\n{}", self.last_lines());
        }
        Ok(get(self.port, "/metrics")
            .await
            .ok()
            .map(|text| counted(&text)))
    }

    /// Stops it as an operator does, with SIGTERM.
    ///
    /// # Errors
    /// It did not end, or not with status 0.
    pub async fn stop(mut self, folder: &mut Folder) -> anyhow::Result<()> {
        let id = self.child.id().context("the daemon has ended already")?;
        let kill = ["-c", "kill -TERM \"$1\"", "kill", &id.to_string()].map(str::to_owned);
        Command::new("sh").args(kill).status().await?;
        let Ok(status) = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await else {
            bail!("the daemon did not stop:\n{}", self.last_lines());
        };
        let status = status?;
        folder.guard(None)?;
        if !status.success() {
            bail!(
                "the daemon did not stop well ({status}):\n{}",
                self.last_lines()
            );
        }
        Ok(())
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// The answer to a request, with its head.
async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn counted(metrics: &str) -> Counted {
    let sum = |name: &str, label: &str| -> u64 {
        let series = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        series
            .filter(|series| series.contains(label))
            .filter_map(|series| series.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    let outcome = |word: &str| sum(EVENTS, &format!("outcome=\"{word}\""));
    Counted {
        events: Outcomes {
            stored: outcome("stored"),
            adjustments: outcome("adjustment"),
            duplicates: outcome("duplicate"),
            variants: outcome("variant"),
            quarantined: outcome("quarantined"),
        },
        bad_bodies: sum(QUARANTINED, "scope=\"body\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_label() {
        let text = "# TYPE hydrant_events_total counter\n\
                    hydrant_events_total{source=\"a\",outcome=\"stored\"} 12\n\
                    hydrant_events_total{outcome=\"stored\",source=\"b\"} 3\n\
                    hydrant_events_total{source=\"a\",outcome=\"variant\"} 1\n\
                    hydrant_quarantined_total{scope=\"body\",reason=\"not_gzip\"} 2\n\
                    hydrant_quarantined_total{scope=\"event\",reason=\"amount\"} 5\n";
        let counted = counted(text);
        assert_eq!(counted.events.stored, 15);
        assert_eq!(counted.events.sum(), 16);
        assert_eq!(counted.bad_bodies, 2);
    }
}
