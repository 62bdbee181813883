//! What one transaction writes: facts as rows in Postgres' binary form, and rejects for quarantine.

use std::ops::Range;

use twox_hash::XxHash3_128;

use crate::formats::Reject;
use crate::formats::hasoffers::event::{ADJUSTED_AT, Action, CREATED, Event, Kind};
use crate::formats::hasoffers::fields::{FIELDS, Type};
use crate::formats::hasoffers::value::{Day, Moment, Value};

/// The columns of a row in [`Batch`], in order, before the known fields. `partition_day` is not among them.
pub const ID_COLUMNS: [&str; 7] = [
    "network_id",
    "event_id",
    "record_id",
    "tune_event_id",
    "action",
    "adjust_action",
    "event_day",
];

/// Which table a fact belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A row of `events`.
    Original {
        /// The day of the event, or [`Day::CONVERSIONS`].
        partition_day: Day,
    },
    /// A row of `adjustments`.
    Adjustment,
}

/// One event as it is to be stored.
#[derive(Clone, Debug)]
pub struct Fact {
    pub role: Role,
    pub action: Action,
    pub content_hash: [u8; 16],
    /// Missing is the largest.
    pub dispatch_timestamp: i64,
    /// When it happened (an original) or was made (an adjustment), in seconds since 1970.
    pub happened: Option<i64>,
    /// Without `tune_event_id`. As an adjustment it belongs to no record.
    pub standalone: bool,
    pub origin: Origin,
    row: Range<usize>,
    network_id: Range<usize>,
    event_id: Range<usize>,
    record_id: Range<usize>,
}

impl Fact {
    /// The day whose partition it needs.
    pub fn day(&self) -> Option<Day> {
        match self.role {
            Role::Original { partition_day } if partition_day != Day::CONVERSIONS => {
                Some(partition_day)
            }
            Role::Original { .. } | Role::Adjustment => None,
        }
    }
}

/// Where an event stands among the deliveries of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The position of its delivery.
    pub delivery: usize,
    /// Its position in the body, from 0.
    pub event: usize,
}

/// The time of an event whose envelope tells none.
pub const NO_TIMESTAMP: i64 = i64::MAX;

/// Facts and rejects, bounded by number and bytes.
#[derive(Debug)]
pub struct Batch {
    /// The rows, one after the other.
    rows: Vec<u8>,
    facts: Vec<Fact>,
    rejects: Vec<Reject>,
    reject_bytes: usize,
    max_events: usize,
    max_bytes: usize,
    scratch: Vec<u8>,
    pub misfits: u64,
    pub repaired: u64,
}

impl Batch {
    /// A batch that is full at `max_events` events or `max_bytes` bytes of rows and payloads.
    pub fn new(max_events: usize, max_bytes: usize) -> Batch {
        Batch {
            rows: Vec::new(),
            facts: Vec::new(),
            rejects: Vec::new(),
            reject_bytes: 0,
            max_events,
            max_bytes,
            scratch: Vec::new(),
            misfits: 0,
            repaired: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.len() >= self.max_events || self.bytes() >= self.max_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Facts and rejects.
    pub fn len(&self) -> usize {
        self.facts.len() + self.rejects.len()
    }

    /// Bytes of rows and payloads.
    pub fn bytes(&self) -> usize {
        self.rows.len() + self.reject_bytes
    }

    /// Empties it. The memory is kept for the next, but for that of an event beyond all measure.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.rows.shrink_to(self.max_bytes.saturating_mul(2));
        self.scratch.clear();
        self.scratch.shrink_to(self.max_bytes);
        self.facts.clear();
        self.rejects.clear();
        self.reject_bytes = 0;
        self.misfits = 0;
        self.repaired = 0;
    }

    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    pub fn reject(&mut self, reject: Reject) {
        self.reject_bytes += reject.payload.len();
        self.rejects.push(reject);
    }

    pub fn push(&mut self, event: &Event<'_>, origin: Origin) {
        self.misfits += u64::from(event.misfits);
        self.repaired += u64::from(event.repaired);
        let start = self.rows.len();
        let network_id = self.field(event.network_id.as_bytes());
        let event_id = self.field(event.event_id.as_bytes());
        let record_id = self.field(event.record_id().as_bytes());
        match &event.tune_event_id {
            Some(id) => drop(self.field(id.as_bytes())),
            None => self.null(),
        }
        self.field(event.action.as_str().as_bytes());
        match event.kind {
            Kind::Standard => self.null(),
            Kind::Create => drop(self.field(b"create")),
            Kind::Update => drop(self.field(b"update")),
        }
        self.field(&event.event_day.0.to_be_bytes());
        for (value, field) in event.values.iter().zip(&FIELDS) {
            write_value(value, field.kind, &mut self.rows);
        }
        match &event.extra {
            Some(extra) => {
                // Version 1 of binary jsonb: text.
                write_length(extra.len() + 1, &mut self.rows);
                self.rows.push(1);
                self.rows.extend_from_slice(extra.as_bytes());
            }
            None => self.null(),
        }
        let role = match (event.kind, event.action) {
            (Kind::Update, _) => Role::Adjustment,
            (_, Action::Conversion) => Role::Original {
                partition_day: Day::CONVERSIONS,
            },
            (_, Action::Impression | Action::Click) => Role::Original {
                partition_day: event.event_day,
            },
        };
        let happened = match event.values[if event.kind == Kind::Update {
            ADJUSTED_AT
        } else {
            CREATED
        }] {
            Value::Int(seconds) => Some(seconds),
            _ => None,
        };
        self.facts.push(Fact {
            role,
            action: event.action,
            content_hash: content_hash(&self.rows[start..], &mut self.scratch),
            dispatch_timestamp: event.dispatch_timestamp.unwrap_or(NO_TIMESTAMP),
            happened,
            standalone: event.tune_event_id.is_none(),
            origin,
            row: start..self.rows.len(),
            network_id,
            event_id,
            record_id,
        });
    }

    pub fn network_id(&self, fact: &Fact) -> &str {
        self.text(&fact.network_id)
    }

    pub fn event_id(&self, fact: &Fact) -> &str {
        self.text(&fact.event_id)
    }

    pub fn record_id(&self, fact: &Fact) -> &str {
        self.text(&fact.record_id)
    }

    /// The identity of a fact within its table, in the order in which keys are locked.
    pub fn key(&self, fact: &Fact) -> (&[u8], &[u8]) {
        (
            &self.rows[fact.network_id.clone()],
            &self.rows[fact.event_id.clone()],
        )
    }

    /// Its row: the columns of [`ID_COLUMNS`], the known fields and `extra`, each a length and its bytes.
    pub fn row(&self, fact: &Fact) -> &[u8] {
        &self.rows[fact.row.clone()]
    }

    /// Appends one column; where its bytes stand.
    fn field(&mut self, bytes: &[u8]) -> Range<usize> {
        write_length(bytes.len(), &mut self.rows);
        let start = self.rows.len();
        self.rows.extend_from_slice(bytes);
        start..self.rows.len()
    }

    fn null(&mut self) {
        self.rows.extend_from_slice(&NULL);
    }

    /// Ids went in as text and stand there untouched.
    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.rows[range.clone()]).unwrap_or_default()
    }
}

/// How COPY says that a column is NULL.
pub const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// Appends the length of a column. No row is near 2 GiB: a body is bounded by `max_body_bytes`.
pub fn write_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as i32).to_be_bytes());
}

fn write_value(value: &Value<'_>, kind: Type, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(&NULL),
        Value::Text(text) => {
            write_length(text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        // Parsing made sure that the number fits its column.
        Value::Int(number) => match kind {
            Type::SmallInt => write_bytes(&(*number as i16).to_be_bytes(), out),
            Type::Integer => write_bytes(&(*number as i32).to_be_bytes(), out),
            _ => write_bytes(&number.to_be_bytes(), out),
        },
        Value::Amount(amount) => {
            let start = out.len();
            write_length(0, out);
            amount.write_numeric(out);
            let length = (out.len() - start - 4) as i32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Value::Bool(value) => write_bytes(&[u8::from(*value)], out),
        Value::Date(Day(days)) => write_bytes(&days.to_be_bytes(), out),
        Value::Timestamp(Moment(micros)) => write_bytes(&micros.to_be_bytes(), out),
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The hash of a row as it is stored: of each column that is not NULL, its position (`extra`, the last one, is
/// [`u16::MAX`]), its length and its bytes. So a field that becomes a column later changes no hash of a row without it.
fn content_hash(row: &[u8], scratch: &mut Vec<u8>) -> [u8; 16] {
    scratch.clear();
    let mut rest = row;
    let mut column = 0u16;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        rest = tail;
        if *length != NULL {
            let length = i32::from_be_bytes(*length) as usize;
            let position = if length == rest.len() {
                u16::MAX
            } else {
                column
            };
            scratch.extend_from_slice(&position.to_be_bytes());
            scratch.extend_from_slice(&(length as u32).to_be_bytes());
            scratch.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
        column += 1;
    }
    // Nobody who could choose the contents of one id to collide gains by it: a fast hash is enough.
    XxHash3_128::oneshot(scratch).to_be_bytes()
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
