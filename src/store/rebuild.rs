//! Mending what is derived: ids with several contents are settled anew, ledgers whose patches are not what they come to are
//! folded again, and the sums of the rollup get what they lack. Under the locks of the writers and in their order, so it is
//! safe while daemons run; what is right already is not touched.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::conflicts::settle_anew;
use super::connection::{Settings, execute};
use super::facts;
use super::fault::{Fault, Why};
use super::partitions::{Leaf, Partitions};
use super::patches::{self, Records};
use super::plan::Table;
use super::rollup::difference::mend;
use super::rollup::sums::Groups;
use super::verify::ledgers::{Difference, Key, Wrong};
use super::verify::{Scope, Snapshot, ledgers, rows};
use crate::formats::value::Day;

/// Records that one transaction mends.
const AT_ONCE: usize = 100;
/// Attempts of one transaction.
const ATTEMPTS: u32 = 10;
/// Records between two reports of progress.
const PACE: u64 = 1_000;

/// One run. What it did so far can be read while it runs, and after it failed.
pub struct Rebuild {
    settings: Settings,
    pub scope: Scope,
    /// Every record up to this one is right. To begin with: where to go on.
    pub position: Option<Key>,
    /// Records that were looked at.
    pub records: u64,
    /// Of these, those whose patches were written.
    pub changed: u64,
    /// Ids that were settled.
    pub settled: u64,
    /// Groups of the rollup whose sums were mended.
    pub groups: u64,
    /// Records whose ledgers hold something that cannot be folded; and those with two patches.
    pub refused: u64,
}

impl Rebuild {
    pub fn new(settings: &Settings, scope: Scope, after: Option<Key>) -> Rebuild {
        Rebuild {
            settings: settings.clone(),
            scope,
            position: after,
            records: 0,
            changed: 0,
            settled: 0,
            groups: 0,
            refused: 0,
        }
    }

    /// Goes through the records in the order of their keys. `tell` is called now and then, and before a transaction is
    /// tried again; where it says false, it stops. Whether it came to the end.
    ///
    /// What is wrong is found in one snapshot. It may be mended by a daemon before we lock it; then folding it again
    /// changes nothing.
    ///
    /// # Errors
    /// The database does not answer or refuses us. What was mended stays so.
    pub async fn run(&mut self, mut tell: impl FnMut(&Rebuild) -> bool) -> Result<bool, Fault> {
        let mut snapshot = Snapshot::take(&self.settings, self.scope.clone()).await?;
        let mut writer = Writer::connect(&self.settings).await?;
        if !self.settle(&mut snapshot, &mut writer, &mut tell).await? {
            return Ok(false);
        }
        let (connection, scope, _) = snapshot.parts();
        let mut stream = ledgers::Records::read(connection, scope, self.position.as_ref());
        let mut wrong = Records::new();
        let mut last = None;
        while let Some(record) = stream.next().await? {
            self.records += 1;
            match record.difference() {
                None => {}
                Some(Difference {
                    wrong: Wrong::NoAmount | Wrong::ManyPatches,
                    ..
                }) => self.refused += 1,
                Some(_) => drop(wrong.insert(record.key.clone())),
            }
            last = Some(record.key);
            if wrong.len() == AT_ONCE || self.records.is_multiple_of(PACE) {
                let is_done = self.fold(&mut writer, &mut wrong, &mut last, &mut tell);
                if !is_done.await? || !tell(self) {
                    return Ok(false);
                }
            }
        }
        let is_done = self.fold(&mut writer, &mut wrong, &mut last, &mut tell);
        if !is_done.await? || !tell(self) {
            return Ok(false);
        }
        drop(stream);
        snapshot.close().await;
        self.groups = match self.scope {
            Scope::All => mend(&self.settings, None).await?,
            Scope::Since(day) => mend(&self.settings, Some(day)).await?,
            Scope::Record(..) => 0,
        };
        Ok(true)
    }

    /// Settles the ids of V6. False where it was stopped.
    async fn settle(
        &mut self,
        snapshot: &mut Snapshot,
        writer: &mut Writer,
        tell: &mut impl FnMut(&Rebuild) -> bool,
    ) -> Result<bool, Fault> {
        let (connection, scope, days) = snapshot.parts();
        let found = sqlx::query(AssertSqlSafe(rows::unsettled_keys(scope, days)))
            .persistent(false)
            .fetch_all(connection)
            .await
            .map_err(|error| Fault::new(error, "could not look for ids to settle"))?;
        let ids: Vec<Id> = found
            .iter()
            .map(|row| Id {
                is_adjustment: row.get::<&str, _>(0) == "adjustment",
                key: (row.get(1), row.get(2)),
                day: row.get::<Option<i32>, _>(3).map(Day),
            })
            .collect();
        // One in a transaction: a writer adds rows before it locks those that conflict, and we do both for each id. So we
        // wait for no id while we hold another.
        let none = Records::new();
        for id in &ids {
            let mended = writer.mend(Some(id), &none, || tell(self));
            if !mended.await? {
                return Ok(false);
            }
            self.settled += 1;
            if !tell(self) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Folds the ledgers of `wrong`; then everything up to `last` is right. False where it was stopped before.
    async fn fold(
        &mut self,
        writer: &mut Writer,
        wrong: &mut Records,
        last: &mut Option<Key>,
        tell: &mut impl FnMut(&Rebuild) -> bool,
    ) -> Result<bool, Fault> {
        if !wrong.is_empty() {
            let mended = writer.mend(None, wrong, || tell(self));
            if !mended.await? {
                return Ok(false);
            }
            self.changed += wrong.len() as u64;
            wrong.clear();
        }
        if last.is_some() {
            self.position = last.take();
        }
        Ok(true)
    }
}

/// An id of which a variant is not settled.
struct Id {
    is_adjustment: bool,
    key: Key,
    /// The partition day of an original.
    day: Option<Day>,
}

impl Id {
    fn table(&self, partitions: &Partitions) -> Option<Table> {
        if self.is_adjustment {
            return Some(Table::Adjustments);
        }
        self.day.map(|day| Table::Events(partitions.leaf(day)))
    }
}

/// The session that writes.
struct Writer {
    settings: Settings,
    connection: PgConnection,
    partitions: Partitions,
}

impl Writer {
    async fn connect(settings: &Settings) -> Result<Writer, Fault> {
        let mut connection = settings.connect().await?;
        let mut partitions = Partitions::new(settings.partition_by);
        partitions.load(&mut connection, settings).await?;
        Ok(Writer {
            settings: settings.clone(),
            connection,
            partitions,
        })
    }

    /// One transaction; again where others were in its way, unless `go_on` says no: then it is false.
    async fn mend(
        &mut self,
        id: Option<&Id>,
        records: &Records,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<bool, Fault> {
        // As long as a writer's, who waits no longer for an answer either. Whoever gets the fault drops the connection.
        let deadline = self.settings.statement_timeout * 2;
        let mut attempt = 1;
        loop {
            let fault = match in_time(deadline, self.transact(id, records)).await {
                Ok(()) => return Ok(true),
                Err(fault) => fault,
            };
            if !matches!(fault, Fault::Race(_) | Fault::Contention(_)) || attempt == ATTEMPTS {
                return Err(fault);
            }
            if !go_on() {
                return Ok(false);
            }
            attempt += 1;
            in_time(deadline, self.look_again()).await?;
            tokio::time::sleep(Duration::from_millis(rand::random_range(10..500))).await;
        }
    }

    /// Rolls back, and reads again which partitions there are.
    async fn look_again(&mut self) -> Result<(), Fault> {
        execute(&mut self.connection, "rollback".to_owned())
            .await
            .map_err(|error| Fault::new(error, "could not roll back"))?;
        self.partitions
            .load(&mut self.connection, &self.settings)
            .await
    }

    /// The phases of a writer, in its order: events or adjustments, then patches.
    async fn transact(&mut self, id: Option<&Id>, records: &Records) -> Result<(), Fault> {
        execute(&mut self.connection, self.settings.begin())
            .await
            .map_err(|error| Fault::new(error, "could not begin a transaction"))?;
        let mut records = records.clone();
        if let Some(id) = id
            && let Some(table) = id.table(&self.partitions)
        {
            let key = (id.key.0.as_str(), id.key.1.as_str());
            let settled = settle_anew(&mut self.connection, table, key, &self.partitions).await?;
            if table == Table::Adjustments {
                records.extend(settled.touched);
            }
            let days = match table {
                Table::Events(Leaf::Day(day)) => vec![day],
                _ => Vec::new(),
            };
            let rollup = facts::confirm(&mut self.connection, &days).await?;
            if let Some(rollup) = rollup {
                let mut groups = Groups::new(rollup);
                groups.add_exchanged(&settled.exchanged)?;
                groups.append(&mut self.connection).await?;
            }
        }
        patches::fold_again(&mut self.connection, &records).await?;
        // As in the writers' own transaction: of one that failed unnoticed the statement before COMMIT fails.
        execute(&mut self.connection, "select 1; commit".to_owned())
            .await
            .map_err(|error| Fault::new(error, "could not commit"))
    }
}

async fn in_time(
    deadline: Duration,
    act: impl Future<Output = Result<(), Fault>>,
) -> Result<(), Fault> {
    let sentence = || format!("no answer from the database in {} s", deadline.as_secs());
    match tokio::time::timeout(deadline, act).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::down(Why::Unavailable, sentence())),
    }
}
