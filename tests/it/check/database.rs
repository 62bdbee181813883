//! What it finds in the database.

use super::{Findings, check, hydrant, migrate};
use crate::support::{Postgres, database};

/// What is found in a database; no queue is there.
fn check_database(url: &str, more: &[(&str, &str)]) -> Findings {
    check(url, "http://127.0.0.1:1", more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there() {
    let url = "postgres://u:geheim@127.0.0.1:1/d";
    let findings = check_database(url, &[]);
    findings.expect("database", "connection", "fail", "Connection refused");
    assert!(!format!("{:?}", findings.list).contains("geheim"));
    let db = database().await;
    let other = db.url.replace("test_", "no_");
    check_database(&other, &[]).expect("database", "connection", "fail", "does not exist");
}

/// Through a shell, `.env` files and YAML such text comes as it is; it must reach the server so.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_hold_anything() {
    let db = database().await;
    let url = db
        .url
        .replace("postgres@", "postgres:[a,b]={c}'d'\"e\"%23%40@");
    check_database(&url, &[]).expect("database", "connection", "ok", "as postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_lose_commits() {
    let db = database().await;
    let findings = check_database(&db.url, &[]);
    findings.expect("database", "fsync", "fail", "off");
    findings.expect("database", "synchronous_commit", "ok", "on");
    for (setting, status, words) in [
        ("off", "fail", "can be lost"),
        ("local", "ok", "on this server's disk"),
    ] {
        let sql = format!(
            "do $$ begin execute 'alter database ' || current_database() || ' set synchronous_commit = {setting}'; end $$"
        );
        db.rows(&sql).await;
        check_database(&db.url, &[]).expect("database", "synchronous_commit", status, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standbys_and_half_written_pages() {
    let settings = [
        "synchronous_standby_names = 'b'",
        "synchronous_commit = local",
        "full_page_writes = off",
    ];
    let postgres = Postgres::start_with(&settings);
    let findings = check_database(&postgres.url("postgres"), &[]);
    findings.expect(
        "database",
        "synchronous_commit",
        "warn",
        "synchronous standbys (b)",
    );
    findings.expect("database", "full_page_writes", "warn", "half written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_rows() {
    let db = database().await;
    let sql = "do $$ begin execute 'alter database ' || current_database() || ' set default_transaction_read_only = on'; end $$";
    db.rows(sql).await;
    check_database(&db.url, &[]).expect("database", "writable", "fail", "read-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_every_text() {
    let db = database().await;
    db.rows("create database latin encoding 'LATIN1' locale_provider libc locale 'C' template template0").await;
    let url = format!("{}/latin", db.url.rsplit_once('/').unwrap().0);
    check_database(&url, &[]).expect("database", "encoding", "fail", "LATIN1");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_workers_for_the_server() {
    let db = database().await;
    let more = [
        ("HYDRANT__SOURCE__FEED__WORKERS", "200"),
        ("HYDRANT__MAX_INFLIGHT_BYTES", "4000000000"),
    ];
    check_database(&db.url, &more).expect("database", "connections", "fail", "208 for 200 workers");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_that_are_missing_or_not_ours() {
    let db = database().await;
    let findings = check_database(&db.url, &[]);
    findings.expect("database", "migrations", "warn", "none is there yet");
    assert!(!findings.has("table rights") && !findings.has("quarantine"));
    let elsewhere = [("HYDRANT__DATABASE__SCHEMA", "Else\"where")];
    check_database(&db.url, &elsewhere).expect("database", "schema", "warn", "does not exist yet");
    migrate(&db);
    check_database(&db.url, &[]).expect("database", "migrations", "ok", "up to date");
    db.rows("create table kept as select * from hydrant_migrations")
        .await;
    for (sql, status, words) in [
        (
            "delete from hydrant_migrations where version = 20261122000200",
            "warn",
            "behind; missing: 20261122000200",
        ),
        (
            "update hydrant_migrations set checksum = 'x' where version = 20261122000100",
            "fail",
            "20261122000100 is not the one of this version",
        ),
        (
            "update hydrant_migrations set version = 99990101000000 where version = 20261122000000",
            "fail",
            "99990101000000, which only a newer hydrant knows",
        ),
    ] {
        db.rows(sql).await;
        check_database(&db.url, &[]).expect("database", "migrations", status, words);
        db.rows(
            "delete from hydrant_migrations; insert into hydrant_migrations select * from kept",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_too_little() {
    let db = database().await;
    migrate(&db);
    db.rows("create role clerk login").await;
    let url = db.url.replace("postgres@", "clerk@");
    let findings = check_database(&url, &[]);
    findings.expect("database", "schema", "ok", "others create the tables");
    findings.expect(
        "database",
        "table rights",
        "fail",
        "adjustments (select, insert, update), event_variants (select, insert, update, delete)",
    );
    findings.expect("database", "migrations", "fail", "permission denied");
    db.rows("grant create on schema public to clerk; grant select, insert, update on all tables in schema public to clerk; grant delete on record_patches, event_variants, stats_deltas to clerk")
        .await;
    let findings = check_database(&url, &[]);
    findings.expect("database", "owner of events", "warn", "not clerk");
    findings.expect("database", "schema", "ok", "public");
    findings.expect("database", "table rights", "ok", "every table");
    findings.expect("database", "migrations", "ok", "up to date");
    db.rows("revoke update on quarantine, events_default from clerk")
        .await;
    let words = "missing on events_default (update), quarantine (update)";
    check_database(&url, &[]).expect("database", "table rights", "fail", words);
    db.rows("revoke usage on schema public from public; do $$ begin execute 'revoke temporary on database ' || current_database() || ' from public'; end $$")
        .await;
    let findings = check_database(&url, &[]);
    findings.expect("database", "schema", "fail", "may not use public");
    findings.expect("database", "temporary tables", "fail", "may not create any");
    let elsewhere = [("HYDRANT__DATABASE__SCHEMA", "elsewhere")];
    check_database(&url, &elsewhere).expect("database", "schema", "fail", "may not create it");
    // A role outlives its test's database, and the cluster may be used by others.
    db.rows("drop owned by clerk; drop role clerk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_should_look_at() {
    let db = database().await;
    migrate(&db);
    let adjustment = "insert into adjustments (network_id, event_id, record_id, tune_event_id, action, event_day, content_hash, received_at)
        values ('n', 'a1', 'r1', 'r1', 'conversion', '2026-01-01', '', now() - interval '25 hours'),
               ('n', 'a2', 'r2', 'r2', 'conversion', '2026-01-01', '', now() - interval '1 hour')";
    let twice = "insert into events (network_id, event_id, record_id, action, event_day, partition_day, content_hash)
        select 'n', 'e' || n, 'r', 'conversion', '2026-01-01', '0001-01-01', '' from generate_series(1, 3) n";
    let bad = "insert into quarantine (scope, reason, payload, payload_sha256, source, status)
        values ('body', 'not_gzip', 'a', '1', 's', 'open'), ('body', 'not_gzip', 'b', '2', 's', 'open'),
               ('event', 'action', 'c', '3', 's', 'open'), ('event', 'depth', 'd', '4', 's', 'resolved')";
    db.rows(&[adjustment, twice, bad].join(";")).await;
    let findings = check_database(&db.url, &[]);
    findings.expect(
        "database",
        "quarantine",
        "warn",
        "3 open: not_gzip 2, action 1",
    );
    findings.expect("database", "orphan adjustments", "ok", "1 wait");
    findings.expect("database", "duplicate originals", "ok", "2 are left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_that_nobody_tends() {
    let db = database().await;
    migrate(&db);
    let looked = || check_database(&db.url, &[]);
    looked().expect("database", "rollup", "ok", "off");
    db.rows("update rollup_state set state = 'filling'").await;
    looked().expect("database", "rollup", "warn", "was interrupted");
    db.rows("update rollup_state set state = 'on'").await;
    looked().expect("database", "rollup", "ok", "on; 0 rows");
    db.rows(
        "insert into stats_deltas
         select 'n', '2026-01-01', 1, 1, 1, 1, 1, null, 'click', 1, 1, 0, 0, 0 from generate_series(1, 500001)",
    )
    .await;
    looked().expect("database", "rollup", "warn", "more than 500000 rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_without_a_partition() {
    let db = database().await;
    let whole = [("HYDRANT__DATABASE__PARTITION_BY", "none")];
    assert!(
        hydrant(&["migrate"], &db.url, "http://127.0.0.1:1", &whole)
            .status
            .success()
    );
    assert!(!check_database(&db.url, &whole).has("day partitions"));
    db.rows(
        "insert into events (network_id, event_id, record_id, action, event_day, partition_day, content_hash)
         select 'n', day::text, day::text, 'click', day, day, '' from unnest(array[current_date - 3, current_date - 500]) day",
    )
    .await;
    let findings = check_database(&db.url, &[]);
    findings.expect(
        "database",
        "day partitions",
        "warn",
        "15 days from today on are not made",
    );
    let day = db.rows("select current_date - 3").await.remove(0);
    findings.expect(
        "database",
        "days in events_default",
        "warn",
        &format!("rows of {day}: 1;"),
    );
}
