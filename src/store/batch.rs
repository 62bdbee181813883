//! What one transaction writes: facts as rows in Postgres' binary form, documents of the other feeds, and rejects for
//! quarantine.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHasher;

use super::claims::KeyHash;
use super::documents::Document;
use super::positions::Checkpoint;
pub use super::row::{NULL, write_length};
use super::row::{RowWriter, column};
use crate::formats::Reject;
use crate::formats::hasoffers::event::{ADJUSTED_AT, Action, CREATED, Event, Kind};
use crate::formats::hasoffers::fields::FIELDS;
use crate::formats::value::{Day, Value};

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

/// One thing of a batch that is stored or refused by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A position in [`Batch::facts`].
    Fact(usize),
    /// A position in [`Batch::documents`].
    Document(usize),
}

/// The time of an event whose envelope tells none.
pub const NO_TIMESTAMP: i64 = i64::MAX;

/// Facts, documents and rejects, bounded by number and bytes.
#[derive(Debug)]
pub struct Batch {
    /// The rows, one after the other.
    rows: Vec<u8>,
    facts: Vec<Fact>,
    documents: Vec<Document>,
    document_bytes: usize,
    rejects: Vec<Reject>,
    reject_bytes: usize,
    filed_under: Option<Arc<str>>,
    /// How far its source was read when all of it is stored.
    pub checkpoint: Option<Checkpoint>,
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
            documents: Vec::new(),
            document_bytes: 0,
            rejects: Vec::new(),
            reject_bytes: 0,
            filed_under: None,
            checkpoint: None,
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

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.checkpoint.is_none()
    }

    /// Facts, documents and rejects.
    pub fn len(&self) -> usize {
        self.events() + self.rejects.len()
    }

    /// Facts and documents.
    pub fn events(&self) -> usize {
        self.facts.len() + self.documents.len()
    }

    /// Facts and documents of one delivery.
    pub fn events_of(&self, delivery: usize) -> usize {
        let facts = self.facts.iter().map(|fact| fact.origin);
        let documents = self.documents.iter().map(|document| document.origin);
        facts
            .chain(documents)
            .filter(|origin| origin.delivery == delivery)
            .count()
    }

    /// Bytes of rows and payloads.
    pub fn bytes(&self) -> usize {
        self.rows.len() + self.document_bytes + self.reject_bytes
    }

    /// Empties it. The memory is kept for the next, but for that of an event beyond all measure.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.rows.shrink_to(self.max_bytes.saturating_mul(2));
        self.scratch.clear();
        self.scratch.shrink_to(self.max_bytes);
        self.facts.clear();
        self.documents.clear();
        self.document_bytes = 0;
        self.rejects.clear();
        self.reject_bytes = 0;
        self.filed_under = None;
        self.checkpoint = None;
        self.misfits = 0;
        self.repaired = 0;
    }

    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    pub fn add_document(&mut self, document: Document) {
        self.document_bytes += document.bytes();
        self.documents.push(document);
    }

    /// Where a thing of this batch stood.
    pub fn origin(&self, item: Item) -> Origin {
        match item {
            Item::Fact(at) => self.facts[at].origin,
            Item::Document(at) => self.documents[at].origin,
        }
    }

    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    /// What is rejected from here on has this source in quarantine: the source that writes the batch, or a route of it.
    pub fn file_under(&mut self, source: &Arc<str>) {
        self.filed_under = Some(Arc::clone(source));
    }

    pub fn reject(&mut self, mut reject: Reject) {
        reject.source = reject.source.or_else(|| self.filed_under.clone());
        self.reject_bytes += reject.payload.len();
        self.rejects.push(reject);
    }

    pub fn push(&mut self, event: &Event<'_>, origin: Origin) {
        self.misfits += u64::from(event.misfits);
        self.repaired += u64::from(event.repaired);
        let start = self.rows.len();
        let mut row = RowWriter::new(&mut self.rows, &mut self.scratch);
        let network_id = row.bytes(event.network_id.as_bytes());
        let event_id = row.bytes(event.event_id.as_bytes());
        let record_id = row.bytes(event.record_id().as_bytes());
        match &event.tune_event_id {
            Some(id) => drop(row.bytes(id.as_bytes())),
            None => row.null(),
        }
        row.bytes(event.action.as_str().as_bytes());
        match event.kind {
            Kind::Standard => row.null(),
            Kind::Create => drop(row.bytes(b"create")),
            Kind::Update => drop(row.bytes(b"update")),
        }
        row.fixed(event.event_day.0.to_be_bytes());
        let kinds = FIELDS.iter().map(|field| field.kind);
        row.values(event.values.iter().zip(kinds));
        let content_hash = row.finish(event.extra.as_deref());
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
            content_hash,
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

    /// What its facts and documents are called, for people.
    pub fn names(&self) -> Vec<String> {
        let facts = self.facts.iter();
        let facts = facts.map(|fact| format!("{} {}", fact.action.as_str(), self.event_id(fact)));
        let documents = self.documents.iter();
        let documents =
            documents.map(|document| format!("{} {}", document.event_type, document.id()));
        facts.chain(documents).collect()
    }

    /// Its role and key, for [`super::claims`].
    pub fn key_hash(&self, fact: usize) -> KeyHash {
        let fact = &self.facts[fact];
        let mut hasher = FxHasher::default();
        (fact.role == Role::Adjustment, self.key(fact)).hash(&mut hasher);
        hasher.finish()
    }

    /// Its row: the columns of [`ID_COLUMNS`], the known fields and `extra`, each a length and its bytes.
    pub fn row(&self, fact: &Fact) -> &[u8] {
        &self.rows[fact.row.clone()]
    }

    /// The columns of its row, one after the other; `None` for NULL.
    pub fn columns(&self, fact: &Fact) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.row(fact);
        std::iter::from_fn(move || {
            let (value, behind) = column(rest)?;
            rest = behind;
            Some(value)
        })
    }

    /// Ids went in as text and stand there untouched.
    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.rows[range.clone()]).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
