//! Documents: whatever order they come in and however many writers there are, their tables hold what they come to.
//!
//! Two writers of one key at the same time: the first is stopped between its documents and its COMMIT, by a third session
//! that keeps it out of `quarantine`.

use hydrant::formats::everflow::tables::{CLICKS, CONVERSIONS, OFFERS};
use hydrant::formats::{Reason, Refusal, Reject, Scope};
use hydrant::store::batch::{Batch, Origin};
use hydrant::store::documents::{Document, Layer, Table, content_hash};
use hydrant::store::{Store, Tally};
use proptest::prelude::*;
use sqlx::raw_sql;

use crate::support::store::{WAITING, store, until};
use crate::support::{Database, database};

fn document(
    table: &'static Table,
    id: &str,
    layer: Layer,
    version: Option<i64>,
    row: &str,
) -> Document {
    Document {
        table,
        key: vec!["n".into(), id.into()],
        event_type: "test",
        layer,
        version,
        happened: None,
        row: row.into(),
        content_hash: content_hash("test", &format!("{layer:?} {row}")),
        origin: Origin {
            delivery: 0,
            event: 0,
        },
    }
}

fn conversion(id: &str) -> Document {
    let row = r#"{"payout":"0.30000000000000000004","status":"pending"}"#;
    document(&CONVERSIONS, id, Layer::Base, None, row)
}

fn update(id: &str, time: i64, status: &str) -> Document {
    let row = format!(r#"{{"status":"{status}","update_timestamp":{time}}}"#);
    document(&CONVERSIONS, id, Layer::Update, Some(time), &row)
}

fn offer(time: i64, name: &str) -> Document {
    let row = format!(r#"{{"name":"{name}","time_saved":{time}}}"#);
    document(&OFFERS, "7", Layer::Base, Some(time), &row)
}

fn batch(documents: &[Document]) -> Batch {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    for document in documents {
        batch.add_document(document.clone());
    }
    batch
}

async fn write(store: &mut Store, documents: &[Document]) -> Tally {
    let written = store.write("test", &batch(documents)).await.unwrap();
    assert_eq!(written.refused, []);
    written.tally
}

fn tally(stored: u64, adjustments: u64, duplicates: u64, variants: u64) -> Tally {
    Tally {
        stored,
        adjustments,
        duplicates,
        variants,
    }
}

const STATE: &str =
    "select conversion_id, payout, status, update_timestamp from everflow_conversions order by 1";

#[tokio::test]
async fn an_early_update_waits_and_the_latest_counts() {
    let database = database().await;
    let mut store = store(&database).await;
    let early = [update("c", 9, "rejected"), update("c", 5, "approved")];
    assert_eq!(write(&mut store, &early).await, tally(0, 2, 0, 0));
    let none: [&str; 0] = [];
    assert_eq!(database.rows(STATE).await, none);
    let all = [conversion("c"), conversion("c"), early[0].clone()];
    assert_eq!(write(&mut store, &all).await, tally(1, 0, 2, 0));
    let late = [update("c", 7, "late"), conversion("b")];
    assert_eq!(write(&mut store, &late).await, tally(1, 1, 0, 0));
    assert_eq!(
        database.rows(STATE).await,
        [
            "b|0.30000000000000000004|pending|NULL",
            "c|0.30000000000000000004|rejected|9"
        ]
    );
    let versions =
        "select nth, layer, version, content ->> 'status' from everflow_conversion_versions
        where conversion_id = 'c' order by nth";
    assert_eq!(
        database.rows(versions).await,
        [
            "1|2|9|rejected",
            "2|2|5|approved",
            "3|0|NULL|pending",
            "4|2|7|late"
        ]
    );
}

#[tokio::test]
async fn without_an_order_of_the_feed_the_later_arrival_counts() {
    let database = database().await;
    let mut store = store(&database).await;
    let other = document(
        &CONVERSIONS,
        "c",
        Layer::Base,
        None,
        r#"{"status":"approved"}"#,
    );
    let upper = document(&CONVERSIONS, "c", Layer::Upper, None, r#"{"sub6":"x"}"#);
    let both = [conversion("c"), other.clone(), upper];
    assert_eq!(write(&mut store, &both).await, tally(1, 2, 0, 0));
    // What came before comes again: it is a repetition, not the latest state.
    assert_eq!(
        write(&mut store, &[conversion("c")]).await,
        tally(0, 0, 1, 0)
    );
    let state = "select status, payout, sub6 from everflow_conversions";
    assert_eq!(database.rows(state).await, ["approved|NULL|x"]);
}

#[tokio::test]
async fn the_first_click_stays_and_another_is_not_lost() {
    let database = database().await;
    let mut store = store(&database).await;
    let click = |sub1: &str| {
        let row = format!(r#"{{"sub1":"{sub1}"}}"#);
        document(&CLICKS, "t", Layer::Base, None, &row)
    };
    let two = [click("a"), click("b"), click("a")];
    assert_eq!(write(&mut store, &two).await, tally(1, 0, 1, 1));
    let more = [click("c"), click("b"), click("a")];
    assert_eq!(write(&mut store, &more).await, tally(0, 0, 2, 1));
    assert_eq!(
        database
            .rows("select transaction_id, sub1 from everflow_clicks")
            .await,
        ["t|a"]
    );
    let variants =
        "select event_type, id, body ->> 'sub1' from everflow_other order by body ->> 'sub1'";
    assert_eq!(
        database.rows(variants).await,
        ["click_variant|t|b", "click_variant|t|c"]
    );
}

/// Writes two documents of one key, the second while the first is not committed.
async fn write_both_at_once(database: &Database, first: Document, second: Document) {
    let settings = store(database).await.settings;
    let mut third = database.connect().await;
    let hold = "begin; lock table quarantine in share mode";
    raw_sql(hold).execute(&mut third).await.unwrap();
    let mut first = batch(&[first]);
    first.reject(Reject {
        scope: Scope::Event,
        refusal: Refusal::new(Reason::NotAnObject, "for the test"),
        source: None,
        payload: b"bad".to_vec(),
        message_id: "m".into(),
        network_id: None,
        event_id: None,
        dispatch_timestamp: None,
        spot: None,
    });
    let spawn = |batch: Batch| {
        let mut store = Store::new(settings.clone());
        tokio::spawn(async move { store.write("test", &batch).await.unwrap() })
    };
    let first = spawn(first);
    until(database, WAITING, &["1"]).await;
    let second = spawn(batch(&[second]));
    let behind_the_first = "select count(*) from pg_stat_activity second
        join pg_stat_activity first on first.pid = any (pg_blocking_pids(second.pid))
        where second.datname = current_database() and first.wait_event_type = 'Lock'";
    until(database, behind_the_first, &["1"]).await;
    raw_sql("commit").execute(&mut third).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn two_writers_of_one_key_miss_nothing_of_each_other() {
    let database = database().await;
    write_both_at_once(&database, update("a", 5, "approved"), conversion("a")).await;
    write_both_at_once(&database, conversion("b"), update("b", 5, "approved")).await;
    write_both_at_once(&database, update("c", 6, "rejected"), update("c", 5, "x")).await;
    write_both_at_once(&database, conversion("c"), conversion("c")).await;
    let payout = "0.30000000000000000004";
    let expected = [
        format!("a|{payout}|approved|5"),
        format!("b|{payout}|approved|5"),
        format!("c|{payout}|rejected|6"),
    ];
    assert_eq!(database.rows(STATE).await, expected);
    write_both_at_once(&database, offer(2, "newer"), offer(1, "older")).await;
    let offers = "select name, time_saved from everflow_offers";
    assert_eq!(database.rows(offers).await, ["newer|2"]);
}

/// Documents whose order the feed gives, so that no arrival may matter.
fn ordered() -> Vec<Document> {
    let updates = [(1, "a"), (2, "b"), (2, "c"), (3, "d")];
    let updates = updates.map(|(time, status)| update("c", time, status));
    let offers = [(1, "a"), (2, "b"), (2, "c")].map(|(time, name)| offer(time, name));
    [vec![conversion("c")], updates.into(), offers.into()].concat()
}

#[test]
fn any_order_and_any_repetition_come_to_the_same() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (database, settings) = runtime.block_on(async {
        let database = database().await;
        let settings = store(&database).await.settings;
        (database, settings)
    });
    let state =
        "select c::text from everflow_conversions c union all select o::text from everflow_offers o
        union all select count(*)::text from everflow_conversion_versions
        union all select count(*)::text from everflow_offer_versions";
    let outcome = |deliveries: &[Document], at_once: usize| {
        runtime.block_on(async {
            let empty =
                "truncate everflow_conversions, everflow_conversion_versions, everflow_offers,
                everflow_offer_versions";
            database.rows(empty).await;
            let mut store = Store::new(settings.clone());
            for documents in deliveries.chunks(at_once) {
                write(&mut store, documents).await;
            }
            // The time at the end of a row is that of its storing.
            database
                .rows(state)
                .await
                .iter()
                .map(|row| row.rsplit_once(',').map_or(row.clone(), |r| r.0.into()))
                .collect::<Vec<_>>()
        })
    };
    let expected = outcome(&ordered(), 100);
    assert!(
        expected[0].contains(",3,") && expected.len() == 4,
        "{expected:?}"
    );
    let all = [ordered(), ordered()].concat();
    let config = ProptestConfig::with_cases(40);
    proptest!(config, |(order in Just(all).prop_shuffle(), at_once in 1..6_usize)| {
        prop_assert_eq!(outcome(&order, at_once), expected.clone());
    });
}
