//! Blanking what may be about a person in the feeds beside HasOffers.

use hydrant::config::{PartitionBy, Retention};
use hydrant::formats::everflow::event_type::EventType;
use hydrant::store::retention::Action;
use hydrant::store::{Store, Tally};
use serde_json::{Value, json};

use super::{PERSON, personal, prepared, retain};
use crate::everflow::deliver;
use crate::recurly::{pull, push};
use crate::support::{Database, database};
use crate::verify::failing;

const TABLES: [&str; 6] = [
    "everflow_clicks",
    "everflow_conversion_versions",
    "everflow_conversions",
    "everflow_impressions",
    "everflow_other",
    "recurly_usage_events",
];
const MARKS: &str = "select kind, current_date - before, current_date - complete_before, kept
    from retention_marks order by 1";

/// As if everything had come so many days earlier.
async fn age(db: &Database, days: u32) {
    for table in TABLES {
        let sql = format!("update {table} set received_at = received_at - interval '{days} days'");
        db.rows(&sql).await;
    }
    db.rows(&format!(
        "update retention_marks set complete_before = complete_before - {days}, looked_at = looked_at - interval '{days} days'"
    ))
    .await;
}

/// How many rows of which tables name somebody.
async fn traces(db: &Database) -> Vec<String> {
    let mut found = Vec::new();
    for table in TABLES {
        let sql = format!(
            "select '{table}', count(*) from {table} t where to_jsonb(t)::text like '%{PERSON}%' having count(*) > 0"
        );
        found.extend(db.rows(&sql).await);
    }
    found
}

fn blank(table: &str, rows: u64) -> (Action, String, u64) {
    (Action::Blank, table.to_owned(), rows)
}

fn update(id: &str, time: u32) -> Value {
    json!({"conversion_id": id, "update_timestamp": time, "conversion_status": "rejected", "payout": time, "sub7": PERSON})
}

/// A conversion by webhook and by the Firehose, an update of it, a click, its other content, and an impression.
fn deliveries(id: &str) -> Vec<(EventType, Value)> {
    let conversion = json!({
        "conversion_id": id, "conversion_unix_timestamp": 1_790_000_000, "status": "approved", "revenue": "7.10", "payout": 1,
        "country": "NL", "notes": "why", "transaction_id": format!("{PERSON} {id}"), "email": PERSON, "conversion_user_ip": PERSON,
        "query_parameters": {"q": PERSON}, "an_unknown_field": PERSON,
        "relationship": {"offer": {"network_offer_id": 5, "name": "An offer"}, "affiliate": {"network_affiliate_id": 6}},
    });
    let of_firehose = json!({"conversion_id": id, "event_name": "base", "sub6": PERSON});
    let click = json!({"transaction_id": id, "unix_timestamp": 3, "country_code": "NL", "sub1": PERSON,
                       "query_parameters": {"q": PERSON}, "an_unknown_field": PERSON});
    let mut another = click.clone();
    another["unix_timestamp"] = json!(4);
    vec![
        (EventType::Conversion, conversion),
        (EventType::FirehoseConversion, of_firehose),
        (EventType::FirehoseConversionUpdate, update(id, 10)),
        (EventType::FirehoseClick, click.clone()),
        (EventType::FirehoseClick, another),
        (EventType::FirehoseImpression, click),
    ]
}

async fn send(store: &mut Store, deliveries: &[(EventType, Value)]) -> Tally {
    let mut tally = Tally::default();
    for (event_type, event) in deliveries {
        tally += deliver(store, *event_type, &event.to_string()).await;
    }
    tally
}

/// What must stay as it is.
async fn everything_else(db: &Database) -> Vec<String> {
    db.rows(
        "select conversion_id, conversion_unix_timestamp, status, event, revenue, payout, country, notes, offer_id, offer_name,
             affiliate_id, update_timestamp, received_at from everflow_conversions order by 1;
         select conversion_id, content_hash, event_type, layer, version, nth, content -> 'status', content -> 'revenue', received_at
             from everflow_conversion_versions order by 1, nth;
         select transaction_id, unix_timestamp, country_code, content_hash, received_at from everflow_clicks order by 1;
         select transaction_id, unix_timestamp, country_code, content_hash, received_at from everflow_impressions order by 1;
         select event_type, id, body -> 'unix_timestamp', content_hash, received_at from everflow_other order by 1, 2",
    )
    .await
}

#[tokio::test]
async fn old_deliveries_of_everflow_name_nobody_and_are_otherwise_what_they_were() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut store = Store::new(settings.clone());
    let partner = json!({"network_affiliate_id": 6, "account_status": "active", "name": PERSON});
    let old = [
        deliveries("old"),
        vec![(EventType::PartnerCreated, partner)],
    ]
    .concat();
    send(&mut store, &old).await;
    age(&db, 40).await;
    let new = deliveries("new");
    send(&mut store, &new).await;
    let before = everything_else(&db).await;
    let steps = [
        blank("everflow_clicks", 1),
        blank("everflow_impressions", 1),
        blank("everflow_other", 1),
        blank("everflow_conversion_versions", 3),
    ];
    let policy = personal(28, &[]);
    assert_eq!(retain(&settings, &policy, true).await, steps);
    assert_eq!(db.rows(MARKS).await, [""; 0]);
    assert_eq!(retain(&settings, &policy, false).await, steps);
    assert_eq!(everything_else(&db).await, before);
    // Of the new ones, and the partner.
    let left = [
        "everflow_clicks|1",
        "everflow_conversion_versions|3",
        "everflow_conversions|1",
        "everflow_impressions|1",
        "everflow_other|2",
    ];
    assert_eq!(traces(&db).await, left);
    let of_old = "select count(*) from everflow_conversions where conversion_id = 'old'
            and (transaction_id, email, conversion_user_ip, query_parameters, sub6, sub7, extra) is null;
        select content from everflow_conversion_versions where conversion_id = 'old' and layer = 2";
    let update = r#"{"payout": 10, "status": "rejected", "update_timestamp": 10}"#;
    assert_eq!(db.rows(of_old).await, ["1", update]);
    assert_eq!(db.rows(MARKS).await, ["personal_other|29|29|{}"]);
    assert_eq!(failing(&db), (vec![], 0));

    // Whatever comes again is known.
    let tally = send(&mut store, &[old, new].concat()).await;
    let again = Tally {
        duplicates: 13,
        ..Tally::default()
    };
    assert_eq!(tally, again);
    assert_eq!(everything_else(&db).await, before);
    assert_eq!(retain(&settings, &policy, false).await, []);
    store.close().await;
}

#[tokio::test]
async fn what_comes_late_for_an_old_conversion_is_blanked_by_the_next_run() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut store = Store::new(settings.clone());
    send(&mut store, &deliveries("a")[..2]).await;
    // Its conversion has not come yet.
    let early = (EventType::FirehoseConversionUpdate, update("early", 10));
    send(&mut store, &[early]).await;
    age(&db, 40).await;
    let policy = personal(28, &[]);
    let versions = |rows| [blank("everflow_conversion_versions", rows)];
    assert_eq!(retain(&settings, &policy, false).await, versions(3));
    assert_eq!(traces(&db).await, [""; 0]);
    let state = "select conversion_id, status, revenue, payout, sub6, sub7 from everflow_conversions order by 1";
    assert_eq!(db.rows(state).await, ["a|approved|7.1|1|NULL|NULL"]);

    // What it brings itself is there until then, and nothing of what was.
    let late = (EventType::FirehoseConversionUpdate, update("a", 20));
    let tally = send(&mut store, std::slice::from_ref(&late)).await;
    assert_eq!(tally.adjustments, 1);
    let with = format!("a|rejected|7.1|20|NULL|{PERSON}");
    assert_eq!(db.rows(state).await, [with]);
    assert_eq!(retain(&settings, &policy, true).await, versions(1));
    assert_eq!(retain(&settings, &policy, false).await, versions(1));
    let without = "a|rejected|7.1|20|NULL|NULL";
    assert_eq!(db.rows(state).await, [without]);
    assert_eq!(send(&mut store, &[late]).await.duplicates, 1);

    // The conversion of an early update is new when it comes.
    send(&mut store, &deliveries("early")[1..2]).await;
    let new = format!("early|rejected|NULL|10|{PERSON}|NULL");
    assert_eq!(db.rows(state).await, [without, &new]);
    assert_eq!(retain(&settings, &policy, false).await, []);
    age(&db, 40).await;
    assert_eq!(retain(&settings, &policy, false).await, versions(1));
    assert_eq!(traces(&db).await, [""; 0]);
    store.close().await;
}

#[tokio::test]
async fn old_usage_names_nobody_and_counts_as_it_did() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut store = Store::new(settings.clone());
    let event = json!({"app_id": "app", "user_id": format!("{PERSON} user"), "event": "Buy", "type": "custom", "ts": 1_790_000_000,
        "properties": {"id": "tracker", "values": [{"url_path": PERSON}], "options": {"use_regex": false}},
        "traits": {"x": PERSON}, "segments": [{"name": PERSON}], "paths": [{"name": PERSON}], "an_unknown_field": PERSON});
    let event = event.to_string();
    let body = format!("[{event}]");
    pull(&mut store, "exports/usages-1", &[&event, &event]).await;
    push(&mut store, &body).await;
    age(&db, 40).await;
    // As a version left it that knew nothing of these tables.
    db.rows(
        "insert into retention_marks values ('personal', current_date, current_date, '{}', now())",
    )
    .await;
    let rest = "select door, origin, occurrence, app_id, event, type, ts, occurred_at, properties_id, properties_options, line,
                    natural_hash, content_hash, received_at from recurly_usage_events order by 1, 3;
                select event, door, count(*) from recurly_usages group by 1, 2";
    let before = db.rows(rest).await;
    let policy = personal(28, &["user_id"]);
    let steps = [blank("recurly_usage_events", 3)];
    assert_eq!(retain(&settings, &policy, true).await, steps);
    assert_eq!(retain(&settings, &policy, false).await, steps);
    let kept = "select distinct user_id, (properties_values, traits, segments, paths, extra) is null from recurly_usages";
    assert_eq!(db.rows(kept).await, [format!("{PERSON} user|t")]);
    assert_eq!(
        db.rows(MARKS).await[1..],
        ["personal_other|29|29|{user_id}"]
    );
    // What is kept no longer goes from rows that were looked at.
    assert_eq!(retain(&settings, &personal(28, &[]), false).await, steps);
    assert_eq!(traces(&db).await, [""; 0]);
    assert_eq!(db.rows(rest).await, before);
    let pulled = pull(&mut store, "exports/usages-1", &[&event, &event]).await;
    assert_eq!((pulled.stored, pulled.duplicates), (0, 2));
    assert_eq!(push(&mut store, &body).await.duplicates, 1);
    store.close().await;
}

#[tokio::test]
async fn clicks_that_are_deleted_are_not_blanked_as_well() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut store = Store::new(settings.clone());
    send(&mut store, &deliveries("older")).await;
    age(&db, 10).await;
    send(&mut store, &deliveries("old")).await;
    age(&db, 40).await;
    store.close().await;
    let policy = Retention {
        events_days: Some(45),
        ..personal(28, &[])
    };
    let delete = |table: &str| (Action::Delete, table.to_owned(), 1);
    let clicks = ["everflow_clicks", "everflow_impressions", "everflow_other"];
    let mut steps = clicks.map(delete).to_vec();
    steps.extend(clicks.map(|table| blank(table, 1)));
    steps.push(blank("everflow_conversion_versions", 6));
    assert_eq!(retain(&settings, &policy, true).await, steps);
    assert_eq!(retain(&settings, &policy, false).await, steps);
    assert_eq!(traces(&db).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_come_in_while_their_conversions_are_blanked() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut store = Store::new(settings.clone());
    let conversions: Vec<Value> = (0..1_000)
        .map(|id| json!({"conversion_id": id, "conversion_status": "approved", "revenue": 1, "sub6": PERSON.repeat(60)}))
        .collect();
    let body = json!(conversions).to_string();
    deliver(&mut store, EventType::FirehoseConversion, &body).await;
    age(&db, 40).await;
    let writer = async {
        for n in 0..40 {
            let update = update(&(n * 25).to_string(), 10).to_string();
            let tally = deliver(&mut store, EventType::FirehoseConversionUpdate, &update).await;
            assert_eq!(tally.adjustments, 1);
        }
    };
    let policy = personal(28, &[]);
    let (steps, ()) = tokio::join!(retain(&settings, &policy, false), writer);
    // And of the updates those that came before it began.
    assert!(steps.len() == 1 && steps[0].2 >= 1_000, "{steps:?}");
    let states = "select status, count(*), sum(revenue), sum(payout) from everflow_conversions group by 1 order by 1";
    let expected = ["approved|960|960|NULL", "rejected|40|40|400"];
    assert_eq!(db.rows(states).await, expected);
    retain(&settings, &policy, false).await;
    assert_eq!(traces(&db).await, [""; 0]);
    assert_eq!(db.rows(states).await, expected);
    store.close().await;
}
