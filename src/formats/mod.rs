//! Formats turn the bytes of one delivery into rows of their feed. Pure: no I/O, no clock.

pub mod hasoffers;

use std::borrow::Cow;
use std::fmt;

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
    pub const ALL: [Reason; 22] = [
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
            Reason::EventId
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
    pub scope: Scope,
    pub refusal: Refusal,
    pub payload: Vec<u8>,
    pub message_id: String,
    pub network_id: Option<String>,
    pub event_id: Option<String>,
    pub dispatch_timestamp: Option<i64>,
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
