//! A bucket on a local S3 that is not ours.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{Ministack, wait_until};

/// The bucket `feed` of a service of its own, which ends when it is dropped.
pub struct Bucket {
    client: Client,
    ministack: Ministack,
}

impl Bucket {
    pub async fn start() -> Bucket {
        let ministack = Ministack::start();
        let bucket = Bucket {
            client: client(&ministack.endpoint),
            ministack,
        };
        wait_until("the local S3 has a bucket", 30, async || {
            let request = bucket.client.create_bucket().bucket("feed");
            request.send().await.is_ok()
        })
        .await;
        bucket
    }

    /// Settings of a source `one` that reads it often.
    pub fn settings(&self, format: &str) -> String {
        format!(
            "source.one.type = \"s3\"
             source.one.format = \"{format}\"
             source.one.bucket = \"feed\"
             source.one.endpoint_url = \"{}\"
             source.one.poll_secs = 1
             source.one.settle_secs = 0\n",
            self.ministack.endpoint
        )
    }

    pub async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let request = self.client.put_object().bucket("feed").key(key);
        let body = ByteStream::from(bytes.into());
        request.body(body).send().await.unwrap();
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
        .force_path_style(true)
        .http_client(http)
        .build();
    Client::from_conf(config)
}
