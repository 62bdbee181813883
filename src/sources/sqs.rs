//! Amazon SQS: receive by long poll, delete in batches, extend and release by visibility.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::StalledStreamProtectionConfig;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
};
use futures_util::StreamExt;
use metrics::counter;

use super::sqs_error::SqsError;
use super::{Delivery, aws};
use crate::config::SqsQueue;
use crate::telemetry;

/// Entries of one batch request, and messages of one receive: AWS' limit.
pub const BATCH_MAX: usize = 10;
/// Batch requests under way at once for one worker.
const REQUESTS_MAX: usize = 8;
/// A call that is no long poll is given up after this time.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to delete a message before it is left to redelivery.
const DELETE_ATTEMPTS: u32 = 3;

/// One queue.
#[derive(Debug)]
pub struct Sqs {
    name: String,
    pub(super) client: Client,
    pub(super) queue_url: String,
    wait: Duration,
    pub(super) visibility: Duration,
    /// The newest receipt handle of each message that is held. A message can come again while its first copy is in work,
    /// and a delete with its older handle reports success and may delete nothing.
    receipts: Mutex<HashMap<String, String>>,
}

/// What one receive gave.
/// Messages whose visibility could not be changed, and why not the first of them.
#[derive(Debug, Default)]
pub(super) struct Unchanged {
    pub messages: usize,
    pub why: Option<String>,
}

#[derive(Debug)]
pub struct Received {
    pub deliveries: Vec<Delivery>,
    /// When the oldest of them was sent, in seconds since 1970; `None` without any.
    pub oldest: Option<i64>,
}

impl Sqs {
    /// A client for a source's queue. No call is made yet.
    pub async fn new(name: &str, queue: &SqsQueue) -> Sqs {
        // The longest attempt is a long poll; without a limit a lost connection would hang its worker for ever.
        let wait = Duration::from_secs(queue.wait_time_secs);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(wait + CALL_TIMEOUT)
            .build();
        let region = queue.region.clone().or_else(|| region_of(&queue.queue_url));
        let chain = aws::chain(region, queue.endpoint_url.as_deref()).await;
        let config = aws_sdk_sqs::config::Builder::from(&chain)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Sqs {
            name: name.to_owned(),
            client: Client::from_conf(config.build()),
            queue_url: queue.queue_url.clone(),
            wait,
            visibility: Duration::from_secs(queue.visibility_timeout_secs),
            receipts: Mutex::default(),
        }
    }

    /// Another queue of the same account and region, such as the dead-letter queue.
    pub fn beside(&self, queue: &str) -> Sqs {
        let above = self
            .queue_url
            .rsplit_once('/')
            .map_or("", |(above, _)| above);
        Sqs {
            name: self.name.clone(),
            client: self.client.clone(),
            queue_url: format!("{above}/{queue}"),
            wait: self.wait,
            visibility: self.visibility,
            receipts: Mutex::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a receive answers at once where there is nothing.
    pub fn polls_at_once(&self) -> bool {
        self.wait.is_zero()
    }

    pub(super) fn receipts(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for up to ten messages, as long as configured, or not at all.
    ///
    /// # Errors
    /// The caller waits and asks again.
    pub async fn receive(&self, long_poll: bool) -> Result<Received, SqsError> {
        let wait = if long_poll { self.wait } else { Duration::ZERO };
        let received = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(BATCH_MAX as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .visibility_timeout(self.visibility.as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|error| self.explain("receive messages", error))?;
        let mut receipts = self.receipts();
        let messages = received.messages.unwrap_or_default();
        let oldest = messages.iter().filter_map(sent).min();
        let mut deliveries = Vec::new();
        for message in messages {
            let attempt = receive_count(&message);
            let (Some(id), Some(receipt)) = (message.message_id, message.receipt_handle) else {
                continue;
            };
            receipts.insert(id.clone(), receipt);
            deliveries.push(Delivery {
                id,
                body: message.body.unwrap_or_default().into_bytes(),
                format: 0,
                place: None,
                attempt,
            });
        }
        Ok(Received { deliveries, oldest })
    }

    /// Deletes messages whose events are all committed. What cannot be deleted comes again, and changes nothing.
    pub async fn delete(&self, ids: &[String]) {
        futures_util::stream::iter(chunks(&self.take_receipts(ids)))
            .for_each_concurrent(REQUESTS_MAX, |chunk| self.delete_chunk(chunk))
            .await;
    }

    async fn delete_chunk(&self, receipts: Vec<String>) {
        let mut left: Vec<&String> = receipts.iter().collect();
        for attempt in 1..=DELETE_ATTEMPTS {
            let entries = left.iter().enumerate().map(|(at, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(receipt.as_str())
                    .build()
            });
            let Ok(entries) = entries.collect::<Result<Vec<_>, _>>() else {
                return;
            };
            let request = self
                .client
                .delete_message_batch()
                .queue_url(&self.queue_url)
                .set_entries(Some(entries));
            let (again, why) = match within_call(request.send()).await {
                Some(Ok(reply)) => {
                    counter!(telemetry::MESSAGES_DELETED, "source" => self.name.clone())
                        .increment(reply.successful.len() as u64);
                    let why = reply.failed.first().map(|entry| entry.code.clone());
                    (
                        self.sort_failed(&left, &reply.failed),
                        why.unwrap_or_default(),
                    )
                }
                Some(Err(error)) => (
                    left.clone(),
                    self.explain("delete messages", error).to_string(),
                ),
                None => (left.clone(), "no answer".to_owned()),
            };
            left = again;
            if left.is_empty() {
                return;
            }
            if attempt == DELETE_ATTEMPTS {
                counter!(telemetry::DELETE_FAILURES, "source" => self.name.clone())
                    .increment(left.len() as u64);
                tracing::warn!(
                    source = self.name,
                    messages = left.len(),
                    error = why,
                    "messages could not be deleted; they will come again"
                );
            } else {
                tokio::time::sleep(Duration::from_millis(
                    rand::random_range(50..300) * u64::from(attempt),
                ))
                .await;
            }
        }
    }

    /// Those entries that are worth another try. A fault of the sender is final: the message comes again.
    fn sort_failed<'a>(
        &self,
        sent: &[&'a String],
        failed: &[BatchResultErrorEntry],
    ) -> Vec<&'a String> {
        let (final_ones, again): (Vec<_>, Vec<_>) =
            failed.iter().partition(|entry| entry.sender_fault);
        if !final_ones.is_empty() {
            counter!(telemetry::DELETE_FAILURES, "source" => self.name.clone())
                .increment(final_ones.len() as u64);
            let code = final_ones.first().map(|entry| entry.code.as_str());
            tracing::warn!(
                source = self.name,
                messages = final_ones.len(),
                code,
                "messages could not be deleted; they will come again"
            );
        }
        again
            .iter()
            .filter_map(|entry| sent.get(entry.id.parse::<usize>().ok()?).copied())
            .collect()
    }

    /// Gives messages back at once.
    pub async fn release(&self, ids: &[String]) {
        let receipts = self.take_receipts(ids);
        counter!(telemetry::MESSAGES_RELEASED, "source" => self.name.clone())
            .increment(receipts.len() as u64);
        let failed = self.change_visibility(&receipts, Duration::ZERO).await;
        if failed.messages > 0 {
            tracing::warn!(
                source = self.name,
                messages = failed.messages,
                error = failed.why,
                "messages could not be released; they come again after their visibility timeout"
            );
        }
    }

    /// Sets how long messages stay invisible from now on; what could not be set.
    pub(super) async fn change_visibility(
        &self,
        receipts: &[String],
        timeout: Duration,
    ) -> Unchanged {
        futures_util::stream::iter(chunks(receipts))
            .map(|chunk| self.change_chunk(chunk, timeout))
            .buffer_unordered(REQUESTS_MAX)
            .fold(Unchanged::default(), |failed, more| async move {
                Unchanged {
                    messages: failed.messages + more.messages,
                    why: failed.why.or(more.why),
                }
            })
            .await
    }

    async fn change_chunk(&self, receipts: Vec<String>, timeout: Duration) -> Unchanged {
        let none_of_them = |why: String| Unchanged {
            messages: receipts.len(),
            why: Some(why),
        };
        let entries = receipts.iter().enumerate().map(|(at, receipt)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(at.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(timeout.as_secs() as i32)
                .build()
        });
        let entries = match entries.collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(error) => return none_of_them(error.to_string()),
        };
        let request = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries));
        match within_call(request.send()).await {
            Some(Ok(reply)) => Unchanged {
                messages: reply.failed.len(),
                why: reply.failed.first().map(|entry| entry.code.clone()),
            },
            Some(Err(error)) => {
                none_of_them(self.explain("change the visibility", error).to_string())
            }
            None => none_of_them("no answer".to_owned()),
        }
    }

    /// The newest receipt handles of messages, which are then no longer held.
    fn take_receipts(&self, ids: &[String]) -> Vec<String> {
        let mut receipts = self.receipts();
        ids.iter().filter_map(|id| receipts.remove(id)).collect()
    }

    /// Whether nothing is left, visible or in flight; `None` where we may not ask.
    ///
    /// # Errors
    /// SQS does not answer, or there is no such queue.
    pub async fn is_drained(&self) -> Result<Option<bool>, SqsError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let names = [
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        ];
        match self.attributes(&names).await {
            Ok(attributes) => {
                Ok(Some(names.iter().all(|name| {
                    attributes.get(name).is_none_or(|count| count == "0")
                })))
            }
            Err(SqsError::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Attributes of the queue.
    ///
    /// # Errors
    /// SQS does not answer or refuses us, or there is no such queue.
    pub async fn attributes(
        &self,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, SqsError> {
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .set_attribute_names(Some(names.to_vec()));
        let doing = "read the queue's attributes";
        match within_call(request.send()).await {
            Some(Ok(reply)) => Ok(reply.attributes.unwrap_or_default()),
            Some(Err(error)) => Err(self.explain(doing, error)),
            None => Err(no_answer(doing)),
        }
    }

    pub(super) fn explain<E, R>(&self, doing: &'static str, error: SdkError<E, R>) -> SqsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        SqsError::new(&self.queue_url, doing, error)
    }
}

fn receive_count(message: &Message) -> u32 {
    attribute(
        message,
        &MessageSystemAttributeName::ApproximateReceiveCount,
    )
    .unwrap_or(1)
}

/// When a message was sent, in seconds since 1970.
fn sent(message: &Message) -> Option<i64> {
    let millis: i64 = attribute(message, &MessageSystemAttributeName::SentTimestamp)?;
    Some(millis / 1000)
}

fn attribute<T: FromStr>(message: &Message, name: &MessageSystemAttributeName) -> Option<T> {
    message.attributes.as_ref()?.get(name)?.parse().ok()
}

/// As many entries as one batch request may have.
fn chunks(receipts: &[String]) -> Vec<Vec<String>> {
    receipts.chunks(BATCH_MAX).map(<[String]>::to_vec).collect()
}

/// The reply of a call that is no long poll, if it comes in time.
pub(super) async fn within_call<T>(call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(CALL_TIMEOUT, call).await.ok()
}

/// What [`within_call`] without a reply means.
pub(super) fn no_answer(doing: &'static str) -> SqsError {
    SqsError::Failed {
        doing,
        code: "timeout".to_owned(),
        detail: format!("no answer in {} s", CALL_TIMEOUT.as_secs()),
    }
}

/// The region that a queue's URL names, as in `https://sqs.us-east-1.amazonaws.com/…`.
pub fn region_of(queue_url: &str) -> Option<String> {
    let host = queue_url.split("//").nth(1)?.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split(".amazonaws.com").next()?;
    (region != host && !region.contains('.')).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_url_may_tell_its_region() {
        assert_eq!(
            region_of("https://sqs.eu-west-1.amazonaws.com/1/q").as_deref(),
            Some("eu-west-1")
        );
        assert_eq!(
            region_of("https://sqs.cn-north-1.amazonaws.com.cn/1/q").as_deref(),
            Some("cn-north-1")
        );
        assert_eq!(region_of("http://127.0.0.1:4566/0/q"), None);
        assert_eq!(region_of("https://sqs.example.org/0/q"), None);
    }
}
