//! A fact as a reason for a difference.

use super::columns::{Amounts, Group, Value};

/// What makes a fact a reason to look at it where sums differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// An adjustment whose conversion is not here. It counts.
    Orphan,
    /// A conversion that waits for approval. It does not count.
    Pending,
    /// A conversion that was rejected and never counted.
    Rejected,
    /// A conversion or adjustment with a status code of TUNE's tests (21 to 23).
    Test,
    /// An adjustment with `update_stats` = false. It does not count.
    Withheld,
    /// Another original of a record that has one. It counts.
    Duplicate,
    /// Another content of an event's id, which lost. It does not count.
    Variant,
}

impl Mark {
    pub const ALL: [Mark; 7] = [
        Mark::Orphan,
        Mark::Pending,
        Mark::Rejected,
        Mark::Test,
        Mark::Withheld,
        Mark::Duplicate,
        Mark::Variant,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Mark::Orphan => "orphan",
            Mark::Pending => "pending",
            Mark::Rejected => "rejected",
            Mark::Test => "test",
            Mark::Withheld => "update_stats_false",
            Mark::Duplicate => "duplicate_original",
            Mark::Variant => "variant",
        }
    }

    /// The mark of this name.
    pub fn named(name: &str) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| mark.as_str() == name)
    }
}

/// A conversion, an adjustment, or a variant of one.
#[derive(Clone, Debug)]
pub struct Fact {
    pub group: Group,
    pub record_id: String,
    pub event_id: String,
    /// `original`, `adjustment` or `variant`.
    pub kind: String,
    pub hour: Option<i64>,
    pub counts: bool,
    pub marks: Vec<Mark>,
    /// What it counts, or would count.
    pub amounts: Amounts,
}

/// What the facts with one mark come to in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub mark: Mark,
    pub counts: bool,
    pub currency: Value,
    pub facts: i64,
    /// What they count, or would count.
    pub amounts: Amounts,
}

impl Fact {
    /// What makes it one and not another.
    pub fn id(&self) -> (&str, &str) {
        (&self.kind, &self.event_id)
    }

    /// What `stats` would lose if the fact counted the other way: what counts is left out, what does not is taken in.
    pub fn effect(&self) -> Amounts {
        if self.counts {
            self.amounts
        } else {
            self.amounts.negated()
        }
    }
}
