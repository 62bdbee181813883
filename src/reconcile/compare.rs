//! The comparison itself, pure: what a report says and what `stats` says, group by group.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::{Amounts, Dimension, Group, Measure, Value};
use super::report::{Report, Sum};
use crate::amount::Amount;

/// What agrees and what does not.
#[derive(Debug)]
pub struct Comparison {
    /// How many groups are in the report or in Hydrant.
    pub groups: usize,
    /// Those that differ, in their order.
    pub differences: Vec<Difference>,
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
    let (nothing, no_amounts) = (Sum::default(), Amounts::default());
    let groups: BTreeSet<&Group> = report.groups.keys().chain(hydrant.keys()).collect();
    let mut differences = Vec::new();
    let mut totals = BTreeMap::new();
    for group in &groups {
        let (theirs, ours) = (report.groups.get(*group), hydrant.get(*group));
        let place = match (theirs, ours) {
            (Some(sum), Some(_)) => Place::Both(sum.line),
            (Some(sum), None) => Place::Report(sum.line),
            (None, _) => Place::Hydrant,
        };
        let theirs = theirs.unwrap_or(&nothing).amounts;
        let ours = *ours.unwrap_or(&no_amounts);
        let mut cells = Vec::new();
        for measure in &report.measures {
            let cell = cell(*measure, &theirs, &ours)?;
            if cell.difference.abs() > tolerance {
                cells.push(cell);
            }
        }
        if !cells.is_empty() {
            differences.push(Difference {
                group: (*group).clone(),
                place,
                cells,
            });
        }
        let currency = currency(&report.dimensions, group);
        let (of_report, of_hydrant): &mut (Amounts, Amounts) = totals.entry(currency).or_default();
        of_report.add_all(&theirs)?;
        of_hydrant.add_all(&ours)?;
    }
    mirror(&report.dimensions, &mut differences);
    Ok(Comparison {
        groups: groups.len(),
        differences,
        totals: list(&report.measures, &totals)?,
    })
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

fn list(
    measures: &[Measure],
    sums: &BTreeMap<Option<Value>, (Amounts, Amounts)>,
) -> anyhow::Result<Vec<Total>> {
    let (mut of_report, mut of_hydrant) = (Amounts::default(), Amounts::default());
    for (report, hydrant) in sums.values() {
        of_report.add_all(report)?;
        of_hydrant.add_all(hydrant)?;
    }
    let mut totals = Vec::new();
    let mut total = |measure, currency, report, hydrant| {
        let cell = cell(measure, report, hydrant)?;
        totals.push(Total {
            measure,
            currency,
            report: cell.report,
            hydrant: cell.hydrant,
            difference: cell.difference,
        });
        anyhow::Ok(())
    };
    for measure in measures {
        if !measure.is_money() {
            total(*measure, None, &of_report, &of_hydrant)?;
            continue;
        }
        for (currency, (report, hydrant)) in sums {
            // A currency in which nobody is paid has only clicks.
            if !report.get(*measure).is_zero() || !hydrant.get(*measure).is_zero() {
                total(*measure, currency.clone(), report, hydrant)?;
            }
        }
    }
    Ok(totals)
}

/// Finds for each cell that differs another one that differs by the opposite, in a group that is the same but for one value.
fn mirror(dimensions: &[Dimension], differences: &mut [Difference]) {
    type Rest = (usize, Group, Measure, Amount);
    fn rest(group: &Group, without: usize, cell: &Cell, difference: Amount) -> Rest {
        let mut group = group.clone();
        group.remove(without);
        (without, group, cell.measure, difference)
    }
    let mut by_rest: HashMap<Rest, usize> = HashMap::new();
    for (at, one) in differences.iter().enumerate() {
        for cell in &one.cells {
            for without in 0..dimensions.len() {
                let key = rest(&one.group, without, cell, cell.difference);
                by_rest.entry(key).or_insert(at);
            }
        }
    }
    for one in differences {
        for cell in &mut one.cells {
            cell.mirror = (0..dimensions.len()).find_map(|without| {
                let key = rest(&one.group, without, cell, -cell.difference);
                let at = *by_rest.get(&key)?;
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
