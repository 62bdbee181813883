//! Retention by the daemon.

use crate::support::store::{click, date};
use crate::support::{Daemon, Postgres, Queue, body, envelope, wait_until};
use crate::{roles, support};

use super::{age, prepared, table, write};
use hydrant::config::PartitionBy;

const SETTINGS: &str = "retention.events_days = 28\nretention.personal_days = 28";

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_deletes_what_is_old_while_it_stores() {
    let (queue, db) = (Queue::start().await, support::database().await);
    let settings = prepared(&db, PartitionBy::Day).await;
    let old = date(&db, -40).await;
    let conversion = serde_json::json!({"event_id": "c", "action": "conversion", "date": old, "ip": "203.0.113.77"});
    write(&settings, &[click("old", &old), conversion]).await;
    age(&db).await;
    let new = click("new", &date(&db, 0).await).to_string();
    queue.send(&[body(&envelope(&format!("[{new}]")))]).await;
    let daemon = Daemon::start(&db.url, &[&queue], SETTINGS).await;
    queue.drained(30).await;
    wait_until("it has done so", 30, async || {
        daemon
            .metric("hydrant_retention_blanked_rows_total", "")
            .await
            == 1.0
    })
    .await;
    assert_eq!(
        daemon
            .metric("hydrant_retention_dropped_partitions_total", "")
            .await,
        1.0
    );
    assert_eq!(
        db.rows("select event_id, ip from events order by 1").await,
        ["c|NULL", "new|NULL"]
    );
    let log = daemon.log();
    assert!(
        log.contains("dropped the clicks and impressions of an old day"),
        "{log}"
    );
    assert!(
        log.contains(&table(&old)) && !log.contains("203.0.113.77"),
        "{log}"
    );
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_may_not_drop_says_who_may() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let db = roles::with_roles(&postgres).await;
    let day = db
        .rows("set search_path to hydrant; select current_date - 60")
        .await
        .remove(0);
    let table = format!("hydrant.{}", table(&day));
    // Made by the owner, as `hydrant migrate` did when it was to come.
    let make = format!(
        "set role hydrant_owner;
         create table {table} (like hydrant.events including defaults);
         alter table hydrant.events attach partition {table} for values from ('{day}') to ('{day}'::date + 1)"
    )
    .replace(&format!("'{day}'::date + 1"), &format!("'{}'", db.rows(&format!("select date '{day}' + 1")).await[0]));
    db.rows(&make).await;
    db.rows("insert into hydrant.events_conversions (network_id, event_id, record_id, action, event_day, partition_day, ip, content_hash)
             values ('n', 'c', 'c', 'conversion', current_date - 60, '0001-01-01', '203.0.113.77', '');
             insert into hydrant.everflow_conversion_versions (network_id, conversion_id, content_hash, event_type, layer, nth, content, received_at)
             select '1', id, '', '', layer, 1, '{\"status\": \"approved\", \"email\": \"203.0.113.77\"}', now() - interval '60 days'
             from (values ('c', 0), ('early', 2)) k (id, layer)")
        .await;
    let settings = format!("database.schema = \"hydrant\"\n{SETTINGS}");
    let daemon = Daemon::spawn(
        &roles::url(&db, "hydrant_daemon"),
        &[&queue],
        &settings,
        &["--no-migrate"],
    );
    daemon.until_ready(30).await;
    wait_until("it blanks what it may", 30, async || {
        daemon
            .metric("hydrant_retention_blanked_rows_total", "")
            .await
            == 3.0
    })
    .await;
    let log = daemon.log();
    assert!(
        log.contains("run hydrant retention with the role that owns the tables"),
        "{log}"
    );
    assert_eq!(
        db.rows("select ip from hydrant.events_conversions").await,
        ["NULL"]
    );
    let conversions = "select conversion_id, status, email from hydrant.everflow_conversions";
    assert_eq!(db.rows(conversions).await, ["c|approved|NULL"]);
    drop(daemon);
    let variables = [
        ("DATABASE_URL", &*roles::url(&db, "hydrant_owner")),
        ("HYDRANT__DATABASE__SCHEMA", "hydrant"),
        ("HYDRANT__RETENTION__EVENTS_DAYS", "28"),
    ];
    let ended = support::program::run(&["retention"], &variables, b"");
    assert_eq!(ended.status, 0, "{}", ended.err);
    assert_eq!(
        db.rows(&format!("select to_regclass('{table}')")).await,
        ["NULL"]
    );
}
