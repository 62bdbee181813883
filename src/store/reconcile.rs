//! What `hydrant reconcile` reads, in one read-only snapshot: sums of the view `stats`, the facts behind them, and what was
//! changed since a time.

mod facts;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};

pub use self::facts::Change;
use super::connection::{READS_WHOLE_TABLES, Settings, quote_literal};
use super::fault::Fault;
use crate::amount::Amount;
use crate::formats::value::Day;
use crate::reconcile::columns::{Amounts, Dimension, Group, Measure, Value};

/// Which facts are looked at.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// All networks where it is none.
    pub network_id: Option<String>,
    /// The first day.
    pub since: Option<Day>,
    /// The last day.
    pub until: Option<Day>,
    /// Only facts with these values.
    pub only: Vec<(Dimension, Value)>,
}

impl Filter {
    /// The condition over rows that have the columns of `stats`.
    fn condition(&self) -> String {
        let mut terms = vec!["true".to_owned()];
        terms.extend(
            self.network_id
                .iter()
                .map(|id| format!("network_id = {}", quote_literal(id))),
        );
        terms.extend(self.since.map(|day| format!("date >= '{day}'")));
        terms.extend(self.until.map(|day| format!("date <= '{day}'")));
        terms.extend(self.only.iter().map(|(dimension, value)| {
            let column = dimension.as_str();
            match value {
                Value::Blank => format!("{column} is null"),
                value => format!("{column} = {}", quote_literal(&value.to_string())),
            }
        }));
        terms.join(" and ")
    }
}

/// What retention has done to clicks and impressions.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// Those of days before this one may be gone.
    pub before: Day,
    /// Whether `stats` has sums of its own, which stay when events go.
    pub sums_are_kept: bool,
}

/// Sums by network, then by group.
pub type Sums = BTreeMap<String, BTreeMap<Group, Amounts>>;

/// The database as it was at one moment.
pub struct Snapshot {
    connection: PgConnection,
    /// The moment, in UTC.
    pub taken: String,
}

const DOING: &str = "could not read what to reconcile";

impl Snapshot {
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn take(settings: &Settings) -> Result<Snapshot, Fault> {
        let mut connection = settings.snapshot(READS_WHOLE_TABLES).await?;
        let taken = sqlx::query_scalar("select to_char(now(), 'YYYY-MM-DD HH24:MI:SS')")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        Ok(Snapshot { connection, taken })
    }

    /// The sums of `stats` by these dimensions.
    ///
    /// # Errors
    /// The database does not answer, or a sum is beyond any amount.
    pub async fn sums(
        &mut self,
        dimensions: &[Dimension],
        filter: &Filter,
    ) -> anyhow::Result<Sums> {
        let by = names(dimensions);
        let by: Vec<&str> = ["network_id"].into_iter().chain(by).collect();
        let sums =
            Measure::ALL.map(|measure| format!("trim_scale(sum({}))::text", measure.as_str()));
        let sql = format!(
            "select {}, {} from stats where {} group by {}",
            texts(&by),
            sums.join(", "),
            filter.condition(),
            by.join(", "),
        );
        let mut found = Sums::new();
        self.each(&sql, |row| {
            let group = group(row, 1, dimensions)?;
            let amounts = amounts(row, 1 + dimensions.len())?;
            found.entry(row.get(0)).or_default().insert(group, amounts);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// How many items of quarantine are open that belong to the network, or to none that is known.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn open_quarantine(&mut self, network_id: &str) -> Result<i64, Fault> {
        sqlx::query_scalar(
            "select count(*) from quarantine where status = 'open' and coalesce(network_id, $1) = $1",
        )
        .bind(network_id)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, DOING))
    }

    /// Which clicks and impressions are gone because they are old.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn dropped(&mut self) -> Result<Option<Dropped>, Fault> {
        // What `stats` reads everybody may see, unlike `rollup_state`.
        let found: Option<(i32, bool)> = sqlx::query_as(
            "select before - date '2000-01-01', pg_get_viewdef('stats'::regclass) ~ 'stats_rollup'
             from retention_marks where kind = 'events'",
        )
        .fetch_optional(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
        Ok(found.map(|(before, sums_are_kept)| Dropped {
            before: Day(before),
            sums_are_kept,
        }))
    }

    async fn each(
        &mut self,
        sql: &str,
        mut see: impl FnMut(&PgRow) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(|error| Fault::new(error, DOING))?
        {
            see(&row)?;
        }
        Ok(())
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }
}

fn names(dimensions: &[Dimension]) -> Vec<&'static str> {
    dimensions.iter().map(|one| one.as_str()).collect()
}

fn texts(columns: &[&str]) -> String {
    columns.join("::text, ") + "::text"
}

fn group(row: &PgRow, at: usize, dimensions: &[Dimension]) -> anyhow::Result<Group> {
    let values = dimensions.iter().enumerate().map(|(n, dimension)| {
        let text: Option<String> = row.get(at + n);
        match (text, dimension) {
            (None, _) => Ok(Value::Blank),
            // As it is: a report's cell is trimmed, a fact's field need not be.
            (Some(text), Dimension::Currency) => Ok(Value::Text(text)),
            (Some(text), dimension) => dimension
                .read(&text)
                .map_or_else(|| odd(*dimension, text), Ok),
        }
    });
    values.collect()
}

/// A number that TUNE does not give, such as a negative id, stands for itself.
fn odd(dimension: Dimension, text: String) -> anyhow::Result<Value> {
    match text.parse() {
        Ok(number) => Ok(Value::Number(number)),
        Err(_) => anyhow::bail!("the database has {text} as {}", dimension.as_str()),
    }
}

fn amounts(row: &PgRow, at: usize) -> anyhow::Result<Amounts> {
    let mut amounts = Amounts::default();
    for (n, measure) in Measure::ALL.into_iter().enumerate() {
        let text: String = row.get(at + n);
        let amount = Amount::parse(&text).with_context(|| {
            format!(
                "{text} of {} in the database is too large to compare",
                measure.as_str()
            )
        })?;
        amounts.add(measure, amount)?;
    }
    Ok(amounts)
}
