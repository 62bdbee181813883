//! Every key: its kind, its range and its default. What they mean is said in `config/hydrant.toml`.
//!
//! A key that is wrong gets a placeholder: nobody sees it, because its problem ends the loading.

use std::net::Ipv4Addr;

use super::given::Given;
use super::{
    Admin, BODY_BYTES_LIMIT, Config, Database, DatabaseUrl, Log, LogFormat, MAX_BODY_BYTES,
    PartitionBy, Source, SourceFormat, SourceKind,
};

const PARTITION_BY: [(&str, PartitionBy); 2] =
    [("day", PartitionBy::Day), ("none", PartitionBy::None)];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const SOURCE_KINDS: [(&str, SourceKind); 1] = [("sqs", SourceKind::Sqs)];
const SOURCE_FORMATS: [(&str, SourceFormat); 1] = [("hasoffers", SourceFormat::Hasoffers)];

const MIB: u64 = 1 << 20;

pub fn config(given: &mut Given) -> Config {
    Config {
        database: database(given),
        admin: Admin {
            listen: given.address("admin.listen", (Ipv4Addr::LOCALHOST, 9464).into()),
        },
        log: Log {
            format: given.choice("log.format", &LOG_FORMATS, Some(LogFormat::Text)),
            level: given.text("log.level").unwrap_or_else(|| "info".to_owned()),
        },
        shutdown_secs: given.number("shutdown_secs", 2..=3_600, 25),
        max_inflight_bytes: given.size("max_inflight_bytes", MIB..=1 << 40, 256 * MIB),
        source: given
            .names_in("source")
            .into_iter()
            .map(|name| (name.clone(), source(given, &name)))
            .collect(),
    }
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

pub fn source(given: &mut Given, name: &str) -> Source {
    let key = |key: &str| format!("source.{name}.{key}");
    Source {
        kind: given.choice(&key("type"), &SOURCE_KINDS, None),
        format: given.choice(&key("format"), &SOURCE_FORMATS, None),
        queue_url: given.required_text(&key("queue_url")),
        region: given.text(&key("region")),
        endpoint_url: given.text(&key("endpoint_url")),
        network_id: given.id(&key("network_id")),
        workers: given.size(&key("workers"), 1..=256, 2),
        wait_time_secs: given.number(&key("wait_time_secs"), 0..=20, 20),
        visibility_timeout_secs: given.number(&key("visibility_timeout_secs"), 5..=43_200, 120),
        max_body_bytes: given.size(
            &key("max_body_bytes"),
            MIB..=BODY_BYTES_LIMIT,
            MAX_BODY_BYTES as u64,
        ),
        batch_events: given.size(&key("batch_events"), 1..=100_000, 5_000),
        batch_bytes: given.size(&key("batch_bytes"), 64 << 10..=256 * MIB, 8 * MIB),
        linger_ms: given.number(&key("linger_ms"), 0..=10_000, 50),
    }
}

/// The keys that a source of this name can have.
pub fn of_source(name: &str) -> Vec<String> {
    let mut scratch = Given::default();
    source(&mut scratch, name);
    scratch.known
}
