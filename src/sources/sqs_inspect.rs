//! What `hydrant check` asks a queue. Nothing is received, deleted or changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use aws_smithy_types::date_time::Format;
use serde_json::Value;

use super::sqs::{Sqs, no_answer, within_call};
use super::sqs_error::SqsError;
use crate::clock;

/// A receipt handle of no message: SQS refuses it, but only to those who have the right.
const NO_RECEIPT: &str = "hydrant-check";

pub type Attributes = HashMap<QueueAttributeName, String>;

impl Sqs {
    /// All attributes, and by how many seconds our clock is ahead of the server's, where its answer tells. A refusal
    /// tells, too: it may be a refusal because of the clock.
    pub async fn all_attributes(&self) -> (Result<Attributes, SqsError>, Option<i64>) {
        let ahead = Ahead::default();
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .attribute_names(QueueAttributeName::All)
            .customize()
            .interceptor(ahead.clone());
        let doing = "read the queue's attributes";
        let attributes = match within_call(request.send()).await {
            Some(Ok(reply)) => Ok(reply.attributes.unwrap_or_default()),
            Some(Err(error)) => Err(self.explain(doing, error)),
            None => Err(no_answer(doing)),
        };
        let ahead = *ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        (attributes, ahead)
    }

    /// Whether we may delete messages, by deleting none.
    ///
    /// # Errors
    /// We may not, or SQS does not answer.
    pub async fn try_delete(&self) -> Result<(), SqsError> {
        let entry = DeleteMessageBatchRequestEntry::builder()
            .id("0")
            .receipt_handle(NO_RECEIPT);
        let request = self
            .client
            .delete_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(entry.build().ok().map(|entry| vec![entry]));
        let doing = "delete messages";
        match within_call(request.send()).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(self.explain(doing, error)),
            None => Err(no_answer(doing)),
        }
    }

    /// Whether we may change how long messages are hidden, by changing none.
    ///
    /// # Errors
    /// We may not, or SQS does not answer.
    pub async fn try_change_visibility(&self) -> Result<(), SqsError> {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
            .id("0")
            .receipt_handle(NO_RECEIPT)
            .visibility_timeout(0);
        let request = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.queue_url)
            .set_entries(entry.build().ok().map(|entry| vec![entry]));
        let doing = "change the visibility of messages";
        match within_call(request.send()).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(self.explain(doing, error)),
            None => Err(no_answer(doing)),
        }
    }
}

/// How many messages wait.
#[derive(Debug)]
pub struct Depth {
    /// To be received now, or later because their sender said so.
    pub waiting: u64,
    /// Received and not deleted, by whomever.
    pub in_flight: u64,
    /// Seconds for which the queue keeps them.
    pub retention: Option<u64>,
    /// In the dead-letter queue, if there is one.
    pub dead_letters: Option<Result<u64, SqsError>>,
}

impl Sqs {
    /// How many messages there are, by the queue's own estimate.
    ///
    /// # Errors
    /// SQS does not answer or refuses us, or there is no such queue.
    pub async fn depth(&self) -> Result<Depth, SqsError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible, MessageRetentionPeriod, RedrivePolicy,
        };
        let names = [
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
            MessageRetentionPeriod,
            RedrivePolicy,
        ];
        let attributes = self.attributes(&names).await?;
        let dead_letters = match dead_letter_queue(&attributes) {
            Some(name) => Some(self.beside(&name).visible().await),
            None => None,
        };
        Ok(Depth {
            waiting: count(&attributes, &names[0]).unwrap_or(0)
                + count(&attributes, &names[1]).unwrap_or(0),
            in_flight: count(&attributes, &names[2]).unwrap_or(0),
            retention: count(&attributes, &names[3]),
            dead_letters,
        })
    }

    async fn visible(&self) -> Result<u64, SqsError> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let attributes = self.attributes(std::slice::from_ref(&name)).await?;
        Ok(count(&attributes, &name).unwrap_or(0))
    }
}

fn count(attributes: &Attributes, name: &QueueAttributeName) -> Option<u64> {
    attributes.get(name)?.parse().ok()
}

/// The name of the queue's dead-letter queue, if it has one.
pub fn dead_letter_queue(attributes: &Attributes) -> Option<String> {
    let policy = attributes.get(&QueueAttributeName::RedrivePolicy)?;
    let policy: Value = serde_json::from_str(policy).ok()?;
    let arn = policy["deadLetterTargetArn"].as_str()?;
    arn.rsplit(':').next().map(str::to_owned)
}

/// Compares our clock with the date of an answer.
#[derive(Clone, Debug, Default)]
struct Ahead(Arc<Mutex<Option<i64>>>);

impl Intercept for Ahead {
    fn name(&self) -> &'static str {
        "Ahead"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date =
            date.and_then(|date| aws_smithy_types::DateTime::from_str(date, Format::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            date.map(|date| clock::unix_seconds() - date.secs());
        Ok(())
    }
}
