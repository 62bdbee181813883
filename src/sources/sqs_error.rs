//! What a failed call to SQS means.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// The code where it did not come to a call.
pub const NO_CREDENTIALS: &str = "no credentials";

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
        let code = error.code().unwrap_or_default().to_owned();
        if code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist") {
            return SqsError::NoQueue(queue_url.to_owned());
        }
        let detail = match error.message() {
            Some(message) => message.to_owned(),
            None => chain(&error),
        };
        let no_credentials =
            matches!(error, SdkError::ConstructionFailure(_)) || detail.contains("credential");
        let denied = [
            "AccessDenied",
            "ExpiredToken",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "UnrecognizedClient",
            "InvalidSecurity",
            "MissingAuthenticationToken",
            "KmsAccessDenied",
        ];
        if no_credentials || denied.iter().any(|word| code.contains(word)) {
            let code = if code.is_empty() {
                NO_CREDENTIALS.to_owned()
            } else {
                code
            };
            return SqsError::Denied {
                doing,
                code,
                detail,
            };
        }
        let code = if code.is_empty() {
            "no answer".to_owned()
        } else {
            code
        };
        SqsError::Failed {
            doing,
            code,
            detail,
        }
    }
}

/// An error with its causes. The SDK's own way of showing them adds pages of its innards, responses with headers included.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
