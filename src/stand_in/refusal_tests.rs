//! What the stand-in refuses, as the real SDK sees it.

use super::sdk_tests::Bench;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, SendMessageBatchRequestEntry,
};
use std::time::Duration;

#[tokio::test]
async fn batches_answer_entry_by_entry() {
    let bench = Bench::new().await;
    let entry = |id: &str, body: String| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(body)
            .build()
            .unwrap()
    };
    let send = |entries: Vec<SendMessageBatchRequestEntry>| {
        let request = bench.client.send_message_batch().queue_url(&bench.url);
        request.set_entries(Some(entries)).send()
    };
    let sent = send(vec![entry("a", "x".into()), entry("b", "\u{1}".into())])
        .await
        .unwrap();
    assert_eq!(
        sent.successful[0].md5_of_message_body,
        "9dd4e461268c8034f5c8564e155c67a6"
    );
    assert_eq!(sent.failed[0].code, "InvalidMessageContents");

    let messages = bench.receive(&bench.url, 30, 0).await;
    let delete = |id: &str, handle: &str| {
        let entry = DeleteMessageBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(handle);
        entry.build().unwrap()
    };
    let request = bench.client.delete_message_batch().queue_url(&bench.url);
    let request = request.entries(delete("0", "garbage"));
    let request = request.entries(delete("1", messages[0].receipt_handle().unwrap()));
    let deleted = request.send().await.unwrap();
    assert_eq!(deleted.failed[0].id, "0");
    assert_eq!(deleted.failed[0].code, "ReceiptHandleIsInvalid");
    assert_eq!(deleted.successful[0].id, "1");

    let error = send(vec![]).await.unwrap_err().into_service_error();
    assert!(error.is_empty_batch_request(), "{error:?}");
    let many = (0..11).map(|n| entry(&n.to_string(), "x".into())).collect();
    let error = send(many).await.unwrap_err().into_service_error();
    assert_eq!(
        error.code(),
        Some("AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
    );
    let twice = vec![entry("a", "x".into()), entry("a", "y".into())];
    let error = send(twice).await.unwrap_err().into_service_error();
    assert!(error.is_batch_entry_ids_not_distinct(), "{error:?}");
    let odd = vec![entry("a b", "x".into())];
    let error = send(odd).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_batch_entry_id(), "{error:?}");
    // Three times as long on the wire as it counts.
    let long = (0..10)
        .map(|n| entry(&n.to_string(), "\"".repeat(110_000)))
        .collect();
    let error = send(long).await.unwrap_err().into_service_error();
    assert!(error.is_batch_request_too_long(), "{error:?}");
    let full = (0..10)
        .map(|n| entry(&n.to_string(), "\"".repeat(104_000)))
        .collect();
    assert_eq!(send(full).await.unwrap().successful.len(), 10);
    let messages = bench.receive(&bench.url, 30, 0).await;
    assert!(
        messages
            .iter()
            .all(|message| message.body().unwrap() == "\"".repeat(104_000))
    );
}

#[tokio::test]
async fn a_missing_queue_is_the_error_it_is() {
    let bench = Bench::new().await;
    let missing = bench.stand_in.queue_url("missing");
    let request = bench.client.receive_message().queue_url(&missing);
    let error = request.send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");
    let request = bench.client.delete_message_batch().queue_url(&missing);
    let entry = DeleteMessageBatchRequestEntry::builder()
        .id("0")
        .receipt_handle("x");
    let request = request.entries(entry.build().unwrap());
    let error = request.send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");
    let request = bench.client.get_queue_url().queue_name("missing");
    let error = request.send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");

    // A queue that is deleted while a receive waits at it.
    let delete = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench
            .client
            .delete_queue()
            .queue_url(&bench.url)
            .send()
            .await
            .unwrap();
    };
    let request = bench
        .client
        .receive_message()
        .queue_url(&bench.url)
        .wait_time_seconds(20);
    let (output, ()) = tokio::join!(request.send(), delete);
    let error = output.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");
}

#[tokio::test]
async fn what_the_stand_in_does_not_have_is_refused() {
    let Bench { client, url, .. } = &Bench::new().await;
    let request = client.create_queue().queue_name("feed.fifo");
    let error = request.send().await.unwrap_err().into_service_error();
    assert!(error.is_unsupported_operation(), "{error:?}");
    let value = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("v");
    let request = client.send_message().queue_url(url).message_body("x");
    let request = request.message_attributes("a", value.build().unwrap());
    let error = request.send().await.unwrap_err().into_service_error();
    assert!(error.is_unsupported_operation(), "{error:?}");
    let request = client.tag_queue().queue_url(url).tags("a", "b");
    let error = request.send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn values_beyond_the_limits_are_refused() {
    let Bench { client, url, .. } = &Bench::new().await;
    let receive = || client.receive_message().queue_url(url);
    for request in [
        receive().max_number_of_messages(11),
        receive().max_number_of_messages(0),
        receive().wait_time_seconds(21),
        receive().visibility_timeout(43_201),
    ] {
        let error = request.send().await.unwrap_err().into_service_error();
        assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
    }
    let send = |body: String| {
        client
            .send_message()
            .queue_url(url)
            .message_body(body)
            .send()
    };
    let error = send("x".repeat(1_048_577))
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
    let error = send(String::new()).await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("MissingParameter"), "{error:?}");
    send("x".repeat(1_048_576)).await.unwrap();
}
