//! What is in the database: the schema, its tables and our rights to them, and rows that somebody should look at.

use std::collections::BTreeMap;

use super::Findings;
use super::database::advice_for;
use crate::config::PartitionBy;
use crate::store::Settings;
use crate::store::fault::Fault;
use crate::store::inspect::{Count, Inspection, Migrations, SchemaRights};
use crate::store::rollup::State;

/// A daemon that keeps up leaves fewer rows unmerged.
const WAITING_MAX: i64 = 500_000;
/// How many tables or days a line names.
const SHOWN: usize = 5;

/// `user`: the role that we are.
pub async fn look(
    settings: &Settings,
    user: &str,
    database: &mut Inspection,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let rights = database.schema_rights().await?;
    judge_schema(settings, user, &rights, findings);
    if !rights.usage {
        return Ok(());
    }
    let lacking = database.missing_table_rights().await?;
    if rights.owns_events.is_some() {
        judge_table_rights(settings, user, &lacking, findings);
    }
    let migrations = match database.migrations().await {
        Ok(migrations) => migrations,
        Err(fault) => {
            findings.fail("migrations", fault.to_string(), advice_for(&fault));
            return Ok(());
        }
    };
    judge_migrations(&migrations, findings);
    if migrations.applied == 0 || !lacking.is_empty() {
        return Ok(());
    }
    if migrations.missing.is_empty() {
        look_at_rollup(database, findings).await?;
    }
    look_at_rows(settings, database, findings).await
}

async fn look_at_rollup(database: &mut Inspection, findings: &mut Findings) -> Result<(), Fault> {
    const NAME: &str = "rollup";
    let (state, waiting) = database.rollup().await?;
    match (state, waiting) {
        (State::Off, _) => findings.ok(NAME, "off: view stats reads the facts"),
        (State::Filling, _) => findings.warn(
            NAME,
            "the facts are being summed up, or were when `hydrant migrate --rollup on` was interrupted",
            "if it does not run, run it again, or `hydrant migrate --rollup off`",
        ),
        (State::On, Some(rows)) if rows <= WAITING_MAX => {
            findings.ok(NAME, format!("on; {rows} rows of stats_deltas wait to be merged"));
        }
        (State::On, _) => findings.warn(
            NAME,
            format!("on; more than {WAITING_MAX} rows of stats_deltas wait to be merged, so view stats is slow"),
            "see that a daemon runs that may delete from stats_deltas, and what its log says",
        ),
    }
    Ok(())
}

fn judge_table_rights(
    settings: &Settings,
    user: &str,
    lacking: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    if lacking.is_empty() {
        return findings.ok("table rights", "all that are needed on every table");
    }
    let shown = lacking
        .iter()
        .map(|(table, rights)| format!("{table} ({rights})"));
    findings.fail(
        "table rights",
        format!("missing on {}", some_of(shown)),
        format!(
            "grant select, insert, update on all tables in schema {schema} to {user}; \
             grant delete on {schema}.record_patches, {schema}.event_variants, {schema}.stats_deltas to {user}",
            schema = settings.schema
        ),
    );
}

fn judge_schema(settings: &Settings, user: &str, rights: &SchemaRights, findings: &mut Findings) {
    let schema = &settings.schema;
    if !rights.temporary {
        findings.fail(
            "temporary tables",
            "we may not create any, and large batches are staged in them",
            format!("grant temporary on the database to {user}"),
        );
    }
    match (rights.exists, rights.create_schema) {
        (false, true) => {
            return findings.warn(
                "schema",
                format!("{schema} does not exist yet"),
                "run `hydrant migrate`; `hydrant run` does it too",
            );
        }
        (false, false) => {
            return findings.fail(
                "schema",
                format!("{schema} does not exist, and we may not create it"),
                format!("as the database's owner: create schema {schema} authorization {user}"),
            );
        }
        (true, _) => {}
    }
    if !rights.usage {
        findings.fail(
            "schema",
            format!("we may not use {schema}"),
            format!("grant usage, create on schema {schema} to {user}"),
        );
    } else if !rights.create && rights.owns_events.is_some() {
        findings.ok(
            "schema",
            format!(
                "{schema}, where others create the tables: `hydrant run --no-migrate`, and `hydrant migrate` by their \
                 owner every day"
            ),
        );
    } else if !rights.create {
        findings.fail(
            "schema",
            format!("we may not create tables in {schema}, as migrations and day partitions need"),
            format!("grant create on schema {schema} to {user}"),
        );
    } else {
        findings.ok("schema", format!("{schema}, where we may create tables"));
    }
    let makes_days = settings.partition_by == PartitionBy::Day && rights.create;
    if makes_days && rights.owns_events == Some(false) {
        findings.warn(
            "owner of events",
            format!("it is not {user}, so days stay in events_default"),
            format!("alter table {schema}.events owner to {user}"),
        );
    }
}

fn judge_migrations(migrations: &Migrations, findings: &mut Findings) {
    let list = |versions: &[i64]| {
        versions
            .iter()
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if !migrations.unknown.is_empty() {
        findings.fail(
            "migrations",
            format!(
                "the database has {}, which only a newer hydrant knows",
                list(&migrations.unknown)
            ),
            "install that version; this one will not write here",
        );
    } else if !migrations.different.is_empty() {
        findings.fail(
            "migrations",
            format!(
                "{} is not the one of this version",
                list(&migrations.different)
            ),
            "install the version that migrated this database, or find out who changed it",
        );
    } else if !migrations.missing.is_empty() {
        let what = if migrations.applied == 0 {
            "none is there yet"
        } else {
            "behind"
        };
        findings.warn(
            "migrations",
            format!("{what}; missing: {}", list(&migrations.missing)),
            "run `hydrant migrate`; `hydrant run` does it too",
        );
    } else {
        findings.ok("migrations", format!("up to date ({})", migrations.applied));
    }
}

async fn look_at_rows(
    settings: &Settings,
    database: &mut Inspection,
    findings: &mut Findings,
) -> Result<(), Fault> {
    if settings.partition_by == PartitionBy::Day {
        look_at_days(database, findings).await?;
    }
    let open = database.open_quarantine().await?;
    let items: i64 = open.iter().map(|(_, items)| items).sum();
    if open.is_empty() {
        findings.ok("quarantine", "nothing is open");
    } else {
        let reasons: Vec<String> = open
            .iter()
            .map(|(reason, items)| format!("{reason} {items}"))
            .collect();
        findings.warn(
            "quarantine",
            format!("{items} open: {}", reasons.join(", ")),
            "look at them with `hydrant quarantine`",
        );
    }
    let orphans = database.old_orphans().await?;
    findings.ok(
        "orphan adjustments",
        number(
            orphans,
            "wait for their original for more than a day",
            "orphan_adjustments",
        ),
    );
    let duplicates = database.duplicate_originals().await?;
    findings.ok(
        "duplicate originals",
        number(
            duplicates,
            "are left out of conversions",
            "duplicate_originals",
        ),
    );
    Ok(())
}

async fn look_at_days(database: &mut Inspection, findings: &mut Findings) -> Result<(), Fault> {
    let missing = database.missing_days().await?;
    let days = database.days_in_default().await?;
    let stuck = |day: &str| days.iter().flatten().any(|(stuck, _)| stuck == day);
    let to_make: Vec<String> = missing
        .iter()
        .map(ToString::to_string)
        .filter(|day| !stuck(day))
        .collect();
    match to_make.first() {
        None => findings.ok("day partitions", "made 14 days ahead"),
        Some(first) => findings.warn(
            "day partitions",
            format!(
                "{} days from today on are not made, {first} the first",
                to_make.len()
            ),
            "run `hydrant migrate`; a running daemon makes them every hour",
        ),
    }
    match days.as_deref() {
        None => findings.warn(
            "days in events_default",
            "could not be counted within statement_timeout_ms",
            "look when the database has less to do",
        ),
        Some([]) => findings.ok(
            "days in events_default",
            "none that should have a partition",
        ),
        Some(days) => {
            let shown = days.iter().map(|(day, rows)| format!("{day}: {rows}"));
            findings.warn(
                "days in events_default",
                format!(
                    "rows of {}; they count as they should, and such a day cannot get a partition while they are here",
                    some_of(shown)
                ),
                "move them with `hydrant migrate --partition-by day`",
            );
        }
    }
    Ok(())
}

/// The first few of a list.
fn some_of(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let shown: Vec<String> = items.take(SHOWN).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A count in words, with the view to look at.
fn number(count: Count, what: &str, view: &str) -> String {
    match count {
        Some(0) => "none".to_owned(),
        Some(count) => format!("{count} {what} (view {view})"),
        None => format!("not counted within statement_timeout_ms (view {view})"),
    }
}
