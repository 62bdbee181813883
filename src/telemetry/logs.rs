//! Logs, for people and programs, on standard error.

use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use metrics::counter;
use tracing::Metadata;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::LOG_DROPPED;
use crate::config::{Log, LogFormat};

/// Lines of log that may wait for a reader that is slow.
const LOG_LINES_WAITING: usize = 4_096;

/// What takes lines of log, or spans.
pub type Taker = Box<dyn Layer<Registry> + Send + Sync>;

/// What writes the log, and how many lines nobody took in time.
static LOG_WRITER: Mutex<Option<(WorkerGuard, ErrorCounter)>> = Mutex::new(None);

/// Whether whoever reads the output wants no colours in it: `NO_COLOR` is set and not empty.
pub fn refuses_colours() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Starts logging to standard error, and traces where they are wanted. A reader that is slow or stands still holds nobody
/// up: lines beyond [`LOG_LINES_WAITING`] are dropped and counted.
///
/// # Errors
/// `level` is no filter, or traces are wanted and cannot be sent as the environment says.
pub fn start_logs(log: &Log) -> anyhow::Result<()> {
    let filter = filter(&log.level).map_err(|why| anyhow::anyhow!("log.level {why}"))?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_LINES_WAITING)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    *LOG_WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some((guard, dropped));
    let logs = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && !refuses_colours())
        .with_writer(writer)
        // It would say it on standard error, and end the program where nobody reads that.
        .log_internal_errors(false);
    let logs: Taker = match log.format {
        LogFormat::Text => logs.boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    let no_spans = FilterFn::new(|of| !is_own_span(of)).with_max_level_hint(LevelFilter::TRACE);
    let logs = logs.with_filter(filter.and(no_spans)).boxed();
    let takers: Vec<Taker> = [Some(logs), traces()?].into_iter().flatten().collect();
    tracing_subscriber::registry().with(takers).init();
    Ok(())
}

#[cfg(feature = "otlp")]
fn traces() -> anyhow::Result<Option<Taker>> {
    super::traces::layer()
}

#[cfg(not(feature = "otlp"))]
fn traces() -> anyhow::Result<Option<Taker>> {
    Ok(None)
}

/// Hydrant's own spans are for traces alone: a line of log says all in fields of its own.
pub fn is_own_span(of: &Metadata<'_>) -> bool {
    of.is_span() && of.target().starts_with("hydrant")
}

/// Writes the lines that wait, for a second at most. What is logged later is lost.
pub fn end_logs() {
    let writer = LOG_WRITER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    drop(writer);
}

/// Brings the counter of dropped lines up to date: the writer has one of its own.
pub fn count_dropped_lines() {
    let writer = LOG_WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let dropped = writer
        .as_ref()
        .map_or(0, |(_, dropped)| dropped.dropped_lines());
    counter!(LOG_DROPPED).absolute(dropped as u64);
}

/// What `log.level` lets through.
///
/// # Errors
/// What the level must be. A bare word that is no level is refused: to the filter it would be the name of a target, and
/// everything else would go silent.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    const ALLOWED: &str =
        "must be off, error, warn, info, debug or trace, or a filter such as info,hydrant=debug";
    let is_part =
        |part: &str| part.contains(['=', '[']) || LevelFilter::from_str(part.trim()).is_ok();
    if !level.split(',').all(is_part) {
        return Err(ALLOWED.to_owned());
    }
    // A bare level is Hydrant's own. The libraries' details can hold what messages hold; who wants them has to name them.
    let directives = match LevelFilter::from_str(level.trim()) {
        Ok(own) if own > LevelFilter::WARN => format!("warn,hydrant={own}"),
        _ => level.to_owned(),
    };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|error| format!("{ALLOWED}: {error}"))
}
