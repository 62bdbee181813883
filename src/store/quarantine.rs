//! What could not be stored as an event, with its exact bytes: writing it down ([`add`]), and looking at it ([`Quarantine`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Postgres, Row};
use uuid::Uuid;

use super::connection::{Settings, quote_identifier};
use super::fault::Fault;
use crate::formats::place::Spot;
use crate::formats::{Refusal, Reject};

/// Source, scope, network or nothing, the hash of the bytes, and where they stood if that matters.
type Key<'a> = (&'a str, &'a str, &'a str, [u8; 32], Option<(&'a str, u64)>);

/// Adds rejects, of `source` where they do not name another. The same bytes again are the same row, seen once more: for the reason that they are refused
/// for now, and open again if the row was resolved, because something is still wrong. What was discarded stays so. Of what has
/// no id of its own, the same bytes elsewhere are another row.
pub async fn add(
    connection: &mut PgConnection,
    source: &str,
    rejects: &[Reject],
) -> Result<(), Fault> {
    if rejects.is_empty() {
        return Ok(());
    }
    // One row for each key, in one order: a key that came twice cannot be updated twice in one statement.
    let mut rows: BTreeMap<Key<'_>, (&Reject, i64)> = BTreeMap::new();
    for reject in rejects {
        let network_id = reject.network_id.as_deref().unwrap_or("");
        let spot = reject.spot.as_ref();
        let key = (
            reject.source.as_deref().unwrap_or(source),
            reject.scope.as_str(),
            network_id,
            Sha256::digest(&reject.payload).into(),
            spot.map(|spot| (spot.origin.as_str(), spot.occurrence)),
        );
        rows.entry(key).or_insert((reject, 0)).1 += 1;
    }
    let column = |of: fn(&Reject) -> &str| {
        rows.values()
            .map(|(reject, _)| of(reject))
            .collect::<Vec<_>>()
    };
    let optional = |of: fn(&Reject) -> Option<&str>| {
        rows.values()
            .map(|(reject, _)| of(reject))
            .collect::<Vec<_>>()
    };
    let number = |of: fn(&Spot) -> u64| {
        rows.values()
            .map(|(reject, _)| Some(of(reject.spot.as_ref()?).cast_signed()))
            .collect::<Vec<_>>()
    };
    sqlx::query(
        "insert into quarantine as q (source, scope, reason, detail, payload, payload_sha256, message_id, network_id,
             event_id, dispatch_timestamp, seen, origin, etag, occurrence, line)
         select source, scope, reason, detail, payload, payload_sha256, message_id, network_id, event_id,
             dispatch_timestamp, seen, origin, etag, occurrence, line
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::text[],
             $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::bigint[], $15::bigint[])
             k (source, scope, reason, detail, payload, payload_sha256, message_id, network_id, event_id,
             dispatch_timestamp, seen, origin, etag, occurrence, line)
         on conflict (source, scope, coalesce(network_id, ''), payload_sha256, coalesce(hashtextextended(origin, 0), 0),
             coalesce(occurrence, 0)) do update set
             seen = q.seen + excluded.seen, last_seen = now(), message_id = excluded.message_id,
             reason = excluded.reason, detail = excluded.detail,
             payload = case when octet_length(q.payload) = 0 then excluded.payload else q.payload end,
             status = case q.status when 'discarded' then 'discarded' else 'open' end",
    )
    .bind(rows.keys().map(|(source, ..)| *source).collect::<Vec<_>>())
    .bind(column(|reject| reject.scope.as_str()))
    .bind(column(|reject| reject.refusal.reason.as_str()))
    .bind(column(|reject| &reject.refusal.detail))
    .bind(rows.values().map(|(reject, _)| reject.payload.as_slice()).collect::<Vec<_>>())
    .bind(rows.keys().map(|(.., sha256, _)| sha256.as_slice()).collect::<Vec<_>>())
    .bind(column(|reject| &reject.message_id))
    .bind(optional(|reject| reject.network_id.as_deref()))
    .bind(optional(|reject| reject.event_id.as_deref()))
    .bind(rows.values().map(|(reject, _)| reject.dispatch_timestamp).collect::<Vec<_>>())
    .bind(rows.values().map(|(_, seen)| *seen).collect::<Vec<_>>())
    .bind(optional(|reject| Some(reject.spot.as_ref()?.origin.as_str())))
    .bind(optional(|reject| reject.spot.as_ref()?.etag.as_deref()))
    .bind(number(|spot| spot.occurrence))
    .bind(number(|spot| spot.line))
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not write to quarantine"))?;
    Ok(())
}

/// What is to become of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Somebody should look at it.
    Open,
    /// Its events were stored, or went to quarantine one by one.
    Resolved,
    /// Nobody wants it.
    Discarded,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Resolved => "resolved",
            Status::Discarded => "discarded",
        }
    }
}

/// Which items; what is not given does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub reason: Option<String>,
    pub source: Option<String>,
    pub scope: Option<String>,
    pub network_id: Option<String>,
    pub status: Option<Status>,
    /// By the time when it was last seen.
    pub older_than: Option<Duration>,
    pub newer_than: Option<Duration>,
    pub limit: Option<u32>,
}

/// One row without its payload. Times are UTC.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    #[serde(serialize_with = "as_text")]
    pub id: Uuid,
    pub status: String,
    pub scope: String,
    pub reason: String,
    pub detail: Option<String>,
    pub source: String,
    pub message_id: Option<String>,
    pub network_id: Option<String>,
    pub event_id: Option<String>,
    pub dispatch_timestamp: Option<i64>,
    #[serde(flatten)]
    pub spot: Option<Spot>,
    pub seen: i64,
    pub first_seen: String,
    pub last_seen: String,
    pub payload_bytes: i64,
    pub payload_sha256: String,
    /// Seconds since it was first and last seen, by the database's clock.
    #[serde(skip)]
    pub ages: (i64, i64),
}

/// The hash of nothing.
const NO_BYTES: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl Item {
    /// Whether its payload is gone because it is old: what is hashed was more than nothing.
    pub fn is_blanked(&self) -> bool {
        self.payload_bytes == 0 && self.payload_sha256 != NO_BYTES
    }
}

fn as_text<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

const ITEM_COLUMNS: &str = r#"id, status, scope, reason, detail, source, message_id, network_id, event_id,
    dispatch_timestamp, origin, etag, occurrence, line, seen, octet_length(payload)::bigint as payload_bytes,
    encode(payload_sha256, 'hex') as payload_sha256,
    to_char(first_seen at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as first_seen,
    to_char(last_seen at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as last_seen,
    extract(epoch from now() - first_seen)::bigint as first_age,
    extract(epoch from now() - last_seen)::bigint as last_age"#;

const FILTERED: &str = "($1::text is null or reason = $1) and ($2::text is null or source = $2 or starts_with(source, $2 || '.'))
    and ($3::text is null or scope = $3) and ($4::text is null or network_id = $4)
    and ($5::text is null or status = $5)
    and ($6::float8 is null or last_seen < now() - make_interval(secs => $6))
    and ($7::float8 is null or last_seen >= now() - make_interval(secs => $7))";

/// Quarantine as people look at it and work on it, on a connection of its own.
#[derive(Debug)]
pub struct Quarantine {
    connection: PgConnection,
    /// With its schema: nothing relies on the state of a session.
    table: String,
}

impl Quarantine {
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn open(settings: &Settings) -> Result<Quarantine, Fault> {
        Ok(Quarantine {
            connection: settings.connect().await?,
            table: format!("{}.quarantine", quote_identifier(&settings.schema)),
        })
    }

    /// What a filter lets through, the latest first.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn list(&mut self, filter: &Filter) -> Result<Vec<Item>, Fault> {
        let sql = format!(
            "select {ITEM_COLUMNS} from {} where {FILTERED} order by quarantine.last_seen desc, id limit $8",
            self.table
        );
        let rows = filtered(sql, filter)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not list quarantine"))?;
        Ok(rows.iter().map(item).collect())
    }

    /// The ids of what a filter lets through, the oldest first.
    ///
    /// # Errors
    /// As for [`Quarantine::list`].
    pub async fn find(&mut self, filter: &Filter) -> Result<Vec<Uuid>, Fault> {
        let sql = format!(
            "select id from {} where {FILTERED} order by last_seen, id limit $8",
            self.table
        );
        let rows = filtered(sql, filter)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not look into quarantine"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The first two ids of a range: the second tells that the beginning of an id does not name one.
    ///
    /// # Errors
    /// As for [`Quarantine::list`].
    pub async fn between(&mut self, least: Uuid, most: Uuid) -> Result<Vec<Uuid>, Fault> {
        let sql = format!(
            "select id from {} where id between $1 and $2 order by id limit 2",
            self.table
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(least)
            .bind(most)
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not look into quarantine"))
    }

    /// Items with their payloads, in the order of `ids`; those that are gone are left out.
    ///
    /// # Errors
    /// As for [`Quarantine::list`].
    pub async fn load(&mut self, ids: &[Uuid]) -> Result<Vec<(Item, Vec<u8>)>, Fault> {
        let sql = format!(
            "select {ITEM_COLUMNS}, payload from {} where id = any($1) order by array_position($1, id)",
            self.table
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(ids)
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not read from quarantine"))?;
        Ok(rows
            .iter()
            .map(|row| (item(row), row.get("payload")))
            .collect())
    }

    /// Gives items a status; how many did not have it.
    ///
    /// # Errors
    /// As for [`Quarantine::list`]; the database may be read-only as well.
    pub async fn mark(&mut self, ids: &[Uuid], status: Status) -> Result<u64, Fault> {
        let sql = format!(
            "update {} set status = $2 where id = any($1) and status <> $2",
            self.table
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(ids)
            .bind(status.as_str())
            .persistent(false)
            .execute(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not mark items of quarantine"))?;
        Ok(done.rows_affected())
    }

    /// Writes down why an item is refused now. Nothing was received: it was not seen again.
    ///
    /// # Errors
    /// As for [`Quarantine::mark`].
    pub async fn note(&mut self, id: Uuid, refusal: &Refusal) -> Result<(), Fault> {
        let sql = format!(
            "update {} set reason = $2, detail = $3 where id = $1 and (reason, detail) is distinct from ($2, $3)",
            self.table
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(refusal.reason.as_str())
            .bind(refusal.detail.as_ref())
            .persistent(false)
            .execute(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not write to quarantine"))?;
        Ok(())
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }
}

/// A query with a filter for $1 to $8.
fn filtered(sql: String, filter: &Filter) -> Query<'_, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql))
        .bind(&filter.reason)
        .bind(&filter.source)
        .bind(&filter.scope)
        .bind(&filter.network_id)
        .bind(filter.status.map(Status::as_str))
        .bind(filter.older_than.map(|age| age.as_secs_f64()))
        .bind(filter.newer_than.map(|age| age.as_secs_f64()))
        .bind(filter.limit.map(i64::from))
        .persistent(false)
}

fn item(row: &PgRow) -> Item {
    Item {
        id: row.get("id"),
        status: row.get("status"),
        scope: row.get("scope"),
        reason: row.get("reason"),
        detail: row.get("detail"),
        source: row.get("source"),
        message_id: row.get("message_id"),
        network_id: row.get("network_id"),
        event_id: row.get("event_id"),
        dispatch_timestamp: row.get("dispatch_timestamp"),
        spot: spot(row),
        seen: row.get("seen"),
        first_seen: row.get("first_seen"),
        last_seen: row.get("last_seen"),
        payload_bytes: row.get("payload_bytes"),
        payload_sha256: row.get("payload_sha256"),
        ages: (row.get("first_age"), row.get("last_age")),
    }
}

fn spot(row: &PgRow) -> Option<Spot> {
    let number = |column: &str| row.get::<Option<i64>, _>(column).map(i64::cast_unsigned);
    Some(Spot {
        origin: row.get::<Option<String>, _>("origin")?,
        etag: row.get("etag"),
        occurrence: number("occurrence")?,
        line: number("line")?,
    })
}
