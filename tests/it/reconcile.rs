//! `hydrant reconcile`: a report that says the same agrees, and one that does not is explained.

mod apart;
mod changes;
mod explained;
mod page;
mod random;

use std::fs;
use std::path::PathBuf;

use hydrant::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{Finished, run, run_on};
use crate::support::store::{come, store, with};
use crate::support::{Database, database};

/// A migrated database, and a folder for reports.
struct Desk {
    database: Database,
    store: Store,
    folder: TempDir,
}

impl Desk {
    async fn new() -> Desk {
        let database = database().await;
        let store = store(&database).await;
        Desk {
            database,
            store,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn come(&mut self, network_id: &str, events: &[Value]) {
        self.dispatched(network_id, 1, events).await;
    }

    async fn dispatched(&mut self, network_id: &str, time: i64, events: &[Value]) {
        come(&mut self.store, network_id, time, events).await;
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("report.csv");
        fs::write(&path, text).unwrap();
        path
    }

    /// Compares with a report of this text.
    fn reconcile(&self, report: &str, args: &[&str]) -> Finished {
        let file = self.file(report);
        let report = ["--report", file.to_str().unwrap()];
        self.run(&[&report, args].concat())
    }

    fn run(&self, args: &[&str]) -> Finished {
        run_on(&self.database, &[&["reconcile"], args].concat())
    }

    /// What it says as JSON; whether it differs is in it.
    #[track_caller]
    fn json(&self, report: &str, args: &[&str]) -> Value {
        let ended = self.reconcile(report, &[args, &["--json"]].concat());
        let found: Value = serde_json::from_slice(&ended.out)
            .unwrap_or_else(|_| panic!("{} {}", ended.status, ended.err));
        let status = i32::from(found["status"] == "differs");
        assert_eq!(ended.status, status, "{}", ended.err);
        found
    }

    /// The sentence of a failure.
    #[track_caller]
    fn refused(&self, report: &str, args: &[&str], status: i32) -> String {
        let ended = self.reconcile(report, args);
        assert_eq!((ended.status, ended.text()), (status, ""), "{}", ended.err);
        ended.err
    }
}

/// An approved conversion of record `r-ID`.
fn conversion(id: &str, more: Value) -> Value {
    with(
        json!({"event_id": id, "tune_event_id": format!("r-{id}"), "action": "conversion", "status": "approved",
               "date": "2026-11-03", "hour": 5, "offer_id": 7, "affiliate_id": 8, "currency": "EUR", "payout": "1.50",
               "revenue": 2, "ip": "203.0.113.77"}),
        more,
    )
}

/// An adjustment of the conversion `of`.
fn update(id: &str, of: &str, more: Value) -> Value {
    with(
        json!({"event_id": id, "tune_event_id": format!("r-{of}"), "action": "conversion", "adjust_action": "update",
               "date": "2026-11-03", "hour": 5, "offer_id": 7, "affiliate_id": 8, "currency": "EUR",
               "adjustment_timestamp": 1_793_750_400}),
        more,
    )
}

#[tokio::test]
async fn it_says_what_agrees_and_what_differs() {
    let mut desk = Desk::new().await;
    desk.come(
        "n",
        &[
            conversion("1", json!({})),
            conversion("2", json!({"date": "2026-11-04", "payout": "1000.10"})),
            update("3", "2", json!({"date": "2026-11-04", "payout": "-0.05"})),
            json!({"event_id": "4", "action": "click", "date": "2026-11-03", "offer_id": 7, "affiliate_id": 8,
                   "currency": "EUR"}),
        ],
    )
    .await;
    let agreeing = "Date,Offer ID,Clicks,Conversions,Payout\n2026-11-03,7,1,1,1.50\n2026-11-04,7,0,1,\"1,000.05\"\nTotal,,1,2,1001.55\n";
    let ended = desk.reconcile(agreeing, &[]);
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(ended.status, 0, "{}{}", ended.text(), ended.err);
    assert_eq!(ended.err, "");
    let file = desk.folder.path().join("report.csv");
    assert_eq!(
        lines[0],
        format!(
            "{}: 2 rows and one of totals, 2026-11-03 to 2026-11-04, by date, offer_id",
            file.display()
        )
    );
    assert!(
        lines[1].starts_with("network n, in the snapshot of 20"),
        "{lines:#?}"
    );
    assert_eq!(
        &lines[3..],
        [
            "SUM          CURRENCY   REPORT  HYDRANT  DIFFERENCE  AGREEING",
            "clicks                       1        1           0         1",
            "conversions                  2        2           0         2",
            "payout                 1001.55  1001.55           0   1001.55",
            "",
            "nothing to show apart: no orphan, pending, rejected, test, update_stats_false, duplicate_original, variant",
            "",
            "agrees  all 2 groups (2 rows of the report)",
        ]
    );

    // A column of money by a name that is not known does not pass for one that agrees.
    let renamed = agreeing.replace("Payout", "Money");
    let note = "note  no column of the report is known as payout or revenue: not compared; --column names one\n";
    assert!(desk.reconcile(&renamed, &[]).text().contains(note));
    let told = desk.reconcile(&renamed, &["--column", "payout=Money"]);
    assert!(!told.text().contains("note"), "{}", told.text());
    let other = desk.reconcile(agreeing, &["--network", "m"]);
    let note = "note  the database has nothing of network m in these days: is it the right one?\n";
    assert!(
        other.status == 1 && other.text().contains(note),
        "{}",
        other.text()
    );

    let differing = agreeing.replace("1.50", "2.00");
    let ended = desk.reconcile(&differing, &[]);
    assert_eq!(ended.status, 1, "{}", ended.err);
    let text = ended.text();
    for line in [
        "payout                 1002.05  1001.55        -0.5   1000.05\n",
        "differs  date 2026-11-03, offer_id 7 (line 2)\n         payout: report 2, Hydrant 1.5, difference -0.5\n",
        "note  the report's row of totals says payout 1001.55, its rows come to 1002.05: is it cut off, or rounded?\n",
        "differs  1 of 2 groups; the other 1 agree (1 rows of the report); hydrant explain n ID tells how a record came to be\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(
        !text.contains("203.0.113.77") && !text.contains('\x1b'),
        "{text}"
    );
    assert_eq!(
        desk.reconcile(&differing, &["--tolerance", "0.5"]).status,
        0
    );
    assert_eq!(
        desk.reconcile(&differing, &["--tolerance", "0.49"]).status,
        1
    );
    assert_eq!(
        desk.reconcile(&differing, &["--column", "payout="]).status,
        0
    );
    assert_eq!(
        desk.reconcile(&differing, &["--since", "2026-11-04"])
            .status,
        0
    );
}

#[tokio::test]
async fn days_networks_and_currencies_must_be_clear() {
    let mut desk = Desk::new().await;
    desk.come("n", &[conversion("1", json!({}))]).await;
    desk.come("m", &[conversion("1", json!({"payout": 3}))])
        .await;
    let report = "Date,Payout\n2026-11-03,1.5\n";
    let told = desk.refused(report, &[], 2);
    assert!(
        told.contains("2 networks in these days: say which with --network, one of m, n"),
        "{told}"
    );
    assert_eq!(desk.reconcile(report, &["--network", "n"]).status, 0);
    let found = desk.json(report, &["--network", "m"]);
    assert_eq!(found["differences"][0]["cells"][0]["difference"], "1.5");
    let found = desk.json(report, &["--network", "o"]);
    assert_eq!(found["differences"][0]["in"], "report");

    desk.come(
        "n",
        &[conversion(
            "2",
            json!({"currency": "USD", "affiliate_id": 9}),
        )],
    )
    .await;
    let told = desk.refused(report, &["--network", "n"], 2);
    assert!(
        told.contains("has amounts in EUR, USD, which TUNE has converted"),
        "{told}"
    );
    let one = ["--network", "n", "--only", "currency=EUR"];
    assert_eq!(desk.reconcile(report, &one).status, 0);
    assert_eq!(
        desk.reconcile(report, &["--network", "n", "--only", "affiliate_id=8"])
            .status,
        0
    );
    let counts = "Date,Conversions\n2026-11-03,2\n";
    assert_eq!(desk.reconcile(counts, &["--network", "n"]).status, 0);

    let by_offer = "Offer ID,Conversions\n7,2\n";
    let told = desk.refused(by_offer, &["--network", "n"], 2);
    assert!(
        told.contains("it does not go by day: say --since and --until"),
        "{told}"
    );
    let days = [
        "--network",
        "n",
        "--since",
        "2026-11-01",
        "--until",
        "2026-11-30",
    ];
    assert_eq!(desk.reconcile(by_offer, &days).status, 0);
    let earlier = [
        "--network",
        "n",
        "--since",
        "2026-10-01",
        "--until",
        "2026-10-31",
    ];
    assert_eq!(desk.reconcile(by_offer, &earlier).status, 1);
}

#[tokio::test]
async fn what_cannot_be_compared_has_a_status_of_its_own() {
    let desk = Desk::new().await;
    let told = desk.refused("Date,Payout\n2026-11-03,\"1,234\"\n", &[], 2);
    assert!(
        told.contains(
            "report.csv: line 2, column \"Payout\": \"1,234\": it could have decimals or thousands"
        ),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
    assert_eq!(desk.run(&["--report", "/nowhere.csv"]).status, 2);
    assert_eq!(desk.run(&[]).status, 2);
    assert_eq!(
        desk.run(&["--changed-since", "2026-11-01", "--column", "payout=x"])
            .status,
        2
    );
    let file = desk.file("Date,Payout\n2026-11-03,1\n");
    let variables = [("DATABASE_URL", "postgres://postgres@127.0.0.1:1/none")];
    let ended = run(
        &["reconcile", "--report", file.to_str().unwrap()],
        &variables,
        b"",
    );
    assert_eq!(ended.status, 3, "{}", ended.err);
}
