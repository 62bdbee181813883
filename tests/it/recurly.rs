//! Recurly Engage: the vendor's own example, field by field; objects that come, grow and change; what is pushed; and both.

pub mod daemon;
mod retry;

use std::sync::Arc;

use hydrant::formats::Format;
use hydrant::formats::place::{Door, Place, Whole};
use hydrant::store::batch::Batch;
use hydrant::store::{Store, Tally};

use crate::support::program::run;
use crate::support::store::store;
use crate::support::{Database, database};

const EXAMPLE: &str = include_str!("../fixtures/recurly/usage.json");

/// Stores a body that was pushed.
pub async fn push(store: &mut Store, body: &str) -> Tally {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    let mut body = Format::Recurly.open(body.as_bytes(), usize::MAX).unwrap();
    assert!(body.read_into(&mut batch, 0, "message"));
    write(store, &batch).await
}

/// Stores the lines of an object.
pub async fn pull(store: &mut Store, key: &str, lines: &[&str]) -> Tally {
    let whole = Arc::new(Whole::new(Door::Pull, key.into(), Some("v1".into())));
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    for (line, number) in lines.iter().zip(1..) {
        let place = Place {
            whole: Arc::clone(&whole),
            number,
        };
        let body = Format::Recurly.open_piece(line.as_bytes(), usize::MAX, &place);
        assert!(body.unwrap().read_into(&mut batch, 0, "message"));
    }
    write(store, &batch).await
}

async fn write(store: &mut Store, batch: &Batch) -> Tally {
    assert_eq!(batch.rejects(), []);
    let written = store.write("test", batch).await.unwrap();
    assert_eq!(written.refused, []);
    written.tally
}

fn event(user: &str, ts: u64) -> String {
    format!(r#"{{"user_id":"{user}","event":"Buy","type":"custom","ts":{ts}}}"#)
}

/// Users with their counts.
async fn counts(database: &Database, table: &str) -> Vec<String> {
    let sql = format!("select user_id, door, count(*) from {table} group by 1, 2 order by 1, 2");
    database.rows(&sql).await
}

#[tokio::test]
async fn the_vendors_example_lands_field_by_field() {
    let database = database().await;
    let mut store = store(&database).await;
    push(&mut store, &format!("[{EXAMPLE}]")).await;
    pull(
        &mut store,
        "exports/usages-1",
        &["{\"type\":\"other\"}", EXAMPLE],
    )
    .await;
    let columns = "select app_id, user_id, anonymous_user_id, event, platform, type, ts, occurred_at at time zone 'UTC',
            properties_id, properties_values, properties_options, traits, segments, paths, extra
        from recurly_usage_events where event is not null";
    let expected = "74f72649-0327-4911-bd21-a4cd533cec1c|123|2528a84d8fa8…|Home Page|redfast|page|1630476856|\
        2021-09-01 06:14:16|8e282c72-07da-4c2f-bf91-85df633828af|\
        [{\"url_hash\": \"\", \"url_path\": \"/\", \"query_params\": \"\"}]|{\"use_regex\": false}|\
        {\"age\": 31, \"plan\": \"gold\"}|[{\"id\": \"s1\", \"name\": \"Engaged\"}]|\
        [{\"id\": \"p1\", \"name\": \"Prompt A\", \"zone\": \"banner\", \"device_type\": \"web\"}]|NULL";
    assert_eq!(database.rows(columns).await, [expected, expected]);
    let provenance = format!(
        "select door, origin = encode(sha256(convert_to('[' || $json${EXAMPLE}$json$ || ']', 'UTF8')), 'hex'), etag, line, occurrence
         from recurly_usage_events where event is not null order by door desc"
    );
    assert_eq!(
        database.rows(&provenance).await,
        ["push|t|NULL|1|1", "pull|f|v1|2|1"]
    );
}

#[tokio::test]
async fn a_place_is_one_row_however_often_it_is_read() {
    let database = database().await;
    let mut store = store(&database).await;
    let (a, b) = (event("a", 1_700_000_000), event("b", 1_700_000_000));
    let tally = pull(&mut store, "one", &[&a, &a, &b]).await;
    assert_eq!((tally.stored, tally.duplicates), (3, 0));
    // Grown, and in another order.
    let tally = pull(&mut store, "one", &[&b, &a, &a, &a]).await;
    assert_eq!((tally.stored, tally.duplicates), (1, 3));
    let tally = pull(&mut store, "two", &[&a]).await;
    assert_eq!((tally.stored, tally.duplicates), (1, 0));
    assert_eq!(
        counts(&database, "recurly_usage_events").await,
        ["a|pull|4", "b|pull|1"]
    );
    let body = format!("[{b},{b}]");
    assert_eq!(push(&mut store, &body).await.stored, 2);
    assert_eq!(push(&mut store, &body).await.duplicates, 2);
}

#[tokio::test]
async fn the_view_has_each_event_once_by_the_door_that_brought_more() {
    let database = database().await;
    let mut store = store(&database).await;
    let events = ["a", "b", "c", "d", "e"].map(|user| event(user, 1_700_000_000));
    let [a, b, c, d, e] = events.each_ref().map(String::as_str);
    pull(&mut store, "one", &[a, b, b, c, e]).await;
    // In milliseconds, and with what is switched on for this door alone, it is the same event.
    let rich = e
        .replace("1700000000", "1700000000000")
        .replace('{', "{\"app_id\":\"app\",\"traits\":{\"x\":1},");
    push(&mut store, &format!("[{a},{b},{c},{c},{d},{rich}]")).await;
    assert_eq!(
        counts(&database, "recurly_usages").await,
        ["a|pull|1", "b|pull|2", "c|push|2", "d|push|1", "e|pull|1"]
    );
    // Other times are other events.
    push(&mut store, &event("a", 1_700_000_001)).await;
    assert_eq!(
        counts(&database, "recurly_usages").await[..2],
        ["a|pull|1", "a|push|1"]
    );
}

#[test]
fn decode_shows_the_row_and_what_is_bad() {
    let body = format!("[{},{{\"user_id\":1}}]", EXAMPLE.trim());
    let said = run(&["decode", "--format", "recurly"], &[], body.as_bytes());
    let shown: serde_json::Value = serde_json::from_str(said.text()).unwrap();
    let row = &shown["events"][0];
    assert_eq!(row["table"], "recurly_usage_events");
    assert_eq!(row["occurred_at"], "2021-09-01 06:14:16+00");
    assert_eq!((&row["door"], &row["line"]), (&"push".into(), &1.into()));
    assert_eq!(shown["quarantine"][0]["reason"], "event_type");
}
