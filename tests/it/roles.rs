//! Roles with no more rights than they need, as docs/postgres.md makes them.

use crate::pages::page;
use crate::recurly::daemon::{route, send};
use crate::support::program::{Finished, run};
use crate::support::{
    Daemon, Database, Postgres, Queue, body, conversion, envelope, free_port, wait_until,
};

/// A role's URL.
pub fn url(database: &Database, role: &str) -> String {
    database.url.replace("postgres@", &format!("{role}@"))
}

/// Runs the program in the schema of docs/postgres.md.
fn hydrant(args: &[&str], url: &str) -> Finished {
    let variables = [
        ("DATABASE_URL", url),
        ("HYDRANT__DATABASE__SCHEMA", "hydrant"),
        ("HYDRANT__SOURCE__ONE__TYPE", "sqs"),
        ("HYDRANT__SOURCE__ONE__FORMAT", "hasoffers"),
        ("HYDRANT__SOURCE__ONE__QUEUE_URL", "http://127.0.0.1:1/1/q"),
        ("HYDRANT__SOURCE__ONE__ENDPOINT_URL", "http://127.0.0.1:1"),
        ("HYDRANT__SOURCE__ONE__REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    run(args, &variables, b"")
}

/// What a role is told that runs this; nothing where it may. An analyst has a search_path.
async fn refused(database: &Database, role: &str, sql: &str) -> Option<String> {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
    let mut connection = PgConnection::connect(&url(database, role)).await.unwrap();
    let path = match role {
        "hydrant_analyst" => "",
        _ => "set search_path to hydrant;",
    };
    let sql = format!("{path} {sql}");
    let error = connection.execute(AssertSqlSafe(sql)).await.err()?;
    Some(error.as_database_error().unwrap().message().to_owned())
}

async fn expect_refused(database: &Database, role: &str, statements: &[&str]) {
    for sql in statements {
        let told = refused(database, role, sql).await;
        let told = told.unwrap_or_else(|| panic!("{role} may: {sql}"));
        let words = ["permission denied", "must be owner", "must be superuser"];
        assert!(
            words.iter().any(|word| told.contains(word)),
            "{sql}: {told}"
        );
    }
}

/// A cluster of its own, because roles are the cluster's; the tables are the owner's.
pub async fn with_roles(postgres: &Postgres) -> Database {
    let database = postgres.database().await;
    let name = database.rows("select current_database()").await.remove(0);
    let of_roles: Vec<String> = page("docs/postgres.md")
        .changes()
        .into_iter()
        .map(|sql| sql.replace("database affiliate", &format!("database {name}")))
        .collect();
    let [before, after] = of_roles.try_into().unwrap();
    database.rows(&before).await;
    let migrated = hydrant(&["migrate"], &url(&database, "hydrant_owner"));
    assert_eq!(migrated.status, 0, "{}", migrated.err);
    assert_eq!(refused(&database, "hydrant_owner", &after).await, None);
    database
}

/// Everything that a daemon writes: days with and without a partition, a swap of contents within a ledger, quarantine.
async fn feed(database: &Database) -> Vec<String> {
    let mut days = database
        .rows("select current_date::text; select (current_date - 30)::text")
        .await;
    let (old, today) = (days.remove(1), days.remove(0));
    let click =
        |id: &str, day: &str| format!(r#"{{"event_id":"{id}","action":"click","date":"{day}"}}"#);
    let update = |record: &str| {
        format!(
            r#"{{"event_id":"u","action":"conversion","adjust_action":"update","tune_event_id":"{record}","payout":1}}"#
        )
    };
    let sent = |at: u32, data: &str| {
        body(&envelope(&format!("[{data}]")).replace("1760000000", &at.to_string()))
    };
    vec![
        sent(
            3,
            &[
                conversion("1"),
                click("2", &today),
                click("3", &old),
                update("one"),
            ]
            .join(","),
        ),
        // The same adjustment of another record, dispatched earlier: it wins, and the other's ledger is empty.
        sent(2, &update("record-1")),
        sent(1, r#"{"event_id":"bad","action":"view"}"#),
        sent(1, &conversion("1").replace("1.50", "9")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_writes_with_the_rights_of_its_page_and_no_more() {
    let (queue, postgres) = (Queue::start().await, Postgres::start());
    let database = with_roles(&postgres).await;
    let daemon_url = url(&database, "hydrant_daemon");
    let switched = hydrant(
        &["migrate", "--rollup", "on"],
        &url(&database, "hydrant_owner"),
    );
    assert_eq!(switched.status, 0, "{}", switched.err);
    let port = free_port();
    let settings = format!("database.schema = \"hydrant\"\n{}", route(port));
    let daemon = Daemon::spawn(&daemon_url, &[&queue], &settings, &["--no-migrate"]);
    daemon.until_ready(30).await;
    assert_eq!(send(port, "{\"event\":\"Goal\"}").await, 200);
    for message in feed(&database).await {
        queue.send(&[message]).await;
        queue.drained(30).await;
    }
    let rows = async |sql: &str| {
        database
            .rows(&format!("set search_path to hydrant; {sql}"))
            .await
    };
    assert_eq!(
        rows("select tableoid::regclass::text ~ '^events_[0-9]{8}$', event_id, payout from events order by event_id").await,
        ["f|1|9", "t|2|NULL", "f|3|NULL"]
    );
    assert_eq!(
        rows("select record_id, payout from record_patches").await,
        ["record-1|1"]
    );
    assert_eq!(
        rows("select role, event_id from event_variants order by role").await,
        ["adjustment|u", "original|1"]
    );
    assert_eq!(rows("select event_id from quarantine").await, ["bad"]);
    assert_eq!(rows("select event from recurly_usages").await, ["Goal"]);
    wait_until("it tells of the day that it may not make", 10, async || {
        daemon.log().contains("the database role may not create it")
    })
    .await;
    assert_eq!(daemon.metric("hydrant_store_faults_total", "").await, 0.0);
    wait_until("it has merged what it appended", 20, async || {
        let kept = "select exists (select from stats_hourly), exists (select from stats_deltas)";
        rows(kept).await == ["t|f"]
    })
    .await;

    // What people do with the daemon's role.
    let listed = hydrant(&["quarantine", "discard", "--all"], &daemon_url);
    assert_eq!(
        (listed.status, listed.text()),
        (0, "discarded 1\n"),
        "{}",
        listed.err
    );
    rows("update record_patches set payout = 9").await;
    let wrong = hydrant(&["verify"], &daemon_url);
    assert_eq!(wrong.status, 2, "{}{}", wrong.text(), wrong.err);
    let rebuilt = hydrant(&["rebuild", "--all"], &daemon_url);
    assert_eq!(
        (rebuilt.status, rebuilt.text()),
        (
            0,
            "looked at 1 records: 1 folded again, 0 ids settled anew\n"
        ),
        "{}",
        rebuilt.err
    );
    let digest = hydrant(&["verify", "--digest"], &daemon_url);
    assert_eq!(digest.status, 0, "{}", digest.err);
    expect_refused(
        &database,
        "hydrant_daemon",
        &[
            "create table mine ()",
            "create schema mine",
            "alter table adjustments add column mine int",
            "drop table quarantine",
            "drop view conversions",
            "create or replace view stats as select 1",
            "delete from stats_hourly",
            "truncate events",
            "delete from events",
            "delete from events_conversions",
            "delete from adjustments",
            "delete from recurly_usage_events",
            "delete from quarantine",
            "delete from hydrant_migrations",
            "update hydrant_migrations set checksum = ''",
            "create role mine",
            "alter table events detach partition events_default",
            "copy events to program 'cat'",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_nothing_wrong_with_these_rights() {
    let postgres = Postgres::start();
    let database = with_roles(&postgres).await;
    let ended = hydrant(&["check", "--json"], &url(&database, "hydrant_daemon"));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&ended.out).unwrap();
    assert!(findings.len() > 5, "{}", ended.err);
    for finding in findings
        .iter()
        .filter(|finding| finding["area"] == "database")
    {
        assert_eq!(finding["status"], "ok", "{finding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_asks_what_the_pages_ask_and_sees_no_payload() {
    let postgres = Postgres::start();
    let database = with_roles(&postgres).await;
    let (queue, daemon_url) = (Queue::start().await, url(&database, "hydrant_daemon"));
    let settings = "database.schema = \"hydrant\"";
    let args = ["--no-migrate", "--until-empty"];
    queue.send(&feed(&database).await).await;
    let ended = Daemon::spawn(&daemon_url, &[&queue], settings, &args)
        .ended(60)
        .await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    for path in [
        "README.md",
        "docs/recipes.md",
        "docs/everflow.md",
        "docs/recurly.md",
    ] {
        for query in page(path).queries() {
            let told = refused(&database, "hydrant_analyst", query).await;
            assert_eq!(told, None, "{path}: {query}");
        }
    }
    let explained = hydrant(
        &["explain", "acme", "record-1"],
        &url(&database, "hydrant_analyst"),
    );
    assert_eq!(explained.status, 0, "{}", explained.err);
    assert!(
        explained.text().contains("1 adjustment"),
        "{}",
        explained.text()
    );
    let report = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(report.path(), "Date,Clicks,Payout\n2026-03-04,1,8\n").unwrap();
    let reconciled = hydrant(
        &["reconcile", "--report", report.path().to_str().unwrap()],
        &url(&database, "hydrant_analyst"),
    );
    assert_eq!(reconciled.status, 1, "{}", reconciled.err);
    assert!(
        reconciled.text().contains("payout: report 8, Hydrant 9"),
        "{}",
        reconciled.text()
    );
    expect_refused(
        &database,
        "hydrant_analyst",
        &[
            "select payload from quarantine",
            "select * from quarantine",
            "select message_id from quarantine",
            "insert into quarantine select * from quarantine",
            "update orphan_adjustments set payout = 1",
            "update events set payout = 1",
            "delete from adjustments",
            "create table mine ()",
            "create temporary table mine ()",
            "select from hydrant_migrations",
        ],
    )
    .await;
}
