//! A stream of Kinesis as a source: what lands, where it goes on, and who reads what.

mod check;
mod sharing;

use std::time::Duration;

use crate::support::{
    Daemon, Database, LocalStream, Postgres, Queue, Stop, Stream, body, click, conversion,
    database, envelope, gzip, wait_until,
};

/// An event as a record holds it.
fn bare(event: &str) -> String {
    event.replacen('{', r#"{"network_id":"acme","#, 1)
}

fn records(events: &[String]) -> Vec<Vec<u8>> {
    events.iter().map(|it| bare(it).into_bytes()).collect()
}

fn conversions(ids: impl Iterator<Item = usize>) -> Vec<String> {
    ids.map(|id| conversion(&id.to_string())).collect()
}

/// Takes 3 off the payout of a conversion.
fn adjustment(id: &str, of: &str, sequence: u32) -> String {
    format!(
        r#"{{"event_id":"{id}","action":"conversion","adjust_action":"update","tune_event_id":"record-{of}","adjustment_sequence_id":{sequence},"payout":-3,"status":"{id}"}}"#
    )
}

async fn until_stored(database: &Database, count: usize) {
    let rows = [count.to_string()];
    wait_until("all is stored", 60, async || {
        database.rows("select count(*) from events").await == rows
    })
    .await;
}

async fn positions(database: &Database) -> Vec<String> {
    let sql = "select part, position, is_ended, owner from positions order by part";
    database.rows(sql).await
}

fn until_empty(database: &Database, settings: &str) -> Daemon {
    Daemon::spawn(&database.url, &[], settings, &["--until-empty"])
}

#[tokio::test(flavor = "multi_thread")]
async fn events_land_once_whatever_their_order_and_spelling() {
    let (stream, database) = (LocalStream::start(3).await, database().await);
    let mut events = conversions(0..300);
    events.push(click("a click"));
    events.push(adjustment("late", "7", 20));
    events.push(adjustment("early", "7", 10));
    let mut all = records(&events);
    all.reverse();
    all.extend(records(&events));
    all.extend(records(&events[..50]).iter().map(|record| gzip(record)));
    all.push(b"no JSON!".to_vec());
    all.push(br#"{"network_id":"acme","action":"click"}"#.to_vec());
    all.push(bare(r#"{"event_id":"e","action":"teleport"}"#).into_bytes());
    all.push(click("of no network").into_bytes());
    stream.put(&all).await;
    let daemon = until_empty(&database, &stream.settings("one"));
    let ended = daemon.ended(90).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let sql = "select count(*), count(distinct event_id) from events";
    assert_eq!(database.rows(sql).await, ["301|301"]);
    let sql = "select payout, net_payout, status, adjustment_count from conversions where record_id = 'record-7'";
    assert_eq!(database.rows(sql).await, ["-4.5|-4.5|late|2"]);
    let sql = "select scope, reason, source from quarantine order by reason";
    let bad = [
        "event|action|one",
        "body|data_shape|one",
        "event|network_missing|one",
        "body|not_base64|one",
    ];
    assert_eq!(database.rows(sql).await, bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_and_a_stream_of_the_same_events_count_once() {
    let (stream, queue) = (LocalStream::start(2).await, Queue::start().await);
    let database = database().await;
    let events = conversions(0..40);
    let data = format!("[{}]", events.join(","));
    queue.send(&[body(&envelope(&data))]).await;
    stream.put(&records(&events)).await;
    let settings = stream.settings("two");
    let daemon = Daemon::spawn(&database.url, &[&queue], &settings, &["--until-empty"]);
    let ended = daemon.ended(90).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    queue.drained(1).await;
    let sql = "select (select count(*) from events), sum(net_payout), (select count(*) from event_variants)
               from conversions";
    assert_eq!(database.rows(sql).await, ["40|60.0|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_behind_what_is_stored() {
    let (stream, database) = (Stream::start(1).await, database().await);
    for event in conversions(0..5) {
        stream.put(0, &bare(&event));
    }
    let daemon = Daemon::start(&database.url, &[], &stream.settings("one")).await;
    until_stored(&database, 5).await;
    let name = "shardId-000000000000";
    wait_until("the position is saved", 10, async || {
        positions(&database).await[0].starts_with(&format!("{name}|1005|f|"))
    })
    .await;
    daemon.kill();
    for event in conversions(5..8) {
        stream.put(0, &bare(&event));
    }
    let daemon = until_empty(&database, &stream.settings("one"));
    let ended = daemon.ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    until_stored(&database, 8).await;
    assert_eq!(stream.given().len(), 8, "none was read twice");
    assert_eq!(positions(&database).await, [format!("{name}|1008|f|NULL")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_is_what_comes_after_the_first_start_also_while_it_is_down() {
    let (stream, database) = (LocalStream::start(1).await, database().await);
    stream.put(&records(&conversions(0..3))).await;
    // What came in the same millisecond as the start would be read.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let settings = stream.settings("one") + "source.one.start = \"latest\"\n";
    let ended = until_empty(&database, &settings).ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    assert_eq!(database.rows("select count(*) from events").await, ["0"]);
    stream.put(&records(&conversions(3..5))).await;
    let ended = until_empty(&database, &settings).ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    assert_eq!(database.rows("select count(*) from events").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_read_by_the_name_of_a_stream_do_not_change_its_start() {
    let (stream, database) = (LocalStream::start(1).await, database().await);
    crate::support::store::store(&database).await;
    let replayed = "insert into positions (source, part, position, is_ended)
        values ('one', 'old/export.json', '100', true)";
    database.rows(replayed).await;
    stream.put(&records(&conversions(0..3))).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let settings = stream.settings("one") + "source.one.start = \"latest\"\n";
    for expected in ["0", "2"] {
        let ended = until_empty(&database, &settings).ended(60).await;
        assert_eq!(ended.status, Some(0), "{}", ended.log);
        assert_eq!(
            database.rows("select count(*) from events").await,
            [expected]
        );
        stream.put(&records(&conversions(3..5))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_a_time_leaves_out_what_came_before() {
    let (stream, database) = (LocalStream::start(2).await, database().await);
    stream.put(&records(&conversions(0..20))).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let now = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let start = database.rows(now).await.remove(0);
    stream.put(&records(&conversions(20..60))).await;
    let settings = stream.settings("one") + &format!("source.one.start = \"{start}\"\n");
    let ended = until_empty(&database, &settings).ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    let stored = "select count(*), min(event_id::integer) from events";
    assert_eq!(database.rows(stored).await, ["40|20"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_expired_iterators_are_borne() {
    let (stream, database) = (Stream::start(1).await, database().await);
    stream.put(0, &bare(&conversion("0")));
    stream.throttle(3);
    let daemon = Daemon::start(&database.url, &[], &stream.settings("one")).await;
    until_stored(&database, 1).await;
    let throttled = "hydrant_throttled_reads_total";
    assert_eq!(daemon.metric(throttled, "source=\"one\"").await, 3.0);
    assert_eq!(stream.calls("GetShardIterator"), 1);
    stream.expire_iterators();
    stream.put(0, &bare(&conversion("1")));
    until_stored(&database, 2).await;
    assert_eq!(stream.calls("GetShardIterator"), 2);
    assert_eq!(stream.given().len(), 2, "none was read twice");
    assert_eq!(daemon.ready().await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_has_expired_is_told_and_the_oldest_record_is_next() {
    let (stream, database) = (Stream::start(1).await, database().await);
    stream.put(0, &bare(&conversion("0")));
    let daemon = Daemon::start(&database.url, &[], &stream.settings("one")).await;
    until_stored(&database, 1).await;
    let ended = daemon.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    stream.put(0, &bare(&conversion("expired unread")));
    stream.trim(0);
    stream.put(0, &bare(&conversion("1")));
    let daemon = Daemon::start(&database.url, &[], &stream.settings("one")).await;
    until_stored(&database, 2).await;
    let lost = "hydrant_lost_positions_total";
    assert_eq!(daemon.metric(lost, "source=\"one\"").await, 1.0);
    let told = "records may have expired unread";
    assert_eq!(daemon.log().matches(told).count(), 1, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_has_expired_unread_is_told_once() {
    let (stream, database) = (Stream::start(2).await, database().await);
    let settings = stream.settings("one");
    stream.put(0, &bare(&conversion("0")));
    stream.put(1, &bare(&conversion("1")));
    let ended = until_empty(&database, &settings).ended(60).await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    stream.put(0, &bare(&conversion("expired unread")));
    let [left, _] = stream.split(0);
    stream.expire(0);
    stream.put(left, &bare(&conversion("2")));
    let daemons = [(); 2].map(|()| until_empty(&database, &settings));
    let mut logs = String::new();
    for daemon in daemons {
        let ended = daemon.ended(60).await;
        assert_eq!(ended.status, Some(0), "{}", ended.log);
        logs += &ended.log;
    }
    assert_eq!(database.rows("select count(*) from events").await, ["3"]);
    let told = "its end was not read: records may have expired unread";
    assert_eq!(logs.matches(told).count(), 1, "{logs}");
    let parts = "select part from positions order by part";
    let left = [1, 2, 3].map(|n| format!("shardId-{n:012}"));
    assert_eq!(database.rows(parts).await, left);
    // What was read to its end is no loss.
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    let lost = "hydrant_lost_positions_total";
    assert_eq!(daemon.metric(lost, "source=\"one\"").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_is_the_end_of_the_start() {
    let (stream, database) = (LocalStream::start(1).await, database().await);
    let settings = stream.settings("one") + "source.one.stream = \"another\"\n";
    let ended = until_empty(&database, &settings).ended(60).await;
    assert_eq!(ended.status, Some(1), "{}", ended.log);
    let sentence = "source.one: the stream another or its shard does not exist";
    assert!(ended.log.contains(sentence), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_told_and_waited_for() {
    let (stream, database) = (Stream::start(1).await, database().await);
    let daemon = Daemon::start(&database.url, &[], &stream.settings("one")).await;
    stream.deny(true);
    wait_until("it is told", 20, async || {
        let (status, said) = daemon.ready().await;
        status == 503
            && said.contains(
                "source one: Kinesis refuses the credentials or the right to read records",
            )
    })
    .await;
    stream.put(0, &bare(&conversion("0")));
    let age = async || {
        let labels = "source=\"one\"";
        daemon.metric("hydrant_iterator_age_seconds", labels).await
    };
    // Nothing says how far behind it is but the time.
    wait_until("what is not read gets older", 60, async || {
        age().await > 12.0
    })
    .await;
    stream.deny(false);
    until_stored(&database, 1).await;
    daemon.until_ready(10).await;
    wait_until("all is read", 20, async || age().await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_is_waited_out_and_a_stop_does_not_wait_for_it() {
    let postgres = Postgres::start();
    let (stream, database) = (Stream::start(4).await, postgres.database().await);
    let daemon = Daemon::start(&database.url, &[], &stream.settings("one")).await;
    let put = |ids: std::ops::Range<usize>| {
        for id in ids {
            stream.put(id % 4, &bare(&conversion(&id.to_string())));
        }
    };
    put(0..40);
    until_stored(&database, 40).await;
    postgres.stop(Stop::Immediate);
    put(40..80);
    wait_until("it pauses", 30, async || {
        let (status, said) = daemon.ready().await;
        status == 503 && said.contains("store_unavailable")
    })
    .await;
    put(80..120);
    postgres.start_again();
    until_stored(&database, 120).await;
    daemon.until_ready(20).await;
    let sql = "select count(distinct event_id), count(*) from events";
    assert_eq!(database.rows(sql).await, ["120|120"]);
    postgres.stop(Stop::Immediate);
    let ended = daemon.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    // It has 25 s, and does not wait for them.
    assert!(ended.took < Duration::from_secs(15), "{:?}", ended.took);
    postgres.start_again();
}
