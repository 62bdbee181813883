//! Dropping clicks and impressions.

use std::time::{Duration, Instant};

use hydrant::config::{PartitionBy, Retention};
use hydrant::store::repartition::repartition;
use hydrant::store::retention::Action;
use hydrant::store::verify::{Scope, Snapshot};
use serde_json::{Value, json};
use sqlx::Executor;

use super::{age, events, hydrant, prepared, retain, table, write};
use crate::support::store::{WAITING, click, date, until};
use crate::support::{Database, database};
use crate::verify::failing;

const IDS: &str = "select event_id from events order by 1";
const MARK: &str = "select kind, current_date - before from retention_marks";

async fn digest(db: &Database, settings: &hydrant::store::Settings) -> u128 {
    let mut snapshot = Snapshot::take(settings, Scope::All).await.unwrap();
    let digest = snapshot.digest(&|_| {}).await.unwrap();
    snapshot.close().await;
    let leaves = db.rows("select count(*) from pg_inherits").await;
    digest.all.hash.wrapping_add(leaves[0].parse().unwrap())
}

#[tokio::test]
async fn old_days_are_dropped_and_everything_else_stays() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut days = Vec::new();
    for n in [-40, -30, -29, -1] {
        days.push(date(&db, n).await);
    }
    let conversion =
        json!({"event_id": "c", "action": "conversion", "date": days[0], "tune_event_id": "r"});
    let update = json!({"event_id": "u", "action": "conversion", "adjust_action": "update", "date": days[0],
                        "tune_event_id": "r", "adjustment_sequence_id": 1});
    let another = json!({"event_id": "40", "action": "click", "date": days[0], "offer_id": 7});
    let clicks = ["40", "30", "29", "1"];
    let clicks = clicks.iter().zip(&days).map(|(id, day)| click(id, day));
    let facts: Vec<Value> = clicks.chain([another, conversion, update]).collect();
    write(&settings, &facts).await;

    // They came a moment ago, so their messages may come again.
    let kept = |n: usize| (Action::Keep, table(&days[n]), 0);
    let policy = events(28);
    assert_eq!(retain(&settings, &policy, false).await, [kept(0), kept(1)]);
    assert_eq!(db.rows(MARK).await, [""; 0]);
    age(&db).await;

    let before = digest(&db, &settings).await;
    let gone = [
        (Action::Drop, table(&days[0]), 0),
        (Action::Drop, table(&days[1]), 0),
        (Action::Delete, "event_variants".to_owned(), 1),
    ];
    // Its winner is there until the day is dropped.
    assert_eq!(retain(&settings, &policy, true).await, gone[..2]);
    assert_eq!(digest(&db, &settings).await, before);
    assert_eq!(retain(&settings, &policy, false).await, gone);
    assert_eq!(db.rows(IDS).await, ["1", "29", "c"]);
    assert_eq!(db.rows("select event_id from adjustments").await, ["u"]);
    assert_eq!(db.rows("select count(*) from event_variants").await, ["0"]);
    assert_eq!(
        db.rows("select day::text from late_days").await,
        [days[2].as_str()]
    );
    assert_eq!(db.rows(MARK).await, ["events|29"]);
    assert_eq!(failing(&db), (vec![], 0));
    assert_eq!(retain(&settings, &policy, false).await, []);

    // It came again long after: it is stored, stays while it may come once more, and goes again.
    assert_eq!(write(&settings, &[click("40", &days[0])]).await.stored, 1);
    assert_eq!(retain(&settings, &policy, false).await, [kept(0)]);
    age(&db).await;
    assert_eq!(retain(&settings, &policy, false).await, [gone[0].clone()]);
    assert_eq!(db.rows(IDS).await, ["1", "29", "c"]);
}

#[tokio::test]
async fn a_day_stays_for_28_days_after_what_came_for_it_last() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut days = Vec::new();
    for n in [-20, -2, -1, 0] {
        days.push(date(&db, n).await);
    }
    let clicks: Vec<Value> = days.iter().map(|day| click(day, day)).collect();
    write(&settings, &clicks).await;
    let noted = "select day::text from late_days order by 1";
    assert_eq!(db.rows(noted).await, days[..2]);

    // As if the first day were old already; 27 days after its event came, it still may come again.
    let policy = events(18);
    let kept = [(Action::Keep, table(&days[0]), 0)];
    let came = async |days: u32| {
        let sql = format!("update late_days set last_at = now() - interval '{days} days'");
        db.rows(&sql).await;
    };
    assert_eq!(retain(&settings, &policy, false).await, kept);
    came(27).await;
    assert_eq!(retain(&settings, &policy, false).await, kept);
    came(30).await;
    let dropped = [(Action::Drop, table(&days[0]), 0)];
    assert_eq!(retain(&settings, &policy, false).await, dropped);
    assert_eq!(db.rows(noted).await, days[1..2]);
    assert_eq!(db.rows(IDS).await, days[1..]);
}

#[tokio::test]
async fn a_day_whose_events_came_in_time_goes_when_it_is_old() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let days = [date(&db, -30).await, date(&db, -29).await];
    let clicks: Vec<Value> = days.iter().map(|day| click(day, day)).collect();
    write(&settings, &clicks).await;
    // As if they had come on the day after, of which nothing is noted.
    db.rows(
        "delete from late_days; update events set received_at = event_day + interval '47 hours'",
    )
    .await;
    assert_eq!(
        retain(&settings, &events(28), false).await,
        [(Action::Drop, table(&days[0]), 0)]
    );
    assert_eq!(db.rows(IDS).await, days[1..]);
}

#[tokio::test]
async fn what_came_late_is_known_of_days_that_get_a_table_later() {
    let db = database().await;
    let none = prepared(&db, PartitionBy::None).await;
    let days = [date(&db, -20).await, date(&db, -1).await];
    let clicks: Vec<Value> = days.iter().map(|day| click(day, day)).collect();
    write(&none, &clicks).await;
    let day = crate::support::store::settings(&db, PartitionBy::Day);
    assert_eq!(repartition(&day).await.unwrap().days, 2);
    assert_eq!(
        db.rows("select l.day::text, l.last_at = e.received_at from late_days l join events e on e.event_day = l.day")
            .await,
        [format!("{}|t", days[0])]
    );
}

#[tokio::test]
async fn without_days_old_rows_are_deleted_some_at_a_time() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::None).await;
    let old = date(&db, -40).await;
    db.rows(&format!(
        "insert into events_default (network_id, event_id, record_id, action, event_day, partition_day, content_hash)
         select 'n', 'old' || i, 'old' || i, 'click', '{old}', '{old}', '' from generate_series(1, 12000) i"
    ))
    .await;
    let variant = json!({"event_id": "v", "action": "click", "date": old, "offer_id": 7});
    write(
        &settings,
        &[click("v", &old), variant, click("new", &date(&db, 0).await)],
    )
    .await;
    assert_eq!(retain(&settings, &events(28), false).await, []);
    db.rows("update events_default set received_at = now() - interval '60 days' where event_id <> 'old7'")
        .await;
    db.rows("update event_variants set received_at = now() - interval '60 days'")
        .await;
    assert_eq!(
        retain(&settings, &events(28), false).await,
        [
            (Action::Delete, "events_default".to_owned(), 12_000),
            (Action::Delete, "event_variants".to_owned(), 1)
        ]
    );
    // What came lately may come again, however old it is.
    assert_eq!(db.rows(IDS).await, ["new", "old7"]);
    assert_eq!(db.rows(MARK).await, ["events|29"]);
}

#[tokio::test]
async fn an_event_that_tells_no_day_is_as_old_as_its_arrival() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let dateless = |id: &str| json!({"event_id": id, "action": "click", "ip": "203.0.113.77"});
    write(&settings, &["late", "old", "new"].map(dateless)).await;
    for (id, days) in [("late", 39), ("old", 60)] {
        db.rows(&format!(
            "update events set received_at = now() - interval '{days} days' where event_id = '{id}'"
        ))
        .await;
    }
    let policy = Retention {
        personal_days: Some(30),
        ..events(40)
    };
    retain(&settings, &policy, false).await;
    let left = "select event_id, ip is null from events order by 1";
    assert_eq!(db.rows(left).await, ["late|t", "new|f"]);
    // Some weeks later, although that was looked at before.
    db.rows("update events set received_at = received_at - interval '35 days';
             update retention_marks set looked_at = looked_at - interval '3 days', complete_before = complete_before - 10")
        .await;
    retain(&settings, &policy, false).await;
    assert_eq!(db.rows(left).await, ["new|t"]);
}

#[tokio::test]
async fn old_clicks_of_everflow_go_by_when_they_came() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    for table in ["everflow_clicks", "everflow_impressions"] {
        db.rows(&format!(
            "insert into {table} (network_id, transaction_id, content_hash, received_at)
             values ('1', 'old', '', now() - interval '31 days'), ('1', 'new', '', now() - interval '27 days')"
        ))
        .await;
    }
    db.rows("insert into everflow_other (network_id, event_type, content_hash, received_at) values
             ('1', 'click_variant', '', now() - interval '31 days'), ('1', 'offer', '', now() - interval '31 days')")
        .await;
    let delete = |table: &str| (Action::Delete, table.to_owned(), 1);
    assert_eq!(
        retain(&settings, &events(28), false).await,
        ["everflow_clicks", "everflow_impressions", "everflow_other"].map(delete)
    );
    for table in ["everflow_clicks", "everflow_impressions"] {
        let left = format!("select transaction_id from {table}");
        assert_eq!(db.rows(&left).await, ["new"]);
    }
    assert_eq!(
        db.rows("select event_type from everflow_other").await,
        ["offer"]
    );
    // Of HasOffers nothing was dropped.
    assert_eq!(db.rows(MARK).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_holds_the_drop_up_and_nobody_else() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let (old, today) = (date(&db, -40).await, date(&db, 0).await);
    // Making the partition of a day waits for readers as well.
    write(&settings, &[click("old", &old), click("w0", &today)]).await;
    age(&db).await;
    let mut reader = db.connect().await;
    reader
        .execute("begin; select count(*) from events")
        .await
        .unwrap();
    let dropping = {
        let settings = settings.clone();
        tokio::spawn(async move { retain(&settings, &events(28), false).await })
    };
    until(&db, WAITING, &["1"]).await;
    // While it waits, and between its attempts.
    let mut longest = Duration::ZERO;
    let end = Instant::now() + Duration::from_secs(4);
    let mut written = 1;
    while Instant::now() < end {
        let began = Instant::now();
        write(&settings, &[click(&format!("w{written}"), &today)]).await;
        longest = longest.max(began.elapsed());
        written += 1;
    }
    assert!(!dropping.is_finished());
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    reader.execute("commit").await.unwrap();
    assert_eq!(dropping.await.unwrap(), [(Action::Drop, table(&old), 0)]);
    let count = "select count(*) from events";
    assert_eq!(db.rows(count).await, [written.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_while_days_are_dropped() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let mut old = Vec::new();
    for n in 40..50 {
        old.push(date(&db, -n).await);
    }
    let clicks: Vec<Value> = old.iter().map(|day| click(day, day)).collect();
    write(&settings, &clicks).await;
    age(&db).await;
    // The same store, which knows the days as they were, writes to old and new ones.
    let mut store = hydrant::store::Store::new(settings.clone());
    let today = date(&db, 0).await;
    let writer = {
        let old = old.clone();
        async move {
            for n in 0..100 {
                let late = click(&format!("late{n}"), &old[n % 10]);
                let facts = [click(&format!("new{n}"), &today), late];
                let batch = crate::support::store::batch(&facts);
                store.write("test", &batch).await.unwrap();
            }
            store.close().await;
        }
    };
    let policy = events(28);
    let (dropped, ()) = tokio::join!(retain(&settings, &policy, false), writer);
    let count =
        |prefix: &str| format!("select count(*) from events where event_id like '{prefix}%'");
    assert_eq!(db.rows(&count("new")).await, ["100"]);
    // Whatever day was dropped before something late came for it was made again by that.
    assert_eq!(db.rows(&count("late")).await, ["100"]);
    let dropped: Vec<_> = dropped
        .iter()
        .filter(|step| step.0 == Action::Drop)
        .collect();
    let left = 10 - dropped.len();
    assert_eq!(db.rows(&count("20")).await, [left.to_string()]);
    assert_eq!(failing(&db), (vec![], 0));
}

#[tokio::test]
async fn the_command_says_what_goes_and_what_would() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let old = date(&db, -40).await;
    write(
        &settings,
        &[click("old", &old), click("new", &date(&db, 0).await)],
    )
    .await;
    age(&db).await;
    let ended = hydrant(&db, &["retention"], &[]);
    assert_eq!(
        (ended.status, ended.err.as_str()),
        (
            2,
            "hydrant: everything is kept for ever: set retention.events_days or retention.personal_days\n"
        )
    );
    let days = ("events_days", "27");
    let ended = hydrant(&db, &["retention"], &[days]);
    assert_eq!(ended.status, 2);
    assert!(
        ended
            .err
            .contains("must be at least 28: a message may come again"),
        "{}",
        ended.err
    );

    let days = ("events_days", "28");
    let ended = hydrant(&db, &["retention", "--dry-run"], &[days]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    let begins = format!("would drop {}: some 1 rows, 0.0 MB\n", table(&old));
    assert_eq!(ended.text(), begins);
    let ended = hydrant(&db, &["retention", "--dry-run", "--json"], &[days]);
    let report: Value = serde_json::from_slice(&ended.out).unwrap();
    assert_eq!(report["dry_run"], true);
    assert_eq!(report["events_before"], json!(date(&db, -29).await));
    assert_eq!(report["personal_before"], Value::Null);
    assert_eq!(report["steps"][0]["action"], "drop");
    assert_eq!(report["steps"][0]["table"], json!(table(&old)));
    assert_eq!(db.rows(IDS).await, ["new", "old"]);

    // One at a time.
    let mut other = db.connect().await;
    other
        .execute("begin; lock table retention_marks in share update exclusive mode")
        .await
        .unwrap();
    let ended = hydrant(&db, &["retention"], &[days]);
    assert_eq!(ended.status, 1, "{}", ended.text());
    assert!(
        ended.err.contains("another retention is under way"),
        "{}",
        ended.err
    );
    other.execute("rollback").await.unwrap();

    let ended = hydrant(&db, &["retention"], &[days]);
    assert_eq!(ended.status, 0, "{}", ended.err);
    assert!(
        ended
            .text()
            .starts_with(&format!("dropped {}: some 1 rows", table(&old))),
        "{}",
        ended.text()
    );
    assert_eq!(db.rows(IDS).await, ["new"]);
    let ended = hydrant(&db, &["retention"], &[days]);
    assert_eq!((ended.status, ended.text()), (0, "there is nothing old\n"));
}
