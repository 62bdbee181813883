//! What a failed call to Kinesis means.

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

use super::aws::Failure;

/// Why a call failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KinesisError {
    /// The stream, or one of its shards, does not exist, here and now.
    #[error("the stream {0} or its shard does not exist: check stream, region and endpoint_url")]
    NoStream(String),
    /// Credentials or rights.
    #[error("Kinesis refuses the credentials or the right to {doing} ({code}): {detail}")]
    Denied {
        doing: &'static str,
        code: String,
        detail: String,
    },
    /// All who read the shard have used up what it gives in a second.
    #[error("could not {doing}: the limit of the shard or of the account is used up ({code})")]
    Throttled { doing: &'static str, code: String },
    /// An iterator lives for five minutes: ask for another.
    #[error("the shard iterator has expired")]
    ExpiredIterator,
    /// Kinesis does not take what it was asked for, such as a position that is not of this shard.
    #[error("could not {doing} ({code}): {detail}")]
    Refused {
        doing: &'static str,
        code: String,
        detail: String,
    },
    /// A fault of the service or the network: again after a while.
    #[error("could not {doing} ({code}): {detail}")]
    Failed {
        doing: &'static str,
        code: String,
        detail: String,
    },
}

impl KinesisError {
    /// Sorts the error of a call; `doing` says what failed.
    pub(super) fn new<E, R>(
        stream: &str,
        doing: &'static str,
        error: SdkError<E, R>,
    ) -> KinesisError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let Failure {
            code,
            detail,
            is_denied,
        } = Failure::new(error);
        match code.as_str() {
            "ResourceNotFoundException" => KinesisError::NoStream(stream.to_owned()),
            "ExpiredIteratorException" => KinesisError::ExpiredIterator,
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "KMSThrottlingException"
            | "ThrottlingException" => KinesisError::Throttled { doing, code },
            "InvalidArgumentException" | "ValidationException" => KinesisError::Refused {
                doing,
                code,
                detail,
            },
            _ if is_denied => KinesisError::Denied {
                doing,
                code,
                detail,
            },
            _ => KinesisError::Failed {
                doing,
                code,
                detail,
            },
        }
    }
}
