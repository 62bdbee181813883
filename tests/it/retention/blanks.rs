//! Blanking what may be about a person.

use std::process::Stdio;
use std::time::Duration;

use hydrant::config::{PartitionBy, Retention};
use hydrant::store::retention::Action;
use hydrant::store::{Settings, Store};
use serde_json::{Value, json};
use sqlx::Executor;

use super::{PERSON, age, hydrant, personal, prepared, retain, table, write};
use crate::support::store::{click, date};
use crate::support::{Database, database};
use crate::verify::failing;

/// Where it is: every row as JSON.
async fn traces(db: &Database, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for table in [
        "events",
        "adjustments",
        "record_patches",
        "event_variants",
        "conversions",
    ] {
        let sql =
            format!("select '{table}' from {table} t where to_jsonb(t)::text like '%{what}%'");
        found.extend(db.rows(&sql).await);
    }
    found
}

fn with_person(mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    for name in [
        "ip",
        "user_agent",
        "aff_sub",
        "google_aid",
        "transaction_id",
        "an_unknown_field",
    ] {
        fields.insert(name.to_owned(), json!(format!("{PERSON} {name}")));
    }
    event
}

/// A click, its other content, a conversion and two adjustments of a day. All of them name somebody.
fn facts(id: &str, day: &str) -> Vec<Value> {
    let of = |event_id: &str, rest: Value| {
        let mut event = json!({"event_id": format!("{event_id}{id}"), "date": day, "country_code": "NL", "currency": "EUR",
                               "offer_id": 7, "status": "approved"});
        event
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        with_person(event)
    };
    let record = format!("r{id}");
    let update = |sequence: u32, amount: u32| {
        json!({"action": "conversion", "adjust_action": "update", "tune_event_id": record, "payout": "0.5",
               "adjustment_sequence_id": sequence, "adjustment_timestamp": 1_790_000_000, "current_payout": amount, "note": "why"})
    };
    vec![
        of("click", json!({"action": "click"})),
        of("click", json!({"action": "click", "offer_id": 8})),
        of(
            "conversion",
            json!({"action": "conversion", "tune_event_id": record, "payout": 1, "current_payout": 1}),
        ),
        of("one", update(1, 2)),
        of("two", update(2, 2)),
    ]
}

/// What must stay as it is.
async fn everything_else(db: &Database) -> Vec<String> {
    db.rows(
        "select event_id, content_hash, offer_id, payout, country_code, status, received_at from events
         union all select event_id, content_hash, offer_id, payout, country_code, status, received_at from adjustments
         union all select event_id, content_hash, offer_id, payout, country_code, status, received_at from event_variants
         order by 1, 2",
    )
    .await
    .into_iter()
    .chain(db.rows("select * from stats order by date, offer_id").await)
    .chain(db.rows("select record_id, note, status, payout, net_payout, adjustment_count from conversions order by 1").await)
    .collect()
}

/// The numbers of the checks that found a defect: the facts here are odd enough for the soft ones.
fn defects(db: &Database) -> Vec<String> {
    let soft = ["V7", "V8", "V9", "V11"];
    let (mut numbers, _) = failing(db);
    numbers.retain(|number| !soft.contains(&number.as_str()));
    numbers
}

#[tokio::test]
async fn old_facts_name_nobody_and_are_otherwise_what_they_were() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let (old, new) = (date(&db, -40).await, date(&db, -29).await);
    let all = [facts("-old", &old), facts("-new", &new)].concat();
    write(&settings, &all).await;
    let before = everything_else(&db).await;
    let blank = |table: &str, rows: u64| (Action::Blank, table.to_owned(), rows);
    let steps = [
        blank(&table(&old), 1),
        blank("events_conversions", 1),
        blank("adjustments", 2),
        blank("event_variants", 1),
    ];
    let policy = personal(28, &[]);
    assert_eq!(retain(&settings, &policy, true).await, steps);
    assert_eq!(traces(&db, PERSON).await.len(), 14);
    assert_eq!(retain(&settings, &policy, false).await, steps);
    assert_eq!(everything_else(&db).await, before);
    let of_new = [
        "events",
        "events",
        "adjustments",
        "adjustments",
        "record_patches",
        "event_variants",
        "conversions",
    ];
    assert_eq!(traces(&db, PERSON).await, of_new);
    let of_old = "select count(*) from conversions where record_id = 'r-old'
        and (ip, user_agent, aff_sub, transaction_id, extra) is null";
    assert_eq!(db.rows(of_old).await, ["1"]);
    assert_eq!(
        db.rows("select kind, current_date - before, current_date - complete_before, kept from retention_marks").await,
        ["personal|29|29|{}"]
    );
    assert_eq!(defects(&db), [""; 0]);

    // Whatever comes again is known.
    let tally = write(&settings, &all).await;
    assert_eq!(
        (
            tally.duplicates,
            tally.variants,
            tally.stored,
            tally.adjustments
        ),
        (10, 0, 0, 0)
    );
    let ended = hydrant(&db, &["rebuild", "--all"], &[]);
    assert_eq!(
        ended.text(),
        "looked at 2 records: 0 folded again, 0 ids settled anew\n"
    );
    assert_eq!(retain(&settings, &policy, false).await, []);
    let ended = hydrant(&db, &["explain", "n", "r-old", "--personal"], &[]);
    assert_eq!(
        ended
            .text()
            .matches("by retention: what may be about a person is gone")
            .count(),
        3,
        "{}",
        ended.text()
    );
    let ended = hydrant(&db, &["explain", "n", "r-new", "--json"], &[]);
    assert!(
        !ended.text().contains("\"blanked\": true"),
        "{}",
        ended.text()
    );
}

#[tokio::test]
async fn verify_still_finds_what_somebody_changed() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    write(&settings, &facts("", &date(&db, -40).await)).await;
    retain(&settings, &personal(28, &[]), false).await;
    assert_eq!(defects(&db), [""; 0]);
    // A row that has values cannot have been blanked.
    db.rows("update events_conversions set ip = '192.0.2.1'")
        .await;
    assert_eq!(defects(&db), ["V10"]);
    db.rows("update events_conversions set ip = null").await;
    db.rows("update adjustments set payout = 9 where event_id = 'one'")
        .await;
    assert_eq!(defects(&db), ["V2", "V3", "V4"]);
}

#[tokio::test]
async fn what_comes_late_is_blanked_by_the_next_run() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let old = date(&db, -40).await;
    let policy = personal(28, &[]);
    write(&settings, &facts("", &old)).await;
    retain(&settings, &policy, false).await;
    // As if that had been some days ago: an event of the same day, another content of one, and an adjustment.
    db.rows("update retention_marks set looked_at = looked_at - interval '3 days'")
        .await;
    super::age(&db).await;
    let another =
        with_person(json!({"event_id": "click", "action": "click", "date": old, "offer_id": 9}));
    let mut update = facts("", &old).pop().unwrap();
    update["event_id"] = json!("three");
    write(
        &settings,
        &[with_person(click("late", &old)), another, update],
    )
    .await;
    assert_ne!(traces(&db, PERSON).await, [""; 0]);
    retain(&settings, &policy, false).await;
    assert_eq!(traces(&db, PERSON).await, [""; 0]);
    assert_eq!(defects(&db), [""; 0]);
}

#[tokio::test]
async fn columns_that_are_kept_stay_until_they_are_kept_no_longer() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::None).await;
    write(&settings, &facts("", &date(&db, -40).await)).await;
    retain(
        &settings,
        &personal(28, &["transaction_id", "aff_sub"]),
        false,
    )
    .await;
    let kept = "select ip, aff_sub, transaction_id, extra from conversions";
    let values = format!("NULL|{PERSON} aff_sub|{PERSON} transaction_id|NULL");
    assert_eq!(db.rows(kept).await, [values]);
    assert_eq!(defects(&db), [""; 0]);
    retain(&settings, &personal(28, &["aff_sub"]), false).await;
    assert_eq!(
        db.rows(kept).await,
        [format!("NULL|{PERSON} aff_sub|NULL|NULL")]
    );
    assert_eq!(
        db.rows("select kept from retention_marks").await,
        ["{aff_sub}"]
    );
    assert_eq!(defects(&db), [""; 0]);
    retain(&settings, &personal(28, &[]), false).await;
    assert_eq!(traces(&db, PERSON).await, [""; 0]);
}

/// So many adjusted conversions of an old day, each of which names somebody.
async fn many(settings: &Settings, day: &str, count: usize) {
    for ids in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let all: Vec<Value> = ids
            .iter()
            .flat_map(|id| facts(&id.to_string(), day))
            .collect();
        write(settings, &all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_is_gone_on_with() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    many(&settings, &date(&db, -40).await, 3_000).await;
    let before = everything_else(&db).await;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .arg("retention")
        .env_clear()
        .env("DATABASE_URL", &db.url)
        .env("HYDRANT__RETENTION__PERSONAL_DAYS", "28")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let blank = "select count(*) > 0 from adjustments where ip is null";
    crate::support::store::until(&db, blank, &["t"]).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(
        traces(&db, PERSON).await,
        [""; 0],
        "it was faster than the test"
    );
    assert_eq!(everything_else(&db).await, before);
    assert_eq!(defects(&db), [""; 0]);
    // The server may still be at the last statement of the session that is gone.
    crate::support::wait_until("another may begin", 20, async || {
        let ended = hydrant(&db, &["retention"], &[("personal_days", "28")]);
        ended.status == 0
    })
    .await;
    assert_eq!(traces(&db, PERSON).await, [""; 0]);
    assert_eq!(everything_else(&db).await, before);
    assert_eq!(defects(&db), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_and_the_fold_go_on_meanwhile() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let (old, today) = (date(&db, -40).await, date(&db, 0).await);
    many(&settings, &old, 1_000).await;
    // Adjustments of the very records that are being folded again, old facts once more, and new clicks.
    let writer = {
        let (settings, old) = (settings.clone(), old.clone());
        async move {
            let mut store = Store::new(settings);
            for n in 0..40 {
                let mut update = facts(&n.to_string(), &old).pop().unwrap();
                update["event_id"] = json!(format!("more{n}"));
                let mut all = facts(&(n * 25).to_string(), &old);
                all.extend([update, click(&format!("new{n}"), &today)]);
                let batch = crate::support::store::batch(&all);
                let written = store.write("test", &batch).await.unwrap();
                assert_eq!((written.tally.stored, written.tally.adjustments), (1, 1));
            }
            store.close().await;
        }
    };
    let policy = personal(28, &[]);
    let (_, ()) = tokio::join!(retain(&settings, &policy, false), writer);
    let payouts = "select count(*), sum(net_payout) from conversions";
    assert_eq!(db.rows(payouts).await, ["1000|2020.0"]);
    assert_eq!(defects(&db), [""; 0]);
    retain(&settings, &policy, false).await;
    assert_eq!(traces(&db, PERSON).await, [""; 0]);
    assert_eq!(defects(&db), [""; 0]);
}

#[tokio::test]
async fn a_row_that_others_hold_is_left_for_later() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    write(&settings, &facts("", &date(&db, -40).await)).await;
    let mut other = db.connect().await;
    other
        .execute("begin; select from events_conversions for update")
        .await
        .unwrap();
    let ended = tokio::time::timeout(
        Duration::from_secs(20),
        tokio::task::spawn_blocking({
            let url = db.url.clone();
            move || {
                let variables = [
                    ("DATABASE_URL", url.as_str()),
                    ("HYDRANT__RETENTION__PERSONAL_DAYS", "28"),
                ];
                crate::support::program::run(&["retention"], &variables, b"")
            }
        }),
    );
    let ended = ended.await.unwrap().unwrap();
    assert_eq!(ended.status, 1, "{}", ended.text());
    assert!(
        ended.text().contains("kept events_conversions"),
        "{}",
        ended.text()
    );
    assert_eq!(traces(&db, PERSON).await, ["events", "conversions"]);
    other.execute("rollback").await.unwrap();
    retain(&settings, &personal(28, &[]), false).await;
    assert_eq!(traces(&db, PERSON).await, [""; 0]);
}

#[tokio::test]
async fn a_dry_run_blanks_nothing_that_it_would_delete() {
    for layout in [PartitionBy::Day, PartitionBy::None] {
        let db = database().await;
        let settings = prepared(&db, layout).await;
        let (older, old) = (date(&db, -45).await, date(&db, -40).await);
        write(&settings, &facts("1", &older)).await;
        write(&settings, &facts("2", &old)).await;
        age(&db).await;
        let policy = Retention {
            events_days: Some(42),
            ..personal(30, &[])
        };
        let told = retain(&settings, &policy, true).await;
        let clicks = |day: &str| match layout {
            PartitionBy::Day => table(day),
            PartitionBy::None => "events_default".to_owned(),
        };
        let gone = match layout {
            PartitionBy::Day => (Action::Drop, clicks(&older), 0),
            PartitionBy::None => (Action::Delete, clicks(&older), 1),
        };
        assert!(told.contains(&gone), "{told:?}");
        let blanked = told
            .iter()
            .filter(|(action, of, _)| *action == Action::Blank && of.starts_with("events_"))
            .map(|(_, of, rows)| (of.clone(), *rows));
        let expected = [(clicks(&old), 1), ("events_conversions".to_owned(), 2)];
        assert_eq!(blanked.collect::<Vec<_>>(), expected, "{told:?}");
    }
}
