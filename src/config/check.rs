//! What must be true beyond a key's own kind and range.

use std::collections::BTreeMap;

use super::given::Given;
use super::{Config, SMALL_BODY_BYTES, Source};
use crate::sources::sqs::region_of;
use crate::telemetry;

/// Notes everything that makes no sense, or contradicts something else.
pub fn across_keys(config: &Config, given: &mut Given) {
    database(config, given);
    if let Err(why) = telemetry::filter(&config.log.level) {
        given.refuse("log.level", &why);
    }
    for (name, one) in &config.source {
        source(name, one, given);
    }
    queues_differ(config, given);
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

fn source(name: &str, source: &Source, given: &mut Given) {
    let key = |key: &str| format!("source.{name}.{key}");
    if !is_name(name) {
        given.problems.push(format!(
            "[source.{name}]: a source's name is made of a to z, 0 to 9 and single _ between them, so that a variable can \
             name it"
        ));
    }
    if !is_url(&source.queue_url)
        || source
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
    if source
        .endpoint_url
        .as_deref()
        .is_some_and(|url| !is_url(url))
    {
        given.refuse(
            &key("endpoint_url"),
            "must be a URL, such as http://127.0.0.1:4566",
        );
    }
    if source
        .network_id
        .as_deref()
        .is_some_and(|id| !is_network_id(id))
    {
        given.refuse(
            &key("network_id"),
            "must have 1 to 255 bytes and no control characters",
        );
    }
    if let (Some(region), Some(of_url), None) = (
        &source.region,
        region_of(&source.queue_url),
        &source.endpoint_url,
    ) && *region != of_url
    {
        let problem = format!(
            "{} contradicts queue_url, which is in {of_url}: leave region out",
            given.said(&key("region"), format!("{region:?}"))
        );
        given.problems.push(problem);
    }
}

fn queues_differ(config: &Config, given: &mut Given) {
    let mut seen = BTreeMap::new();
    for (name, source) in &config.source {
        let queue = (&source.queue_url, &source.endpoint_url);
        if let Some(other) = seen.insert(queue, name) {
            let problem = format!(
                "{} is the queue of source.{other} too: a queue has one source; raise its workers instead",
                given.said(
                    &format!("source.{name}.queue_url"),
                    format!("{:?}", source.queue_url)
                )
            );
            given.problems.push(problem);
        }
    }
}

fn memory(config: &Config, given: &mut Given) {
    let bodies = config.source.values().map(|source| source.max_body_bytes);
    let needed = config.memory_of_workers() + bodies.max().unwrap_or(0);
    if needed > config.max_inflight_bytes {
        let problem = format!(
            "{} must be at least {needed}: for each worker batch_bytes and {SMALL_BODY_BYTES} for a body, and the largest \
             max_body_bytes once",
            given.said("max_inflight_bytes", config.max_inflight_bytes)
        );
        given.problems.push(problem);
    }
}

fn is_name(name: &str) -> bool {
    name.split('_').all(|word| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
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
