//! Logs, traces, and every metric: its name, its labels and what it means.

mod logs;
#[cfg(feature = "otlp")]
mod traces;

use std::collections::BTreeMap;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::logs::{count_dropped_lines, end_logs, filter, refuses_colours, start_logs};
#[cfg(feature = "otlp")]
pub use self::traces::end as end_traces;

// Counters of a source.
pub const RECEIVES: &str = "hydrant_receives_total";
pub const MESSAGES_RECEIVED: &str = "hydrant_messages_received_total";
pub const MESSAGES_DELETED: &str = "hydrant_messages_deleted_total";
pub const DELETE_FAILURES: &str = "hydrant_delete_failures_total";
pub const MESSAGES_RELEASED: &str = "hydrant_messages_released_total";
pub const VISIBILITY_EXTENSIONS: &str = "hydrant_visibility_extensions_total";
pub const SUSPECTS: &str = "hydrant_suspect_messages_total";
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
/// What a transaction that failed may mean.
pub const FAULTS: [&str; 9] = [
    "commit_rolled_back",
    "commit_unknown",
    "contention",
    "too_much",
    "refused",
    "mass_refusal",
    "store_unavailable",
    "store_read_only",
    "store_misconfigured",
];
pub const QUARANTINED: &str = "hydrant_quarantined_total";
pub const BODY_BYTES: &str = "hydrant_body_bytes_total";
pub const JSON_BYTES: &str = "hydrant_json_bytes_total";
pub const TRAILING_BYTES: &str = "hydrant_trailing_bytes_total";
pub const MISFITS: &str = "hydrant_misfit_fields_total";
pub const REPAIRED: &str = "hydrant_repaired_texts_total";
pub const OBJECTS_READ: &str = "hydrant_objects_read_total";
pub const THROTTLED_READS: &str = "hydrant_throttled_reads_total";
pub const LOST_POSITIONS: &str = "hydrant_lost_positions_total";
/// By source, route and status; 499 where the sender went away before its answer.
pub const HTTP_REQUESTS: &str = "hydrant_http_requests_total";
pub const STORE_FAULTS: &str = "hydrant_store_faults_total";
/// By outcome: merged, failed.
pub const ROLLUP_MERGES: &str = "hydrant_rollup_merges_total";
pub const RETENTION_DROPPED: &str = "hydrant_retention_dropped_partitions_total";
pub const RETENTION_DELETED: &str = "hydrant_retention_deleted_rows_total";
pub const RETENTION_BLANKED: &str = "hydrant_retention_blanked_rows_total";
/// By source, queue (main, dead_letter) and outcome (answered, denied, error).
pub const QUEUE_LOOKS: &str = "hydrant_queue_looks_total";
pub const LOG_DROPPED: &str = "hydrant_log_lines_dropped_total";
// Durations.
pub const DECODE_SECONDS: &str = "hydrant_decode_seconds";
pub const TRANSACTION_SECONDS: &str = "hydrant_transaction_seconds";
pub const BATCH_SECONDS: &str = "hydrant_batch_seconds";
pub const BATCH_EVENTS: &str = "hydrant_batch_events";
pub const HTTP_SECONDS: &str = "hydrant_http_request_seconds";
// What is now.
pub const EVENT_LAG: &str = "hydrant_event_lag_seconds";
pub const ADJUSTMENT_LAG: &str = "hydrant_adjustment_lag_seconds";
pub const OBJECTS: &str = "hydrant_objects";
pub const OBJECT_LAG: &str = "hydrant_object_lag_seconds";
pub const MESSAGES_IN_FLIGHT: &str = "hydrant_messages_in_flight";
pub const BYTES_IN_FLIGHT: &str = "hydrant_bytes_in_flight";
pub const ITERATOR_AGE: &str = "hydrant_iterator_age_seconds";
pub const SHARDS: &str = "hydrant_shards";
pub const UNREAD_SHARDS: &str = "hydrant_unread_shards";
pub const HTTP_IN_FLIGHT: &str = "hydrant_http_requests_in_flight";
pub const QUEUE_MESSAGES: &str = "hydrant_queue_messages";
pub const QUEUE_IN_FLIGHT: &str = "hydrant_queue_in_flight_messages";
pub const DEAD_LETTERS: &str = "hydrant_dead_letters";
pub const QUEUE_RETENTION: &str = "hydrant_queue_retention_seconds";
pub const OLDEST_WAITING: &str = "hydrant_oldest_waiting_seconds";
pub const LAST_RECEIVE: &str = "hydrant_last_receive_timestamp_seconds";
pub const LAST_COMMIT: &str = "hydrant_last_commit_timestamp_seconds";
pub const OLDEST_IN_FLIGHT: &str = "hydrant_oldest_in_flight_seconds";
/// By source: 1 while `/readyz` has nothing to say of it.
pub const SOURCE_WELL: &str = "hydrant_source_well";
pub const MOSTLY_BAD: &str = "hydrant_mostly_bad_input";
pub const STORE_UP: &str = "hydrant_store_up";
pub const STORE_DURABLE: &str = "hydrant_store_durable";
pub const PAUSED: &str = "hydrant_paused";
pub const BUILD_INFO: &str = "hydrant_build_info";
pub const START_TIME: &str = "hydrant_start_time_seconds";

const SECONDS_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
const EVENTS_BUCKETS: [f64; 9] = [
    1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0,
];

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
        (
            SUSPECTS,
            "Messages handled alone because they were received more than twice",
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
            OBJECTS_READ,
            "Files and objects read to their end, by outcome: read, broken",
        ),
        (
            THROTTLED_READS,
            "Reads of a shard that Kinesis refused because its limit was used up; they are done again",
        ),
        (
            LOST_POSITIONS,
            "Positions that a shard did not have any more, and shards that were gone before their end was read; records may have expired unread",
        ),
        (
            HTTP_REQUESTS,
            "Requests by route and status; 499: the sender went away before its answer",
        ),
        (
            RETENTION_DROPPED,
            "Days of clicks and impressions dropped because they were old",
        ),
        (
            RETENTION_DELETED,
            "Clicks and impressions outside of days of their own deleted because they were old",
        ),
        (
            RETENTION_BLANKED,
            "Rows whose personal values were blanked because they were old",
        ),
        (
            QUEUE_LOOKS,
            "Questions to queues about what waits in them, by queue (main, dead_letter) and outcome: answered, denied, error",
        ),
        (
            LOG_DROPPED,
            "Lines of log that nobody took in time",
        ),
        (
            ROLLUP_MERGES,
            "Steps of merging sums of the rollup, by outcome: merged, failed",
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
    describe_histogram!(
        HTTP_SECONDS,
        Unit::Seconds,
        "Time from the head of a request to its answer"
    );
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
            OBJECTS,
            "Files or objects at the last listing, by state: read, broken, waiting, unsettled, left_alone",
        ),
        (
            OBJECT_LAG,
            "Age of the oldest file or object that was not read yet at the last listing; 0 without one",
        ),
        (
            MESSAGES_IN_FLIGHT,
            "Messages received and not yet deleted or given back",
        ),
        (BYTES_IN_FLIGHT, "Bytes of bodies in work, as received"),
        (
            ITERATOR_AGE,
            "Age of the oldest record that is still to be read, of all shards that this daemon reads; it grows while none can be",
        ),
        (SHARDS, "Shards that this daemon reads"),
        (
            UNREAD_SHARDS,
            "Shards that could be read and are read by no daemon, as each of them sees it",
        ),
        (HTTP_IN_FLIGHT, "Requests that are not answered yet"),
        (
            QUEUE_MESSAGES,
            "Messages that wait in the queue, by its own estimate, asked for every minute",
        ),
        (
            QUEUE_IN_FLIGHT,
            "Messages of the queue that were received and not deleted, by whomever; at 120,000 SQS gives no more",
        ),
        (
            DEAD_LETTERS,
            "Messages in the queue's dead-letter queue, asked for every minute",
        ),
        (
            QUEUE_RETENTION,
            "Seconds for which the queue keeps a message",
        ),
        (
            OLDEST_WAITING,
            "Age of the oldest that waits, as far as the last receive, read or listing tells; 0 where nothing waits",
        ),
        (
            LAST_RECEIVE,
            "When a receive was last answered, seconds since 1970; not there before the first",
        ),
        (
            LAST_COMMIT,
            "When a transaction was last committed, seconds since 1970; not there before the first",
        ),
        (
            OLDEST_IN_FLIGHT,
            "For how long the oldest message in flight is held; 0 without one",
        ),
        (
            SOURCE_WELL,
            "1 while the source is well, 0 while /readyz says what is wrong with it",
        ),
        (
            MOSTLY_BAD,
            "1 while most of what is pushed is bad; it is taken all the same",
        ),
        (STORE_UP, "1 while the database takes writes"),
        (
            STORE_DURABLE,
            "1 if what the database confirms outlasts its crash (fsync, synchronous_commit), as it was at the start",
        ),
        (PAUSED, "1 while nothing is received, by reason"),
        (BUILD_INFO, "1, with the version"),
        (START_TIME, "When the process started, seconds since 1970"),
    ]
    .into();
    for (name, help) in gauges {
        describe_gauge!(name, help);
    }
}
