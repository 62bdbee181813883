//! What is worked out before a transaction begins: which rows go to which table, one for each key, in the order in which
//! keys are locked.

use std::collections::BTreeMap;

use super::batch::{Batch, Fact, Role};
use super::partitions::{Leaf, Partitions};
use crate::formats::Reject;

/// The part of a batch that one transaction writes.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    pub batch: &'a Batch,
    /// Positions in [`Batch::facts`].
    pub facts: Vec<usize>,
    pub rejects: &'a [Reject],
}

impl<'a> Part<'a> {
    pub fn whole(batch: &'a Batch) -> Part<'a> {
        Part {
            batch,
            facts: (0..batch.facts().len()).collect(),
            rejects: batch.rejects(),
        }
    }

    /// One fact of a batch, by its position.
    pub fn of_one(batch: &'a Batch, fact: usize) -> Part<'a> {
        Part {
            batch,
            facts: vec![fact],
            rejects: &[],
        }
    }

    pub fn len(&self) -> usize {
        self.facts.len() + self.rejects.len()
    }

    /// Two parts, each smaller than this one. The rejects come first: they stand apart from the facts as long as they can.
    pub fn halves(mut self) -> (Part<'a>, Part<'a>) {
        let (mut facts, mut rejects) = (self.facts.len() / 2, self.rejects.len() / 2);
        if !self.facts.is_empty() && !self.rejects.is_empty() {
            (facts, rejects) = (0, self.rejects.len());
        }
        let other = Part {
            batch: self.batch,
            facts: self.facts.split_off(facts),
            rejects: &self.rejects[rejects..],
        };
        (
            Part {
                rejects: &self.rejects[..rejects],
                ..self
            },
            other,
        )
    }
}

/// The table of a group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Events(Leaf),
    Adjustments,
}

impl Table {
    pub fn name(self) -> String {
        match self {
            Table::Events(leaf) => leaf.table(),
            Table::Adjustments => "adjustments".to_owned(),
        }
    }

    /// The `role` of its losers in `event_variants`.
    pub fn role(self) -> &'static str {
        match self {
            Table::Events(_) => "original",
            Table::Adjustments => "adjustment",
        }
    }
}

/// One content of an event, with the least time of its deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    pub fact: &'a Fact,
    pub dispatch_timestamp: i64,
}

impl Version<'_> {
    /// The least wins, whatever came first.
    pub fn rank(&self) -> (i64, [u8; 16]) {
        (self.dispatch_timestamp, self.fact.content_hash)
    }
}

/// Everything that the batch has for one key of one table.
#[derive(Debug)]
pub struct Row<'a> {
    pub winner: Version<'a>,
    /// Other contents of the same id.
    pub losers: Vec<Version<'a>>,
}

impl<'a> Row<'a> {
    pub fn versions(&self) -> impl Iterator<Item = Version<'a>> {
        std::iter::once(self.winner).chain(self.losers.iter().copied())
    }
}

/// The rows of one table, sorted by key.
#[derive(Debug)]
pub struct Group<'a> {
    pub table: Table,
    pub rows: Vec<Row<'a>>,
}

/// What one transaction writes, in order: the leaves of `events` one after the other, then `adjustments`.
#[derive(Debug)]
pub struct Plan<'a> {
    pub batch: &'a Batch,
    pub groups: Vec<Group<'a>>,
    /// Facts that another fact of the same part repeats.
    pub repeated: u64,
    pub rejects: &'a [Reject],
}

impl<'a> Plan<'a> {
    /// Sorts on every path, so that no two writers can wait for each other: by table, then by the bytes of the key.
    pub fn new(part: &Part<'a>, partitions: &Partitions) -> Plan<'a> {
        let batch = part.batch;
        let mut tables: BTreeMap<Table, Vec<&Fact>> = BTreeMap::new();
        for position in &part.facts {
            let fact = &batch.facts()[*position];
            let table = match fact.role {
                Role::Original { partition_day } => Table::Events(partitions.leaf(partition_day)),
                Role::Adjustment => Table::Adjustments,
            };
            tables.entry(table).or_default().push(fact);
        }
        let mut repeated = 0;
        let groups = tables
            .into_iter()
            .map(|(table, mut facts)| {
                facts.sort_by(|a, b| batch.key(a).cmp(&batch.key(b)));
                let rows = facts
                    .chunk_by(|a, b| batch.key(a) == batch.key(b))
                    .map(|same_key| one_row(same_key, &mut repeated))
                    .collect();
                Group { table, rows }
            })
            .collect();
        Plan {
            batch,
            groups,
            repeated,
            rejects: part.rejects,
        }
    }
}

/// Reduces the facts of one key to their contents, each with its least time.
fn one_row<'a>(facts: &[&'a Fact], repeated: &mut u64) -> Row<'a> {
    let mut versions: Vec<Version<'a>> = Vec::with_capacity(1);
    for fact in facts {
        let time = fact.dispatch_timestamp;
        match versions
            .iter_mut()
            .find(|v| v.fact.content_hash == fact.content_hash)
        {
            Some(same) => {
                same.dispatch_timestamp = same.dispatch_timestamp.min(time);
                *repeated += 1;
            }
            None => versions.push(Version {
                fact,
                dispatch_timestamp: time,
            }),
        }
    }
    versions.sort_by_key(Version::rank);
    let winner = versions.remove(0);
    Row {
        winner,
        losers: versions,
    }
}
