//! What is worked out before a transaction begins: which rows go to which table, one for each key, in the order in which
//! keys are locked.

use std::collections::BTreeMap;
use std::ops::Range;

use super::batch::{Batch, Fact, Item, Role};
use super::claims::KeyHash;
use super::documents::Document;
use super::partitions::{Leaf, Partitions};
use super::positions::Checkpoint;
use crate::formats::Reject;
use crate::formats::value::Day;

/// The part of a batch that one transaction writes.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    pub batch: &'a Batch,
    /// Positions in [`Batch::facts`].
    pub facts: Vec<usize>,
    /// Positions in [`Batch::documents`].
    pub documents: Range<usize>,
    pub rejects: &'a [Reject],
    /// Saved along with it: of the parts of a batch, the last has it.
    pub checkpoint: Option<&'a Checkpoint>,
}

impl<'a> Part<'a> {
    pub fn whole(batch: &'a Batch) -> Part<'a> {
        Part {
            batch,
            facts: (0..batch.facts().len()).collect(),
            documents: 0..batch.documents().len(),
            rejects: batch.rejects(),
            checkpoint: batch.checkpoint.as_ref(),
        }
    }

    /// The checkpoint of a batch alone.
    pub fn of_checkpoint(batch: &'a Batch) -> Part<'a> {
        Part {
            batch,
            facts: Vec::new(),
            documents: 0..0,
            rejects: &[],
            checkpoint: batch.checkpoint.as_ref(),
        }
    }

    /// One thing of a batch.
    pub fn of_one(batch: &'a Batch, item: Item) -> Part<'a> {
        let (facts, documents) = match item {
            Item::Fact(at) => (vec![at], 0..0),
            Item::Document(at) => (Vec::new(), at..at + 1),
        };
        Part {
            batch,
            facts,
            documents,
            rejects: &[],
            checkpoint: None,
        }
    }

    pub fn len(&self) -> usize {
        self.facts.len() + self.documents.len() + self.rejects.len()
    }

    /// The one fact or document that it consists of.
    pub fn only_item(&self) -> Option<Item> {
        match (self.len(), self.facts.first(), self.documents.len()) {
            (1, Some(at), _) => Some(Item::Fact(*at)),
            (1, None, 1) => Some(Item::Document(self.documents.start)),
            _ => None,
        }
    }

    /// The keys of its facts, for [`super::claims`].
    pub fn keys(&self) -> Vec<KeyHash> {
        let facts = self.facts.iter();
        facts.map(|at| self.batch.key_hash(*at)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.checkpoint.is_none()
    }

    /// The facts whose key is of a kind, with the documents and the rejects, and the other facts. What has the same key stays
    /// together.
    pub fn split(self, is_first: impl Fn(KeyHash) -> bool) -> (Part<'a>, Part<'a>) {
        let batch = self.batch;
        let facts = self.facts.into_iter();
        let (first, others): (Vec<_>, _) = facts.partition(|at| is_first(batch.key_hash(*at)));
        let (in_first, in_others) = if others.is_empty() {
            (self.checkpoint, None)
        } else {
            (None, self.checkpoint)
        };
        (
            Part {
                batch,
                facts: first,
                documents: self.documents,
                rejects: self.rejects,
                checkpoint: in_first,
            },
            Part {
                batch,
                facts: others,
                documents: 0..0,
                rejects: &[],
                checkpoint: in_others,
            },
        )
    }

    /// Two parts, each smaller than this one. The rejects come first, then the documents: they stand apart from each other
    /// and from the facts as long as they can.
    pub fn halves(mut self) -> (Part<'a>, Part<'a>) {
        let kinds = [
            !self.rejects.is_empty(),
            !self.documents.is_empty(),
            !self.facts.is_empty(),
        ];
        let (mut rejects, mut documents, mut facts) = (self.rejects.len(), self.documents.start, 0);
        match kinds {
            [true, false, false] => rejects /= 2,
            [false, true, false] => documents += self.documents.len() / 2,
            [false, false, true] => facts = self.facts.len() / 2,
            [true, _, _] => {}
            [false, _, _] => documents = self.documents.end,
        }
        let other = Part {
            batch: self.batch,
            facts: self.facts.split_off(facts),
            documents: documents..self.documents.end,
            rejects: &self.rejects[rejects..],
            checkpoint: self.checkpoint,
        };
        (
            Part {
                documents: self.documents.start..documents,
                rejects: &self.rejects[..rejects],
                checkpoint: None,
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

/// What one transaction writes, in order: the leaves of `events` one after the other, then `adjustments`, then documents.
#[derive(Debug)]
pub struct Plan<'a> {
    pub batch: &'a Batch,
    pub groups: Vec<Group<'a>>,
    /// Facts that another fact of the same part repeats.
    pub repeated: u64,
    pub documents: Vec<&'a Document>,
    pub rejects: &'a [Reject],
    pub checkpoint: Option<&'a Checkpoint>,
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
            documents: batch.documents()[part.documents.clone()].iter().collect(),
            rejects: part.rejects,
            checkpoint: part.checkpoint,
        }
    }

    /// The days whose tables it uses.
    pub fn days(&self) -> Vec<Day> {
        let leaves = self.groups.iter().map(|group| group.table);
        leaves
            .filter_map(|table| match table {
                Table::Events(Leaf::Day(day)) => Some(day),
                _ => None,
            })
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PartitionBy;
    use crate::formats::hasoffers::Body;

    /// Two writers that add the same keys in two orders wait for each other for ever.
    #[test]
    fn rows_stand_in_the_order_of_their_keys_whatever_the_order_of_the_batch() {
        let partitions = Partitions::new(PartitionBy::None);
        for count in 2..12 {
            for rotation in 0..count {
                let mut ids: Vec<u32> = (0..count).collect();
                ids.rotate_left(rotation as usize);
                if rotation % 2 == 1 {
                    ids.reverse();
                }
                let events: Vec<String> = ids
                    .iter()
                    .flat_map(|id| {
                        let update = r#""adjust_action":"update","tune_event_id":"t","#;
                        ["", update]
                            .map(|of| format!(r#"{{"event_id":"{id}",{of}"action":"conversion"}}"#))
                    })
                    .collect();
                let body = format!(r#"{{"network_id":"n","data":[{}]}}"#, events.join(","));
                let mut batch = Batch::new(100, 1 << 20);
                let mut body = Body::open(body.as_bytes(), 1 << 20, None).unwrap();
                assert!(body.read_into(&mut batch, 0, "message"));
                let plan = Plan::new(&Part::whole(&batch), &partitions);
                assert_eq!(plan.groups.len(), 2);
                for group in &plan.groups {
                    assert_eq!(group.rows.len(), ids.len());
                    let keys: Vec<_> = group
                        .rows
                        .iter()
                        .map(|row| batch.key(row.winner.fact))
                        .collect();
                    assert!(keys.is_sorted(), "{keys:?}");
                }
            }
        }
    }
}
