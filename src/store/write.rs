//! The write transaction, in its fixed phases, and what is done when it fails.

use sqlx::postgres::PgConnection;

use super::batch::Batch;
use super::conflicts;
use super::connection::{Store, execute};
use super::facts::{self, Stored};
use super::fault::{Fault, Why};
use super::patches::{self, Records};
use super::plan::{Group, Part, Plan, Row, Table, Version};
use super::quarantine;
use super::refused::Refused;

/// What became of the facts of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New rows of `events`.
    pub stored: u64,
    /// New rows of `adjustments`.
    pub adjustments: u64,
    /// Were there already.
    pub duplicates: u64,
    /// Other contents of an id that was there already.
    pub variants: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.stored += other.stored;
        self.adjustments += other.adjustments;
        self.duplicates += other.duplicates;
        self.variants += other.variants;
    }
}

/// What became of a batch. All of it is committed but for what was refused.
#[derive(Debug, Default)]
pub struct Written {
    pub tally: Tally,
    pub refused: Vec<Refused>,
}

/// How new rows go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Look the keys up, copy what is new: the fast path.
    Copy,
    /// Insert what is not there, waiting for other writers: after one of them was faster.
    Insert,
}

/// From this many facts on, a batch that is mostly refused is our mistake.
pub const MASS: usize = 20;

impl Store {
    /// Writes a batch of one source: all of it is committed when this returns, but for the facts that Postgres refuses,
    /// which are found one by one.
    ///
    /// # Errors
    /// Nothing may be acknowledged; the same batch again does no harm.
    pub async fn write(&mut self, source: &str, batch: &Batch) -> Result<Written, Fault> {
        let mut written = Written::default();
        let mut parts = vec![Part::whole(batch)];
        while let Some(part) = parts.pop() {
            match self.write_part(source, &part).await {
                Ok(tally) => written.tally += tally,
                Err(Fault::Data(_) | Fault::TooMuch(_)) if part.len() > 1 => {
                    let (first, second) = part.halves();
                    parts.extend([second, first]);
                }
                Err(Fault::Data(sqlstate)) if part.facts.len() == 1 => {
                    written.refused.push(Refused {
                        fact: part.facts[0],
                        sqlstate,
                    });
                    self.expect_few(&written, batch)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(written)
    }

    fn expect_few(&self, written: &Written, batch: &Batch) -> Result<(), Fault> {
        let (refused, all) = (written.refused.len(), batch.facts().len());
        if all >= MASS && refused * 2 > all {
            let sqlstate = &written.refused[0].sqlstate;
            return Err(Fault::MassRefusal(anyhow::anyhow!(
                "the database refused more than half of {all} events (SQLSTATE {sqlstate}): nothing is put into quarantine"
            )));
        }
        Ok(())
    }

    /// One part in one transaction; again with INSERT if another writer was faster, or if a table is not what it was: a
    /// day may have been dropped or moved.
    async fn write_part(&mut self, source: &str, part: &Part<'_>) -> Result<Tally, Fault> {
        match self.attempt(source, part, Mode::Copy).await {
            Err(Fault::Race(_) | Fault::Down(Why::Misconfigured, _)) => {
                self.attempt(source, part, Mode::Insert).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&mut self, source: &str, part: &Part<'_>, mode: Mode) -> Result<Tally, Fault> {
        // Twice what the server allows for one statement: then its answer is not to be expected any more.
        let deadline = self.settings.statement_timeout * 2;
        let outcome = match tokio::time::timeout(deadline, self.transact(source, part, mode)).await
        {
            Ok(outcome) => outcome,
            Err(_) => {
                self.disconnect();
                let sentence = format!("no answer from the database in {} s", deadline.as_secs());
                // A server that is gone shows when the connection is made anew; one that is slow gets less at a time.
                return Err(match part.len() {
                    1 => Fault::down(Why::Unavailable, sentence),
                    _ => Fault::TooMuch(anyhow::anyhow!(sentence)),
                });
            }
        };
        match &outcome {
            Ok(_) => {}
            Err(Fault::Down(..)) => self.disconnect(),
            Err(Fault::Race(_)) => {
                self.roll_back().await;
                self.reload_partitions().await?;
            }
            Err(_) => self.roll_back().await,
        }
        outcome
    }

    async fn reload_partitions(&mut self) -> Result<(), Fault> {
        self.connect().await?;
        let Store {
            connection: Some(connection),
            partitions,
            settings,
        } = self
        else {
            return Ok(());
        };
        partitions.load(connection, settings).await
    }

    async fn transact(
        &mut self,
        source: &str,
        part: &Part<'_>,
        mode: Mode,
    ) -> Result<Tally, Fault> {
        self.connect().await?;
        self.make_days(part).await?;
        let plan = Plan::new(part, &self.partitions);
        let begin = self.settings.begin();
        execute(self.connected()?, begin)
            .await
            .map_err(|error| Fault::new(error, "could not begin a transaction"))?;
        let mut tally = Tally {
            duplicates: plan.repeated,
            ..Tally::default()
        };
        let mut records = Records::new();
        // Originals with their conflicts, one partition after the other, then adjustments with theirs.
        for group in &plan.groups {
            tally += self
                .add_facts(plan.batch, group, mode, &mut records)
                .await?;
        }
        let connection = self.connected()?;
        patches::fold_again(connection, &records).await?;
        quarantine::add(connection, source, plan.rejects).await?;
        // COMMIT of a failed transaction answers ROLLBACK, and the library does not tell the two apart: in one that failed
        // unnoticed the statement before it fails.
        execute(connection, "select 1; commit".to_owned())
            .await
            .map_err(|error| Fault::new(error, "could not commit: the outcome is unknown"))?;
        Ok(tally)
    }

    /// Makes the days that the part needs. Where readers of `events` (a dump, a long report) do not let go of it, their
    /// events go to the default partition rather than wait for hours.
    async fn make_days(&mut self, part: &Part<'_>) -> Result<(), Fault> {
        let days = part
            .facts
            .iter()
            .filter_map(|at| part.batch.facts()[*at].day());
        let missing = self.partitions.missing(days);
        if missing.is_empty() {
            return Ok(());
        }
        let Store {
            connection: Some(connection),
            partitions,
            settings,
        } = self
        else {
            return Ok(());
        };
        match partitions.make(connection, settings, missing.clone()).await {
            Err(Fault::Contention(error)) => {
                tracing::warn!(%error, days = missing.len(), "days stay in the default partition");
                partitions.leave_out(missing);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Adds the rows of one table and resolves their conflicts.
    async fn add_facts(
        &mut self,
        batch: &Batch,
        group: &Group<'_>,
        mode: Mode,
        records: &mut Records,
    ) -> Result<Tally, Fault> {
        let Store {
            connection: Some(connection),
            partitions,
            ..
        } = self
        else {
            return Err(Fault::down(
                Why::Unavailable,
                "not connected to the database",
            ));
        };
        let table = group.table;
        let rows: Vec<&Row<'_>> = group.rows.iter().collect();
        let Added { new, known } = match mode {
            Mode::Copy => add_by_copy(connection, batch, table, &rows).await?,
            Mode::Insert => add_by_insert(connection, batch, table, &rows).await?,
        };
        let contested = contested(batch, &new, &known);
        let resolved = conflicts::resolve(connection, batch, table, &contested, partitions).await?;
        let tally = tally(group, new.len(), resolved.variants);
        if table == Table::Adjustments {
            let ledgers = new.iter().map(|row| row.winner.fact);
            records.extend(ledgers.filter(|fact| !fact.standalone).map(|fact| {
                let network_id = batch.network_id(fact).to_owned();
                (network_id, batch.record_id(fact).to_owned())
            }));
            records.extend(resolved.touched);
        }
        Ok(tally)
    }
}

/// What became of the rows of one table, before their conflicts.
struct Added<'r, 'a> {
    new: Vec<&'r Row<'a>>,
    /// With what was there already.
    known: Vec<(&'r Row<'a>, Stored)>,
}

async fn add_by_copy<'r, 'a>(
    connection: &mut PgConnection,
    batch: &Batch,
    table: Table,
    rows: &[&'r Row<'a>],
) -> Result<Added<'r, 'a>, Fault> {
    let (new, known) = look_up(connection, batch, table, rows).await?;
    let winners: Vec<Version<'_>> = new.iter().map(|row| row.winner).collect();
    if !winners.is_empty() {
        facts::copy_in(connection, batch, table, &table.name(), &winners).await?;
    }
    Ok(Added { new, known })
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

/// The rows that came with more than one content, in the order in which keys are locked.
fn contested<'r, 'a>(
    batch: &Batch,
    new: &[&'r Row<'a>],
    known: &[(&'r Row<'a>, Stored)],
) -> Vec<&'r Row<'a>> {
    let new = new.iter().copied().filter(|row| !row.losers.is_empty());
    let known = known.iter().filter(|(row, stored)| differs(row, stored));
    let mut contested: Vec<_> = new.chain(known.map(|(row, _)| *row)).collect();
    contested.sort_by(|a, b| batch.key(a.winner.fact).cmp(&batch.key(b.winner.fact)));
    contested
}

fn tally(group: &Group<'_>, new: usize, variants: u64) -> Tally {
    let versions: usize = group.rows.iter().map(|row| row.versions().count()).sum();
    let mut tally = Tally {
        duplicates: ((versions - new) as u64).saturating_sub(variants),
        variants,
        ..Tally::default()
    };
    match group.table {
        Table::Events(_) => tally.stored = new as u64,
        Table::Adjustments => tally.adjustments = new as u64,
    }
    tally
}

/// Whether a row is more than a plain repetition of what is stored.
fn differs(row: &Row<'_>, stored: &Stored) -> bool {
    row.versions().any(|version| {
        version.fact.content_hash != stored.content_hash
            || version.dispatch_timestamp < stored.dispatch_timestamp
    })
}
