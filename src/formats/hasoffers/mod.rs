//! HasOffers (TUNE) Firehose: a body is base64 of gzip of one JSON envelope of events.
//!
//! [`envelope`] finds the events, [`event`] understands one of them by the table of
//! [`fields`], and [`fold`] works out what a ledger of adjustments comes to.

pub mod envelope;
pub mod event;
pub mod fields;
pub mod fold;
mod members;

use std::borrow::Cow;

use self::envelope::{Data, Envelope};
use self::event::{BadEvent, Context, Event, Reader};
use super::body::{self, Opened};
use super::{Kept, Reason, Refusal, Reject, Scope};
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
    given: Given,
    pub trailing_bytes: usize,
    /// Events taken so far.
    pub events: usize,
    /// Of these, how many went to quarantine.
    pub bad_events: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Array,
    One,
}

/// What the events of a body inherit.
#[derive(Debug)]
struct Given {
    network_id: Option<String>,
    source_network_id: Option<String>,
    dispatch_timestamp: Option<i64>,
}

impl Given {
    fn context(&self) -> Context<'_> {
        Context {
            network_id: self.network_id.as_deref().map(Cow::Borrowed),
            source_network_id: self.source_network_id.as_deref().map(Cow::Borrowed),
            dispatch_timestamp: self.dispatch_timestamp,
        }
    }
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
                let place = match envelope::data(body::validate(&inner)?)? {
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
            given: Given {
                network_id: envelope_network_id,
                source_network_id: network_id.map(str::to_owned),
                dispatch_timestamp,
            },
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
        let mut events = Events::new(&self.text[..self.end], self.next, self.shape, &self.given);
        let (raw, event) = events.next()?;
        self.next = events.next;
        self.events += 1;
        self.bad_events += usize::from(event.is_err());
        Some((raw, event))
    }

    /// Moves events into `batch` until that is full. True when all are in. `delivery` is the position of the body's
    /// delivery, to be found again in each [`Origin`].
    pub fn read_into(&mut self, batch: &mut Batch, delivery: usize, message_id: &str) -> bool {
        let mut events = Events::new(&self.text[..self.end], self.next, self.shape, &self.given);
        let mut is_done = false;
        while !batch.is_full() {
            let origin = Origin {
                delivery,
                event: self.events,
            };
            let Some((raw, event)) = events.next() else {
                is_done = true;
                break;
            };
            self.events += 1;
            match event {
                Ok(event) => {
                    batch.push(&event, origin);
                    events.reader.reuse(event);
                }
                Err(bad) => {
                    self.bad_events += 1;
                    batch.reject(Reject {
                        source: None,
                        scope: Scope::Event,
                        refusal: bad.refusal,
                        payload: raw.as_bytes().to_vec(),
                        message_id: message_id.to_owned(),
                        network_id: bad.network_id,
                        event_id: bad.event_id,
                        dispatch_timestamp: self.given.dispatch_timestamp,
                        spot: None,
                    });
                }
            }
        }
        self.next = events.next;
        is_done
    }
}

/// Reads one event whose bytes were kept, into `batch`. `source_network_id` is for events that name none.
///
/// # Errors
/// What keeps it from being stored.
pub fn read_event(
    raw: &[u8],
    source_network_id: Option<&str>,
    kept: &Kept<'_>,
    batch: &mut Batch,
    origin: Origin,
) -> Result<(), Refusal> {
    let context = Context {
        network_id: kept.network_id.map(Cow::Borrowed),
        source_network_id: source_network_id.map(Cow::Borrowed),
        dispatch_timestamp: kept.dispatch_timestamp,
    };
    let text = std::str::from_utf8(raw)
        .map_err(|_| Refusal::new(Reason::NotUtf8, "the event is not UTF-8"))?;
    let event = event::parse(body::validate(text)?, &context).map_err(|bad| bad.refusal)?;
    batch.push(&event, origin);
    Ok(())
}

/// The events that are still to be taken.
struct Events<'a> {
    data: &'a str,
    next: usize,
    shape: Shape,
    context: Context<'a>,
    reader: Reader<'a>,
}

impl<'a> Events<'a> {
    fn new(data: &'a str, next: usize, shape: Shape, given: &'a Given) -> Events<'a> {
        Events {
            data,
            next,
            shape,
            context: given.context(),
            reader: Reader::new(),
        }
    }

    fn next(&mut self) -> Option<(&'a str, Result<Event<'a>, Box<BadEvent>>)> {
        let start = match self.shape {
            Shape::Array => json::elements_from(self.data, self.next).start()?,
            Shape::One => Some(self.next).filter(|start| *start < self.data.len())?,
        };
        let (raw, event) = self.reader.read(self.data, start, &self.context);
        self.next = start + raw.len();
        Some((raw, event))
    }
}

impl Body {
    /// The raw slices of all events with their positions, of a body that was not read from yet.
    pub fn raw_events(&self) -> impl Iterator<Item = (usize, &str)> {
        let data = &self.text[..self.end];
        let (many, one) = match self.shape {
            Shape::Array => (Some(json::elements_from(data, self.next)), None),
            // A body without events is one of length 0.
            Shape::One => (None, Some(&data[self.next..]).filter(|raw| !raw.is_empty())),
        };
        many.into_iter().flatten().chain(one).enumerate()
    }

    /// What the envelope says of all its events.
    pub fn dispatch_timestamp(&self) -> Option<i64> {
        self.given.dispatch_timestamp
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

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
