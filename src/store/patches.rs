//! Folding the ledgers of records into `record_patches`, under the lock of each record's row.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::fault::Fault;
use crate::amount::Amount;
use crate::formats::hasoffers::event::{delta_fields, state_fields};
use crate::formats::hasoffers::fields::Field;
use crate::formats::hasoffers::fold::{Entry, Patch, fold};
use crate::formats::value::Type;

/// (network_id, record_id), sorted by bytes and each once.
pub type Records = std::collections::BTreeSet<(String, String)>;

/// Folds the ledgers of these records again.
///
/// Locking and reading are two statements: in READ COMMITTED a statement sees what was committed before it began, so one
/// that waited for a lock would miss what the lock's last holder wrote.
pub async fn fold_again(connection: &mut PgConnection, records: &Records) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    let (networks, ids): (Vec<&str>, Vec<&str>) = records
        .iter()
        .map(|(n, r)| (n.as_str(), r.as_str()))
        .unzip();
    lock(connection, &networks, &ids).await?;
    let ledgers = read_ledgers(connection, &networks, &ids).await?;
    let mut patches = Vec::with_capacity(records.len());
    for record in records {
        let ledger = ledgers.get(record).map_or(&[][..], Vec::as_slice);
        let patch = fold(ledger).map_err(|overflow| Fault::MassRefusal(overflow.into()))?;
        patches.push(patch);
    }
    write(connection, &networks, &ids, &patches).await?;
    if patches.iter().any(|patch| patch.adjustment_count == 0) {
        remove_empty(connection, &networks, &ids).await?;
    }
    Ok(())
}

/// Removes the patches of records whose ledger has no entry left: another content of its only one, of another record, won.
/// Whether there is a patch shall depend on the facts and not on what stood there in between.
async fn remove_empty(
    connection: &mut PgConnection,
    networks: &[&str],
    records: &[&str],
) -> Result<(), Fault> {
    sqlx::query(
        "delete from record_patches p using unnest($1::text[], $2::text[]) k (network_id, record_id)
         where p.network_id = k.network_id and p.record_id = k.record_id and p.adjustment_count = 0",
    )
    .bind(networks)
    .bind(records)
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not remove the patches of empty ledgers"))?;
    Ok(())
}

/// Inserts or touches the rows in order, which locks them.
async fn lock(
    connection: &mut PgConnection,
    networks: &[&str],
    records: &[&str],
) -> Result<(), Fault> {
    sqlx::query(
        r#"insert into record_patches as p (network_id, record_id)
           select network_id, record_id from unnest($1::text[], $2::text[]) k (network_id, record_id)
           order by network_id collate "C", record_id collate "C"
           on conflict (network_id, record_id) do update set revision = p.revision + 1"#,
    )
    .bind(networks)
    .bind(records)
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not lock the patches of records"))?;
    Ok(())
}

static LEDGER_SQL: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<String> = delta_fields()
        .chain(state_fields())
        .map(|(_, f)| format!("a.{}::text", f.name))
        .collect();
    format!(
        "select k.network_id, k.record_id, a.*
         from unnest($1::text[], $2::text[]) k (network_id, record_id)
         cross join lateral (
             select a.event_id, a.adjustment_sequence_id, a.adjustment_timestamp, {}
             from adjustments a
             where a.network_id = k.network_id and a.record_id = k.record_id and a.tune_event_id is not null
             offset 0
         ) a",
        columns.join(", ")
    )
});

async fn read_ledgers(
    connection: &mut PgConnection,
    networks: &[&str],
    records: &[&str],
) -> Result<BTreeMap<(String, String), Vec<Entry>>, Fault> {
    let rows = sqlx::query(AssertSqlSafe(LEDGER_SQL.as_str()))
        .bind(networks)
        .bind(records)
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the ledgers of records"))?;
    let mut ledgers: BTreeMap<(String, String), Vec<Entry>> = BTreeMap::new();
    for row in rows {
        ledgers
            .entry((row.get(0), row.get(1)))
            .or_default()
            .push(entry(&row)?);
    }
    Ok(ledgers)
}

fn entry(row: &PgRow) -> Result<Entry, Fault> {
    let mut at = 5;
    let mut next = || {
        at += 1;
        row.get::<Option<String>, _>(at - 1)
    };
    let mut deltas = Vec::new();
    for (_, field) in delta_fields() {
        deltas.push(match next() {
            None => Amount::ZERO,
            Some(text) => Amount::parse(&text).ok_or_else(|| {
                Fault::MassRefusal(anyhow::anyhow!(
                    "adjustments.{} holds an amount that hydrant never writes",
                    field.name
                ))
            })?,
        });
    }
    Ok(Entry {
        event_id: row.get(2),
        adjustment_sequence_id: row.get(3),
        adjustment_timestamp: row.get(4),
        deltas,
        state: state_fields().map(|_| next()).collect(),
    })
}

/// The type of a field in SQL.
fn sql_type(field: &Field) -> &'static str {
    match field.kind {
        Type::BigInt => "bigint",
        Type::Integer => "integer",
        Type::SmallInt => "smallint",
        Type::Boolean => "boolean",
        Type::Date => "date",
        Type::Timestamp => "timestamp",
        Type::Amount => "numeric",
        Type::Text | Type::Key => "text",
    }
}

/// An upsert, although all rows are there: it finds them by the key, whatever the planner thinks of the table.
static WRITE_SQL: LazyLock<String> = LazyLock::new(|| {
    let folded: Vec<&Field> = delta_fields()
        .chain(state_fields())
        .map(|(_, field)| field)
        .collect();
    let names: Vec<&str> = folded.iter().map(|field| field.name).collect();
    let arrays: Vec<String> = (0..folded.len())
        .map(|n| format!("${}::text[]", n + 6))
        .collect();
    let values: Vec<String> = folded
        .iter()
        .map(|field| format!("{}::{}", field.name, sql_type(field)))
        .collect();
    let set: Vec<String> = names
        .iter()
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        r#"insert into record_patches (network_id, record_id, adjustment_count, last_adjustment_sequence_id,
               last_adjusted_at, {names})
           select network_id, record_id, adjustment_count, last_adjustment_sequence_id, to_timestamp(last_adjusted_at),
               {values}
           from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], {arrays})
               k (network_id, record_id, adjustment_count, last_adjustment_sequence_id, last_adjusted_at, {names})
           order by network_id collate "C", record_id collate "C"
           on conflict (network_id, record_id) do update set
               adjustment_count = excluded.adjustment_count,
               last_adjustment_sequence_id = excluded.last_adjustment_sequence_id,
               last_adjusted_at = excluded.last_adjusted_at,
               {set}"#,
        names = names.join(", "),
        values = values.join(", "),
        arrays = arrays.join(", "),
        set = set.join(", "),
    )
});

async fn write(
    connection: &mut PgConnection,
    networks: &[&str],
    records: &[&str],
    patches: &[Patch],
) -> Result<(), Fault> {
    let mut query = sqlx::query(AssertSqlSafe(WRITE_SQL.as_str()))
        .bind(networks)
        .bind(records)
        .bind(
            patches
                .iter()
                .map(|p| p.adjustment_count)
                .collect::<Vec<_>>(),
        )
        .bind(
            patches
                .iter()
                .map(|p| p.last_adjustment_sequence_id)
                .collect::<Vec<_>>(),
        )
        .bind(
            patches
                .iter()
                .map(|p| p.last_adjusted_at)
                .collect::<Vec<_>>(),
        );
    for n in 0..delta_fields().count() {
        query = query.bind(
            patches
                .iter()
                .map(|p| p.sums[n].to_string())
                .collect::<Vec<_>>(),
        );
    }
    for n in 0..state_fields().count() {
        query = query.bind(
            patches
                .iter()
                .map(|p| p.state[n].as_deref())
                .collect::<Vec<_>>(),
        );
    }
    query
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not write the patches of records"))?;
    Ok(())
}
