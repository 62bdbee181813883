//! What `migrate` makes.

use hydrant::config::PartitionBy;
use hydrant::formats::everflow::{fields as everflow, tables};
use hydrant::formats::hasoffers::event::{delta_fields, state_fields};
use hydrant::formats::hasoffers::fields::{FIELDS, Field};
use hydrant::formats::recurly;
use hydrant::formats::row::{self, Kind};
use hydrant::formats::value::Type;
use hydrant::store::fault::{Fault, Why};
use hydrant::store::migrate::{make_days_ahead, migrate};
use hydrant::store::{Settings, Store};
use serde_json::json;
use sqlx::raw_sql;

use crate::support::store::{WAITING, batch, click, date, settings, until};
use crate::support::{Database, database};

fn sql_type(field: &Field) -> &'static str {
    match field.kind {
        Type::BigInt => "bigint",
        Type::Integer => "integer",
        Type::SmallInt => "smallint",
        Type::Boolean => "boolean",
        Type::Date => "date",
        Type::Timestamp => "timestamp without time zone",
        Type::Amount => "numeric",
        Type::Text => "text",
        Type::Key => "text C",
    }
}

fn field_columns<'a>(fields: impl Iterator<Item = &'a Field>) -> Vec<String> {
    fields
        .map(|field| format!("{} {}", field.name, sql_type(field)))
        .collect()
}

async fn migrated(partition_by: PartitionBy) -> (Database, Settings) {
    let database = database().await;
    let settings = settings(&database, partition_by);
    migrate(&settings).await.unwrap();
    (database, settings)
}

/// The columns of a table in order, each with its type, its collation if it has one of its own, and whether it must be
/// there.
async fn columns(database: &Database, table: &str) -> Vec<String> {
    let sql = format!(
        "select attname || ' ' || format_type(atttypid, null)
             || case when attcollation in (0, 100) then '' else (select ' ' || collname from pg_collation where oid = attcollation) end
             || case when attnotnull then ' not null' else '' end
         from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped order by attnum"
    );
    database.rows(&sql).await
}

#[tokio::test]
async fn the_columns_of_facts_are_the_known_fields() {
    let (database, _) = migrated(PartitionBy::Day).await;
    let identity = [
        "network_id text C not null",
        "event_id text C not null",
        "record_id text C not null",
        "tune_event_id text C",
        "action text not null",
        "adjust_action text",
        "event_day date not null",
    ];
    let rest = [
        "extra jsonb",
        "content_hash bytea not null",
        "dispatch_timestamp bigint",
        "received_at timestamp with time zone not null",
    ];
    let fact = |before: &[&str], after: &[&str]| -> Vec<String> {
        let columns = [before, &identity, after].concat();
        let columns = columns.into_iter().map(str::to_owned);
        columns
            .chain(field_columns(FIELDS.iter()))
            .chain(rest.map(str::to_owned))
            .collect()
    };
    let events = fact(&[], &["partition_day date not null"]);
    assert_eq!(columns(&database, "events").await, events);
    assert_eq!(columns(&database, "adjustments").await, fact(&[], &[]));
    let variants = fact(&["role text not null"], &["partition_day date"]);
    assert_eq!(columns(&database, "event_variants").await, variants);
    make_days_ahead(&settings(&database, PartitionBy::Day))
        .await
        .unwrap();
    let days = "select count(*) from pg_inherits where inhparent = 'events'::regclass";
    assert_eq!(database.rows(days).await, ["17"]);
}

#[tokio::test]
async fn the_columns_of_patches_are_the_folded_fields() {
    let (database, _) = migrated(PartitionBy::Day).await;
    let mut expected: Vec<String> = [
        "network_id text C not null",
        "record_id text C not null",
        "revision bigint not null",
        "adjustment_count bigint not null",
        "last_adjustment_sequence_id bigint",
        "last_adjusted_at timestamp with time zone",
    ]
    .map(str::to_owned)
    .into();
    expected.extend(
        field_columns(delta_fields().map(|(_, f)| f))
            .iter()
            .map(|c| format!("{c} not null")),
    );
    expected.extend(field_columns(state_fields().map(|(_, f)| f)));
    assert_eq!(columns(&database, "record_patches").await, expected);
}

#[tokio::test]
async fn the_columns_of_everflow_are_its_fields() {
    let (database, _) = migrated(PartitionBy::Day).await;
    let received = "received_at timestamp with time zone not null";
    let hash = "content_hash bytea not null";
    for (table, fields, rest) in [
        (
            &tables::CONVERSIONS,
            &everflow::CONVERSION[..],
            &[received][..],
        ),
        (&tables::OFFERS, &everflow::OFFER, &[received]),
        (&tables::CLICKS, &everflow::CLICK, &[hash, received]),
        (&tables::IMPRESSIONS, &everflow::CLICK, &[hash, received]),
    ] {
        let key = table.key.iter();
        let mut expected: Vec<String> = key.map(|name| format!("{name} text C not null")).collect();
        expected.extend(typed(fields));
        expected.push("extra jsonb".to_owned());
        expected.extend(rest.iter().map(|column| (*column).to_owned()));
        assert_eq!(columns(&database, table.name).await, expected);
    }
}

/// The columns of fields.
fn typed(fields: &[row::Field]) -> impl Iterator<Item = String> {
    fields.iter().map(|field| {
        let kind = match field.kind {
            Kind::Id => "text C",
            Kind::Text => "text",
            Kind::Integer => "bigint",
            Kind::Decimal | Kind::Money => "numeric",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Json => "jsonb",
        };
        format!("{} {kind}", field.column)
    })
}

#[tokio::test]
async fn the_columns_of_recurly_are_its_fields() {
    let (database, _) = migrated(PartitionBy::Day).await;
    let mut expected: Vec<String> = [
        "door text C not null",
        "origin text C not null",
        "occurrence bigint not null",
    ]
    .map(str::to_owned)
    .into();
    expected.extend(typed(&recurly::event::FIELDS));
    expected.extend(
        [
            "extra jsonb",
            "occurred_at timestamp with time zone",
            "etag text",
            "line bigint",
            "natural_hash bytea not null",
            "content_hash bytea not null",
            "received_at timestamp with time zone not null",
        ]
        .map(str::to_owned),
    );
    assert_eq!(
        columns(&database, recurly::USAGE_EVENTS.name).await,
        expected
    );
}

#[tokio::test]
async fn everything_has_a_comment_and_a_name() {
    let (database, _) = migrated(PartitionBy::Day).await;
    let relations =
        "from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
        and relname <> 'hydrant_migrations'";
    let without_comment = format!(
        "select relname {relations} and not relispartition and obj_description(oid, 'pg_class') is null
         union all
         select relname || '.' || attname from pg_attribute join (select oid, relname, relkind, relispartition {relations}) c
             on c.oid = attrelid and relkind <> 'v' and not relispartition
         where attnum > 0 and col_description(attrelid, attnum) is null order by 1"
    );
    let none: [&str; 0] = [];
    assert_eq!(database.rows(&without_comment).await, none);
    let constraints = "select conname from pg_constraint where connamespace = 'public'::regnamespace
        and conrelid <> 'hydrant_migrations'::regclass and conname !~ '^events_[0-9]{8}_key$' order by 1";
    let named = [
        "adjustments_key",
        "event_variants_key",
        "events_conversions_key",
        "events_default_key",
        "everflow_clicks_key",
        "everflow_conversion_versions_key",
        "everflow_conversions_key",
        "everflow_impressions_key",
        "everflow_offer_versions_key",
        "everflow_offers_key",
        "everflow_other_key",
        "late_days_day",
        "positions_part",
        "quarantine_id",
        "record_patches_key",
        "recurly_usage_events_key",
        "retention_marks_kind",
        "rollup_state_key",
        "rollup_state_one",
        "rollup_state_states",
    ];
    assert_eq!(database.rows(constraints).await, named);
    let ids = "select distinct attname from pg_attribute join pg_class c on c.oid = attrelid
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
        and attname in ('network_id', 'event_id', 'tune_event_id', 'record_id', 'transaction_id')
        and attcollation <> (select oid from pg_collation where collname = 'C')";
    assert_eq!(database.rows(ids).await, none);
}

#[tokio::test]
async fn migrating_again_or_twice_at_once_changes_nothing() {
    let database = database().await;
    for schema in ["public", "one", "two", "three", "four", "five"] {
        let mut settings = settings(&database, PartitionBy::Day);
        settings.schema = schema.into();
        let (one, other) = tokio::join!(migrate(&settings), migrate(&settings));
        one.unwrap();
        other.unwrap();
        migrate(&settings).await.unwrap();
        let (one, other) = tokio::join!(make_days_ahead(&settings), make_days_ahead(&settings));
        one.unwrap();
        other.unwrap();
        let sql = format!(
            "select count(*) from pg_inherits where inhparent = '{schema}.events'::regclass"
        );
        assert_eq!(database.rows(&sql).await, ["17"], "{schema}");
    }
}

#[tokio::test]
async fn the_schema_may_be_made_by_another_session_at_the_same_moment() {
    let database = database().await;
    let mut settings = settings(&database, PartitionBy::Day);
    settings.schema = "feeds".into();
    let mut other = database.connect().await;
    let sql = "begin; create schema feeds";
    raw_sql(sql).execute(&mut other).await.unwrap();
    let commit = async {
        until(&database, WAITING, &["1"]).await;
        raw_sql("commit").execute(&mut other).await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrate(&settings), commit);
    migrated.unwrap();
    assert_eq!(
        database.rows("select count(*) from feeds.events").await,
        ["0"]
    );
}

#[tokio::test]
async fn a_schema_may_have_any_name() {
    let database = database().await;
    let mut settings = settings(&database, PartitionBy::Day);
    settings.schema = r#"affiliate "data""#.into();
    migrate(&settings).await.unwrap();
    let mut store = Store::new(settings);
    let update =
        json!({"event_id": "u", "tune_event_id": "c", "action": "conversion", "adjust_action": 2});
    let events = [
        click("a", &date(&database, -1).await),
        json!({"event_id": "c", "action": "conversion"}),
        json!({"event_id": "c", "action": "conversion", "payout": 1}),
        update,
        json!("bad"),
    ];
    store.write("test", &batch(&events)).await.unwrap();
    let counts = r#"set search_path to "affiliate ""data""";
        select (select count(*) from events), (select count(*) from adjustments), (select count(*) from event_variants),
            (select count(*) from record_patches), (select count(*) from quarantine), (select count(*) from conversions)"#;
    assert_eq!(database.rows(counts).await, ["2|1|1|1|1|1"]);
    let elsewhere = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(database.rows(elsewhere).await, ["0"]);
}

#[tokio::test]
async fn a_small_feed_has_no_days() {
    let (database, settings) = migrated(PartitionBy::None).await;
    let yesterday = date(&database, -1).await;
    let click = batch(&[click("a", &yesterday)]);
    Store::new(settings).write("test", &click).await.unwrap();
    let partitions = "select inhrelid::regclass from pg_inherits where inhparent = 'events'::regclass order by 1::text";
    assert_eq!(
        database.rows(partitions).await,
        ["events_conversions", "events_default"]
    );
    assert_eq!(
        database.rows("select event_id from events_default").await,
        ["a"]
    );
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() {
    let (database, settings) = migrated(PartitionBy::Day).await;
    let refusal = async || match migrate(&settings).await {
        Err(Fault::Down(Why::Misconfigured, error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let newer = "insert into hydrant_migrations select 29990101000000, description, installed_on, success, checksum,
        execution_time from hydrant_migrations limit 1";
    database.rows(newer).await;
    assert_eq!(
        refusal().await,
        "the database has migration 29990101000000, which only a newer version of hydrant knows"
    );
    let edited = "delete from hydrant_migrations where version = 29990101000000;
        update hydrant_migrations set checksum = '\\x00' where description = 'create hasoffers tables'";
    database.rows(edited).await;
    assert_eq!(
        refusal().await,
        "migration 20261122000000 in the database is not the one of this version of hydrant"
    );
}
