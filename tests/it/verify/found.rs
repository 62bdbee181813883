//! One corruption for each check, and what the feed may do: each is found, with the right exit status.

use serde_json::json;

use super::{ADDRESS, click, conversion, failing, good_feed, hydrant, update, with, write};
use crate::rollup;
use crate::support::store::date;
use crate::support::{Database, database};

/// Gives the view `conversions` another definition.
async fn redefine_conversions(db: &Database, from: &str, to: &str) {
    let definition = db
        .rows("select pg_get_viewdef('conversions')")
        .await
        .remove(0);
    let changed = definition.replace(from, to);
    assert_ne!(definition, changed);
    db.rows(&format!("create or replace view conversions as {changed}"))
        .await;
}

/// What a change by SQL lets the checks find, and that nothing personal is shown.
async fn expect_after(sql: &str, failing_checks: &[&str]) {
    let db = database().await;
    good_feed(&db).await;
    db.rows(sql).await;
    expect(&db, failing_checks, sql);
}

#[track_caller]
fn expect(db: &Database, failing_checks: &[&str], why: &str) {
    let soft = ["V5", "V7", "V8", "V9", "V11"];
    let hard = failing_checks.iter().any(|number| !soft.contains(number));
    let (found, status) = failing(db);
    assert_eq!(found, failing_checks, "{why}");
    assert_eq!(status, if hard { 2 } else { 1 }, "{why}");
    let ended = hydrant(db, &["verify"]);
    assert_eq!(ended.status, status);
    let last = ended.text().lines().last().unwrap();
    let words = if hard {
        "not all is well"
    } else {
        "no defect in the snapshot of "
    };
    assert!(last.starts_with(words), "{last}");
    assert!(
        failing_checks.iter().all(|number| last.contains(number)),
        "{last}"
    );
    assert!(!ended.text().contains(ADDRESS), "{}", ended.text());
}

#[tokio::test]
async fn ids_that_are_there_twice_are_found() {
    expect_after(
        "alter table adjustments drop constraint adjustments_key",
        &["V1"],
    )
    .await;
    expect_after(
        "alter table adjustments drop constraint adjustments_key;
         insert into adjustments select * from adjustments where event_id = 'own';
         alter table events_default drop constraint events_default_key;
         insert into events_default select * from events_default",
        &["V1"],
    )
    .await;
}

#[tokio::test]
async fn wrong_patches_are_found() {
    for set in [
        "status = 'x'",
        "ip = '203.0.113.77'",
        "user_agent = null",
        "session_datetime = session_datetime + interval '1 us'",
        "current_payout = 1.71",
        "adjustment_count = 3",
        "last_adjustment_sequence_id = null",
        "last_adjusted_at = last_adjusted_at + interval '1 us'",
        "last_adjusted_at = 'infinity'",
    ] {
        // V9 has its own opinion of the current payout.
        let also: &[&str] = if set.starts_with("current") {
            &["V2", "V9"]
        } else {
            &["V2"]
        };
        let sql = format!("update record_patches set {set} where record_id = 'r-c1'");
        expect_after(&sql, also).await;
    }
    let sums = &["V2", "V3"];
    expect_after(
        "update record_patches set payout_cents = 'NaN' where record_id = 'r-c1'",
        sums,
    )
    .await;
    let sums = &["V2", "V3", "V4", "V9"];
    expect_after(
        "update record_patches set payout = payout + 0.01 where record_id = 'r-c1'",
        sums,
    )
    .await;
    expect_after(
        "delete from record_patches where record_id = 'r-gone'",
        &["V2", "V3", "V4"],
    )
    .await;
    expect_after(
        "insert into record_patches (network_id, record_id) values ('n', 'none')",
        &["V2"],
    )
    .await;
    // Written by whoever writes 1.70 for 1.7: the same.
    let db = database().await;
    good_feed(&db).await;
    db.rows("update record_patches set current_payout = 1.700, payout = 0.20000 where record_id = 'r-c1'")
        .await;
    assert_eq!(failing(&db), (vec![], 0));
}

#[tokio::test]
async fn views_that_say_something_else_are_found() {
    for (from, to, checks) in [
        (
            "c.payout + COALESCE(p.payout",
            "c.payout - COALESCE(p.payout",
            &["V3", "V4", "V9"][..],
        ),
        ("e.offer_id,", "e.offer_id + 1 as offer_id,", &["V4"]),
    ] {
        let db = database().await;
        good_feed(&db).await;
        redefine_conversions(&db, from, to).await;
        expect(&db, checks, to);
    }
}

#[tokio::test]
async fn variants_that_are_not_settled_are_found() {
    for sql in [
        "update event_variants set dispatch_timestamp = 1 where event_id = 'own'",
        "update event_variants set dispatch_timestamp = 1 where event_id = 'k2'",
        "update events set dispatch_timestamp = null where event_id = 'c3'",
        "delete from adjustments where event_id = 'own'",
        "update event_variants v set content_hash = e.content_hash from events e where e.event_id = 'k1' and v.event_id = 'k1'",
    ] {
        // Its hash is not that of its columns, either.
        let also: &[&str] = if sql.contains("set content_hash") {
            &["V6", "V10"]
        } else {
            &["V6"]
        };
        expect_after(sql, also).await;
    }
    // A day that is dropped takes its winners along, and nobody wants its losers back.
    let db = database().await;
    good_feed(&db).await;
    db.rows("delete from events where event_id = 'k2'").await;
    assert_eq!(failing(&db), (vec![], 0));
}

#[tokio::test]
async fn contents_that_changed_are_found() {
    for sql in [
        "update events set ip = '203.0.113.77' || '.' where event_id = 'k1'",
        "update events set extra = extra || '{\"new\": \"203.0.113.77\"}' where event_id = 'c2'",
        "update events set extra = null where event_id = 'k1'",
        "update adjustments set note = null where event_id = 'own'",
        "update event_variants set source = 'else' where event_id = 'k2'",
        "update events set content_hash = '\\x00' where event_id = 'c1'",
        "alter table events_default disable trigger all; update events_default set partition_day = '1999-12-30'",
    ] {
        // A variant of the day that the row had has lost to nobody any more.
        expect_after(sql, &["V10"]).await;
    }
}

#[tokio::test]
async fn what_the_feed_does_is_found() {
    let today_and_before = async |db: &Database| [date(db, 0).await, date(db, -1).await];
    let early = json!({"event_id": "w", "tune_event_id": "c1", "action": "conversion", "adjust_action": "update"});
    for (events, checks) in [
        (
            vec![with(
                update("u9", "c1", 1, "1", "1"),
                json!({"offer_id": 9, "current_payout": null, "payout": 0, "revenue": 1}),
            )],
            &["V5"][..],
        ),
        (
            vec![with(conversion("c9"), json!({"tune_event_id": "r-c1"}))],
            &["V7"],
        ),
        (vec![early], &["V8"]),
        (
            vec![with(
                update("u9", "c1", 0, "0", "0"),
                json!({"action": "click"}),
            )],
            &["V8"],
        ),
        (vec![update("u9", "c2", 9, "0", "9")], &["V9"]),
        (
            vec![with(
                update("u9", "c2", 9, "0", "1.5"),
                json!({"status": "rejected"}),
            )],
            &["V9"],
        ),
    ] {
        let db = database().await;
        let settings = good_feed(&db).await;
        write(&settings, 12, &events).await;
        expect(&db, checks, &events[0].to_string());
    }
    let db = database().await;
    let settings = good_feed(&db).await;
    let [today, before] = today_and_before(&db).await;
    write(&settings, 12, &[click("kk", &today), click("kk", &before)]).await;
    expect(&db, &["V13"], "two days");
    expect_after(
        "update adjustments set received_at = now() - interval '8 days' where event_id = 'u4'",
        &["V8"],
    )
    .await;
    expect_after(
        "insert into quarantine (scope, reason, payload, payload_sha256, source) values ('body', 'not_gzip', '203.0.113.77', '', 's')",
        &["V11"],
    )
    .await;
}

#[tokio::test]
async fn sums_that_are_not_what_the_facts_come_to_are_found_and_mended() {
    let of_facts = "create or replace view stats as select network_id, date, hour, offer_id, affiliate_id, advertiser_id,
        goal_id, currency, sum(num) as impressions, sum(num) as clicks, sum(num) as conversions, sum(payout) as payout,
        sum(revenue) as revenue, sum(sale_amount) as sale_amount from stats_facts group by 1, 2, 3, 4, 5, 6, 7, 8";
    for (sql, rebuild_mends) in [
        (
            "update stats_hourly set payout = payout + 0.01 where action = 'conversion'",
            true,
        ),
        (
            "update stats_hourly set currency = 'USD' where action = 'conversion'",
            true,
        ),
        ("update stats_hourly set facts = facts + 1", true),
        ("delete from stats_deltas", true),
        ("insert into stats_deltas select * from stats_deltas", true),
        ("delete from stats_hourly where action = 'click'", true),
        (of_facts, false),
    ] {
        let db = database().await;
        let settings = good_feed(&db).await;
        rollup::on(&settings).await;
        write(
            &settings,
            12,
            &[conversion("c9"), update("u9", "c9", 1, "1", "2.5")],
        )
        .await;
        assert_eq!(failing(&db), (vec![], 0));
        db.rows(sql).await;
        expect(&db, &["V14"], sql);
        if rebuild_mends {
            let ended = hydrant(&db, &["rebuild", "--all"]);
            assert!(
                ended.text().contains("sums of stats mended"),
                "{}",
                ended.text()
            );
        } else {
            let ended = hydrant(&db, &["migrate", "--rollup", "on"]);
            assert_eq!(ended.status, 0, "{}", ended.err);
        }
        rollup::expect_right(&db, sql).await;
        assert_eq!(failing(&db), (vec![], 0), "{sql}");
    }
}
