use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use hydrant::config::PartitionBy;
use hydrant::store::migrate::migrate;
use sqlx::{PgConnection, query_as, query_scalar};

use super::{cell, expect_generated};
use crate::support::store::settings;
use crate::support::{Database, database};

/// The parts of the page, and how the names begin of what belongs there; of HasOffers in the order in which it is read.
const PARTS: [(&str, &[&str]); 4] = [
    (
        "HasOffers",
        &[
            "events",
            "adjustments",
            "record_patches",
            "event_variants",
            "conversions",
            "stats",
            "orphan_adjustments",
            "duplicate_originals",
        ],
    ),
    ("Everflow", &["everflow_"]),
    ("Recurly Engage", &["recurly_"]),
    ("Hydrant's own", &[""]),
];
/// So many columns in common with another table, and they are not shown again.
const MANY: usize = 10;

/// A table or a view. Partitions are parts of their table.
struct Relation {
    name: String,
    kind: String,
    meaning: String,
    columns: Vec<Column>,
    /// Keys and indexes, such as `unique (network_id, event_id)`.
    keys: Vec<String>,
}

#[derive(PartialEq)]
struct Column {
    name: String,
    kind: String,
    meaning: String,
}

#[tokio::test]
async fn every_table_view_and_column_has_a_comment() {
    let database = migrated().await;
    let sql = "select relname || coalesce('.' || attname, '')
         from pg_class left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
         where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'm')
             and (obj_description(pg_class.oid, 'pg_class') is null or col_description(attrelid, attnum) is null)
         order by 1";
    assert_eq!(database.rows(sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn its_page_is_what_the_database_says() {
    let relations = relations(&migrated().await).await;
    expect_generated("docs/data-model.md", &render(relations));
}

#[tokio::test]
async fn its_diagram_shows_every_table_and_view() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/data-model.md");
    let page = fs::read_to_string(path).unwrap();
    let diagram = page.split("```mermaid").nth(1).unwrap();
    let diagram = diagram.split("```").next().unwrap();
    let words: BTreeSet<&str> = diagram
        .split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .collect();
    for relation in relations(&migrated().await).await {
        assert!(words.contains(relation.name.as_str()), "{}", relation.name);
    }
}

async fn migrated() -> Database {
    let database = database().await;
    let settings = settings(&database, PartitionBy::Day);
    migrate(&settings).await.unwrap();
    database
}

async fn relations(database: &Database) -> Vec<Relation> {
    let sql = "select relname::text, case relkind when 'v' then 'view' else 'table' end, obj_description(oid, 'pg_class')
         from pg_class
         where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v') and not relispartition
         order by relname collate \"C\"";
    let mut connection = database.connect().await;
    let rows: Vec<(String, String, String)> =
        query_as(sql).fetch_all(&mut connection).await.unwrap();
    let mut found = Vec::new();
    for (name, kind, meaning) in rows {
        found.push(Relation {
            columns: columns(&mut connection, &name).await,
            keys: keys(&mut connection, &name).await,
            name,
            kind,
            meaning,
        });
    }
    found
}

async fn columns(connection: &mut PgConnection, relation: &str) -> Vec<Column> {
    let sql = "select attname::text, format_type(atttypid, null), col_description(attrelid, attnum)
         from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
         order by attnum";
    let rows = query_as(sql).bind(relation).fetch_all(connection);
    let told = |(name, kind, meaning)| Column {
        name,
        kind,
        meaning,
    };
    rows.await.unwrap().into_iter().map(told).collect()
}

/// Those of the partitions that are always there are told with their table's.
async fn keys(connection: &mut PgConnection, relation: &str) -> Vec<String> {
    let sql = "select case when indisunique then 'unique ' else 'index ' end
             || regexp_replace(pg_get_indexdef(indexrelid), '^.* USING (btree )?', '')
             || case when relispartition then ' of ' || relname else '' end
         from pg_index join pg_class on pg_class.oid = indrelid
         where $1::text::regclass in (indrelid, (select inhparent from pg_inherits where inhrelid = indrelid))
         order by relname collate \"C\", not indisunique, 1";
    let rows = query_scalar(sql).bind(relation).fetch_all(connection);
    rows.await.unwrap()
}

fn render(mut relations: Vec<Relation>) -> String {
    relations.sort_by_key(|relation| place(&relation.name));
    let mut page = String::new();
    let mut part = None;
    for (at, relation) in relations.iter().enumerate() {
        let (new, _) = place(&relation.name);
        if part.replace(new) != Some(new) {
            let gap = if page.is_empty() { "" } else { "\n" };
            writeln!(page, "{gap}## {}", PARTS[new].0).unwrap();
        }
        render_relation(&mut page, relation, &relations[..at]);
    }
    page
}

/// Its part of the page, and where in there it is.
fn place(name: &str) -> (usize, usize) {
    let in_part = |begins: &[&str]| begins.iter().position(|begin| name.starts_with(begin));
    let mut places = PARTS.iter().map(|(_, begins)| in_part(begins)).enumerate();
    let found = places.find_map(|(part, at)| Some((part, at?)));
    found.unwrap()
}

/// What it has in common with one that stands above is not told again.
fn render_relation(page: &mut String, relation: &Relation, above: &[Relation]) {
    let Relation {
        name,
        kind,
        meaning,
        columns,
        keys,
    } = relation;
    write!(page, "\n### {name}\n\nA {kind}. {meaning}\n\n").unwrap();
    let shared = |other: &Relation| columns.iter().filter(|c| other.columns.contains(c)).count();
    let like = above
        .iter()
        .max_by_key(|other| (shared(other), other.name == "events"))
        .filter(|other| shared(other) >= MANY);
    let told = |column: &Column| like.is_some_and(|like| like.columns.contains(column));
    let own: Vec<&Column> = columns.iter().filter(|column| !told(column)).collect();
    if let Some(like) = like {
        let is_missing = |of_like: &&Column| columns.iter().all(|c| c.name != of_like.name);
        let missing = like.columns.iter().filter(is_missing);
        let missing: Vec<String> = missing.map(|c| format!("`{}`", c.name)).collect();
        let but = if missing.is_empty() { "" } else { " but " };
        let end = if own.is_empty() {
            ".\n"
        } else {
            ", and these:\n\n"
        };
        let (name, missing) = (&like.name, missing.join(", "));
        write!(
            page,
            "Its columns are those of [{name}](#{name}){but}{missing}{end}"
        )
        .unwrap();
    }
    if !own.is_empty() {
        page.push_str("| column | type | is |\n|---|---|---|\n");
    }
    for Column {
        name,
        kind,
        meaning,
    } in own
    {
        writeln!(page, "| `{name}` | {kind} | {} |", cell(meaning)).unwrap();
    }
    for (at, key) in keys.iter().enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        writeln!(page, "{gap}- {key}").unwrap();
    }
}
