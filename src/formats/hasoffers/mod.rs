//! HasOffers (TUNE) Firehose: a body is base64 of gzip of one JSON envelope of events.
//!
//! [`body`] takes off base64 and gzip, [`envelope`] finds the events, [`event`] understands one of them by the table of
//! [`fields`], and [`fold`] works out what a ledger of adjustments comes to.

pub mod body;
pub mod envelope;
pub mod event;
pub mod fields;
pub mod fold;
mod members;
pub mod value;

use std::borrow::Cow;

use self::body::Opened;
use self::envelope::{Data, Envelope};
use self::event::{BadEvent, Context, Event};
use super::{Reason, Refusal, Reject, Scope};
use crate::json;
use crate::store::batch::{Batch, Origin};

/// An opened body whose events are taken out piece by piece, so that a large one never stands in memory as rows at once.
#[derive(Debug)]
pub struct Body {
    /// JSON that is known to be valid; `next..end` are the events still to be taken.
    text: String,
    next: usize,
    end: usize,
    shape: Shape,
    network_id: Option<String>,
    source_network_id: Option<String>,
    dispatch_timestamp: Option<i64>,
    pub trailing_bytes: usize,
    /// Events taken so far.
    pub events: usize,
    /// Of these, how many went to quarantine.
    pub bad_events: usize,
}

#[derive(Debug, PartialEq)]
enum Shape {
    Array,
    One,
}

impl Body {
    /// Opens a body. `network_id` is for envelopes and events that name none.
    ///
    /// # Errors
    /// What makes the body as a whole unreadable, see [`body::open`] and [`envelope::parse`].
    pub fn open(bytes: &[u8], max_bytes: usize, network_id: Option<&str>) -> Result<Body, Refusal> {
        Body::of(body::open(bytes, max_bytes)?, network_id)
    }

    /// Finds the events of a body whose base64 and gzip were taken off.
    ///
    /// # Errors
    /// See [`envelope::parse`].
    pub fn of(opened: Opened, network_id: Option<&str>) -> Result<Body, Refusal> {
        let Envelope { context, data } = envelope::parse(&opened.text)?;
        let dispatch_timestamp = context.dispatch_timestamp;
        let envelope_network_id = context.network_id.map(Cow::into_owned);
        let (text, (next, end, shape)) = match data {
            Data::Packed(inner) => {
                let place = match envelope::data(envelope::validate(&inner)?)? {
                    Data::Packed(_) => {
                        return Err(Refusal::new(Reason::DataShape, "data is text within text"));
                    }
                    data => place(&inner, &data),
                };
                (inner, place)
            }
            data => {
                let place = place(&opened.text, &data);
                (opened.text, place)
            }
        };
        Ok(Body {
            text,
            next,
            end,
            shape,
            network_id: envelope_network_id,
            source_network_id: network_id.map(str::to_owned),
            dispatch_timestamp,
            trailing_bytes: opened.trailing_bytes,
            events: 0,
            bad_events: 0,
        })
    }

    /// Bytes of JSON held.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there was no event in it; known once it is read.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The next event with its raw slice; `None` after the last one.
    pub fn next_event(&mut self) -> Option<(&str, Result<Event<'_>, Box<BadEvent>>)> {
        let data = &self.text[..self.end];
        let raw = match self.shape {
            Shape::Array => {
                let mut elements = json::elements_from(data, self.next);
                let raw = elements.next()?;
                self.next = elements.at();
                raw
            }
            Shape::One => {
                let raw = Some(&data[self.next..]).filter(|raw| !raw.is_empty())?;
                self.next = self.end;
                raw
            }
        };
        let context = Context {
            network_id: self.network_id.as_deref().map(Cow::Borrowed),
            source_network_id: self.source_network_id.as_deref().map(Cow::Borrowed),
            dispatch_timestamp: self.dispatch_timestamp,
        };
        let event = event::parse(raw, &context);
        self.events += 1;
        self.bad_events += usize::from(event.is_err());
        Some((raw, event))
    }

    /// Moves events into `batch` until that is full. True when all are in. `delivery` is the position of the body's
    /// delivery, to be found again in each [`Origin`].
    pub fn read_into(&mut self, batch: &mut Batch, delivery: usize, message_id: &str) -> bool {
        let dispatch_timestamp = self.dispatch_timestamp;
        while !batch.is_full() {
            let origin = Origin {
                delivery,
                event: self.events,
            };
            match self.next_event() {
                None => return true,
                Some((_, Ok(event))) => batch.push(&event, origin),
                Some((raw, Err(bad))) => batch.reject(Reject {
                    scope: Scope::Event,
                    refusal: bad.refusal,
                    payload: raw.as_bytes().to_vec(),
                    message_id: message_id.to_owned(),
                    network_id: bad.network_id,
                    event_id: bad.event_id,
                    dispatch_timestamp,
                }),
            }
        }
        false
    }
}

impl Body {
    /// The raw slices of all events with their positions, of a body that was not read from yet.
    pub fn raw_events(&self) -> impl Iterator<Item = (usize, &str)> {
        let data = &self.text[..self.end];
        let (many, one) = match self.shape {
            Shape::Array => (Some(json::elements_from(data, self.next)), None),
            Shape::One => (None, Some(&data[self.next..])),
        };
        many.into_iter().flatten().chain(one).enumerate()
    }

    /// What the envelope says of all its events.
    pub fn dispatch_timestamp(&self) -> Option<i64> {
        self.dispatch_timestamp
    }
}

/// Where the events of `data`, a slice of `text`, begin and end.
fn place(text: &str, data: &Data<'_>) -> (usize, usize, Shape) {
    let offset = |slice: &str| slice.as_ptr() as usize - text.as_ptr() as usize;
    match data {
        Data::Array(raw) => (offset(raw) + 1, offset(raw) + raw.len(), Shape::Array),
        Data::One(raw) => (offset(raw), offset(raw) + raw.len(), Shape::One),
        Data::Empty | Data::Packed(_) => (0, 0, Shape::One),
    }
}
