//! The write transaction, in its fixed phases, and what is done when it fails.

use super::adding::{Added, Mode, add};
use super::batch::{Batch, Fact};
use super::conflicts;
use super::connection::{Store, execute};
use super::documents;
use super::facts::{self, Stored};
use super::fault::{Fault, Why};
use super::patches::{self, Records};
use super::plan::{Group, Part, Plan, Row, Table};
use super::positions;
use super::quarantine;
use super::refused::Refused;
use super::retention;
use super::rollup::sums::{Exchanged, Groups};

/// What became of the events of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New rows of `events`, and new documents.
    pub stored: u64,
    /// New rows of `adjustments`, and what changes a document that is there already.
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
    /// Whether the checkpoint is saved. It is not while something was refused, which is not in quarantine yet.
    is_saved: bool,
}

/// From this many events on, a batch that is mostly refused is our mistake.
pub const MASS: usize = 20;

/// After a key turned out to be there already, so many batches are looked up before they are copied: where one comes from,
/// there are more.
const CAREFUL_BATCHES: u32 = 100;

impl Store {
    /// Writes a batch of one source: all of it is committed when this returns, but for the events that Postgres refuses,
    /// which are found one by one.
    ///
    /// What other workers of this process are writing, or what it has written lately, comes last and by itself: then
    /// they have mostly ended, and nobody who waits for them holds a lock.
    ///
    /// # Errors
    /// Nothing may be acknowledged; the same batch again does no harm.
    pub async fn write(&mut self, source: &str, batch: &Batch) -> Result<Written, Fault> {
        let whole = Part::whole(batch);
        let claim = self.claims.take(whole.keys());
        let (new, again) = whole.split(|key| claim.is_likely_new(key));
        let mut written = Written::default();
        let first = match self.careful_batches {
            0 => Mode::Copy,
            _ => Mode::LookUp,
        };
        self.careful_batches = self.careful_batches.saturating_sub(1);
        self.write_parts(source, new, first, &mut written).await?;
        if !again.is_empty() {
            claim.wait_for_earlier().await;
            self.write_parts(source, again, Mode::LookUp, &mut written)
                .await?;
        }
        self.try_refused_again(source, batch, &mut written).await?;
        if !written.is_saved && written.refused.is_empty() {
            let last = Part::of_checkpoint(batch);
            self.write_parts(source, last, Mode::LookUp, &mut written)
                .await?;
        }
        claim.written();
        Ok(written)
    }

    /// Writes a part as a whole if it can be, and else in ever smaller pieces.
    async fn write_parts(
        &mut self,
        source: &str,
        whole: Part<'_>,
        first: Mode,
        written: &mut Written,
    ) -> Result<(), Fault> {
        let batch = whole.batch;
        let mut parts = vec![whole];
        while let Some(mut part) = parts.pop() {
            if !written.refused.is_empty() {
                part.checkpoint = None;
            }
            match self.write_part(source, &part, first).await {
                Ok(tally) => {
                    written.tally += tally;
                    written.is_saved |= part.checkpoint.is_some();
                }
                Err(Fault::Data(_) | Fault::TooMuch(_)) if part.len() > 1 => {
                    let (first, second) = part.halves();
                    parts.extend([second, first]);
                }
                Err(Fault::Data(sqlstate)) => {
                    let Some(item) = part.only_item() else {
                        return Err(Fault::Data(sqlstate));
                    };
                    written.refused.push(Refused { item, sqlstate });
                    self.expect_few(written, batch)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Tries what was refused once more, each by itself, now that the others are in: a refusal of everything that ended while culprits
    /// were looked for leaves none.
    async fn try_refused_again(
        &mut self,
        source: &str,
        batch: &Batch,
        written: &mut Written,
    ) -> Result<(), Fault> {
        for refused in std::mem::take(&mut written.refused) {
            match self
                .write_part(source, &Part::of_one(batch, refused.item), Mode::LookUp)
                .await
            {
                Ok(tally) => written.tally += tally,
                Err(Fault::Data(_)) => written.refused.push(refused),
                Err(fault) => return Err(fault),
            }
        }
        // As they stand in their bodies, where they are looked for from front to back.
        written.refused.sort_by_key(|refused| {
            let origin = batch.origin(refused.item);
            (origin.delivery, origin.event)
        });
        Ok(())
    }

    fn expect_few(&self, written: &Written, batch: &Batch) -> Result<(), Fault> {
        let (refused, all) = (written.refused.len(), batch.events());
        if all >= MASS && refused * 2 > all {
            let sqlstate = &written.refused[0].sqlstate;
            return Err(Fault::MassRefusal(anyhow::anyhow!(
                "the database refused more than half of {all} events (SQLSTATE {sqlstate}): nothing is put into quarantine"
            )));
        }
        Ok(())
    }

    /// One part in one transaction; again in a more careful way if a key was there already, or if a table is not what it
    /// was: a day may have been dropped or moved.
    async fn write_part(
        &mut self,
        source: &str,
        part: &Part<'_>,
        first: Mode,
    ) -> Result<Tally, Fault> {
        if part.is_empty() {
            return Ok(Tally::default());
        }
        if first == Mode::Copy {
            match self.attempt(source, part, Mode::Copy).await {
                Err(Fault::Race(_)) => self.careful_batches = CAREFUL_BATCHES,
                Err(Fault::Down(Why::Misconfigured, _)) => {}
                outcome => return outcome,
            }
        }
        match self.attempt(source, part, Mode::LookUp).await {
            Err(Fault::Race(_) | Fault::Down(Why::Misconfigured, _)) => {
                self.attempt(source, part, Mode::Insert).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&mut self, source: &str, part: &Part<'_>, mode: Mode) -> Result<Tally, Fault> {
        // Twice what the server allows for one statement: then its answer is not to be expected any more.
        let deadline = self.settings.statement_timeout * 2;
        let sentence = format!("no answer from the database in {} s", deadline.as_secs());
        let transact = tokio::time::timeout(deadline, self.transact(source, part, mode));
        let Ok(outcome) = transact.await else {
            self.disconnect();
            // A server that is gone shows when the connection is made anew; one that is slow gets less at a time.
            return Err(match part.len() {
                1 => Fault::down(Why::Unavailable, sentence),
                _ => Fault::TooMuch(anyhow::anyhow!(sentence)),
            });
        };
        match &outcome {
            Ok(_) => {}
            Err(Fault::Down(..) | Fault::Unknown(_) | Fault::RolledBack(_)) => self.disconnect(),
            Err(Fault::Race(_)) => {
                let look_again = tokio::time::timeout(deadline, self.look_again());
                let looked = look_again
                    .await
                    .unwrap_or_else(|_| Err(Fault::down(Why::Unavailable, sentence)));
                if let Err(fault) = looked {
                    self.disconnect();
                    return Err(fault);
                }
            }
            Err(_) => self.roll_back().await,
        }
        outcome
    }

    /// Rolls back, and reads again which partitions there are.
    async fn look_again(&mut self) -> Result<(), Fault> {
        self.roll_back().await;
        self.connect().await?;
        let Store {
            connection: Some(connection),
            partitions,
            settings,
            ..
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
        let mut changes = Changes::default();
        // Originals with their conflicts, one partition after the other, then adjustments with theirs.
        for group in &plan.groups {
            tally += self
                .add_facts(plan.batch, group, mode, &mut changes)
                .await?;
        }
        let connection = self.connected()?;
        if !plan.groups.is_empty() {
            let days = plan.days();
            let rollup = facts::confirm(connection, &days).await?;
            retention::late::note(connection, &days).await?;
            if let Some(rollup) = rollup {
                let mut groups = Groups::new(rollup);
                groups.add_facts(plan.batch, &changes.added)?;
                groups.add_exchanged(&changes.exchanged)?;
                groups.append(connection).await?;
            }
        }
        patches::fold_again(connection, &changes.records).await?;
        tally += documents::add(connection, &plan.documents).await?;
        quarantine::add(connection, source, plan.rejects).await?;
        if let Some(checkpoint) = plan.checkpoint {
            positions::save(connection, source, checkpoint).await?;
        }
        // COMMIT of a failed transaction answers ROLLBACK, and the library does not tell the two apart: in one that failed
        // unnoticed the statement before it fails.
        execute(connection, "select 1; commit".to_owned())
            .await
            .map_err(Fault::of_commit)?;
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
            ..
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
    async fn add_facts<'a>(
        &mut self,
        batch: &Batch,
        group: &Group<'a>,
        mode: Mode,
        changes: &mut Changes<'a>,
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
        let Added { new, known } = add(connection, batch, table, &group.rows, mode).await?;
        let contested = contested(batch, &new, &known);
        let resolved = conflicts::resolve(connection, batch, table, &contested, partitions).await?;
        if table == Table::Adjustments {
            changes.records.extend(adjusted(batch, &new));
            changes.records.extend(resolved.settled.touched);
        }
        changes.added.extend(new.iter().map(|row| row.winner.fact));
        changes.exchanged.extend(resolved.settled.exchanged);
        Ok(tally_of(group, new.len(), resolved.variants))
    }
}

/// What a transaction has changed in the tables of facts so far.
#[derive(Default)]
struct Changes<'a> {
    /// Facts of the batch that went in.
    added: Vec<&'a Fact>,
    exchanged: Exchanged,
    /// Records whose ledgers changed.
    records: Records,
}

/// The records that new adjustments belong to.
fn adjusted(batch: &Batch, new: &[&Row<'_>]) -> impl Iterator<Item = (String, String)> {
    let facts = new.iter().map(|row| row.winner.fact);
    facts.filter(|fact| !fact.standalone).map(|fact| {
        let network_id = batch.network_id(fact).to_owned();
        (network_id, batch.record_id(fact).to_owned())
    })
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

fn tally_of(group: &Group<'_>, new: usize, variants: u64) -> Tally {
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
