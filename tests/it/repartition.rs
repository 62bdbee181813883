//! `hydrant migrate --partition-by` on a database that holds events already.

use hydrant::config::PartitionBy;
use hydrant::formats::hasoffers::Body;
use hydrant::store::batch::Batch;
use hydrant::store::repartition::{Moved, repartition};
use hydrant::store::{Settings, Store, migrate::migrate};

use crate::support::{Database, database};

pub fn settings(db: &Database, partition_by: PartitionBy) -> Settings {
    Settings {
        options: db.url.parse().unwrap(),
        schema: "public".to_owned(),
        partition_by,
        lock_timeout: std::time::Duration::from_secs(5),
        statement_timeout: std::time::Duration::from_secs(30),
    }
}

/// Stores events of a network as one envelope.
pub async fn write(settings: &Settings, network_id: &str, dispatched: i64, events: &str) {
    let body = format!(
        r#"{{"network_id":"{network_id}","dispatch_timestamp":{dispatched},"data":[{events}]}}"#
    );
    let mut batch = Batch::new(1_000, 1 << 20);
    let mut body = Body::open(body.as_bytes(), 1 << 20, None).unwrap();
    assert!(body.read_into(&mut batch, 0, "m"));
    assert!(batch.rejects().is_empty());
    let mut store = Store::new(settings.clone());
    store.write("test", &batch).await.unwrap();
    store.close().await;
}

fn click(id: &str, day: &str) -> String {
    format!(r#"{{"event_id":"{id}","action":"click","date":"{day}","offer_id":1}}"#)
}

const LEAVES: &str = "select tableoid::regclass, event_id, event_day from events order by 2, 3";

#[tokio::test]
async fn clicks_move_into_days_and_back() {
    let db = database().await;
    let (none, day) = (
        settings(&db, PartitionBy::None),
        settings(&db, PartitionBy::Day),
    );
    migrate(&none).await.unwrap();
    let today = db.rows("select current_date").await.remove(0);
    let yesterday = db.rows("select current_date - 1").await.remove(0);
    let conversion = r#"{"event_id":"c","action":"conversion","date":"2020-01-01"}"#;
    let events = [
        click("a", &today),
        click("b", &yesterday),
        click("old", "1999-01-01"),
        conversion.to_owned(),
    ];
    write(&none, "n", 1, &events.join(",")).await;
    let (day_of_today, day_of_yesterday) = (today.replace('-', ""), yesterday.replace('-', ""));
    assert_eq!(
        db.rows(LEAVES).await,
        [
            format!("events_default|a|{today}"),
            format!("events_default|b|{yesterday}"),
            "events_conversions|c|2020-01-01".to_owned(),
            "events_default|old|1999-01-01".to_owned(),
        ]
    );
    // What the daemon would do with a day that the default partition already holds: leave it there.
    write(&day, "n", 1, &click("a", &today)).await;
    assert_eq!(db.rows("select count(*) from events").await, ["4"]);

    assert_eq!(repartition(&day).await.unwrap(), Moved { rows: 2, days: 2 });
    assert_eq!(
        db.rows(LEAVES).await,
        [
            format!("events_{day_of_today}|a|{today}"),
            format!("events_{day_of_yesterday}|b|{yesterday}"),
            "events_conversions|c|2020-01-01".to_owned(),
            "events_default|old|1999-01-01".to_owned(),
        ]
    );
    assert_eq!(repartition(&day).await.unwrap(), Moved::default());
    write(&day, "n", 1, &events.join(",")).await;
    assert_eq!(
        db.rows("select count(*) from events").await,
        ["4"],
        "all of it is there already"
    );

    // One id with two days: two rows by day, one row and a loser without days.
    write(&day, "n", 0, &click("a", &yesterday)).await;
    assert_eq!(db.rows("select count(*) from events").await, ["5"]);
    let days = db
        .rows("select count(*) from pg_inherits where inhparent = 'events'::regclass")
        .await;
    let moved = repartition(&none).await.unwrap();
    assert_eq!(
        (moved.rows, (moved.days + 2).to_string()),
        (2, days[0].clone())
    );
    assert_eq!(
        db.rows(LEAVES).await,
        [
            format!("events_default|a|{yesterday}"),
            format!("events_default|b|{yesterday}"),
            "events_conversions|c|2020-01-01".to_owned(),
            "events_default|old|1999-01-01".to_owned(),
        ]
    );
    assert_eq!(
        db.rows("select role, event_id, event_day from event_variants")
            .await,
        [format!("original|a|{today}")]
    );
}

/// What lost while there were no days stands in a day of its own once it is delivered again. Back without days it is in one
/// place again, with the least of its times.
#[tokio::test]
async fn a_loser_that_came_again_in_its_own_day_goes_back() {
    let db = database().await;
    let (none, day) = (
        settings(&db, PartitionBy::None),
        settings(&db, PartitionBy::Day),
    );
    migrate(&none).await.unwrap();
    let today = db.rows("select current_date").await.remove(0);
    let yesterday = db.rows("select current_date - 1").await.remove(0);
    for id in ["a", "b"] {
        write(&none, "n", 1, &click(id, &today)).await;
        write(&none, "n", 3, &click(id, &yesterday)).await;
    }
    repartition(&day).await.unwrap();
    write(&day, "n", 4, &click("a", &yesterday)).await;
    write(&day, "n", 0, &click("b", &yesterday)).await;
    repartition(&none).await.unwrap();
    let contents = |table: &str| {
        format!("select event_id, event_day, dispatch_timestamp from {table} order by event_id")
    };
    assert_eq!(
        db.rows(&contents("events_default")).await,
        [format!("a|{today}|1"), format!("b|{yesterday}|0")]
    );
    assert_eq!(
        db.rows(&contents("event_variants")).await,
        [format!("a|{yesterday}|3"), format!("b|{today}|1")]
    );
}
