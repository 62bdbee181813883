//! The configuration. [`keys`] lists every key with its range and its default, [`given`] reads what the file and the
//! environment say and remembers where, [`unknown`] guesses what was meant by a key that is none, [`check`] holds what must be
//! true across keys.

mod check;
mod given;
mod keys;
mod unknown;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::pipeline::SMALL_BODY_BYTES;
pub use check::is_network_id;
use given::Given;

/// What a body may inflate to where nothing else is set.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// The most that can be set. A body may be a single event, and Postgres takes no message near 1 GiB.
pub const BODY_BYTES_LIMIT: u64 = 256 << 20;

/// Everything that can be set. Each key is explained in `config/hydrant.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub database: Database,
    pub admin: Admin,
    pub log: Log,
    /// From SIGTERM to the exit.
    pub shutdown_secs: u64,
    /// Inflated bodies and rows that all workers together may hold.
    pub max_inflight_bytes: usize,
    /// By name.
    pub source: BTreeMap<String, Source>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    pub url: DatabaseUrl,
    pub schema: String,
    pub partition_by: PartitionBy,
    pub lock_timeout_ms: u64,
    pub statement_timeout_ms: u64,
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
    pub format: SourceFormat,
    pub queue_url: String,
    pub region: Option<String>,
    /// A local SQS instead of Amazon's.
    pub endpoint_url: Option<String>,
    /// For envelopes and events that name none.
    pub network_id: Option<String>,
    pub workers: usize,
    pub wait_time_secs: u64,
    pub visibility_timeout_secs: u64,
    pub max_body_bytes: usize,
    pub batch_events: usize,
    pub batch_bytes: usize,
    pub linger_ms: u64,
}

/// How deliveries come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Sqs,
}

/// What is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    Hasoffers,
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
/// set nowhere else). An empty variable counts as not set.
///
/// # Errors
/// A sentence for each thing that is wrong, with the key, its value, where it stands and what is allowed.
pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    understand(Given::read(file, std::env::vars_os())?)
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
    /// Each worker may hold a batch and a small body at any time; what is left is for large bodies, and must be enough for
    /// one of them.
    fn memory_of_workers(&self) -> usize {
        self.source
            .values()
            .map(|source| source.workers * (source.batch_bytes + SMALL_BODY_BYTES))
            .sum()
    }

    /// What of `max_inflight_bytes` the workers do not hold anyway.
    pub fn memory_for_large_bodies(&self) -> usize {
        self.max_inflight_bytes
            .saturating_sub(self.memory_of_workers())
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
}

impl Source {
    pub fn visibility_timeout(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout_secs)
    }
}

#[cfg(test)]
mod tests;
