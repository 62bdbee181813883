//! What a failed call to S3 means.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// Why a call failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The bucket does not exist, here and now.
    #[error("the bucket {0} does not exist: check bucket, region and endpoint_url")]
    NoBucket(String),
    /// Credentials or rights.
    #[error("S3 refuses the credentials or the right to {doing} ({code}): {detail}")]
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

const DENIED: [&str; 8] = [
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "PermanentRedirect",
];

impl S3Error {
    /// Sorts the error of a call; `doing` says what failed.
    pub(super) fn new<E, R>(bucket: &str, doing: &'static str, error: &SdkError<E, R>) -> S3Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let code = error.code().unwrap_or_default().to_owned();
        if code == "NoSuchBucket" {
            return S3Error::NoBucket(bucket.to_owned());
        }
        let detail = error
            .message()
            .map_or_else(|| chain(error), ToOwned::to_owned);
        let no_credentials =
            matches!(error, SdkError::ConstructionFailure(_)) || detail.contains("credential");
        if no_credentials || DENIED.contains(&code.as_str()) {
            let code = match code.as_str() {
                "" => "no credentials".to_owned(),
                _ => code,
            };
            return S3Error::Denied {
                doing,
                code,
                detail,
            };
        }
        let code = match code.as_str() {
            "" => "no answer".to_owned(),
            _ => code,
        };
        S3Error::Failed {
            doing,
            code,
            detail,
        }
    }

    /// A page says that there are more, and not where.
    pub(super) fn no_token() -> S3Error {
        S3Error::Failed {
            doing: "list the bucket",
            code: "no token".to_owned(),
            detail: "the answer has no end and does not say where it goes on".to_owned(),
        }
    }

    /// The bytes of an object ended early.
    pub(super) fn broken_off(error: &(dyn std::error::Error + 'static)) -> S3Error {
        S3Error::Failed {
            doing: "read an object to its end",
            code: "broken off".to_owned(),
            detail: chain(error),
        }
    }
}

/// An error with its causes. The SDK's own way of showing them adds pages of its innards, responses with headers included.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
