//! What the status page asks the database: counts that cost little, or are cut short. Nothing is written, no payload is read.

use serde::Serialize;
use sqlx::FromRow;

use super::fault::Fault;
use super::inspect::{Inspection, in_time};

/// Open items of the quarantine that are counted at most, the newest.
pub const OPEN_COUNTED: i64 = 10_000;
/// Orphans that are counted at most.
pub const ORPHANS_COUNTED: i64 = 10_000;

/// Open items of the quarantine that are refused for the same reason. Times are seconds since 1970.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Refusals {
    pub reason: String,
    pub scope: String,
    pub source: String,
    pub open: i64,
    pub first_seen: i64,
    pub last_seen: i64,
    /// Why the newest of them is refused, in a sentence, and what names it in commands.
    pub newest_detail: Option<String>,
    pub newest_id: String,
}

/// Adjustments whose record has no original.
#[derive(Clone, Copy, Debug, FromRow, Serialize)]
pub struct Orphans {
    pub waiting: i64,
    /// Of them, those that came more than a day ago.
    pub older_than_a_day: i64,
    /// There may be more.
    pub is_cut: bool,
}

impl Inspection {
    /// The newest [`OPEN_COUNTED`] open items by what they have in common, the newest first.
    pub async fn refusals(&mut self) -> Result<Vec<Refusals>, Fault> {
        sqlx::query_as(
            "select reason, scope, source, count(*) as open,
                 extract(epoch from min(first_seen))::bigint as first_seen,
                 extract(epoch from max(last_seen))::bigint as last_seen,
                 (array_agg(detail order by last_seen desc))[1] as newest_detail,
                 (array_agg(id order by last_seen desc))[1]::text as newest_id
             from (
                 select id, reason, detail, scope, source, first_seen, last_seen from quarantine
                 where status = 'open' order by last_seen desc limit $1
             ) newest
             group by reason, scope, source
             order by max(last_seen) desc, reason, source",
        )
        .bind(OPEN_COUNTED)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not look into the quarantine"))
    }

    /// How many there are, up to [`ORPHANS_COUNTED`]; `None` where counting took too long.
    pub async fn orphans(&mut self) -> Result<Option<Orphans>, Fault> {
        let counted = sqlx::query_as(
            "select count(*) as waiting,
                 count(*) filter (where received_at < now() - interval '1 day') as older_than_a_day,
                 count(*) >= $1 as is_cut
             from (select received_at from orphan_adjustments limit $1) counted",
        )
        .bind(ORPHANS_COUNTED)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not count the orphan adjustments"));
        in_time(counted)
    }
}
