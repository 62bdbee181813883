//! What was found, for people.

use std::collections::BTreeSet;

use super::Outcome;
use crate::commands::terminal::{Colour, Column, Paint, table};
use crate::reconcile::columns::{Amounts, Dimension, Group, Measure, Value};
use crate::reconcile::compare::{Cell, Difference, Place};
use crate::reconcile::evidence::{Clue, Evidence, Reason};
use crate::reconcile::fact::Mark;

/// Differences that are shown to people.
const SHOWN: usize = 50;

/// What people read.
pub fn text(outcome: &Outcome<'_>, paint: Paint) -> String {
    let parts = [head(outcome), sums(outcome, paint), apart(outcome, paint)];
    let mut text = parts.join("\n") + "\n";
    let differences = &outcome.comparison.differences;
    for (at, one) in differences.iter().enumerate().take(SHOWN) {
        text += &difference(outcome, at, one, paint);
        text.push('\n');
    }
    let more = differences.len().saturating_sub(SHOWN);
    if more > 0 {
        text += &format!("and {more} more groups that differ: --json lists them all\n\n");
    }
    for note in &outcome.notes {
        text += &format!("{}  {note}\n", paint.word("note", Colour::Yellow));
    }
    text + &verdict(outcome, paint) + "\n"
}

fn head(outcome: &Outcome<'_>) -> String {
    let report = outcome.report;
    let by: Vec<&str> = report.dimensions.iter().map(|one| one.as_str()).collect();
    let by = if by.is_empty() {
        "nothing".to_owned()
    } else {
        by.join(", ")
    };
    let mut text = format!(
        "{}: {} rows{}, {} to {}, by {by}\n{}, in the snapshot of {} UTC; a difference is Hydrant's sum minus the report's\n",
        outcome.file.display(),
        report.rows,
        if report.total.is_some() {
            " and one of totals"
        } else {
            ""
        },
        outcome.since,
        outcome.until,
        match &outcome.network_id {
            Some(network_id) => format!("network {network_id}"),
            None => "no network has anything of these days".to_owned(),
        },
        outcome.taken,
    );
    if !report.unused.is_empty() {
        let unused: Vec<String> = report
            .unused
            .iter()
            .map(|name| format!("{name:?}"))
            .collect();
        text += &format!("not looked at: {}\n", unused.join(", "));
    }
    text
}

fn sums(outcome: &Outcome<'_>, paint: Paint) -> String {
    let columns = [
        Column::Left("SUM"),
        Column::Left("CURRENCY"),
        Column::Right("REPORT"),
        Column::Right("HYDRANT"),
        Column::Right("DIFFERENCE"),
        Column::Right("AGREEING"),
    ];
    let rows: Vec<Vec<String>> = outcome
        .comparison
        .totals
        .iter()
        .map(|total| {
            vec![
                total.measure.as_str().to_owned(),
                total
                    .currency
                    .as_ref()
                    .map_or(String::new(), Value::to_string),
                total.report.to_string(),
                total.hydrant.to_string(),
                total.difference.to_string(),
                total.agreeing.to_string(),
            ]
        })
        .collect();
    table(&columns, &rows, paint)
}

/// What is odd about facts of these days, whatever agrees: somebody may have to decide about it.
fn apart(outcome: &Outcome<'_>, paint: Paint) -> String {
    if outcome.marked.is_empty() {
        let none = Mark::ALL.map(Mark::as_str).join(", ");
        return format!("nothing to show apart: no {none}\n");
    }
    let columns = [
        Column::Left("APART"),
        Column::Left("COUNTED"),
        Column::Left("CURRENCY"),
        Column::Right("RECORDS"),
        Column::Right("PAYOUT"),
        Column::Right("REVENUE"),
    ];
    let rows: Vec<Vec<String>> = outcome
        .marked
        .iter()
        .map(|one| {
            vec![
                kind(one.mark).to_owned(),
                if one.counts { "yes" } else { "no" }.to_owned(),
                one.currency.to_string(),
                one.facts.to_string(),
                one.amounts.get(Measure::Payout).to_string(),
                one.amounts.get(Measure::Revenue).to_string(),
            ]
        })
        .collect();
    table(&columns, &rows, paint)
}

fn difference(outcome: &Outcome<'_>, at: usize, one: &Difference, paint: Paint) -> String {
    let place = match one.place {
        Place::Both(line) => format!("line {line}"),
        Place::Report(line) => format!("line {line}, not in Hydrant"),
        Place::Hydrant => "not in the report".to_owned(),
    };
    let mut text = format!(
        "{}  {} ({place})\n",
        paint.word("differs", Colour::Red),
        named(&outcome.report.dimensions, &one.group)
    );
    for cell in &one.cells {
        text += &format!(
            "         {}: report {}, Hydrant {}, difference {}{}\n",
            cell.measure.as_str(),
            cell.report,
            cell.hydrant,
            paint.word(&cell.difference.to_string(), Colour::Bold),
            mirrored(outcome, cell),
        );
    }
    if let Some(evidence) = outcome.evidence.get(at) {
        text += &clues(outcome, one, evidence);
    }
    text
}

/// What could explain a difference: marked facts with what they come to, then others.
fn clues(outcome: &Outcome<'_>, difference: &Difference, evidence: &Evidence) -> String {
    let mut text = String::new();
    let mut shown = BTreeSet::new();
    for (reason, records) in &evidence.records {
        let new = |clue: &&Clue| !shown.contains(&clue.fact.id());
        let clues: Vec<&Clue> = match reason {
            Reason::Marked(_) => records.first.iter().collect(),
            Reason::Alone | Reason::Beside => records.first.iter().filter(new).collect(),
        };
        if clues.is_empty() {
            continue;
        }
        let sums = match reason {
            Reason::Marked(mark) => evidence.apart.get(mark).map_or(String::new(), |apart| {
                let explains = outcome.scope().mends(difference, &apart.effect);
                format!(
                    ": {}{}",
                    listed(&apart.amounts),
                    arrow(&explains, difference)
                )
            }),
            Reason::Alone | Reason::Beside => String::new(),
        };
        text += &format!("         {} ({}){sums}\n", words(*reason), records.count);
        for clue in &clues {
            let fact = &clue.fact;
            text += &format!(
                "           record {}, {} {}: {}{}\n",
                fact.record_id,
                fact.kind,
                fact.event_id,
                listed(&fact.amounts),
                arrow(&clue.mends, difference)
            );
        }
        let more = records.count - records.first.len() as u64;
        if more > 0 {
            text += &format!("           and {more} more\n");
        }
        shown.extend(clues.into_iter().map(|clue| clue.fact.id()));
    }
    text
}

fn arrow(explains: &[Measure], difference: &Difference) -> String {
    if explains.is_empty() {
        return String::new();
    }
    if explains.len() == difference.cells.len() {
        return " ← all of it".to_owned();
    }
    let names: Vec<&str> = explains.iter().map(|measure| measure.as_str()).collect();
    format!(" ← the {}", names.join(", the "))
}

/// A group in one line.
fn named(dimensions: &[Dimension], group: &Group) -> String {
    if dimensions.is_empty() {
        return "everything".to_owned();
    }
    let values = dimensions.iter().zip(group);
    let named: Vec<String> = values
        .map(|(dimension, value)| format!("{} {value}", dimension.as_str()))
        .collect();
    named.join(", ")
}

fn mirrored(outcome: &Outcome<'_>, cell: &Cell) -> String {
    let Some(mirror) = cell.mirror else {
        return String::new();
    };
    let at = outcome
        .report
        .dimensions
        .iter()
        .position(|one| *one == mirror.dimension);
    let value = at.map(|at| outcome.comparison.differences[mirror.at].group[at].to_string());
    format!(
        ", and the opposite of it at {} {}",
        mirror.dimension.as_str(),
        value.unwrap_or_default()
    )
}

fn words(reason: Reason) -> String {
    match reason {
        Reason::Marked(mark @ (Mark::Orphan | Mark::Duplicate)) => {
            format!("{}, counted", kind(mark))
        }
        Reason::Marked(Mark::Test) => kind(Mark::Test).to_owned(),
        Reason::Marked(mark) => format!("{}, not counted", kind(mark)),
        Reason::Alone => "each of these would explain it alone".to_owned(),
        Reason::Beside => {
            "each would explain it if it counted here, not beside: another time zone?".to_owned()
        }
    }
}

fn kind(mark: Mark) -> &'static str {
    match mark {
        Mark::Orphan => "adjustments without their conversion",
        Mark::Pending => "pending conversions",
        Mark::Rejected => "conversions rejected from the start",
        Mark::Test => "tests by their status code",
        Mark::Withheld => "adjustments with update_stats = false",
        Mark::Duplicate => "further originals of a record",
        Mark::Variant => "other contents of an id",
    }
}

/// Amounts that are not zero.
pub fn listed(amounts: &Amounts) -> String {
    let amounts = Measure::ALL.into_iter().filter_map(|measure| {
        let amount = amounts.get(measure);
        (!amount.is_zero()).then(|| format!("{} {amount}", measure.as_str()))
    });
    let listed: Vec<String> = amounts.collect();
    if listed.is_empty() {
        "nothing".to_owned()
    } else {
        listed.join(", ")
    }
}

fn verdict(outcome: &Outcome<'_>, paint: Paint) -> String {
    let (groups, differ) = (
        outcome.comparison.groups,
        outcome.comparison.differences.len(),
    );
    let within = if outcome.tolerance.is_zero() {
        String::new()
    } else {
        format!(" within {}", outcome.tolerance)
    };
    let rows = format!("({} rows of the report)", outcome.comparison.rows_agreeing);
    match (differ, &outcome.network_id) {
        (0, _) => format!(
            "{}  all {groups} groups {rows}{within}",
            paint.word("agrees", Colour::Green)
        ),
        (differ, network_id) => format!(
            "{}  {differ} of {groups} groups; the other {} agree {rows}{within}; hydrant explain {} ID tells how a record came to be",
            paint.word("differs", Colour::Red),
            groups - differ,
            network_id.as_deref().unwrap_or("NETWORK"),
        ),
    }
}
