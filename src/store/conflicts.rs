//! One id with different contents, or with an earlier time than is stored.
//!
//! The winner is the least (dispatch_timestamp, content hash) of all contents that ever came; it stands in its table, the
//! losers in `event_variants`. Taking the first that comes would make the state depend on the order.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::batch::{Batch, NO_TIMESTAMP};
use super::facts::{Stored, columns, stage, stored};
use super::fault::Fault;
use super::partitions::Partitions;
use super::plan::{Row, Table, Version};
use super::rollup::sums::{self, Exchanged};
use crate::formats::value::Day;

/// What came of the conflicts of one table.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Contents that are new and differ from another of the same id.
    pub variants: u64,
    pub settled: Settled,
}

/// What changed in a table because another content of an id stands there now.
#[derive(Debug, Default)]
pub struct Settled {
    /// Records whose ledger changed: the old content's and the new one's.
    pub touched: Vec<(String, String)>,
    pub exchanged: Exchanged,
}

impl Settled {
    /// Rows as [`returning`] gives them.
    fn came(&mut self, rows: Vec<PgRow>) {
        self.touched.extend(records_of(&rows));
        self.exchanged.came.extend(rows);
    }

    fn left(&mut self, rows: Vec<PgRow>) {
        self.touched.extend(records_of(&rows));
        self.exchanged.left.extend(rows);
    }
}

/// Resolves the conflicts of some rows, sorted by key. Their main rows exist; they are locked in this order before
/// anything else is looked at.
pub async fn resolve(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&Row<'_>],
    partitions: &Partitions,
) -> Result<Resolved, Fault> {
    let mut resolved = Resolved::default();
    if rows.is_empty() {
        return Ok(resolved);
    }
    let main = lock(connection, batch, table, rows).await?;
    let mut others: Vec<Version<'_>> = Vec::new();
    let mut contested = Vec::new();
    for (row, main) in rows.iter().zip(&main) {
        let before = others.len();
        for version in row.versions() {
            if version.fact.content_hash != main.content_hash {
                others.push(version);
            } else if version.dispatch_timestamp < main.dispatch_timestamp {
                lower(connection, batch, table, &version).await?;
            }
        }
        if others.len() > before {
            contested.push(*row);
        }
    }
    if others.is_empty() {
        return Ok(resolved);
    }
    resolved.variants = keep_aside(connection, batch, table, &others).await?;
    for row in contested {
        let key = (
            batch.network_id(row.winner.fact),
            batch.event_id(row.winner.fact),
        );
        settle(connection, table, key, partitions, &mut resolved.settled).await?;
    }
    Ok(resolved)
}

/// Locks the main rows in order; what each of them is by then.
async fn lock(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&Row<'_>],
) -> Result<Vec<Stored>, Fault> {
    let sql = format!(
        "select e.content_hash, e.dispatch_timestamp
         from unnest($1::text[], $2::text[]) k (network_id, event_id)
         cross join lateral (
             select e.content_hash, e.dispatch_timestamp from {table} e
             where e.network_id = k.network_id and e.event_id = k.event_id
             for update
         ) e",
        table = table.name(),
    );
    let (networks, events): (Vec<&str>, Vec<&str>) = rows
        .iter()
        .map(|row| {
            (
                batch.network_id(row.winner.fact),
                batch.event_id(row.winner.fact),
            )
        })
        .unzip();
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(networks)
        .bind(events)
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not lock the rows of repeated ids"))?;
    if found.len() != rows.len() {
        return Err(Fault::Race(anyhow::anyhow!(
            "a row went away between two statements"
        )));
    }
    Ok(found
        .iter()
        .map(|row| stored(row.get(0), row.get(1)))
        .collect())
}

/// Lowers the time of a content that stands in its table.
async fn lower(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    version: &Version<'_>,
) -> Result<(), Fault> {
    let sql = format!(
        "update {table} set dispatch_timestamp = $3 where network_id = $1 and event_id = $2",
        table = table.name(),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(batch.network_id(version.fact))
        .bind(batch.event_id(version.fact))
        .bind(version.dispatch_timestamp)
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not lower the time of an event"))?;
    Ok(())
}

/// Puts contents other than the main ones into `event_variants`, or lowers their times there; how many are new.
async fn keep_aside(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    others: &[Version<'_>],
) -> Result<u64, Fault> {
    let staged = stage(connection, batch, table, others).await?;
    let columns = columns(table);
    let sql = format!(
        "insert into event_variants as v (role, {columns})
         select '{role}', {columns} from {staged} order by network_id, event_id, content_hash
         on conflict (network_id, event_id, role, content_hash)
         do update set dispatch_timestamp = least(v.dispatch_timestamp, excluded.dispatch_timestamp)
         returning xmax = 0",
        role = table.role(),
    );
    let inserted: Vec<bool> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not keep other contents of repeated ids"))?;
    Ok(inserted.into_iter().filter(|new| *new).count() as u64)
}

/// Lets the least of all contents of one key stand in the table. Its main row is locked.
async fn settle(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
    partitions: &Partitions,
    settled: &mut Settled,
) -> Result<(), Fault> {
    const DOING: &str = "could not compare the contents of a repeated id";
    let sql = format!(
        "select content_hash, dispatch_timestamp from {table} where network_id = $1 and event_id = $2",
        table = table.name(),
    );
    let main = sqlx::query(AssertSqlSafe(sql))
        .bind(key.0)
        .bind(key.1)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
    let main = stored(main.get(0), main.get(1));
    match least_variant(connection, table, key, partitions).await? {
        Some(least) if least.rank() < main.rank() => {
            swap(connection, table, key, &least, settled).await
        }
        _ => Ok(()),
    }
}

/// The least of the contents of one key that do not stand in their table.
async fn least_variant(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
    partitions: &Partitions,
) -> Result<Option<Stored>, Fault> {
    let rows = sqlx::query(
        "select content_hash, dispatch_timestamp, partition_day - date '2000-01-01' from event_variants
         where network_id = $1 and event_id = $2 and role = $3",
    )
    .bind(key.0)
    .bind(key.1)
    .bind(table.role())
    .fetch_all(connection)
    .await
    .map_err(|error| Fault::new(error, "could not read the contents of a repeated id"))?;
    Ok(rows
        .iter()
        .filter(|row| belongs(table, row.get(2), partitions))
        .map(|row| stored(row.get(0), row.get(1)))
        .min_by_key(Stored::rank))
}

/// Whether a variant is of this table: one id may be a click of one day and of another.
fn belongs(table: Table, partition_day: Option<i32>, partitions: &Partitions) -> bool {
    match (table, partition_day) {
        (Table::Events(leaf), Some(day)) => partitions.leaf(Day(day)) == leaf,
        (Table::Adjustments, _) => true,
        (Table::Events(_), None) => false,
    }
}

/// Settles one key without a new content of it: its variants were kept aside when its day had another table, or somebody
/// deleted rows.
pub async fn settle_anew(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
    partitions: &Partitions,
) -> Result<Settled, Fault> {
    let mut settled = Settled::default();
    // Where another writer is faster, or a row goes away, the whole transaction is done again.
    if !lock_one(connection, table, key).await? {
        let Some(least) = least_variant(connection, table, key, partitions).await? else {
            return Ok(settled);
        };
        settled.came(promote(connection, table, key, &least).await?);
    }
    forget_twin(connection, table, key).await?;
    settle(connection, table, key, partitions, &mut settled).await?;
    Ok(settled)
}

/// Locks the main row of one key; whether there is one.
async fn lock_one(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
) -> Result<bool, Fault> {
    let sql = format!(
        "select from {table} where network_id = $1 and event_id = $2 for update",
        table = table.name(),
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(key.0)
        .bind(key.1)
        .fetch_optional(connection)
        .await
        .map_err(|error| Fault::new(error, "could not lock the row of a repeated id"))?;
    Ok(row.is_some())
}

/// Puts a variant into its table, where nothing stands for its key.
async fn promote(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
    least: &Stored,
) -> Result<Vec<PgRow>, Fault> {
    let columns = format!("{}, received_at", columns(table));
    let sql = format!(
        "insert into {name} ({columns})
         select {columns} from event_variants
         where network_id = $1 and event_id = $2 and role = '{role}' and content_hash = $3
         {returning}",
        name = table.name(),
        role = table.role(),
        returning = returning(),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(key.0)
        .bind(key.1)
        .bind(least.content_hash.as_slice())
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not put a content of an id into its table"))
}

/// Removes the variant that is the main row's own content, and keeps the lesser of their times.
async fn forget_twin(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
) -> Result<(), Fault> {
    let sql = format!(
        "with twin as (
             delete from event_variants v using {table} e
             where e.network_id = $1 and e.event_id = $2 and v.network_id = $1 and v.event_id = $2
                 and v.role = '{role}' and v.content_hash = e.content_hash
             returning v.dispatch_timestamp
         )
         update {table} e set dispatch_timestamp = twin.dispatch_timestamp from twin
         where e.network_id = $1 and e.event_id = $2
             and twin.dispatch_timestamp < coalesce(e.dispatch_timestamp, {NO_TIMESTAMP})",
        table = table.name(),
        role = table.role(),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(key.0)
        .bind(key.1)
        .execute(connection)
        .await
        .map_err(|error| {
            Fault::new(error, "could not remove a content that stands in its table")
        })?;
    Ok(())
}

/// What is asked of a row that comes or leaves: [`sums::COLUMNS`], its record, and whether that has a ledger.
fn returning() -> String {
    let columns = sums::COLUMNS.join(", ");
    format!("returning {columns}, record_id, tune_event_id is not null")
}

/// The records with a ledger of rows as [`returning`] gives them.
fn records_of(rows: &[PgRow]) -> Vec<(String, String)> {
    const RECORD: usize = sums::COLUMNS.len();
    let of_records = rows.iter().filter(|row| row.get(RECORD + 1));
    of_records
        .map(|row| (row.get("network_id"), row.get(RECORD)))
        .collect()
}

/// Exchanges the main row with one of its variants.
async fn swap(
    connection: &mut PgConnection,
    table: Table,
    key: (&str, &str),
    winner: &Stored,
    settled: &mut Settled,
) -> Result<(), Fault> {
    let columns = format!("{}, received_at", columns(table));
    let (name, role, returning) = (table.name(), table.role(), returning());
    // It may stand there already, from when its day had no partition of its own.
    let aside = format!(
        "insert into event_variants as v (role, {columns})
         select '{role}', {columns} from {name}
         where network_id = $1 and event_id = $2
         on conflict (network_id, event_id, role, content_hash)
         do update set dispatch_timestamp = least(v.dispatch_timestamp, excluded.dispatch_timestamp)
         {returning}"
    );
    let back = format!(
        "update {name} set ({columns}) = (
             select {columns} from event_variants v
             where v.network_id = $1 and v.event_id = $2 and v.role = '{role}' and v.content_hash = $3
         )
         where network_id = $1 and event_id = $2
         {returning}"
    );
    let gone = format!(
        "delete from event_variants
         where network_id = $1 and event_id = $2 and role = '{role}' and content_hash = $3"
    );
    let mut run = async |sql: String| {
        let has_hash = sql.contains("$3");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(key.0).bind(key.1);
        if has_hash {
            query = query.bind(winner.content_hash.as_slice());
        }
        query
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| Fault::new(error, "could not exchange the contents of a repeated id"))
    };
    settled.left(run(aside).await?);
    settled.came(run(back).await?);
    run(gone).await.map(drop)
}
