//! Amazon Kinesis: the shards of a stream, and reading one of them. Nothing is acknowledged: how far a shard was read is the
//! reader's own affair.

use std::fmt;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardIteratorType, StreamDescriptionSummary};

use super::kinesis_error::KinesisError;
use super::{Delivery, aws};
use crate::config::KinesisStream;

/// Bytes of one read at most: AWS' limit.
pub const READ_BYTES_MAX: usize = 10 << 20;
/// Records of one read at most: what a shard takes in a second.
const RECORDS_MAX: i32 = 1_000;
/// A call is given up after this time.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One stream.
#[derive(Debug)]
pub struct Kinesis {
    pub settings: KinesisStream,
    client: Client,
}

/// A part of a stream, read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: String,
    /// What it was split or merged from. Their records come before its own.
    pub parents: Vec<String>,
}

/// Where the reading of a shard goes on. The text is what is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the oldest record that there is.
    TrimHorizon,
    /// At the first record that came then or later, in milliseconds since 1970.
    AtTimestamp(i64),
    /// Behind the record with this sequence number.
    After(String),
}

const TRIM_HORIZON: &str = "trim_horizon";
const AT_TIMESTAMP: &str = "at_timestamp:";

impl Position {
    /// What was saved; nothing is the beginning.
    pub fn parse(text: Option<&str>) -> Position {
        let Some(text) = text.filter(|text| *text != TRIM_HORIZON) else {
            return Position::TrimHorizon;
        };
        let timestamp = text.strip_prefix(AT_TIMESTAMP);
        match timestamp.and_then(|millis| millis.parse().ok()) {
            Some(millis) => Position::AtTimestamp(millis),
            None => Position::After(text.to_owned()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::TrimHorizon => f.write_str(TRIM_HORIZON),
            Position::AtTimestamp(millis) => write!(f, "{AT_TIMESTAMP}{millis}"),
            Position::After(sequence_number) => f.write_str(sequence_number),
        }
    }
}

/// What one read gave.
#[derive(Debug)]
pub struct Read {
    pub deliveries: Vec<Delivery>,
    /// The sequence number of the last of them.
    pub last: Option<String>,
    /// Where to read on; `None` at the end of a shard that was split or merged.
    pub next: Option<String>,
    /// The age of what comes next; zero where there is nothing more.
    pub behind: Duration,
}

impl Kinesis {
    /// A client for a source's stream. No call is made yet.
    pub async fn new(settings: &KinesisStream) -> Kinesis {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let region = settings
            .region
            .clone()
            .or_else(|| region_of(&settings.stream));
        let chain = aws::chain(region, settings.endpoint_url.as_deref()).await;
        let config = aws_sdk_kinesis::config::Builder::from(&chain)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Kinesis {
            settings: settings.clone(),
            client: Client::from_conf(config.build()),
        }
    }

    fn stream_name(&self) -> Option<String> {
        let stream = &self.settings.stream;
        (!is_arn(stream)).then(|| stream.clone())
    }

    fn stream_arn(&self) -> Option<String> {
        let stream = &self.settings.stream;
        is_arn(stream).then(|| stream.clone())
    }

    /// All shards, closed ones too for as long as Kinesis keeps their records.
    ///
    /// # Errors
    /// Kinesis does not answer or refuses us, or there is no such stream.
    pub async fn shards(&self) -> Result<Vec<Shard>, KinesisError> {
        let (mut shards, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.list_shards();
            // The token stands for the name, and Kinesis refuses both at once.
            let name = self.stream_name().filter(|_| token.is_none());
            let request = request
                .set_stream_name(name)
                .set_stream_arn(self.stream_arn())
                .set_next_token(token);
            let listed = request.send().await;
            let listed = listed.map_err(|error| self.explain("list the shards", error))?;
            let page = listed.shards.unwrap_or_default().into_iter();
            shards.extend(page.map(|shard| {
                Shard {
                    id: shard.shard_id,
                    parents: shard
                        .parent_shard_id
                        .into_iter()
                        .chain(shard.adjacent_parent_shard_id)
                        .collect(),
                }
            }));
            token = listed.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    /// What [`Kinesis::read`] begins with.
    ///
    /// # Errors
    /// [`KinesisError::Refused`] for a position that the shard does not have.
    pub async fn iterator(
        &self,
        shard: &str,
        position: &Position,
    ) -> Result<Option<String>, KinesisError> {
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.stream_name())
            .set_stream_arn(self.stream_arn())
            .shard_id(shard);
        let request = match position {
            Position::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::AtTimestamp(millis) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*millis)),
            Position::After(sequence_number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence_number),
        };
        let given = request.send().await;
        let given = given.map_err(|error| self.explain("find its place in the shard", error))?;
        Ok(given.shard_iterator)
    }

    /// The next records, perhaps none. That removes nothing.
    ///
    /// # Errors
    /// The caller waits and asks again, after [`KinesisError::ExpiredIterator`] with a new iterator.
    pub async fn read(&self, shard: &str, iterator: &str) -> Result<Read, KinesisError> {
        self.read_at_most(shard, iterator, RECORDS_MAX).await
    }

    /// Whether we may read, by reading one record at most.
    ///
    /// # Errors
    /// We may not, or Kinesis does not answer.
    pub async fn try_read(&self, shard: &str) -> Result<(), KinesisError> {
        match self.iterator(shard, &Position::TrimHorizon).await? {
            Some(iterator) => self.read_at_most(shard, &iterator, 1).await.map(drop),
            None => Ok(()),
        }
    }

    async fn read_at_most(
        &self,
        shard: &str,
        iterator: &str,
        limit: i32,
    ) -> Result<Read, KinesisError> {
        let request = self
            .client
            .get_records()
            .set_stream_arn(self.stream_arn())
            .shard_iterator(iterator)
            .limit(limit);
        let read = request.send().await;
        let read = read.map_err(|error| self.explain("read records", error))?;
        let behind = read.millis_behind_latest.unwrap_or_default();
        let last = read.records.last();
        Ok(Read {
            last: last.map(|record| record.sequence_number.clone()),
            next: read.next_shard_iterator,
            behind: Duration::from_millis(behind.max(0).unsigned_abs()),
            deliveries: read
                .records
                .into_iter()
                .map(|record| Delivery {
                    id: format!("{shard}/{}", record.sequence_number),
                    body: record.data.into_inner(),
                    format: 0,
                    place: None,
                    attempt: 1,
                })
                .collect(),
        })
    }

    /// The stream's state, retention and encryption.
    ///
    /// # Errors
    /// Kinesis does not answer or refuses us, or there is no such stream.
    pub async fn summary(&self) -> Result<Option<StreamDescriptionSummary>, KinesisError> {
        let request = self
            .client
            .describe_stream_summary()
            .set_stream_name(self.stream_name())
            .set_stream_arn(self.stream_arn());
        let described = request.send().await;
        let described = described.map_err(|error| self.explain("describe the stream", error))?;
        Ok(described.stream_description_summary)
    }

    fn explain<E, R>(&self, doing: &'static str, error: SdkError<E, R>) -> KinesisError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        KinesisError::new(&self.settings.stream, doing, error)
    }
}

fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}

/// The region that a stream's ARN names, as in `arn:aws:kinesis:us-east-1:123456789012:stream/name`.
pub fn region_of(stream: &str) -> Option<String> {
    let region = stream.strip_prefix("arn:")?.split(':').nth(2)?;
    (!region.is_empty()).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_its_region() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/feed";
        assert_eq!(region_of(arn).as_deref(), Some("eu-west-1"));
        assert_eq!(region_of("feed"), None);
    }

    #[test]
    fn a_position_is_read_as_it_was_saved() {
        for position in [
            Position::TrimHorizon,
            Position::AtTimestamp(1_760_000_000_123),
            Position::After("49590338271490256608559692538361571095921575989136588898".into()),
        ] {
            let text = position.to_string();
            assert_eq!(Position::parse(Some(&text)), position, "{text}");
        }
        assert_eq!(Position::parse(None), Position::TrimHorizon);
    }
}
