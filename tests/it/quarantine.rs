//! `hydrant quarantine`, and what happens to an item that is seen again.

mod retry;

use std::time::Duration;

use hydrant::config::{DatabaseUrl, PartitionBy};
use hydrant::formats::hasoffers::Body;
use hydrant::formats::{Reject, Scope};
use hydrant::store::batch::Batch;
use hydrant::store::migrate::migrate;
use hydrant::store::{Settings, Store};
use serde_json::Value;

use crate::decode::body;
use crate::support::program::{Finished, run};
use crate::support::{Database, database};

/// A migrated database and a way to let deliveries come.
struct Desk {
    database: Database,
    store: Store,
}

impl Desk {
    async fn new() -> Desk {
        let database = database().await;
        let settings = Settings {
            options: DatabaseUrl::new(&database.url).options().unwrap(),
            schema: "public".to_owned(),
            partition_by: PartitionBy::None,
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        };
        migrate(&settings).await.unwrap();
        Desk {
            database,
            store: Store::new(settings),
        }
    }

    /// A delivery of the source `hasoffers`, as the daemon handles it.
    async fn deliver(&mut self, bytes: &[u8]) {
        let mut batch = Batch::new(1000, usize::MAX);
        match Body::open(bytes, 1 << 20, None) {
            Ok(mut body) => assert!(body.read_into(&mut batch, 0, "message")),
            Err(refusal) => batch.reject(Reject {
                source: None,
                scope: Scope::Body,
                refusal,
                payload: bytes.to_vec(),
                message_id: "message".to_owned(),
                network_id: None,
                event_id: None,
                dispatch_timestamp: None,
                spot: None,
            }),
        }
        self.store.write("hasoffers", &batch).await.unwrap();
    }

    fn quarantine(&self, args: &[&str]) -> Finished {
        self.with(&[], args)
    }

    /// With more settings from the environment.
    fn with(&self, settings: &[(&str, &str)], args: &[&str]) -> Finished {
        let url = ("HYDRANT__DATABASE__URL", self.database.url.as_str());
        let partitions = ("HYDRANT__DATABASE__PARTITION_BY", "none");
        let source = [
            ("HYDRANT__SOURCE__HASOFFERS__TYPE", "sqs"),
            ("HYDRANT__SOURCE__HASOFFERS__FORMAT", "hasoffers"),
            (
                "HYDRANT__SOURCE__HASOFFERS__QUEUE_URL",
                "http://localhost/q",
            ),
            ("HYDRANT__SOURCE__HASOFFERS__REGION", "us-east-1"),
        ];
        let source = if settings.is_empty() {
            &[][..]
        } else {
            &source
        };
        let variables = [&[url, partitions], source, settings].concat();
        run(&[&["quarantine"], args].concat(), &variables, b"")
    }

    /// What it prints when all is well.
    fn said(&self, args: &[&str]) -> String {
        let ended = self.quarantine(args);
        assert_eq!(ended.status, 0, "{args:?}: {}", ended.err);
        ended.text().to_owned()
    }

    /// The items that `list` finds, as JSON.
    fn list(&self, args: &[&str]) -> Vec<Value> {
        let lines = self.said(&[&["list", "--json"], args].concat());
        let items = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        items.collect()
    }

    fn count(&self, args: &[&str]) -> usize {
        self.list(args).len()
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        self.database.rows(sql).await
    }
}

/// An envelope of network `net`.
fn envelope(events: &str) -> String {
    body(&format!(
        r#"{{"network_id":"net","dispatch_timestamp":7,"data":[{events}]}}"#
    ))
}

const BAD_ACTION: &str = r#"{"event_id":"e-secret","action":"view"}"#;
const UNNAMED: &str = r#"{"data":[{"event_id":"e2","action":"click","date":"2026-10-02"}]}"#;

/// One bad body, one event without a network and one with a bad action.
async fn three_items() -> Desk {
    let mut desk = Desk::new().await;
    desk.deliver(b"@@@personal@@@").await;
    desk.deliver(UNNAMED.as_bytes()).await;
    desk.deliver(envelope(BAD_ACTION).as_bytes()).await;
    desk.rows(
        "update quarantine set first_seen = now() - interval '3 days', last_seen = now() - interval '3 hours 5 minutes'
         where scope = 'body'",
    )
    .await;
    desk
}

#[tokio::test]
async fn the_list_tells_what_there_is_and_no_payload() {
    let desk = three_items().await;
    let table = desk.said(&["list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "ID", "AGE", "REASON", "SOURCE", "SCOPE", "NETWORK", "EVENT", "SEEN", "DETAIL"
        ]
    );
    // The latest first; aligned, without escape sequences where nobody looks.
    let body = lines[3];
    assert_eq!(
        body[8..],
        "  3h   not_base64       hasoffers  body   -        -         1     neither base64 nor JSON"
            [..]
    );
    let at = lines[0].find("DETAIL").unwrap();
    assert!(lines[1..].iter().all(|line| &line[at - 2..at] == "  "));
    assert!(!table.contains('\x1b') && !table.contains("personal") && !table.contains("view"));

    for (filter, count) in [
        (vec!["--reason", "action"], 1),
        (vec!["--source", "hasoffers"], 3),
        (vec!["--source", "other"], 0),
        (vec!["--scope", "event"], 2),
        (vec!["--network-id", "net"], 1),
        (vec!["--older-than", "3h"], 1),
        (vec!["--newer-than", "3h"], 2),
        (vec!["--newer-than", "1d", "--scope", "body"], 1),
        (vec!["--limit", "2"], 2),
        (vec!["--status", "resolved"], 0),
        (vec!["--status", "all"], 3),
    ] {
        assert_eq!(desk.count(&filter), count, "{filter:?}");
    }
    let items = desk.list(&["--reason", "action"]);
    assert_eq!(items[0]["event_id"], "e-secret");
    assert_eq!(items[0]["payload_bytes"], BAD_ACTION.len());
    assert!(items[0].get("payload").is_none());
    let nothing = desk.quarantine(&["list", "--reason", "depth"]);
    assert_eq!(
        (nothing.status, nothing.text(), nothing.err.as_str()),
        (0, "", "nothing matched\n")
    );
}

#[tokio::test]
async fn an_item_is_shown_with_its_exact_bytes() {
    let mut desk = three_items().await;
    desk.deliver(b"\xff\x1b[2J").await;
    desk.deliver(b"~\x1b[2J~").await;
    let id = |items: Vec<Value>| items[0]["id"].as_str().unwrap().to_owned();
    let event = id(desk.list(&["--reason", "action"]));
    let shown = desk.said(&["show", &event[..8]]);
    for line in [
        format!("id          {event}"),
        "now         refused: action is not impression, click or conversion (action)".to_owned(),
        "dispatched  7".to_owned(),
        "event       e-secret".to_owned(),
        BAD_ACTION.to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    assert_eq!(desk.said(&["show", &event, "--raw"]), BAD_ACTION);

    let unnamed = id(desk.list(&["--reason", "network_missing"]));
    let settings = [("HYDRANT__SOURCE__HASOFFERS__NETWORK_ID", "12")];
    let shown = desk.with(&settings, &["show", &unnamed]);
    assert!(
        shown.text().contains("now         understood: click e2\n"),
        "{}",
        shown.text()
    );

    // Two items were last seen just now: the binary one and the one with an escape sequence.
    let bytes = |item: &Value| {
        desk.quarantine(&["show", item["id"].as_str().unwrap(), "--raw"])
            .out
    };
    let items = desk.list(&["--scope", "body", "--newer-than", "1h"]);
    let binary = items.iter().find(|item| bytes(item)[0] == 0xff).unwrap();
    assert_eq!(bytes(binary), b"\xff\x1b[2J");
    let shown: Value =
        serde_json::from_str(&desk.said(&["show", binary["id"].as_str().unwrap(), "--json"]))
            .unwrap();
    assert_eq!(shown["payload_base64"], "/xtbMko=");
    assert_eq!(shown["reason"], "not_base64");
    let text = items.iter().find(|item| bytes(item)[0] == b'~').unwrap();
    let shown = desk.said(&["show", text["id"].as_str().unwrap()]);
    assert!(shown.ends_with("\n~\\u{1b}[2J~\n"), "{shown}");

    let nobody = desk.quarantine(&["show", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(nobody.status, 1);
    assert_eq!(nobody.text(), "");
}

#[tokio::test]
async fn what_is_discarded_stays_and_what_was_resolved_comes_back() {
    let mut desk = three_items().await;
    assert_eq!(desk.said(&["discard", "--scope", "body"]), "discarded 1\n");
    let event = desk.list(&["--reason", "action"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    desk.rows(&format!(
        "update quarantine set status = 'resolved', reason = 'depth' where id = '{event}'"
    ))
    .await;
    assert_eq!(desk.count(&[]), 1);
    desk.deliver(b"@@@personal@@@").await;
    desk.deliver(envelope(BAD_ACTION).as_bytes()).await;
    let stands = "select reason, status, seen from quarantine order by reason";
    assert_eq!(
        desk.rows(stands).await,
        [
            "action|open|2",
            "network_missing|open|1",
            "not_base64|discarded|2"
        ]
    );
    // Again is nothing new, and what is discarded can be retried by name.
    assert_eq!(desk.said(&["discard", "--all"]), "discarded 2\n");
    let nothing = desk.quarantine(&["discard", "--all"]);
    assert_eq!(
        (nothing.status, nothing.err.as_str()),
        (0, "nothing matched\n")
    );
    assert_eq!(desk.said(&["discard", &event]), "discarded 0\n");
    assert!(
        desk.said(&["retry", &event[..13]])
            .starts_with("resolved 0, still bad 1\n")
    );
    assert_eq!(desk.rows("select count(*) from quarantine").await, ["3"]);
}

#[tokio::test]
async fn an_id_may_be_shortened_while_it_is_unambiguous() {
    let desk = three_items().await;
    desk.rows(
        "update quarantine set id = case reason when 'action' then 'abcd0000-0000-4000-8000-000000000001'::uuid
             when 'not_base64' then 'abcd0000-0000-4000-8000-000000000002' else 'abcdf000-0000-4000-8000-000000000003' end",
    )
    .await;
    let ended = desk.quarantine(&["discard", "abcd0"]);
    assert_eq!((ended.status, ended.text()), (2, ""));
    assert_eq!(
        ended.err,
        "hydrant: abcd0 is the beginning of more than one ID, abcd0000-0000-4000-8000-000000000001 and \
         abcd0000-0000-4000-8000-000000000002 among them: give more of it\n"
    );
    let ended = desk.quarantine(&["discard", "ABCDF", "ffff"]);
    assert_eq!((ended.status, ended.text()), (1, ""));
    assert_eq!(
        ended.err,
        "hydrant: no item of quarantine has an ID that begins with ffff\n"
    );
    let ended = desk.quarantine(&["discard", "ABCDF", "abcdf000-0000"]);
    assert_eq!((ended.status, ended.text()), (0, "discarded 1\n"));
}

#[tokio::test]
async fn wrong_use_of_quarantine_changes_nothing() {
    let desk = three_items().await;
    for (args, told) in [
        (vec!["list", "--reason", "action2"], "network_mismatch"),
        (vec!["list", "--status", "closed"], "discarded"),
        (vec!["list", "--scope", "message"], "body"),
        (vec!["list", "--older-than", "3 weeks"], "s, m, h, d"),
        (vec!["list", "--limit", "0"], "--limit"),
        (vec!["show"], "<ID>"),
        (vec!["show", "abc"], "first 4 characters"),
        (
            vec!["retry"],
            "say what to retry: IDs, a filter such as --reason, or --all",
        ),
        (vec!["discard"], "say what to discard"),
        (vec!["discard", "--limit", "5"], "say what to discard"),
        (vec!["discard", "abcd", "--all"], "--all"),
        (vec!["discard", "abcd", "--reason", "action"], "--reason"),
        (vec!["retry", "--status", "all", "--all"], "--status"),
    ] {
        let ended = desk.quarantine(&args);
        assert_eq!((ended.status, ended.text()), (2, ""), "{args:?}");
        assert!(ended.err.contains(told), "{args:?}: {}", ended.err);
    }
    assert_eq!(desk.count(&[]), 3);
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_told() {
    let nowhere = [("DATABASE_URL", "postgres://localhost:1/nowhere")];
    for args in [
        &["list"][..],
        &["show", "abcd"],
        &["retry", "--all"],
        &["discard", "--all"],
    ] {
        let ended = run(&[&["quarantine"], args].concat(), &nowhere, b"");
        assert_eq!((ended.status, ended.text()), (1, ""), "{args:?}");
        assert!(
            ended.err.contains("could not connect to the database"),
            "{}",
            ended.err
        );
    }
    assert_eq!(run(&["quarantine", "list"], &[], b"").status, 2);
    // A database without our tables is told as well.
    let empty = database().await;
    let ended = run(
        &["quarantine", "list"],
        &[("DATABASE_URL", &empty.url)],
        b"",
    );
    assert_eq!(ended.status, 1);
    assert!(
        ended.err.contains("quarantine\" does not exist"),
        "{}",
        ended.err
    );
}
