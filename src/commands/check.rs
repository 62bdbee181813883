//! `hydrant check`: a line for each thing that was looked at. Nothing is written, received or deleted.

mod database;
mod listener;
mod objects;
mod queue;
mod stream;
mod tables;

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::terminal::{Colour, Paint};
use super::{Failure, pretty};
use crate::cli::Check;
use crate::config::{self, Config, PartitionBy, SourceKind};

/// One thing that was looked at.
#[derive(Debug, PartialEq, Serialize)]
struct Finding {
    /// `configuration`, `database` or `source.NAME`.
    area: String,
    name: &'static str,
    status: Status,
    found: String,
    /// What to do.
    advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// It works, and something should be better.
    Warn,
    /// It does not work, or events could be lost.
    Fail,
}

/// What was found in one area.
struct Findings {
    area: String,
    list: Vec<Finding>,
}

impl Findings {
    fn new(area: impl Into<String>) -> Findings {
        Findings {
            area: area.into(),
            list: Vec::new(),
        }
    }

    fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(Status::Ok, name, found.into(), None);
    }

    fn warn(&mut self, name: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(Status::Warn, name, found.into(), Some(advice.into()));
    }

    fn fail(&mut self, name: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(Status::Fail, name, found.into(), Some(advice.into()));
    }

    fn add(&mut self, status: Status, name: &'static str, found: String, advice: Option<String>) {
        self.list.push(Finding {
            area: self.area.clone(),
            name,
            status,
            // An answer of a server may have several lines.
            found: found.split_whitespace().collect::<Vec<_>>().join(" "),
            advice,
        });
    }
}

pub async fn run(args: Check) -> Result<(), Failure> {
    let file = args.common.config.as_deref();
    let config = config::load(file).map_err(Failure::Usage)?;
    config.expect_sources().map_err(Failure::Usage)?;
    let names: Vec<&String> = match &args.source {
        None => config.source.keys().collect(),
        Some(name) => vec![known_source(&config, name).map_err(Failure::Usage)?],
    };
    let place = file.map_or("the environment alone".to_owned(), |file| {
        format!("{} and the environment", file.display())
    });
    let mut findings = configuration(&config, &place);
    findings.extend(database::look(&config).await?);
    for name in names {
        findings.extend(match &config.source[name].kind {
            SourceKind::Sqs { queue, .. } => queue::look(name, queue).await,
            SourceKind::Kinesis { stream, .. } => {
                stream::look(name, stream, config.source[name].workers).await
            }
            SourceKind::Http(listener) => listener::look(name, listener).await,
            SourceKind::File { folder, .. } => objects::look_at_folder(name, folder),
            SourceKind::S3 { bucket, .. } => objects::look_at_bucket(name, bucket).await,
        });
    }
    let text = if args.json {
        pretty(&findings)?
    } else {
        lines(&findings, Paint::stdout())
    };
    let written = io::stdout().write_all(text.as_bytes());
    written.context("could not write the findings")?;
    match count(&findings, Status::Fail) {
        0 => Ok(()),
        failed => Err(Failure::Failed(anyhow!(
            "{failed} of {} checks failed",
            findings.len()
        ))),
    }
}

fn known_source<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a String> {
    let found = config.source.keys().find(|known| *known == name);
    found.with_context(|| {
        let known: Vec<&str> = config.source.keys().map(String::as_str).collect();
        format!(
            "there is no source {name:?}: the configuration has {}",
            known.join(", ")
        )
    })
}

fn configuration(config: &Config, place: &str) -> Vec<Finding> {
    let mut findings = Findings::new("configuration");
    findings.ok("settings", format!("loaded from {place}"));
    for warning in &config.warnings {
        findings.warn("variables", &warning.found, warning.advice);
    }
    let layout = match config.database.partition_by {
        PartitionBy::Day => "a partition for each day",
        PartitionBy::None => "no partitions by day",
    };
    findings.ok(
        "tables",
        format!("schema {}, {layout}", config.database.schema),
    );
    let workers: usize = config.source.values().map(|source| source.workers).sum();
    findings.ok(
        "size",
        format!(
            "sources: {}; workers: {workers}; memory for messages: {} MiB, of it {} MiB for large ones",
            config.source.len(),
            config.max_inflight_bytes >> 20,
            config.memory_for_large_bodies() >> 20
        ),
    );
    let listen = config.admin.listen;
    findings.ok("admin", format!("http://{listen}/metrics"));
    // A batch whose database hangs takes this long until it is given up.
    let deadline = 2 * config.database.statement_timeout_ms / 1000;
    for (name, source) in &config.source {
        let SourceKind::Sqs { queue, .. } = &source.kind else {
            continue;
        };
        if queue.visibility_timeout_secs < deadline {
            findings.warn(
                "timeouts",
                format!(
                    "source.{name}.visibility_timeout_secs = {} is below {deadline}, twice database.statement_timeout_ms: \
                     if extending it fails once while the database is slow, messages come twice",
                    queue.visibility_timeout_secs
                ),
                format!("set it to {deadline} or more"),
            );
        }
    }
    findings.list
}

fn count(findings: &[Finding], status: Status) -> usize {
    findings.iter().filter(|one| one.status == status).count()
}

fn lines(findings: &[Finding], paint: Paint) -> String {
    let width = findings.iter().map(|one| one.area.len()).max().unwrap_or(0);
    let mut text = String::new();
    for one in findings {
        let (word, colour) = match one.status {
            Status::Ok => ("ok  ", Colour::Green),
            Status::Warn => ("warn", Colour::Yellow),
            Status::Fail => ("fail", Colour::Red),
        };
        let word = paint.word(word, colour);
        let advice = one
            .advice
            .as_ref()
            .map_or(String::new(), |advice| format!(" → {advice}"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{word}  {:width$}  {}: {}{advice}",
            one.area, one.name, one.found
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_in_colour_for_a_terminal_only() {
        let mut findings = Findings::new("database");
        findings.fail("connection", "refused:\n  by the server", "start it");
        let plain = "fail  database  connection: refused: by the server → start it\n";
        assert_eq!(lines(&findings.list, Paint::Plain), plain);
        assert_eq!(
            lines(&findings.list, Paint::Colours),
            plain.replace("fail", "\x1b[31mfail\x1b[0m")
        );
    }
}
