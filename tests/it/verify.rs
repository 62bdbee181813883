//! `hydrant verify`: it is quiet where all is well, and finds each thing that is not.

mod found;
mod interrupted;
mod live;
mod rebuild;
mod since;

use hydrant::config::PartitionBy;
use hydrant::store::migrate::migrate;
use hydrant::store::{Settings, Store};
use serde_json::{Value, json};

use crate::support::program::run;
pub use crate::support::program::run_on as hydrant;
pub use crate::support::store::with;
use crate::support::store::{come, date, settings};
use crate::support::{Database, database};

/// What must never be printed.
const ADDRESS: &str = "203.0.113.77";

/// The numbers of the checks that found something.
#[track_caller]
pub fn failing(db: &Database) -> (Vec<String>, i32) {
    failing_with(db, &[])
}

#[track_caller]
fn failing_with(db: &Database, args: &[&str]) -> (Vec<String>, i32) {
    let ended = hydrant(db, &[&["verify", "--json"], args].concat());
    let report: Value = serde_json::from_slice(&ended.out)
        .unwrap_or_else(|_| panic!("{} {}", ended.status, ended.err));
    let checks = report["checks"].as_array().unwrap();
    let failing = checks.iter().filter(|check| check["ok"] == false);
    let numbers = failing.map(|check| check["number"].as_str().unwrap().to_owned());
    (numbers.collect(), ended.status)
}

/// Migrates a database and gives its settings.
pub async fn prepared(db: &Database, partition_by: PartitionBy) -> Settings {
    let settings = settings(db, partition_by);
    migrate(&settings).await.unwrap();
    settings
}

/// Stores events of network `n`, delivered at this time.
pub async fn write(settings: &Settings, time: i64, events: &[Value]) {
    let mut store = Store::new(settings.clone());
    come(&mut store, "n", time, events).await;
    store.close().await;
}

/// An approved conversion of record `r-ID`.
pub fn conversion(id: &str) -> Value {
    json!({"event_id": id, "tune_event_id": format!("r-{id}"), "action": "conversion", "status": "approved",
           "date": "2026-03-04", "datetime": "2026-03-04 05:06:07", "offer_id": 7, "affiliate_id": 8, "currency": "EUR",
           "payout": "1.50", "revenue": 2, "current_payout": 1.5, "ip": ADDRESS})
}

/// An adjustment of the conversion `of`.
pub fn update(id: &str, of: &str, sequence: i64, payout: &str, current: &str) -> Value {
    json!({"event_id": id, "tune_event_id": format!("r-{of}"), "action": "conversion", "adjust_action": "update",
           "date": "2026-03-04", "offer_id": 7, "affiliate_id": 8, "currency": "EUR", "status": "approved",
           "adjustment_sequence_id": sequence, "adjustment_timestamp": 1_790_000_000 + sequence, "payout": payout,
           "payout_cents": 1, "current_payout": current, "session_datetime": "2026-03-05 06:07:08.5", "user_agent": ADDRESS})
}

/// A click of a day.
pub fn click(id: &str, date: &str) -> Value {
    json!({"event_id": id, "action": "click", "date": date, "ip": ADDRESS})
}

/// Something of everything, and all of it right: conversions with ledgers, an orphan that has just come, an adjustment of
/// its own, clicks with and without a day of their own, ids with two contents, and fields that have no column.
pub async fn good_feed(db: &Database) -> Settings {
    let settings = prepared(db, PartitionBy::Day).await;
    let today = date(db, 0).await;
    let extra = json!({"z": [1.50, "ü\"\\\n", null, {"b": 1e3, "aa": false}], "a": -0.0, "offer_file_id": "none",
                       "big": "1e999", "é": {"": {}}, "update_stats": 7});
    let own = |note: &str| json!({"event_id": "own", "action": "click", "adjust_action": "update", "num": -3, "payout": "-0.07", "note": note});
    let events = [
        conversion("c1"),
        with(conversion("c2"), extra.clone()),
        with(conversion("c3"), json!({"note": "first"})),
        update("u1", "c1", 1, "0.25", "1.75"),
        update("u2", "c1", 2, "-0.05", "1.7"),
        with(update("u3", "c2", 1, "0", "1.5"), extra.clone()),
        update("u4", "gone", 1, "5", "5"),
        own("first"),
        with(click("k1", &today), extra),
        click("k2", "1999-12-31"),
    ];
    write(&settings, 10, &events).await;
    let rivals = [
        with(conversion("c3"), json!({"note": "second"})),
        own("second"),
        with(click("k1", &today), json!({"source": "second"})),
        with(click("k2", "1999-12-31"), json!({"source": "second"})),
    ];
    write(&settings, 11, &rivals).await;
    settings
}

#[tokio::test]
async fn a_good_database_is_clean() {
    let db = database().await;
    good_feed(&db).await;
    let counts = "select (select count(*) from event_variants), (select count(*) from events where extra is not null),
        (select count(*) from events_default), (select count(*) from orphan_adjustments)";
    assert_eq!(db.rows(counts).await, ["4|2|1|1"]);
    let ended = hydrant(&db, &["verify"]);
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(ended.status, 0, "{}", ended.text());
    assert_eq!(ended.err, "");
    assert_eq!(lines.len(), 14, "{lines:#?}");
    assert!(lines[..13].iter().all(|line| line.starts_with("ok    V")));
    assert!(lines[13].starts_with("all is well: every check holds in the snapshot of 20"));
    let today = date(&db, 0).await;
    for since in [&today, "2020-01-01"] {
        let ended = hydrant(&db, &["verify", "--since", since]);
        assert_eq!(ended.status, 0, "{}", ended.text());
    }
}

#[tokio::test]
async fn the_report_in_json_has_the_documented_keys() {
    let db = database().await;
    good_feed(&db).await;
    db.rows("update record_patches set payout = payout + 0.01 where record_id = 'r-c1'")
        .await;
    let ended = hydrant(&db, &["verify", "--json", "--since", "2020-01-01"]);
    let report: Value = serde_json::from_slice(&ended.out).unwrap();
    assert_eq!(report["status"], "hard");
    assert_eq!(report["since"], "2020-01-01");
    assert!(report["snapshot"].as_str().unwrap().ends_with('Z'));
    let check = &report["checks"][1];
    assert_eq!(
        (
            &check["number"],
            &check["name"],
            &check["kind"],
            &check["ok"]
        ),
        (
            &json!("V2"),
            &json!("patches"),
            &json!("hard"),
            &json!(false)
        )
    );
    assert!(check["meaning"].is_string() && check["advice"].is_string());
    assert_eq!(
        check["findings"],
        json!([{"what": "a patch is not what its ledger comes to", "count": 1,
                "examples": [{"network_id": "n", "record_id": "r-c1", "fields": "payout"}]}])
    );
    assert_eq!(
        report["checks"][2]["findings"][0]["examples"],
        json!([{"network_id": "n", "field": "payout", "difference": "0.01"}])
    );
    assert_eq!(report["checks"][0]["advice"], Value::Null);
}

#[tokio::test]
async fn since_a_day_looks_at_what_came_since() {
    let db = database().await;
    let settings = good_feed(&db).await;
    db.rows(
        "update record_patches set payout = payout + 1 where record_id in ('r-c1', 'r-c2');
         update adjustments set received_at = '2020-01-01'; update events set received_at = '2020-01-01'",
    )
    .await;
    let today = date(&db, 0).await;
    let failing = |since: &str| {
        let ended = hydrant(&db, &["verify", "--json", "--since", since]);
        let report: Value = serde_json::from_slice(&ended.out).unwrap();
        let found = report["checks"][1]["findings"][0]["count"].as_u64();
        (found, report["checks"][2]["ok"].as_bool().unwrap())
    };
    assert_eq!(failing(&today), (None, true));
    // One of them is touched.
    write(
        &settings,
        12,
        &[
            conversion("c9"),
            with(conversion("c10"), json!({"tune_event_id": "r-c2"})),
        ],
    )
    .await;
    assert_eq!(failing(&today), (Some(1), false));
    assert_eq!(failing("2020-01-01"), (Some(2), false));
}

#[tokio::test]
async fn what_cannot_be_run_has_a_status_of_its_own() {
    let db = database().await;
    let unmigrated = hydrant(&db, &["verify"]);
    assert_eq!(unmigrated.status, 3);
    assert!(
        unmigrated.err.contains("has hydrant migrate been run?"),
        "{}",
        unmigrated.err
    );
    let away = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
    for (args, variables) in [
        (&["verify"][..], &away[..]),
        (&["verify", "--digest"], &away),
        (&["verify"], &[]),
        (&["verify", "--since", "yesterday"], &away),
        (&["verify", "--nonsense"], &away),
    ] {
        let ended = run(args, variables, b"");
        assert_eq!(ended.status, 3, "{args:?}: {}", ended.err);
        assert_eq!(ended.text(), "");
        assert!(!ended.err.is_empty());
    }
    assert_eq!(run(&["verify", "--help"], &[], b"").status, 0);
    assert_eq!(run(&["run", "--nonsense"], &[], b"").status, 2);
}
