//! What comes so long after its day that the day might be dropped or blanked already.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use crate::config::HORIZON_DAYS;
use crate::formats::value::Day;
use crate::store::fault::Fault;
use crate::store::partitions::today;

/// The days that were noted since then, a time in SQL.
pub async fn noted_since(
    connection: &mut PgConnection,
    since: String,
) -> Result<BTreeSet<Day>, Fault> {
    let sql = format!("select day - date '2000-01-01' from late_days where last_at >= {since}");
    let days: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read which days came late"))?;
    Ok(days.into_iter().map(Day).collect())
}

/// Notes those of the days that are late, within the transaction that writes to their partitions. A day is noted once an
/// hour, so that writers do not wait for each other; who reads the notes allows for that.
pub async fn note(connection: &mut PgConnection, days: &[Day]) -> Result<(), Fault> {
    let since = today().plus(-(HORIZON_DAYS as i32));
    let late: Vec<i32> = days
        .iter()
        .filter(|day| **day < since)
        .map(|d| d.0)
        .collect();
    if late.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into late_days as l (day)
         select k.day from (select date '2000-01-01' + n from unnest($1::int[]) n) k (day)
         where not exists (select from late_days n where n.day = k.day and n.last_at > now() - interval '1 hour')
         order by k.day
         on conflict on constraint late_days_day do update set last_at = greatest(l.last_at, excluded.last_at)",
    )
    .bind(late)
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not note which days came late"))?;
    Ok(())
}
