//! What a failed call to SQS means.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::aws::Failure;

/// Why a call failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SqsError {
    /// The queue does not exist, here and now.
    #[error("the queue {0} does not exist: check queue_url, region and endpoint_url")]
    NoQueue(String),
    /// Credentials or rights.
    #[error("SQS refuses the credentials or the right to {doing} ({code}): {detail}")]
    Denied {
        doing: &'static str,
        code: String,
        detail: String,
    },
    /// Throttling, a fault of the service or the network: again after a while.
    #[error("could not {doing} ({code}): {detail}")]
    Failed {
        doing: &'static str,
        code: String,
        detail: String,
    },
}

impl SqsError {
    /// Sorts the error of a call; `doing` says what failed.
    pub(super) fn new<E, R>(queue_url: &str, doing: &'static str, error: SdkError<E, R>) -> SqsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let Failure {
            code,
            detail,
            is_denied,
        } = Failure::new(error);
        if code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist") {
            SqsError::NoQueue(queue_url.to_owned())
        } else if is_denied {
            SqsError::Denied {
                doing,
                code,
                detail,
            }
        } else {
            SqsError::Failed {
                doing,
                code,
                detail,
            }
        }
    }
}
