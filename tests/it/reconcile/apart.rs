//! What is told whatever agrees: amounts that are shown apart, and the groups that agree.

use serde_json::{Value, json};

use super::{Desk, conversion, update};

/// A conversion or adjustment of each kind, in two currencies.
async fn kinds() -> Desk {
    let mut desk = Desk::new().await;
    desk.come(
        "n",
        &[
            conversion("good", json!({})),
            conversion("waits", json!({"status": "pending", "payout": "4"})),
            conversion(
                "dollars",
                json!({"status": "pending", "payout": "0.00001", "currency": "USD"}),
            ),
            conversion(
                "never",
                json!({"status": "rejected", "status_code": 22, "payout": "7"}),
            ),
            conversion("tried", json!({"status_code": 22, "payout": "6"})),
            conversion("later", json!({"status": "pending", "date": "2026-11-04"})),
            update("early", "gone", json!({"payout": "-0.75"})),
            update("early2", "gone", json!({"payout": "-0.25", "revenue": -1})),
            update(
                "quiet",
                "gone",
                json!({"update_stats": false, "payout": "0.30"}),
            ),
        ],
    )
    .await;
    desk
}

/// 1.50 + 6 - 0.75 - 0.25
const AGREEING: &str = "Date,Currency,Payout\n2026-11-03,EUR,6.5\n";

#[tokio::test]
async fn what_is_odd_is_shown_apart_whatever_agrees() {
    let desk = kinds().await;
    let found = desk.json(AGREEING, &[]);
    assert_eq!(found["status"], "agrees");
    let shown: Vec<String> = found["apart"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let names = [
                "kind", "counted", "currency", "records", "payout", "revenue",
            ];
            names
                .map(|name| one[name].to_string().replace('"', ""))
                .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "orphan true EUR 2 -1 -1",
            "orphan false EUR 1 0.3 0",
            "pending false EUR 1 4 2",
            "pending false USD 1 0.00001 2",
            "rejected false EUR 1 7 2",
            "test true EUR 1 6 2",
            "test false EUR 1 7 2",
            "update_stats_false false EUR 1 0.3 0",
        ]
    );
    let text = desk.reconcile(AGREEING, &[]).text().to_owned();
    for line in [
        "APART                                  COUNTED  CURRENCY  RECORDS   PAYOUT  REVENUE\n\
         adjustments without their conversion   yes      EUR             2       -1       -1\n\
         adjustments without their conversion   no       EUR             1      0.3        0\n\
         pending conversions                    no       EUR             1        4        2\n",
        "tests by their status code             no       EUR             1        7        2\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let of_dollars = desk.json(AGREEING, &["--only", "currency=USD"]);
    assert_eq!(of_dollars["apart"].as_array().unwrap().len(), 1);
    let of_both_days = desk.json(AGREEING, &["--until", "2026-11-04"]);
    assert_eq!(of_both_days["apart"][2]["records"], 2);
}

#[tokio::test]
async fn groups_that_agree_are_listed_where_that_is_asked_for() {
    let mut desk = Desk::new().await;
    desk.come(
        "n",
        &[
            conversion("1", json!({})),
            conversion("2", json!({"date": "2026-11-04", "payout": "1.004"})),
            conversion(
                "3",
                json!({"date": "2026-11-04", "offer_id": 9, "payout": 3}),
            ),
        ],
    )
    .await;
    let report =
        "Date,Offer ID,Payout\n2026-11-03,7,1\n2026-11-03,7,0.50\n2026-11-04,7,1\n2026-11-05,7,0\n";
    let args = ["--tolerance", "0.004"];
    let found = desk.json(report, &args);
    assert_eq!(found["agreements"], Value::Null);
    assert_eq!(
        [
            &found["groups"],
            &found["groups_agreeing"],
            &found["rows_agreeing"]
        ],
        [4, 3, 4]
    );
    assert_eq!(
        found["sums"],
        json!([{"measure": "payout", "currency": null, "report": "2.5", "hydrant": "5.504", "difference": "3.004",
                "agreeing": "2.504"}])
    );
    let all = desk.json(report, &[&args[..], &["--all"]].concat());
    assert_eq!(all["differences"], found["differences"]);
    let one = |day: &str, place: &str, line: u64, rows: u64, sums: [&str; 2]| {
        json!({"group": {"date": day, "offer_id": 7}, "in": place, "line": line, "rows": rows,
               "report": {"payout": sums[0]}, "hydrant": {"payout": sums[1]}})
    };
    assert_eq!(
        all["agreements"],
        json!([
            one("2026-11-03", "both", 2, 2, ["1.5", "1.5"]),
            one("2026-11-04", "both", 4, 1, ["1", "1.004"]),
            one("2026-11-05", "report", 5, 1, ["0", "0"]),
        ])
    );
    // It goes with --json.
    desk.refused(report, &["--all"], 2);
}
