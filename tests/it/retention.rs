//! Retention: what is old goes, what may come again stays, and nobody who writes or reads is held up.

mod blanks;
mod daemon;
mod drops;
mod feeds;
mod quarantine;

use hydrant::config::{PartitionBy, Retention};
use hydrant::store::migrate::migrate;
use hydrant::store::retention::{Action, Reason, Step, run};
use hydrant::store::{Settings, Store};
use serde_json::Value;

use crate::support::store::{batch, settings};
use crate::support::{Database, program};

/// What must be nowhere in the end.
const PERSON: &str = "203.0.113.77";

/// Migrates a database and gives its settings.
async fn prepared(db: &Database, partition_by: PartitionBy) -> Settings {
    let settings = settings(db, partition_by);
    migrate(&settings).await.unwrap();
    settings
}

async fn write(settings: &Settings, events: &[Value]) -> hydrant::store::Tally {
    let mut store = Store::new(settings.clone());
    let written = store.write("test", &batch(events)).await.unwrap();
    store.close().await;
    assert_eq!(written.refused, []);
    written.tally
}

/// As if everything had come 60 days ago.
async fn age(db: &Database) {
    for table in ["events", "adjustments", "event_variants"] {
        let sql = format!("update {table} set received_at = received_at - interval '60 days'");
        db.rows(&sql).await;
    }
    db.rows("update late_days set last_at = last_at - interval '60 days'")
        .await;
}

fn events(days: u32) -> Retention {
    Retention {
        events_days: Some(days),
        ..Retention::default()
    }
}

fn personal(days: u32, keep: &[&str]) -> Retention {
    Retention {
        personal_days: Some(days),
        personal_keep: keep.iter().map(|name| (*name).to_owned()).collect(),
        ..Retention::default()
    }
}

/// Runs it; what it did to which tables.
async fn retain(settings: &Settings, policy: &Retention, dry: bool) -> Vec<(Action, String, u64)> {
    let mut steps = Vec::new();
    let mut tell = |step: Step| steps.push(step);
    assert!(run(settings, policy, dry, &mut tell).await.unwrap());
    let brief = |step: Step| {
        assert!(
            !matches!(step.reason, Some(Reason::Held | Reason::Forbidden)),
            "{step:?}"
        );
        // Of whole tables it is an estimate.
        let rows = match step.action {
            Action::Drop | Action::Keep => 0,
            Action::Delete | Action::Blank => step.rows,
        };
        (step.action, step.table, rows)
    };
    steps.into_iter().map(brief).collect()
}

fn hydrant(db: &Database, args: &[&str], retention: &[(&str, &str)]) -> program::Finished {
    let names: Vec<String> = retention
        .iter()
        .map(|(key, _)| format!("HYDRANT__RETENTION__{}", key.to_uppercase()))
        .collect();
    let mut variables = vec![("DATABASE_URL", db.url.as_str())];
    let values = retention.iter().map(|(_, value)| *value);
    variables.extend(names.iter().map(String::as_str).zip(values));
    program::run(args, &variables, b"")
}

/// The table of a day.
fn table(day: &str) -> String {
    format!("events_{}", day.replace('-', ""))
}
