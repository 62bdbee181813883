//! Everflow: webhooks about conversions, offers, advertisers and partners, and its Firehose. A body is one JSON object or an
//! array of them, plain or as HasOffers sends it.
//!
//! [`event_type`] is what the settings say of a source, [`event`] understands one delivery by the columns of [`fields`], and
//! [`tables`] says where it is stored.

pub mod event;
pub mod event_type;
pub mod fields;
pub mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::event::{BadEvent, Event};
use self::event_type::EventType;
use self::fields::RENAMED;
use super::list::List;
use super::{Kept, Reason, Refusal, Reject, Scope, body};
use crate::store::batch::{Batch, Origin};

/// What is set for a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub event_type: EventType,
    /// For deliveries that name none.
    pub network_id: Option<String>,
    /// Names of a network's own by what they are here.
    pub fields: BTreeMap<String, String>,
}

impl Settings {
    /// The column that a name of the feed means, where that is another, and how much the name counts: the least first.
    fn column_of(&self, name: &str) -> (u8, Option<&str>) {
        let renamed = |name: &str| RENAMED.iter().find(|(theirs, _)| *theirs == name);
        match self.fields.get(name) {
            Some(ours) => (0, Some(renamed(ours).map_or(ours, |(_, column)| column))),
            None => match renamed(name) {
                Some((_, column)) => (2, Some(column)),
                None => (1, None),
            },
        }
    }
}

/// What a name in `fields` may stand for: a column, or Everflow's own name of one.
pub fn is_field(name: &str) -> bool {
    let fields = [&fields::CONVERSION[..], &fields::CLICK, &fields::OFFER];
    let ids = ["network_id", "conversion_id", "offer_id"];
    ids.contains(&name)
        || RENAMED.iter().any(|(theirs, _)| *theirs == name)
        || fields
            .iter()
            .any(|fields| fields.iter().any(|field| field.column == name))
}

/// An opened body whose events are taken out piece by piece.
#[derive(Debug)]
pub struct Body {
    pub list: List,
    settings: Arc<Settings>,
}

impl Body {
    /// # Errors
    /// See [`List::open`].
    pub fn open(bytes: &[u8], max_bytes: usize, settings: &Arc<Settings>) -> Result<Body, Refusal> {
        Ok(Body {
            list: List::open(bytes, max_bytes)?,
            settings: Arc::clone(settings),
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
            match event::read(raw, &self.settings, None, origin) {
                Ok(event) => add(event, batch),
                Err(bad) => {
                    let BadEvent {
                        refusal,
                        network_id,
                        event_id,
                    } = *bad;
                    batch.reject(Reject {
                        scope: Scope::Event,
                        refusal,
                        payload: raw.as_bytes().to_vec(),
                        source: None,
                        message_id: message_id.to_owned(),
                        network_id,
                        event_id,
                        dispatch_timestamp: None,
                        spot: None,
                    });
                    self.list.bad_events += 1;
                }
            }
        }
        false
    }
}

fn add(event: Event, batch: &mut Batch) {
    batch.misfits += u64::from(event.misfits);
    batch.repaired += u64::from(event.repaired);
    batch.add_document(event.document);
}

/// Reads one event whose bytes were kept, into `batch`.
///
/// # Errors
/// What keeps it from being stored.
pub fn read_event(
    raw: &[u8],
    settings: &Settings,
    kept: &Kept<'_>,
    batch: &mut Batch,
    origin: Origin,
) -> Result<(), Refusal> {
    let text = std::str::from_utf8(raw)
        .map_err(|_| Refusal::new(Reason::NotUtf8, "the event is not UTF-8"))?;
    let event = event::read(body::validate(text)?, settings, kept.network_id, origin);
    add(event.map_err(|bad| bad.refusal)?, batch);
    Ok(())
}
