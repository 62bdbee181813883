//! What was found, for people and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

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
    let mut text = head(outcome) + "\n" + &sums(outcome, paint) + "\n";
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
        let new = |clue: &&Clue| !shown.contains(&id(clue));
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
        shown.extend(clues.into_iter().map(id));
    }
    text
}

/// What makes a fact one and not another.
fn id(clue: &Clue) -> (&str, &str) {
    (&clue.fact.kind, &clue.fact.event_id)
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

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Marked(Mark::Orphan) => "adjustments without their conversion, counted",
        Reason::Marked(Mark::Pending) => "pending conversions, not counted",
        Reason::Marked(Mark::Rejected) => "conversions rejected from the start, not counted",
        Reason::Marked(Mark::Test) => "tests by their status code",
        Reason::Marked(Mark::Withheld) => "adjustments with update_stats = false, not counted",
        Reason::Marked(Mark::Duplicate) => "further originals of a record, counted",
        Reason::Marked(Mark::Variant) => "other contents of an id, not counted",
        Reason::Alone => "each of these would explain it alone",
        Reason::Beside => {
            "each would explain it if it counted here, not beside: another time zone?"
        }
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

/// Each record once, with every reason.
fn records(evidence: &Evidence) -> Vec<(&Clue, Vec<Reason>)> {
    let mut records: Vec<(&Clue, Vec<Reason>)> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (reason, found) in &evidence.records {
        for clue in &found.first {
            let place = *places.entry(id(clue)).or_insert_with(|| {
                records.push((clue, Vec::new()));
                records.len() - 1
            });
            records[place].1.push(*reason);
        }
    }
    records
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
    match (differ, &outcome.network_id) {
        (0, _) => format!(
            "{}  all {groups} groups{within}",
            paint.word("agrees", Colour::Green)
        ),
        (differ, network_id) => format!(
            "{}  {differ} of {groups} groups; the other {} agree{within}; hydrant explain {} ID tells how a record came to be",
            paint.word("differs", Colour::Red),
            groups - differ,
            network_id.as_deref().unwrap_or("NETWORK"),
        ),
    }
}

/// Everything, as one object. Amounts are text, so that nobody reads them as floats.
pub fn json(outcome: &Outcome<'_>) -> Json {
    let (report, comparison) = (outcome.report, &outcome.comparison);
    let totals = comparison.totals.iter().map(|total| {
        json!({
            "measure": total.measure.as_str(),
            "currency": total.currency.as_ref().map(value),
            "report": total.report.to_string(),
            "hydrant": total.hydrant.to_string(),
            "difference": total.difference.to_string(),
        })
    });
    let differences = comparison.differences.iter().enumerate();
    json!({
        "status": if comparison.differences.is_empty() { "agrees" } else { "differs" },
        "snapshot": format!("{}Z", outcome.taken.replace(' ', "T")),
        "network_id": outcome.network_id,
        "report": {
            "file": outcome.file.display().to_string(),
            "rows": report.rows,
            "dimensions": report.dimensions.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
            "measures": report.measures.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
            "unused_columns": report.unused,
            "since": outcome.since.to_string(),
            "until": outcome.until.to_string(),
        },
        "tolerance": outcome.tolerance.to_string(),
        "groups": comparison.groups,
        "groups_agreeing": comparison.groups - comparison.differences.len(),
        "sums": totals.collect::<Vec<_>>(),
        "differences": differences.map(|(at, one)| difference_json(outcome, at, one)).collect::<Vec<_>>(),
        "notes": outcome.notes,
    })
}

fn difference_json(outcome: &Outcome<'_>, at: usize, one: &Difference) -> Json {
    let dimensions = &outcome.report.dimensions;
    let (place, line) = match one.place {
        Place::Both(line) => ("both", Some(line)),
        Place::Report(line) => ("report", Some(line)),
        Place::Hydrant => ("hydrant", None),
    };
    let cells = one.cells.iter().map(|cell| {
        let mirror = cell
            .mirror
            .map(|mirror| group(dimensions, &outcome.comparison.differences[mirror.at].group));
        json!({
            "measure": cell.measure.as_str(),
            "report": cell.report.to_string(),
            "hydrant": cell.hydrant.to_string(),
            "difference": cell.difference.to_string(),
            "opposite_in": mirror,
        })
    });
    let evidence = outcome.evidence.get(at);
    json!({
        "group": group(dimensions, &one.group),
        "in": place,
        "line": line,
        "cells": cells.collect::<Vec<_>>(),
        "apart": evidence.map(|evidence| apart(outcome, one, evidence)),
        "records": evidence.map(records_json),
    })
}

/// A group's values by their names.
pub fn group(dimensions: &[Dimension], group: &Group) -> Json {
    let values = dimensions.iter().zip(group);
    let pairs = values.map(|(dimension, one)| (dimension.as_str().to_owned(), value(one)));
    Json::Object(pairs.collect())
}

/// A value as JSON.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Blank => Json::Null,
        Value::Number(number) => json!(number),
        Value::Day(_) | Value::Text(_) => json!(value.to_string()),
    }
}

fn apart(outcome: &Outcome<'_>, difference: &Difference, evidence: &Evidence) -> Json {
    let marks = evidence.apart.iter().map(|(mark, apart)| {
        let explains = outcome.scope().mends(difference, &apart.effect);
        let mut shown = Map::from_iter([
            ("records".to_owned(), json!(apart.facts)),
            ("explains".to_owned(), names(&explains)),
        ]);
        shown.extend(amounts(&apart.amounts));
        (mark.as_str().to_owned(), Json::Object(shown))
    });
    Json::Object(marks.collect())
}

fn names(measures: &[Measure]) -> Json {
    json!(
        measures
            .iter()
            .map(|measure| measure.as_str())
            .collect::<Vec<_>>()
    )
}

/// Amounts by their names.
pub fn amounts(amounts: &Amounts) -> Map<String, Json> {
    let pairs = Measure::ALL.into_iter().map(|measure| {
        let amount = amounts.get(measure).to_string();
        (measure.as_str().to_owned(), json!(amount))
    });
    pairs.collect()
}

fn records_json(evidence: &Evidence) -> Json {
    let shown = records(evidence).into_iter().map(|(clue, reasons)| {
        let fact = &clue.fact;
        let mut record = Map::from_iter([
            ("record_id".to_owned(), json!(fact.record_id)),
            ("event_id".to_owned(), json!(fact.event_id)),
            ("kind".to_owned(), json!(fact.kind)),
            (
                "reasons".to_owned(),
                json!(reasons.into_iter().map(Reason::as_str).collect::<Vec<_>>()),
            ),
            ("explains".to_owned(), names(&clue.mends)),
        ]);
        record.extend(amounts(&fact.amounts));
        Json::Object(record)
    });
    Json::Array(shown.collect())
}
