//! `hydrant check`: that each thing it looks for is found.

mod database;
mod queues;

use std::process::{Command, Output};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName as Name;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use hydrant::stand_in::StandIn;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::support::{Database, Postgres};

const TWO_WEEKS: &str = "1209600";

/// A queue `feed` with a dead-letter queue `dead`, all as it should be.
struct Queues {
    stand_in: StandIn,
    client: Client,
}

impl Queues {
    async fn start() -> Queues {
        let stand_in = StandIn::start().await.unwrap();
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .endpoint_url(&stand_in.endpoint)
            .http_client(http)
            .build();
        let client = Client::from_conf(config);
        for name in ["dead", "feed"] {
            let request = client.create_queue().queue_name(name);
            let request = request.attributes(Name::MessageRetentionPeriod, TWO_WEEKS);
            request.send().await.unwrap();
        }
        let queues = Queues { stand_in, client };
        queues.set("feed", Name::RedrivePolicy, &redrive(5)).await;
        queues
    }

    async fn set(&self, queue: &str, name: Name, value: &str) {
        let url = self.stand_in.queue_url(queue);
        let request = self.client.set_queue_attributes().queue_url(url);
        request.attributes(name, value).send().await.unwrap();
    }

    async fn delete(&self, queue: &str) {
        let url = self.stand_in.queue_url(queue);
        self.client
            .delete_queue()
            .queue_url(url)
            .send()
            .await
            .unwrap();
    }

    fn check(&self, database_url: &str) -> Findings {
        check(database_url, &self.stand_in.endpoint, &[])
    }
}

fn redrive(receives: u32) -> String {
    let arn = "arn:aws:sqs:us-east-1:000000000000:dead";
    format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{receives}}}"#)
}

/// What `hydrant check --json` found.
struct Findings {
    list: Vec<Value>,
    exit_status: i32,
}

impl Findings {
    /// Status and words of the only finding with this name in an area.
    #[track_caller]
    fn get(&self, area: &str, name: &str) -> (&str, &str) {
        let found: Vec<_> = self
            .list
            .iter()
            .filter(|one| one["area"] == area && one["name"] == name)
            .collect();
        assert_eq!(found.len(), 1, "{area} {name}: {:#?}", self.list);
        let advised = found[0]["advice"].is_string();
        assert_eq!(advised, found[0]["status"] != "ok", "{:#?}", found[0]);
        (
            found[0]["status"].as_str().unwrap(),
            found[0]["found"].as_str().unwrap(),
        )
    }

    #[track_caller]
    fn expect(&self, area: &str, name: &str, status: &str, words: &str) {
        let found = self.get(area, name);
        assert!(
            found.0 == status && found.1.contains(words),
            "{area} {name}: {found:?}"
        );
    }

    fn has(&self, name: &str) -> bool {
        self.list.iter().any(|one| one["name"] == name)
    }
}

fn hydrant(args: &[&str], database_url: &str, endpoint: &str, more: &[(&str, &str)]) -> Output {
    let queue_url = format!("{endpoint}/000000000000/feed");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydrant"));
    command.args(args).env_clear().envs([
        ("DATABASE_URL", database_url),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HYDRANT__SOURCE__FEED__TYPE", "sqs"),
        ("HYDRANT__SOURCE__FEED__FORMAT", "hasoffers"),
        ("HYDRANT__SOURCE__FEED__QUEUE_URL", &queue_url),
        ("HYDRANT__SOURCE__FEED__REGION", "us-east-1"),
        ("HYDRANT__SOURCE__FEED__ENDPOINT_URL", endpoint),
    ]);
    // Its queues are served by this process.
    block_in_place(|| command.envs(more.iter().copied()).output().unwrap())
}

fn check(database_url: &str, endpoint: &str, more: &[(&str, &str)]) -> Findings {
    let output = hydrant(&["check", "--json"], database_url, endpoint, more);
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let exit_status = output.status.code().unwrap();
    let failed = list.iter().any(|one| one["status"] == "fail");
    assert_eq!(exit_status, i32::from(failed), "{list:#?}");
    Findings { list, exit_status }
}

fn migrate(db: &Database) {
    let output = hydrant(&["migrate"], &db.url, "http://127.0.0.1:1", &[]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well() {
    let queues = Queues::start().await;
    let postgres = Postgres::start();
    let db = postgres.database().await;
    migrate(&db);
    let findings = queues.check(&db.url);
    for one in &findings.list {
        assert_eq!(one["status"], "ok", "{one:#}");
        assert_eq!(one.as_object().unwrap().len(), 5, "{one:#}");
    }
    assert_eq!(findings.exit_status, 0);
    findings.expect("database", "migrations", "ok", "up to date");
    findings.expect("source.feed", "queue", "ok", "0 messages wait");
    findings.expect("source.feed", "clock", "ok", "0 s");

    let output = hydrant(
        &["check", "--source", "feed"],
        &db.url,
        &queues.stand_in.endpoint,
        &[],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), findings.list.len());
    assert!(
        text.lines().all(|line| line.starts_with("ok    ")),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0));
}
