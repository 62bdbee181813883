//! `/status.json`: everything that the status page shows, in one document. `docs/status.md` explains it to users.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;

use super::Admin;
use super::history::{Frame, Series};
use super::look::Database;
use super::ready::{self, State, Trouble, Verdict};
use crate::clock;
use crate::config::SourceKind;
use crate::lookout::Seen;
use crate::pipeline::Feed;
use crate::store::overview::Orphans;

/// All times are seconds since 1970.
#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    started: i64,
    now: i64,
    state: State,
    troubles: Vec<Trouble>,
    /// For how long the store has taken writes, or has not, without a break.
    store_unchanged_seconds: u64,
    sources: Vec<Source>,
    history: Frame,
    /// `None` until they were looked at for the first time.
    database: Option<Look<Database>>,
    orphans: Option<Look<Orphans>>,
}

/// What was seen when it was last looked at.
#[derive(Debug, Serialize)]
struct Look<T> {
    asked: i64,
    found: Option<T>,
    /// Why nothing was found.
    error: Option<String>,
}

impl<T> Look<T> {
    fn new(seen: Seen<Result<T, String>>) -> Look<T> {
        let (found, error) = match seen.what {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error)),
        };
        Look {
            asked: seen.at,
            found,
            error,
        }
    }
}

#[derive(Debug, Serialize)]
struct Source {
    name: String,
    kind: &'static str,
    is_well: bool,
    /// Since the start.
    outcomes: Outcomes,
    events_per_second: f64,
    last_receive: Option<i64>,
    last_commit: Option<i64>,
    in_flight: usize,
    oldest_in_flight_seconds: Option<u64>,
    waiting: Waiting,
    history: Series,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    stored: u64,
    adjustments: u64,
    duplicates: u64,
    variants: u64,
    /// Whole bodies included.
    quarantined: u64,
}

/// What waits to be received; `None` where that is not known.
#[derive(Debug, Serialize)]
struct Waiting {
    asked: Option<i64>,
    count: Option<u64>,
    dead_letters: Option<u64>,
    shards: Option<u64>,
    oldest_seconds: Option<i64>,
    problem: Option<String>,
}

pub async fn status(admin: &Admin) -> Status {
    let Verdict { state, troubles } = ready::judge(admin).await;
    let feeds = admin.feeds();
    let sources = feeds.iter().enumerate();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        started: admin.started,
        now: clock::unix_seconds(),
        state,
        troubles,
        store_unchanged_seconds: admin.shared.gate.unchanged_for().as_secs(),
        sources: sources.map(|(at, feed)| source(admin, at, feed)).collect(),
        history: admin.history.frame(),
        database: admin.database.ask().map(Look::new),
        orphans: admin.orphans.ask().map(Look::new),
    }
}

fn source(admin: &Admin, at: usize, feed: &Feed) -> Source {
    let reading = feed.clocks.read(Instant::now());
    let total = *feed.total.lock().unwrap_or_else(PoisonError::into_inner);
    let backlog = feed.backlog.ask();
    let asked = backlog.as_ref().map(|seen| seen.at);
    let backlog = backlog.map(|seen| seen.what).unwrap_or_default();
    Source {
        name: feed.name.clone(),
        kind: match &feed.settings.kind {
            SourceKind::Sqs { .. } => "sqs",
            SourceKind::Kinesis { .. } => "kinesis",
            SourceKind::File { .. } => "file",
            SourceKind::S3 { .. } => "s3",
            SourceKind::Http(_) => "http",
        },
        is_well: ready::troubles_of(feed, &admin.shared.gate).is_empty(),
        outcomes: Outcomes {
            stored: total.stored,
            adjustments: total.adjustments,
            duplicates: total.duplicates,
            variants: total.variants,
            quarantined: feed.quarantined.load(Ordering::Relaxed),
        },
        events_per_second: admin.history.events_per_second(at),
        last_receive: reading.last_receive,
        last_commit: reading.last_commit,
        in_flight: reading.in_flight,
        oldest_in_flight_seconds: reading.oldest_in_flight.map(|held| held.as_secs()),
        waiting: Waiting {
            asked,
            count: backlog.waiting,
            dead_letters: backlog.dead_letters,
            shards: backlog.shards,
            oldest_seconds: feed.oldest_age(),
            problem: backlog.problem,
        },
        history: admin.history.series(at),
    }
}
