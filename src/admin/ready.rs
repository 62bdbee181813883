//! Whether the daemon is well, and what is wrong when it is not.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Admin;
use crate::gate::Gate;
use crate::health::{self, Limits};
use crate::pipeline::Feed;
use crate::store::fault::Fault;

/// Longest wait for the database's answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is to be said of the daemon at one time.
#[derive(Debug)]
pub struct Verdict {
    pub state: State,
    pub troubles: Vec<Trouble>,
}

/// Of several that hold at once, the first one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It finishes what it holds, and ends.
    Stopping,
    /// Nothing is received because the store takes no writes.
    Paused,
    /// Its sources have not started yet.
    Starting,
    /// Something is wrong with the database or a source.
    Unwell,
    Well,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// `None`: it is wrong for all of them.
    pub source: Option<String>,
    pub what: String,
}

impl Verdict {
    /// A line for each thing that is wrong.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for Trouble { source, what } in &self.troubles {
            // Writing to a string cannot fail.
            let _ = match source {
                Some(source) => writeln!(lines, "source {source}: {what}"),
                None => writeln!(lines, "{what}"),
            };
        }
        lines
    }
}

pub async fn judge(admin: &Admin) -> Verdict {
    let gate = &admin.shared.gate;
    let mut verdict = Verdict {
        state: State::Well,
        troubles: Vec::new(),
    };
    let mut say = |state: State, source: Option<&Feed>, what: String| {
        verdict.state = verdict.state.min(state);
        let source = source.map(|feed| feed.name.clone());
        verdict.troubles.push(Trouble { source, what });
    };
    if admin.shared.stop.is_cancelled() {
        say(State::Stopping, None, "stopping".to_owned());
    }
    if let Some(pause) = gate.pause() {
        say(State::Paused, None, format!("paused: {}", pause.as_str()));
    } else if let Err(trouble) = ask_database(admin).await {
        say(State::Unwell, None, format!("database: {trouble}"));
    }
    let feeds = admin.feeds();
    if feeds.is_empty() {
        say(State::Starting, None, "starting".to_owned());
    }
    for feed in feeds {
        for trouble in troubles_of(&feed, gate) {
            say(State::Unwell, Some(&feed), trouble);
        }
    }
    verdict
}

/// What is wrong with a source, a sentence each.
pub fn troubles_of(feed: &Feed, gate: &Gate) -> Vec<String> {
    let mut troubles = Vec::new();
    let is_mostly_bad = feed.is_mostly_bad();
    if is_mostly_bad {
        troubles.push("paused: mass_bad_input".to_owned());
    }
    troubles.extend(feed.trouble());
    // A source that is told to wait or to end is silent with good reason.
    let is_waiting = gate.pause().is_some() || is_mostly_bad || feed.stop.is_cancelled();
    if troubles.is_empty() && !is_waiting {
        let (reading, limits) = (
            feed.clocks.read(Instant::now()),
            Limits::of(&feed.settings.kind),
        );
        troubles.extend(health::trouble(&reading, &limits, gate.unchanged_for()));
    }
    troubles
}

async fn ask_database(admin: &Admin) -> Result<(), String> {
    let mut probe = admin.probe.lock().await;
    let answer = async {
        let connection = match probe.take() {
            Some(connection) => connection,
            None => admin
                .settings
                .connect()
                .await
                .map_err(|fault| fault.to_string())?,
        };
        let connection = probe.insert(connection);
        let read_only: bool =
            sqlx::query_scalar("select current_setting('transaction_read_only') = 'on'")
                .fetch_one(connection)
                .await
                .map_err(|error| Fault::new(error, "no answer").to_string())?;
        if read_only {
            Err("read-only".to_owned())
        } else {
            Ok(())
        }
    };
    let outcome = tokio::time::timeout(PROBE_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err("no answer in 2 s".to_owned()));
    if outcome.is_err() {
        *probe = None;
    }
    outcome
}
