//! A stream on a local Kinesis that is not ours.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{Ministack, stream, wait_until};

/// The stream `feed` of a service of its own.
pub struct LocalStream {
    client: Client,
    ministack: Ministack,
}

impl LocalStream {
    pub async fn start(shards: i32) -> LocalStream {
        let ministack = Ministack::start();
        let stream = LocalStream {
            client: client(&ministack.endpoint),
            ministack,
        };
        wait_until("the local Kinesis has a stream", 30, async || {
            let request = stream.client.create_stream().stream_name("feed");
            request.shard_count(shards).send().await.is_ok()
        })
        .await;
        stream
    }

    /// Settings of a source that reads it.
    pub fn settings(&self, source: &str) -> String {
        stream::settings(source, "feed", &self.ministack.endpoint)
    }

    /// Puts records, each with a partition key of its own.
    pub async fn put(&self, records: &[Vec<u8>]) {
        for chunk in records.chunks(500) {
            let entries = chunk.iter().map(|record| {
                PutRecordsRequestEntry::builder()
                    .partition_key(rand::random::<u64>().to_string())
                    .data(Blob::new(record.as_slice()))
                    .build()
                    .unwrap()
            });
            let request = self.client.put_records().stream_name("feed");
            let put = request.set_records(Some(entries.collect())).send().await;
            assert_eq!(put.unwrap().failed_record_count, Some(0));
        }
    }
}

fn client(endpoint: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .endpoint_url(endpoint)
        .http_client(http)
        .build();
    Client::from_conf(config)
}
