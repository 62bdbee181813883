//! What a collector of traces gets, and what a daemon does whose collector does not take any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use self::protobuf::{Span, spans};
use crate::support::{
    Counts, Daemon, Queue, body, conversion, database, envelope, free_port, wait_until,
};

mod protobuf;

type Calls = Arc<Mutex<Vec<Bytes>>>;

/// A collector on this machine.
struct Collector {
    endpoint: String,
    calls: Calls,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let calls = Calls::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&calls));
        let serving = async { axum::serve(listener, router).await.unwrap() };
        Collector {
            endpoint,
            calls,
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
        }
    }

    fn spans(&self) -> Vec<Span> {
        let calls = self.calls.lock().unwrap();
        calls.iter().flat_map(|call| spans(call)).collect()
    }
}

async fn take(State(calls): State<Calls>, headers: HeaderMap, call: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    calls.lock().unwrap().push(call);
}

fn message(ids: &[&str]) -> String {
    let events: Vec<String> = ids.iter().map(|id| conversion(id)).collect();
    body(&envelope(&format!("[{}]", events.join(","))))
}

/// Sends spans often.
fn variables(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_a_span_with_its_steps() {
    let (queue, database) = (Queue::start().await, database().await);
    let collector = Collector::start().await;
    let mut variables = variables(&collector.endpoint);
    variables.push(("OTEL_RESOURCE_ATTRIBUTES", "site=here".to_owned()));
    let settings = "log.format = \"json\"\nsource.one.workers = 1";
    let daemon = Daemon::spawn_under(&database.url, &[&queue], settings, &variables);
    daemon.until_ready(30).await;
    queue.send(&[message(&["a", "b"]), message(&["b"])]).await;
    queue.send(&["leak@@@".to_owned()]).await;
    queue.drained(30).await;
    wait_until("spans are sent while it runs", 30, async || {
        !collector.spans().is_empty()
    })
    .await;
    // What is not sent yet is sent at the end.
    queue.send(&[message(&["c"])]).await;
    queue.drained(30).await;
    let ended = daemon.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    for line in ended.log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line.get("span").is_none(), "{line}");
    }

    let spans = collector.spans();
    let (batches, steps): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.name == "batch");
    let names: BTreeSet<&str> = steps.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["decode", "delete", "store"]));
    for step in steps {
        let its = |batch: &&&Span| (&batch.trace, &batch.id) == (&step.trace, &step.parent);
        let batch = batches.iter().find(its).expect("a step is of a batch");
        assert!(
            batch.start <= step.start && step.end <= batch.end,
            "{step:?}"
        );
    }
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for batch in &batches {
        assert!(batch.parent.is_empty());
        assert_eq!(batch.texts["source"], "one");
        for (name, number) in &batch.numbers {
            *sums.entry(name).or_default() += number;
        }
    }
    let expected = [
        ("adjustments", 0),
        ("duplicates", 1),
        ("messages", 4),
        ("quarantined", 1),
        ("stored", 3),
        ("variants", 0),
    ];
    assert_eq!(sums, BTreeMap::from(expected));
    for span in &spans {
        let names: Vec<&str> = span.texts.keys().map(String::as_str).collect();
        let expected: &[&str] = if span.name == "batch" {
            &["source"]
        } else {
            &[]
        };
        assert_eq!(names, expected, "{span:?}");
        assert_eq!(span.resource["service.name"], "hydrant");
        assert_eq!(span.resource["site"], "here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_sent_is_said_by_the_environment() {
    let (queue, database) = (Queue::start().await, database().await);
    let collector = Collector::start().await;
    let mut variables = variables(&collector.endpoint);
    variables.push(("OTEL_TRACES_SAMPLER", "always_off".to_owned()));
    let daemon = Daemon::spawn_under(&database.url, &[&queue], "", &variables);
    queue.send(&[message(&["a"])]).await;
    queue.drained(60).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
    assert_eq!(collector.spans().len(), 0);

    let collector = Collector::start().await;
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            format!("{}/v1/traces", collector.endpoint),
        ),
        ("OTEL_SERVICE_NAME", "feed-of-acme".to_owned()),
    ];
    let daemon = Daemon::spawn_under(&database.url, &[&queue], "", &variables);
    queue.send(&[message(&["b"])]).await;
    queue.drained(60).await;
    assert_eq!(daemon.stop("TERM").await.status, Some(0));
    let spans = collector.spans();
    assert!(!spans.is_empty());
    for span in spans {
        assert_eq!(span.resource["service.name"], "feed-of-acme");
    }
}

/// Sends message after message through a daemon with this collector; its log.
async fn with_collector(endpoint: &str) -> String {
    let (queue, database) = (Queue::start().await, database().await);
    let daemon = Daemon::spawn_under(&database.url, &[&queue], "", &variables(endpoint));
    daemon.until_ready(30).await;
    for id in ["a", "b", "c", "d", "e"] {
        queue.send(&[message(&[id])]).await;
        queue.drained(30).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = daemon.stop("TERM").await;
    assert_eq!(ended.status, Some(0), "{}", ended.log);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(database.rows("select count(*) from events").await, ["5"]);
    assert_eq!(queue.counts().await, Counts::NONE);
    ended.log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_nothing_holds_nobody_up() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let log = with_collector(&nobody).await;
    let told = log.matches("the collector does not take traces").count();
    assert_eq!(told, 1, "{log}");
    assert!(log.contains("Connection refused"), "{log}");
    // The SDK says nothing of its own.
    assert!(!log.contains("BatchSpanProcessor"), "{log}");

    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    with_collector(&format!("http://{}", silent.local_addr().unwrap())).await;

    // It has nothing at the path of traces.
    let other = Collector::start().await;
    let log = with_collector(&format!("{}/other", other.endpoint)).await;
    assert!(log.contains("it answers with 404"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_can_be_none_is_refused() {
    let database = database().await;
    let queue = Queue::start().await;
    let daemon = Daemon::spawn_under(&database.url, &[&queue], "", &variables("not an address"));
    let ended = daemon.ended(30).await;
    assert_eq!(ended.status, Some(2), "{}", ended.log);
    assert!(
        ended.log.contains("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "{}",
        ended.log
    );
}
