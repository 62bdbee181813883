//! The views answer by index, and a day by its partition, whatever the planner thinks of a million rows.

use hydrant::store::Store;
use serde_json::{Value, json};

use crate::support::store::{batch, click, date, store, until};
use crate::support::{Database, database};

const CONVERSIONS: u32 = 700_000;
const ADJUSTED: u32 = 50_000;
const CLICKS_A_DAY: u32 = 50_000;
/// Days with clicks, today among them.
const DAYS: i32 = 4;

/// A million rows, as bare as they can be.
async fn a_million_rows() -> Database {
    let database = database().await;
    let mut store = store(&database).await;
    for day in 0..DAYS {
        let date = date(&database, -day).await;
        let first = batch(&[click("first", &date)]);
        store.write("test", &first).await.unwrap();
    }
    let fact = "network_id, event_id, record_id, tune_event_id, action, event_day, content_hash, num, payout";
    let sql = format!(
        "insert into events ({fact}, partition_day)
         select 'n', 'e' || i, 'r' || i, 'r' || i, 'conversion', current_date - i % {DAYS}, '', 1, 1, '0001-01-01'
         from generate_series(1, {CONVERSIONS}) i;
         insert into events ({fact}, partition_day)
         select 'n', 'c' || i, 'c' || i, null, 'click', day, '', 1, 0, day
         from generate_series(1, {CLICKS_A_DAY}) i,
             lateral (select (now() at time zone 'UTC')::date - n as day from generate_series(0, {DAYS} - 1) n) d;
         insert into adjustments ({fact})
         select 'n', 'u' || i, 'r' || i, 'r' || i, 'conversion', current_date, '', 0, 1 from generate_series(1, {ADJUSTED}) i;
         insert into record_patches (network_id, record_id, adjustment_count, payout)
         select 'n', 'r' || i, 1, 1 from generate_series(1, {ADJUSTED}) i;"
    );
    database.rows(&sql).await;
    database
}

/// Every node of a plan: its type, with the relation that it reads.
async fn nodes(database: &Database, query: &str) -> Vec<(String, String)> {
    let plan = database
        .rows(&format!("explain (format json) {query}"))
        .await;
    let plan: Value = serde_json::from_str(&plan[0]).unwrap();
    let mut nodes = Vec::new();
    let mut rest = vec![&plan[0]["Plan"]];
    while let Some(node) = rest.pop() {
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        nodes.push((text("Node Type"), text("Relation Name")));
        rest.extend(node["Plans"].as_array().into_iter().flatten());
    }
    nodes
}

#[tokio::test]
async fn a_million_rows_are_answered_by_index_and_by_day() {
    let database = a_million_rows().await;
    let one = "from conversions where network_id = 'n' and record_id = 'r4711'";
    let today = format!("from stats where date = '{}'", date(&database, 0).await);
    let table = format!("events_{}", date(&database, 0).await.replace('-', ""));
    // Before anything is known of the tables, and after.
    for statistics in ["", "analyze"] {
        database.rows(statistics).await;
        let plan = nodes(&database, &format!("select * {one}")).await;
        assert!(
            plan.iter()
                .any(|(_, relation)| relation == "events_conversions"),
            "{plan:?}"
        );
        assert!(
            plan.iter().all(|(node, _)| node != "Seq Scan"),
            "{statistics}: {plan:?}"
        );

        let plan = nodes(&database, &format!("select * {today}")).await;
        let days: Vec<_> = plan
            .iter()
            .map(|(_, relation)| relation)
            .filter(|r| r.starts_with("events_2"))
            .collect();
        assert_eq!(days, [&table], "{statistics}: {plan:?}");
    }
    let found = database
        .rows(&format!(
            "select event_id, net_payout, adjustment_count {one}"
        ))
        .await;
    assert_eq!(found, ["e4711|2|1"]);
    let found = database.rows(&format!("select sum(clicks) {today}")).await;
    assert_eq!(found, [(CLICKS_A_DAY + 1).to_string()]);
}

#[tokio::test]
async fn keys_are_looked_up_by_their_own_index_although_the_table_was_empty_before() {
    let database = database().await;
    let mut store = store(&database).await;
    let conversions = |name: &str, count: u32| {
        let events: Vec<_> = (0..count)
            .map(|n| json!({"event_id": format!("{name}{n}"), "action": "conversion", "payout": 1}))
            .collect();
        batch(&events)
    };
    // A key that is there already makes the store look keys up, here in a table that is nearly empty.
    let mut other = Store::new(store.settings.clone());
    other.write("test", &conversions("first", 1)).await.unwrap();
    store.write("test", &conversions("first", 1)).await.unwrap();
    for n in 0..10 {
        let few = conversions(&format!("few{n}-"), 1);
        store.write("test", &few).await.unwrap();
    }
    let many = conversions("many", 2_000);
    for _ in 0..3 {
        store.write("test", &many).await.unwrap();
    }
    store.close().await;
    let read = "select bool_or(idx_scan >= 4000) from pg_stat_user_indexes where indexrelname = 'events_conversions_key'";
    until(&database, read, &["t"]).await;
    let strayed = "select idx_tup_read < 1000 from pg_stat_user_indexes where indexrelname = 'events_conversions_record'";
    assert_eq!(database.rows(strayed).await, ["t"]);
}
