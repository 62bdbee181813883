//! Deleting what is old while the daemon runs.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::counter;

use crate::config;
use crate::store::Settings;
use crate::store::retention::{self, Action, Reason, Step};
use crate::telemetry::{RETENTION_BLANKED, RETENTION_DELETED, RETENTION_DROPPED};

/// A day ends once a day.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(3600);

/// Runs for as long as the daemon does. It may be cut off anywhere: the next run goes on.
pub async fn keep(settings: Settings, policy: config::Retention) {
    for counted in [RETENTION_DROPPED, RETENTION_DELETED, RETENTION_BLANKED] {
        counter!(counted).absolute(0);
    }
    if policy.events_days.is_none() && policy.personal_days.is_none() {
        return;
    }
    let mut told = BTreeSet::new();
    loop {
        let mut tell = |step: Step| {
            count(&step);
            log(&step, &mut told);
        };
        let pause = match retention::run(&settings, &policy, false, &mut tell).await {
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "not everything that is old could be deleted; it is tried again in an hour");
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn count(step: &Step) {
    match step.action {
        Action::Drop => counter!(RETENTION_DROPPED).increment(1),
        Action::Delete => counter!(RETENTION_DELETED).increment(step.rows),
        Action::Blank => counter!(RETENTION_BLANKED).increment(step.rows),
        Action::Keep => {}
    }
}

/// What stays for the same reason is told once.
fn log(step: &Step, told: &mut BTreeSet<(String, Reason)>) {
    let Step { table, rows, .. } = step;
    match (step.action, step.reason) {
        (Action::Drop, _) => tracing::info!(
            table,
            rows,
            bytes = step.bytes,
            "dropped the clicks and impressions of an old day"
        ),
        (Action::Delete, _) => tracing::info!(table, rows, "deleted old clicks and impressions"),
        (Action::Blank, _) => tracing::info!(table, rows, "blanked old personal values"),
        (Action::Keep, None) => {}
        (Action::Keep, Some(reason)) => {
            if told.insert((table.clone(), reason)) {
                let why = reason.as_str();
                tracing::warn!(table, rows, why, "what is old stays for now");
            }
        }
    }
}
