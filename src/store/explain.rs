//! What `hydrant explain` reads: every fact about some records, in one read-only snapshot.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::connection::Settings;
use super::fault::Fault;
use super::retention::marks::{Mark, Whose};
use crate::formats::hasoffers::event::state_fields;
use crate::formats::hasoffers::fields::{FIELDS, Field, is_personal};
use crate::formats::value::Type;

/// One row of `events`, `adjustments` or `event_variants`. Every value is in the form that SQL shows.
#[derive(Clone, Debug)]
pub struct Fact {
    /// `original` or `adjustment`.
    pub role: String,
    pub event_id: String,
    pub record_id: String,
    pub tune_event_id: Option<String>,
    pub action: String,
    pub adjust_action: Option<String>,
    pub event_day: String,
    /// Of an original: where it is unique.
    pub partition_day: Option<String>,
    pub content_hash: String,
    pub dispatch_timestamp: Option<i64>,
    /// UTC, to the microsecond: it sorts as text.
    pub received_at: String,
    /// One for each of [`FIELDS`].
    pub values: Vec<Option<String>>,
    pub extra: Option<String>,
    /// Retention may have blanked what was about a person: it is old, and has no such value.
    pub blanked: bool,
}

/// Everything that is stored about one record.
#[derive(Debug, Default)]
pub struct Facts {
    /// The conversions of the record, the least first; then its clicks and impressions, as far as an id names them.
    pub originals: Vec<Fact>,
    pub adjustments: Vec<Fact>,
    /// Contents that lost, each with the one that won. That may be gone: its day was dropped, or rows were deleted.
    pub variants: Vec<(Fact, Option<Fact>)>,
    /// What the view `conversions` says: one for each of [`shown_by_conversions`].
    pub conversion: Option<Vec<Option<String>>>,
}

/// The columns of the view `conversions` that adjustments can change.
pub fn shown_by_conversions() -> impl Iterator<Item = &'static str> {
    state_fields().map(|(_, field)| field.name).chain([
        "payout",
        "revenue",
        "net_num",
        "net_payout",
        "net_revenue",
        "net_sale_amount",
    ])
}

/// One snapshot of a database that is being written meanwhile.
pub struct Snapshot {
    connection: PgConnection,
    mark: Mark,
}

/// What is wrong where a query of ours fails.
const DOING: &str = "could not read what is stored of a record";

impl Snapshot {
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn begin(settings: &Settings) -> Result<Snapshot, Fault> {
        let more = format!(
            "set local statement_timeout = {}; set local enable_seqscan = off;",
            settings.statement_timeout.as_millis()
        );
        let mut connection = settings.snapshot(&more).await?;
        let mark = mark(&mut connection).await?;
        Ok(Snapshot { connection, mark })
    }

    /// The records that an id names: as their own id, or as the event_id of one of their facts.
    ///
    /// # Errors
    /// The database does not answer, or has no such tables.
    pub async fn records(&mut self, network_id: &str, id: &str) -> Result<Vec<String>, Fault> {
        sqlx::query_scalar(
            "select distinct record_id from (
                 select record_id from events where network_id = $1 and event_id = $2
                 union all
                 select record_id from events_conversions where network_id = $1 and record_id = $2
                 union all
                 select record_id from adjustments where network_id = $1 and event_id = $2
                 union all
                 select record_id from adjustments where network_id = $1 and record_id = $2
                 union all
                 select record_id from event_variants where network_id = $1 and $2 in (event_id, record_id)
             ) k
             order by record_id",
        )
        .bind(network_id)
        .bind(id)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, DOING))
    }

    /// Everything about one record. `id` is what was asked for: a click or an impression is found by its event_id alone.
    ///
    /// # Errors
    /// As for [`Snapshot::records`].
    pub async fn facts(
        &mut self,
        network_id: &str,
        record_id: &str,
        id: &str,
    ) -> Result<Facts, Fault> {
        let named = vec![record_id, id];
        let mut facts = Facts {
            originals: self
                .select(&CONVERSIONS_SQL, network_id, &[record_id])
                .await?,
            adjustments: self.select(&LEDGER_SQL, network_id, &[record_id]).await?,
            ..Facts::default()
        };
        let others = self.select(&OTHERS_SQL, network_id, &named).await?;
        let others = others.into_iter().filter(|f| f.record_id == record_id);
        facts.originals.extend(others);
        facts.variants = self.variants(network_id, record_id, &facts).await?;
        facts.conversion = self.conversion(network_id, record_id).await?;
        Ok(facts)
    }

    /// The variants of the record, and those of others that lost against a fact of it.
    async fn variants(
        &mut self,
        network_id: &str,
        record_id: &str,
        facts: &Facts,
    ) -> Result<Vec<(Fact, Option<Fact>)>, Fault> {
        let own = facts.originals.iter().chain(&facts.adjustments);
        let mut ids: Vec<&str> = own.map(|fact| fact.event_id.as_str()).collect();
        ids.push(record_id);
        let losers = self.select(&VARIANTS_SQL, network_id, &ids).await?;
        let ids: Vec<&str> = losers.iter().map(|fact| fact.event_id.as_str()).collect();
        let mut winners = self.select(&ORIGINALS_SQL, network_id, &ids).await?;
        winners.extend(self.select(&ADJUSTMENTS_SQL, network_id, &ids).await?);
        let pairs = losers.iter().filter_map(|loser| {
            let winner = winner(loser, &winners);
            let mut both = winner.into_iter().chain([loser]);
            let ours = both.any(|fact| fact.record_id == record_id);
            ours.then(|| (loser.clone(), winner.cloned()))
        });
        Ok(pairs.collect())
    }

    async fn conversion(
        &mut self,
        network_id: &str,
        record_id: &str,
    ) -> Result<Option<Vec<Option<String>>>, Fault> {
        let row = sqlx::query(AssertSqlSafe(CONVERSION_SQL.as_str()))
            .bind(network_id)
            .bind(record_id)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        Ok(row.map(|row| (0..row.len()).map(|column| row.get(column)).collect()))
    }

    async fn select(
        &mut self,
        sql: &'static str,
        network_id: &str,
        ids: &[&str],
    ) -> Result<Vec<Fact>, Fault> {
        let rows = sqlx::query(sql)
            .bind(network_id)
            .bind(ids)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        Ok(rows.iter().map(|row| fact(row, &self.mark)).collect())
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }
}

/// How far values are blanked, for those who may ask.
async fn mark(connection: &mut PgConnection) -> Result<Mark, Fault> {
    let may: Option<bool> =
        sqlx::query_scalar("select has_table_privilege(to_regclass('retention_marks'), 'select')")
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
    if may != Some(true) {
        return Ok(Mark::default());
    }
    Mark::read(connection, Whose::Facts).await
}

/// The content that stands in the table: of one id there may be clicks of several days, each unique in its own.
fn winner<'a>(loser: &Fact, winners: &'a [Fact]) -> Option<&'a Fact> {
    let candidates = || {
        winners.iter().filter(|winner| {
            let conversions = [loser, winner].map(|fact| fact.action == "conversion");
            let same_table = loser.role != "original" || conversions[0] == conversions[1];
            winner.role == loser.role && winner.event_id == loser.event_id && same_table
        })
    };
    candidates()
        .find(|winner| winner.partition_day == loser.partition_day)
        .or_else(|| candidates().next())
}

/// A field in the form that SQL shows, amounts without trailing zeros.
fn as_text(name: &str, is_amount: bool) -> String {
    if is_amount {
        format!("trim_scale({name})::text")
    } else {
        format!("{name}::text")
    }
}

/// Columns before those of [`FIELDS`].
const LEADING: usize = 11;

fn facts_sql(role: &str, partition_day: &str, rest: &str) -> String {
    let fields: Vec<String> = FIELDS
        .iter()
        .map(|field| as_text(field.name, field.kind == Type::Amount))
        .collect();
    format!(
        r#"select {role}, event_id, record_id, tune_event_id, action, adjust_action, event_day::text,
             {partition_day}, encode(content_hash, 'hex'), dispatch_timestamp,
             to_char(received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), {}, extra::text
         from {rest}"#,
        fields.join(", ")
    )
}

fn events_sql(rest: &str) -> String {
    facts_sql("'original'", "partition_day::text", rest)
}

fn ledger_sql(rest: &str) -> String {
    facts_sql("'adjustment'", "null::text", rest)
}

static CONVERSIONS_SQL: LazyLock<String> = LazyLock::new(|| {
    events_sql(
        "events_conversions where network_id = $1 and record_id = any($2)
         order by adjust_action is not null, event_id",
    )
});
static OTHERS_SQL: LazyLock<String> = LazyLock::new(|| {
    events_sql(
        "events where network_id = $1 and event_id = any($2) and partition_day > '0001-01-01'
         order by partition_day, event_id",
    )
});
static ORIGINALS_SQL: LazyLock<String> = LazyLock::new(|| {
    events_sql(
        "events where network_id = $1 and event_id = any($2)
         order by partition_day",
    )
});
static LEDGER_SQL: LazyLock<String> = LazyLock::new(|| {
    ledger_sql("adjustments where network_id = $1 and record_id = any($2) order by event_id")
});
static ADJUSTMENTS_SQL: LazyLock<String> =
    LazyLock::new(|| ledger_sql("adjustments where network_id = $1 and event_id = any($2)"));
static VARIANTS_SQL: LazyLock<String> = LazyLock::new(|| {
    facts_sql(
        "role",
        "partition_day::text",
        "event_variants where network_id = $1 and (event_id = any($2) or record_id = any($2))
         order by role desc, event_id, dispatch_timestamp, content_hash",
    )
});
static CONVERSION_SQL: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<String> = shown_by_conversions()
        .map(|name| {
            let field = FIELDS.iter().find(|field| field.name == name);
            as_text(name, field.is_none_or(|field| field.kind == Type::Amount))
        })
        .collect();
    format!(
        "select {} from conversions where network_id = $1 and record_id = $2",
        columns.join(", ")
    )
});

fn fact(row: &PgRow, mark: &Mark) -> Fact {
    let values: Vec<Option<String>> = (0..FIELDS.len()).map(|n| row.get(LEADING + n)).collect();
    let extra: Option<String> = row.get(LEADING + FIELDS.len());
    // Days as text are in the order of time.
    let event_day: String = row.get(6);
    let is_old = mark
        .before
        .is_some_and(|before| event_day < before.to_string());
    let is_there = |(field, value): (&Field, &Option<String>)| {
        let kept = mark.kept.iter().any(|name| name == field.name);
        value.is_some() && is_personal(field.name) && !kept
    };
    let blanked = is_old && extra.is_none() && !FIELDS.iter().zip(&values).any(is_there);
    Fact {
        role: row.get(0),
        event_id: row.get(1),
        record_id: row.get(2),
        tune_event_id: row.get(3),
        action: row.get(4),
        adjust_action: row.get(5),
        event_day,
        partition_day: row.get(7),
        content_hash: row.get(8),
        dispatch_timestamp: row.get(9),
        received_at: row.get(10),
        values,
        extra,
        blanked,
    }
}
