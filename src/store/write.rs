//! The write transaction, in its fixed phases, and what is done when it fails.

use super::batch::Batch;
use super::conflicts;
use super::connection::{Store, execute};
use super::facts::{self, Stored};
use super::fault::{Fault, Why};
use super::patches::{self, Records};
use super::plan::{Group, Part, Plan, Row, Table, Version};
use super::quarantine;

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

/// A fact that only Postgres refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its position in [`Batch::facts`].
    pub fact: usize,
    pub sqlstate: String,
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
        let key = |row: &Row<'_>| -> (String, String) {
            (
                batch.network_id(row.winner.fact).to_owned(),
                batch.record_id(row.winner.fact).to_owned(),
            )
        };
        let keys = |rows: &[&Row<'_>]| -> Vec<(String, String)> {
            rows.iter()
                .map(|r| {
                    (
                        batch.network_id(r.winner.fact).into(),
                        batch.event_id(r.winner.fact).into(),
                    )
                })
                .collect()
        };
        let all: Vec<&Row<'_>> = group.rows.iter().collect();
        let (new, known): (Vec<&Row<'_>>, Vec<(&Row<'_>, Stored)>) = match mode {
            Mode::Copy => {
                let found = look_up(connection, table, &keys(&all)).await?;
                let (new, known) = split(&all, &found);
                let winners: Vec<Version<'_>> = new.iter().map(|row| row.winner).collect();
                if !winners.is_empty() {
                    facts::copy_in(connection, batch, table, &table.name(), &winners).await?;
                }
                (new, known)
            }
            Mode::Insert => {
                let winners: Vec<Version<'_>> = all.iter().map(|row| row.winner).collect();
                let inserted = facts::insert_new(connection, batch, table, &winners).await?;
                let new: Vec<_> = all
                    .iter()
                    .zip(&inserted)
                    .filter(|(_, new)| **new)
                    .map(|(row, _)| *row)
                    .collect();
                let others: Vec<_> = all
                    .iter()
                    .zip(&inserted)
                    .filter(|(_, new)| !**new)
                    .map(|(row, _)| *row)
                    .collect();
                let found = look_up(connection, table, &keys(&others)).await?;
                let (gone, known) = split(&others, &found);
                if !gone.is_empty() {
                    return Err(Fault::Contention(anyhow::anyhow!(
                        "a row went away between two statements"
                    )));
                }
                (new, known)
            }
        };
        let contested: Vec<&Row<'_>> = {
            let new = new.iter().copied().filter(|row| !row.losers.is_empty());
            let known = known
                .iter()
                .filter(|(row, stored)| differs(row, stored))
                .map(|(row, _)| *row);
            let mut contested: Vec<_> = new.chain(known).collect();
            contested.sort_by(|a, b| batch.key(a.winner.fact).cmp(&batch.key(b.winner.fact)));
            contested
        };
        let resolved = conflicts::resolve(connection, batch, table, &contested, partitions).await?;
        let mut tally = Tally {
            variants: resolved.variants,
            ..Tally::default()
        };
        let versions: usize = group.rows.iter().map(|row| row.versions().count()).sum();
        tally.duplicates =
            (versions - new.len()) as u64 - resolved.variants.min((versions - new.len()) as u64);
        match table {
            Table::Events(_) => tally.stored = new.len() as u64,
            Table::Adjustments => {
                tally.adjustments = new.len() as u64;
                records.extend(
                    new.iter()
                        .filter(|row| !row.winner.fact.standalone)
                        .map(|row| key(row)),
                );
                records.extend(resolved.touched);
            }
        }
        Ok(tally)
    }
}

async fn look_up(
    connection: &mut sqlx::postgres::PgConnection,
    table: Table,
    keys: &[(String, String)],
) -> Result<Vec<Option<Stored>>, Fault> {
    let keys: Vec<(&str, &str)> = keys.iter().map(|(n, e)| (n.as_str(), e.as_str())).collect();
    facts::look_up(connection, table, &keys).await
}

/// Rows that are not there, and rows with what is.
fn split<'r, 'a>(
    rows: &[&'r Row<'a>],
    found: &[Option<Stored>],
) -> (Vec<&'r Row<'a>>, Vec<(&'r Row<'a>, Stored)>) {
    let mut missing = Vec::new();
    let mut known = Vec::new();
    for (row, stored) in rows.iter().zip(found) {
        match stored {
            Some(stored) => known.push((*row, *stored)),
            None => missing.push(*row),
        }
    }
    (missing, known)
}

/// Whether a row is more than a plain repetition of what is stored.
fn differs(row: &Row<'_>, stored: &Stored) -> bool {
    row.versions().any(|version| {
        version.fact.content_hash != stored.content_hash
            || version.dispatch_timestamp < stored.dispatch_timestamp
    })
}
