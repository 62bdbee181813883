//! `hydrant rebuild`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, pretty, printed};
use crate::cli::verify::Rebuild as Arguments;
use crate::config;
use crate::store::Settings;
use crate::store::fault::Fault;
use crate::store::rebuild::Rebuild;
use crate::store::verify::Scope;
use crate::telemetry;

/// Between two lines of progress, where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

pub async fn run(args: Arguments) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    let scope = match (pair(args.record), args.since) {
        (Some((network_id, record_id)), _) => Scope::Record(network_id, record_id),
        (None, Some(day)) => Scope::Since(day),
        (None, None) => Scope::All,
    };
    let mut rebuild = Rebuild::new(&settings, scope, pair(args.after));
    let interrupted = AtomicBool::new(false);
    let mut signals = Signals::watch()?;
    let bar = ProgressBar::new_spinner();
    let mut told = Instant::now();
    let tell = |so_far: &Rebuild| {
        bar.set_message(progress(so_far));
        bar.tick();
        if bar.is_hidden() && told.elapsed() >= QUIET {
            told = Instant::now();
            eprintln!("{}; at {}", progress(so_far), position(so_far));
        }
        !interrupted.load(Ordering::Relaxed)
    };
    let run = Box::pin(rebuild.run(tell));
    let outcome = unless_told_twice(run, &mut signals, &interrupted).await;
    bar.finish_and_clear();
    let summary = if args.json {
        pretty(&json!({
            "records": rebuild.records,
            "folded_again": rebuild.changed,
            "settled": rebuild.settled,
            "refused": rebuild.refused,
            "sums_mended": rebuild.groups,
            "is_complete": matches!(outcome, Ok(true)),
            "after": rebuild.position,
        }))?
    } else {
        progress(&rebuild) + "\n"
    };
    printed(io::stdout().write_all(summary.as_bytes()))?;
    match outcome {
        Ok(true) => expect_all(&rebuild),
        Ok(false) => Err(Failure::Failed(anyhow!(
            "interrupted: go on with {}",
            resume(&rebuild)
        ))),
        Err(fault) => Err(Failure::Failed(anyhow!(
            "{fault}; go on with {}",
            resume(&rebuild)
        ))),
    }
}

fn pair(values: Option<Vec<String>>) -> Option<(String, String)> {
    let [first, second] = values?.try_into().ok()?;
    Some((first, second))
}

/// SIGINT and SIGTERM.
struct Signals(Signal, Signal);

impl Signals {
    fn watch() -> anyhow::Result<Signals> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Signals(
            watch(SignalKind::interrupt())?,
            watch(SignalKind::terminate())?,
        ))
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Runs it. At a first signal the transaction that is under way is finished, or what it waits for is given up; a second one
/// cuts it wherever it is, and the database rolls back.
async fn unless_told_twice(
    mut run: impl Future<Output = Result<bool, Fault>> + Unpin,
    signals: &mut Signals,
    interrupted: &AtomicBool,
) -> Result<bool, Fault> {
    tokio::select! {
        outcome = &mut run => return outcome,
        () = signals.told() => interrupted.store(true, Ordering::Relaxed),
    }
    tokio::select! {
        outcome = run => outcome,
        () = signals.told() => Ok(false),
    }
}

fn progress(rebuild: &Rebuild) -> String {
    let sums = match rebuild.groups {
        0 => String::new(),
        groups => format!(", {groups} sums of stats mended"),
    };
    format!(
        "looked at {} records: {} folded again, {} ids settled anew{sums}",
        rebuild.records, rebuild.changed, rebuild.settled
    )
}

fn position(rebuild: &Rebuild) -> String {
    match &rebuild.position {
        Some((network_id, record_id)) => {
            format!("--after {} {}", quoted(network_id), quoted(record_id))
        }
        None => "the beginning".to_owned(),
    }
}

/// The options that go on where this run ended.
fn resume(rebuild: &Rebuild) -> String {
    let which = match &rebuild.scope {
        Scope::All => "--all".to_owned(),
        Scope::Since(day) => format!("--since {day}"),
        Scope::Record(network_id, record_id) => {
            return format!("--record {} {}", quoted(network_id), quoted(record_id));
        }
    };
    match &rebuild.position {
        Some(_) => format!("{which} {}", position(rebuild)),
        None => which,
    }
}

/// As a shell takes it literally.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn expect_all(rebuild: &Rebuild) -> Result<(), Failure> {
    match rebuild.refused {
        0 => Ok(()),
        refused => Err(Failure::Failed(anyhow!(
            "{refused} records cannot be folded: hydrant verify names them and says what to do"
        ))),
    }
}
