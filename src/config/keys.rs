//! Every key: its kind, its range and its default. What they mean is said in `config/hydrant.toml`.
//!
//! A key that is wrong gets a placeholder: nobody sees it, because its problem ends the loading.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format as TimeFormat;

use super::given::Given;
use super::{
    Admin, BODY_BYTES_LIMIT, Bucket, Config, Database, DatabaseUrl, Folder, KinesisStream, Log,
    LogFormat, MAX_BODY_BYTES, PartitionBy, Retention, Secret, Source, SourceKind, SqsQueue, Start,
    Watch, http,
};
use crate::formats::everflow::event_type::EVENT_TYPES;
use crate::formats::{Format, everflow};

const PARTITION_BY: [(&str, PartitionBy); 2] =
    [("day", PartitionBy::Day), ("none", PartitionBy::None)];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The word of `type`.
#[derive(Clone, Copy)]
enum Kind {
    Sqs,
    Kinesis,
    Http,
    File,
    S3,
}

const KINDS: [(&str, Kind); 5] = [
    ("sqs", Kind::Sqs),
    ("kinesis", Kind::Kinesis),
    ("http", Kind::Http),
    ("file", Kind::File),
    ("s3", Kind::S3),
];

/// The word of `format`.
#[derive(Clone, Copy)]
enum FormatName {
    Hasoffers,
    Everflow,
    Recurly,
}

const FORMATS: [(&str, FormatName); 3] = [
    ("hasoffers", FormatName::Hasoffers),
    ("everflow", FormatName::Everflow),
    ("recurly", FormatName::Recurly),
];

const MIB: u64 = 1 << 20;

/// For messages, unless the sources need more.
const MEMORY: usize = 256 << 20;

pub fn config(given: &mut Given) -> Config {
    let mut config = Config {
        database: database(given),
        retention: Retention {
            events_days: days(given, "retention.events_days"),
            personal_days: days(given, "retention.personal_days"),
            personal_keep: given.list("retention.personal_keep"),
        },
        admin: Admin {
            listen: given.address("admin.listen", (Ipv4Addr::LOCALHOST, 9464).into()),
        },
        log: Log {
            format: given.choice("log.format", &LOG_FORMATS, Some(LogFormat::Text)),
            level: given.text("log.level").unwrap_or_else(|| "info".to_owned()),
        },
        shutdown_secs: given.number("shutdown_secs", 2..=3_600, 25),
        max_inflight_bytes: 0,
        source: given
            .names_in("source")
            .into_iter()
            .map(|name| (name.clone(), source(given, &name)))
            .collect(),
        warnings: given.warnings.clone(),
    };
    // Whoever adds a source has not to know what it needs: only what somebody wrote can be too little.
    let default = MEMORY.max(config.memory_needed());
    config.max_inflight_bytes = given.size("max_inflight_bytes", MIB..=1 << 40, default as u64);
    config
}

fn database(given: &mut Given) -> Database {
    Database {
        url: DatabaseUrl(given.required_text("database.url")),
        schema: given
            .text("database.schema")
            .unwrap_or_else(|| "public".to_owned()),
        partition_by: given.choice(
            "database.partition_by",
            &PARTITION_BY,
            Some(PartitionBy::Day),
        ),
        lock_timeout_ms: given.number("database.lock_timeout_ms", 100..=600_000, 5_000),
        statement_timeout_ms: given.number(
            "database.statement_timeout_ms",
            1_000..=3_600_000,
            30_000,
        ),
    }
}

fn days(given: &mut Given, key: &str) -> Option<u32> {
    let days = given.optional_number(key, 0..=36_500)?;
    u32::try_from(days).ok()
}

fn source(given: &mut Given, name: &str) -> Source {
    let kind = given.choice(&format!("source.{name}.type"), &KINDS, None);
    source_of(given, name, kind)
}

fn source_of(given: &mut Given, name: &str, kind: Kind) -> Source {
    let table = format!("source.{name}");
    let key = |key: &str| format!("{table}.{key}");
    // A queue that is long gives full receives to join, and who pushes waits for the answer; a read of a shard, which has
    // one worker at most, is as large as it can be, and so is one of an object.
    // A worker for objects has memory for a body of any size.
    let (workers, linger_ms) = match kind {
        Kind::Sqs => (2, Some(50)),
        Kind::Http => (2, Some(5)),
        Kind::Kinesis => (8, None),
        Kind::File | Kind::S3 => (1, None),
    };
    let kind = match kind {
        Kind::Sqs => SourceKind::Sqs {
            format: format(given, &table),
            queue: sqs_queue(given, &table),
        },
        Kind::File => SourceKind::File {
            format: format(given, &table),
            folder: Folder {
                path: given.required_text(&key("path")).into(),
                watch: watch(given, &table, 10),
            },
        },
        Kind::S3 => {
            let format = format(given, &table);
            SourceKind::S3 {
                bucket: bucket(given, &table, &format),
                format,
            }
        }
        Kind::Kinesis => SourceKind::Kinesis {
            format: format(given, &table),
            stream: kinesis_stream(given, &table),
        },
        Kind::Http => SourceKind::Http(http::listener(given, name)),
    };
    Source {
        kind,
        workers: given.size(&key("workers"), 1..=256, workers),
        max_body_bytes: given.size(
            &key("max_body_bytes"),
            MIB..=BODY_BYTES_LIMIT,
            MAX_BODY_BYTES as u64,
        ),
        batch_events: given.size(&key("batch_events"), 1..=100_000, 5_000),
        batch_bytes: given.size(&key("batch_bytes"), 64 << 10..=256 * MIB, 8 * MIB),
        linger_ms: linger_ms.map_or(0, |default| {
            given.number(&key("linger_ms"), 0..=10_000, default)
        }),
    }
}

/// What stands in the bodies of the source or route whose table this is.
pub fn format(given: &mut Given, table: &str) -> Format {
    let key = |key: &str| format!("{table}.{key}");
    match given.choice(&key("format"), &FORMATS, None) {
        FormatName::Hasoffers => Format::Hasoffers {
            network_id: given.id(&key("network_id")),
        },
        FormatName::Everflow => Format::Everflow(Arc::new(everflow::Settings {
            event_type: given.choice(&key("event_type"), &EVENT_TYPES, None),
            network_id: given.id(&key("network_id")),
            fields: given.texts_in(&key("fields")),
        })),
        FormatName::Recurly => Format::Recurly,
    }
}

fn sqs_queue(given: &mut Given, table: &str) -> SqsQueue {
    let key = |key: &str| format!("{table}.{key}");
    SqsQueue {
        queue_url: given.required_text(&key("queue_url")),
        region: given.text(&key("region")),
        endpoint_url: given.text(&key("endpoint_url")),
        wait_time_secs: given.number(&key("wait_time_secs"), 0..=20, 20),
        visibility_timeout_secs: given.number(&key("visibility_timeout_secs"), 5..=43_200, 120),
    }
}

fn watch(given: &mut Given, table: &str, poll_secs: u64) -> Watch {
    Watch {
        poll_secs: given.number(&format!("{table}.poll_secs"), 1..=86_400, poll_secs),
        settle_secs: given.number(&format!("{table}.settle_secs"), 0..=86_400, 5),
    }
}

fn bucket(given: &mut Given, table: &str, format: &Format) -> Bucket {
    let key = |key: &str| format!("{table}.{key}");
    let (prefix, name_prefix) = format.object_names();
    Bucket {
        bucket: given.required_text(&key("bucket")),
        prefix: given.text_or_nothing(&key("prefix"), prefix),
        name_prefix: given.text_or_nothing(&key("name_prefix"), name_prefix),
        region: given.text(&key("region")),
        endpoint_url: given.text(&key("endpoint_url")),
        access_key_id: given.text(&key("access_key_id")),
        secret_access_key: given.text(&key("secret_access_key")).map(Secret),
        watch: watch(given, table, 60),
    }
}

/// A source of files of a format with everything else at its default; or what is wrong.
pub fn source_of_files(word: &str, network_id: Option<String>) -> Result<Source, Vec<String>> {
    let network_id = network_id.as_deref().unwrap_or_default();
    let mut given = Given::of(&[
        ("source.replay.type", "file"),
        ("source.replay.path", "/"),
        ("source.replay.format", word),
        ("source.replay.workers", "2"),
        ("source.replay.network_id", network_id),
    ]);
    let source = source(&mut given, "replay");
    match given.problems {
        problems if problems.is_empty() => Ok(source),
        problems => Err(problems),
    }
}

fn kinesis_stream(given: &mut Given, table: &str) -> KinesisStream {
    let key = |key: &str| format!("{table}.{key}");
    KinesisStream {
        stream: given.required_text(&key("stream")),
        region: given.text(&key("region")),
        endpoint_url: given.text(&key("endpoint_url")),
        start: start(given, &key("start")),
        lease_secs: given.number(&key("lease_secs"), 5..=300, 15),
        poll_interval_ms: given.number(&key("poll_interval_ms"), 250..=60_000, 500),
    }
}

fn start(given: &mut Given, key: &str) -> Start {
    let text = given.text(key);
    match text.as_deref() {
        None | Some("trim_horizon") => Start::TrimHorizon,
        Some("latest") => Start::Latest,
        Some(time) => {
            let time = DateTime::from_str(time, TimeFormat::DateTimeWithOffset);
            match time.ok().and_then(|time| time.to_millis().ok()) {
                Some(millis) => Start::At(millis),
                None => {
                    let allowed = "must be \"trim_horizon\", \"latest\" or a time such as \"2026-11-22T00:00:00Z\"";
                    given.refuse(key, allowed);
                    Start::TrimHorizon
                }
            }
        }
    }
}

/// The keys that a source of this name can have, of whatever kind it is.
pub fn of_source(name: &str) -> Vec<String> {
    let mut known = BTreeSet::from([format!("source.{name}.type")]);
    for (_, kind) in KINDS {
        let mut scratch = Given::default();
        source_of(&mut scratch, name, kind);
        known.extend(scratch.known);
    }
    known.into_iter().collect()
}
