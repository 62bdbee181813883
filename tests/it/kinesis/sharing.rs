//! Several daemons, and shards that come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hydrant::config::PartitionBy;
use hydrant::store::leases::Leases;
use hydrant::store::positions::Checkpoint;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{bare, conversions, positions, records, until_empty, until_stored};
use crate::support::{Daemon, LocalStream, Stream, conversion, database, store, wait_until};

const SHARDS: &str = "hydrant_shards";
const UNREAD: &str = "hydrant_unread_shards";

async fn until_it_reads(daemon: &Daemon, shards: f64) {
    wait_until("a daemon reads its share", 30, async || {
        daemon.metric(SHARDS, "source=\"one\"").await == shards
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_share_a_stream_and_one_takes_over_from_the_dead() {
    let (stream, database) = (Arc::new(LocalStream::start(4).await), database().await);
    let settings = stream.settings("one");
    let first = Daemon::start(&database.url, &[], &settings).await;
    until_it_reads(&first, 4.0).await;
    let stop = CancellationToken::new();
    let putting = tokio::spawn({
        let (stream, stop) = (Arc::clone(&stream), stop.clone());
        async move {
            let mut put = 0;
            while !stop.is_cancelled() {
                stream.put(&records(&conversions(put..put + 20))).await;
                put += 20;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            put
        }
    });
    let second = Daemon::start(&database.url, &[], &settings).await;
    until_it_reads(&second, 2.0).await;
    until_it_reads(&first, 2.0).await;
    let killed = Instant::now();
    first.kill();
    until_it_reads(&second, 4.0).await;
    let took = killed.elapsed();
    // A lease is for five seconds. The rest is for this machine, which may be busy.
    assert!(took < Duration::from_secs(5 + 15), "{took:?}");
    assert!(
        took > Duration::from_secs(2),
        "a lease was not kept: {took:?}"
    );
    stop.cancel();
    let put = putting.await.unwrap();
    until_stored(&database, put).await;
    let sql = "select count(distinct event_id), sum(net_payout) = 1.5 * count(*) from conversions";
    assert_eq!(database.rows(sql).await, [format!("{put}|t")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_no_daemon_has_room_for_are_told() {
    let (stream, database) = (Stream::start(5).await, database().await);
    let settings = stream.settings("one") + "source.one.workers = 2\n";
    let daemons = [
        Daemon::start(&database.url, &[], &settings).await,
        Daemon::start(&database.url, &[], &settings).await,
    ];
    for daemon in &daemons {
        until_it_reads(daemon, 2.0).await;
        wait_until("it is told", 60, async || {
            let (status, said) = daemon.ready().await;
            let unread = daemon.metric(UNREAD, "source=\"one\"").await;
            let logged = daemon.log().contains("shards are read by nobody");
            status == 503 && said.contains("shards that nobody has read") && unread == 1.0 && logged
        })
        .await;
    }
    let third = Daemon::start(&database.url, &[], &settings).await;
    until_it_reads(&third, 1.0).await;
    for daemon in &daemons {
        daemon.until_ready(30).await;
        assert_eq!(daemon.metric(UNREAD, "source=\"one\"").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_handed_over_when_a_daemon_stops() {
    let (stream, database) = (Stream::start(2).await, database().await);
    // Only what is given back can be taken in the time of this test.
    let settings = stream.settings("one") + "source.one.lease_secs = 300\n";
    let first = Daemon::start(&database.url, &[], &settings).await;
    until_it_reads(&first, 2.0).await;
    let second = Daemon::start(&database.url, &[], &settings).await;
    until_it_reads(&second, 1.0).await;
    until_it_reads(&first, 1.0).await;
    let ended = first.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let stopped = Instant::now();
    until_it_reads(&second, 2.0).await;
    assert!(stopped.elapsed() < Duration::from_secs(60));
    stream.put(0, &bare(&conversion("0")));
    stream.put(1, &bare(&conversion("1")));
    until_stored(&database, 2).await;
    let ended = second.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let sql = "select count(*) from positions where owner is null and lease_until is null";
    assert_eq!(database.rows(sql).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_read_after_its_parents_by_whichever_daemon() {
    let (stream, database) = (Stream::start(2).await, database().await);
    let mut id = 0;
    let mut put = |shard: usize, count: usize| {
        for event in conversions(id..id + count) {
            stream.put(shard, &bare(&event));
        }
        id += count;
    };
    // More than one read of each parent; 0 is split, and one of its children merged with 1.
    put(0, 1_500);
    put(1, 1_500);
    let [left, right] = stream.split(0);
    put(left, 10);
    put(right, 10);
    let merged = stream.merge(right, 1);
    put(merged, 10);
    let settings = stream.settings("one");
    let daemons = [(); 2].map(|()| until_empty(&database, &settings));
    for daemon in daemons {
        let ended = daemon.ended(120).await;
        assert_eq!(ended.status, Some(0), "{}", ended.log);
    }
    assert_eq!(database.rows("select count(*) from events").await, ["3030"]);
    let given = stream.given();
    let first = |shard: usize| given.iter().position(|it| *it == shard).unwrap();
    let last = |shard: usize| given.iter().rposition(|it| *it == shard).unwrap();
    for (parent, child) in [(0, left), (0, right), (right, merged), (1, merged)] {
        assert!(last(parent) < first(child), "{parent} before {child}");
    }
    let ended: Vec<String> = positions(&database).await;
    let ended: Vec<&str> = ended
        .iter()
        .map(|row| row.split('|').nth(2).unwrap())
        .collect();
    assert_eq!(ended, ["t", "t", "f", "t", "f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_split_while_it_is_read_goes_on_in_its_children() {
    let (stream, database) = (Stream::start(1).await, database().await);
    let settings = stream.settings("one");
    stream.put(0, &bare(&conversion("0")));
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    until_stored(&database, 1).await;
    let [left, right] = stream.split(0);
    stream.put(left, &bare(&conversion("left")));
    stream.put(right, &bare(&conversion("right")));
    until_stored(&database, 3).await;
    until_it_reads(&daemon, 2.0).await;
    assert_eq!(daemon.ready().await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_for_one_at_a_time_and_its_loser_saves_nothing() {
    let database = database().await;
    let mut writer = store::store(&database).await;
    let settings = store::settings(&database, PartitionBy::Day);
    let leases = |owner: &str, length: Duration| {
        Leases::new(settings.clone(), "s", owner.to_owned(), length)
    };
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(60));
    let (mut slow, mut quick) = (leases("slow", long), leases("quick", long));
    let parts = ["shardId-a".to_owned(), "shardId-b".to_owned()];
    slow.add(&parts, Some("trim_horizon")).await.unwrap();
    quick.add(&parts, Some("at_timestamp:1")).await.unwrap();
    let begins = Some(Some("trim_horizon".to_owned()));
    assert_eq!(slow.take("shardId-a", None).await.unwrap(), begins);
    let seen = quick.renew(&[]).await.unwrap();
    assert_eq!(seen[0].other.as_deref(), Some("slow"));
    let early = quick.take("shardId-a", None).await.unwrap();
    assert_eq!(early, None, "the lease has not run out");
    leases("slow", short).renew(&parts).await.unwrap();
    wait_until("the lease runs out", 10, async || {
        quick.take("shardId-a", None).await.unwrap().is_some()
    })
    .await;
    assert_eq!(
        slow.take("shardId-a", None).await.unwrap(),
        None,
        "it is another's"
    );
    let seen = slow.renew(&parts).await.unwrap();
    assert!(!seen[0].is_mine);
    assert_eq!(seen[0].other.as_deref(), Some("quick"));
    let mut save = async |owner: &str, position: &str, event: &str| {
        let mut batch = store::batch(&[json!({"event_id": event, "action": "click"})]);
        batch.checkpoint = Some(Checkpoint {
            part: "shardId-a".to_owned(),
            position: position.to_owned(),
            is_ended: false,
            owner: Some(owner.to_owned()),
        });
        writer.write("s", &batch).await.unwrap();
    };
    save("quick", "5", "1").await;
    save("slow", "3", "2").await;
    slow.give_back("shardId-a").await.unwrap();
    let rows = ["shardId-a|5|f|quick", "shardId-b|trim_horizon|f|NULL"];
    assert_eq!(positions(&database).await, rows);
    assert_eq!(
        database.rows("select count(*) from events").await,
        ["2"],
        "events are stored, whoever reads the shard"
    );
    // One that has more may be asked for it.
    let taken = slow.take("shardId-a", Some("quick")).await.unwrap();
    assert_eq!(taken, Some(Some("5".to_owned())));
    // What is found later begins at its beginning.
    slow.add(&["shardId-c".to_owned()], None).await.unwrap();
    let found: BTreeSet<String> = positions(&database).await.into_iter().collect();
    assert!(found.contains("shardId-c|NULL|f|NULL"), "{found:?}");
}
