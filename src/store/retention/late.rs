//! What comes later than the day after its own. A day goes 28 days after it is over, and what came for it last may come
//! again for 28 days from then on; or the day is blanked already, and must be looked at again.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

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
    // What came by the end of the day after is 28 days old when its day goes: that takes no note.
    let yesterday = today().plus(-1);
    let late = days.iter().filter(|day| **day < yesterday);
    let late: Vec<i32> = late.map(|day| day.0).collect();
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
