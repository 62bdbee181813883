//! Merging: what transactions appended to `stats_deltas` goes into `stats_hourly`, a few rows at a time.

use std::time::Duration;

use metrics::counter;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::State;
use super::difference::KEY;
use crate::store::connection::{Settings, execute, quote_identifier};
use crate::store::fault::{Fault, Why};
use crate::telemetry::ROLLUP_MERGES;

/// Rows of `stats_deltas` that one transaction merges.
pub const AT_ONCE: i64 = 10_000;
/// Between two steps when little waits, and when much does: writers come first.
const PAUSE: Duration = Duration::from_secs(1);
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks whether the rollup is on, and after a failure.
const LONG_PAUSE: Duration = Duration::from_secs(15);
const DOING: &str = "could not merge the sums of stats_deltas";
/// How long a step may take, beyond what the server allows for its statements.
const GRACE: Duration = Duration::from_secs(5);

/// Merges from now on, whenever the rollup is on.
pub async fn keep_merging(settings: Settings) {
    for outcome in ["merged", "failed"] {
        counter!(ROLLUP_MERGES, "outcome" => outcome).increment(0);
    }
    let mut connection = None;
    let mut failures: u32 = 0;
    let mut is_on = false;
    loop {
        let step = one_step(&mut connection, &settings, &mut is_on).await;
        let pause = match &step {
            Ok(Step::NotOn) | Err(_) => LONG_PAUSE,
            Ok(Step::Merged(AT_ONCE)) => SHORT_PAUSE,
            Ok(Step::Merged(_) | Step::Busy) => PAUSE,
        };
        match step {
            Ok(step) => {
                failures = 0;
                if matches!(step, Step::Merged(_)) {
                    counter!(ROLLUP_MERGES, "outcome" => "merged").increment(1);
                }
            }
            // Nothing waits to be merged where there was no rollup at the last look.
            Err(_) if !is_on => {}
            Err(error) => {
                failures += 1;
                counter!(ROLLUP_MERGES, "outcome" => "failed").increment(1);
                if failures.is_power_of_two() {
                    tracing::warn!(failures, %error, "stats_deltas could not be merged; view stats stays right and gets slower");
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// A step on a connection that is made anew after a failure, and not kept while there is nothing to do.
async fn one_step(
    kept: &mut Option<PgConnection>,
    settings: &Settings,
    is_on: &mut bool,
) -> Result<Step, Fault> {
    let deadline = settings.statement_timeout * 2 + GRACE;
    let stepping = async {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => settings.connect().await?,
        };
        // Told apart from the merging: that may fail for long, as where the role lacks a right.
        *is_on = look(&mut connection, settings).await?;
        let step = if *is_on {
            merge_some(&mut connection, settings).await?
        } else {
            Step::NotOn
        };
        if step == Step::NotOn {
            let _ = connection.close().await;
        } else {
            *kept = Some(connection);
        }
        Ok(step)
    };
    tokio::time::timeout(deadline, stepping)
        .await
        .unwrap_or_else(|_| {
            Err(Fault::down(
                Why::Unavailable,
                format!("no answer from the database in {} s", deadline.as_secs()),
            ))
        })
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The rollup is not on.
    NotOn,
    /// Another daemon is at it, or somebody switches.
    Busy,
    /// So many rows of `stats_deltas` are in `stats_hourly` now.
    Merged(i64),
}

/// Whether the rollup is on. Who does not use it gets no transactions of it. The schema is named, because there is none yet.
async fn look(connection: &mut PgConnection, settings: &Settings) -> Result<bool, Fault> {
    let schema = quote_identifier(&settings.schema);
    let look = format!("select state from {schema}.rollup_state");
    let state: String = sqlx::query_scalar(AssertSqlSafe(look))
        .fetch_one(connection)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
    Ok(State::read(&state) == State::On)
}

/// One step, in one transaction. One daemon at a time does it: the row of the state is its lock. No writer waits for it, for
/// they only append.
///
/// # Errors
/// The database does not answer or refuses us.
pub async fn merge(connection: &mut PgConnection, settings: &Settings) -> Result<Step, Fault> {
    if look(connection, settings).await? {
        merge_some(connection, settings).await
    } else {
        Ok(Step::NotOn)
    }
}

async fn merge_some(connection: &mut PgConnection, settings: &Settings) -> Result<Step, Fault> {
    let doing = |error| Fault::new(error, DOING);
    execute(connection, settings.begin()).await.map_err(doing)?;
    let state: Option<String> =
        sqlx::query_scalar("select state from rollup_state for update skip locked")
            .fetch_optional(&mut *connection)
            .await
            .map_err(doing)?;
    let step = match state.as_deref().map(State::read) {
        None => Step::Busy,
        Some(State::Off | State::Filling) => Step::NotOn,
        Some(State::On) => Step::Merged(move_some(connection).await.map_err(doing)?),
    };
    execute(connection, "select 1; commit".to_owned())
        .await
        .map_err(doing)?;
    Ok(step)
}

/// In the order of the key, which is what its index likes.
async fn move_some(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let sql = format!(
        "with taken as (
             delete from stats_deltas
             where ctid = any (array(select ctid from stats_deltas limit $1))
             returning *
         ), merged as (
             insert into stats_hourly as h ({KEY}, facts, num, payout, revenue, sale_amount)
             select {KEY}, sum(facts), sum(num), sum(payout), sum(revenue), sum(sale_amount)
             from taken group by {KEY} order by {KEY}
             on conflict (date, network_id, offer_id, affiliate_id, advertiser_id, goal_id, action,
                 (coalesce(hour::integer, 32768)), (coalesce(currency, '')))
             do update set facts = h.facts + excluded.facts, num = h.num + excluded.num,
                 payout = h.payout + excluded.payout, revenue = h.revenue + excluded.revenue,
                 sale_amount = h.sale_amount + excluded.sale_amount
         )
         select count(*) from taken"
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(AT_ONCE)
        .fetch_one(connection)
        .await
}
