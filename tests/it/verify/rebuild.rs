//! `hydrant rebuild`: it mends what is wrong and touches nothing else.

use std::process::Command;

use hydrant::config::PartitionBy;
use hydrant::store::rebuild::Rebuild;
use hydrant::store::repartition::repartition;
use hydrant::store::verify::Scope;
use serde_json::json;
use sqlx::Executor;

use super::{click, conversion, failing, good_feed, hydrant, prepared, update, with, write};
use crate::support::store::{date, settings};
use crate::support::{Database, database, wait_until};

const PATCHES: &str = "select record_id, adjustment_count, last_adjustment_sequence_id, last_adjusted_at, payout, status,
    user_agent from record_patches order by 1";
const XMIN: &str = "select record_id, xmin from record_patches order by 1";

#[track_caller]
fn rebuild(db: &Database, args: &[&str]) -> String {
    let ended = hydrant(db, &[&["rebuild"], args].concat());
    assert_eq!(ended.status, 0, "{}", ended.err);
    ended.text().trim_end().to_owned()
}

#[tokio::test]
async fn broken_patches_are_mended_and_no_others_are_touched() {
    let db = database().await;
    good_feed(&db).await;
    let (patches, versions) = (db.rows(PATCHES).await, db.rows(XMIN).await);
    assert_eq!(patches.len(), 3);
    for break_it in [
        "update record_patches set payout = 9 where record_id = 'r-c2'",
        "update record_patches set status = null, user_agent = 'x', adjustment_count = 7 where record_id = 'r-c2'",
        "delete from record_patches where record_id = 'r-c2'",
    ] {
        db.rows(break_it).await;
        assert_eq!(failing(&db).1, 2);
        assert_eq!(
            rebuild(&db, &["--all"]),
            "looked at 3 records: 1 folded again, 0 ids settled anew"
        );
        assert_eq!(db.rows(PATCHES).await, patches);
        let now = db.rows(XMIN).await;
        assert_eq!((&now[0], &now[2]), (&versions[0], &versions[2]));
        assert_ne!(now[1], versions[1]);
        assert_eq!(failing(&db), (vec![], 0));
    }
    db.rows("insert into record_patches (network_id, record_id, payout) values ('n', 'none', 1)")
        .await;
    rebuild(&db, &["--all"]);
    assert_eq!(db.rows(PATCHES).await, patches);
    // Where all is right nothing is written.
    let versions = db.rows(XMIN).await;
    assert_eq!(
        rebuild(&db, &["--all"]),
        "looked at 3 records: 0 folded again, 0 ids settled anew"
    );
    assert_eq!(db.rows(XMIN).await, versions);
}

#[tokio::test]
async fn it_can_be_told_which_records() {
    let db = database().await;
    good_feed(&db).await;
    let wrong = "select count(*) from record_patches where payout = 9";
    let break_all =
        "update record_patches set payout = 9; update adjustments set received_at = '2020-01-01'";
    let today = date(&db, 0).await;
    for (args, left) in [
        (&["--record", "n", "r-c1"][..], "2"),
        (&["--record", "n", "it's none"], "3"),
        (&["--all", "--after", "n", "r-c1"], "1"),
        (&["--since", "2020-01-01", "--after", "n", "r-c2"], "2"),
        // The originals of two of them came since.
        (&["--since", &today], "1"),
        (&["--since", "2020-01-01"], "0"),
    ] {
        db.rows(break_all).await;
        rebuild(&db, args);
        assert_eq!(db.rows(wrong).await, [left], "{args:?}");
    }
    for args in [
        &["rebuild"][..],
        &["rebuild", "--all", "--record", "n", "r"],
        &["rebuild", "--record", "n"],
    ] {
        assert_eq!(hydrant(&db, args).status, 2, "{args:?}");
    }
}

#[tokio::test]
async fn an_id_may_begin_with_a_hyphen() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let one = with(update("u", "a", 1, "1", "1"), json!({"tune_event_id": -5}));
    write(&settings, 1, &[one]).await;
    for args in [["--record", "n", "-5"], ["--record", "-n", "--all"]] {
        let told = rebuild(&db, &args);
        let looked = usize::from(args[2] == "-5");
        assert!(
            told.starts_with(&format!("looked at {looked} records")),
            "{told}"
        );
    }
}

#[tokio::test]
async fn an_interrupted_run_goes_on_where_it_ended() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let events: Vec<_> = (0..250)
        .map(|n| update(&format!("u{n:03}"), &format!("{n:03}"), 1, "1", "1"))
        .collect();
    write(&settings, 1, &events).await;
    db.rows("update record_patches set payout = 9").await;
    let mut first = Rebuild::new(&settings, Scope::All, None);
    assert!(!first.run(|_| false).await.unwrap());
    assert_eq!((first.records, first.changed), (100, 100));
    assert_eq!(first.position, Some(("n".to_owned(), "r-099".to_owned())));
    let wrong = "select min(record_id), count(*) from record_patches where payout = 9";
    assert_eq!(db.rows(wrong).await, ["r-100|150"]);

    let mut second = Rebuild::new(&settings, Scope::All, first.position);
    assert!(second.run(|_| true).await.unwrap());
    assert_eq!((second.records, second.changed), (150, 150));
    assert_eq!(db.rows(wrong).await, ["NULL|0"]);
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_nothing_half_done() {
    let db = database().await;
    good_feed(&db).await;
    let patches = db.rows(PATCHES).await;
    db.rows("update record_patches set payout = 9").await;
    let mut other = db.connect().await;
    other
        .execute("begin; select from record_patches where record_id = 'r-gone' for update")
        .await
        .unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_hydrant"))
        .args(["rebuild", "--all"])
        .env_clear()
        .env("DATABASE_URL", &db.url)
        .spawn()
        .unwrap();
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    wait_until("it waits for the last lock", 20, async || {
        db.rows(waiting).await == ["1"]
    })
    .await;
    run.kill().unwrap();
    run.wait().unwrap();
    other.execute("rollback").await.unwrap();
    let wrong = "select count(*) from record_patches where payout = 9";
    assert_eq!(db.rows(wrong).await, ["3"]);
    rebuild(&db, &["--all"]);
    assert_eq!(db.rows(PATCHES).await, patches);
    assert_eq!(failing(&db), (vec![], 0));
}

#[tokio::test]
async fn what_cannot_be_folded_is_left_and_told() {
    let db = database().await;
    good_feed(&db).await;
    db.rows("update adjustments set payout = 'NaN' where event_id = 'u3'; update record_patches set payout = 9")
        .await;
    let ended = hydrant(&db, &["rebuild", "--all"]);
    assert_eq!(ended.status, 1);
    assert!(
        ended.err.contains("1 records cannot be folded"),
        "{}",
        ended.err
    );
    let wrong = "select record_id from record_patches where payout = 9";
    assert_eq!(db.rows(wrong).await, ["r-c2"]);
}

/// One id with the contents of two days, which shared a table and share it no more.
async fn days_parted(db: &Database) -> [String; 2] {
    let none = prepared(db, PartitionBy::None).await;
    let days = [date(db, -3).await, date(db, -2).await];
    write(&none, 5, &[click("k", &days[0])]).await;
    write(&none, 3, &[click("k", &days[1])]).await;
    let day = settings(db, PartitionBy::Day);
    assert_eq!(repartition(&day).await.unwrap().rows, 1);
    days
}

const CLICKS: &str = "select event_day, source, dispatch_timestamp from events order by 1, 3";

#[tokio::test]
async fn a_loser_whose_day_got_a_table_of_its_own_takes_its_place() {
    let db = database().await;
    let days = days_parted(&db).await;
    // Only its winner's day was made: the loser's is made by its next click.
    write(
        &settings(&db, PartitionBy::Day),
        9,
        &[click("other", &days[0])],
    )
    .await;
    assert_eq!(failing(&db), (vec!["V6".to_owned()], 2));
    assert_eq!(
        rebuild(&db, &["--all"]),
        "looked at 0 records: 0 folded again, 1 ids settled anew"
    );
    // As if both had come to a database with days; that they count twice is another matter.
    let both = [
        format!("{}|NULL|5", days[0]),
        format!("{}|NULL|9", days[0]),
        format!("{}|NULL|3", days[1]),
    ];
    assert_eq!(db.rows(CLICKS).await, both);
    assert_eq!(db.rows("select count(*) from event_variants").await, ["0"]);
    assert_eq!(failing(&db), (vec!["V13".to_owned()], 2));
}

#[tokio::test]
async fn a_loser_is_compared_with_what_came_to_its_day_since() {
    let db = database().await;
    let days = days_parted(&db).await;
    let day = settings(&db, PartitionBy::Day);
    // Nobody compares it with the other content that waits for this day, and comes before it.
    let late = with(click("k", &days[0]), json!({"source": "late"}));
    write(&day, 7, &[late]).await;
    assert_eq!(failing(&db).0, ["V6", "V13"]);
    rebuild(&db, &["--all"]);
    let both = [format!("{}|NULL|5", days[0]), format!("{}|NULL|3", days[1])];
    assert_eq!(db.rows(CLICKS).await, both);
    let losers = "select event_day, source, dispatch_timestamp from event_variants";
    assert_eq!(db.rows(losers).await, [format!("{}|late|7", days[0])]);
    assert_eq!(failing(&db).0, ["V13"]);
}

#[tokio::test]
async fn a_content_that_is_kept_twice_is_kept_once() {
    let db = database().await;
    let days = days_parted(&db).await;
    let day = settings(&db, PartitionBy::Day);
    write(&day, 7, &[click("k", &days[0])]).await;
    assert_eq!(failing(&db).0, ["V6", "V13"]);
    rebuild(&db, &["--all"]);
    // With the lesser of its times.
    let both = [format!("{}|NULL|5", days[0]), format!("{}|NULL|3", days[1])];
    assert_eq!(db.rows(CLICKS).await, both);
    assert_eq!(db.rows("select count(*) from event_variants").await, ["0"]);
    assert_eq!(failing(&db).0, ["V13"]);
}

#[tokio::test]
async fn a_swap_in_the_ledger_folds_both_records() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    write(
        &settings,
        5,
        &[
            conversion("a"),
            conversion("b"),
            update("u", "a", 1, "1", "2.5"),
        ],
    )
    .await;
    write(&settings, 6, &[update("u", "b", 1, "1", "2.5")]).await;
    db.rows("update event_variants set dispatch_timestamp = 1")
        .await;
    assert_eq!(failing(&db).0, ["V6"]);
    assert_eq!(
        rebuild(&db, &["--record", "n", "r-a"]),
        "looked at 1 records: 0 folded again, 1 ids settled anew"
    );
    let patches = "select record_id, payout from record_patches";
    assert_eq!(db.rows(patches).await, ["r-b|1"]);
    assert_eq!(failing(&db), (vec![], 0));
}
