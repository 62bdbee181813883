//! The stand-in as the real SDK sees it.

use super::StandIn;
use super::client::client;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName,
    QueueAttributeName,
};
use std::time::{Duration, Instant};

/// A stand-in, a client and the URL of a queue.
pub struct Bench {
    pub stand_in: StandIn,
    pub client: Client,
    pub url: String,
}

impl Bench {
    pub async fn new() -> Bench {
        let stand_in = StandIn::start().await.unwrap();
        let client = client(&stand_in.endpoint);
        let created = client
            .create_queue()
            .queue_name("feed")
            .send()
            .await
            .unwrap();
        let url = created.queue_url.unwrap();
        assert_eq!(url, stand_in.queue_url("feed"));
        Bench {
            stand_in,
            client,
            url,
        }
    }

    async fn send(&self, body: &str) -> String {
        let request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body);
        request.send().await.unwrap().message_id.unwrap()
    }

    /// Receives up to ten messages from the queue at `url`.
    pub async fn receive(&self, url: &str, visibility_secs: i32, wait_secs: i32) -> Vec<Message> {
        let request = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10);
        let request = request
            .visibility_timeout(visibility_secs)
            .wait_time_seconds(wait_secs);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    /// The number of messages that are visible, in flight and delayed.
    async fn counts(&self) -> [String; 3] {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let output = request
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .unwrap();
        let attributes = output.attributes.unwrap();
        assert_eq!(attributes.len(), names.len());
        names.map(|name| attributes[&name].clone())
    }
}

fn attribute(message: &Message, name: MessageSystemAttributeName) -> u64 {
    message.attributes().unwrap()[&name].parse().unwrap()
}

fn receive_count(message: &Message) -> u64 {
    attribute(message, MessageSystemAttributeName::ApproximateReceiveCount)
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.body().unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let bench = Bench::new().await;
    let body = "quote \" backslash \\ newline \n tab \t umlaut ü emoji 🚰";
    let id = bench.send(body).await;
    let messages = bench.receive(&bench.url, 30, 0).await;
    assert_eq!(bodies(&messages), [body]);
    let message = &messages[0];
    assert_eq!(message.message_id(), Some(id.as_str()));
    assert_eq!(
        message.md5_of_body(),
        Some("bf6d9ab4d473645ff131454552647c72")
    );
    assert_eq!(receive_count(message), 1);
    let sent = attribute(message, MessageSystemAttributeName::SentTimestamp);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(now.as_millis().abs_diff(sent.into()) < 60_000);

    assert_eq!(bench.counts().await, ["0", "1", "0"]);
    let delete = bench.client.delete_message().queue_url(&bench.url);
    delete
        .receipt_handle(message.receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(bench.counts().await, ["0", "0", "0"]);
}

#[tokio::test]
async fn a_message_comes_back_when_its_visibility_timeout_is_over() {
    let bench = Bench::new().await;
    bench.send("a").await;
    let first = bench.receive(&bench.url, 1, 0).await;
    assert!(bench.receive(&bench.url, 1, 0).await.is_empty());
    let started = Instant::now();
    let second = bench.receive(&bench.url, 30, 20).await;
    let waited = started.elapsed();
    assert!((500..1500).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(receive_count(&second[0]), 2);

    let old_handle = first[0].receipt_handle().unwrap();
    let delete = bench.client.delete_message().queue_url(&bench.url);
    delete.receipt_handle(old_handle).send().await.unwrap();
    assert_eq!(bench.counts().await, ["0", "1", "0"]);
}

#[tokio::test]
async fn a_message_that_was_received_too_often_moves_to_the_dead_letter_queue() {
    let bench = Bench::new().await;
    let dead = bench
        .client
        .create_queue()
        .queue_name("dead")
        .send()
        .await
        .unwrap();
    let dead = dead.queue_url.unwrap();
    let arn = QueueAttributeName::QueueArn;
    let request = bench.client.get_queue_attributes().queue_url(&dead);
    let output = request.attribute_names(arn.clone()).send().await.unwrap();
    let policy = format!(
        r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":2}}"#,
        output.attributes.unwrap()[&arn]
    );
    let request = bench.client.set_queue_attributes().queue_url(&bench.url);
    let request = request.attributes(QueueAttributeName::RedrivePolicy, policy);
    request.send().await.unwrap();

    let id = bench.send("poison").await;
    for _ in 0..2 {
        assert_eq!(bench.receive(&bench.url, 0, 0).await.len(), 1);
    }
    // A receive that waits at the dead-letter queue learns of it at once.
    let (nothing, moved) = tokio::join!(
        bench.receive(&bench.url, 0, 0),
        bench.receive(&dead, 30, 20)
    );
    assert!(nothing.is_empty());
    assert_eq!(moved[0].message_id(), Some(id.as_str()));
    assert_eq!(receive_count(&moved[0]), 3);
}

#[tokio::test]
async fn a_message_is_released_by_a_visibility_of_zero() {
    let bench = Bench::new().await;
    bench.send("a").await;
    let messages = bench.receive(&bench.url, 30, 0).await;
    let entry = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id);
        entry
            .receipt_handle(handle)
            .visibility_timeout(0)
            .build()
            .unwrap()
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let request = bench
            .client
            .change_message_visibility_batch()
            .queue_url(&bench.url);
        let request = request.entries(entry("0", messages[0].receipt_handle().unwrap()));
        request.entries(entry("1", "garbage")).send().await.unwrap()
    };
    let started = Instant::now();
    let (output, again) = tokio::join!(release, bench.receive(&bench.url, 30, 20));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(bodies(&again), ["a"]);
    assert_eq!(output.successful[0].id, "0");
    assert_eq!(output.failed[0].id, "1");
    assert_eq!(output.failed[0].code, "ReceiptHandleIsInvalid");
    assert!(output.failed[0].sender_fault);
}

#[tokio::test]
async fn a_long_poll_ends_as_soon_as_a_message_arrives() {
    let bench = Bench::new().await;
    let send = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.send("a").await;
        Instant::now()
    };
    let poll = async { (bench.receive(&bench.url, 30, 20).await, Instant::now()) };
    let (sent, (messages, received)) = tokio::join!(send, poll);
    assert_eq!(bodies(&messages), ["a"]);
    let late = received.saturating_duration_since(sent);
    assert!(late < Duration::from_millis(200), "{late:?}");

    let started = Instant::now();
    assert!(bench.receive(&bench.url, 30, 1).await.is_empty());
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_long_poll_that_is_given_up_takes_no_message() {
    let bench = Bench::new().await;
    let poll = bench.receive(&bench.url, 30, 20);
    tokio::time::timeout(Duration::from_millis(300), poll)
        .await
        .unwrap_err();
    // The connection is closed by now, but the server has to notice.
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.send("a").await;
    assert_eq!(bench.receive(&bench.url, 30, 1).await.len(), 1);
}

#[tokio::test]
async fn a_stop_ends_long_polls() {
    let Bench {
        stand_in,
        client,
        url,
    } = Bench::new().await;
    let poll = client
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(20)
        .send();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stand_in.stop().await
    };
    let started = Instant::now();
    let (output, stopped) = tokio::join!(poll, stop);
    assert!(output.unwrap().messages.is_none());
    stopped.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn queues_are_made_listed_and_described() {
    let bench = Bench::new().await;
    let create = |name: &str, visibility: &str| {
        let request = bench.client.create_queue().queue_name(name);
        request
            .attributes(QueueAttributeName::VisibilityTimeout, visibility)
            .send()
    };
    for name in ["feed-b", "feed-c"] {
        create(name, "7").await.unwrap();
    }
    create("feed-b", "7").await.unwrap();
    let error = create("feed-b", "8")
        .await
        .unwrap_err()
        .into_service_error();
    assert!(error.is_queue_name_exists(), "{error:?}");
    let error = create("no spaces", "7")
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(error.code(), Some("InvalidParameterValue"));

    let pages = bench
        .client
        .list_queues()
        .queue_name_prefix("feed-")
        .max_results(1);
    let urls: Result<Vec<_>, _> = pages.into_paginator().items().send().collect().await;
    let expected = ["feed-b", "feed-c"].map(|name| bench.stand_in.queue_url(name));
    assert_eq!(urls.unwrap(), expected);

    let request = bench.client.get_queue_attributes().queue_url(&expected[0]);
    let output = request
        .attribute_names(QueueAttributeName::All)
        .send()
        .await
        .unwrap();
    let attributes = output.attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "7");
    assert_eq!(
        attributes[&QueueAttributeName::MaximumMessageSize],
        "1048576"
    );
    assert_eq!(
        attributes[&QueueAttributeName::QueueArn],
        "arn:aws:sqs:us-east-1:000000000000:feed-b"
    );

    bench.send("a").await;
    bench
        .client
        .purge_queue()
        .queue_url(&bench.url)
        .send()
        .await
        .unwrap();
    assert_eq!(bench.counts().await, ["0", "0", "0"]);
}
