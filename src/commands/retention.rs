//! `hydrant retention`.

use std::io::{self, Write as _};

use anyhow::anyhow;
use serde_json::json;

use super::{Failure, printed};
use crate::cli::Retention as Arguments;
use crate::store::Settings;
use crate::store::retention::{self, Action, Reason, Step, cutoff};
use crate::{config, telemetry};

pub async fn run(args: Arguments) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let policy = &config.retention;
    if policy.events_days.is_none() && policy.personal_days.is_none() {
        return Err(Failure::Usage(anyhow!(
            "everything is kept for ever: set retention.events_days or retention.personal_days"
        )));
    }
    let settings = Settings::new(&config.database)?;
    let mut steps = Vec::new();
    let mut wrote = Ok(());
    let mut tell = |step: Step| {
        if !args.json && wrote.is_ok() {
            wrote = writeln!(io::stdout(), "{}", line(&step, args.dry_run));
        }
        steps.push(step);
    };
    let outcome = retention::run(&settings, policy, args.dry_run, &mut tell).await;
    printed(wrote)?;
    if !outcome.map_err(anyhow::Error::new)? {
        return Err(Failure::Failed(anyhow!(
            "another retention is under way, of a daemon or of this command; it does what this one would"
        )));
    }
    if args.json {
        let day = |days: Option<u32>| days.map(|days| cutoff(days).to_string());
        let report = json!({
            "dry_run": args.dry_run,
            "events_before": day(policy.events_days),
            "personal_before": day(policy.personal_days),
            "steps": steps,
        });
        let text = serde_json::to_string_pretty(&report).map_err(anyhow::Error::new)?;
        printed(writeln!(io::stdout(), "{text}"))?;
    } else if steps.is_empty() {
        printed(writeln!(io::stdout(), "there is nothing old"))?;
    }
    expect_all(&steps)
}

/// What a step did, or would do.
fn line(step: &Step, dry: bool) -> String {
    let Step {
        table, rows, bytes, ..
    } = step;
    let did = |did: &str, would: &str| {
        if dry {
            format!("would {would}")
        } else {
            did.to_owned()
        }
    };
    match step.action {
        Action::Drop => {
            let bytes = megabytes(bytes.unwrap_or_default());
            format!(
                "{} {table}: some {rows} rows, {bytes} MB",
                did("dropped", "drop")
            )
        }
        Action::Delete => format!("{} {rows} rows of {table}", did("deleted", "delete")),
        Action::Blank => format!("{} {rows} rows of {table}", did("blanked", "blank")),
        Action::Keep => {
            let why = step.reason.map_or("", Reason::as_str);
            format!("{} {table}: some {rows} rows; {why}", did("kept", "keep"))
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// What came late or is open stays as it should; anything else that stays is for somebody to look at.
fn expect_all(steps: &[Step]) -> Result<(), Failure> {
    let left = |step: &&Step| matches!(step.reason, Some(Reason::Held | Reason::Forbidden));
    match steps.iter().find(left) {
        None => Ok(()),
        Some(step) => Err(Failure::Failed(anyhow!(
            "not everything that is old is gone: {} stays",
            step.table
        ))),
    }
}
