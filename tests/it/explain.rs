//! `hydrant explain`: what it says of a record.

mod odd;

use hydrant::store::Store;
use serde_json::{Value, json};

use crate::support::program::{Finished, run, run_on};
use crate::support::store::{come, store, with};
use crate::support::{Database, database};

/// A migrated database of network `n`, and a way to let events come at times that the test knows.
struct Desk {
    database: Database,
    store: Store,
    minutes: u32,
}

impl Desk {
    async fn new() -> Desk {
        let database = database().await;
        let store = store(&database).await;
        Desk {
            database,
            store,
            minutes: 0,
        }
    }

    /// Events that come in one message, a minute after those before.
    async fn come(&mut self, events: &[Value]) {
        self.dispatched(1_793_000_000, events).await;
    }

    async fn dispatched(&mut self, dispatch_timestamp: i64, events: &[Value]) {
        come(&mut self.store, "n", dispatch_timestamp, events).await;
        self.minutes += 1;
        for table in ["events", "adjustments", "event_variants"] {
            // What just came has the time of now, whatever that is; what came before has one of 2020.
            let sql = format!(
                "update {table} set received_at = timestamptz '2020-11-01 10:00Z' + interval '{} minutes'
                 where received_at > '2021-01-01'",
                self.minutes
            );
            self.database.rows(&sql).await;
        }
    }

    fn explain(&self, args: &[&str]) -> Finished {
        run_on(&self.database, &[&["explain", "n"], args].concat())
    }

    fn text(&self, id: &str) -> String {
        let ended = self.explain(&[id]);
        assert_eq!(ended.status, 0, "{}", ended.err);
        ended.text().to_owned()
    }

    fn json(&self, id: &str) -> Value {
        let ended = self.explain(&[id, "--json"]);
        assert_eq!(ended.status, 0, "{}", ended.err);
        serde_json::from_slice(&ended.out).unwrap()
    }

    /// The only record that the id names.
    fn record(&self, id: &str) -> Value {
        let shown = self.json(id);
        let records = shown["records"].as_array().unwrap();
        assert_eq!(records.len(), 1, "{shown}");
        records[0].clone()
    }
}

fn update(event_id: &str, record: &str, more: Value) -> Value {
    with(
        json!({"event_id": event_id, "action": "conversion", "adjust_action": "update", "tune_event_id": record,
               "date": "2026-10-20"}),
        more,
    )
}

/// Of the fields as they stand: value, rule and the event that the value is from.
fn now(record: &Value, field: &str) -> [Value; 3] {
    let fields = record["now"].as_array().unwrap();
    let now = fields.iter().find(|now| now["field"] == field).unwrap();
    [
        now["value"].clone(),
        now["rule"].clone(),
        now["event_id"].clone(),
    ]
}

/// A create and three adjustments, of which the last came first and the second last.
async fn out_of_order() -> Desk {
    let mut desk = Desk::new().await;
    desk.come(&[update(
        "a3",
        "r",
        json!({"adjustment_sequence_id": 30, "adjustment_timestamp": 1792600000,
        "status": "rejected", "num": -1, "payout": "-12.50", "revenue": -20, "ip": ""}),
    )])
    .await;
    desk.come(&[json!({"event_id": "c", "action": "conversion", "adjust_action": "create", "tune_event_id": "r",
        "date": "2026-10-20", "status": "approved", "payout": 10, "revenue": 20, "currency": "USD", "offer_id": 7,
        "ip": "203.0.113.9", "user_agent": "Browser/9", "aff_sub": "partner-text"})])
        .await;
    desk.come(&[update("a2", "r", json!({"adjustment_sequence_id": 20, "adjustment_timestamp": 1792500000,
        "note": "a bonus\nof 2.5", "payout": "2.50", "ip": "198.51.100.4", "status": null, "update_stats": false}))])
        .await;
    desk.come(&[update(
        "a1",
        "r",
        json!({"adjustment_sequence_id": 10, "adjustment_timestamp": 1792400000,
        "status": "approved", "revenue": 0}),
    )])
    .await;
    desk
}

const TOLD: &str = r"Record r of network n: a conversion, 3 adjustments

ORIGINAL
  event     c
  born      by an adjustment (create), a conversion of 2026-10-20
  received  2020-11-01 10:02:00 UTC
  status    approved
  payout    10
  revenue   20
  currency  USD
  offer_id  7
  hidden    3 fields that may be about a person; --json --personal shows them
  adds      num 1, payout 10, revenue 20, sale_amount 0 to the totals
  LATE      it came after a3

ADJUSTMENTS, in the order in which they count (not in which they came)
  1. a1
     sequence  10
     made      2026-10-19 08:53:20 UTC
     received  2020-11-01 10:04:00 UTC
     LATE      it came after a2, a3, although it counts before
     changes   nothing
  2. a2
     sequence    20
     made        2026-10-20 12:40:00 UTC
     received    2020-11-01 10:03:00 UTC
     LATE        it came after a3, although it counts before
     payout by   +2.5         2.5 in all so far
     ip          hidden → hidden
     note        - → a bonus\nof 2.5
     payout      10 → 12.5
     net_payout  10 → 12.5
     stats       update_stats is false: its differences are left out of the view stats
  3. a3
     sequence     30
     made         2026-10-21 16:26:40 UTC
     received     2020-11-01 10:01:00 UTC
     num by       -1           -1 in all so far
     payout by    -12.5        -10 in all so far
     revenue by   -20          -20 in all so far
     status       approved → rejected
     payout       12.5 → 0
     revenue      20 → 0
     net_num      1 → 0
     net_payout   12.5 → 0
     net_revenue  20 → 0

NOW, as in the view conversions
  status           rejected         from adjustment a3
  ip               hidden           from adjustment a2
  user_agent       hidden           from the original
  note             a bonus\nof 2.5  from adjustment a2
  payout           0                the original's 10, and differences of -10
  revenue          0                the original's 20, and differences of -20
  net_num          0                the original's 1, and differences of -1
  net_payout       0                the original's 10, and differences of -10
  net_revenue      0                the original's 20, and differences of -20
  net_sale_amount  0                the original's 0, and differences of 0
";

#[tokio::test]
async fn a_conversion_is_told_step_by_step() {
    let desk = out_of_order().await;
    let shown = desk.text("r");
    assert_eq!(shown, TOLD, "\n{shown}");
    assert!(include_str!("../../docs/explain.md").contains(TOLD));
    // By any of its ids it is the same record.
    for id in ["c", "a1", "a3"] {
        assert_eq!(desk.text(id), shown);
    }
}

#[tokio::test]
async fn the_same_as_json() {
    let desk = out_of_order().await;
    let shown = desk.json("r");
    assert_eq!(
        (&shown["network_id"], &shown["id"]),
        (&json!("n"), &json!("r"))
    );
    let record = desk.record("c");
    assert_eq!(record["kind"], "conversion");
    let original = &record["original"];
    assert_eq!(original["event_id"], "c");
    assert_eq!(original["late_after"], json!(["a3"]));
    assert_eq!(
        original["contributes"],
        json!({"num": "1", "payout": "10", "revenue": "20", "sale_amount": "0"})
    );
    assert_eq!(original["fields"]["ip"], "hidden");
    assert_eq!(original["fields"]["payout"], "10");
    let ledger = record["ledger"].as_array().unwrap();
    let order: Vec<_> = ledger
        .iter()
        .map(|step| step["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["a1", "a2", "a3"]);
    assert_eq!(ledger[0]["late_after"], json!(["a2", "a3"]));
    assert_eq!(ledger[1]["late_after"], json!(["a3"]));
    assert_eq!(ledger[2]["late_after"], json!([]));
    assert_eq!(ledger[0]["changes"], json!([]));
    assert_eq!(ledger[1]["in_stats"], false);
    assert_eq!(ledger[1]["differences"], json!({"payout": "2.5"}));
    assert_eq!(
        ledger[2]["sums"],
        json!({"num": "-1", "payout": "-10", "revenue": "-20"})
    );
    assert_eq!(
        ledger[2]["changes"],
        json!([{"field": "status", "from": "approved", "to": "rejected"},
               {"field": "payout", "from": "12.5", "to": "0"},
               {"field": "revenue", "from": "20", "to": "0"},
               {"field": "net_num", "from": "1", "to": "0"},
               {"field": "net_payout", "from": "12.5", "to": "0"},
               {"field": "net_revenue", "from": "20", "to": "0"}])
    );
    // A blank of a3 and of a2 overwrites nothing.
    assert_eq!(
        now(&record, "ip"),
        [json!("hidden"), json!("adjustment"), json!("a2")]
    );
    assert_eq!(
        now(&record, "status"),
        [json!("rejected"), json!("adjustment"), json!("a3")]
    );
    assert_eq!(
        now(&record, "user_agent"),
        [json!("hidden"), json!("original"), json!("c")]
    );
    assert_eq!(
        now(&record, "payout"),
        [json!("0"), json!("net"), Value::Null]
    );
    assert_eq!(
        now(&record, "refer"),
        [Value::Null, json!("blank"), Value::Null]
    );
    assert_eq!(record["warnings"], json!([]));
    // It is what the view says.
    let view = desk
        .database
        .rows("select status, trim_scale(payout), trim_scale(net_revenue), ip from conversions");
    assert_eq!(view.await, ["rejected|0|0|198.51.100.4"]);
}

#[tokio::test]
async fn what_may_be_about_a_person_is_shown_on_demand_alone() {
    let desk = out_of_order().await;
    let personal = ["203.0.113.9", "198.51.100.4", "Browser/9", "partner-text"];
    for args in [&["r"][..], &["r", "--json"]] {
        let ended = desk.explain(args);
        assert!(
            !personal.iter().any(|value| ended.text().contains(value)),
            "{}",
            ended.text()
        );
        assert!(ended.text().contains("hidden"));
    }
    let ended = desk.explain(&["r", "--json", "--personal"]);
    assert!(
        personal.iter().all(|value| ended.text().contains(value)),
        "{}",
        ended.text()
    );
    let ended = desk.explain(&["r", "--personal"]);
    assert!(
        ended.text().contains("203.0.113.9 → 198.51.100.4"),
        "{}",
        ended.text()
    );
    assert!(!ended.text().contains("hidden"), "{}", ended.text());
}

#[tokio::test]
async fn the_rule_of_each_value() {
    let mut desk = Desk::new().await;
    desk.come(&[
        json!({"event_id": "s", "action": "conversion", "status": "pending", "payout": 5, "revenue": 8}),
        // It names the event_id of an original without a tune_event_id.
        update("u1", "s", json!({"adjustment_sequence_id": 1, "status": "approved", "num": 1, "payout": 5, "revenue": 8})),
        update("u2", "s", json!({"adjustment_sequence_id": 2, "status": "rejected", "num": -1, "payout": -5, "revenue": -8,
            "current_payout": 0, "current_revenue": "1.10"})),
    ])
    .await;
    let record = desk.record("s");
    assert_eq!(record["original"]["counts"], false);
    let changes = |n: usize, field: &str| {
        let changes = record["ledger"][n]["changes"].as_array().unwrap().clone();
        let change = changes.into_iter().find(|change| change["field"] == field);
        change.map(|change| [change["from"].clone(), change["to"].clone()])
    };
    assert_eq!(
        changes(0, "status"),
        Some([json!("pending"), json!("approved")])
    );
    assert_eq!(
        changes(1, "status"),
        Some([json!("approved"), json!("rejected")])
    );
    // Born pending it adds nothing; its approval does.
    assert_eq!(changes(0, "net_payout"), Some([json!("0"), json!("5")]));
    assert_eq!(changes(0, "payout"), None);
    assert_eq!(changes(1, "revenue"), Some([json!("8"), json!("1.1")]));
    assert_eq!(
        now(&record, "payout"),
        [json!("0"), json!("current"), json!("u2")]
    );
    assert_eq!(
        now(&record, "net_num"),
        [json!("0"), json!("net"), Value::Null]
    );
    assert_eq!(record["warnings"], json!([]));
    let text = desk.text("s");
    assert!(
        text.contains("nothing to the totals: it was born pending"),
        "{text}"
    );
    assert!(
        text.contains("from adjustment u2, its current_revenue"),
        "{text}"
    );
}
