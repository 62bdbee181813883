//! What the clients of Amazon's services have in common: where they call, as whom, and what a refusal means.

use aws_config::SdkConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The code where it did not come to a call.
pub const NO_CREDENTIALS: &str = "no credentials";

/// The standard chain of credentials, and where to call: `region` where it is known, and `endpoint_url` instead of
/// Amazon's own. No call is made yet.
pub async fn chain(region: Option<String>, endpoint_url: Option<&str>) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    let chain = loader.load().await;
    if chain.region().is_none() && endpoint_url.is_some() {
        // A local service has no regions, but the signature needs one.
        let local = Region::from_static("us-east-1");
        return chain.into_builder().region(local).build();
    }
    chain
}

/// Why a call failed, in the service's words.
#[derive(Debug)]
pub struct Failure {
    /// `no answer` where none came.
    pub code: String,
    pub detail: String,
    /// Credentials or rights.
    pub is_denied: bool,
}

impl Failure {
    pub fn new<E, R>(error: SdkError<E, R>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let detail = match error.message() {
            Some(message) => message.to_owned(),
            None => chain_of_causes(&error),
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
        let is_denied = no_credentials || denied.iter().any(|word| code.contains(word));
        let code = match (code.is_empty(), is_denied) {
            (false, _) => code,
            (true, true) => NO_CREDENTIALS.to_owned(),
            (true, false) => "no answer".to_owned(),
        };
        Failure {
            code,
            detail,
            is_denied,
        }
    }
}

/// An error with its causes. The SDK's own way of showing them adds pages of its innards, responses with headers included.
fn chain_of_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
