//! The rollup: view `stats` gives what the facts give, whether it reads them or their sums, whatever happens meanwhile.

mod switching;

use hydrant::config::PartitionBy;
use hydrant::store::rebuild::Rebuild;
use hydrant::store::repartition::repartition;
use hydrant::store::rollup::merge::{Step, merge};
use hydrant::store::rollup::switch;
use hydrant::store::verify::Scope;
use hydrant::store::{Settings, Store};
use serde_json::{Value, json};

use crate::support::store::{click, date, settings};
use crate::support::{Database, database};
use crate::verify::{conversion, failing, good_feed, hydrant, prepared, update, with, write};

/// The rows of `stats` that the facts do not give, and those that it lacks.
const DIFFERENCE: &str = "with expected as (
        select network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency,
            coalesce(sum(num) filter (where action = 'impression'), 0) as impressions,
            coalesce(sum(num) filter (where action = 'click'), 0) as clicks,
            coalesce(sum(num) filter (where action = 'conversion'), 0) as conversions,
            sum(payout) as payout, sum(revenue) as revenue, sum(sale_amount) as sale_amount
        from stats_facts
        group by network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency
    )
    (select 'found', * from stats except all select 'found', * from expected)
    union all (select 'expected', * from expected except all select 'expected', * from stats)";

/// Whether `stats` reads sums.
const READS_SUMS: &str = "select pg_get_viewdef('stats') ~ 'stats_rollup'";

/// Expects that `stats` is what the facts come to, in one snapshot.
///
/// A statement that was planned just before the table of a day was attached does not read it, although it sees what was
/// committed since: then it has sums without their facts. So what differs is asked for once more.
pub async fn expect_right(db: &Database, when: &str) {
    if !db.rows(DIFFERENCE).await.is_empty() {
        let difference = db.rows(DIFFERENCE).await;
        assert_eq!(difference, [""; 0], "{when}");
    }
}

pub async fn reads_sums(db: &Database) -> bool {
    db.rows(READS_SUMS).await == ["t"]
}

pub async fn on(settings: &Settings) {
    assert!(switch::on(settings, |_| {}).await.unwrap().is_some());
}

/// Merges until nothing is left.
pub async fn merge_all(settings: &Settings) {
    let mut connection = settings.connect().await.unwrap();
    loop {
        match merge(&mut connection, settings).await.unwrap() {
            Step::Merged(0) => return,
            Step::Merged(_) | Step::Busy => {}
            Step::NotOn => panic!("the rollup is not on"),
        }
    }
}

/// Events that change every kind of sum: each action and status, with and without each field, and what does not count.
fn all_kinds(id: &str, day: &str) -> Vec<Value> {
    let original = |n: u32, changes: Value| {
        let event = json!({"event_id": format!("{id}{n}"), "tune_event_id": format!("r{id}{n}"), "action": "conversion",
            "date": day, "hour": 5, "offer_id": 1, "affiliate_id": 2, "advertiser_id": 3, "goal_id": 4, "currency": "EUR",
            "payout": "1.25", "revenue": "2.5", "sale_amount": "100.000001"});
        with(event, changes)
    };
    let adjusted = |n: u32, changes: Value| {
        let change = json!({"adjust_action": "update", "num": 0, "payout": "-0.75", "adjustment_sequence_id": n});
        with(original(n, change), changes)
    };
    vec![
        original(1, json!({"status": "approved"})),
        original(2, json!({"status": "pending"})),
        original(3, json!({"status": "rejected"})),
        original(
            4,
            json!({"adjust_action": "create", "status": "pending", "num": 3}),
        ),
        original(
            5,
            json!({"status": "", "num": "0.5", "hour": null, "currency": null}),
        ),
        original(
            6,
            json!({"offer_id": null, "affiliate_id": null, "advertiser_id": null, "goal_id": null}),
        ),
        original(
            7,
            json!({"payout": "999999999999999.999999999999", "revenue": "-0.000000000001", "hour": -1}),
        ),
        original(8, json!({"action": "click", "status": "approved"})),
        original(9, json!({"action": "impression", "num": 1000, "hour": 23})),
        original(
            10,
            json!({"action": "click", "payout": null, "revenue": null, "sale_amount": null}),
        ),
        original(11, json!({"action": "click", "status": "rejected"})),
        adjusted(12, json!({"num": 1, "status": "approved"})),
        adjusted(
            13,
            json!({"num": null, "payout": null, "status": "rejected"}),
        ),
        adjusted(14, json!({"update_stats": false, "payout": 50})),
        adjusted(15, json!({"update_stats": true, "num": -1})),
        adjusted(
            16,
            json!({"action": "click", "tune_event_id": null, "num": -7}),
        ),
    ]
}

#[tokio::test]
async fn every_kind_of_fact_counts_as_in_the_facts() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let days = [date(&db, 0).await, date(&db, -1).await, "1999-12-31".into()];
    write(&settings, 10, &all_kinds("before", &days[0])).await;
    write(&settings, 10, &all_kinds("old", &days[2])).await;
    let before = db.rows("select * from stats order by stats").await;
    on(&settings).await;
    assert!(reads_sums(&db).await);
    assert_eq!(db.rows("select * from stats order by stats").await, before);
    expect_right(&db, "switched on").await;

    for (n, day) in days.iter().enumerate() {
        let events = all_kinds(&format!("since{n}"), day);
        write(&settings, 10, &events).await;
        expect_right(&db, "new facts").await;
        write(&settings, 10, &events).await;
        expect_right(&db, "the same again").await;
    }
    assert_ne!(db.rows("select count(*) from stats_deltas").await, ["0"]);
    merge_all(&settings).await;
    assert_eq!(db.rows("select count(*) from stats_deltas").await, ["0"]);
    expect_right(&db, "merged").await;
    // Each group once, those without hour and currency as well.
    let groups = "select count(*) - count(distinct (network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id,
        currency, action)) from stats_hourly";
    assert_eq!(db.rows(groups).await, ["0"]);
}

#[tokio::test]
async fn a_content_that_wins_takes_the_place_of_the_one_that_loses() {
    let db = database().await;
    let settings = good_feed(&db).await;
    on(&settings).await;
    let today = date(&db, 0).await;
    let rivals = |n: i64| {
        vec![
            with(
                conversion("c1"),
                json!({"offer_id": n, "payout": n, "status": "approved"}),
            ),
            with(
                conversion("c2"),
                json!({"status": "rejected", "sale_amount": n}),
            ),
            with(
                update("u1", "c1", n, "7", "7"),
                json!({"hour": n, "update_stats": n % 2 == 0}),
            ),
            with(click("k1", &today), json!({"offer_id": n})),
            with(click("k2", "1999-12-31"), json!({"affiliate_id": n})),
        ]
    };
    // Dispatched before what is there: they win. Dispatched later: they do not.
    for time in [5, 4, 9, 3] {
        let copied = db.rows("select count(*) from stats_deltas").await;
        write(&settings, time, &rivals(time)).await;
        expect_right(&db, &format!("rivals of {time}")).await;
        let since = db.rows("select count(*) from stats_deltas").await;
        assert_eq!(since == copied, time == 9, "rivals of {time}");
        if time == 4 {
            merge_all(&settings).await;
            expect_right(&db, "merged").await;
        }
    }
    // One batch with several contents of one id, none of them there yet.
    let mut several = vec![click("new", &today)];
    several.push(with(click("new", &today), json!({"offer_id": 9, "num": 2})));
    write(&settings, 12, &several).await;
    expect_right(&db, "several contents at once").await;
    merge_all(&settings).await;
    expect_right(&db, "all merged").await;
}

#[tokio::test]
async fn nothing_is_kept_while_it_is_off() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let today = date(&db, 0).await;
    let kept = "select (select count(*) from stats_hourly), (select count(*) from stats_deltas)";
    write(&settings, 10, &all_kinds("a", &today)).await;
    assert_eq!(db.rows(kept).await, ["0|0"]);
    on(&settings).await;
    write(&settings, 10, &all_kinds("b", &today)).await;
    assert!(switch::off(&settings, false).await.unwrap());
    assert_eq!(db.rows(kept).await, ["0|0"]);
    assert!(!reads_sums(&db).await);
    write(&settings, 10, &all_kinds("c", &today)).await;
    assert_eq!(db.rows(kept).await, ["0|0"]);
    expect_right(&db, "off").await;
    assert!(!switch::off(&settings, false).await.unwrap());
    let mut connection = settings.connect().await.unwrap();
    assert_eq!(
        merge(&mut connection, &settings).await.unwrap(),
        Step::NotOn
    );
}

#[tokio::test]
async fn moving_days_and_settling_ids_keep_it_right() {
    let db = database().await;
    let day = crate::repartition::settings(&db, PartitionBy::Day);
    let none = Settings {
        partition_by: PartitionBy::None,
        ..day.clone()
    };
    prepared(&db, PartitionBy::Day).await;
    let days = [
        date(&db, -3).await,
        date(&db, -2).await,
        date(&db, -1).await,
    ];
    // One id on three days, of which the least stays where days are no more.
    for (time, date) in [(5, &days[0]), (3, &days[1]), (4, &days[2])] {
        write(
            &day,
            time,
            &[
                click("k", date),
                with(click(date, date), json!({"offer_id": 1})),
            ],
        )
        .await;
    }
    on(&day).await;
    let clicks = "select sum(clicks) from stats";
    assert_eq!(db.rows(clicks).await, ["6"]);
    repartition(&none).await.unwrap();
    assert_eq!(db.rows(clicks).await, ["4"]);
    expect_right(&db, "no days").await;
    repartition(&day).await.unwrap();
    expect_right(&db, "days again").await;

    // Its losers may stand in days of their own again: settling them anew lets them.
    for date in &days {
        write(&day, 9, &[click("other", date)]).await;
    }
    let mut rebuild = Rebuild::new(&day, Scope::All, None);
    assert!(rebuild.run(|_| true).await.unwrap());
    assert_eq!(rebuild.settled, 2);
    assert_eq!(db.rows(clicks).await, ["9"]);
    expect_right(&db, "settled anew").await;
    merge_all(&day).await;
    expect_right(&db, "merged").await;
}

#[tokio::test]
async fn one_merges_at_a_time_and_no_writer_waits_for_it() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let today = date(&db, 0).await;
    on(&settings).await;
    write(&settings, 1, &all_kinds("a", &today)).await;
    // A merge that does not end: its transaction has the row of the state, and rows of stats_deltas.
    let mut other = db.connect().await;
    let sql = "begin; select from rollup_state for update; delete from stats_deltas; update stats_hourly set num = num";
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    let mut connection = settings.connect().await.unwrap();
    assert_eq!(merge(&mut connection, &settings).await.unwrap(), Step::Busy);
    let mut store = Store::new(Settings {
        lock_timeout: std::time::Duration::from_secs(1),
        ..settings.clone()
    });
    let batch = crate::support::store::batch(&all_kinds("b", &today));
    store.write("test", &batch).await.unwrap();
    drop(other);
    merge_all(&settings).await;
    expect_right(&db, "after all of it").await;
}

#[tokio::test]
async fn sums_of_dropped_days_stay() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let (today, day) = (date(&db, 0).await, date(&db, -40).await);
    let events = all_kinds("a", &day);
    write(&settings, 10, &events).await;
    on(&settings).await;
    let all = "select * from stats order by stats";
    let before = db.rows(all).await;
    let drop_day = format!(
        "drop table events_{}; insert into retention_marks (kind, before) values ('events', '{today}')",
        day.replace('-', "")
    );
    db.rows(&drop_day).await;
    assert_eq!(db.rows(all).await, before);
    // What was dropped comes again: nobody knows that it was there, so its day is closed. Conversions never are.
    write(&settings, 10, &events).await;
    assert_eq!(db.rows(all).await, before);
    let conversions = "select sum(conversions), sum(clicks) from stats";
    let counted = db.rows(conversions).await;
    write(
        &settings,
        10,
        &[
            with(conversion("late"), json!({"date": day})),
            click("now", &today),
        ],
    )
    .await;
    assert_ne!(db.rows(conversions).await, counted);
    merge_all(&settings).await;
    let (found, _) = failing(&db);
    assert!(!found.contains(&"V14".to_owned()), "{found:?}");
    let kept = db.rows(all).await;
    let rebuilt = hydrant(&db, &["rebuild", "--all"]);
    assert!(!rebuilt.text().contains("mended"), "{}", rebuilt.text());
    assert_eq!(db.rows(all).await, kept);
    // Nothing else has these sums.
    let refused = switch::off(&settings, false).await.unwrap_err().to_string();
    assert!(
        refused.contains(&format!("before {today} were dropped")),
        "{refused}"
    );
    assert_eq!(db.rows(all).await, kept);
    assert!(switch::off(&settings, true).await.unwrap());
    expect_right(&db, "off").await;
}

/// Settings with days.
pub fn with_days(db: &Database) -> Settings {
    settings(db, PartitionBy::Day)
}
