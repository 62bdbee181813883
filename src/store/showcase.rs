//! What the demo shows of a database, and the schema that it uses in somebody's own one.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::connection::{Settings, execute, quote_identifier};
use super::fault::{Fault, Why};
use super::migrate::schema_exists;

/// Rows as they lie in the tables.
#[derive(Debug)]
pub struct Rows {
    pub events: u64,
    pub adjustments: u64,
    pub variants: u64,
    /// Each as often as it was seen.
    pub quarantined_events: u64,
    pub quarantined_bodies: u64,
    /// Adjustments that were stored in a transaction before their original's.
    pub early_adjustments: u64,
    pub orphans: u64,
}

/// A line of the view `stats`, summed up. Amounts are decimals as Postgres writes them.
#[derive(Debug)]
pub struct Sums {
    pub impressions: i64,
    pub clicks: i64,
    pub conversions: i64,
    pub payout: String,
    pub revenue: String,
    pub sale_amount: String,
}

/// Where the payout of `stats` comes from. Amounts of different currencies are not added.
#[derive(Debug)]
pub struct Payout {
    pub currency: String,
    pub conversions: String,
    pub orphans: String,
    pub clicks: String,
    pub stats: String,
    pub agree: bool,
}

/// One conversion: its original, its ledger, and what both come to.
#[derive(Debug)]
pub struct Story {
    pub network_id: String,
    pub record_id: String,
    pub datetime: String,
    pub original: State,
    pub ledger: Vec<Entry>,
    pub current: State,
    pub net_num: String,
    pub net_payout: String,
    pub net_revenue: String,
}

#[derive(Debug)]
pub struct State {
    pub status: String,
    pub payout: String,
    pub revenue: String,
}

#[derive(Debug)]
pub struct Entry {
    pub sequence_id: i64,
    pub num: String,
    pub payout: String,
    pub revenue: String,
    pub status: String,
    /// It was stored before the original was.
    pub early: bool,
}

/// Makes the schema, which must not exist.
///
/// # Errors
/// It exists, or the database does not answer or refuses us.
pub async fn create_schema(settings: &Settings) -> Result<(), Fault> {
    let mut connection = settings.connect().await?;
    let schema = quote_identifier(&settings.schema);
    if schema_exists(&mut connection, settings).await? {
        let sentence = format!(
            "there is a schema {schema} already, and the demo wants a new one; if it is of an earlier demo, remove it: \
             drop schema {schema} cascade"
        );
        return Err(Fault::down(Why::Misconfigured, sentence));
    }
    execute(&mut connection, format!("create schema {schema}"))
        .await
        .map_err(|error| Fault::new(error, "could not create the schema"))
}

/// Removes the schema with everything in it.
///
/// # Errors
/// The database does not answer or refuses us.
pub async fn drop_schema(settings: &Settings) -> Result<(), Fault> {
    let mut connection = settings.connect().await?;
    let schema = quote_identifier(&settings.schema);
    let sql = format!("set client_min_messages to warning; drop schema {schema} cascade");
    execute(&mut connection, sql)
        .await
        .map_err(|error| Fault::new(error, "could not remove the schema"))
}

/// A connection that finds the tables and views by their names.
///
/// # Errors
/// The database does not answer or refuses us.
pub async fn open(settings: &Settings) -> Result<PgConnection, Fault> {
    let mut connection = settings.connect().await?;
    let schema = quote_identifier(&settings.schema);
    execute(&mut connection, format!("set search_path to {schema}"))
        .await
        .map_err(|error| Fault::new(error, "could not enter the schema"))?;
    Ok(connection)
}

pub async fn rows(connection: &mut PgConnection) -> Result<Rows, Fault> {
    let row = one(
        connection,
        "select (select count(*) from events), (select count(*) from adjustments),
             (select count(*) from event_variants),
             (select coalesce(sum(seen), 0)::bigint from quarantine where scope = 'event'),
             (select coalesce(sum(seen), 0)::bigint from quarantine where scope = 'body'),
             (select count(*) from adjustments a
              join events_conversions e on e.network_id = a.network_id and e.record_id = a.record_id
              where a.received_at < e.received_at),
             (select count(*) from orphan_adjustments)",
    )
    .await?;
    let count = |at: usize| row.get::<i64, _>(at).unsigned_abs();
    Ok(Rows {
        events: count(0),
        adjustments: count(1),
        variants: count(2),
        quarantined_events: count(3),
        quarantined_bodies: count(4),
        early_adjustments: count(5),
        orphans: count(6),
    })
}

/// The sum of all facts.
pub async fn totals(connection: &mut PgConnection) -> Result<Sums, Fault> {
    let sql = format!("select {SUMS} from stats");
    one(connection, &sql).await.map(|row| sums(&row, 0))
}

const SUMS: &str = "coalesce(sum(impressions), 0)::bigint, coalesce(sum(clicks), 0)::bigint,
    coalesce(sum(conversions), 0)::bigint, coalesce(sum(payout), 0)::text, coalesce(sum(revenue), 0)::text,
    coalesce(sum(sale_amount), 0)::text";

fn sums(row: &PgRow, at: usize) -> Sums {
    Sums {
        impressions: row.get(at),
        clicks: row.get(at + 1),
        conversions: row.get(at + 2),
        payout: row.get(at + 3),
        revenue: row.get(at + 4),
        sale_amount: row.get(at + 5),
    }
}

/// For each currency what conversions after their adjustments, orphans and clicks come to, and the payout of `stats`.
pub async fn payouts(connection: &mut PgConnection) -> Result<Vec<Payout>, Fault> {
    let rows = all(
        connection,
        "select currency, c::text, o::text, k::text, s::text, c + o + k = s
         from (
             select coalesce(currency, '') as currency, sum(c) as c, sum(o) as o, sum(k) as k, sum(s) as s
             from (
                 select currency, net_payout as c, 0 as o, 0 as k, 0 as s from conversions
                 union all
                 select currency, 0, payout, 0, 0 from orphan_adjustments
                 union all
                 select currency, 0, 0, payout, 0 from events where action <> 'conversion'
                 union all
                 select currency, 0, 0, 0, payout from stats
             ) parts
             group by 1
         ) sums
         order by currency desc",
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| Payout {
            currency: row.get(0),
            conversions: row.get(1),
            orphans: row.get(2),
            clicks: row.get(3),
            stats: row.get(4),
            agree: row.get(5),
        })
        .collect())
}

/// The day with the most impressions: its date, and for each network its name, currency and sums.
pub async fn day(
    connection: &mut PgConnection,
) -> Result<(String, Vec<(String, String, Sums)>), Fault> {
    let day: String = one(
        connection,
        "select date::text from stats group by date order by sum(impressions) desc, date limit 1",
    )
    .await?
    .get(0);
    let sql = format!(
        "select network_id, currency, {SUMS} from stats where date = '{day}'
         group by network_id, currency order by network_id, currency"
    );
    let rows = all(connection, &sql).await?;
    let lines = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), sums(row, 2)))
        .collect();
    Ok((day, lines))
}

/// Scope, reason, how often, and a sentence.
pub async fn quarantine(
    connection: &mut PgConnection,
) -> Result<Vec<(String, String, i64, String)>, Fault> {
    let rows = all(
        connection,
        "select scope, reason, sum(seen)::bigint, coalesce(min(detail), '') from quarantine
         group by scope, reason order by scope, reason",
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect())
}

/// A much adjusted conversion, if possible with adjustments from before and after its original. `None` where none was
/// adjusted.
pub async fn story(connection: &mut PgConnection) -> Result<Option<Story>, Fault> {
    let rows = all(
        connection,
        "select c.network_id, c.record_id, coalesce(o.datetime::text, ''),
             coalesce(o.status, ''), coalesce(o.payout, 0)::text, coalesce(o.revenue, 0)::text,
             coalesce(c.status, ''), coalesce(c.payout, 0)::text, coalesce(c.revenue, 0)::text,
             c.net_num::text, c.net_payout::text, c.net_revenue::text
         from conversions c
         join events_conversions o on o.network_id = c.network_id and o.event_id = c.event_id
         where c.adjustment_count > 0
         order by (
             select count(distinct a.received_at < c.received_at) from adjustments a
             where a.network_id = c.network_id and a.record_id = c.record_id
         ) desc, c.status = 'approved' desc, c.adjustment_count desc, c.network_id, c.record_id
         limit 1",
    )
    .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let state = |at: usize| State {
        status: row.get(at),
        payout: row.get(at + 1),
        revenue: row.get(at + 2),
    };
    let (network_id, record_id): (String, String) = (row.get(0), row.get(1));
    Ok(Some(Story {
        ledger: ledger(connection, &network_id, &record_id).await?,
        network_id,
        record_id,
        datetime: row.get(2),
        original: state(3),
        current: state(6),
        net_num: row.get(9),
        net_payout: row.get(10),
        net_revenue: row.get(11),
    }))
}

async fn ledger(
    connection: &mut PgConnection,
    network_id: &str,
    record_id: &str,
) -> Result<Vec<Entry>, Fault> {
    let rows = sqlx::query(
        "select coalesce(a.adjustment_sequence_id, 0), coalesce(a.num, 0)::text, coalesce(a.payout, 0)::text,
             coalesce(a.revenue, 0)::text, coalesce(a.status, ''),
             exists (
                 select from events_conversions e
                 where e.network_id = a.network_id and e.record_id = a.record_id and a.received_at < e.received_at
             )
         from adjustments a where a.network_id = $1 and a.record_id = $2
         order by a.adjustment_sequence_id nulls first, a.adjustment_timestamp nulls first, a.event_id",
    )
    .bind(network_id)
    .bind(record_id)
    .fetch_all(connection)
    .await
    .map_err(|error| Fault::new(error, "could not read a ledger"))?;
    Ok(rows
        .iter()
        .map(|row| Entry {
            sequence_id: row.get(0),
            num: row.get(1),
            payout: row.get(2),
            revenue: row.get(3),
            status: row.get(4),
            early: row.get(5),
        })
        .collect())
}

async fn all(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, Fault> {
    sqlx::query(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read what landed"))
}

async fn one(connection: &mut PgConnection, sql: &str) -> Result<PgRow, Fault> {
    sqlx::query(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read what landed"))
}
