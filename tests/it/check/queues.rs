//! What it finds at the queues.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use axum::http::{HeaderMap, StatusCode};

use super::{Queues, check, redrive};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there() {
    let queues = Queues::start().await;
    queues.delete("feed").await;
    let findings = queues.check("postgres://127.0.0.1:1/d");
    findings.expect("source.feed", "queue", "fail", "does not exist");
    assert!(!findings.has("right to delete"));
    let findings = check("postgres://127.0.0.1:1/d", "http://127.0.0.1:1", &[]);
    findings.expect(
        "source.feed",
        "queue",
        "fail",
        "could not read the queue's attributes",
    );
    findings.expect("source.feed", "clock", "warn", "not compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_loses_messages() {
    let queues = Queues::start().await;
    let check = || queues.check("postgres://127.0.0.1:1/d");
    let send = queues
        .client
        .send_message()
        .queue_url(queues.stand_in.queue_url("dead"));
    send.message_body("x").send().await.unwrap();
    check().expect(
        "source.feed",
        "dead-letter queue",
        "warn",
        "dead holds 1 messages",
    );
    queues
        .set("feed", Name::MessageRetentionPeriod, "345600")
        .await;
    queues
        .set("dead", Name::MessageRetentionPeriod, "345600")
        .await;
    let findings = check();
    findings.expect("source.feed", "retention", "ok", "4 days");
    findings.expect(
        "source.feed",
        "dead-letter retention",
        "warn",
        "kept for 4 days, messages for 4 days",
    );
    queues
        .set("feed", Name::MessageRetentionPeriod, "90000")
        .await;
    let findings = check();
    findings.expect("source.feed", "retention", "warn", "25.0 hours");
    findings.expect("source.feed", "dead-letter retention", "ok", "4 days");
    for (receives, status) in [(4, "warn"), (5, "ok"), (100, "ok"), (101, "warn")] {
        queues
            .set("feed", Name::RedrivePolicy, &redrive(receives))
            .await;
        check().expect("source.feed", "receives", status, &receives.to_string());
    }
    queues.delete("dead").await;
    check().expect(
        "source.feed",
        "dead-letter queue",
        "fail",
        "dead, which does not exist",
    );
    queues.set("feed", Name::RedrivePolicy, "").await;
    check().expect("source.feed", "dead-letter queue", "warn", "there is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_queue_takes_nothing_out() {
    let queues = Queues::start().await;
    let url = queues.stand_in.queue_url("feed");
    queues
        .client
        .send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    queues.check("postgres://127.0.0.1:1/d").expect(
        "source.feed",
        "queue",
        "ok",
        "1 messages wait, 0 are in flight",
    );
    let receive = queues.client.receive_message().queue_url(&url);
    let count = aws_sdk_sqs::types::MessageSystemAttributeName::ApproximateReceiveCount;
    let received = receive
        .message_system_attribute_names(count.clone())
        .send()
        .await
        .unwrap();
    let attributes = received.messages()[0].attributes.as_ref().unwrap();
    assert_eq!(attributes[&count], "1");
}

/// An SQS that grants the right to change visibility alone besides the attributes, and whose clock is `ahead` seconds ahead.
async fn strict_service(refuses: &'static str, ahead: i64) -> String {
    let answer = move |headers: HeaderMap| async move {
        let operation = headers["x-amz-target"]
            .to_str()
            .unwrap()
            .replace("AmazonSQS.", "");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let date = aws_sdk_sqs::primitives::DateTime::from_secs(now.as_secs() as i64 + ahead);
        let date = date
            .fmt(aws_sdk_sqs::primitives::DateTimeFormat::HttpDate)
            .unwrap();
        let headers = [
            ("date", date),
            ("content-type", "application/x-amz-json-1.0".to_owned()),
        ];
        if refuses.split(' ').any(|refused| refused == operation) {
            let body = r#"{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not allowed"}"#;
            return (StatusCode::FORBIDDEN, headers, body);
        }
        let body = match operation.as_str() {
            "GetQueueAttributes" => {
                r#"{"Attributes":{"KmsMasterKeyId":"k","FifoQueue":"true","ApproximateNumberOfMessagesNotVisible":"90000"}}"#
            }
            _ => {
                r#"{"Successful":[],"Failed":[{"Id":"0","SenderFault":true,"Code":"ReceiptHandleIsInvalid"}]}"#
            }
        };
        (StatusCode::OK, headers, body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    endpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing() {
    let database = "postgres://127.0.0.1:1/d";
    let findings = check(
        database,
        &strict_service("DeleteMessageBatch", 0).await,
        &[],
    );
    findings.expect("source.feed", "right to delete", "fail", "not allowed");
    findings.expect("source.feed", "right to change visibility", "ok", "granted");
    findings.expect("source.feed", "encryption", "ok", "kms:Decrypt");
    findings.expect("source.feed", "kind", "warn", "first-in-first-out");
    let full = "90000 are in flight, ? are delayed: at 120000 SQS gives no more";
    findings.expect("source.feed", "queue", "warn", full);
    let refuses = "GetQueueAttributes ChangeMessageVisibilityBatch";
    let findings = check(database, &strict_service(refuses, 0).await, &[]);
    findings.expect("source.feed", "queue", "fail", "not allowed");
    findings.expect("source.feed", "right to delete", "ok", "granted");
    findings.expect(
        "source.feed",
        "right to change visibility",
        "fail",
        "not allowed",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off() {
    for (ahead, refuses, status, words) in [
        (30, "", "ok", "behind"),
        (120, "", "warn", "behind the service's"),
        (-120, "", "warn", "ahead of the service's"),
        // Then every call is refused, and the refusal tells why.
        (
            -1000,
            "GetQueueAttributes",
            "fail",
            "AWS refuses such signatures",
        ),
    ] {
        let endpoint = strict_service(refuses, ahead).await;
        let findings = check("postgres://127.0.0.1:1/d", &endpoint, &[]);
        findings.expect("source.feed", "clock", status, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credentials() {
    let none = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("HOME", "/nonexistent"),
    ];
    let findings = check("postgres://127.0.0.1:1/d", "http://127.0.0.1:1", &none);
    findings.expect("source.feed", "queue", "fail", "no credentials");
    let (_, found) = findings.get("source.feed", "queue");
    assert!(!found.contains('{'), "{found}");
    assert!(!findings.has("right to delete"));
}
