//! Changing `partition_by` of a database that holds clicks and impressions already. Safe while daemons run: they wait for
//! the part that is being moved, and look at the partitions again. Readers wait as well, see each direction.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::connection::{Settings, execute, quote_identifier};
use super::facts::{self, columns};
use super::fault::Fault;
use super::partitions::{Leaf, Partitions};
use super::plan::Table;
use super::rollup::sums::{self, Exchanged, Groups};
use crate::config::PartitionBy;
use crate::formats::value::Day;

/// Days that are moved in one transaction: the default partition is read through once for each.
const DAYS_AT_ONCE: usize = 31;
/// Attempts to get hold of the tables, each of 10 s.
const ATTEMPTS: u32 = 30;

/// How many rows and days were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub rows: u64,
    pub days: usize,
}

/// Moves clicks and impressions to where `partition_by` wants them. What was moved before stays moved when it is
/// interrupted; calling it again goes on.
///
/// # Errors
/// The database does not answer or refuses us.
pub async fn repartition(settings: &Settings) -> Result<Moved, Fault> {
    let mut connection = settings.connect().await?;
    let mut partitions = Partitions::new(settings.partition_by);
    partitions.load(&mut connection, settings).await?;
    let mut moved = Moved::default();
    match settings.partition_by {
        PartitionBy::Day => {
            let held = days_in_default(&mut connection, settings).await?;
            let days: Vec<Day> = partitions.missing(held.into_iter()).into_iter().collect();
            for days in days.chunks(DAYS_AT_ONCE) {
                moved.rows += patiently(&mut connection, &out_of_default(settings, days)).await?;
                moved.days += days.len();
            }
        }
        PartitionBy::None => {
            for day in partitions.days() {
                moved.rows += patiently(&mut connection, &into_default(settings, day)).await?;
                moved.days += 1;
            }
        }
    }
    Ok(moved)
}

async fn days_in_default(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<BTreeSet<Day>, Fault> {
    let sql = format!(
        "select distinct partition_day - date '2000-01-01' from {}.events_default",
        quote_identifier(&settings.schema)
    );
    let days: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the days of events_default"))?;
    Ok(days.into_iter().map(Day).collect())
}

/// The statements of one transaction; the one at `moves` says how many rows it moved.
struct Script {
    before: String,
    /// Each sets contents aside that lose, and gives them.
    asides: Vec<String>,
    moves: Vec<String>,
    after: String,
}

const DOING: &str = "could not move events between partitions";

/// Runs a script; again when others hold the tables.
async fn patiently(connection: &mut PgConnection, script: &Script) -> Result<u64, Fault> {
    let mut attempt = 1;
    loop {
        match run(connection, script).await {
            Ok(rows) => return Ok(rows),
            Err(fault) => {
                execute(connection, "rollback".to_owned())
                    .await
                    .map_err(|e| Fault::new(e, DOING))?;
                if !matches!(fault, Fault::Contention(_)) || attempt == ATTEMPTS {
                    return Err(fault);
                }
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(rand::random_range(100..1_000))).await;
            }
        }
    }
}

async fn run(connection: &mut PgConnection, script: &Script) -> Result<u64, Fault> {
    let doing = |error| Fault::new(error, DOING);
    execute(connection, script.before.clone())
        .await
        .map_err(doing)?;
    let mut exchanged = Exchanged::default();
    for sql in &script.asides {
        let losers = sqlx::query(AssertSqlSafe(sql.as_str()));
        exchanged
            .left
            .extend(losers.fetch_all(&mut *connection).await.map_err(doing)?);
    }
    if let Some(rollup) = facts::confirm(connection, &[]).await? {
        let mut groups = Groups::new(rollup);
        groups.add_exchanged(&exchanged)?;
        groups.append(connection).await?;
    }
    let mut rows = 0;
    for sql in &script.moves {
        rows += sqlx::raw_sql(AssertSqlSafe(sql.as_str()))
            .execute(&mut *connection)
            .await
            .map_err(doing)?
            .rows_affected();
    }
    execute(connection, format!("{}; select 1; commit", script.after))
        .await
        .map_err(doing)?;
    Ok(rows)
}

fn begin(settings: &Settings) -> String {
    format!(
        "begin isolation level read committed;
         set local search_path to {};
         set local lock_timeout = '10s';
         set local statement_timeout = 0",
        quote_identifier(&settings.schema)
    )
}

/// From the default partition into days of their own. Writers to the default partition wait. Readers do not while rows are
/// moved, but at the end they do: ADD CONSTRAINT reads the whole default partition while nobody else may, then come the
/// ATTACHes.
fn out_of_default(settings: &Settings, days: &[Day]) -> Script {
    let columns = format!("{}, received_at", columns(Table::Events(Leaf::Default)));
    let tables: Vec<(String, Day)> = days
        .iter()
        .map(|day| (Leaf::Day(*day).table(), *day))
        .collect();
    let each = |sql: &dyn Fn(&str, Day) -> String| -> String {
        tables
            .iter()
            .map(|(table, day)| sql(table, *day))
            .collect::<Vec<_>>()
            .join(";\n")
    };
    let list: Vec<String> = days.iter().map(|day| format!("'{day}'")).collect();
    Script {
        before: format!(
            "{};\nlock table events_default in share row exclusive mode;\n{}",
            begin(settings),
            each(&|table, _| format!(
                "create table {table} (like events including defaults including comments)"
            ))
        ),
        asides: Vec::new(),
        moves: tables
            .iter()
            .map(|(table, day)| {
                format!(
                    "with moved as (delete from events_default where partition_day = '{day}' returning {columns})
                     insert into {table} ({columns}) select {columns} from moved"
                )
            })
            .collect(),
        // With the constraint, ATTACH need not read the default partition again for each day. A day's table does not tell
        // retention what came late for it, as rows of the default partition do, so that is noted.
        after: format!(
            "{};\n{};\nalter table events_default add constraint moved_days check (partition_day not in ({}));\n{};
             alter table events_default drop constraint moved_days",
            each(&|table, day| format!(
                "insert into late_days as l (day, last_at)
                 select '{day}', max(received_at) from {table} having max(received_at) >= '{} 00:00Z'
                 on conflict on constraint late_days_day
                 do update set last_at = greatest(l.last_at, excluded.last_at)",
                day.plus(2)
            )),
            each(&|table, _| format!(
                "alter table {table} add constraint {table}_key unique (network_id, event_id)"
            )),
            list.join(", "),
            each(&|table, day| format!(
                "alter table events attach partition {table} for values from ('{day}') to ('{}')",
                day.plus(1)
            )),
        ),
    }
}

/// From a day of its own into the default partition, where an id is unique whatever its day: where it came with two days,
/// the least (dispatch_timestamp, content_hash) wins, as everywhere. DETACH locks `events`, so readers and writers of all
/// of it wait while a day is moved: in between the day would be in no view.
fn into_default(settings: &Settings, day: Day) -> Script {
    let table = Leaf::Day(day).table();
    let columns = format!("{}, received_at", columns(Table::Events(Leaf::Default)));
    let of = |alias: &str| {
        columns
            .split(", ")
            .map(|c| format!("{alias}.{c}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let latest = i64::MAX;
    let lesser = format!(
        "(coalesce(t.dispatch_timestamp, {latest}), t.content_hash) < (coalesce(d.dispatch_timestamp, {latest}), d.content_hash)"
    );
    let same_id = "d.network_id = t.network_id and d.event_id = t.event_id";
    // What lost while there were no days may stand in a day of its own since: it is one content, with the least of its
    // times, and in one place.
    let own_variants = format!(
        "with own as (
             delete from event_variants v using {table} t
             where v.network_id = t.network_id and v.event_id = t.event_id and v.role = 'original'
                 and v.content_hash = t.content_hash
             returning v.network_id, v.event_id, v.dispatch_timestamp
         )
         update {table} t set dispatch_timestamp = own.dispatch_timestamp from own
         where t.network_id = own.network_id and t.event_id = own.event_id
             and own.dispatch_timestamp < coalesce(t.dispatch_timestamp, {latest})"
    );
    let keep_aside = |losers: String| {
        format!(
            "{losers}
             insert into event_variants as v (role, {columns}) select 'original', {columns} from losers
             on conflict (network_id, event_id, role, content_hash)
             do update set dispatch_timestamp = least(v.dispatch_timestamp, excluded.dispatch_timestamp)
             returning {}",
            sums::COLUMNS.join(", ")
        )
    };
    Script {
        before: format!(
            "{};\nalter table events detach partition {table};
             {own_variants}",
            begin(settings),
        ),
        asides: vec![
            keep_aside(format!(
                "with losers as (
                     select {} from {table} t join events_default d on {same_id} where not {lesser}
                 )",
                of("t")
            )),
            keep_aside(format!(
                "with losers as (
                     delete from events_default d using {table} t where {same_id} and {lesser} returning {}
                 )",
                of("d")
            )),
        ],
        moves: vec![format!(
            "insert into events_default ({columns}) select {columns} from {table} on conflict do nothing"
        )],
        after: format!("drop table {table}"),
    }
}
