//! Adding facts: looking their keys up, and copying in those that are new.

use std::sync::LazyLock;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::batch::{Batch, ID_COLUMNS, NO_TIMESTAMP, NULL, Role, write_length};
use super::connection::execute;
use super::fault::Fault;
use super::partitions::Leaf;
use super::plan::{Table, Version};
use super::rollup::{Keeping, State};
use crate::formats::hasoffers::fields::FIELDS;
use crate::formats::value::Day;

/// What the database has for a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored {
    pub content_hash: [u8; 16],
    pub dispatch_timestamp: i64,
}

impl Stored {
    pub fn rank(&self) -> (i64, [u8; 16]) {
        (self.dispatch_timestamp, self.content_hash)
    }
}

/// The columns that are written, without `partition_day`.
static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    let fields = FIELDS.iter().map(|field| field.name);
    let columns: Vec<_> = ID_COLUMNS
        .into_iter()
        .chain(fields)
        .chain(["extra", "content_hash", "dispatch_timestamp"])
        .collect();
    columns.join(", ")
});

/// The columns that are written to a table, in the order of [`encode`].
pub fn columns(table: Table) -> String {
    match table {
        Table::Events(_) => format!("{}, partition_day", *COLUMNS),
        Table::Adjustments => COLUMNS.clone(),
    }
}

/// How many columns stand in a [`Batch`] row.
const ROW_COLUMNS: usize = ID_COLUMNS.len() + FIELDS.len() + 1;

/// Bytes that go into one message of COPY.
const CHUNK: usize = 256 << 10;

/// For each key, in order, what a table has for it. Takes no locks on rows.
///
/// `unnest … cross join lateral (… offset 0)` looks every key up by the index, also in a table without statistics.
pub async fn look_up(
    connection: &mut PgConnection,
    table: Table,
    keys: &[(&str, &str)],
) -> Result<Vec<Option<Stored>>, Fault> {
    // One row of arrays: each row of its own costs either side about as much as a key's look-up.
    let sql = format!(
        "select array_agg(k.position), array_agg(e.content_hash), array_agg(e.dispatch_timestamp)
         from unnest($1::text[], $2::text[]) with ordinality k (network_id, event_id, position)
         cross join lateral (
             select e.content_hash, e.dispatch_timestamp from {table} e
             where e.network_id = k.network_id and e.event_id = k.event_id
             offset 0
         ) e",
        table = table.name(),
    );
    let (networks, events): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    type Found = (
        Option<Vec<i64>>,
        Option<Vec<Vec<u8>>>,
        Option<Vec<Option<i64>>>,
    );
    let (positions, hashes, timestamps): Found = sqlx::query_as(AssertSqlSafe(sql))
        .bind(networks)
        .bind(events)
        .fetch_one(connection)
        .await
        .map_err(|error| Fault::new(error, "could not look up the keys of events"))?;
    let mut found = vec![None; keys.len()];
    let contents = hashes.iter().flatten().zip(timestamps.iter().flatten());
    for (position, (hash, timestamp)) in positions.iter().flatten().zip(contents) {
        found[*position as usize - 1] = Some(stored(hash, *timestamp));
    }
    Ok(found)
}

/// Confirms that days are partitions of `events`: what is written to a day that was detached is in no view. Whether sums are
/// kept is read along with it, see [`super::rollup`]: nothing where they are not. The transaction has written to tables of
/// facts, so that both stay what they are until it ends.
///
/// # Errors
/// A [`Fault::Race`] where a day was detached.
pub async fn confirm(
    connection: &mut PgConnection,
    days: &[Day],
) -> Result<Option<Keeping>, Fault> {
    let tables: Vec<String> = days.iter().map(|day| Leaf::Day(*day).table()).collect();
    let row = sqlx::query(
        "select r.state, (
             select t.name from unnest($1::text[]) t (name)
             where not exists (select from pg_inherits i where i.inhrelid = t.name::regclass)
             limit 1
         ), (select m.before - date '2000-01-01' from retention_marks m where m.kind = 'events')
         from rollup_state r",
    )
    .bind(tables)
    .fetch_one(connection)
    .await
    .map_err(|error| Fault::new(error, "could not see whether days are attached"))?;
    if let Some(table) = row.get::<Option<String>, _>(1) {
        return Err(Fault::Race(anyhow::anyhow!("{table} was detached")));
    }
    let closed_before = row.get::<Option<i32>, _>(2).map(Day);
    Ok((State::read(row.get(0)) != State::Off).then_some(Keeping { closed_before }))
}

pub fn stored(content_hash: &[u8], dispatch_timestamp: Option<i64>) -> Stored {
    let mut hash = [0; 16];
    if content_hash.len() == hash.len() {
        hash.copy_from_slice(content_hash);
    }
    Stored {
        content_hash: hash,
        dispatch_timestamp: dispatch_timestamp.unwrap_or(NO_TIMESTAMP),
    }
}

/// Copies rows straight into a table. Fast, and a [`Fault::Race`] if one of them is there by now.
pub async fn copy_in(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    into: &str,
    rows: &[Version<'_>],
) -> Result<(), Fault> {
    let statement = format!(
        "copy {into} ({}) from stdin (format binary)",
        columns(table)
    );
    let encode = |row: &Version<'_>, out: &mut Vec<u8>| encode(batch, table, row, out);
    copy(connection, &statement, rows, encode)
        .await
        .map_err(|error| Fault::new(error, "could not copy events in"))
}

/// Copies rows in binary; each is encoded with the number of its columns.
pub async fn copy<R>(
    connection: &mut PgConnection,
    statement: &str,
    rows: &[R],
    encode: impl Fn(&R, &mut Vec<u8>),
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(statement).await?;
    let mut chunk = Vec::with_capacity(CHUNK + (CHUNK >> 2));
    // Signature, flags, length of the header's extension.
    chunk.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in rows {
        encode(row, &mut chunk);
        if chunk.len() >= CHUNK {
            copy.send(chunk.as_slice()).await?;
            chunk.clear();
        }
    }
    chunk.extend_from_slice(&(-1i16).to_be_bytes());
    copy.send(chunk.as_slice()).await?;
    copy.finish().await.map(drop)
}

fn encode(batch: &Batch, table: Table, version: &Version<'_>, out: &mut Vec<u8>) {
    let day = match (table, version.fact.role) {
        (Table::Events(_), Role::Original { partition_day }) => Some(partition_day),
        _ => None,
    };
    let count = ROW_COLUMNS + 2 + usize::from(day.is_some());
    out.extend_from_slice(&(count as i16).to_be_bytes());
    out.extend_from_slice(batch.row(version.fact));
    write_length(version.fact.content_hash.len(), out);
    out.extend_from_slice(&version.fact.content_hash);
    if version.dispatch_timestamp == NO_TIMESTAMP {
        out.extend_from_slice(&NULL);
    } else {
        write_length(8, out);
        out.extend_from_slice(&version.dispatch_timestamp.to_be_bytes());
    }
    if let Some(day) = day {
        write_length(4, out);
        out.extend_from_slice(&day.0.to_be_bytes());
    }
}

/// Copies rows into a temporary table of this transaction; its name.
pub async fn stage(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[Version<'_>],
) -> Result<String, Fault> {
    let (like, staged) = match table {
        Table::Events(_) => ("events", "pg_temp.staged_events"),
        Table::Adjustments => ("adjustments", "pg_temp.staged_adjustments"),
    };
    let sql = format!(
        "set local client_min_messages to warning;
         create temporary table if not exists {name} on commit drop as select {columns} from {like} with no data;
         truncate {staged}",
        name = staged.trim_start_matches("pg_temp."),
        columns = columns(table),
    );
    execute(connection, sql)
        .await
        .map_err(|error| Fault::new(error, "could not make a temporary table"))?;
    copy_in(connection, batch, table, staged, rows).await?;
    Ok(staged.to_owned())
}

/// Inserts the rows that are not there yet, waiting for other writers of the same keys; which of `rows` went in.
pub async fn insert_new(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[Version<'_>],
) -> Result<Vec<bool>, Fault> {
    let staged = stage(connection, batch, table, rows).await?;
    let columns = columns(table);
    // Without a conflict target: every unique index of the table counts.
    let sql = format!(
        "insert into {table} ({columns})
         select {columns} from {staged} order by network_id, event_id
         on conflict do nothing
         returning network_id, event_id",
        table = table.name(),
    );
    let inserted = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not insert events"))?;
    let inserted: std::collections::HashSet<(String, String)> = inserted
        .into_iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    Ok(rows
        .iter()
        .map(|row| {
            let key = (
                batch.network_id(row.fact).to_owned(),
                batch.event_id(row.fact).to_owned(),
            );
            inserted.contains(&key)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_columns_are_written_as_named() {
        assert_eq!(COLUMNS.split(", ").count(), ROW_COLUMNS + 2);
    }
}
