//! A stream of Kinesis in this process, that the real SDK talks to. Unlike the local services that there are, it closes
//! the shards that are split or merged and keeps their records, and it throttles, trims and forgets iterators when told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::base64;

pub struct Stream {
    pub endpoint: String,
    shards: Arc<Mutex<Shards>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shards {
    shards: Vec<Shard>,
    last_sequence_number: u64,
    /// Iterators of an earlier one have expired.
    generation: u64,
    /// So many more reads are refused.
    throttled: usize,
    is_denied: bool,
    retention_hours: u32,
    /// The shard of each record that was given, in order.
    given: Vec<usize>,
    /// How often each call came.
    calls: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Shard {
    parents: Vec<usize>,
    is_closed: bool,
    records: Vec<(u64, Vec<u8>)>,
    /// Positions before this one are not known any more.
    trimmed: u64,
    /// It is not listed any more.
    is_gone: bool,
}

impl Stream {
    pub async fn start(shards: usize) -> Stream {
        let state = Arc::new(Mutex::new(Shards {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            last_sequence_number: 1_000,
            retention_hours: 168,
            ..Shards::default()
        }));
        let routes = Router::new()
            .route("/", post(answer))
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Stream {
            endpoint,
            shards: state,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// Settings of a source that reads it.
    pub fn settings(&self, source: &str) -> String {
        settings(source, "feed", &self.endpoint)
    }

    pub fn put(&self, shard: usize, data: &str) {
        let mut all = self.shards.lock().unwrap();
        all.last_sequence_number += 1;
        let sequence_number = all.last_sequence_number;
        assert!(!all.shards[shard].is_closed);
        let record = (sequence_number, data.as_bytes().to_vec());
        all.shards[shard].records.push(record);
    }

    /// Closes a shard and opens two others in its place.
    pub fn split(&self, shard: usize) -> [usize; 2] {
        [self.close(&[shard]), self.close(&[shard])]
    }

    /// Closes two shards and opens one in their place.
    pub fn merge(&self, first: usize, second: usize) -> usize {
        self.close(&[first, second])
    }

    fn close(&self, parents: &[usize]) -> usize {
        let mut all = self.shards.lock().unwrap();
        for parent in parents {
            all.shards[*parent].is_closed = true;
        }
        all.shards.push(Shard {
            parents: parents.to_vec(),
            ..Shard::default()
        });
        all.shards.len() - 1
    }

    /// As after the retention: all records of a shard are gone, and what was saved of it means nothing.
    pub fn trim(&self, shard: usize) {
        let mut all = self.shards.lock().unwrap();
        let last = all.last_sequence_number;
        all.shards[shard].records.clear();
        all.shards[shard].trimmed = last;
    }

    /// As long after it was closed: with its last record the shard itself is gone.
    pub fn expire(&self, shard: usize) {
        let mut all = self.shards.lock().unwrap();
        assert!(all.shards[shard].is_closed);
        all.shards[shard].is_gone = true;
    }

    pub fn throttle(&self, reads: usize) {
        self.shards.lock().unwrap().throttled = reads;
    }

    /// Whether reads are refused as by a policy.
    pub fn deny(&self, is_denied: bool) {
        self.shards.lock().unwrap().is_denied = is_denied;
    }

    pub fn expire_iterators(&self) {
        self.shards.lock().unwrap().generation += 1;
    }

    pub fn retain_hours(&self, hours: u32) {
        self.shards.lock().unwrap().retention_hours = hours;
    }

    /// The shard of each record that was read, in the order of the reads.
    pub fn given(&self) -> Vec<usize> {
        self.shards.lock().unwrap().given.clone()
    }

    /// How often an operation was asked for.
    pub fn calls(&self, operation: &str) -> usize {
        let all = self.shards.lock().unwrap();
        all.calls.get(operation).copied().unwrap_or(0)
    }
}

/// Settings of a source that reads a stream in small steps.
pub fn settings(source: &str, stream: &str, endpoint: &str) -> String {
    [
        ("type", "\"kinesis\"".to_owned()),
        ("format", "\"hasoffers\"".to_owned()),
        ("stream", format!("\"{stream}\"")),
        ("endpoint_url", format!("\"{endpoint}\"")),
        ("lease_secs", "5".to_owned()),
        ("poll_interval_ms", "250".to_owned()),
    ]
    .map(|(key, value)| format!("source.{source}.{key} = {value}\n"))
    .concat()
}

type Refusal = (&'static str, String);

async fn answer(
    State(shards): State<Arc<Mutex<Shards>>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.split('.').next_back().unwrap();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let mut shards = shards.lock().unwrap();
    *shards.calls.entry(operation.to_owned()).or_default() += 1;
    let answered = match operation {
        "ListShards" => Ok(shards.list()),
        "DescribeStreamSummary" => Ok(shards.summary()),
        "GetShardIterator" => shards.iterator(&asked),
        "GetRecords" => shards.read(&asked),
        other => panic!("{other} is not expected"),
    };
    match answered {
        Ok(answer) => (StatusCode::OK, answer.to_string()),
        Err((kind, message)) => {
            let refusal = json!({"__type": kind, "message": message});
            (StatusCode::BAD_REQUEST, refusal.to_string())
        }
    }
}

fn name(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

impl Shards {
    fn list(&self) -> Value {
        let shard = |(n, shard): (usize, &Shard)| {
            json!({
                "ShardId": name(n),
                "ParentShardId": shard.parents.first().copied().map(name),
                "AdjacentParentShardId": shard.parents.get(1).copied().map(name),
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
                "SequenceNumberRange": {"StartingSequenceNumber": "0"},
            })
        };
        let all = self.shards.iter().enumerate();
        let listed = all.filter(|(_, shard)| !shard.is_gone);
        json!({"Shards": listed.map(shard).collect::<Vec<_>>()})
    }

    fn summary(&self) -> Value {
        json!({"StreamDescriptionSummary": {
            "StreamName": "feed",
            "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/feed",
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": self.retention_hours,
            "StreamCreationTimestamp": 1_760_000_000,
            "EnhancedMonitoring": [],
            "OpenShardCount": self.shards.iter().filter(|shard| !shard.is_closed).count(),
        }})
    }

    fn iterator(&self, asked: &Value) -> Result<Value, Refusal> {
        let shard = asked["ShardId"].as_str().unwrap();
        let n: usize = shard.rsplit('-').next().unwrap().parse().unwrap();
        let shard = &self.shards[n];
        let at = match asked["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => 0,
            "AFTER_SEQUENCE_NUMBER" => {
                let after = asked["StartingSequenceNumber"].as_str().unwrap();
                let after: u64 = after.parse().unwrap();
                if after <= shard.trimmed {
                    let message = format!("StartingSequenceNumber {after} is invalid");
                    return Err(("InvalidArgumentException", message));
                }
                shard
                    .records
                    .partition_point(|(number, _)| *number <= after)
            }
            other => panic!("{other} is not expected"),
        };
        Ok(json!({"ShardIterator": format!("{n} {at} {}", self.generation)}))
    }

    fn read(&mut self, asked: &Value) -> Result<Value, Refusal> {
        if self.throttled > 0 {
            self.throttled -= 1;
            let message = "Rate exceeded for shard".to_owned();
            return Err(("ProvisionedThroughputExceededException", message));
        }
        if self.is_denied {
            let message = "not authorized to perform: kinesis:GetRecords".to_owned();
            return Err(("AccessDeniedException", message));
        }
        let iterator = asked["ShardIterator"].as_str().unwrap();
        let words: Vec<usize> = iterator.split(' ').map(|n| n.parse().unwrap()).collect();
        let [n, at, generation] = words[..] else {
            panic!("{iterator}");
        };
        if generation as u64 != self.generation {
            return Err(("ExpiredIteratorException", "it is too old".to_owned()));
        }
        let limit = asked["Limit"].as_u64().unwrap() as usize;
        let shard = &self.shards[n];
        let end = shard.records.len().min(at + limit);
        let records = &shard.records[at.min(end)..end];
        let record = |(number, data): &(u64, Vec<u8>)| json!({"SequenceNumber": number.to_string(), "Data": base64(data), "PartitionKey": "p"});
        let answer = json!({
            "Records": records.iter().map(record).collect::<Vec<_>>(),
            "NextShardIterator": (!shard.is_closed || end < shard.records.len())
                .then(|| format!("{n} {end} {generation}")),
            "MillisBehindLatest": if end < shard.records.len() { 1_500 } else { 0 },
        });
        let given = vec![n; records.len()];
        self.given.extend(given);
        Ok(answer)
    }
}
