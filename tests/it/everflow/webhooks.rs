//! Webhooks over HTTP into the real daemon: each kind on a route of its own.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::support::webhook::Sender;
use crate::support::{Daemon, free_port, wait_until};

const KINDS: [&str; 8] = [
    "conversion",
    "event",
    "offer_created",
    "offer_updated",
    "partner_created",
    "advertiser_created",
    "firehose_click",
    "firehose_conversion_update",
];

/// What comes in by a route; nothing of it can be stored.
const BAD: [(&str, &str); 6] = [
    ("conversion", "no sense"),
    ("conversion", r#"{"conversion_id":"bad","payout":"x"}"#),
    ("event", r#"{"event":"purchase"}"#),
    (
        "offer_updated",
        r#"{"network_id":1,"transaction_id":"t","unix_timestamp":3}"#,
    ),
    ("partner_created", r#"{"network_affiliate_id":"#),
    ("firehose_click", r#"{"network_id":1,"unix_timestamp":3}"#),
];

const COUNT: usize = 200;

fn settings(port: u16) -> String {
    let mut settings = format!(
        "source.hooks.type = \"http\"
         source.hooks.listen = \"127.0.0.1:{port}\"
        "
    );
    for kind in KINDS {
        settings += &format!(
            "source.hooks.route.{kind}.format = \"everflow\"
             source.hooks.route.{kind}.event_type = \"{kind}\"
             source.hooks.route.{kind}.network_id = \"1\"
             source.hooks.route.{kind}.auth = \"none\"
            "
        );
    }
    settings
}

/// Everything that is sent, each twice, in any order.
fn deliveries() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = [
        ("conversion", CONVERSION),
        ("event", EVENT),
        ("offer_created", OFFER_CREATED),
        ("offer_updated", OFFER_UPDATED),
    ]
    .into_iter()
    .chain(BAD)
    .map(|(kind, body)| (kind, body.to_owned()))
    .collect();
    for id in 0..COUNT {
        let one = [
            (
                "conversion",
                json!({"conversion_id": id, "status": "pending", "payout": "0.10"}),
            ),
            (
                "firehose_conversion_update",
                json!({"network_id": 1, "conversion_id": id, "update_timestamp": 2, "conversion_status": "approved"}),
            ),
            (
                "firehose_click",
                json!({"network_id": 1, "transaction_id": id, "unix_timestamp": 1_709_500_000}),
            ),
            (
                "partner_created",
                json!({"network_id": 1, "network_affiliate_id": id, "account_status": "active"}),
            ),
            (
                "advertiser_created",
                json!({"network_id": 1, "network_advertiser_id": id, "account_status": "active"}),
            ),
        ];
        all.extend(one.map(|(kind, body)| (kind, body.to_string())));
    }
    all = [all.clone(), all].concat();
    all.shuffle(&mut rand::rng());
    all
}

/// Sends what is left, one after the other, until each was answered with 200.
async fn send(port: u16, left: Arc<Mutex<Vec<(&'static str, String)>>>) {
    let mut connection = None;
    loop {
        let next = left.lock().unwrap().pop();
        let Some((kind, body)) = next else { return };
        loop {
            let path = format!("/in/hooks/{kind}");
            match post(port, &mut connection, &path, &body).await {
                Some(200) => break,
                Some(status) => assert_eq!(status, 503, "{kind} {body}"),
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The status of the answer, if there is one; then the connection is kept.
async fn post(port: u16, connection: &mut Option<Sender>, path: &str, body: &str) -> Option<u16> {
    let mut sender = match connection.take() {
        Some(sender) => sender,
        None => Sender::connect(port).await.ok()?,
    };
    let reply = sender.post(path, "", body.as_bytes()).await.ok()?;
    *connection = Some(sender);
    Some(reply.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_webhook_lands_once_though_the_daemon_is_killed() {
    let (port, database) = (free_port(), database().await);
    let settings = settings(port);
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    let left = Arc::new(Mutex::new(deliveries()));
    let all = left.lock().unwrap().len();
    let senders: Vec<_> = (0..8)
        .map(|_| tokio::spawn(send(port, Arc::clone(&left))))
        .collect();
    wait_until("a third is sent", 60, async || {
        left.lock().unwrap().len() < all * 2 / 3
    })
    .await;
    daemon.kill();
    assert!(!left.lock().unwrap().is_empty(), "killed too late");
    let daemon = Daemon::start(&database.url, &[], &settings).await;
    for sender in senders {
        sender.await.unwrap();
    }
    expect_vendors_conversions(&database).await;
    let offer = row(&database, "everflow_offers", "true").await;
    let updated = expected(&parsed(OFFER_UPDATED));
    assert_eq!(plain(&offer.into()), plain(&updated.into()));
    let sums = "select count(*), sum(payout), count(*) filter (where status = 'approved')
            from everflow_conversions where length(conversion_id) < 4;
        select count(*) from everflow_conversions;
        select event_type, count(*) from everflow_conversion_versions group by 1 order by 1;
        select event_type, count(*) from everflow_offer_versions group by 1 order by 1;
        select count(*), count(distinct transaction_id) from everflow_clicks;
        select event_type, count(*), count(distinct id) from everflow_other group by 1 order by 1";
    assert_eq!(
        database.rows(sums).await,
        [
            "200|20.0|200",
            "202",
            "conversion|201",
            "event|1",
            "firehose_conversion_update|200",
            "offer_created|1",
            "offer_updated|1",
            "200|200",
            "advertiser_created|200|200",
            "partner_created|200|200",
        ]
    );
    let kept = "select source, encode(payload, 'escape') from quarantine where seen >= 2";
    let kept = database.rows(kept).await;
    let bad = BAD.map(|(kind, body)| format!("hooks.{kind}|{body}"));
    assert_eq!(kept.len(), bad.len(), "{kept:?}");
    assert_eq!(BTreeSet::from_iter(kept), BTreeSet::from(bad));
    assert_eq!(daemon.ready().await.0, 200);
}
