//! What the page shows is what is printed.

use serde_json::{Value, json};

use super::{Desk, conversion, update};

const REPORT: &str = "\
Date,Offer,Offer ID,Affiliate ID,Currency,Gross Clicks,Conversions,Payout,Revenue,Profit
2026-11-02,Shoes,7,8,EUR,3,2,23.75,38.00,14.25
2026-11-02,Books,9,12,USD,2,1,3.75,6.00,2.25
2026-11-03,Shoes,7,8,EUR,2,3,37.50,60.00,22.50
2026-11-03,Books,9,12,USD,2,2,7.50,12.00,4.50
2026-11-04,Shoes,7,8,EUR,1,1,12.50,20.00,7.50
2026-11-04,Books,9,12,USD,1,1,3.75,6.00,2.25
Total,,,,,11,10,83.75,134.00,50.25
";

fn shoes(id: &str, day: u32, more: Value) -> Value {
    let of_day = json!({"date": format!("2026-11-0{day}"), "payout": "12.50", "revenue": 20});
    conversion(id, super::with(of_day, more))
}

fn books(id: &str, day: u32, hour: u32) -> Value {
    conversion(
        id,
        json!({"date": format!("2026-11-0{day}"), "hour": hour, "offer_id": 9, "affiliate_id": 12, "currency": "USD",
               "payout": "3.75", "revenue": 6}),
    )
}

fn clicks(day: u32, offer: u32, count: u32) -> Vec<Value> {
    let (affiliate, currency) = if offer == 7 { (8, "EUR") } else { (12, "USD") };
    let click = |n| {
        json!({"event_id": format!("k{day}{offer}{n}"), "action": "click", "date": format!("2026-11-0{day}"),
               "offer_id": offer, "affiliate_id": affiliate, "currency": currency})
    };
    (0..count).map(click).collect()
}

#[tokio::test]
async fn the_page_shows_what_is_printed() {
    let mut desk = Desk::new().await;
    let conversions = [
        shoes("c1", 2, json!({})),
        shoes("c2", 2, json!({})),
        update(
            "a1",
            "old",
            json!({"date": "2026-11-02", "payout": "-1.25", "revenue": -2}),
        ),
        shoes("c3", 3, json!({})),
        shoes("c4", 3, json!({})),
        shoes("c5", 3, json!({"status": "pending"})),
        shoes("c6", 4, json!({})),
        shoes("c7", 4, json!({"status": "rejected"})),
        update(
            "a2",
            "c6",
            json!({"date": "2026-11-04", "payout": 2, "update_stats": false}),
        ),
        books("c8", 2, 9),
        books("c9", 3, 14),
        books("c10", 4, 0),
        books("c11", 4, 11),
    ];
    desk.come("acme", &conversions).await;
    for (day, offer, count) in [
        (2, 7, 3),
        (2, 9, 2),
        (3, 7, 2),
        (3, 9, 2),
        (4, 7, 1),
        (4, 9, 1),
    ] {
        desk.come("acme", &clicks(day, offer, count)).await;
    }
    let ended = desk.reconcile(REPORT, &[]);
    assert_eq!(ended.status, 1, "{}", ended.err);
    let file = desk.folder.path().join("report.csv");
    let text = ended.text().replace(file.to_str().unwrap(), "tune.csv");
    // The page was printed at another time.
    let (before, after) = text.split_once("in the snapshot of ").unwrap();
    let printed = format!(
        "{before}in the snapshot of 2026-11-26 02:00:13{}",
        &after[19..]
    );
    let page = include_str!("../../../docs/reconcile.md");
    assert!(page.contains(&printed), "{printed}");
}
