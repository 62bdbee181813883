//! A queue with a dead-letter queue, on a stand-in of its own that the real SDK talks to.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use hydrant::stand_in::StandIn;

use super::wait_until;

/// Receives after which a message that was not deleted goes to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 3;

pub struct Queue {
    pub url: String,
    pub endpoint: String,
    dead_letter_url: String,
    policy: String,
    client: Client,
    _stand_in: StandIn,
}

/// How many messages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub visible: usize,
    pub in_flight: usize,
    pub dead: usize,
}

impl Counts {
    pub const NONE: Counts = Counts {
        visible: 0,
        in_flight: 0,
        dead: 0,
    };
}

impl Queue {
    pub async fn start() -> Queue {
        Queue::start_with(MAX_RECEIVE_COUNT).await
    }

    pub async fn start_with(max_receive_count: u32) -> Queue {
        let stand_in = StandIn::start().await.unwrap();
        let client = client(&stand_in.endpoint);
        let dead_letter_url = create(&client, "dead", None).await;
        let request = client.get_queue_attributes().queue_url(&dead_letter_url);
        let attributes = request.attribute_names(QueueAttributeName::QueueArn).send();
        let arn =
            attributes.await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
        let policy =
            format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{max_receive_count}}}"#);
        Queue {
            url: create(&client, "feed", Some(&policy)).await,
            endpoint: stand_in.endpoint.clone(),
            dead_letter_url,
            policy,
            client,
            _stand_in: stand_in,
        }
    }

    /// Deletes the queue with its messages, not the one for dead letters.
    pub async fn delete(&self) {
        let request = self.client.delete_queue().queue_url(&self.url);
        request.send().await.unwrap();
    }

    /// Makes the deleted queue again, as it was and empty.
    pub async fn create_again(&self) {
        create(&self.client, "feed", Some(&self.policy)).await;
    }

    /// Sends messages, in order; their ids.
    pub async fn send(&self, bodies: &[String]) -> Vec<String> {
        let mut ids = Vec::with_capacity(bodies.len());
        for body in bodies {
            let request = self.client.send_message().queue_url(&self.url);
            let sent = request.message_body(body).send().await.unwrap();
            ids.push(sent.message_id.unwrap());
        }
        ids
    }

    /// Receives up to ten messages, as another consumer would. They stay in flight for `visibility_secs`.
    pub async fn receive(&self, visibility_secs: i32) -> Vec<Message> {
        let request = self.client.receive_message().queue_url(&self.url);
        let request = request
            .max_number_of_messages(10)
            .visibility_timeout(visibility_secs)
            .message_system_attribute_names(MessageSystemAttributeName::All);
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    pub async fn counts(&self) -> Counts {
        let [visible, in_flight] = self.count(&self.url).await;
        let [dead, _] = self.count(&self.dead_letter_url).await;
        Counts {
            visible,
            in_flight,
            dead,
        }
    }

    /// Waits until every message is deleted, and none is in the dead-letter queue.
    pub async fn drained(&self, seconds: u64) {
        wait_until("every message is deleted", seconds, async || {
            let counts = self.counts().await;
            assert_eq!(counts.dead, 0, "{counts:?}");
            counts == Counts::NONE
        })
        .await;
    }

    /// Visible and in flight.
    async fn count(&self, url: &str) -> [usize; 2] {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(url);
        let request = request.set_attribute_names(Some(names.to_vec()));
        let attributes = request.send().await.unwrap().attributes.unwrap();
        names.map(|name| attributes[&name].parse().unwrap())
    }
}

async fn create(client: &Client, name: &str, redrive_policy: Option<&str>) -> String {
    let mut request = client.create_queue().queue_name(name);
    if let Some(policy) = redrive_policy {
        request = request.attributes(QueueAttributeName::RedrivePolicy, policy);
    }
    request.send().await.unwrap().queue_url.unwrap()
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
