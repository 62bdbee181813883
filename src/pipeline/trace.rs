//! What traces show of a batch: a span from its first delivery until it is let go of, and its steps below it. Where nobody
//! takes traces they are never made. Never a payload, an address or an id in a field.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::store::Tally;

/// The span of a batch. Its fields are known when it ends.
#[derive(Debug)]
pub struct Trace {
    batch: Span,
    messages: u64,
    quarantined: u64,
    tally: Tally,
}

impl Trace {
    pub fn new(source: &str) -> Trace {
        let batch = info_span!(
            parent: None,
            "batch",
            source,
            messages = Empty,
            stored = Empty,
            adjustments = Empty,
            duplicates = Empty,
            variants = Empty,
            quarantined = Empty,
        );
        Trace {
            batch,
            messages: 0,
            quarantined: 0,
            tally: Tally::default(),
        }
    }

    pub fn received(&mut self) {
        self.messages += 1;
    }

    /// Takes note of what a transaction came to.
    pub fn committed(&mut self, tally: Tally, quarantined: u64) {
        self.tally += tally;
        self.quarantined += quarantined;
    }

    /// A step, for as long as what this gives is kept.
    pub fn decode(&self) -> Span {
        info_span!(parent: &self.batch, "decode")
    }

    pub fn store(&self, events: usize) -> Span {
        info_span!(parent: &self.batch, "store", events = number(events as u64))
    }

    pub fn delete(&self, messages: usize) -> Span {
        info_span!(parent: &self.batch, "delete", messages = number(messages as u64))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if self.batch.is_disabled() {
            return;
        }
        let tally = &self.tally;
        let numbers = [
            ("messages", self.messages),
            ("stored", tally.stored),
            ("adjustments", tally.adjustments),
            ("duplicates", tally.duplicates),
            ("variants", tally.variants),
            ("quarantined", self.quarantined),
        ];
        for (name, count) in numbers {
            self.batch.record(name, number(count));
        }
    }
}

/// As traces have numbers. They have none without a sign: of such a one they would make text.
fn number(count: u64) -> i64 {
    count.cast_signed()
}
