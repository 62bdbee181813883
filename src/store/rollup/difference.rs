//! What the sums lack of what the facts come to, or have too much: nothing, unless somebody changed rows by hand or an older
//! version of Hydrant wrote facts.

use super::State;
use super::switch::{begin, lock_state, patiently, run};
use crate::formats::value::Day;
use crate::store::connection::Settings;
use crate::store::fault::Fault;

/// What a group of the sums is, by which `stats_hourly` has each once.
pub const KEY: &str =
    "date, network_id, offer_id, affiliate_id, advertiser_id, goal_id, action, hour, currency";

/// A statement that gives a row for each group whose sums are not what its facts come to: [`KEY`], and what is lacking of
/// facts, num, payout, revenue and sale_amount. It reads nothing unless the rollup is on. Of days whose clicks and impressions
/// may have been dropped it compares conversions alone.
pub fn differences(since: Option<Day>) -> String {
    let days = since.map_or("true".to_owned(), |day| format!("date >= '{day}'"));
    format!(
        "select {KEY}, facts, num, payout, revenue, sale_amount
         from (
             select {KEY}, sum(facts) as facts, sum(num) as num, sum(payout) as payout, sum(revenue) as revenue,
                 sum(sale_amount) as sale_amount
             from (
                 select {KEY}, facts::bigint as facts, num, payout, revenue, sale_amount from stats_facts
                 union all
                 select {KEY}, -facts, -num, -payout, -revenue, -sale_amount from stats_rollup
             ) terms
             where {days} and (select state = 'on' from rollup_state)
                 and (action = 'conversion'
                      or date >= coalesce((select before from retention_marks where kind = 'events'), '-infinity'))
             group by {KEY}
         ) s
         where facts <> 0 or num <> 0 or payout <> 0 or revenue <> 0 or sale_amount <> 0"
    )
}

/// Appends what is lacking; how many groups that were. Facts and their sums are committed together, so what one snapshot
/// lacks is what all lack, whatever is written meanwhile. The lock keeps others from merging, switching, or mending the same.
///
/// # Errors
/// The database does not answer or refuses us.
pub async fn mend(settings: &Settings, since: Option<Day>) -> Result<u64, Fault> {
    let mut connection = settings.connect().await?;
    patiently(&mut connection, async |connection| {
        begin(connection, settings).await?;
        let mut mended = 0;
        if lock_state(connection).await?.0 == State::On {
            let sql = format!(
                "insert into stats_deltas ({KEY}, facts, num, payout, revenue, sale_amount) {}",
                differences(since)
            );
            mended = sqlx::query(sqlx::AssertSqlSafe(sql))
                .execute(&mut *connection)
                .await
                .map_err(|error| Fault::new(error, "could not mend the sums of facts"))?
                .rows_affected();
        }
        run(connection, "select 1; commit".to_owned()).await?;
        Ok(mended)
    })
    .await
}
