//! Nothing that the program prints or serves holds what events hold, or a secret.
//!
//! What it may name: the source, message ids, and network_id and event_id of what went to quarantine, in the log alone, so
//! that somebody finds it there.

use hydrant::formats::hasoffers::fields::FIELDS;
use hydrant::formats::value::Type;
use serde_json::{Map, Value, json};

use crate::support::{
    AWS_SECRET, Daemon, Database, Postgres, Queue, Stop, base64, body, gzip, wait_until,
};

const PASSWORD: &str = "db-geheim";
const NETWORK: &str = "acme-network";

/// What the values of the feed have in common, whatever their type; and the secrets.
const NEVER: [&str; 9] = [
    "leak",
    "203.0.113.",
    "Mozilla",
    "73914",
    "9182736",
    "1987-06-05",
    "good-event",
    PASSWORD,
    AWS_SECRET,
];

/// An event with a value in every known field, and in one that is not known.
fn event(event_id: &str, more: Value) -> Value {
    let mut event = Map::new();
    for field in FIELDS {
        let value = match field.kind {
            Type::BigInt => json!(918_273_601),
            Type::Integer => json!(9_182_736),
            Type::SmallInt | Type::Boolean => json!(1),
            Type::Date => json!("1987-06-05"),
            Type::Timestamp => json!("1987-06-05 04:03:02"),
            Type::Amount => json!("73914.25"),
            Type::Text | Type::Key => json!(format!("leak-{}", field.name)),
        };
        event.insert(field.name.to_owned(), value);
    }
    let own = json!({"event_id": event_id, "action": "conversion", "tune_event_id": "leak-record", "ip": "203.0.113.7",
                     "session_ip": "203.0.113.8", "user_agent": "Mozilla/5.0", "leak_field": {"leak": ["leak"]}});
    event.extend(own.as_object().unwrap().clone());
    event.extend(more.as_object().unwrap().clone());
    Value::Object(event)
}

fn envelope(dispatch_timestamp: i64, data: &Value) -> String {
    let envelope = json!({"dispatch_id": "leak-dispatch", "dispatch_timestamp": dispatch_timestamp,
                          "network_id": NETWORK, "data": data});
    body(&envelope.to_string())
}

/// Whatever can come, good and bad.
fn feed() -> Vec<String> {
    let update = json!({"adjust_action": "update"});
    let good = json!([
        event("good-event-1", json!({})),
        event("good-event-2", update),
        event(
            "good-event-3",
            json!({"action": "click", "date": "leak-date", "hour": 918_273_600, "note": "leak\u{0}"})
        ),
    ]);
    let other = json!([
        event("good-event-1", json!({"note": "leak-other"})),
        event(
            "good-event-2",
            json!({"adjust_action": "update", "note": "leak-other"})
        )
    ]);
    let bad = json!([
        event("bad-event-1", json!({"action": "leak-action"})),
        event("bad-event-2", json!({"adjust_action": "leak-adjust"})),
        event("bad-event-3", json!({"payout": "leak-amount"})),
        event(
            "bad-event-4",
            json!({"adjustment_sequence_id": "leak-sequence"})
        ),
        event("bad-event-5", json!({"network_id": "leak-network"})),
        event("bad-event-6", json!({"leak_deep": nested(40)})),
        event("bad-event-7", json!({"tune_event_id": "leak\u{1}"})),
        event("leak\u{1}", json!({})),
        event("", json!({})),
        "leak-scalar",
    ]);
    let refused = json!([
        event("bad-event-8", json!({})),
        event("good-event-4", json!({}))
    ]);
    let whole = json!({"network_id": NETWORK, "target_class": "leak-class", "data": [event("good-event-5", json!({}))]});
    let text = whole.to_string();
    let mut cut = gzip(text.as_bytes());
    cut.truncate(cut.len() / 2);
    vec![
        envelope(1_760_000_002, &good),
        envelope(1_760_000_001, &good),
        envelope(1_760_000_000, &other),
        envelope(1_760_000_003, &bad),
        envelope(1_760_000_004, &refused),
        envelope(1_760_000_005, &json!("leak-data")),
        body(&text),
        body(&text[..text.len() / 2]),
        base64(&cut),
        base64(b"leak-plain"),
        "leak@@@".to_owned(),
        body("\"leak-text\""),
        base64(&gzip(b"\"leak\xff\"")),
        body(&format!(
            "{{\"data\":[{}]}}",
            event("bad-event-9", json!({}))
        )),
    ]
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("leak-deep"), |inner, _| json!([inner]))
}

/// Lets the database refuse one event by a rule of its owner's, and fail for all by another: both tell what they saw.
async fn refuse(database: &Database) {
    let sql = "
        create function refuse() returns trigger language plpgsql as $$ begin
            if new.event_id = 'bad-event-8' then
                raise exception 'an owner''s rule dislikes %', new.ip using errcode = '22000', detail = new.note;
            end if;
            if exists (select from rule) then
                raise exception 'an owner''s rule fails for %', new.ip using detail = new.note, hint = new.refer;
            end if;
            return new;
        end $$;
        create table rule (on_now boolean);
        insert into rule values (true);
        create trigger refuse before insert on events_conversions for each row execute function refuse()";
    database.rows(sql).await;
}

fn expect_nothing_of_it(what: &str, text: &str) {
    for word in NEVER {
        let line = text.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "{what} holds {word:?}: {}", line.unwrap());
    }
}

/// The whole feed through a daemon, with an outage; everything that it printed.
async fn run(postgres: &Postgres, settings: &str) -> String {
    let (queue, database) = (Queue::start().await, postgres.database().await);
    let url = database
        .url
        .replace("postgres@", &format!("postgres:{PASSWORD}@"));
    let daemon = Daemon::start(&url, &[&queue], settings).await;
    refuse(&database).await;
    queue.send(&feed()).await;
    let mut pages = Vec::new();
    wait_until("the owner's rule stops it", 30, async || {
        daemon.ready().await.0 == 503
    })
    .await;
    pages.extend(served(&daemon).await);
    database.rows("truncate rule").await;
    queue.drained(60).await;
    pages.extend(served(&daemon).await);
    postgres.stop(Stop::Fast);
    queue.send(&feed()).await;
    wait_until("the outage is noticed", 30, async || {
        daemon.ready().await.0 == 503
    })
    .await;
    pages.extend(served(&daemon).await);
    postgres.start_again();
    queue.drained(60).await;
    let quarantined = "select count(*) > 15, count(*) filter (where reason = 'refused_by_database') from quarantine";
    assert_eq!(database.rows(quarantined).await, ["t|1"]);
    assert_eq!(
        database.rows("select count(*) from event_variants").await,
        ["2"]
    );
    pages.extend(served(&daemon).await);
    let ended = daemon.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);

    for page in pages {
        expect_nothing_of_it("a page", &page);
        assert!(!page.contains("bad-event"), "{page}");
    }
    expect_nothing_of_it("the log", &ended.log);
    // It is a log of what happened, and says where to look.
    for word in [
        "bad-event-3",
        "refused_by_database",
        "variants",
        "not_base64",
        NETWORK,
    ] {
        assert!(ended.log.contains(word), "{word}: {}", ended.log);
    }
    ended.log
}

async fn served(daemon: &Daemon) -> Vec<String> {
    let mut pages = Vec::new();
    for path in ["/metrics", "/readyz", "/healthz", "/", "/status.json"] {
        pages.push(daemon.get(path).await.unwrap().1);
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_tells_nothing_of_events_and_no_secret() {
    let postgres = Postgres::start();
    run(&postgres, "").await;
    let log = run(&postgres, "log.format = \"json\"\nlog.level = \"trace\"").await;
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_tells_no_secret() {
    let (queue, postgres) = (
        Queue::start().await,
        Postgres::start_with(&["log_connections = on"]),
    );
    let host = format!("postgres:{PASSWORD}@127.0.0.1:{}", postgres.port);
    let nobody = format!("nobody:{PASSWORD}@127.0.0.1:{}", postgres.port);
    for (url, settings) in [
        (format!("postgres://{host}/nowhere"), ""),
        (
            format!("postgres://{nobody}/postgres"),
            "log.level = \"trace\"",
        ),
        (
            format!("postgres://{host}/postgres?sslmode=verify-full"),
            "log.format = \"json\"",
        ),
        (format!("postgres://{host}x/postgres"), ""),
        (
            format!("postgres://{host}/postgres"),
            "source.one.queue_url = \"http://127.0.0.1:1/1/none\"",
        ),
        (
            format!("postgres://{host}/postgres"),
            "source.one.workers = 0",
        ),
    ] {
        let daemon = Daemon::spawn(&url, &[&queue], settings, &["--until-empty"]);
        wait_until("it says what is wrong", 20, async || {
            daemon
                .log()
                .lines()
                .any(|line| ["hydrant: ", "WARN"].iter().any(|word| line.contains(word)))
        })
        .await;
        let log = daemon.log();
        daemon.kill();
        expect_nothing_of_it("the error", &log);
    }
}
