//! The SQL in README.md and under docs/ runs, and answers what the page says that it does.

use hydrant::config::PartitionBy;
use hydrant::formats::everflow::event_type::EventType;
use hydrant::store::Store;

use crate::everflow::deliver;
use crate::pages::{Page, page, pages};
use crate::recurly::{pull, push};
use crate::repartition::{settings, write};
use crate::support::{Database, database};

const RECORD: &str = "008356e4-f7bf-4d55-aae9-d389e2a7c5e2";
const ORIGINAL: &str = r#"{"event_id":"e1","action":"conversion","status":"approved","payout":10,"revenue":20,
    "tune_event_id":"008356e4-f7bf-4d55-aae9-d389e2a7c5e2","offer_id":1,"currency":"USD"}"#;
const UPDATE: &str = r#"{"event_id":"e2","action":"conversion","adjust_action":"update","status":"rejected","num":-1,
    "payout":-10,"revenue":-20,"tune_event_id":"008356e4-f7bf-4d55-aae9-d389e2a7c5e2","adjustment_sequence_id":5,
    "adjustment_timestamp":1794000000}"#;
const ORPHAN: &str = r#"{"event_id":"e3","action":"conversion","adjust_action":"update","num":1,"tune_event_id":"other"}"#;

const EVERFLOW: [(EventType, &str); 2] = [
    (
        EventType::Firehose,
        r#"[{"conversion_id":"c","conversion_status":"approved","conversion_timestamp":1728000000,"payout":1.5,"revenue":2,
            "network_offer_id":7,"currency_id":"USD"},{"conversion_id":"early","update_timestamp":9}]"#,
    ),
    (
        EventType::OfferCreated,
        r#"{"network_offer_id":7,"offer_status":"active","name":"Shoes","time_saved":1}"#,
    ),
];

const USAGE: &str = r#"{"user_id":"u","event":"Home Page","type":"page","ts":1793577600}"#;

/// Of today, with a field that has no column.
const TODAYS: &str = r#"{"event_id":"e5","action":"conversion","status":"approved","datetime":"TODAY 10:05:00","hour":10,
    "session_datetime":"TODAY 10:03:00","date":"TODAY","offer_id":7,"affiliate_id":8,"currency":"EUR","payout":2.5,"revenue":4,
    "coupon":"SUMMER"}"#;
/// The same with another amount; it came later, and does not count.
const ANOTHER: &str =
    r#"{"event_id":"e5","action":"conversion","status":"approved","date":"TODAY","payout":3}"#;
const CLICK: &str = r#"{"event_id":"e4","action":"click","date":"TODAY","hour":9,"offer_id":7,"affiliate_id":8,"currency":"EUR"}"#;
/// A second original of the first record.
const SECOND: &str = r#"{"event_id":"e6","action":"conversion","status":"approved","payout":1,
    "tune_event_id":"008356e4-f7bf-4d55-aae9-d389e2a7c5e2"}"#;
const LEFT_OUT: &str = r#"{"event_id":"e7","action":"conversion","adjust_action":"update","update_stats":false,"payout":9,
    "tune_event_id":"e5"}"#;
/// It changes no amount, and has a group of its own.
const WITHOUT_AMOUNTS: &str = r#"{"event_id":"e8","action":"conversion","adjust_action":"update","status":"approved","offer_id":9,
    "tune_event_id":"e5","adjustment_sequence_id":6,"adjustment_timestamp":1794000000}"#;
/// Of the day that the README asks for.
const OF_THE_DAY: &str = r#"{"event_id":"e9","action":"conversion","status":"approved","date":"2026-11-03","offer_id":3,
    "affiliate_id":4,"currency":"USD","payout":1.5,"revenue":2}"#;

/// A database in which something of everything has landed.
async fn stocked() -> Database {
    let db = database().await;
    let settings = settings(&db, PartitionBy::Day);
    hydrant::store::migrate::migrate(&settings).await.unwrap();
    let today = db.rows("select current_date").await.remove(0);
    let joined = |events: &[&str]| events.join(",").replace('\n', "").replace("TODAY", &today);
    let events = [
        ORIGINAL,
        UPDATE,
        ORPHAN,
        CLICK,
        TODAYS,
        SECOND,
        LEFT_OUT,
        WITHOUT_AMOUNTS,
    ];
    write(&settings, "demo", 1, &joined(&events)).await;
    write(&settings, "demo", 2, &joined(&[ANOTHER])).await;
    db.rows("insert into quarantine (scope, reason, payload, payload_sha256, source) values ('body', 'not_gzip', '', '', 'hasoffers')").await;
    let mut store = Store::new(settings);
    for (event_type, body) in EVERFLOW {
        deliver(&mut store, event_type, body).await;
    }
    pull(&mut store, "exports/usages-1", &[USAGE, USAGE]).await;
    push(&mut store, &format!("[{USAGE},{{\"event\":\"Goal\"}}]")).await;
    db
}

/// What each query of a page answers.
async fn answers<const N: usize>(db: &Database, page: &Page) -> [Vec<String>; N] {
    let mut answers = Vec::new();
    for sql in page.queries() {
        answers.push(db.rows(sql.trim_end().trim_end_matches(';')).await);
    }
    let found = answers.len();
    answers
        .try_into()
        .unwrap_or_else(|_| panic!("{} has {found} queries, not {N}", page.path))
}

#[tokio::test]
async fn queries_answer_what_they_are_for() {
    let db = stocked().await;
    let settings = settings(&db, PartitionBy::Day);
    write(&settings, "demo", 3, &OF_THE_DAY.replace('\n', "")).await;
    let [totals, changed, conversion] = answers(&db, &page("README.md")).await;
    let told = "3|4|USD|0|0|1|1.5|2".to_owned();
    assert!(totals.contains(&told), "{totals:?}");
    assert_eq!(changed, ["1970-01-01|NULL|NULL|NULL|-1|-10|-20"]);
    assert_eq!(conversion.len(), 1);
    assert!(
        conversion[0].starts_with("rejected|0|0|0|0|1|2026-11-"),
        "{conversion:?}"
    );

    let [by_day, by_offer, early] = answers(&db, &page("docs/everflow.md")).await;
    assert_eq!(by_day, ["2024-10-04|7|approved|USD|1|1.5|2"]);
    assert_eq!(by_offer, ["Shoes|1|2"]);
    assert_eq!(early, ["1|early|9"]);

    let [usages, doors] = answers(&db, &page("docs/recurly.md")).await;
    assert_eq!(usages, ["2026-11-02 00:00:00|page|Home Page|2|1"]);
    assert_eq!(doors, ["1|0|2"]);
}

#[tokio::test]
async fn recipes_answer_what_they_are_for() {
    let db = stocked().await;
    let today = db.rows("select current_date").await.remove(0);
    let [
        invoices,
        changed,
        taken_back,
        orphans,
        left_out,
        by_offer,
        by_hour,
        delay,
        coupons,
        history,
        fresh,
        quarantine,
        variants,
        duplicates,
        sizes,
    ] = answers(&db, &page("docs/recipes.md")).await;
    let november = "2026-11-01".."2026-12-01";
    let of_today = if november.contains(&today.as_str()) {
        1
    } else {
        0
    };
    assert_eq!(invoices, ["8|EUR|1|2.5"][..of_today]);
    assert_eq!(changed.len(), 1);
    let told = format!("{RECORD}|1970-01-01|NULL|NULL|NULL|-1|-10|-20|1|");
    assert!(changed[0].starts_with(&told), "{changed:?}");
    assert_eq!(taken_back, ["NULL|USD|1|10|0"]);
    assert_eq!(orphans.len(), 1);
    assert_eq!(left_out, ["1970-01-01|NULL|NULL|NULL|1|9|NULL"]);
    assert_eq!(by_offer, ["7|EUR|1|1|100.00|2.5000"]);
    assert_eq!(by_hour, ["9|0|1|0", "10|0|0|1"]);
    assert_eq!(delay, ["7|1|00:02:00|00:02:00"]);
    assert_eq!(coupons, ["SUMMER|EUR|1|11.5"]);
    assert_eq!(
        history,
        [
            "original|NULL|approved|NULL|10|20|NULL|NULL",
            "original|NULL|approved|NULL|1|NULL|NULL|NULL",
            "adjustment|5|rejected|-1|-10|-20|NULL|NULL"
        ]
    );
    assert!(fresh[0].starts_with("demo|1|"), "{fresh:?}");
    assert!(
        quarantine[0].starts_with("hasoffers|body|not_gzip|1|1|"),
        "{quarantine:?}"
    );
    assert!(
        variants[0].starts_with("demo|e5|original|2.5|3|"),
        "{variants:?}"
    );
    assert_eq!(duplicates, [format!("demo|{RECORD}|1|1")]);
    assert!(
        sizes
            .iter()
            .any(|size| size.starts_with("events_conversions|")),
        "{sizes:?}"
    );
}

/// What makes roles has a test of its own.
#[tokio::test]
async fn all_sql_runs() {
    let db = stocked().await;
    for page in pages() {
        for sql in page.queries() {
            db.rows(sql.trim_end().trim_end_matches(';')).await;
        }
        if page.path != "docs/postgres.md" {
            for sql in page.changes() {
                db.rows(&format!("begin; {sql}; rollback")).await;
            }
        }
    }
}
