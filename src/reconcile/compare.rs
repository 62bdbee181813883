//! The comparison itself, pure: what a report says and what `stats` says, group by group.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::{Amounts, Dimension, Group, Measure, Value};
use super::report::Report;
use crate::amount::Amount;

/// Differences for which an explanation is looked for. The others are only listed.
pub const EXPLAINED: usize = 1_000;

/// What agrees and what does not.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many groups are in the report or in Hydrant.
    pub groups: usize,
    /// Those that differ, in their order.
    pub differences: Vec<Difference>,
    /// How many rows of the report the others have.
    pub rows_agreeing: usize,
    /// Counts of all groups; money by currency, as far as the report tells currencies apart.
    pub totals: Vec<Total>,
}

/// A group in which something differs.
#[derive(Debug)]
pub struct Difference {
    pub group: Group,
    pub place: Place,
    pub cells: Vec<Cell>,
}

/// Where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In both; its first line in the report.
    Both(u64),
    /// In the report alone.
    Report(u64),
    Hydrant,
}

/// A measure that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub measure: Measure,
    pub report: Amount,
    pub hydrant: Amount,
    /// Hydrant's minus the report's.
    pub difference: Amount,
    /// Another difference of the report that this one may belong to.
    pub mirror: Option<Mirror>,
}

/// A group that has just the opposite difference, and is the same but for one value: something may be counted there instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its place among the differences.
    pub at: usize,
    /// In which it is another group.
    pub dimension: Dimension,
}

/// What a measure adds up to.
#[derive(Debug, PartialEq)]
pub struct Total {
    pub measure: Measure,
    /// Of an amount where the report has currencies.
    pub currency: Option<Value>,
    pub report: Amount,
    pub hydrant: Amount,
    pub difference: Amount,
    /// Of Hydrant's, what is in groups in which all agrees.
    pub agreeing: Amount,
}

/// A group on both sides.
#[derive(Debug)]
pub struct Pair<'a> {
    pub group: &'a Group,
    pub place: Place,
    /// How many rows of the report are of it.
    pub rows: usize,
    pub report: Amounts,
    pub hydrant: Amounts,
}

/// All groups of either side, in their order.
fn pairs<'a>(
    report: &'a Report,
    hydrant: &'a BTreeMap<Group, Amounts>,
) -> impl Iterator<Item = Pair<'a>> {
    let groups: BTreeSet<&Group> = report.groups.keys().chain(hydrant.keys()).collect();
    groups.into_iter().map(move |group| {
        let (theirs, ours) = (report.groups.get(group), hydrant.get(group));
        Pair {
            group,
            place: match (theirs, ours) {
                (Some(sum), Some(_)) => Place::Both(sum.line),
                (Some(sum), None) => Place::Report(sum.line),
                (None, _) => Place::Hydrant,
            },
            rows: theirs.map_or(0, |sum| sum.rows),
            report: theirs.map(|sum| sum.amounts).unwrap_or_default(),
            hydrant: ours.copied().unwrap_or_default(),
        }
    })
}

impl Comparison {
    /// The groups in which all agrees, of the same report and sums. A year's report may have a million, so they are found anew
    /// and not kept.
    pub fn agreeing<'a>(
        &'a self,
        report: &'a Report,
        hydrant: &'a BTreeMap<Group, Amounts>,
    ) -> impl Iterator<Item = Pair<'a>> {
        let mut differing = self.differences.iter().map(|one| &one.group).peekable();
        pairs(report, hydrant).filter(move |pair| differing.next_if_eq(&pair.group).is_none())
    }
}

/// What groups of one currency come to.
#[derive(Default)]
struct Sums {
    report: Amounts,
    hydrant: Amounts,
    agreeing: Amounts,
}

/// Compares, and takes differences up to `tolerance` for none.
///
/// # Errors
/// A sum is beyond any amount.
pub fn compare(
    report: &Report,
    hydrant: &BTreeMap<Group, Amounts>,
    tolerance: Amount,
) -> anyhow::Result<Comparison> {
    let mut found = Comparison::default();
    let mut sums: BTreeMap<Option<Value>, Sums> = BTreeMap::new();
    for pair in pairs(report, hydrant) {
        let mut cells = Vec::new();
        for measure in &report.measures {
            let cell = cell(*measure, &pair.report, &pair.hydrant)?;
            if cell.difference.abs() > tolerance {
                cells.push(cell);
            }
        }
        found.groups += 1;
        let sums = sums
            .entry(currency(&report.dimensions, pair.group))
            .or_default();
        sums.report.add_all(&pair.report)?;
        sums.hydrant.add_all(&pair.hydrant)?;
        if cells.is_empty() {
            found.rows_agreeing += pair.rows;
            sums.agreeing.add_all(&pair.hydrant)?;
        } else {
            found.differences.push(Difference {
                group: pair.group.clone(),
                place: pair.place,
                cells,
            });
        }
    }
    mirror(&report.dimensions, &mut found.differences);
    found.totals = totals(&report.measures, &sums)?;
    Ok(found)
}

fn cell(measure: Measure, report: &Amounts, hydrant: &Amounts) -> anyhow::Result<Cell> {
    let (report, hydrant) = (report.get(measure), hydrant.get(measure));
    let mut difference = Amounts::default();
    difference.add(measure, hydrant)?;
    difference.add(measure, -report)?;
    Ok(Cell {
        measure,
        report,
        hydrant,
        difference: difference.get(measure),
        mirror: None,
    })
}

fn currency(dimensions: &[Dimension], group: &Group) -> Option<Value> {
    let at = dimensions
        .iter()
        .position(|one| *one == Dimension::Currency)?;
    Some(group[at].clone())
}

fn totals(
    measures: &[Measure],
    sums: &BTreeMap<Option<Value>, Sums>,
) -> anyhow::Result<Vec<Total>> {
    let mut all = Sums::default();
    for one in sums.values() {
        all.report.add_all(&one.report)?;
        all.hydrant.add_all(&one.hydrant)?;
        all.agreeing.add_all(&one.agreeing)?;
    }
    let mut totals = Vec::new();
    for measure in measures {
        if !measure.is_money() {
            totals.push(total(*measure, None, &all)?);
            continue;
        }
        for (currency, one) in sums {
            // A currency in which nobody is paid has only clicks.
            if !one.report.get(*measure).is_zero() || !one.hydrant.get(*measure).is_zero() {
                totals.push(total(*measure, currency.clone(), one)?);
            }
        }
    }
    Ok(totals)
}

fn total(measure: Measure, currency: Option<Value>, sums: &Sums) -> anyhow::Result<Total> {
    let cell = cell(measure, &sums.report, &sums.hydrant)?;
    Ok(Total {
        measure,
        currency,
        report: cell.report,
        hydrant: cell.hydrant,
        difference: cell.difference,
        agreeing: sums.agreeing.get(measure),
    })
}

/// Finds for each cell of the first differences another one that differs by the opposite, in a group that is the same but for
/// one value.
fn mirror(dimensions: &[Dimension], differences: &mut [Difference]) {
    type Rest = (usize, Group, Measure, Amount);
    fn rest(group: &Group, without: usize, measure: Measure, difference: Amount) -> Rest {
        let mut group = group.clone();
        group.remove(without);
        (without, group, measure, difference)
    }
    // Of a report that is another network's a million may differ: only what is looked for is remembered.
    let mut wanted: HashMap<Rest, Option<usize>> = HashMap::new();
    for one in differences.iter().take(EXPLAINED) {
        for cell in &one.cells {
            for without in 0..dimensions.len() {
                let key = rest(&one.group, without, cell.measure, -cell.difference);
                wanted.insert(key, None);
            }
        }
    }
    for (at, one) in differences.iter().enumerate() {
        for cell in &one.cells {
            for without in 0..dimensions.len() {
                let key = rest(&one.group, without, cell.measure, cell.difference);
                if let Some(found) = wanted.get_mut(&key) {
                    found.get_or_insert(at);
                }
            }
        }
    }
    for one in differences.iter_mut().take(EXPLAINED) {
        for cell in &mut one.cells {
            cell.mirror = (0..dimensions.len()).find_map(|without| {
                let key = rest(&one.group, without, cell.measure, -cell.difference);
                let at = (*wanted.get(&key)?)?;
                Some(Mirror {
                    at,
                    dimension: dimensions[without],
                })
            });
        }
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
