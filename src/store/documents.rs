//! Rows of the feeds beside HasOffers: slower and simpler than facts, and any table that describes itself as a [`Table`].
//!
//! [`first`] adds rows that never change, [`latest`] keeps one row a key with the state that its versions come to, worked out
//! by [`layers`] and written by [`states`]. Every statement takes its rows as one JSON text: each value was typed before, so no cast can fail on what
//! came in, and amounts are the digits of their text.

mod first;
mod latest;
mod layers;
mod states;

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use twox_hash::XxHash3_128;

use super::batch::Origin;
use super::fault::Fault;
use super::write::Tally;
use crate::json;

pub use self::first::key_of;
pub use self::latest::lay_again;
pub use self::layers::Layer;

/// A table of documents. All of its columns can be NULL but for the key's, those with a default and `content_hash`.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// Columns that as text are the same everywhere. Writers add their rows in the order of these texts.
    pub key: &'static [&'static str],
    /// The other columns that a row may have.
    pub columns: &'static [&'static str],
    pub keeping: Keeping,
}

/// What is kept of several contents of one key.
#[derive(Debug)]
pub enum Keeping {
    /// All: each of them once. The table is unique by the key and `content_hash`.
    Each,
    /// The first, with its `content_hash`; what the others become instead is a document of a table that keeps each.
    First { variant: fn(&Document) -> Document },
    /// The state that they come to. All of them are in this table, in its columns `content_hash, event_type, layer, version,
    /// nth, content`; it is unique by the key and `content_hash`.
    Latest { versions: &'static str },
}

/// One row to be.
#[derive(Clone, Debug)]
pub struct Document {
    pub table: &'static Table,
    /// The values of the table's key columns.
    pub key: Vec<String>,
    /// What kind of delivery it was, in the feed's own words.
    pub event_type: &'static str,
    pub layer: Layer,
    /// The feed's own order of the contents of a key; None comes before all others.
    pub version: Option<i64>,
    /// When it happened, in seconds since 1970.
    pub happened: Option<i64>,
    /// A JSON object in canonical form: columns of the table with their values, blank ones left out. `extra` may be one.
    pub row: String,
    pub content_hash: [u8; 16],
    pub origin: Origin,
}

impl Document {
    /// Bytes of memory that it is worth counting.
    pub fn bytes(&self) -> usize {
        self.row.len() + self.key.iter().map(String::len).sum::<usize>()
    }

    /// The network that it belongs to, where its key says so.
    pub fn network_id(&self) -> Option<&str> {
        let mut key = self.table.key.iter().zip(&self.key);
        key.find(|(column, _)| **column == "network_id")
            .map(|(_, value)| value.as_str())
    }

    /// The rest of its key, for people.
    pub fn id(&self) -> String {
        let key = self.table.key.iter().zip(&self.key);
        let rest = key.filter(|(column, _)| **column != "network_id");
        let values: Vec<&str> = rest.map(|(_, value)| value.as_str()).collect();
        values.join(" ")
    }

    /// The row with its key, its hash and these more columns, which are JSON already. Later ones win.
    fn write_row(&self, more: &[(&str, String)], out: &mut String) {
        out.push('{');
        self.write_key(out);
        out.push_str(&format!(",\"content_hash\":{}", hex(&self.content_hash)));
        for (column, value) in more {
            out.push_str(&format!(",\"{column}\":{value}"));
        }
        match self.row.strip_prefix('{') {
            Some("}") | None => out.push('}'),
            Some(rest) => {
                out.push(',');
                out.push_str(rest);
            }
        }
    }

    fn write_key(&self, out: &mut String) {
        write_key(self.table, &self.key, out);
    }
}

/// The members of a key.
fn write_key(table: &Table, key: &[String], out: &mut String) {
    for (at, (column, value)) in table.key.iter().zip(key).enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::write_text(column, out);
        out.push(':');
        json::write_text(value, out);
    }
}

/// Keys for one statement.
fn keys_of(table: &Table, keys: &[&[String]]) -> String {
    array(keys, |key, out| {
        out.push('{');
        write_key(table, key, out);
        out.push('}');
    })
}

/// The hash of a delivery's content.
pub fn content_hash(event_type: &str, content: &str) -> [u8; 16] {
    // As for facts: nobody who could choose contents to collide gains by it.
    XxHash3_128::oneshot(format!("{event_type} {content}").as_bytes()).to_be_bytes()
}

/// Bytes as a JSON string that Postgres takes for a `bytea`.
pub fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"\\\\x{digits}\"")
}

/// Rows for one statement: a JSON array, each element written by `write`.
fn array<T>(items: impl IntoIterator<Item = T>, mut write: impl FnMut(T, &mut String)) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        write(item, &mut out);
    }
    out.push(']');
    out
}

/// Adds documents: table by table, and in each in the order of the keys, so that no two writers can wait for each other.
/// What is stored for a key that is new counts as stored, another content that a state takes in as an adjustment, and one
/// that it cannot as a variant.
pub async fn add(connection: &mut PgConnection, documents: &[&Document]) -> Result<Tally, Fault> {
    let mut tally = Tally::default();
    let mut variants = Vec::new();
    for documents in by_table(documents.iter().copied()) {
        tally += match &documents[0].table.keeping {
            Keeping::Each => first::add_each(connection, &documents).await?,
            Keeping::First { variant } => {
                let (tally, others) = first::add_first(connection, &documents).await?;
                variants.extend(others.into_iter().map(variant));
                tally
            }
            Keeping::Latest { versions } => latest::add(connection, versions, &documents).await?,
        };
    }
    // Their keys are no other document's: nobody waits for one of these and holds what these wait for.
    for variants in by_table(&variants) {
        let added = first::add_each(connection, &variants).await?;
        tally.variants += added.stored;
        tally.duplicates += added.duplicates;
    }
    Ok(tally)
}

/// The documents of each table, sorted by key; of one key in the order in which they came.
fn by_table<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Vec<Vec<&'a Document>> {
    let mut tables: BTreeMap<&str, Vec<&Document>> = BTreeMap::new();
    for document in documents {
        tables
            .entry(document.table.name)
            .or_default()
            .push(document);
    }
    let mut tables: Vec<_> = tables.into_values().collect();
    for documents in &mut tables {
        documents.sort_by(|a, b| a.key.cmp(&b.key));
    }
    tables
}

/// `k.a = t.a and k.b = t.b`.
fn same_key(table: &Table, one: &str, other: &str) -> String {
    let columns = table.key.iter();
    let equal: Vec<String> = columns
        .map(|column| format!("{one}.{column} = {other}.{column}"))
        .collect();
    equal.join(" and ")
}
