//! The states that versions come to, in the rows that are locked.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::latest::Thing;
use super::layers::{in_force, laid};
use super::{Table, array, hex, keys_of, same_key, write_key};
use crate::store::fault::Fault;

/// Writes the states, and removes the rows of those that have none.
pub(super) async fn write(
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
        .bind(keys_of(table, keys))
        .execute(connection)
        .await
        .map_err(|error| Fault::new(error, "could not remove rows without a state"))?;
    Ok(())
}
