//! Everflow: the vendor's own examples, field by field; whatever comes in whatever order; and the real daemon.

mod daemon;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use hydrant::formats::Format;
use hydrant::formats::everflow::Settings;
use hydrant::formats::everflow::event_type::EventType;
use hydrant::formats::everflow::fields::RENAMED;
use hydrant::store::batch::Batch;
use hydrant::store::{Store, Tally};
use rand::seq::SliceRandom;
use serde_json::{Map, Value, json};

use crate::support::program::run;
use crate::support::store::store;
use crate::support::{Database, database};

const CONVERSION: &str = include_str!("../fixtures/everflow/conversion.json");
const EVENT: &str = include_str!("../fixtures/everflow/event.json");
const OFFER_CREATED: &str = include_str!("../fixtures/everflow/offer_created.json");
const OFFER_UPDATED: &str = include_str!("../fixtures/everflow/offer_updated.json");

fn add(batch: &mut Batch, event_type: EventType, body: &str) {
    let format = Format::Everflow(Arc::new(Settings {
        event_type,
        network_id: Some("1".into()),
        fields: BTreeMap::new(),
    }));
    let mut body = format.open(body.as_bytes(), usize::MAX).unwrap();
    assert!(body.read_into(batch, 0, "message"));
    assert_eq!(batch.rejects(), []);
}

/// Stores a body of network 1 by itself.
pub async fn deliver(store: &mut Store, event_type: EventType, body: &str) -> Tally {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    add(&mut batch, event_type, body);
    let written = store.write("test", &batch).await.unwrap();
    assert_eq!(written.refused, []);
    written.tally
}

fn parsed(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// The one row of a query as JSON, without its NULLs.
async fn row(database: &Database, table: &str, condition: &str) -> Map<String, Value> {
    let sql = format!("select jsonb_strip_nulls(to_jsonb(t)) from {table} t where {condition}");
    let rows = database.rows(&sql).await;
    assert_eq!(rows.len(), 1, "{sql}");
    let mut row = parsed(&rows[0]);
    row.remove("received_at").unwrap();
    row
}

/// What a payload's own fields come to: ids are text, blank ones are not there, numbers are equal however they are written.
fn expected(payload: &Map<String, Value>) -> Map<String, Value> {
    let column = |name: &str| {
        let renamed = RENAMED.iter().find(|(theirs, _)| *theirs == name);
        renamed.map_or(name, |(_, ours)| ours).to_owned()
    };
    let fields = payload.iter().filter(|(_, value)| **value != json!(""));
    fields
        .map(|(name, value)| match value {
            Value::Number(number) if name.ends_with("_id") => {
                (column(name), json!(number.to_string()))
            }
            _ => (column(name), value.clone()),
        })
        .collect()
}

/// Numbers as the database writes them: 25.00 and 25 are equal.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(members.map(|(k, v)| (k.clone(), plain(v))).collect())
        }
        other => other.clone(),
    }
}

#[tokio::test]
async fn the_vendors_conversions_land_field_by_field() {
    let database = database().await;
    let mut store = store(&database).await;
    deliver(&mut store, EventType::Conversion, CONVERSION).await;
    deliver(&mut store, EventType::Event, &format!("[{EVENT}]")).await;
    expect_vendors_conversions(&database).await;
}

async fn expect_vendors_conversions(database: &Database) {
    for (payload, rule, query) in [
        (
            CONVERSION,
            "222",
            json!({"utm_source": "partner", "utm_medium": "affiliate"}),
        ),
        (EVENT, "223", json!({})),
    ] {
        let mut payload = parsed(payload);
        payload.remove("relationship");
        let mut expected = expected(&payload);
        expected.extend(parsed(
            r#"{"network_id": "1", "offer_id": "12345", "offer_name": "Premium Subscription Offer", "offer_status": "active",
                "advertiser_id": "789", "advertiser_name": "Brand Corporation", "affiliate_id": "456",
                "affiliate_name": "Performance Agency LLC"}"#,
        ));
        expected.insert("query_parameters".into(), query);
        let rule = format!("network_offer_payout_revenue_id = '{rule}'");
        let row = row(database, "everflow_conversions", &rule).await;
        assert_eq!(plain(&row.into()), plain(&expected.into()));
    }
}

#[tokio::test]
async fn the_vendors_offers_land_field_by_field_and_the_last_saved_counts() {
    let mut offers = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let database = database().await;
        let mut store = store(&database).await;
        let all = [
            (EventType::OfferCreated, OFFER_CREATED),
            (EventType::OfferUpdated, OFFER_UPDATED),
        ];
        for at in order {
            let (event_type, payload) = all[at];
            assert_eq!(deliver(&mut store, event_type, payload).await.duplicates, 0);
            let repeated = deliver(&mut store, event_type, payload).await;
            assert_eq!(repeated.duplicates, 1);
        }
        offers.push(row(&database, "everflow_offers", "true").await);
        let versions = "select event_type, version from everflow_offer_versions order by version";
        assert_eq!(
            database.rows(versions).await,
            ["offer_created|1609459200", "offer_updated|1609951371"]
        );
    }
    let expected: Value = expected(&parsed(OFFER_UPDATED)).into();
    for offer in offers {
        assert_eq!(plain(&offer.into()), plain(&expected));
    }
}

#[tokio::test]
async fn a_webhook_and_the_firehose_tell_of_one_conversion() {
    let database = database().await;
    let mut store = store(&database).await;
    let firehose = r#"[
        {"conversion_id": "987654", "network_id": 1, "update_timestamp": 20, "conversion_status": "rejected", "payout": ""},
        {"conversion_id": "987654", "network_id": 1, "sub6": "six", "conversion_status": "pending", "network_offer_id": 5},
        {"conversion_id": "987654", "network_id": 1, "update_timestamp": 10, "conversion_status": "approved", "revenue": "7.10"},
        {"conversion_id": "early", "network_id": 1, "update_timestamp": 10, "revenue": "1"},
        {"transaction_id": "t", "network_id": 1, "unix_timestamp": 3},
        {"transaction_id": "t", "network_id": 1, "unix_timestamp": 4}]"#;
    let tally = deliver(&mut store, EventType::Firehose, firehose).await;
    assert_eq!((tally.stored, tally.adjustments, tally.variants), (2, 3, 1));
    deliver(&mut store, EventType::Conversion, CONVERSION).await;
    let impression = r#"{"transaction_id": "t", "network_id": 1, "unix_timestamp": 3}"#;
    deliver(&mut store, EventType::FirehoseImpression, impression).await;
    let sql = "select conversion_id, status, payout, revenue, sub1, sub6, offer_id, update_timestamp, extra
        from everflow_conversions;
        select transaction_id, unix_timestamp from everflow_clicks;
        select transaction_id, unix_timestamp from everflow_impressions;
        select event_type, id, body from everflow_other";
    assert_eq!(
        database.rows(sql).await,
        [
            "987654|rejected|25|7.1|campaign_123|six|5|20|NULL",
            "t|3",
            "t|3",
            r#"click_variant|t|{"unix_timestamp": 4}"#
        ]
    );
}

/// Deliveries about a few conversions, clicks and offers whose order the feed gives.
fn firehose() -> Vec<(EventType, String)> {
    let mut all = Vec::new();
    for id in 0..6 {
        let conversion =
            json!({"conversion_id": id, "conversion_status": "pending", "payout": "0.1"});
        all.push((EventType::Firehose, conversion));
        all.push((
            EventType::Firehose,
            json!({"transaction_id": id, "unix_timestamp": id}),
        ));
        for time in 1..5 {
            let mut update = json!({"conversion_id": id, "update_timestamp": time / 2});
            let field = ["payout", "revenue", "conversion_status", "sub7"][time as usize % 4];
            update[field] = json!(time);
            all.push((EventType::Firehose, update));
            let offer = json!({"network_offer_id": id, "offer_status": "active", "time_saved": time / 2, "name": time});
            let mut created = offer.clone();
            created["name"] = json!(format!("created {time}"));
            all.push((EventType::OfferCreated, created));
            all.push((EventType::OfferUpdated, offer));
        }
    }
    let all = all.into_iter();
    all.map(|(event_type, json)| (event_type, json.to_string()))
        .collect()
}

const EVERYTHING: &str = "
    select (to_jsonb(t) - 'received_at')::text from everflow_conversions t union all
    select (to_jsonb(t) - 'received_at')::text from everflow_offers t union all
    select (to_jsonb(t) - 'received_at')::text from everflow_clicks t union all
    select (to_jsonb(t) - 'received_at' - 'nth')::text from everflow_conversion_versions t union all
    select (to_jsonb(t) - 'received_at' - 'nth')::text from everflow_offer_versions t order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_in_any_order_come_to_the_same() {
    let all = firehose();
    let mut outcomes = Vec::new();
    for writers in [1, 4, 4, 4] {
        let database = database().await;
        let settings = store(&database).await.settings;
        let mut deliveries = [all.clone(), all.clone()].concat();
        deliveries.shuffle(&mut rand::rng());
        let share = deliveries.len().div_ceil(writers);
        let work = deliveries.chunks(share).map(|deliveries| {
            let (mut store, deliveries) = (Store::new(settings.clone()), deliveries.to_vec());
            tokio::spawn(async move {
                for some in deliveries.chunks(7) {
                    let mut batch = Batch::new(usize::MAX, usize::MAX);
                    for (event_type, body) in some {
                        add(&mut batch, *event_type, body);
                    }
                    store.write("test", &batch).await.unwrap();
                }
            })
        });
        for outcome in join_all(work.collect::<Vec<_>>()).await {
            outcome.unwrap();
        }
        outcomes.push(database.rows(EVERYTHING).await);
        // The update of the same second, and not the one with the greater hash.
        let offers = "select distinct name, time_saved from everflow_offers";
        assert_eq!(database.rows(offers).await, ["4|2"]);
    }
    assert_eq!(outcomes[0].len(), 6 + 6 + 6 + 6 * 5 + 6 * 8);
    assert!(
        outcomes.iter().all(|outcome| *outcome == outcomes[0]),
        "{outcomes:#?}"
    );
}

#[tokio::test]
async fn what_only_the_database_refuses_is_found_alone() {
    let database = database().await;
    let mut store = store(&database).await;
    let check = "alter table everflow_conversions add constraint mine check (payout > 0)";
    database.rows(check).await;
    let conversions: Vec<String> = (0..9)
        .map(|id| format!(r#"{{"conversion_id": "{id}", "payout": {}}}"#, id - 4))
        .filter(|conversion| !conversion.contains("-3") && !conversion.contains("-2"))
        .collect();
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    let bodies = format!("[{}]", conversions.join(","));
    add(&mut batch, EventType::Conversion, &bodies);
    let written = store.write("test", &batch).await.unwrap();
    let refused: Vec<String> = written
        .refused
        .iter()
        .map(|refused| {
            format!(
                "{:?} {}",
                batch.origin(refused.item).event,
                refused.sqlstate
            )
        })
        .collect();
    assert_eq!(refused, ["0 23514", "1 23514", "2 23514"]);
    let ids = "select string_agg(conversion_id, ' ' order by 1) from everflow_conversions";
    assert_eq!(database.rows(ids).await, ["5 6 7 8"]);
}

#[test]
fn decode_shows_the_rows() {
    let args = [
        "decode",
        "--format",
        "everflow",
        "--event-type",
        "offer_updated",
    ];
    let ended = run(&args, &[], OFFER_UPDATED.as_bytes());
    assert_eq!(ended.status, 0, "{}", ended.err);
    let shown: Value = serde_json::from_slice(&ended.out).unwrap();
    let event = &shown["events"][0];
    assert_eq!(event["table"], "everflow_offers");
    assert_eq!(event["offer_id"], "1019");
    assert_eq!(event["time_saved"], 1609951371);
    let args = [
        "decode",
        "--format",
        "everflow",
        "--event-type",
        "conversion",
    ];
    let ended = run(&args, &[], CONVERSION.as_bytes());
    let shown: Value = serde_json::from_slice(&ended.out).unwrap();
    assert_eq!(shown["quarantine"][0]["reason"], "network_missing");
    assert_eq!(shown["quarantine"][0]["event_id"], "987654");
    let ended = run(&["decode", "--format", "everflow"], &[], b"{}");
    assert_eq!(ended.status, 2, "{}", ended.err);
}
