//! Amazon S3: the objects of a bucket. Nothing is called but ListObjectsV2 and GetObject: a key that reads exports may be
//! one that could write.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::object::{Bytes, Listed, Object, ObjectError, Position, Version};
use super::s3_error::S3Error;
use crate::config;

/// A call is given up when its answer does not begin in this time.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// And the bytes of an object when none come for this long.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The objects of a bucket below a prefix.
#[derive(Debug)]
pub struct Bucket {
    client: Client,
    bucket: String,
    prefix: String,
    name_prefix: String,
}

/// Where a page of a listing begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    #[default]
    First,
    /// Behind this key: a listing that leaves out what stands before it.
    Behind(String),
    /// Where the page before ended, in the service's own words: that page need not have had a key.
    Token(String),
}

/// Some of the objects, and where the next ones begin.
#[derive(Debug, Default)]
pub struct Page {
    pub objects: Vec<Listed>,
    /// Objects of other names, which are not ours to read.
    pub left_alone: usize,
    /// The last of all its keys.
    pub last_key: Option<String>,
    /// The next page; `None` after the last one.
    pub next: Option<Begin>,
}

impl Bucket {
    /// A client for a source's bucket. No call is made yet.
    pub async fn new(settings: &config::Bucket) -> Bucket {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(READ_TIMEOUT)
            .operation_attempt_timeout(CALL_TIMEOUT)
            .build();
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &settings.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
            let keys = Credentials::new(id, secret.reveal(), None, None, "hydrant configuration");
            loader = loader.credentials_provider(keys);
        }
        let chain = loader.load().await;
        let mut config = aws_sdk_s3::config::Builder::from(&chain)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            // A local S3 has no name for each bucket.
            .force_path_style(settings.endpoint_url.is_some());
        if chain.region().is_none() && settings.endpoint_url.is_some() {
            // A local S3 has no regions, but the signature needs one.
            config = config.region(Region::from_static("us-east-1"));
        }
        Bucket {
            client: Client::from_conf(config.build()),
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
            name_prefix: settings.name_prefix.clone(),
        }
    }

    /// Where an object is, among those of all buckets.
    pub fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    /// The next objects, a page of them in the order of their keys.
    ///
    /// # Errors
    /// The caller waits and asks again.
    pub async fn list(&self, begin: Begin) -> Result<Page, S3Error> {
        let request = self.client.list_objects_v2().bucket(&self.bucket);
        let request = match begin {
            Begin::First => request,
            Begin::Behind(key) => request.start_after(key),
            Begin::Token(token) => request.continuation_token(token),
        };
        let request = request.prefix(&self.prefix);
        let reply = request
            .send()
            .await
            .map_err(|error| S3Error::new(&self.bucket, "list the bucket", &error))?;
        let objects = reply.contents.unwrap_or_default();
        let mut page = Page {
            last_key: objects.last().and_then(|last| last.key.clone()),
            next: next(reply.is_truncated, reply.next_continuation_token)?,
            ..Page::default()
        };
        for object in objects {
            let Some(key) = object.key.filter(|key| !key.ends_with('/')) else {
                continue;
            };
            let name = key.rsplit('/').next().unwrap_or_default();
            if !name.starts_with(&self.name_prefix) {
                page.left_alone += 1;
                continue;
            }
            let modified = object
                .last_modified
                .and_then(|at| at.as_nanos().try_into().ok());
            page.objects.push(Listed {
                name: key,
                version: Version {
                    size: object
                        .size
                        .and_then(|size| size.try_into().ok())
                        .unwrap_or(0),
                    modified: modified.unwrap_or(0),
                    etag: object.e_tag,
                },
            });
        }
        Ok(page)
    }

    /// Opens an object as it was listed, behind the position where that is one of this version.
    ///
    /// # Errors
    /// It has changed since, or cannot be read.
    pub async fn open(
        &self,
        listed: &Listed,
        position: Option<&Position>,
        max_bytes: usize,
    ) -> Result<Object, ObjectError> {
        let position = position.filter(|position| {
            position.version == listed.version && position.first_byte() < listed.version.size
        });
        let first_byte = position.map_or(0, Position::first_byte);
        let request = self.client.get_object().bucket(&self.bucket);
        let request = request
            .key(&listed.name)
            .set_if_match(listed.version.etag.clone())
            .set_range((first_byte > 0).then(|| format!("bytes={first_byte}-")));
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) if has_changed(&error) => {
                return Err(ObjectError::Changed(listed.name.clone()));
            }
            Err(error) => {
                return Err(S3Error::new(&self.bucket, "get an object", &error).into());
            }
        };
        Object::open(listed, Bytes::Bucket(reply.body), position, None, max_bytes).await
    }
}

/// Where the next page begins, as a page tells.
fn next(is_truncated: Option<bool>, token: Option<String>) -> Result<Option<Begin>, S3Error> {
    match token {
        _ if is_truncated != Some(true) => Ok(None),
        Some(token) => Ok(Some(Begin::Token(token))),
        None => Err(S3Error::no_token()),
    }
}

/// Whether an object is not what was listed: another version, gone, or not as long as it was.
fn has_changed<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    matches!(
        error.code(),
        Some("PreconditionFailed" | "NoSuchKey" | "InvalidRange")
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_goes_on_by_what_its_page_says_or_fails() {
        let token = || Some("t".to_owned());
        assert_eq!(
            next(Some(true), token()).unwrap(),
            Some(Begin::Token("t".to_owned()))
        );
        assert_eq!(next(Some(false), token()).unwrap(), None);
        assert_eq!(next(None, None).unwrap(), None);
        let told = next(Some(true), None).unwrap_err().to_string();
        assert!(
            told.starts_with("could not list the bucket (no token)"),
            "{told}"
        );
    }
}
