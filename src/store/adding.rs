//! Adding the rows of one table: three ways, of which the fast one bets that they are new.

use sqlx::postgres::PgConnection;

use super::batch::Batch;
use super::facts::{self, Stored};
use super::fault::Fault;
use super::plan::{Row, Table, Version};

/// How rows go in. Each way finds a key that is there already in time; they differ in what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Copy them. A key that is there fails the whole transaction. Looking every key up first is a fifth of what Postgres
    /// has to do for a batch, and finds nothing nearly always.
    Copy,
    /// Look the keys up, copy what is missing. A key that another process adds meanwhile fails the whole transaction.
    LookUp,
    /// Insert what is not there, waiting for other writers. Takes twice as long.
    Insert,
}

/// What became of the rows of one table, before their conflicts.
pub struct Added<'r, 'a> {
    pub new: Vec<&'r Row<'a>>,
    /// With what was there already.
    pub known: Vec<(&'r Row<'a>, Stored)>,
}

/// Adds what is not there yet.
///
/// # Errors
/// A [`Fault::Race`] where another way has to be tried.
pub async fn add<'r, 'a>(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &'r [Row<'a>],
    mode: Mode,
) -> Result<Added<'r, 'a>, Fault> {
    let rows: Vec<&Row<'_>> = rows.iter().collect();
    let (new, known) = match mode {
        Mode::Copy => (rows, Vec::new()),
        Mode::LookUp => look_up(connection, batch, table, &rows).await?,
        Mode::Insert => return add_by_insert(connection, batch, table, &rows).await,
    };
    copy(connection, batch, table, &new).await?;
    Ok(Added { new, known })
}

async fn copy(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&Row<'_>],
) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let winners: Vec<Version<'_>> = rows.iter().map(|row| row.winner).collect();
    facts::copy_in(connection, batch, table, &table.name(), &winners).await
}

async fn add_by_insert<'r, 'a>(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&'r Row<'a>],
) -> Result<Added<'r, 'a>, Fault> {
    let (mut new, others) = insert(connection, batch, table, rows).await?;
    let (gone, mut known) = look_up(connection, batch, table, &others).await?;
    if !gone.is_empty() {
        // Neither inserted nor there: what was in their way was deleted between the two statements, so they go in now. Or
        // it is not their own key that is in their way, but a unique index of the database's owner: that stays.
        let (late, others) = insert(connection, batch, table, &gone).await?;
        new.extend(late);
        let (refused, found) = look_up(connection, batch, table, &others).await?;
        if !refused.is_empty() {
            return Err(Fault::Data("23505".to_owned()));
        }
        known.extend(found);
    }
    Ok(Added { new, known })
}

/// Rows that went in, and the others.
async fn insert<'r, 'a>(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&'r Row<'a>],
) -> Result<(Vec<&'r Row<'a>>, Vec<&'r Row<'a>>), Fault> {
    let winners: Vec<Version<'_>> = rows.iter().map(|row| row.winner).collect();
    let inserted = facts::insert_new(connection, batch, table, &winners).await?;
    let (new, others): (Vec<_>, Vec<_>) = rows
        .iter()
        .zip(inserted)
        .partition(|(_, inserted)| *inserted);
    let rows = |pairs: Vec<(&&'r Row<'a>, bool)>| pairs.into_iter().map(|(row, _)| *row).collect();
    Ok((rows(new), rows(others)))
}

/// Rows that are not there, and rows with what is.
async fn look_up<'r, 'a>(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&'r Row<'a>],
) -> Result<(Vec<&'r Row<'a>>, Vec<(&'r Row<'a>, Stored)>), Fault> {
    if rows.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let facts = rows.iter().map(|row| row.winner.fact);
    let keys: Vec<(&str, &str)> = facts
        .map(|fact| (batch.network_id(fact), batch.event_id(fact)))
        .collect();
    let found = facts::look_up(connection, table, &keys).await?;
    let mut missing = Vec::new();
    let mut known = Vec::new();
    for (row, stored) in rows.iter().zip(found) {
        match stored {
            Some(stored) => known.push((*row, stored)),
            None => missing.push(*row),
        }
    }
    Ok((missing, known))
}
