//! Deleting what is old: clicks and impressions ([`drops`]), and values that may be about a person ([`blanks`]), of [`facts`],
//! of [`documents`], and in [`quarantine`].
//!
//! Everything is done in small transactions with pauses as long as they took, and may end between any two of them: the next
//! run finds what is left. No statement waits for another's lock on a row; for a lock on a table it waits a second, and then
//! again later. [`late`] keeps what came after its day from being dropped while it may come again.

mod blanks;
mod documents;
mod drops;
pub(super) mod facts;
pub(super) mod late;
pub mod marks;
mod quarantine;

use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::connection::{Settings, execute, quote_identifier};
use super::fault::Fault;
use super::partitions::{Partitions, today};
use crate::config;
use crate::formats::value::Day;

/// Rows of one transaction at most.
const ROWS: u32 = 5_000;
/// Attempts at a transaction that others disturb.
const ATTEMPTS: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A partition of one day.
    Drop,
    /// Single rows.
    Delete,
    /// Values of single rows.
    Blank,
    /// Nothing, for the reason that stands with it.
    Keep,
}

/// Why something stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Late,
    Open,
    Held,
    Forbidden,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Late => "some of its events came late, and may come again",
            Reason::Open => "nobody has retried or discarded it yet, and there is no other copy",
            Reason::Held => "others use it all the time: it is tried again the next time",
            Reason::Forbidden => {
                "the database role may not: run hydrant retention with the role that owns the tables"
            }
        }
    }
}

/// One thing that was done, or would be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub action: Action,
    pub table: String,
    /// Of what is dropped and kept an estimate.
    pub rows: u64,
    /// On disk, of a whole table.
    pub bytes: Option<u64>,
    /// Why it stays.
    pub reason: Option<Reason>,
}

/// Called with each step.
pub type Tell<'a> = &'a mut (dyn FnMut(Step) + Send);

/// Events of days before this one go, where `days` are kept. That of the last one ended `days` days ago at the latest, also
/// where it is a day of a time zone behind UTC.
pub fn cutoff(days: u32) -> Day {
    today().plus(-(i32::try_from(days).unwrap_or(i32::MAX / 2)) - 1)
}

/// Does all that `policy` asks for, or tells what that is (`dry`). False where another run is under way, which does it.
///
/// # Errors
/// The database does not answer or refuses us. What was done stays so.
pub async fn run(
    settings: &Settings,
    policy: &config::Retention,
    dry: bool,
    tell: Tell<'_>,
) -> Result<bool, Fault> {
    let mut guard = None;
    if !dry {
        guard = alone(settings).await?;
        if guard.is_none() {
            return Ok(false);
        }
    }
    let connection = settings.connect().await?;
    let partitions = Partitions::new(settings.partition_by);
    let mut run = Run {
        settings,
        connection,
        partitions,
        dry,
        tell,
        would_go: Vec::new(),
    };
    if let Some(days) = policy.events_days {
        run.drop_before(cutoff(days)).await?;
    }
    if let Some(days) = policy.personal_days {
        let (before, keep) = (cutoff(days), &policy.personal_keep);
        run.blank_facts(before, keep).await?;
        run.blank_documents(before, keep).await?;
        run.blank_quarantine(before).await?;
    }
    let _ = run.connection.close().await;
    if let Some(guard) = guard {
        let _ = guard.close().await;
    }
    Ok(true)
}

/// A session that holds a lock for as long as it lives, which one run at a time can have. It holds neither rows nor a
/// snapshot, so it is in nobody's way.
async fn alone(settings: &Settings) -> Result<Option<PgConnection>, Fault> {
    const DOING: &str = "could not see whether another retention is under way";
    let mut guard = settings.connect().await?;
    let sql = format!(
        "begin isolation level read committed;
         set local idle_in_transaction_session_timeout = 0;
         lock table {}.retention_marks in share update exclusive mode nowait",
        quote_identifier(&settings.schema)
    );
    let locked = execute(&mut guard, sql).await;
    match locked.map_err(|error| Fault::new(error, DOING)) {
        Ok(()) => Ok(Some(guard)),
        Err(Fault::Contention(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// What a table is like.
struct Looked {
    /// An estimate.
    rows: u64,
    bytes: u64,
    may_drop: bool,
    may_delete: bool,
    may_update: bool,
}

/// One run.
struct Run<'a> {
    settings: &'a Settings,
    connection: PgConnection,
    partitions: Partitions,
    dry: bool,
    tell: Tell<'a>,
    /// What only a dry run leaves where it is: a table, and which of its rows `t`.
    would_go: Vec<(String, String)>,
}

impl Run<'_> {
    async fn begin(&mut self) -> Result<(), Fault> {
        execute(&mut self.connection, self.settings.begin())
            .await
            .map_err(|error| Fault::new(error, "could not begin a transaction"))
    }

    /// Of a transaction that failed unnoticed the statement before COMMIT fails.
    async fn commit(&mut self) -> Result<(), Fault> {
        execute(&mut self.connection, "select 1; commit".to_owned())
            .await
            .map_err(|error| Fault::new(error, "could not commit"))
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        execute(&mut self.connection, "rollback".to_owned())
            .await
            .map_err(|error| Fault::new(error, "could not roll back"))
    }

    /// Whether a transaction that failed is to be tried again. One that others disturbed is rolled back.
    async fn is_again(&mut self, fault: &Fault, attempt: u32) -> Result<bool, Fault> {
        if !matches!(fault, Fault::Contention(_) | Fault::Race(_)) {
            return Ok(false);
        }
        self.roll_back().await?;
        if attempt >= ATTEMPTS {
            return Ok(false);
        }
        let wait = rand::random_range(500..2_000) * u64::from(attempt);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(true)
    }

    /// How many rows `t` meet a condition.
    async fn count(&mut self, table: &str, condition: &str) -> Result<u64, Fault> {
        const DOING: &str = "could not count what is old";
        self.begin().await?;
        let sql = format!("select count(*) from {table} t where {condition}");
        execute(
            &mut self.connection,
            "set local statement_timeout = 0".to_owned(),
        )
        .await
        .map_err(|error| Fault::new(error, DOING))?;
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        self.commit().await?;
        Ok(count.unsigned_abs())
    }

    /// What a table is like, and what we may do with it.
    async fn look_at(&mut self, table: &str) -> Result<Looked, Fault> {
        let row: PgRow = sqlx::query(
            "select case when c.reltuples < 0 then pg_stat_get_live_tuples(c.oid) else c.reltuples::bigint end,
                 pg_total_relation_size(c.oid), pg_has_role(c.relowner, 'usage'), has_table_privilege(c.oid, 'delete'),
                 has_table_privilege(c.oid, 'update')
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2",
        )
        .bind(&self.settings.schema)
        .bind(table)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not look at a table"))?;
        let number = |at| row.get::<i64, _>(at).unsigned_abs();
        Ok(Looked {
            rows: number(0),
            bytes: number(1),
            may_drop: row.get(2),
            may_delete: row.get(3),
            may_update: row.get(4),
        })
    }

    fn did(&mut self, action: Action, table: &str, rows: u64) {
        (self.tell)(Step {
            action,
            table: table.to_owned(),
            rows,
            bytes: None,
            reason: None,
        });
    }

    fn keep(&mut self, table: &str, rows: u64, reason: Reason) {
        (self.tell)(Step {
            action: Action::Keep,
            table: table.to_owned(),
            rows,
            bytes: None,
            reason: Some(reason),
        });
    }
}

/// The condition that a row `t` is of a day before this one. The day of an event that tells none is the day on which it came.
fn is_before(day: &str, before: Day) -> String {
    format!(
        "{day} < '{before}' and ({day} > '{}' or t.received_at < {})",
        Day::EPOCH,
        midnight(before)
    )
}

/// When a day begins (UTC), in SQL.
fn midnight(day: Day) -> String {
    format!("timestamptz '{day} 00:00 UTC'")
}

/// Lets others have the machine for as long as we had it.
async fn pause(since: Instant) {
    tokio::time::sleep(since.elapsed().min(Duration::from_secs(5))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_kept_whole_for_so_many_days_after_its_end() {
        // 28 days and a bit ago the day after this one began, everywhere.
        assert_eq!(cutoff(28), today().plus(-29));
        assert!(cutoff(u32::MAX) < Day::EPOCH);
    }
}
