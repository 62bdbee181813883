//! What was changed since a time.

use serde_json::{Value, json};

use super::{Desk, conversion, update, with};

/// 2026-11-01 00:00 UTC.
const NOVEMBER: i64 = 1_793_491_200;

/// Conversions of October, and what was made of them before and after its end.
async fn october() -> Desk {
    let mut desk = Desk::new().await;
    let in_october = |more: Value| with(json!({"date": "2026-10-20"}), more);
    desk.come(
        "n",
        &[
            conversion("1", in_october(json!({}))),
            conversion("2", in_october(json!({"currency": "USD"}))),
            update("early", "1", in_october(json!({"payout": 100, "adjustment_timestamp": NOVEMBER - 1}))),
            update("rejects", "1", in_october(json!({"num": -1, "payout": "-1.50", "revenue": -2, "adjustment_timestamp": NOVEMBER}))),
            update("more", "2", in_october(json!({"currency": "USD", "payout": "0.05", "adjustment_timestamp": NOVEMBER + 9}))),
            update("orphan", "gone", in_october(json!({"payout": "-0.50", "adjustment_timestamp": NOVEMBER + 9}))),
            update("quiet", "1", in_october(json!({"payout": "9", "update_stats": false, "adjustment_timestamp": NOVEMBER + 9}))),
            // Comes to nothing.
            update("there", "3", in_october(json!({"offer_id": 1, "payout": "5", "adjustment_timestamp": NOVEMBER + 9}))),
            update("back", "3", in_october(json!({"offer_id": 1, "payout": "-5", "adjustment_timestamp": NOVEMBER + 9}))),
            conversion("created", in_october(json!({"adjust_action": "create", "offer_id": 2, "payout": 3, "adjustment_timestamp": NOVEMBER + 9}))),
            conversion("november", json!({"adjust_action": "create", "adjustment_timestamp": NOVEMBER + 9})),
        ],
    )
    .await;
    desk
}

#[tokio::test]
async fn changes_are_told_by_the_day_of_their_conversions() {
    let desk = october().await;
    let ended = desk.run(&["--changed-since", "2026-11-01", "--until", "2026-10-31"]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    let lines: Vec<&str> = ended.text().lines().collect();
    assert!(
        lines[0]
            .starts_with("changed since 2026-11-01: 3 groups; network n, in the snapshot of 20")
    );
    assert_eq!(
        &lines[1..],
        [
            "",
            "date        offer_id  affiliate_id  goal_id  currency  facts  conversions  payout  revenue",
            "2026-10-20  2         8             0        EUR           1            1       3        2",
            "2026-10-20  7         8             0        EUR           3           -1      -2       -2",
            "2026-10-20  7         8             0        USD           1            0    0.05        0",
            "",
            "EUR in all: payout 1",
            "EUR of it without their conversion: payout -0.5",
            "EUR kept out by update_stats = false: payout 9",
            "USD in all: payout 0.05",
        ]
    );
    let later = desk.run(&["--changed-since", "2026-11-02T00:00:00+02:00"]);
    assert_eq!(later.status, 0, "{}", later.err);
    assert!(
        later.text().ends_with("nothing was changed\n"),
        "{}",
        later.text()
    );
}

#[tokio::test]
async fn changes_as_json_and_with_the_readmes_query() {
    let desk = october().await;
    let ended = desk.run(&["--changed-since", "2026-11-01T00:00:00Z", "--json"]);
    let found: Value = serde_json::from_slice(&ended.out).unwrap();
    assert_eq!(found["network_id"], "n");
    let changes = found["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 4);
    assert_eq!(
        changes[1]["group"],
        json!({"date": "2026-10-20", "offer_id": 7, "affiliate_id": 8, "goal_id": 0, "currency": "EUR"})
    );
    assert_eq!(changes[1]["payout"], "-2");
    assert_eq!(changes[1]["orphan"]["payout"], "-0.5");
    assert_eq!(changes[1]["update_stats_false"]["payout"], "9");
    assert_eq!(found["sums"][0]["currency"], "EUR");
    // Together with the conversions that were created it is what SQL says of the adjustments.
    let sql = format!(
        "select trim_scale(sum(payout)) from adjustments
         where adjustment_timestamp >= {NOVEMBER} and update_stats is distinct from false and currency = 'EUR'"
    );
    assert_eq!(desk.database.rows(&sql).await, ["-2"]);
}
