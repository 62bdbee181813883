//! Rows that never change once they are there.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::{Document, Table, array, same_key};
use crate::store::fault::Fault;
use crate::store::write::Tally;

/// Adds what is not there with the same content.
pub async fn add_each(
    connection: &mut PgConnection,
    documents: &[&Document],
) -> Result<Tally, Fault> {
    let mut sorted = documents.to_vec();
    sorted.sort_by(|a, b| (&a.key, a.content_hash).cmp(&(&b.key, b.content_hash)));
    let new = insert(connection, &sorted).await?.len() as u64;
    Ok(Tally {
        stored: new,
        duplicates: documents.len() as u64 - new,
        ..Tally::default()
    })
}

/// Adds what has a new key. Those of the others that are no repetition come back.
pub async fn add_first<'a>(
    connection: &mut PgConnection,
    documents: &[&'a Document],
) -> Result<(Tally, Vec<&'a Document>), Fault> {
    let firsts: Vec<&Document> = documents
        .chunk_by(|a, b| a.key == b.key)
        .map(|same_key| same_key[0])
        .collect();
    let new = insert(connection, &firsts).await?;
    let is_new =
        |document: &Document| new.contains(&(document.key.clone(), document.content_hash.to_vec()));
    // What was added just now is looked up as well: another content of it may be among the rest.
    let others: Vec<&Document> = documents
        .iter()
        .copied()
        .filter(|document| !is_new(document))
        .collect();
    let variants = different(connection, &others).await?;
    let count = documents.len() as u64;
    let tally = Tally {
        stored: new.len() as u64,
        duplicates: count - new.len() as u64 - variants.len() as u64,
        ..Tally::default()
    };
    Ok((tally, variants))
}

/// Inserts rows that are sorted; the key and the hash of those that went in.
async fn insert(
    connection: &mut PgConnection,
    documents: &[&Document],
) -> Result<BTreeSet<(Vec<String>, Vec<u8>)>, Fault> {
    let table = documents[0].table;
    let key = table.key.join("::text, ");
    let columns = [table.key, &["content_hash"], table.columns].concat();
    let sql = format!(
        "insert into {name} ({columns})
         select {columns} from jsonb_populate_recordset(null::{name}, $1::jsonb) with ordinality k
         order by ordinality
         on conflict do nothing
         returning content_hash, {key}::text",
        name = table.name,
        columns = columns.join(", "),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(array(documents, |document, out| {
            document.write_row(&[], out)
        }))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not add documents"))?;
    let key = |row: &_| key_of(table, row, 1);
    Ok(rows.iter().map(|row| (key(row), row.get(0))).collect())
}

/// The values of the key's columns, from the column `first` on.
pub fn key_of(table: &Table, row: &sqlx::postgres::PgRow, first: usize) -> Vec<String> {
    let columns = first..first + table.key.len();
    columns.map(|column| row.get(column)).collect()
}

/// Those of which the table has another content.
async fn different<'a>(
    connection: &mut PgConnection,
    documents: &[&'a Document],
) -> Result<Vec<&'a Document>, Fault> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let table = documents[0].table;
    let sql = format!(
        "select t.content_hash, ordinality
         from jsonb_populate_recordset(null::{name}, $1::jsonb) with ordinality k
         cross join lateral (select content_hash from {name} t where {same_key} offset 0) t",
        name = table.name,
        same_key = same_key(table, "t", "k"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(array(documents, |document, out| {
            out.push('{');
            document.write_key(out);
            out.push('}');
        }))
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, "could not look documents up"))?;
    if rows.len() < documents.len() {
        let gone = "documents were deleted while others of their key were added";
        return Err(Fault::Race(anyhow::anyhow!(gone)));
    }
    Ok(rows
        .iter()
        .map(|row| (documents[row.get::<i64, _>(1) as usize - 1], row))
        .filter(|(document, row)| document.content_hash[..] != row.get::<Vec<u8>, _>(0)[..])
        .map(|(document, _)| document)
        .collect())
}
