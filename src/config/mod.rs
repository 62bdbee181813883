//! The configuration. [`keys`] lists every key with its range and its default, [`given`] reads what the file and the
//! environment say and remembers where, [`unknown`] guesses what was meant by a key that is none, [`check`] holds what must be
//! true across keys; [`http`] has both for what others push to.

mod check;
mod given;
mod http;
mod keys;
mod unknown;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;

use crate::formats::Format;
use crate::pipeline::SMALL_BODY_BYTES;
use crate::sources::kinesis::READ_BYTES_MAX;
use check::is_name;
pub use check::is_network_id;
use given::Given;
pub use http::{Auth, HttpListener, Route, TlsFiles, is_same};

/// What a body may inflate to where nothing else is set.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// The most that can be set. A body may be a single event, and Postgres takes no message near 1 GiB.
pub const BODY_BYTES_LIMIT: u64 = 256 << 20;

/// Everything that can be set. Each key is explained in `config/hydrant.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub database: Database,
    pub retention: Retention,
    pub admin: Admin,
    pub log: Log,
    /// From SIGTERM to the exit.
    pub shutdown_secs: u64,
    /// Inflated bodies and rows that all workers together may hold.
    pub max_inflight_bytes: usize,
    /// By name.
    pub source: BTreeMap<String, Source>,
    pub warnings: Vec<Warning>,
}

/// What is allowed, and most likely not meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    pub found: String,
    /// What to do.
    pub advice: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    pub url: DatabaseUrl,
    pub schema: String,
    pub partition_by: PartitionBy,
    pub lock_timeout_ms: u64,
    pub statement_timeout_ms: u64,
}

/// For how many days an event may come again. SQS keeps a message for 14 days at most, in the dead-letter queue too; one that
/// is sent back from there is a new message, with days of its own.
pub const HORIZON_DAYS: u32 = 14 + 14;

/// For how many days after its day is over an event is kept as it came; what is not set is kept for ever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retention {
    /// Clicks and impressions.
    pub events_days: Option<u32>,
    /// What may be about a person.
    pub personal_days: Option<u32>,
    /// Columns of that kind that are kept all the same.
    pub personal_keep: Vec<String>,
}

/// How clicks and impressions are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PartitionBy {
    /// A partition for each day.
    Day,
    /// One partition for all.
    None,
}

impl PartitionBy {
    pub fn as_str(self) -> &'static str {
        match self {
            PartitionBy::Day => "day",
            PartitionBy::None => "none",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// A filter as of the `tracing` crate: `info`, or `info,hydrant=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub kind: SourceKind,
    pub workers: usize,
    pub max_body_bytes: usize,
    pub batch_events: usize,
    pub batch_bytes: usize,
    pub linger_ms: u64,
}

/// How deliveries come, and what they hold.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    Sqs {
        queue: SqsQueue,
        format: Format,
    },
    Kinesis {
        stream: KinesisStream,
        format: Format,
    },
    File {
        folder: Folder,
        format: Format,
    },
    S3 {
        bucket: Bucket,
        format: Format,
    },
    Http(HttpListener),
}

/// A queue of Amazon SQS.
#[derive(Clone, Debug, PartialEq)]
pub struct SqsQueue {
    pub queue_url: String,
    pub region: Option<String>,
    /// A local SQS instead of Amazon's.
    pub endpoint_url: Option<String>,
    pub wait_time_secs: u64,
    pub visibility_timeout_secs: u64,
}

/// When files or objects are looked for, and when they are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watch {
    pub poll_secs: u64,
    /// What has changed since is left to be completed.
    pub settle_secs: u64,
}

/// A folder of files.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    pub path: PathBuf,
    pub watch: Watch,
}

/// Objects of an S3 bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    pub bucket: String,
    /// Of the keys.
    pub prefix: String,
    /// Of what stands behind the last slash of a key.
    pub name_prefix: String,
    pub region: Option<String>,
    /// A local S3 instead of Amazon's.
    pub endpoint_url: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub watch: Watch,
}

/// What neither `Debug` nor an error shows.
#[derive(Clone, PartialEq)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A stream of Amazon Kinesis.
#[derive(Clone, Debug, PartialEq)]
pub struct KinesisStream {
    /// A name or an ARN.
    pub stream: String,
    pub region: Option<String>,
    /// A local Kinesis instead of Amazon's.
    pub endpoint_url: Option<String>,
    pub start: Start,
    pub lease_secs: u64,
    pub poll_interval_ms: u64,
}

/// Where the first shards of a stream are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that there is.
    TrimHorizon,
    /// At the first record that comes after the first start.
    Latest,
    /// At the first record that came then or later, in milliseconds since 1970.
    At(i64),
}

/// Where the database is. It may hold a password: neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    pub fn new(url: impl Into<String>) -> DatabaseUrl {
        DatabaseUrl(url.into())
    }

    /// What to connect to.
    ///
    /// # Errors
    /// The URL is none that Postgres understands. The message says what a URL looks like and does not hold this one.
    pub fn options(&self) -> anyhow::Result<PgConnectOptions> {
        if !self.0.starts_with("postgres://") && !self.0.starts_with("postgresql://") {
            anyhow::bail!("must begin with postgres:// or postgresql://");
        }
        if let Some(key) = self.unknown_parameter() {
            anyhow::bail!(
                "has the unknown parameter {key:?}; allowed are {} and options[…]",
                URL_PARAMETERS.join(", ")
            );
        }
        let options: PgConnectOptions = self.0.parse().map_err(|_| {
            anyhow::anyhow!(
                "must be an address such as postgres://user:password@host:5432/database; in a password, write # as %23, \
                 / as %2F, ? as %3F, @ as %40, % as %25"
            )
        })?;
        Ok(options.application_name("hydrant"))
    }

    /// The first parameter that the URL has and Postgres' addresses do not. The library only warns of it, with its value:
    /// a misspelt `sslmode` would switch TLS off, a misspelt `password` would stand in the log.
    fn unknown_parameter(&self) -> Option<&str> {
        let parameters = self.0.split_once('?')?.1.split('&');
        let mut keys = parameters.map(|parameter| parameter.split('=').next().unwrap_or(""));
        keys.find(|key| !URL_PARAMETERS.contains(key) && !key.starts_with("options["))
    }
}

/// What may follow the `?` of a database's address.
const URL_PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Loads the configuration: the file, over it the environment (`HYDRANT__DATABASE__URL`; `DATABASE_URL` where that one key is
/// set nowhere else). An empty variable counts as not set. A `DATABASE_URL` that loses to the file is a warning.
///
/// # Errors
/// A sentence for each thing that is wrong, with the key, its value, where it stands and what is allowed.
pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    understand(Given::read(file, std::env::vars_os())?)
}

/// A source for files that somebody names, of the format that this word stands for, with everything else at its default.
///
/// # Errors
/// There is no such format.
pub fn source_of_files(format: &str, network_id: Option<String>) -> anyhow::Result<Source> {
    keys::source_of_files(format, network_id)
        .map_err(|problems| anyhow::anyhow!(problems.join("\n")))
}

fn understand(mut given: Given) -> anyhow::Result<Config> {
    let config = keys::config(&mut given);
    given.refuse_unknown();
    if given.problems.is_empty() {
        check::across_keys(&config, &mut given);
    }
    if given.problems.is_empty() {
        return Ok(config);
    }
    anyhow::bail!(given.problems.join("\n"))
}

impl Config {
    /// Each worker may hold a batch and a small body, or what a shard gives at once, at any time, and a listener requests that
    /// wait for one; what is left is for large bodies, and must be enough for one of them. Of an object, bodies are cut before
    /// anybody knows how large they are: as many as fill a batch and then one of any size.
    fn memory_of_workers(&self) -> usize {
        self.source
            .values()
            .map(|source| {
                let (received, waiting) = match &source.kind {
                    SourceKind::Sqs { .. } => (SMALL_BODY_BYTES, 0),
                    SourceKind::File { .. } | SourceKind::S3 { .. } => {
                        (source.batch_bytes + source.max_body_bytes, 0)
                    }
                    SourceKind::Kinesis { .. } => (READ_BYTES_MAX, 0),
                    SourceKind::Http(listener) => {
                        (SMALL_BODY_BYTES, listener.max_inflight_request_bytes)
                    }
                };
                source.workers * (source.batch_bytes + received) + waiting
            })
            .sum()
    }

    /// The least that the sources can do with.
    fn memory_needed(&self) -> usize {
        let bodies = self.source.values().map(|source| source.max_body_bytes);
        self.memory_of_workers() + bodies.max().unwrap_or(0)
    }

    /// What of `max_inflight_bytes` the workers do not hold anyway.
    pub fn memory_for_large_bodies(&self) -> usize {
        self.max_inflight_bytes
            .saturating_sub(self.memory_of_workers())
    }

    /// The source that quarantine calls so, and the format of its bodies.
    pub fn filed(&self, called: &str) -> Option<(&Source, &Format)> {
        self.source.iter().find_map(|(name, source)| {
            let mut formats = source.formats(name).into_iter();
            let (_, format) = formats.find(|(it, _)| it == called)?;
            Some((source, format))
        })
    }

    /// # Errors
    /// There is no source: nothing could be received.
    pub fn expect_sources(&self) -> anyhow::Result<()> {
        if self.source.is_empty() {
            anyhow::bail!(
                "there is no source: add a table such as [source.hasoffers] to the configuration, or set \
                 HYDRANT__SOURCE__HASOFFERS__TYPE, …__FORMAT and …__QUEUE_URL"
            );
        }
        Ok(())
    }

    /// # Errors
    /// A source is pushed to: it is never empty.
    pub fn expect_ends(&self) -> anyhow::Result<()> {
        let mut sources = self.source.iter();
        if let Some((name, _)) = sources.find(|(_, it)| matches!(it.kind, SourceKind::Http(_))) {
            anyhow::bail!("source.{name}: what others push has no end: leave --until-empty out");
        }
        Ok(())
    }
}

impl Source {
    /// The same for files of one of its formats that somebody names.
    pub fn of_files(&self, format: &Format) -> Source {
        let folder = Folder {
            path: PathBuf::new(),
            watch: Watch {
                poll_secs: 0,
                settle_secs: 0,
            },
        };
        Source {
            kind: SourceKind::File {
                folder,
                format: format.clone(),
            },
            ..self.clone()
        }
    }

    /// Its formats, each with what quarantine calls the source of its bodies.
    pub fn formats(&self, name: &str) -> Vec<(String, &Format)> {
        match &self.kind {
            SourceKind::Sqs { format, .. }
            | SourceKind::Kinesis { format, .. }
            | SourceKind::File { format, .. }
            | SourceKind::S3 { format, .. } => vec![(name.to_owned(), format)],
            SourceKind::Http(listener) => {
                let routes = listener.routes.iter();
                routes
                    .map(|(route, it)| (format!("{name}.{route}"), &it.format))
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
