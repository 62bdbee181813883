//! What must be true beyond a key's own kind and range.

use std::collections::BTreeMap;

use super::given::Given;
use super::{
    Bucket, Config, HORIZON_DAYS, KinesisStream, Retention, SMALL_BODY_BYTES, Source, SourceKind,
    SqsQueue, http,
};
use crate::formats::everflow::event_type::EventType;
use crate::formats::everflow::{Settings, is_field};
use crate::formats::{self, Format};
use crate::sources::kinesis::READ_BYTES_MAX;
use crate::sources::{kinesis, sqs};
use crate::telemetry;

/// Notes everything that makes no sense, or contradicts something else.
pub fn across_keys(config: &Config, given: &mut Given) {
    database(config, given);
    retention(&config.retention, given);
    if let Err(why) = telemetry::filter(&config.log.level) {
        given.refuse("log.level", &why);
    }
    for (name, one) in &config.source {
        source(name, one, given);
    }
    queues_differ(config, given);
    streams_differ(config, given);
    listeners_differ(config, given);
    memory(config, given);
}

fn database(config: &Config, given: &mut Given) {
    let database = &config.database;
    if let Err(why) = database.url.options() {
        given.refuse("database.url", &why.to_string());
    }
    if database.schema.len() > 63 || database.schema.contains('\0') {
        given.refuse("database.schema", "must have 1 to 63 bytes");
    }
    if database.lock_timeout_ms > database.statement_timeout_ms {
        let problem = format!(
            "{} must not be above {}: it would never be reached",
            given.said("database.lock_timeout_ms", database.lock_timeout_ms),
            given.said(
                "database.statement_timeout_ms",
                database.statement_timeout_ms
            )
        );
        given.problems.push(problem);
    }
}

fn retention(retention: &Retention, given: &mut Given) {
    for (key, days) in [
        ("retention.events_days", retention.events_days),
        ("retention.personal_days", retention.personal_days),
    ] {
        if days.is_some_and(|days| days < HORIZON_DAYS) {
            given.refuse(
                key,
                &format!(
                    "must be at least {HORIZON_DAYS}: a message may come again for 14 days from its queue and for 14 more after it \
                     was sent back from the dead-letter queue, and an event that is gone by then would be stored a second time"
                ),
            );
        }
    }
    let personal = formats::personal();
    for name in &retention.personal_keep {
        if !personal.contains(name.as_str()) {
            let problem = format!(
                "retention.personal_keep names {name:?}, which is no column that personal_days would blank; these are {}",
                Vec::from_iter(personal.iter().copied()).join(", ")
            );
            given.problems.push(problem);
        }
    }
}

fn source(name: &str, source: &Source, given: &mut Given) {
    let table = format!("source.{name}");
    if !is_name(name) {
        given.problems.push(format!(
            "[source.{name}]: a source's name is made of a to z, 0 to 9 and single _ between them, so that a variable can \
             name it"
        ));
    }
    match &source.kind {
        SourceKind::Sqs { queue, format } => {
            sqs_queue(&table, queue, given);
            is_told_apart(&table, format, given);
            self::format(&table, format, given);
        }
        SourceKind::Kinesis { stream, format } => {
            kinesis_stream(&table, stream, given);
            is_told_apart(&table, format, given);
            self::format(&table, format, given);
        }
        SourceKind::Http(listener) => {
            http::check(&table, listener, given);
            for (route, one) in &listener.routes {
                self::format(&format!("{table}.route.{route}"), &one.format, given);
            }
        }
        SourceKind::File { folder: _, format } => self::format(&table, format, given),
        SourceKind::S3 { bucket, format } => {
            s3_bucket(&table, bucket, given);
            self::format(&table, format, given);
        }
    }
}

fn s3_bucket(table: &str, bucket: &Bucket, given: &mut Given) {
    let key = |key: &str| format!("{table}.{key}");
    if !is_bucket(&bucket.bucket) {
        given.refuse(
            &key("bucket"),
            "must be the name of a bucket: 3 to 255 letters, digits, dots, hyphens and underscores",
        );
    }
    endpoint(table, bucket.endpoint_url.as_deref(), given);
    if bucket.access_key_id.is_some() != bucket.secret_access_key.is_some() {
        let problem = format!(
            "{} and secret_access_key belong together: set both, or none to take the credentials of the AWS environment",
            key("access_key_id")
        );
        given.problems.push(problem);
    }
}

fn sqs_queue(table: &str, queue: &SqsQueue, given: &mut Given) {
    let key = |key: &str| format!("{table}.{key}");
    if !is_url(&queue.queue_url)
        || queue
            .queue_url
            .splitn(4, '/')
            .nth(3)
            .is_none_or(str::is_empty)
    {
        given.refuse(
            &key("queue_url"),
            "must be the URL of a queue, such as https://sqs.us-east-1.amazonaws.com/123456789012/name",
        );
    }
    endpoint(table, queue.endpoint_url.as_deref(), given);
    if let (Some(region), Some(of_url), None) = (
        &queue.region,
        sqs::region_of(&queue.queue_url),
        &queue.endpoint_url,
    ) && *region != of_url
    {
        let problem = format!(
            "{} contradicts queue_url, which is in {of_url}: leave region out",
            given.said(&key("region"), format!("{region:?}"))
        );
        given.problems.push(problem);
    }
}

fn kinesis_stream(table: &str, stream: &KinesisStream, given: &mut Given) {
    let key = |key: &str| format!("{table}.{key}");
    let is_word = |text: &str, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.chars().all(allowed)
    };
    let is_stream = match stream.stream.split_once(":stream/") {
        Some((arn, name)) => {
            let parts: Vec<&str> = arn.split(':').collect();
            matches!(parts[..], ["arn", _, "kinesis", region, _] if !region.is_empty())
                && is_word(name, "_.-")
        }
        None => stream.stream.len() <= 128 && is_word(&stream.stream, "_.-"),
    };
    if !is_stream {
        given.refuse(
            &key("stream"),
            "must be the name of a stream, or its ARN, such as arn:aws:kinesis:us-east-1:123456789012:stream/name",
        );
    }
    endpoint(table, stream.endpoint_url.as_deref(), given);
    if let (Some(region), Some(of_arn)) = (&stream.region, kinesis::region_of(&stream.stream))
        && *region != of_arn
    {
        let problem = format!(
            "{} contradicts stream, which is in {of_arn}: leave region out",
            given.said(&key("region"), format!("{region:?}"))
        );
        given.problems.push(problem);
    }
}

fn endpoint(table: &str, url: Option<&str>, given: &mut Given) {
    if url.is_some_and(|url| !is_url(url)) {
        given.refuse(
            &format!("{table}.endpoint_url"),
            "must be a URL, such as http://127.0.0.1:4566",
        );
    }
}

fn format(table: &str, format: &Format, given: &mut Given) {
    let network_id = match format {
        Format::Hasoffers { network_id } => network_id,
        Format::Everflow(settings) => {
            everflow(table, settings, given);
            &settings.network_id
        }
        Format::Recurly => &None,
    };
    if network_id.as_deref().is_some_and(|id| !is_network_id(id)) {
        given.refuse(
            &format!("{table}.network_id"),
            "must have 1 to 255 bytes and no control characters",
        );
    }
}

/// A queue or a stream gives what comes again no name by which it could be known.
fn is_told_apart(table: &str, format: &Format, given: &mut Given) {
    if *format == Format::Recurly {
        given.refuse(
            &format!("{table}.format"),
            "has no ids of events: it comes by a source of type \"s3\", \"file\" or \"http\"",
        );
    }
}

fn everflow(table: &str, settings: &Settings, given: &mut Given) {
    let event_type = settings.event_type.as_str();
    let names_none = matches!(
        settings.event_type,
        EventType::Conversion | EventType::Event
    );
    if names_none && settings.network_id.is_none() {
        let problem = format!(
            "{table}.network_id is missing: {} says that its webhooks are of a kind that names no network",
            given.said(&format!("{table}.event_type"), format!("{event_type:?}"))
        );
        given.problems.push(problem);
    }
    for (theirs, ours) in &settings.fields {
        if !is_field(ours) {
            let allowed = "must be a column of an everflow table, such as payout";
            given.refuse(&format!("{table}.fields.{theirs}"), allowed);
        }
    }
}

fn queues_differ(config: &Config, given: &mut Given) {
    let mut seen = BTreeMap::new();
    for (name, source) in &config.source {
        let SourceKind::Sqs { queue, .. } = &source.kind else {
            continue;
        };
        if let Some(other) = seen.insert((&queue.queue_url, &queue.endpoint_url), name) {
            let problem = format!(
                "{} is the queue of source.{other} too: a queue has one source; raise its workers instead",
                given.said(
                    &format!("source.{name}.queue_url"),
                    format!("{:?}", queue.queue_url)
                )
            );
            given.problems.push(problem);
        }
    }
}

fn streams_differ(config: &Config, given: &mut Given) {
    let mut seen = BTreeMap::new();
    for (name, source) in &config.source {
        let SourceKind::Kinesis { stream, .. } = &source.kind else {
            continue;
        };
        let place = (&stream.stream, &stream.region, &stream.endpoint_url);
        if let Some(other) = seen.insert(place, name) {
            let problem = format!(
                "{} is the stream of source.{other} too: a stream has one source, and any number of daemons",
                given.said(
                    &format!("source.{name}.stream"),
                    format!("{:?}", stream.stream)
                )
            );
            given.problems.push(problem);
        }
    }
}

fn listeners_differ(config: &Config, given: &mut Given) {
    let mut seen = BTreeMap::from([(config.admin.listen, "admin.listen".to_owned())]);
    for (name, source) in &config.source {
        let SourceKind::Http(listener) = &source.kind else {
            continue;
        };
        let key = format!("source.{name}.listen");
        if let Some(other) = seen.insert(listener.listen, key.clone()) {
            given.refuse(&key, &format!("is the address of {other} too"));
        }
    }
}

fn memory(config: &Config, given: &mut Given) {
    let needed = config.memory_needed();
    if needed > config.max_inflight_bytes {
        let problem = format!(
            "{} must be at least {needed}, which is {} MiB: for each worker batch_bytes and {} MiB for a body ({} MiB where it \
             reads a shard; batch_bytes and max_body_bytes where it reads files or objects), for each listener \
             max_inflight_request_bytes, and the largest max_body_bytes once; left out, it is enough",
            given.said("max_inflight_bytes", config.max_inflight_bytes),
            needed.div_ceil(1 << 20),
            SMALL_BODY_BYTES >> 20,
            READ_BYTES_MAX >> 20,
        );
        given.problems.push(problem);
    }
}

pub fn is_name(name: &str) -> bool {
    name.split('_').all(|word| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

fn is_bucket(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Whether a network may be called so.
pub fn is_network_id(id: &str) -> bool {
    !id.trim().is_empty() && id.len() <= 255 && !id.chars().any(char::is_control)
}
