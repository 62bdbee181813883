//! What there is to say about a report, and about differences of any group.

use crate::amount::Amount;
use crate::reconcile::columns::{Dimension, Measure};
use crate::reconcile::compare::{Comparison, EXPLAINED};
use crate::reconcile::evidence::Scope;
use crate::reconcile::report::{Column, Field, Report};
use crate::store::reconcile::Snapshot;

/// What is odd about the report itself: a row of totals that its rows do not come to.
pub fn of_totals(report: &Report, tolerance: Amount) -> anyhow::Result<Vec<String>> {
    let Some(total) = &report.total else {
        return Ok(Vec::new());
    };
    let at = report
        .dimensions
        .iter()
        .position(|one| *one == Dimension::Currency);
    let mut currencies: Vec<_> = report
        .groups
        .keys()
        .filter_map(|group| group.get(at?))
        .collect();
    currencies.sort();
    currencies.dedup();
    let sum = report.sum()?;
    let mut notes = Vec::new();
    for measure in &report.measures {
        // TUNE converts the total of several currencies.
        if measure.is_money() && currencies.len() > 1 {
            continue;
        }
        let (said, come_to) = (total.get(*measure), sum.get(*measure));
        let is_close = said
            .checked_add(-come_to)
            .is_some_and(|difference| difference.abs() <= tolerance);
        if !is_close {
            notes.push(format!(
                "the report's row of totals says {} {said}, its rows come to {come_to}: is it cut off, or rounded?",
                measure.as_str()
            ));
        }
    }
    Ok(notes)
}

/// Which of the amounts that partners are paid from were not compared, where a column that is not looked at could be one, and
/// nobody left it out on purpose: what is called otherwise must not pass for what agrees.
pub fn of_left_out(report: &Report, columns: &[Column]) -> Option<String> {
    let is_missing = |measure: &Measure| {
        let field = Field::Measure(*measure);
        !report.measures.contains(measure) && !columns.iter().any(|one| one.field == field)
    };
    let missing = [Measure::Payout, Measure::Revenue]
        .into_iter()
        .filter(is_missing);
    let missing: Vec<&str> = missing.map(Measure::as_str).collect();
    let may_be_there = !report.unused.is_empty() && !missing.is_empty();
    may_be_there.then(|| {
        format!(
            "no column of the report is known as {}: not compared; --column names one",
            missing.join(" or ")
        )
    })
}

/// What could explain differences of any group.
pub async fn of_differences(
    snapshot: &mut Snapshot,
    report: &Report,
    scope: Scope<'_>,
    comparison: &Comparison,
    network_id: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut cells = comparison.differences.iter().flat_map(|one| &one.cells);
    if report.clicks_may_be_unique && cells.any(|cell| cell.measure == Measure::Clicks) {
        notes.push(
            "the report's clicks may be unique ones, as the network's settings have it; Hydrant counts all: export gross clicks"
                .to_owned(),
        );
    }
    notes.extend(of_dropped(snapshot, scope, comparison).await?);
    if let Some(network_id) = network_id {
        let open = snapshot.open_quarantine(network_id).await?;
        if open > 0 {
            notes.push(format!(
                "{open} items of quarantine are open, whose events are not counted: see hydrant quarantine list"
            ));
        }
    }
    let more = comparison.differences.len().saturating_sub(EXPLAINED);
    if more > 0 {
        notes.push(format!(
            "records were looked for in the first {EXPLAINED} differences, not in the other {more}"
        ));
    }
    Ok(notes)
}

/// Says whether clicks and impressions that are missing may have been deleted because they are old.
async fn of_dropped(
    snapshot: &mut Snapshot,
    scope: Scope<'_>,
    comparison: &Comparison,
) -> anyhow::Result<Option<String>> {
    let Some(dropped) = snapshot.dropped().await? else {
        return Ok(None);
    };
    let before = dropped.before;
    let old = comparison
        .differences
        .iter()
        .filter(|one| scope.day(&one.group).unwrap_or(scope.since) < before);
    let are_missing = old
        .flat_map(|one| &one.cells)
        .filter(|cell| matches!(cell.measure, Measure::Clicks | Measure::Impressions))
        .any(|cell| cell.hydrant < cell.report);
    let sums = if dropped.sums_are_kept {
        "stats has kept their sums, but not of those that were deleted before fast reports were switched on, and it counts none \
         that came later"
    } else {
        "stats has none of them, because fast reports are off"
    };
    Ok(are_missing.then(|| {
        format!(
            "clicks and impressions of days before {before} were deleted because they are old: {sums}"
        )
    }))
}
