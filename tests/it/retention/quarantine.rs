//! Quarantine: the bytes of what is done with.

use hydrant::config::PartitionBy;
use hydrant::store::Store;
use hydrant::store::retention::Action;
use serde_json::json;

use super::{PERSON, hydrant, personal, prepared, retain};
use crate::support::database;

#[tokio::test]
async fn quarantine_keeps_what_nobody_has_dealt_with() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let bad = |id: &str| json!({"event_id": id, "action": "view", "ip": PERSON});
    let items = ["open", "resolved", "discarded", "new"];
    let send = async |id: &str| {
        let mut store = Store::new(settings.clone());
        let batch = crate::support::store::batch(&[bad(id)]);
        store.write("test", &batch).await.unwrap();
        store.close().await;
    };
    for id in items {
        send(id).await;
    }
    db.rows(
        "update quarantine set status = event_id where event_id in ('resolved', 'discarded');
             update quarantine set status = 'resolved' where event_id = 'new';
             update quarantine set last_seen = now() - interval '40 days' where event_id <> 'new'",
    )
    .await;
    let steps = [
        (Action::Keep, "quarantine".to_owned(), 0),
        (Action::Blank, "quarantine".to_owned(), 2),
    ];
    let policy = personal(28, &[]);
    assert_eq!(retain(&settings, &policy, true).await, steps);
    assert_eq!(retain(&settings, &policy, false).await, steps);
    let have = "select event_id from quarantine where payload <> '' order by 1";
    assert_eq!(db.rows(have).await, ["new", "open"]);
    let ended = hydrant(
        &db,
        &["quarantine", "retry", "--all", "--status", "discarded"],
        &[],
    );
    assert!(
        ended
            .text()
            .contains("left out: 1, whose payload retention blanked"),
        "{}{}",
        ended.text(),
        ended.err
    );
    // It came once more: it is open, with its bytes.
    send("resolved").await;
    assert_eq!(db.rows(have).await, ["new", "open", "resolved"]);
}
