//! Records that are not as records usually are.

use super::*;

#[tokio::test]
async fn ties_are_told() {
    let mut desk = Desk::new().await;
    let at = |sequence: Option<i64>, time: i64| json!({"adjustment_sequence_id": sequence, "adjustment_timestamp": time});
    desk.come(&[
        update("e", "r", at(Some(4), 9)),
        update("d", "r", at(Some(4), 9)),
        update("z", "r", at(Some(4), 8)),
        update("y", "r", at(None, 99)),
    ])
    .await;
    let record = desk.record("r");
    let placed = |n: usize| {
        (
            record["ledger"][n]["event_id"].clone(),
            record["ledger"][n]["placed_by"].clone(),
        )
    };
    assert_eq!(placed(0), (json!("y"), json!("adjustment_sequence_id")));
    assert_eq!(placed(1), (json!("z"), json!("adjustment_sequence_id")));
    assert_eq!(placed(2), (json!("d"), json!("adjustment_timestamp")));
    assert_eq!(placed(3), (json!("e"), json!("event_id")));
    let text = desk.text("r");
    assert!(text.contains("none: such entries come first"), "{text}");
    assert!(
        text.contains("4, as the one before, and so is its time; its event_id is greater"),
        "{text}"
    );
}

#[tokio::test]
async fn an_orphan_has_no_original_until_it_comes() {
    let mut desk = Desk::new().await;
    desk.come(&[update("a", "r", json!({"payout": 3, "status": "approved"}))])
        .await;
    let record = desk.record("a");
    assert_eq!(
        (&record["kind"], &record["original"]),
        (&json!("orphan"), &Value::Null)
    );
    assert_eq!(
        now(&record, "net_payout"),
        [json!("3"), json!("net"), Value::Null]
    );
    let text = desk.text("r");
    assert!(
        text.contains("an orphan, 1 adjustment without the original"),
        "{text}"
    );
    desk.come(&[
        json!({"event_id": "c", "action": "conversion", "tune_event_id": "r", "payout": 1}),
    ])
    .await;
    let record = desk.record("a");
    assert_eq!(record["kind"], "conversion");
    assert_eq!(record["original"]["late_after"], json!(["a"]));
    assert_eq!(now(&record, "net_payout")[0], "4");
}

#[tokio::test]
async fn a_content_that_lost_is_told_with_why() {
    let mut desk = Desk::new().await;
    let original = |payout: i64| json!({"event_id": "c", "action": "conversion", "tune_event_id": "r", "payout": payout});
    desk.dispatched(20, &[original(5)]).await;
    desk.dispatched(10, &[original(6)]).await;
    desk.dispatched(10, &[update("u", "r", json!({"note": "one"}))])
        .await;
    desk.dispatched(10, &[update("u", "other", json!({"note": "two"}))])
        .await;
    let shown = desk.json("c");
    let variants = &shown["records"][0]["variants"];
    assert_eq!(variants[0]["role"], "original");
    assert_eq!(variants[0]["lost_by"], "dispatch_timestamp");
    assert_eq!(
        variants[0]["differs"],
        json!([{"field": "payout", "lost": "5", "won": "6"}])
    );
    let text = desk.text("c");
    assert!(
        text.contains("its dispatch_timestamp is 20, that of the winner 10: the least wins"),
        "{text}"
    );
    // Both records of a contested adjustment tell of it.
    let both = desk.json("u");
    let records = both["records"].as_array().unwrap();
    assert_eq!(records.len(), 2, "{both}");
    for record in records {
        let told = record["variants"].as_array().unwrap().iter();
        let told: Vec<_> = told.filter(|variant| variant["event_id"] == "u").collect();
        assert_eq!(told.len(), 1, "{record}");
        assert_eq!(told[0]["lost_by"], "content_hash");
        assert_ne!(told[0]["lost"]["record_id"], told[0]["won"]["record_id"]);
    }
    assert!(desk.text("u").starts_with("2 records have that id.\n"));
}

#[tokio::test]
async fn a_content_that_lost_to_one_that_is_gone_is_told() {
    let mut desk = Desk::new().await;
    let original = |payout: i64| json!({"event_id": "c", "action": "conversion", "tune_event_id": "r", "payout": payout});
    desk.dispatched(20, &[original(5)]).await;
    desk.dispatched(10, &[original(6)]).await;
    desk.database.rows("delete from events").await;
    let record = desk.record("c");
    assert_eq!(record["kind"], "variant");
    let variant = &record["variants"][0];
    assert_eq!(
        (&variant["event_id"], &variant["lost"]["dispatch_timestamp"]),
        (&json!("c"), &json!(20))
    );
    assert_eq!(
        (&variant["won"], &variant["lost_by"], &variant["differs"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    let text = desk.text("r");
    assert!(
        text.contains(
            "no content of this id stands in its table: hydrant verify says whether one should"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_no_conversion_is_told_as_well() {
    let mut desk = Desk::new().await;
    desk.come(&[
        json!({"event_id": "k", "action": "click", "date": "2020-01-02", "ip": "203.0.113.9"}),
        json!({"event_id": "k", "action": "conversion", "adjust_action": "update", "num": -3, "date": "2020-01-02"}),
        json!({"event_id": "one", "action": "conversion", "tune_event_id": "r"}),
        json!({"event_id": "two", "action": "conversion", "tune_event_id": "r"}),
    ])
    .await;
    let record = desk.record("k");
    assert_eq!(
        (&record["kind"], &record["original"]["action"]),
        (&json!("click"), &json!("click"))
    );
    assert_eq!(record["standalone"][0]["differences"], json!({"num": "-3"}));
    let record = desk.record("two");
    assert_eq!(record["original"]["event_id"], "one");
    assert_eq!(record["other_originals"][0]["event_id"], "two");
}

#[tokio::test]
async fn a_patch_that_is_not_its_ledger_is_told() {
    let desk = out_of_order().await;
    desk.database
        .rows("update record_patches set payout = 1, status = 'else'")
        .await;
    let told = desk.record("r")["warnings"][0].as_str().unwrap().to_owned();
    assert!(
        told.contains("in status, payout, net_payout: run hydrant verify"),
        "{told}"
    );
}

#[tokio::test]
async fn an_id_may_begin_with_a_hyphen() {
    let mut desk = Desk::new().await;
    desk.come(&[
        json!({"event_id": -5, "action": "conversion", "tune_event_id": "-r"}),
        json!({"event_id": "--json", "action": "click"}),
    ])
    .await;
    assert_eq!(desk.record("-5")["record_id"], "-r");
    assert_eq!(desk.record("-r")["original"]["event_id"], "-5");
    // One that is an option stands behind two hyphens.
    let ended = desk.explain(&["--json", "--", "--json"]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    let help = run(&["explain", "--help"], &[], b"");
    assert!(
        help.text().contains("Usage: hydrant explain"),
        "{}",
        help.text()
    );
}

#[tokio::test]
async fn an_id_that_nothing_has_is_told() {
    let desk = out_of_order().await;
    for args in [&["nobody"][..], &["nobody", "--json"]] {
        let ended = desk.explain(args);
        assert_eq!((ended.status, ended.text()), (1, ""));
        assert!(
            ended.err.starts_with(
                "hydrant: network \"n\" has no event, adjustment or record with the id \"nobody\""
            ),
            "{}",
            ended.err
        );
    }
    assert_eq!(run_on(&desk.database, &["explain", "m", "r"]).status, 1);
    assert_eq!(run_on(&desk.database, &["explain", "n"]).status, 2);
}
