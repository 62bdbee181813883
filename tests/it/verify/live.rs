//! A database that is being written, and two that are compared.

use hydrant::config::PartitionBy;
use serde_json::{Value, json};

use super::{click, conversion, failing, hydrant, prepared, update, with, write};
use crate::support::store::date;
use crate::support::{Counts, Daemon, Database, Queue, body, database, envelope};

/// A message with a conversion and an update of each of so many records, the update first in every other message.
fn message(n: usize, day: &str) -> String {
    let mut events = Vec::new();
    for record in 0..20 {
        let id = format!("c{record}");
        events.push(update(
            &format!("u{record}-{n}"),
            &id,
            n as i64,
            "0.01",
            "1.5",
        ));
        events.push(conversion(&id));
        events.push(with(
            conversion(&format!("{n}-{record}")),
            json!({"note": n}),
        ));
        events.push(click(&format!("k{n}-{record}"), day));
    }
    if n.is_multiple_of(2) {
        events.reverse();
    }
    // The envelope is of a later time each: one id with other contents is settled again and again.
    events.push(with(conversion("rival"), json!({"note": n})));
    body(&envelope(&Value::from(events).to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_of_a_database_that_daemons_write_holds() {
    let (queue, db) = (Queue::start().await, database().await);
    let day = date(&db, -1).await;
    let settings = "source.one.workers = 2\nsource.one.batch_events = 100";
    let first = Daemon::start(&db.url, &[&queue], settings).await;
    let second = Daemon::start(&db.url, &[&queue], settings).await;
    let messages: Vec<String> = (0..600).map(|n| message(n, &day)).collect();
    let sending = async { drop(queue.send(&messages).await) };
    let mut snapshots = 0;
    let verifying = async {
        let mut facts = "0".to_owned();
        loop {
            let (ended, rebuilt) = tokio::task::block_in_place(|| {
                (
                    hydrant(&db, &["verify"]),
                    hydrant(&db, &["rebuild", "--all"]),
                )
            });
            assert_ne!(ended.status, 2, "{}", ended.text());
            assert_ne!(ended.status, 3, "{}", ended.err);
            assert!(
                rebuilt.text().contains(": 0 folded again, 0 ids settled"),
                "{}",
                rebuilt.text()
            );
            let count = db.rows("select count(*) from events").await.remove(0);
            if count != facts && queue.counts().await != Counts::NONE {
                snapshots += 1;
            } else if count == facts && queue.counts().await == Counts::NONE {
                break;
            }
            facts = count;
        }
    };
    tokio::join!(sending, verifying);
    queue.drained(60).await;
    assert!(snapshots >= 2, "{snapshots} snapshots while daemons wrote");
    assert_eq!(first.stop("TERM").await.status, Some(0));
    assert_eq!(second.stop("TERM").await.status, Some(0));
    // 600 cents each, and a current amount that V9 cannot agree with.
    assert_eq!(failing(&db), (vec!["V9".to_owned()], 1));
    assert_eq!(
        db.rows("select count(*), min(payout), max(payout) from record_patches")
            .await,
        ["20|6|6"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_patch_is_mended_beside_writers() {
    let (queue, db) = (Queue::start().await, database().await);
    let still = [
        conversion("still"),
        update("still", "still", 1, "0.25", "1.75"),
    ];
    write(&prepared(&db, PartitionBy::Day).await, 1, &still).await;
    let day = date(&db, -1).await;
    let messages: Vec<String> = (0..600).map(|n| message(n, &day)).collect();
    queue.send(&messages).await;
    let settings = "source.one.workers = 2\nsource.one.batch_events = 100";
    let daemon = Daemon::start(&db.url, &[&queue], settings).await;
    let count = async || db.rows("select count(*) from events").await;
    let mut beside = 0;
    while queue.counts().await != Counts::NONE {
        let before = count().await;
        // One that nobody writes to, and one that the daemon folds again itself all the time.
        for record in ["r-still", "r-c0"] {
            db.rows(&format!(
                "update record_patches set payout = payout + 7 where record_id = '{record}'"
            ))
            .await;
        }
        let rebuilt = tokio::task::block_in_place(|| hydrant(&db, &["rebuild", "--all"]));
        assert_eq!(rebuilt.status, 0, "{}", rebuilt.err);
        assert!(
            !rebuilt.text().contains(": 0 folded again"),
            "{}",
            rebuilt.text()
        );
        let ended = tokio::task::block_in_place(|| hydrant(&db, &["verify"]));
        assert!(ended.status < 2, "{}{}", ended.text(), ended.err);
        beside += u32::from(count().await != before);
    }
    assert!(beside > 0, "nothing was written meanwhile");
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
    assert_eq!(failing(&db), (vec!["V9".to_owned()], 1));
    let sums = "select record_id, payout from record_patches where record_id in ('r-c0', 'r-still') order by 1";
    assert_eq!(db.rows(sums).await, ["r-c0|6", "r-still|0.25"]);
}

fn digest(db: &Database, args: &[&str]) -> Vec<String> {
    let ended = hydrant(db, &[&["verify", "--digest"], args].concat());
    assert_eq!(ended.status, 0, "{}", ended.err);
    ended.text().lines().map(str::to_owned).collect()
}

/// The lines that only one of the two has.
fn difference(a: &[String], b: &[String]) -> Vec<String> {
    let only = a.iter().filter(|line| !b.contains(line));
    only.map(|line| {
        line.split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
    })
    .collect()
}

#[tokio::test]
async fn databases_with_the_same_facts_have_one_digest() {
    let (one, other) = (database().await, database().await);
    let (a, b) = (
        prepared(&one, PartitionBy::Day).await,
        prepared(&other, PartitionBy::None).await,
    );
    let today = date(&one, 0).await;
    let extra = json!({"b": 1, "aa": {"y": 2, "x": [1.0]}});
    let events = [
        with(conversion("c1"), extra.clone()),
        update("u1", "c1", 1, "0.25", "1.75"),
        update("u2", "c1", 2, "-0.05", "1.7"),
        click("k1", &today),
        with(with(conversion("c1"), extra), json!({"note": "other"})),
    ];
    for event in &events {
        write(&a, 3, std::slice::from_ref(event)).await;
    }
    let mut reversed = events.to_vec();
    reversed.reverse();
    reversed.extend(events.clone());
    write(&b, 3, &reversed).await;
    let expected = digest(&one, &[]);
    assert_eq!(digest(&other, &[]), expected);
    let count = |line: &String| {
        line.split_whitespace()
            .nth(2)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(
        expected.iter().map(count).collect::<Vec<_>>(),
        [2, 1, 1, 1, 1, 6]
    );

    for (sql, line) in [
        (
            "update adjustments set payout = payout + 0.01 where event_id = 'u1'",
            "adjustments 2026-03-04 2",
        ),
        (
            "update record_patches set payout = payout + 0.01",
            "record_patches 2026-09-21 1",
        ),
        (
            "update events set extra = '{\"b\": 2}' where extra is not null",
            "events 2026-03-04 1",
        ),
        (
            "update event_variants set dispatch_timestamp = 2",
            "event_variants 2026-03-04 1",
        ),
    ] {
        let before = digest(&one, &[]);
        one.rows(sql).await;
        assert_eq!(
            difference(&digest(&one, &[]), &before),
            [line, "all - 6"],
            "{sql}"
        );
    }
    let since = digest(&other, &["--since", &today]);
    assert_eq!(
        since[0].split_whitespace().take(2).collect::<Vec<_>>(),
        ["events", &today]
    );
    let all: Value =
        serde_json::from_slice(&hydrant(&other, &["verify", "--digest", "--json"]).out).unwrap();
    assert_eq!(all["all"]["rows"], 6);
    assert_eq!(all["days"][0]["table"], "adjustments");
}
