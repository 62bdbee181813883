//! `hydrant quarantine show`.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::list::age;
use super::{Failure, named, open, open_body, read_event, unknown_id};
use crate::cli::quarantine::Show;
use crate::commands::printed;
use crate::config::Config;
use crate::formats::place::Spot;
use crate::formats::{Refusal, Scope};
use crate::store::batch::{Batch, Origin};
use crate::store::quarantine::Item;

pub async fn run(args: Show) -> Result<(), Failure> {
    let (config, mut quarantine) = open(&args.common).await?;
    let found = match named(&mut quarantine, &args.id).await? {
        Some(id) => quarantine.load(&[id]).await.map_err(anyhow::Error::new)?,
        None => Vec::new(),
    };
    quarantine.close().await;
    let Some((item, payload)) = found.into_iter().next() else {
        return Err(unknown_id(&args.id));
    };
    let bytes = if args.raw {
        payload
    } else {
        let now = hint(&config, &item, &payload);
        if args.json {
            json(&item, &payload, &now).map_err(anyhow::Error::new)?
        } else {
            text(&item, &payload, &now).into_bytes()
        }
    };
    printed(io::stdout().lock().write_all(&bytes))
}

/// What the payload comes to with this version and configuration: whether `retry` is worth it.
fn hint(config: &Config, item: &Item, payload: &[u8]) -> String {
    let refused = |refusal: Refusal| format!("refused: {} ({})", refusal.detail, refusal.reason);
    if item.is_blanked() {
        return "gone: it was done with, and retention blanked it".to_owned();
    }
    let mut batch = Batch::new(1_000, usize::MAX);
    if item.scope == Scope::Event.as_str() {
        let origin = Origin {
            delivery: 0,
            event: 0,
        };
        return match read_event(config, item, payload, &mut batch, origin) {
            Ok(()) => format!("understood: {}", batch.names().join(", ")),
            Err(refusal) => refused(refusal),
        };
    }
    match open_body(config, item, payload) {
        Ok(mut body) => {
            while !body.read_into(&mut batch, 0, "") {
                batch.clear();
            }
            format!(
                "understood: {} events, {} of them for quarantine",
                body.events(),
                body.bad_events()
            )
        }
        Err(refusal) => refused(refusal),
    }
}

fn json(item: &Item, payload: &[u8], now: &str) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        item: &'a Item,
        now: &'a str,
        /// Where it is UTF-8.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload_base64: Option<String>,
    }
    let text = std::str::from_utf8(payload).ok();
    let mut bytes = serde_json::to_vec_pretty(&Shown {
        item,
        now,
        payload: text,
        payload_base64: text.is_none().then(|| STANDARD.encode(payload)),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn text(item: &Item, payload: &[u8], now: &str) -> String {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let time = |time: &str, seconds| format!("{time}, {} ago", age(seconds));
    let spot = |of: fn(&Spot) -> String| item.spot.as_ref().map(of).unwrap_or_default();
    let dispatched = item.dispatch_timestamp.map(|time| time.to_string());
    let (form, payload) = match std::str::from_utf8(payload) {
        Ok(text) => ("as it came", harmless(text)),
        Err(_) => ("not UTF-8, here in base64", STANDARD.encode(payload)),
    };
    let mut lines = String::new();
    for (name, value) in [
        ("id", item.id.to_string()),
        ("status", item.status.clone()),
        ("scope", item.scope.clone()),
        ("reason", item.reason.clone()),
        ("detail", optional(&item.detail)),
        ("now", now.to_owned()),
        ("source", item.source.clone()),
        ("message", optional(&item.message_id)),
        ("network", optional(&item.network_id)),
        ("event", optional(&item.event_id)),
        ("dispatched", optional(&dispatched)),
        ("origin", spot(|spot| spot.origin.clone())),
        ("etag", spot(|spot| spot.etag.clone().unwrap_or_default())),
        ("line", spot(|spot| spot.line.to_string())),
        ("occurrence", spot(|spot| spot.occurrence.to_string())),
        ("seen", item.seen.to_string()),
        ("first seen", time(&item.first_seen, item.ages.0)),
        ("last seen", time(&item.last_seen, item.ages.1)),
        ("sha256", item.payload_sha256.clone()),
        ("payload", format!("{} bytes, {form}", item.payload_bytes)),
    ] {
        if !value.is_empty() {
            lines.push_str(&format!("{name:<12}{value}\n"));
        }
    }
    format!("{lines}\n{payload}\n")
}

/// The text without what a terminal would take for a command.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            harmless.extend(c.escape_default());
        } else {
            harmless.push(c);
        }
    }
    harmless
}
