//! What could not be stored as an event, with its exact bytes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;

use super::fault::Fault;
use crate::formats::Reject;

/// Adds rejects of one source. The same bytes again are the same row, seen once more.
pub async fn add(
    connection: &mut PgConnection,
    source: &str,
    rejects: &[Reject],
) -> Result<(), Fault> {
    if rejects.is_empty() {
        return Ok(());
    }
    // One row for each key, in one order: a key that came twice cannot be updated twice in one statement.
    let mut rows: BTreeMap<(&str, &str, [u8; 32]), (&Reject, i64)> = BTreeMap::new();
    for reject in rejects {
        let network_id = reject.network_id.as_deref().unwrap_or("");
        let key = (
            reject.scope.as_str(),
            network_id,
            Sha256::digest(&reject.payload).into(),
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
    sqlx::query(
        "insert into quarantine as q (source, scope, reason, detail, payload, payload_sha256, message_id, network_id,
             event_id, dispatch_timestamp, seen)
         select $1, scope, reason, detail, payload, payload_sha256, message_id, network_id, event_id,
             dispatch_timestamp, seen
         from unnest($2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::text[],
             $10::bigint[], $11::bigint[])
             k (scope, reason, detail, payload, payload_sha256, message_id, network_id, event_id, dispatch_timestamp,
             seen)
         on conflict (source, scope, coalesce(network_id, ''), payload_sha256) do update set
             seen = q.seen + excluded.seen, last_seen = now(), message_id = excluded.message_id",
    )
    .bind(source)
    .bind(column(|reject| reject.scope.as_str()))
    .bind(column(|reject| reject.refusal.reason.as_str()))
    .bind(column(|reject| &reject.refusal.detail))
    .bind(rows.values().map(|(reject, _)| reject.payload.as_slice()).collect::<Vec<_>>())
    .bind(rows.keys().map(|(_, _, sha256)| sha256.as_slice()).collect::<Vec<_>>())
    .bind(column(|reject| &reject.message_id))
    .bind(optional(|reject| reject.network_id.as_deref()))
    .bind(optional(|reject| reject.event_id.as_deref()))
    .bind(rows.values().map(|(reject, _)| reject.dispatch_timestamp).collect::<Vec<_>>())
    .bind(rows.values().map(|(_, seen)| *seen).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not write to quarantine"))?;
    Ok(())
}
