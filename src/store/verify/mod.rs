//! What `hydrant verify` proves of a live database: every check of [`checks`] in one read-only snapshot.
//!
//! Most checks are one statement that lists what is wrong ([`rows`], [`sums`]). Two read rows as a stream, so that memory
//! stays small however large the tables are: [`ledgers`] folds every ledger again, [`contents`] hashes every fact again.

pub mod checks;
pub mod contents;
pub(super) mod ledgers;
pub(super) mod rows;
mod sums;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

use self::checks::{Check, How};
use super::connection::{READS_WHOLE_TABLES, Settings, quote_literal};
use super::fault::Fault;
use super::partitions::Partitions;
use crate::formats::value::Day;

/// How many examples of one kind are kept.
const EXAMPLES: usize = 5;
/// Rows of a stream between two reports of progress.
const PACE: u64 = 4_096;

/// Which records are looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    All,
    /// Those of which a fact came on this day (UTC) or later, or lost to one that did.
    Since(Day),
    /// One: (network_id, record_id).
    Record(String, String),
}

/// Things of one kind that should not be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub what: String,
    pub count: u64,
    /// The first few: ids, days and differences of sums, never a value that may be personal.
    pub examples: Vec<Map<String, Value>>,
}

/// Called with the rows that a check has read so far.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// A session that sees the database as it was at one moment, and cannot write.
pub struct Snapshot {
    connection: PgConnection,
    scope: Scope,
    days: Vec<Day>,
    /// The moment, in UTC.
    pub taken: String,
}

impl Snapshot {
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn take(settings: &Settings, scope: Scope) -> Result<Snapshot, Fault> {
        let mut connection = settings.snapshot(READS_WHOLE_TABLES).await?;
        let taken = sqlx::query_scalar("select to_char(now(), 'YYYY-MM-DD HH24:MI:SS')")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| Fault::new(error, "could not take a snapshot"))?;
        let mut partitions = Partitions::new(settings.partition_by);
        partitions.load(&mut connection, settings).await?;
        Ok(Snapshot {
            connection,
            scope,
            days: partitions.days().collect(),
            taken,
        })
    }

    /// Everything that a check finds; nothing where it holds.
    ///
    /// # Errors
    /// It could not be run to its end.
    pub async fn run(
        &mut self,
        check: &Check,
        progress: Progress<'_>,
    ) -> Result<Vec<Finding>, Fault> {
        match check.how {
            How::Sql(sql) => {
                let sql = sql(&self.scope, &self.days);
                listed(&mut self.connection, &sql, check).await
            }
            How::Ledgers => ledgers::check(&mut self.connection, &self.scope, progress).await,
            How::Contents => contents::check(&mut self.connection, &self.scope, progress).await,
        }
    }

    /// The contents of the tables, comparable between databases.
    ///
    /// # Errors
    /// A table could not be read to its end.
    pub async fn digest(&mut self, progress: Progress<'_>) -> Result<contents::Digest, Fault> {
        contents::digest(&mut self.connection, &self.scope, progress).await
    }

    /// The session, and the scope that it was taken for.
    pub(super) fn parts(&mut self) -> (&mut PgConnection, &Scope, &[Day]) {
        (&mut self.connection, &self.scope, &self.days)
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(self) {
        let _ = self.connection.close().await;
    }
}

/// Runs a statement that gives a row (what, example) for each thing that is wrong, and counts them.
async fn listed(
    connection: &mut PgConnection,
    sql: &str,
    check: &Check,
) -> Result<Vec<Finding>, Fault> {
    let counted = format!(
        "select what, max(n), (jsonb_agg(example order by n) filter (where n <= {EXAMPLES}))::text
         from (select what, example, row_number() over (partition by what order by example) as n
               from ({sql}) found (what, example)) numbered
         group by what order by what"
    );
    let rows = sqlx::query(AssertSqlSafe(counted))
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(|error| match Fault::new(error, "could not run a check") {
            Fault::Data(state) => Fault::MassRefusal(anyhow::anyhow!(
                "could not run {}: the database refused a value (SQLSTATE {state})",
                check.number
            )),
            fault => fault,
        })?;
    Ok(rows
        .iter()
        .map(|row| Finding {
            what: row.get(0),
            count: row.get::<i64, _>(1).unsigned_abs(),
            examples: serde_json::from_str(row.get(2)).unwrap_or_default(),
        })
        .collect())
}

/// Findings of a stream, by what they are.
#[derive(Default)]
struct Found(BTreeMap<&'static str, Finding>);

impl Found {
    fn add<'a>(
        &mut self,
        what: &'static str,
        example: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) {
        let finding = self.0.entry(what).or_insert_with(|| Finding {
            what: what.to_owned(),
            count: 0,
            examples: Vec::new(),
        });
        finding.count += 1;
        if finding.examples.len() < EXAMPLES {
            let pairs = example.into_iter();
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value.into()));
            finding.examples.push(pairs.collect());
        }
    }

    fn list(self) -> Vec<Finding> {
        self.0.into_values().collect()
    }
}

impl Scope {
    /// How a statement begins that uses [`Scope::of_records`]: the records that were touched. Where nobody asks for them
    /// Postgres does not look for them.
    fn with_touched(&self) -> String {
        let records = match self {
            // Where one of several contents of an id came since, the records of all of them: one that lost is moved aside
            // with its old time, and its record lacks it from then on.
            Scope::Since(day) => format!(
                "select network_id, record_id from adjustments where received_at >= '{day}'
                 union select network_id, record_id from events_conversions where received_at >= '{day}'
                 union select v.network_id, unnest(array[v.record_id, w.record_id])
                 from event_variants v
                 cross join lateral (
                     select e.record_id, e.received_at from adjustments e
                     where v.role = 'adjustment' and {of_id}
                     union all
                     select e.record_id, e.received_at from events_conversions e
                     where v.partition_day = '{conversions}' and {of_id}
                     offset 0
                 ) w
                 where v.received_at >= '{day}' or w.received_at >= '{day}'",
                conversions = Day::CONVERSIONS,
                of_id = "e.network_id = v.network_id and e.event_id = v.event_id"
            ),
            Scope::All | Scope::Record(..) => "select null, null".to_owned(),
        };
        format!("with touched (network_id, record_id) as materialized ({records})")
    }

    /// The condition that a row of `alias`, which has a record_id, is looked at.
    fn of_records(&self, alias: &str) -> String {
        match self {
            Scope::All => "true".to_owned(),
            Scope::Since(_) => {
                format!(
                    "({alias}.network_id, {alias}.record_id) in (select network_id, record_id from touched)"
                )
            }
            Scope::Record(network_id, record_id) => format!(
                "{alias}.network_id = {} and {alias}.record_id = {}",
                quote_literal(network_id),
                quote_literal(record_id)
            ),
        }
    }
}
