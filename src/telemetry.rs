//! Logs, and every metric: its name, its labels and what it means.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::str::FromStr;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Log, LogFormat};

// Counters of a source.
pub const RECEIVES: &str = "hydrant_receives_total";
pub const MESSAGES_RECEIVED: &str = "hydrant_messages_received_total";
pub const MESSAGES_DELETED: &str = "hydrant_messages_deleted_total";
pub const DELETE_FAILURES: &str = "hydrant_delete_failures_total";
pub const MESSAGES_RELEASED: &str = "hydrant_messages_released_total";
pub const VISIBILITY_EXTENSIONS: &str = "hydrant_visibility_extensions_total";
pub const BODIES: &str = "hydrant_bodies_total";
pub const EVENTS: &str = "hydrant_events_total";
/// The values of its label `outcome`.
pub const EVENT_OUTCOMES: [&str; 5] = [
    "stored",
    "adjustment",
    "duplicate",
    "variant",
    "quarantined",
];
pub const QUARANTINED: &str = "hydrant_quarantined_total";
pub const BODY_BYTES: &str = "hydrant_body_bytes_total";
pub const JSON_BYTES: &str = "hydrant_json_bytes_total";
pub const TRAILING_BYTES: &str = "hydrant_trailing_bytes_total";
pub const MISFITS: &str = "hydrant_misfit_fields_total";
pub const REPAIRED: &str = "hydrant_repaired_texts_total";
pub const STORE_FAULTS: &str = "hydrant_store_faults_total";
// Durations.
pub const DECODE_SECONDS: &str = "hydrant_decode_seconds";
pub const TRANSACTION_SECONDS: &str = "hydrant_transaction_seconds";
pub const BATCH_SECONDS: &str = "hydrant_batch_seconds";
pub const BATCH_EVENTS: &str = "hydrant_batch_events";
// What is now.
pub const EVENT_LAG: &str = "hydrant_event_lag_seconds";
pub const ADJUSTMENT_LAG: &str = "hydrant_adjustment_lag_seconds";
pub const MESSAGES_IN_FLIGHT: &str = "hydrant_messages_in_flight";
pub const BYTES_IN_FLIGHT: &str = "hydrant_bytes_in_flight";
pub const STORE_UP: &str = "hydrant_store_up";
pub const PAUSED: &str = "hydrant_paused";
pub const BUILD_INFO: &str = "hydrant_build_info";
pub const START_TIME: &str = "hydrant_start_time_seconds";

const SECONDS_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
const EVENTS_BUCKETS: [f64; 9] = [
    1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0,
];

/// Starts logging to standard error.
///
/// # Errors
/// `level` is no filter.
pub fn start_logs(log: &Log) -> anyhow::Result<()> {
    let filter = filter(&log.level).map_err(|why| anyhow::anyhow!("log.level {why}"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
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

/// Starts counting; what `/metrics` shows is rendered by the handle.
///
/// # Errors
/// Metrics were started before in this process.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(BATCH_EVENTS.to_owned()), &EVENTS_BUCKETS)?
        .install_recorder()?;
    describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(START_TIME).set(crate::clock::unix_seconds() as f64);
    Ok(handle)
}

fn describe() {
    let counters: BTreeMap<&str, &str> = [
        (
            RECEIVES,
            "Receive calls, by outcome: messages, empty, error",
        ),
        (
            MESSAGES_RECEIVED,
            "Messages received, redelivered ones included",
        ),
        (
            MESSAGES_DELETED,
            "Messages deleted after their events were committed",
        ),
        (
            DELETE_FAILURES,
            "Messages that could not be deleted; they come again and change nothing",
        ),
        (MESSAGES_RELEASED, "Messages given back to the queue undone"),
        (
            VISIBILITY_EXTENSIONS,
            "Messages kept invisible for longer, by outcome: extended, failed",
        ),
        (BODIES, "Bodies by outcome: decoded, empty, quarantined"),
        (
            EVENTS,
            "Events by outcome: stored, adjustment, duplicate, variant, quarantined",
        ),
        (
            QUARANTINED,
            "What went to quarantine, by scope (body, event) and reason",
        ),
        (BODY_BYTES, "Bytes of bodies as the queue gave them"),
        (JSON_BYTES, "Bytes of JSON in them"),
        (
            TRAILING_BYTES,
            "Bytes after the last gzip member of a body, ignored",
        ),
        (
            MISFITS,
            "Known fields whose value did not fit its column and went to extra",
        ),
        (
            REPAIRED,
            "Texts that held a NUL or a lone surrogate, replaced by U+FFFD",
        ),
        (
            STORE_FAULTS,
            "Transactions that failed, by what that means; they are done again",
        ),
    ]
    .into();
    for (name, help) in counters {
        describe_counter!(name, help);
    }
    describe_histogram!(DECODE_SECONDS, Unit::Seconds, "Time to decode one body");
    describe_histogram!(
        TRANSACTION_SECONDS,
        Unit::Seconds,
        "Time to write one batch, retries within it included"
    );
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "Time from the receive of a batch's first message to the delete of its last"
    );
    describe_histogram!(BATCH_EVENTS, "Events written at a time");
    let gauges: BTreeMap<&str, &str> = [
        (
            EVENT_LAG,
            "Age of the newest event of the last batch when it was committed",
        ),
        (
            ADJUSTMENT_LAG,
            "Age of the newest adjustment of the last batch with one when it was committed",
        ),
        (
            MESSAGES_IN_FLIGHT,
            "Messages received and not yet deleted or given back",
        ),
        (BYTES_IN_FLIGHT, "Bytes of bodies in work, as received"),
        (STORE_UP, "1 while the database takes writes"),
        (PAUSED, "1 while nothing is received, by reason"),
        (BUILD_INFO, "1, with the version"),
        (START_TIME, "When the process started, seconds since 1970"),
    ]
    .into();
    for (name, help) in gauges {
        describe_gauge!(name, help);
    }
}
