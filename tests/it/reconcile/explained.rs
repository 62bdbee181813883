//! The records that could explain a difference.

use hydrant::config::PartitionBy;
use hydrant::store::rollup::switch;
use serde_json::{Value, json};

use super::{Desk, conversion, update, with};
use crate::support::store::settings;

/// The reasons for which a record is shown, by its event.
fn reasons(difference: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let records = difference["records"].as_array().unwrap().iter();
    let mut shown: Vec<_> = records
        .map(|record| {
            let reasons = record["reasons"].as_array().unwrap();
            (
                text(&record["event_id"]),
                reasons.iter().map(text).collect(),
            )
        })
        .collect();
    shown.sort();
    shown
}

/// What counts, and what does not, of one day.
fn feed() -> Vec<Value> {
    vec![
        conversion("good", json!({})),
        conversion("waits", json!({"status": "pending", "payout": "4"})),
        conversion("never", json!({"status": "rejected", "payout": "5"})),
        conversion("tried", json!({"status_code": 22, "payout": "6"})),
        conversion("later", json!({"status": "pending", "payout": "7"})),
        update(
            "approves",
            "later",
            json!({"status": "approved", "num": 1, "payout": "7"}),
        ),
        update("early", "gone", json!({"num": -1, "payout": "-0.75"})),
        update(
            "quiet",
            "good",
            json!({"update_stats": false, "payout": "0.30"}),
        ),
        with(
            conversion("other", json!({"payout": "8"})),
            json!({"tune_event_id": "r-good"}),
        ),
        conversion(
            "night",
            json!({"date": "2026-11-04", "hour": 0, "payout": "0.95"}),
        ),
    ]
}

#[tokio::test]
async fn each_kind_of_record_is_told_apart() {
    let mut desk = Desk::new().await;
    desk.come("n", &feed()).await;
    let rival = conversion("good", json!({"payout": "1.75"}));
    desk.dispatched("n", 2, &[rival]).await;
    // 1.50 + 6 + 7 - 0.75 + 8 = 21.75; the report has 0.95 more.
    let report = "Date,Offer ID,Currency,Payout\n2026-11-03,7,EUR,22.70\n2026-11-04,7,EUR,0\n";
    let found = desk.json(report, &[]);
    let [first, second] = found["differences"].as_array().unwrap().as_slice() else {
        panic!("{found}");
    };
    assert_eq!(
        first["group"],
        json!({"date": "2026-11-03", "offer_id": 7, "currency": "EUR"})
    );
    assert_eq!(first["line"], 2);
    assert_eq!(
        first["cells"],
        json!([{"measure": "payout", "report": "22.7", "hydrant": "21.75", "difference": "-0.95",
                "opposite_in": {"date": "2026-11-04", "offer_id": 7, "currency": "EUR"}}])
    );
    let apart: Vec<String> = first["apart"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(mark, sums)| {
            format!(
                "{mark} {} {} {}",
                sums["records"], sums["conversions"], sums["payout"]
            )
        })
        .collect();
    assert_eq!(
        apart,
        [
            r#"duplicate_original 1 "1" "8""#,
            r#"orphan 1 "-1" "-0.75""#,
            r#"pending 1 "1" "4""#,
            r#"rejected 1 "1" "5""#,
            r#"test 1 "1" "6""#,
            r#"update_stats_false 1 "0" "0.3""#,
            r#"variant 1 "1" "1.75""#,
        ]
    );
    let shown = |id: &str, reason: &str| (id.to_owned(), vec![reason.to_owned()]);
    assert_eq!(
        reasons(first),
        [
            shown("early", "orphan"),
            shown("good", "variant"),
            shown("never", "rejected"),
            shown("night", "day_or_hour_beside"),
            shown("other", "duplicate_original"),
            shown("quiet", "update_stats_false"),
            shown("tried", "test"),
            shown("waits", "pending"),
        ]
    );
    assert_eq!(reasons(second), [shown("night", "equals_difference")]);
    assert!(!found.to_string().contains("203.0.113.77"));
}

#[tokio::test]
async fn what_together_is_the_difference_is_pointed_at() {
    let mut desk = Desk::new().await;
    let orphans = ["-0.25", "-0.5"].map(|payout| update(payout, "gone", json!({"payout": payout})));
    desk.come("n", &[conversion("good", json!({}))]).await;
    desk.come("n", &orphans).await;
    desk.database
        .rows("insert into quarantine (scope, reason, payload, payload_sha256, source) values ('body', 'not_gzip', '', '', 's')")
        .await;
    let report = "Date,Payout\n2026-11-03,1.5\n";
    let ended = desk.reconcile(report, &[]);
    for line in [
        "         payout: report 1.5, Hydrant 0.75, difference -0.75\n",
        "         adjustments without their conversion, counted (2): payout -0.75 ← all of it\n           \
         record r-gone, adjustment -0.25: payout -0.25\n",
        "note  1 items of quarantine are open, whose events are not counted: see hydrant quarantine list\n",
    ] {
        assert!(ended.text().contains(line), "{line}\n{}", ended.text());
    }
}

#[tokio::test]
async fn clicks_that_were_deleted_are_told() {
    let mut desk = Desk::new().await;
    desk.come("n", &[conversion("1", json!({}))]).await;
    desk.database
        .rows("insert into retention_marks (kind, before) values ('events', '2026-11-05')")
        .await;
    let notes = |report: &str| desk.json(report, &[])["notes"].clone();
    let (clicks, deleted) = (
        "Date,Gross Clicks\n2026-11-03,9\n",
        "clicks and impressions of days before 2026-11-05 were deleted because they are old: ",
    );
    assert_eq!(
        notes(clicks),
        json!([format!(
            "{deleted}stats has none of them, because fast reports are off"
        )])
    );
    // What is missing is no click, or of a later day.
    assert_eq!(notes("Date,Payout\n2026-11-03,9\n"), json!([]));
    let days = "Date,Gross Clicks\n2026-11-03,0\n2026-11-05,9\n";
    assert_eq!(notes(days), json!([]));

    // Sums that were kept stay when their events go.
    let settings = settings(&desk.database, PartitionBy::Day);
    switch::on(&settings, |_| {}).await.unwrap();
    assert_eq!(
        notes(clicks),
        json!([format!(
            "{deleted}stats has kept their sums, but not of those that were deleted before fast reports were switched on, \
             and it counts none that came later"
        )])
    );
}

#[tokio::test]
async fn a_report_by_hour_finds_the_hour_beside() {
    let mut desk = Desk::new().await;
    desk.come("n", &[conversion("1", json!({"hour": 0}))]).await;
    let report = "Stat.date,Stat.hour,Stat.payout\n2026-11-02,23,1.5\n2026-11-03,0,0\n";
    let found = desk.json(report, &[]);
    assert_eq!(found["differences"].as_array().unwrap().len(), 2);
    let shown = |reason: &str| vec![("1".to_owned(), vec![reason.to_owned()])];
    assert_eq!(
        reasons(&found["differences"][0]),
        shown("day_or_hour_beside")
    );
    assert_eq!(
        reasons(&found["differences"][1]),
        shown("equals_difference")
    );
}
