//! The real SDK, told to talk to a stand-in. Nothing of the environment has a say in it.

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The region of every client of a stand-in; it means nothing there.
pub const REGION: &str = "us-east-1";

/// A client of the stand-in at this `endpoint_url`.
pub fn client(endpoint: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(
            "stand-in", "stand-in", None, None, "stand-in",
        ))
        .endpoint_url(endpoint)
        .http_client(http)
        .build();
    Client::from_conf(config)
}

/// Makes a queue, or finds it; its URL.
///
/// # Errors
/// The stand-in does not answer, or the name is none for a queue.
pub async fn create_queue(client: &Client, name: &str) -> anyhow::Result<String> {
    let created = client.create_queue().queue_name(name).send().await;
    created
        .map_err(|error| {
            anyhow::anyhow!(
                "cannot make the queue {name:?}: {}",
                error.into_service_error()
            )
        })?
        .queue_url
        .context("the stand-in gave no queue URL")
}
