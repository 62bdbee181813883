//! What could explain a difference: the facts of its group and of the days beside it, looked at one by one. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::{Amounts, Dimension, Group, Measure, Value};
use super::compare::Difference;
use super::fact::{Fact, Mark};
use crate::formats::value::Day;

/// How many records are named for one reason.
pub const NAMED: usize = 5;

/// Why a record is worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is marked.
    Marked(Mark),
    /// The difference would be gone if it counted the other way.
    Alone,
    /// It counts in the day or hour beside, and the difference would be gone if it counted here: is it a matter of time
    /// zones?
    Beside,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Marked(mark) => mark.as_str(),
            Reason::Alone => "equals_difference",
            Reason::Beside => "day_or_hour_beside",
        }
    }
}

/// What was found for one difference.
#[derive(Debug, Default)]
pub struct Evidence {
    /// What facts of the group with a mark come to.
    pub apart: BTreeMap<Mark, Apart>,
    pub records: BTreeMap<Reason, Records>,
}

/// What facts with one mark come to.
#[derive(Debug, Default)]
pub struct Apart {
    pub facts: u64,
    /// What they count, or would count.
    pub amounts: Amounts,
    /// What `stats` would lose if they counted the other way.
    pub effect: Amounts,
}

/// Records with one reason.
#[derive(Debug, Default)]
pub struct Records {
    pub count: u64,
    /// The first few, those first that explain most.
    pub first: Vec<Clue>,
}

/// A record with what it explains.
#[derive(Debug)]
pub struct Clue {
    pub fact: Fact,
    /// The measures of which the difference would be gone.
    pub mends: Vec<Measure>,
}

/// What is compared.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub dimensions: &'a [Dimension],
    pub measures: &'a [Measure],
    pub since: Day,
    pub until: Day,
}

/// Looks at facts for differences.
pub struct Search<'a> {
    scope: Scope<'a>,
    differences: &'a [Difference],
    by_group: HashMap<&'a Group, usize>,
    found: Vec<Evidence>,
}

impl<'a> Search<'a> {
    pub fn new(scope: Scope<'a>, differences: &'a [Difference]) -> Search<'a> {
        let groups = differences.iter().enumerate();
        Search {
            scope,
            differences,
            by_group: groups.map(|(at, one)| (&one.group, at)).collect(),
            found: differences.iter().map(|_| Evidence::default()).collect(),
        }
    }

    /// The days whose facts are worth a look; all where the report does not go by day.
    pub fn days(&self) -> Option<BTreeSet<Day>> {
        let days = self
            .differences
            .iter()
            .map(|one| self.scope.day(&one.group));
        let days: Option<Vec<Day>> = days.collect();
        let beside = days?
            .into_iter()
            .flat_map(|day| [day.plus(-1), day, day.plus(1)]);
        Some(beside.collect())
    }

    /// Looks at one fact.
    ///
    /// # Errors
    /// A sum is beyond any amount.
    pub fn see(&mut self, fact: &Fact) -> anyhow::Result<()> {
        let effect = fact.effect();
        if let Some(at) = self.by_group.get(&fact.group).copied() {
            let mends = self.scope.mends(&self.differences[at], &effect);
            for mark in &fact.marks {
                let apart = self.found[at].apart.entry(*mark).or_default();
                apart.facts += 1;
                apart.amounts.add_all(&fact.amounts)?;
                apart.effect.add_all(&effect)?;
                self.name(at, Reason::Marked(*mark), fact, &mends);
            }
            if !mends.is_empty() {
                self.name(at, Reason::Alone, fact, &mends);
            }
        }
        if fact.counts {
            self.see_beside(fact, &effect);
        }
        Ok(())
    }

    /// A fact that would have to count in a group beside its own explains that only if its own has too much of it, as far as
    /// that was compared.
    fn see_beside(&mut self, fact: &Fact, effect: &Amounts) {
        let is_too_much = match self.by_group.get(&fact.group) {
            Some(at) => !self.scope.mends(&self.differences[*at], effect).is_empty(),
            None => !self.scope.is_compared(&fact.group),
        };
        if !is_too_much {
            return;
        }
        for group in self.scope.beside(&fact.group) {
            let Some(at) = self.by_group.get(&group).copied() else {
                continue;
            };
            let mends = self.scope.mends(&self.differences[at], &effect.negated());
            if !mends.is_empty() {
                self.name(at, Reason::Beside, fact, &mends);
            }
        }
    }

    fn name(&mut self, at: usize, reason: Reason, fact: &Fact, mends: &[Measure]) {
        let records = self.found[at].records.entry(reason).or_default();
        records.count += 1;
        records.first.push(Clue {
            fact: fact.clone(),
            mends: mends.to_vec(),
        });
        // What explains most comes first, then what is nearest to midnight.
        records.first.sort_by_key(|clue| {
            let hour = clue.fact.hour.unwrap_or(12);
            (Measure::ALL.len() - clue.mends.len(), hour.min(23 - hour))
        });
        records.first.truncate(NAMED);
    }

    /// What was found for each difference, in their order.
    pub fn finish(self) -> Vec<Evidence> {
        self.found
    }
}

impl Scope<'_> {
    /// The measures of which the difference would be gone if `stats` lost this. None where another one that agrees would not
    /// agree any more; and where amounts of money differ, a number of events alone explains nothing.
    pub fn mends(&self, difference: &Difference, lost: &Amounts) -> Vec<Measure> {
        let cells = &difference.cells;
        let differs = |measure: Measure| cells.iter().any(|cell| cell.measure == measure);
        let spoils = self
            .measures
            .iter()
            .any(|measure| !differs(*measure) && !lost.get(*measure).is_zero());
        let mended = cells
            .iter()
            .filter(|cell| lost.get(cell.measure) == cell.difference);
        let mended: Vec<Measure> = mended.map(|cell| cell.measure).collect();
        let is_about_money = cells.iter().any(|cell| cell.measure.is_money());
        let mends_money = mended.iter().any(|measure| measure.is_money());
        if spoils || (is_about_money && !mends_money) {
            return Vec::new();
        }
        mended
    }

    fn position(&self, wanted: Dimension) -> Option<usize> {
        self.dimensions.iter().position(|one| *one == wanted)
    }

    /// None where the report does not go by day.
    pub fn day(&self, group: &Group) -> Option<Day> {
        match group[self.position(Dimension::Date)?] {
            Value::Day(day) => Some(day),
            _ => None,
        }
    }

    fn is_compared(&self, group: &Group) -> bool {
        let day = self.day(group);
        day.is_none_or(|day| (self.since..=self.until).contains(&day))
    }

    /// The same group an hour before and after, or a day where the report does not go by hour.
    fn beside(&self, group: &Group) -> Vec<Group> {
        let (Some(date), Some(day)) = (self.position(Dimension::Date), self.day(group)) else {
            return Vec::new();
        };
        let moved = |day: Day, hour: Option<(usize, i64)>| {
            let mut group = group.clone();
            group[date] = Value::Day(day);
            if let Some((at, hour)) = hour {
                group[at] = Value::Number(hour);
            }
            group
        };
        let Some(at) = self.position(Dimension::Hour) else {
            return vec![moved(day.plus(-1), None), moved(day.plus(1), None)];
        };
        let Value::Number(hour) = group[at] else {
            return Vec::new();
        };
        let before = if hour == 0 {
            (day.plus(-1), 23)
        } else {
            (day, hour - 1)
        };
        let after = if hour == 23 {
            (day.plus(1), 0)
        } else {
            (day, hour + 1)
        };
        [before, after]
            .map(|(day, hour)| moved(day, Some((at, hour))))
            .to_vec()
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
