//! Formats turn the bytes of one delivery into rows of their feed. Pure: no I/O, no clock.

pub mod body;
pub mod everflow;
pub mod hasoffers;
pub mod id;
pub mod list;
pub mod place;
pub mod recurly;
pub mod row;
pub mod value;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use self::place::{Place, Spot};
use crate::store::batch::{Batch, Origin};

/// The columns of any feed that may hold something about a person, beside `extra`.
pub fn personal() -> BTreeSet<&'static str> {
    hasoffers::fields::personal()
        .chain(everflow::fields::personal_of_conversions())
        .chain(everflow::fields::personal_of_clicks())
        .chain(recurly::event::personal())
        .collect()
}

/// What the bodies of a delivery hold, and how they are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    Hasoffers {
        /// For envelopes and events that name none.
        network_id: Option<String>,
    },
    Everflow(Arc<everflow::Settings>),
    Recurly,
}

impl Format {
    /// Opens a body of at most `max_bytes` of JSON.
    ///
    /// # Errors
    /// What makes it unreadable as a whole.
    pub fn open(&self, bytes: &[u8], max_bytes: usize) -> Result<Body, Refusal> {
        match self {
            Format::Hasoffers { network_id } => {
                hasoffers::Body::open(bytes, max_bytes, network_id.as_deref()).map(Body::Hasoffers)
            }
            Format::Everflow(settings) => {
                everflow::Body::open(bytes, max_bytes, settings).map(Body::Everflow)
            }
            Format::Recurly => recurly::Body::open(bytes, max_bytes).map(Body::Recurly),
        }
    }

    /// Opens a body that is a piece of an object or a file.
    ///
    /// # Errors
    /// What makes it unreadable as a whole.
    pub fn open_piece(
        &self,
        bytes: &[u8],
        max_bytes: usize,
        place: &Place,
    ) -> Result<Body, Refusal> {
        match self {
            Format::Recurly => {
                recurly::Body::open_piece(bytes, max_bytes, place).map(Body::Recurly)
            }
            Format::Hasoffers { .. } | Format::Everflow(_) => self.open(bytes, max_bytes),
        }
    }

    /// How the keys of its objects begin, and their names behind the last slash, where its vendor writes them.
    pub fn object_names(&self) -> (&'static str, &'static str) {
        match self {
            Format::Recurly => (recurly::KEYS_BEGIN, recurly::NAMES_BEGIN),
            Format::Hasoffers { .. } | Format::Everflow(_) => ("", ""),
        }
    }

    /// Whether its events have no ids, so that an object of them has to be read from its beginning to tell which is which.
    pub fn counts_places(&self) -> bool {
        matches!(self, Format::Recurly)
    }

    /// Reads one event whose bytes were kept, into `batch`.
    ///
    /// # Errors
    /// What keeps it from being stored.
    pub fn read_event(
        &self,
        raw: &[u8],
        kept: &Kept<'_>,
        batch: &mut Batch,
        origin: Origin,
    ) -> Result<(), Refusal> {
        match self {
            Format::Hasoffers { network_id } => {
                hasoffers::read_event(raw, network_id.as_deref(), kept, batch, origin)
            }
            Format::Everflow(settings) => everflow::read_event(raw, settings, kept, batch, origin),
            Format::Recurly => recurly::read_event(raw, kept, batch, origin),
        }
    }
}

/// What quarantine keeps of the body that an event stood in.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub network_id: Option<&'a str>,
    /// Of the event itself.
    pub event_id: Option<&'a str>,
    pub dispatch_timestamp: Option<i64>,
    pub spot: Option<&'a Spot>,
}

/// An opened body, whose events are taken out piece by piece.
#[derive(Debug)]
pub enum Body {
    Hasoffers(hasoffers::Body),
    Everflow(everflow::Body),
    Recurly(recurly::Body),
}

impl Body {
    /// Bytes of JSON held.
    pub fn len(&self) -> usize {
        match self {
            Body::Hasoffers(body) => body.len(),
            Body::Everflow(body) => body.list.len(),
            Body::Recurly(body) => body.list.len(),
        }
    }

    /// Whether there was no event in it; known once it is read.
    pub fn is_empty(&self) -> bool {
        match self {
            Body::Hasoffers(body) => body.is_empty(),
            Body::Everflow(body) => body.list.is_empty(),
            Body::Recurly(body) => body.list.is_empty(),
        }
    }

    /// Bytes behind what could be unpacked; they are ignored.
    pub fn trailing_bytes(&self) -> usize {
        match self {
            Body::Hasoffers(body) => body.trailing_bytes,
            Body::Everflow(body) => body.list.trailing_bytes,
            Body::Recurly(body) => body.list.trailing_bytes,
        }
    }

    /// Events taken so far.
    pub fn events(&self) -> usize {
        match self {
            Body::Hasoffers(body) => body.events,
            Body::Everflow(body) => body.list.events,
            Body::Recurly(body) => body.list.events,
        }
    }

    /// Of these, how many went to quarantine.
    pub fn bad_events(&self) -> usize {
        match self {
            Body::Hasoffers(body) => body.bad_events,
            Body::Everflow(body) => body.list.bad_events,
            Body::Recurly(body) => body.list.bad_events,
        }
    }

    /// Moves events into `batch` until that is full. True when all are in. `delivery` is the position of the body's
    /// delivery, to be found again in each [`Origin`].
    pub fn read_into(&mut self, batch: &mut Batch, delivery: usize, message_id: &str) -> bool {
        match self {
            Body::Hasoffers(body) => body.read_into(batch, delivery, message_id),
            Body::Everflow(body) => body.read_into(batch, delivery, message_id),
            Body::Recurly(body) => body.read_into(batch, delivery, message_id),
        }
    }

    /// The raw slices of all events with their positions, of a body that was not read from yet.
    pub fn raw_events(&self) -> Box<dyn Iterator<Item = (usize, &str)> + '_> {
        match self {
            Body::Hasoffers(body) => Box::new(body.raw_events()),
            Body::Everflow(body) => Box::new(body.list.raw_events()),
            Body::Recurly(body) => Box::new(body.list.raw_events()),
        }
    }

    /// Where an event stood, by its position and its id, where that is what tells it from others.
    pub fn spot(&self, position: usize, event_id: &str) -> Option<Spot> {
        match self {
            Body::Recurly(body) => body.spot(position, event_id),
            Body::Hasoffers(_) | Body::Everflow(_) => None,
        }
    }

    /// What the envelope says of all its events.
    pub fn dispatch_timestamp(&self) -> Option<i64> {
        match self {
            Body::Hasoffers(body) => body.dispatch_timestamp(),
            Body::Everflow(_) | Body::Recurly(_) => None,
        }
    }
}

/// Why something was put into quarantine: the closed list of `quarantine.reason` and of the metrics' label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    // Of a body.
    EmptyBody,
    NotBase64,
    NotGzip,
    GzipTruncated,
    GzipCorrupt,
    NotUtf8,
    NotJson,
    UnsupportedClass,
    DataShape,
    // Of a body or of an event.
    TooLarge,
    NotAnObject,
    NetworkId,
    // Of an event.
    EventType,
    EventId,
    TuneEventId,
    Action,
    AdjustAction,
    AdjustmentSequenceId,
    Amount,
    Depth,
    NetworkMissing,
    NetworkMismatch,
    RefusedByDatabase,
}

impl Reason {
    pub const ALL: [Reason; 23] = [
        Reason::EmptyBody,
        Reason::NotBase64,
        Reason::NotGzip,
        Reason::GzipTruncated,
        Reason::GzipCorrupt,
        Reason::TooLarge,
        Reason::NotUtf8,
        Reason::NotJson,
        Reason::UnsupportedClass,
        Reason::DataShape,
        Reason::NotAnObject,
        Reason::NetworkId,
        Reason::EventType,
        Reason::EventId,
        Reason::TuneEventId,
        Reason::Action,
        Reason::AdjustAction,
        Reason::AdjustmentSequenceId,
        Reason::Amount,
        Reason::Depth,
        Reason::NetworkMissing,
        Reason::NetworkMismatch,
        Reason::RefusedByDatabase,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::EmptyBody => "empty_body",
            Reason::NotBase64 => "not_base64",
            Reason::NotGzip => "not_gzip",
            Reason::GzipTruncated => "gzip_truncated",
            Reason::GzipCorrupt => "gzip_corrupt",
            Reason::TooLarge => "too_large",
            Reason::NotUtf8 => "not_utf8",
            Reason::NotJson => "not_json",
            Reason::UnsupportedClass => "unsupported_class",
            Reason::DataShape => "data_shape",
            Reason::NotAnObject => "not_an_object",
            Reason::NetworkId => "network_id",
            Reason::EventType => "event_type",
            Reason::EventId => "event_id",
            Reason::TuneEventId => "tune_event_id",
            Reason::Action => "action",
            Reason::AdjustAction => "adjust_action",
            Reason::AdjustmentSequenceId => "adjustment_sequence_id",
            Reason::Amount => "amount",
            Reason::Depth => "depth",
            Reason::NetworkMissing => "network_missing",
            Reason::NetworkMismatch => "network_mismatch",
            Reason::RefusedByDatabase => "refused_by_database",
        }
    }
}

impl Reason {
    /// What it can be said of.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Reason::EmptyBody
            | Reason::NotBase64
            | Reason::NotGzip
            | Reason::GzipTruncated
            | Reason::GzipCorrupt
            | Reason::NotUtf8
            | Reason::NotJson
            | Reason::UnsupportedClass
            | Reason::DataShape => &[Scope::Body],
            Reason::TooLarge | Reason::NotAnObject | Reason::NetworkId => {
                &[Scope::Body, Scope::Event]
            }
            Reason::EventType
            | Reason::EventId
            | Reason::TuneEventId
            | Reason::Action
            | Reason::AdjustAction
            | Reason::AdjustmentSequenceId
            | Reason::Amount
            | Reason::Depth
            | Reason::NetworkMissing
            | Reason::NetworkMismatch
            | Reason::RefusedByDatabase => &[Scope::Event],
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a body or an event cannot be stored as it should. Such a thing is done with: it goes to quarantine, and its message
/// is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// A sentence for people, without any value of the payload: it may be personal.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            reason,
            detail: detail.into(),
        }
    }
}

/// Something for quarantine, with its exact bytes and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// What quarantine names as its source; None is the source that writes it. See [`Batch::file_under`].
    pub source: Option<Arc<str>>,
    pub scope: Scope,
    pub refusal: Refusal,
    pub payload: Vec<u8>,
    pub message_id: String,
    pub network_id: Option<String>,
    pub event_id: Option<String>,
    pub dispatch_timestamp: Option<i64>,
    /// Of what has no id of its own: the same bytes elsewhere are something else.
    pub spot: Option<Spot>,
}

/// What a [`Reject`] is a piece of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole text of a message.
    Body,
    /// One event of it: its own slice of JSON.
    Event,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Body => "body",
            Scope::Event => "event",
        }
    }
}
