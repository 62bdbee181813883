//! What was found, as JSON. Amounts are text, so that nobody reads them as floats.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use super::Outcome;
use crate::reconcile::columns::{Amounts, Dimension, Group, Measure, Value};
use crate::reconcile::compare::{Difference, Pair, Place};
use crate::reconcile::evidence::{Clue, Evidence, Reason};
use crate::reconcile::fact::Marked;

/// Everything as one object.
#[derive(Serialize)]
struct Page<D, A> {
    #[serde(flatten)]
    head: Json,
    differences: D,
    agreements: Option<A>,
}

/// A list of which each item is made when it is written, because there may be a million.
struct Listed<F>(F);

impl<F, I> Serialize for Listed<F>
where
    F: Fn() -> I,
    I: Iterator<Item = Json>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Writes everything; with `all` the groups that agree as well.
pub fn write(outcome: &Outcome<'_>, all: bool, mut out: impl Write) -> io::Result<()> {
    let comparison = &outcome.comparison;
    let page = Page {
        head: head(outcome),
        differences: Listed(move || {
            let differences = comparison.differences.iter().enumerate();
            differences.map(move |(at, one)| difference(outcome, at, one))
        }),
        agreements: all.then_some(Listed(move || {
            let agreeing = comparison.agreeing(outcome.report, outcome.sums);
            agreeing.map(move |pair| agreement(outcome, &pair))
        })),
    };
    serde_json::to_writer_pretty(&mut out, &page)?;
    writeln!(out)
}

fn head(outcome: &Outcome<'_>) -> Json {
    let (report, comparison) = (outcome.report, &outcome.comparison);
    let totals = comparison.totals.iter().map(|total| {
        json!({
            "measure": total.measure.as_str(),
            "currency": total.currency.as_ref().map(value),
            "report": total.report.to_string(),
            "hydrant": total.hydrant.to_string(),
            "difference": total.difference.to_string(),
            "agreeing": total.agreeing.to_string(),
        })
    });
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
        "rows_agreeing": comparison.rows_agreeing,
        "sums": totals.collect::<Vec<_>>(),
        "apart": outcome.marked.iter().map(marked).collect::<Vec<_>>(),
        "notes": outcome.notes,
    })
}

fn marked(one: &Marked) -> Json {
    let mut shown = Map::from_iter([
        ("kind".to_owned(), json!(one.mark.as_str())),
        ("counted".to_owned(), json!(one.counts)),
        ("currency".to_owned(), value(&one.currency)),
        ("records".to_owned(), json!(one.facts)),
    ]);
    shown.extend(amounts(&one.amounts));
    Json::Object(shown)
}

fn agreement(outcome: &Outcome<'_>, pair: &Pair<'_>) -> Json {
    let report = outcome.report;
    let (place, line) = standing(pair.place);
    let compared = |amounts: &Amounts| {
        let measures = report.measures.iter();
        let pairs = measures.map(|one| {
            (
                one.as_str().to_owned(),
                json!(amounts.get(*one).to_string()),
            )
        });
        Json::Object(pairs.collect())
    };
    json!({
        "group": group(&report.dimensions, pair.group),
        "in": place,
        "line": line,
        "rows": pair.rows,
        "report": compared(&pair.report),
        "hydrant": compared(&pair.hydrant),
    })
}

/// Where a group is, and its line in the report.
fn standing(place: Place) -> (&'static str, Option<u64>) {
    match place {
        Place::Both(line) => ("both", Some(line)),
        Place::Report(line) => ("report", Some(line)),
        Place::Hydrant => ("hydrant", None),
    }
}

fn difference(outcome: &Outcome<'_>, at: usize, one: &Difference) -> Json {
    let dimensions = &outcome.report.dimensions;
    let (place, line) = standing(one.place);
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
        "records": evidence.map(records),
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

fn records(evidence: &Evidence) -> Json {
    let shown = with_reasons(evidence).into_iter().map(|(clue, reasons)| {
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

/// Each record once, with every reason.
fn with_reasons(evidence: &Evidence) -> Vec<(&Clue, Vec<Reason>)> {
    let mut records: Vec<(&Clue, Vec<Reason>)> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (reason, found) in &evidence.records {
        for clue in &found.first {
            let place = *places.entry(clue.fact.id()).or_insert_with(|| {
                records.push((clue, Vec::new()));
                records.len() - 1
            });
            records[place].1.push(*reason);
        }
    }
    records
}
