//! `hydrant reconcile`: do TUNE's numbers and ours agree, and what was changed since somebody was invoiced.
//!
//! [`crate::reconcile`] does it, [`text`] and [`json`] show it. [`changes`] needs no report.

mod changes;
mod json;
mod notes;
mod text;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};

use super::terminal::Paint;
use super::{Failure, printed};
use crate::amount::Amount;
use crate::cli::reconcile::Reconcile;
use crate::config;
use crate::formats::value::Day;
use crate::reconcile::columns::{Amounts, Dimension, Group, Measure, Value};
use crate::reconcile::compare::{Comparison, EXPLAINED, compare};
use crate::reconcile::evidence::{Evidence, Scope, Search};
use crate::reconcile::fact::Marked;
use crate::reconcile::report::Report;
use crate::store::Settings;
use crate::store::reconcile::{Filter, Snapshot};
use crate::telemetry;

/// A report beside Hydrant's sums, and what there is to say about it.
struct Outcome<'a> {
    file: &'a Path,
    report: &'a Report,
    /// Hydrant's sums.
    sums: &'a BTreeMap<Group, Amounts>,
    /// None where the database has nothing of these days.
    network_id: Option<String>,
    /// The moment of the snapshot, in UTC.
    taken: String,
    since: Day,
    until: Day,
    tolerance: Amount,
    comparison: Comparison,
    /// For the first [`EXPLAINED`] differences.
    evidence: Vec<Evidence>,
    /// What facts of these days come to that are shown apart, whatever agrees.
    marked: Vec<Marked>,
    notes: Vec<String>,
}

impl Outcome<'_> {
    fn scope(&self) -> Scope<'_> {
        scope(self.report, self.since, self.until)
    }
}

fn scope(report: &Report, since: Day, until: Day) -> Scope<'_> {
    Scope {
        dimensions: &report.dimensions,
        measures: &report.measures,
        since,
        until,
    }
}

/// Its exit status.
pub async fn run(args: Reconcile) -> Result<u8, Failure> {
    let outcome = match &args.report {
        Some(file) => reconcile(&args, file).await,
        None => changes::run(&args).await,
    };
    outcome.map_err(|failure| match failure {
        Failure::Failed(error) => Failure::Unverified(error),
        failure => failure,
    })
}

async fn reconcile(args: &Reconcile, file: &Path) -> Result<u8, Failure> {
    let usage = |error: anyhow::Error| Failure::Usage(error.context(file.display().to_string()));
    let bytes = std::fs::read(file)
        .context("it cannot be read")
        .map_err(usage)?;
    let mut report = Report::read(&bytes, &args.columns, args.decimal_mark).map_err(usage)?;
    let mut notes = notes::of_totals(&report, args.tolerance)?;
    notes.extend(notes::of_left_out(&report, &args.columns));
    let (since, until) = days(&report, args).map_err(usage)?;
    notes.extend(keep_days(&mut report, since, until));

    let mut snapshot = open(args).await?;
    let filter = filter(args, Some(since), Some(until));
    expect_one_currency(&mut snapshot, &report, &filter).await?;
    let sums = snapshot.sums(&report.dimensions, &filter).await?;
    let (network_id, sums) = one_network(sums, args.network.as_deref())?;
    if let Some(asked) = args.network.as_deref().filter(|_| sums.is_empty()) {
        notes.push(format!(
            "the database has nothing of network {asked} in these days: is it the right one?"
        ));
    }
    let comparison = compare(&report, &sums, args.tolerance)?;
    let filter = Filter {
        network_id: network_id.clone(),
        ..filter
    };
    let marked = snapshot.marked(&filter).await?;
    let scope = scope(&report, since, until);
    let evidence = explain(&mut snapshot, scope, &comparison, filter).await?;
    if !comparison.differences.is_empty() {
        let network_id = network_id.as_deref();
        notes.extend(
            notes::of_differences(&mut snapshot, &report, scope, &comparison, network_id).await?,
        );
    }
    let outcome = Outcome {
        file,
        report: &report,
        sums: &sums,
        network_id,
        taken: snapshot.taken.clone(),
        since,
        until,
        tolerance: args.tolerance,
        comparison,
        evidence,
        marked,
        notes,
    };
    print(&outcome, args)?;
    snapshot.close().await;
    Ok(u8::from(!outcome.comparison.differences.is_empty()))
}

fn print(outcome: &Outcome<'_>, args: &Reconcile) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if args.json {
        json::write(outcome, args.all, &mut out)
    } else {
        out.write_all(text::text(outcome, Paint::stdout()).as_bytes())
    };
    printed(written.and_then(|()| out.flush()))
}

async fn open(args: &Reconcile) -> Result<Snapshot, Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    Ok(Snapshot::take(&settings)
        .await
        .map_err(anyhow::Error::new)?)
}

fn filter(args: &Reconcile, since: Option<Day>, until: Option<Day>) -> Filter {
    Filter {
        network_id: args.network.clone(),
        since,
        until,
        only: args.only.clone(),
    }
}

/// The days that are compared: those that somebody asked for, else those of the report.
fn days(report: &Report, args: &Reconcile) -> anyhow::Result<(Day, Day)> {
    let at = report
        .dimensions
        .iter()
        .position(|one| *one == Dimension::Date);
    let days = report.groups.keys().filter_map(|group| match group[at?] {
        Value::Day(day) => Some(day),
        _ => None,
    });
    let (first, last) = (days.clone().min(), days.max());
    match (args.since.or(first), args.until.or(last)) {
        (Some(since), Some(until)) if since <= until => Ok((since, until)),
        (Some(since), Some(until)) => bail!("there is no day from {since} to {until}"),
        _ => bail!("it does not go by day: say --since and --until, its first and last day"),
    }
}

/// Leaves rows of other days out.
fn keep_days(report: &mut Report, since: Day, until: Day) -> Option<String> {
    let at = report
        .dimensions
        .iter()
        .position(|one| *one == Dimension::Date)?;
    let before = report.groups.len();
    report
        .groups
        .retain(|group, _| (Value::Day(since)..=Value::Day(until)).contains(&group[at]));
    let left_out = before - report.groups.len();
    (left_out > 0)
        .then(|| format!("{left_out} groups of the report are of other days, and left out"))
}

/// Amounts of several currencies cannot be compared with a report that does not tell them apart: TUNE has converted them.
async fn expect_one_currency(
    snapshot: &mut Snapshot,
    report: &Report,
    filter: &Filter,
) -> Result<(), Failure> {
    let has_money = report.measures.iter().any(|measure| measure.is_money());
    if !has_money || report.dimensions.contains(&Dimension::Currency) {
        return Ok(());
    }
    let sums = snapshot.sums(&[Dimension::Currency], filter).await?;
    let mut currencies: Vec<String> = sums
        .values()
        .flatten()
        .filter(|(group, sum)| {
            let money = Measure::ALL
                .into_iter()
                .filter(|measure| measure.is_money());
            group[0] != Value::Blank && money.into_iter().any(|one| !sum.get(one).is_zero())
        })
        .map(|(group, _)| group[0].to_string())
        .collect();
    currencies.sort();
    currencies.dedup();
    match currencies.as_slice() {
        [] | [_] => Ok(()),
        several => Err(Failure::Usage(anyhow::anyhow!(
            "the report has no currency, and the database has amounts in {}, which TUNE has converted: export it by currency, \
             or look at one with --only currency={}, or leave the amounts out with --column payout= and so on",
            several.join(", "),
            several[0]
        ))),
    }
}

/// What was found of the one network; nothing where there is none.
fn one_network<T: Default>(
    mut found: BTreeMap<String, T>,
    asked: Option<&str>,
) -> Result<(Option<String>, T), Failure> {
    if let Some(asked) = asked {
        let found = found.remove(asked).unwrap_or_default();
        return Ok((Some(asked.to_owned()), found));
    }
    if found.len() > 1 {
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        return Err(Failure::Usage(anyhow::anyhow!(
            "the database has {} networks in these days: say which with --network, one of {}",
            names.len(),
            names.join(", ")
        )));
    }
    Ok(match found.pop_first() {
        Some((name, found)) => (Some(name), found),
        None => (None, T::default()),
    })
}

/// Looks at the facts of the days that differ, and of those beside them.
async fn explain(
    snapshot: &mut Snapshot,
    scope: Scope<'_>,
    comparison: &Comparison,
    filter: Filter,
) -> anyhow::Result<Vec<Evidence>> {
    let count = comparison.differences.len().min(EXPLAINED);
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut search = Search::new(scope, &comparison.differences[..count]);
    let days = search.days();
    let filter = match &days {
        // The days themselves say it.
        Some(_) => Filter {
            since: None,
            until: None,
            ..filter
        },
        None => filter,
    };
    snapshot
        .facts(scope.dimensions, &filter, days.as_ref(), |fact| {
            search.see(&fact)
        })
        .await?;
    Ok(search.finish())
}
