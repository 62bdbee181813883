//! What only the database refuses.

use crate::support::{Daemon, Database, Queue, body, conversion, database, envelope, wait_until};

/// Makes the database refuse some conversions, by a rule of its owner's.
async fn refuse(database: &Database, condition: &str, sqlstate: &str) {
    let sql = format!(
        "create function refuse() returns trigger language plpgsql
             as $$ begin raise exception 'refused' using errcode = '{sqlstate}'; end $$;
         create trigger refuse before insert on events_conversions for each row when ({condition})
             execute function refuse()"
    );
    database.rows(&sql).await;
}

async fn stored(database: &Database) -> Vec<String> {
    database
        .rows("select event_id from events order by event_id::int")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_database_refuses_goes_to_quarantine_alone() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    refuse(&database, "new.event_id = 'a'", "22000").await;
    // As an owner may do it who wants no negative amounts.
    let check = "alter table events add constraint mine check (event_id <> 'b')";
    database.rows(check).await;
    let odd = r#"{ "event_id" : "b", "action":"conversion" , "payout":1.50}"#;
    let bad = r#"{"bad":1}"#;
    let all = [
        &conversion("1"),
        odd,
        &conversion("2"),
        bad,
        &conversion("a"),
    ];
    // The events stand in a text, and are bytes of that text.
    let packed = serde_json::to_string(&format!("[{}]", all.join(" ,"))).unwrap();
    let single = |id: &str| body(&envelope(&conversion(id)));
    let ids = queue
        .send(&[single("3"), body(&envelope(&packed)), single("4")])
        .await;
    queue.drained(30).await;

    assert_eq!(stored(&database).await, ["1", "2", "3", "4"]);
    let sql = "select scope, reason, detail, network_id, event_id, message_id, dispatch_timestamp, seen,
               encode(payload, 'escape') from quarantine where reason = 'refused_by_database' order by event_id";
    let refused = |event_id: &str, state: &str, payload: &str| {
        let id = &ids[1];
        format!(
            "event|refused_by_database|the database refused it with SQLSTATE {state}|acme|{event_id}|{id}|1760000000|1|{payload}"
        )
    };
    let expected = [
        refused("a", "22000", &conversion("a")),
        refused("b", "23514", odd),
    ];
    assert_eq!(database.rows(sql).await, expected);
    let sql = "select encode(payload, 'escape') from quarantine where reason = 'event_id'";
    assert_eq!(database.rows(sql).await, [bad]);
    for (reason, count) in [("refused_by_database", 2.0), ("event_id", 1.0)] {
        let labels = format!(r#"reason="{reason}""#);
        assert_eq!(
            daemon.metric("hydrant_quarantined_total", &labels).await,
            count
        );
    }
    let quarantined = r#"outcome="quarantined""#;
    assert_eq!(
        daemon.metric("hydrant_events_total", quarantined).await,
        3.0
    );
    assert_eq!(daemon.ready().await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_everything_is_not_the_datas_fault() {
    let (queue, database) = (Queue::start().await, database().await);
    let settings = "source.one.visibility_timeout_secs = 5";
    let daemon = Daemon::start(&database.url, &[&queue], settings).await;
    refuse(&database, "true", "22000").await;
    let ids: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let events: Vec<String> = ids.iter().map(|id| conversion(id)).collect();
    let all = body(&envelope(&format!("[{}]", events.join(","))));
    queue.send(&[all]).await;
    wait_until(
        "it pauses for more than its visibility timeout",
        60,
        async || {
            let extended = daemon
                .metric("hydrant_visibility_extensions_total", "")
                .await;
            extended >= 4.0 && daemon.ready().await == (503, "paused: mass_refusal\n".into())
        },
    )
    .await;
    let quarantined = "select count(*) from quarantine";
    assert_eq!(database.rows(quarantined).await, ["0"]);
    assert_eq!(stored(&database).await, [""; 0]);

    database
        .rows("drop trigger refuse on events_conversions")
        .await;
    queue.drained(30).await;
    daemon.until_ready(10).await;
    assert_eq!(stored(&database).await, ids);
    assert_eq!(database.rows(quarantined).await, ["0"]);
    let received = daemon.metric("hydrant_messages_received_total", "").await;
    assert_eq!(received, 1.0, "what was held was kept invisible");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_index_of_the_owner_refuses_goes_to_quarantine_alone() {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::start(&database.url, &[&queue], "").await;
    database
        .rows("create unique index mine on events_conversions (order_id)")
        .await;
    let order = |id: &str, order: &str| {
        format!(r#"{{"event_id":"{id}","action":"conversion","order_id":"{order}"}}"#)
    };
    queue.send(&[body(&envelope(&order("1", "a")))]).await;
    queue.drained(30).await;
    // The first is in the way of 2, one of 5 and 6 of the other.
    let all = [
        order("2", "a"),
        order("3", "b"),
        order("4", "c"),
        order("5", "d"),
        order("6", "d"),
    ];
    let all = body(&envelope(&format!("[{}]", all.join(","))));
    queue.send(&[all]).await;
    queue.drained(30).await;
    assert_eq!(stored(&database).await, ["1", "3", "4", "5"]);
    let sql =
        "select event_id, detail, encode(payload, 'escape') from quarantine order by event_id";
    let refused = |id: &str, order_id: &str| {
        let payload = order(id, order_id);
        format!("{id}|the database refused it with SQLSTATE 23505|{payload}")
    };
    assert_eq!(
        database.rows(sql).await,
        [refused("2", "a"), refused("6", "d")]
    );
    assert_eq!(daemon.ready().await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_it_is_noticed_as_well() {
    let (queue, database) = (Queue::start().await, database().await);
    // So that each is a batch of its own, too small to judge by.
    let settings = "source.one.workers = 1\nsource.one.batch_events = 1\nsource.one.linger_ms = 0";
    let daemon = Daemon::start(&database.url, &[&queue], settings).await;
    refuse(&database, "true", "22000").await;
    let messages: Vec<String> = (0..300)
        .map(|n| body(&envelope(&format!("[{}]", conversion(&n.to_string())))))
        .collect();
    queue.send(&messages).await;
    wait_until("it is paused", 60, async || {
        daemon.ready().await == (503, "source one: paused: mass_bad_input\n".into())
    })
    .await;
    wait_until("nothing is held", 10, async || {
        queue.counts().await.in_flight == 0
    })
    .await;
    let refused = daemon
        .metric("hydrant_quarantined_total", "refused_by_database")
        .await;
    assert!((200.0..=220.0).contains(&refused), "{refused}");
    assert_eq!(queue.counts().await.visible, 300 - refused as usize);
}
