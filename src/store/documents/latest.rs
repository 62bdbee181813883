//! One row a key, with the state that all its versions come to.
//!
//! The row itself is what writers lock. It is inserted or touched before anything is read of the key, and where there is no
//! whole state in the end, an early update's, it goes again in the same transaction: nobody sees it, but whoever brings the
//! whole state at the same moment has waited for it, and finds the update.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::first::key_of;
use super::layers::{Layer, Version};
use super::states::write;
use super::{Document, Table, array, hex, keys_of, same_key};
use crate::json;
use crate::store::fault::Fault;
use crate::store::write::Tally;

/// What there is of one key.
pub(super) struct Thing<'a> {
    pub key: &'a [String],
    pub versions: Vec<Version>,
    /// New versions; their places are at the end of `versions`.
    pub new: Vec<&'a Document>,
}

/// Adds versions to the table `versions` and writes the states that they come to. The documents are sorted by key.
pub async fn add(
    connection: &mut PgConnection,
    versions: &str,
    documents: &[&Document],
) -> Result<Tally, Fault> {
    let mut tally = Tally::default();
    let unknown = unknown(connection, versions, documents).await?;
    tally.duplicates += (documents.len() - unknown.len()) as u64;
    if unknown.is_empty() {
        return Ok(tally);
    }
    let table = unknown[0].table;
    let keys: Vec<&[String]> = unknown
        .chunk_by(|a, b| a.key == b.key)
        .map(|same_key| same_key[0].key.as_slice())
        .collect();
    let mut stored = lock_and_read(connection, table, versions, &keys).await?;
    let mut things = Vec::with_capacity(keys.len());
    for documents in unknown.chunk_by(|a, b| a.key == b.key) {
        let known = stored.remove(&documents[0].key).unwrap_or_default();
        let thing = Thing::of(known, documents);
        tally += thing.tally(documents.len());
        things.push(thing);
    }
    insert(connection, table, versions, &things).await?;
    write(connection, table, versions, &things).await?;
    Ok(tally)
}

/// Works out anew what the versions of these keys come to. Their contents were changed in this transaction.
pub async fn lay_again(
    connection: &mut PgConnection,
    table: &Table,
    versions: &str,
    keys: &BTreeSet<Vec<String>>,
) -> Result<(), Fault> {
    let keys: Vec<&[String]> = keys.iter().map(Vec::as_slice).collect();
    let mut stored = lock_and_read(connection, table, versions, &keys).await?;
    let things = keys.iter().map(|key| Thing {
        key,
        versions: stored.remove(*key).unwrap_or_default(),
        new: Vec::new(),
    });
    let things: Vec<Thing<'_>> = things.collect();
    write(connection, table, versions, &things).await
}

/// Locks the rows of keys and reads their versions. These are two statements: one that waited for a lock would not see what
/// the lock's last holder wrote.
async fn lock_and_read(
    connection: &mut PgConnection,
    table: &Table,
    versions: &str,
    keys: &[&[String]],
) -> Result<BTreeMap<Vec<String>, Vec<Version>>, Fault> {
    lock(connection, table, keys).await?;
    read(connection, table, versions, keys).await
}

impl<'a> Thing<'a> {
    fn of(mut versions: Vec<Version>, documents: &[&'a Document]) -> Thing<'a> {
        let mut new = Vec::new();
        for document in documents {
            let hash = &document.content_hash[..];
            if versions.iter().any(|v| v.content_hash == hash) {
                continue;
            }
            let nth = versions.iter().map(|v| v.nth).max().unwrap_or(0);
            versions.push(Version {
                layer: document.layer as i16,
                version: document.version,
                event_type: document.event_type.to_owned(),
                nth: nth + 1,
                content_hash: hash.to_vec(),
            });
            new.push(*document);
        }
        Thing {
            key: &documents[0].key,
            versions,
            new,
        }
    }

    /// The first whole state is what is stored, everything else adjusts it.
    fn tally(&self, documents: usize) -> Tally {
        let is_whole = |layer: i16| layer != Layer::Update as i16;
        let known = self.versions.len() - self.new.len();
        let had_one = self.versions[..known].iter().any(|v| is_whole(v.layer));
        let brings_one = self.new.iter().any(|new| is_whole(new.layer as i16));
        let stored = u64::from(!had_one && brings_one);
        Tally {
            stored,
            adjustments: self.new.len() as u64 - stored,
            duplicates: (documents - self.new.len()) as u64,
            ..Tally::default()
        }
    }
}

/// The documents whose content is no version yet.
async fn unknown<'a>(
    connection: &mut PgConnection,
    versions: &str,
    documents: &[&'a Document],
) -> Result<Vec<&'a Document>, Fault> {
    let sql = format!(
        "select ordinality
         from jsonb_populate_recordset(null::{versions}, $1::jsonb) with ordinality k
         where not exists (select from {versions} v where {same_key} and v.content_hash = k.content_hash)
         order by ordinality",
        same_key = same_key(documents[0].table, "v", "k"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(array(documents, |document, out| {
            out.push('{');
            document.write_key(out);
            out.push_str(&format!(
                ",\"content_hash\":{}}}",
                hex(&document.content_hash)
            ));
        }))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not look versions up"))?;
    let positions = rows.iter().map(|row| row.get::<i64, _>(0) as usize - 1);
    Ok(positions.map(|position| documents[position]).collect())
}

/// Inserts or touches the rows in the order of their keys, which locks them.
async fn lock(
    connection: &mut PgConnection,
    table: &Table,
    keys: &[&[String]],
) -> Result<(), Fault> {
    let key = table.key.join(", ");
    let sql = format!(
        "insert into {name} as t ({key})
         select {key} from jsonb_populate_recordset(null::{name}, $1::jsonb) with ordinality k
         order by ordinality
         on conflict ({key}) do update set {first} = t.{first}",
        name = table.name,
        first = table.key[0],
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(keys_of(table, keys))
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not lock the rows of documents"))?;
    Ok(())
}

/// The versions of each key, without their contents.
async fn read(
    connection: &mut PgConnection,
    table: &Table,
    versions: &str,
    keys: &[&[String]],
) -> Result<BTreeMap<Vec<String>, Vec<Version>>, Fault> {
    let columns: Vec<String> = table.key.iter().map(|c| format!("k.{c}")).collect();
    let sql = format!(
        "select v.*, {key}
         from jsonb_populate_recordset(null::{versions}, $1::jsonb) k
         cross join lateral (
             select v.layer, v.version, v.event_type, v.nth, v.content_hash from {versions} v where {same_key} offset 0
         ) v",
        key = columns.join(", "),
        same_key = same_key(table, "v", "k"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(keys_of(table, keys))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the versions of documents"))?;
    let mut found: BTreeMap<Vec<String>, Vec<Version>> = BTreeMap::new();
    for row in &rows {
        let version = Version {
            layer: row.get(0),
            version: row.get(1),
            event_type: row.get(2),
            nth: row.get(3),
            content_hash: row.get(4),
        };
        found
            .entry(key_of(table, row, 5))
            .or_default()
            .push(version);
    }
    Ok(found)
}

/// Inserts the new versions.
async fn insert(
    connection: &mut PgConnection,
    table: &Table,
    versions: &str,
    things: &[Thing<'_>],
) -> Result<(), Fault> {
    let rows = things.iter().flat_map(|thing| {
        let known = thing.versions.len() - thing.new.len();
        thing.new.iter().zip(&thing.versions[known..])
    });
    let rows = array(rows, |(document, version), out| {
        let mut event_type = String::new();
        json::write_text(document.event_type, &mut event_type);
        out.push('{');
        document.write_key(out);
        out.push_str(&format!(
            r#","content_hash":{},"event_type":{event_type},"layer":{},"version":{},"nth":{},"content":{}}}"#,
            hex(&version.content_hash),
            version.layer,
            version.version.map_or("null".to_owned(), |version| version.to_string()),
            version.nth,
            document.row,
        ));
    });
    let columns = [
        table.key,
        &[
            "content_hash",
            "event_type",
            "layer",
            "version",
            "nth",
            "content",
        ],
    ]
    .concat()
    .join(", ");
    let sql = format!(
        "insert into {versions} ({columns})
         select {columns} from jsonb_populate_recordset(null::{versions}, $1::jsonb)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(rows)
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not add versions of documents"))?;
    Ok(())
}
