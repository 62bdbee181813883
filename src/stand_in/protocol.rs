//! The AWS JSON 1.0 protocol of SQS: what comes in, what goes out, and how a refusal looks.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};

/// The content type of every request and response.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// A batch holds at most this many entries.
const MAX_BATCH_ENTRIES: usize = 10;

/// A request that SQS would refuse, or one entry of a batch that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// The refusal of a parameter's value.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    /// The refusal of a request that lacks a parameter.
    pub fn missing(parameter: &str) -> Self {
        let message = format!("the request must contain the parameter {parameter}");
        Self::new(Code::MissingParameter, message)
    }

    /// The refusal as the entry of a batch response.
    pub fn entry(self, id: String) -> FailedEntry {
        FailedEntry {
            id,
            sender_fault: true,
            code: self.code.names().1,
            message: self.message,
        }
    }
}

/// The closed list of errors the stand-in answers with. All are the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MissingParameter,
    OverLimit,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    Serialization,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
    UnsupportedOperation,
}

impl Code {
    /// The `__type` of the JSON protocol and the code of the older query protocol, which goes into the
    /// `x-amzn-query-error` header. The Rust SDK goes by the second, boto3 by both.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Code::BatchEntryIdsNotDistinct => (
                "com.amazonaws.sqs#BatchEntryIdsNotDistinct",
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            ),
            Code::BatchRequestTooLong => (
                "com.amazonaws.sqs#BatchRequestTooLong",
                "AWS.SimpleQueueService.BatchRequestTooLong",
            ),
            Code::EmptyBatchRequest => (
                "com.amazonaws.sqs#EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
            ),
            Code::InvalidAttributeName => (
                "com.amazonaws.sqs#InvalidAttributeName",
                "InvalidAttributeName",
            ),
            Code::InvalidAttributeValue => (
                "com.amazonaws.sqs#InvalidAttributeValue",
                "InvalidAttributeValue",
            ),
            Code::InvalidBatchEntryId => (
                "com.amazonaws.sqs#InvalidBatchEntryId",
                "AWS.SimpleQueueService.InvalidBatchEntryId",
            ),
            Code::InvalidMessageContents => (
                "com.amazonaws.sqs#InvalidMessageContents",
                "InvalidMessageContents",
            ),
            Code::InvalidParameterValue => (
                "com.amazon.coral.service#InvalidParameterValueException",
                "InvalidParameterValue",
            ),
            Code::MissingParameter => (
                "com.amazon.coral.service#MissingRequiredParameterException",
                "MissingParameter",
            ),
            Code::OverLimit => ("com.amazonaws.sqs#OverLimit", "OverLimit"),
            Code::QueueDoesNotExist => (
                "com.amazonaws.sqs#QueueDoesNotExist",
                "AWS.SimpleQueueService.NonExistentQueue",
            ),
            Code::QueueNameExists => ("com.amazonaws.sqs#QueueNameExists", "QueueAlreadyExists"),
            Code::ReceiptHandleIsInvalid => (
                "com.amazonaws.sqs#ReceiptHandleIsInvalid",
                "ReceiptHandleIsInvalid",
            ),
            Code::Serialization => (
                "com.amazon.coral.service#SerializationException",
                "SerializationException",
            ),
            Code::TooManyEntriesInBatchRequest => (
                "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            ),
            Code::UnknownOperation => (
                "com.amazon.coral.service#UnknownOperationException",
                "UnknownOperationException",
            ),
            Code::UnsupportedOperation => (
                "com.amazonaws.sqs#UnsupportedOperation",
                "AWS.SimpleQueueService.UnsupportedOperation",
            ),
        }
    }
}

/// Reads a request body.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(Code::Serialization, error.to_string()))
}

/// Writes a response body; `size` is a guess that spares growing the buffer.
pub fn write<T: Serialize>(response: &T, size: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::with_capacity(size);
    serde_json::to_writer(&mut body, response)
        .map_err(|error| Refusal::new(Code::Serialization, error.to_string()))?;
    Ok(body)
}

/// Checks what is common to all batches: the number of entries and their ids.
pub fn check_batch<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Refusal> {
    let count = ids.len();
    if count == 0 {
        let message = "there should be at least one entry in the batch request";
        return Err(Refusal::new(Code::EmptyBatchRequest, message));
    }
    if count > MAX_BATCH_ENTRIES {
        let message =
            format!("a batch request holds at most {MAX_BATCH_ENTRIES} entries, not {count}");
        return Err(Refusal::new(Code::TooManyEntriesInBatchRequest, message));
    }
    let mut seen = HashSet::new();
    for id in ids {
        let well_formed = id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if id.is_empty() || id.len() > 80 || !well_formed {
            let message = "a batch entry id is 1 to 80 letters, digits, hyphens and underscores";
            return Err(Refusal::new(Code::InvalidBatchEntryId, message));
        }
        if !seen.insert(id) {
            let message = format!("batch entry id {id} is not distinct");
            return Err(Refusal::new(Code::BatchEntryIdsNotDistinct, message));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateQueue {
    pub queue_name: String,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetQueueUrl {
    pub queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListQueues {
    #[serde(default)]
    pub queue_name_prefix: String,
    pub max_results: Option<usize>,
    pub next_token: Option<String>,
}

/// DeleteQueue and PurgeQueue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OneQueue {
    pub queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetQueueAttributes {
    pub queue_url: String,
    #[serde(default)]
    pub attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SetQueueAttributes {
    pub queue_url: String,
    pub attributes: BTreeMap<String, String>,
}

/// One message to send: the whole of SendMessage but the queue, or an entry of SendMessageBatch.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SendEntry<'a> {
    #[serde(default)]
    pub id: String,
    /// Taken as it was written, escapes included, so that it can be handed out again without escaping.
    #[serde(borrow)]
    pub message_body: Option<&'a RawValue>,
    pub delay_seconds: Option<i64>,
    #[serde(default, borrow)]
    pub message_attributes: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SendMessageBatch<'a> {
    pub queue_url: String,
    #[serde(borrow)]
    pub entries: Vec<SendEntry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceiveMessage {
    pub queue_url: String,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
    #[serde(default)]
    pub attribute_names: Vec<String>,
    #[serde(default)]
    pub message_system_attribute_names: Vec<String>,
}

/// One receipt: the whole of DeleteMessage or ChangeMessageVisibility but the queue, or an entry of their batches.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceiptEntry {
    #[serde(default)]
    pub id: String,
    pub receipt_handle: String,
    pub visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceiptBatch {
    pub queue_url: String,
    pub entries: Vec<ReceiptEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrl {
    pub queue_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrls {
    pub queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueAttributes {
    pub attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SentMessage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub md5_of_message_body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceivedMessage<'a> {
    pub message_id: &'a str,
    pub receipt_handle: &'a str,
    #[serde(rename = "MD5OfBody")]
    pub md5_of_body: &'a str,
    pub body: &'a RawValue,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceivedMessages<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<ReceivedMessage<'a>>,
}

/// The response to a batch: which entries were done and which were not.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchResult<T> {
    pub successful: Vec<T>,
    pub failed: Vec<FailedEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DoneEntry {
    pub id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailedEntry {
    pub id: String,
    pub sender_fault: bool,
    pub code: &'static str,
    pub message: String,
}
