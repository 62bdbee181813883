//! Recurly Engage: the usage events of its Event API Firehose, one a line in objects, and an array of them in what it pushes.
//!
//! An event has no id. [`event`] understands it apart from where it stood; that, [`super::place`], is what makes it one row.

pub mod event;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::event::Event;
use super::list::List;
use super::place::{Door, Identity, Place, Spot, Whole};
use super::{Kept, Reason, Refusal, Reject, Scope, body};
use crate::json;
use crate::store::batch::{Batch, Origin};
use crate::store::documents::{Document, Keeping, Layer, Table, hex};

/// How the keys of the objects begin that Recurly writes.
pub const KEYS_BEGIN: &str = "exports/";
/// And the names of those with usage events, behind the last slash.
pub const NAMES_BEGIN: &str = "usages";

/// Every event, each place once.
pub static USAGE_EVENTS: Table = Table {
    name: "recurly_usage_events",
    key: &["door", "origin", "occurrence"],
    columns: &[
        "app_id",
        "user_id",
        "anonymous_user_id",
        "event",
        "platform",
        "type",
        "ts",
        "properties_id",
        "properties_values",
        "properties_options",
        "traits",
        "segments",
        "paths",
        "extra",
        "occurred_at",
        "etag",
        "line",
        "natural_hash",
    ],
    keeping: Keeping::Each,
};

/// An opened body whose events are taken out piece by piece.
#[derive(Debug)]
pub struct Body {
    pub list: List,
    whole: Arc<Whole>,
    /// Of this body in a larger whole.
    line: Option<u64>,
}

impl Body {
    /// A body that is a whole by itself.
    ///
    /// # Errors
    /// See [`List::open`].
    pub fn open(bytes: &[u8], max_bytes: usize) -> Result<Body, Refusal> {
        let list = List::open(bytes, max_bytes)?;
        let hash = Sha256::digest(list.text());
        let name = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Body {
            list,
            whole: Arc::new(Whole::new(Door::Push, name, None)),
            line: None,
        })
    }

    /// One that is a piece of an object or a file.
    ///
    /// # Errors
    /// See [`List::open`].
    pub fn open_piece(bytes: &[u8], max_bytes: usize, place: &Place) -> Result<Body, Refusal> {
        Ok(Body {
            list: List::open(bytes, max_bytes)?,
            whole: Arc::clone(&place.whole),
            line: Some(place.number),
        })
    }

    /// Moves events into `batch` until that is full. True when all are in. `delivery` is the position of the body's
    /// delivery, to be found again in each [`Origin`].
    pub fn read_into(&mut self, batch: &mut Batch, delivery: usize, message_id: &str) -> bool {
        while !batch.is_full() {
            let Some((event, raw)) = self.list.next_event() else {
                return true;
            };
            let origin = Origin { delivery, event };
            let line = self.line.unwrap_or(event as u64 + 1);
            match event::read(raw) {
                Ok(event) => {
                    let identity = identity(&self.whole, self.whole.meet(event.content_hash));
                    let etag = self.whole.etag.as_deref();
                    add(event, &identity, etag, Some(line), batch, origin);
                }
                Err(refusal) => {
                    let spot = self.whole.meet_bad(raw.as_bytes(), line);
                    batch.reject(Reject {
                        scope: Scope::Event,
                        refusal,
                        payload: raw.as_bytes().to_vec(),
                        source: None,
                        message_id: message_id.to_owned(),
                        network_id: None,
                        event_id: Some(identity(&self.whole, spot.occurrence).to_string()),
                        dispatch_timestamp: None,
                        spot: Some(spot),
                    });
                    self.list.bad_events += 1;
                }
            }
        }
        false
    }

    /// Where an event stood, by its position and its id.
    pub fn spot(&self, position: usize, event_id: &str) -> Option<Spot> {
        let identity = Identity::parse(event_id)?;
        Some(Spot {
            origin: identity.origin,
            etag: self.whole.etag.clone(),
            occurrence: identity.occurrence,
            line: self.line.unwrap_or(position as u64 + 1),
        })
    }
}

fn identity(whole: &Whole, occurrence: u64) -> Identity {
    Identity {
        door: whole.door,
        origin: whole.name.clone(),
        occurrence,
    }
}

fn add(
    event: Event,
    identity: &Identity,
    etag: Option<&str>,
    line: Option<u64>,
    batch: &mut Batch,
    origin: Origin,
) {
    batch.misfits += u64::from(event.misfits);
    batch.repaired += u64::from(event.repaired);
    let mut row = event.row;
    row.pop();
    row.push_str(",\"natural_hash\":");
    row.push_str(&hex(&event.natural_hash));
    if let Some(line) = line {
        row.push_str(&format!(",\"line\":{line}"));
    }
    if let Some(millis) = event.happened {
        let occurred_at = event::timestamptz(millis);
        row.push_str(&format!(",\"occurred_at\":\"{occurred_at}\""));
    }
    if let Some(etag) = etag {
        row.push_str(",\"etag\":");
        json::write_text(etag, &mut row);
    }
    row.push('}');
    let occurrence = identity.occurrence.to_string();
    batch.add_document(Document {
        table: &USAGE_EVENTS,
        key: vec![
            identity.door.as_str().to_owned(),
            identity.origin.clone(),
            occurrence,
        ],
        event_type: "usage",
        layer: Layer::Base,
        version: None,
        happened: event.happened.map(|millis| millis / 1_000),
        row,
        content_hash: event.content_hash,
        origin,
    });
}

/// Reads one event whose bytes were kept, into `batch`.
///
/// # Errors
/// What keeps it from being stored.
pub fn read_event(
    raw: &[u8],
    kept: &Kept<'_>,
    batch: &mut Batch,
    origin: Origin,
) -> Result<(), Refusal> {
    let text = std::str::from_utf8(raw)
        .map_err(|_| Refusal::new(Reason::NotUtf8, "the event is not UTF-8"))?;
    let event = event::read(body::validate(text)?)?;
    let identity = kept.event_id.and_then(Identity::parse).ok_or_else(|| {
        let detail = "its event_id does not say where it stood, so that it might count twice";
        Refusal::new(Reason::EventId, detail)
    })?;
    let etag = kept.spot.and_then(|spot| spot.etag.as_deref());
    let line = kept.spot.map(|spot| spot.line);
    add(event, &identity, etag, line, batch, origin);
    Ok(())
}
