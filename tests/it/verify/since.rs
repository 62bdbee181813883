//! `--since`: what another content of an id did to what is old.

use hydrant::config::PartitionBy;

use super::{conversion, failing, failing_with, good_feed, hydrant, prepared, update, write};
use crate::support::store::date;
use crate::support::{Database, database};

/// As if everything had come long ago.
async fn age(db: &Database) {
    for table in ["events", "adjustments", "event_variants"] {
        db.rows(&format!("update {table} set received_at = '2020-01-01'"))
            .await;
    }
}

#[tokio::test]
async fn an_old_content_that_lost_to_a_new_one_wrongly_is_found() {
    let db = database().await;
    good_feed(&db).await;
    age(&db).await;
    let today = date(&db, 0).await;
    // A conversion, a click and an adjustment whose winners came today, although they come after what they moved aside.
    db.rows(
        "update events set received_at = now(), dispatch_timestamp = 99 where event_id in ('c3', 'k1');
         update adjustments set received_at = now(), dispatch_timestamp = 99 where event_id = 'own'",
    )
    .await;
    let since = ["--since", today.as_str()];
    // There is an orphan, too, which is old by now.
    let (found, status) = failing_with(&db, &since);
    assert_eq!((found, status), (vec!["V6".to_owned(), "V8".to_owned()], 2));
    let ended = hydrant(&db, &[&["rebuild"], &since[..]].concat());
    assert!(ended.text().contains("3 ids settled"), "{}", ended.text());
    assert_eq!(failing(&db), (vec!["V8".to_owned()], 1));
}

#[tokio::test]
async fn the_record_that_lost_an_adjustment_to_another_is_looked_at() {
    let db = database().await;
    let settings = prepared(&db, PartitionBy::Day).await;
    let originals = [conversion("a"), conversion("b")];
    write(&settings, 5, &originals).await;
    write(&settings, 5, &[update("u", "b", 1, "1", "2.5")]).await;
    age(&db).await;
    write(&settings, 3, &[update("u", "a", 1, "1", "2.5")]).await;
    let patches = "select record_id from record_patches";
    assert_eq!(db.rows(patches).await, ["r-a"]);
    let today = date(&db, 0).await;
    let since = ["--since", today.as_str()];
    assert_eq!(failing_with(&db, &since), (vec![], 0));
    // As if it had been folded for the winner alone.
    db.rows("insert into record_patches (network_id, record_id, payout, adjustment_count) values ('n', 'r-b', 1, 1)")
        .await;
    let (found, status) = failing_with(&db, &since);
    assert_eq!((found.first().map(String::as_str), status), (Some("V2"), 2));
    let ended = hydrant(&db, &[&["rebuild"], &since[..]].concat());
    assert!(ended.text().contains("1 folded again"), "{}", ended.text());
    assert_eq!(db.rows(patches).await, ["r-a"]);
    assert_eq!(failing(&db), (vec![], 0));
}
