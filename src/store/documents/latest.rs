//! One row a key, with the state that all its versions come to.
//!
//! The row itself is what writers lock. It is inserted or touched before anything is read of the key, and where there is no
//! whole state in the end, an early update's, it goes again in the same transaction: nobody sees it, but whoever brings the
//! whole state at the same moment has waited for it, and finds the update.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::first::key_of;
use super::layers::{Layer, Version, in_force, laid};
use super::{Document, Table, array, hex, same_key, write_key};
use crate::json;
use crate::store::fault::Fault;
use crate::store::write::Tally;

/// What there is of one key.
struct Thing<'a> {
    key: &'a [String],
    versions: Vec<Version>,
    /// New versions; their places are at the end of `versions`.
    new: Vec<&'a Document>,
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
    let keys: Vec<&Document> = unknown
        .chunk_by(|a, b| a.key == b.key)
        .map(|same_key| same_key[0])
        .collect();
    // Locking and reading are two statements: one that waited for a lock would not see what the lock's last holder wrote.
    lock(connection, table, &keys).await?;
    let mut stored = read(connection, versions, &keys).await?;
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

fn keys_of(documents: &[&Document]) -> String {
    array(documents, |document, out| {
        out.push('{');
        document.write_key(out);
        out.push('}');
    })
}

/// Inserts or touches the rows in the order of their keys, which locks them.
async fn lock(
    connection: &mut PgConnection,
    table: &Table,
    keys: &[&Document],
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
        .bind(keys_of(keys))
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not lock the rows of documents"))?;
    Ok(())
}

/// The versions of each key, without their contents.
async fn read(
    connection: &mut PgConnection,
    versions: &str,
    keys: &[&Document],
) -> Result<BTreeMap<Vec<String>, Vec<Version>>, Fault> {
    let table = keys[0].table;
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
        .bind(keys_of(keys))
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

/// Writes the states, and removes the rows of those that have none.
async fn write(
    connection: &mut PgConnection,
    table: &Table,
    versions: &str,
    things: &[Thing<'_>],
) -> Result<(), Fault> {
    let contents = contents(connection, table, versions, things).await?;
    let (mut states, mut bare) = (Vec::new(), Vec::new());
    for thing in things {
        let in_force = in_force(&thing.versions);
        if in_force.is_empty() {
            bare.push(thing.key);
            continue;
        }
        let hashes = in_force.iter().map(|version| &version.content_hash);
        let rows = hashes.filter_map(|hash| contents.get(&(thing.key, hash.as_slice())));
        let state = laid(rows.map(AsRef::as_ref)).map_err(|error| {
            Fault::MassRefusal(anyhow::anyhow!(
                "a content in {versions} is no object as hydrant writes it: {error}"
            ))
        })?;
        states.push((thing.key, state));
    }
    write_states(connection, table, &states).await?;
    remove(connection, table, &bare).await
}

type Contents<'a> = BTreeMap<(&'a [String], &'a [u8]), Cow<'a, str>>;

/// The contents that are in force: new ones, and of the stored ones those that are needed.
async fn contents<'a>(
    connection: &mut PgConnection,
    table: &Table,
    versions: &str,
    things: &'a [Thing<'a>],
) -> Result<Contents<'a>, Fault> {
    let mut contents = Contents::new();
    for thing in things {
        for new in &thing.new {
            contents.insert((thing.key, &new.content_hash), (&new.row).into());
        }
    }
    let in_force = things.iter().flat_map(|thing| {
        let versions = in_force(&thing.versions).into_iter();
        versions.map(|version| (thing.key, version.content_hash.as_slice()))
    });
    let needed: Vec<_> = in_force
        .filter(|version| !contents.contains_key(version))
        .collect();
    if needed.is_empty() {
        return Ok(contents);
    }
    let sql = format!(
        "select ordinality, v.content
         from jsonb_populate_recordset(null::{versions}, $1::jsonb) with ordinality k
         cross join lateral (
             select v.content::text from {versions} v where {same_key} and v.content_hash = k.content_hash offset 0
         ) v",
        same_key = same_key(table, "v", "k"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(array(&needed, |(key, hash), out| {
            out.push('{');
            write_key(table, key, out);
            out.push_str(&format!(",\"content_hash\":{}}}", hex(hash)));
        }))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the contents of versions"))?;
    for row in rows {
        let position = row.get::<i64, _>(0) as usize - 1;
        contents.insert(needed[position], row.get::<String, _>(1).into());
    }
    Ok(contents)
}

async fn write_states(
    connection: &mut PgConnection,
    table: &Table,
    states: &[(&[String], String)],
) -> Result<(), Fault> {
    if states.is_empty() {
        return Ok(());
    }
    let key = table.key.join(", ");
    let set: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    // An upsert, although all rows are there: it finds them by the key, whatever the planner thinks of the table.
    let sql = format!(
        "insert into {name} ({columns})
         select {columns} from jsonb_populate_recordset(null::{name}, $1::jsonb)
         on conflict ({key}) do update set {set}",
        name = table.name,
        columns = [table.key, table.columns].concat().join(", "),
        set = set.join(", "),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(array(states, |(key, state), out| {
            out.push('{');
            write_key(table, key, out);
            out.push_str(if state == "{}" { "" } else { "," });
            out.push_str(&state[1..]);
        }))
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not write the states of documents"))?;
    Ok(())
}

async fn remove(
    connection: &mut PgConnection,
    table: &Table,
    keys: &[&[String]],
) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "delete from {name} t using jsonb_populate_recordset(null::{name}, $1::jsonb) k where {same_key}",
        name = table.name,
        same_key = same_key(table, "t", "k"),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(array(keys, |key, out| {
            out.push('{');
            write_key(table, key, out);
            out.push('}');
        }))
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not remove rows without a state"))?;
    Ok(())
}
