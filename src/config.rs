//! The configuration: structs, defaults, loading and every check across keys.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use serde::{Deserialize, Deserializer};
use sqlx::postgres::PgConnectOptions;

use crate::pipeline::SMALL_BODY_BYTES;

/// Everything that can be set. Each key is explained in `config/hydrant.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub database: Database,
    #[serde(default)]
    pub admin: Admin,
    #[serde(default)]
    pub log: Log,
    /// From SIGTERM to the exit.
    #[serde(default = "defaults::shutdown_secs")]
    pub shutdown_secs: u64,
    /// Inflated bodies and rows that all workers together may hold.
    #[serde(default = "defaults::max_inflight_bytes")]
    pub max_inflight_bytes: usize,
    /// By name.
    #[serde(default)]
    pub source: BTreeMap<String, Source>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: DatabaseUrl,
    #[serde(default = "defaults::schema")]
    pub schema: String,
    #[serde(default)]
    pub partition_by: PartitionBy,
    #[serde(default = "defaults::lock_timeout_ms")]
    pub lock_timeout_ms: u64,
    #[serde(default = "defaults::statement_timeout_ms")]
    pub statement_timeout_ms: u64,
}

impl Database {
    /// A database with the defaults of everything else.
    pub fn new(url: DatabaseUrl, schema: &str) -> Database {
        Database {
            url,
            schema: schema.to_owned(),
            partition_by: PartitionBy::default(),
            lock_timeout_ms: defaults::lock_timeout_ms(),
            statement_timeout_ms: defaults::statement_timeout_ms(),
        }
    }
}

/// How clicks and impressions are laid out.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PartitionBy {
    /// A partition for each day.
    #[default]
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

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            listen: defaults::listen(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Log {
    #[serde(default)]
    pub format: LogFormat,
    /// A filter as of the `tracing` crate: `info`, or `info,hydrant=debug`.
    #[serde(default = "defaults::level")]
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            format: LogFormat::default(),
            level: defaults::level(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Source {
    #[serde(rename = "type")]
    pub kind: SourceKind,
    pub format: SourceFormat,
    pub queue_url: String,
    #[serde(default)]
    pub region: Option<String>,
    /// A local SQS instead of Amazon's.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// For envelopes and events that name none.
    #[serde(default, deserialize_with = "text_or_number")]
    pub network_id: Option<String>,
    #[serde(default = "defaults::workers")]
    pub workers: usize,
    #[serde(default = "defaults::wait_time_secs")]
    pub wait_time_secs: u64,
    #[serde(default = "defaults::visibility_timeout_secs")]
    pub visibility_timeout_secs: u64,
    #[serde(default = "defaults::max_body_bytes")]
    pub max_body_bytes: usize,
    #[serde(default = "defaults::batch_events")]
    pub batch_events: usize,
    #[serde(default = "defaults::batch_bytes")]
    pub batch_bytes: usize,
    #[serde(default = "defaults::linger_ms")]
    pub linger_ms: u64,
}

/// How deliveries come.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Sqs,
}

/// What is in them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    Hasoffers,
}

mod defaults {
    use std::net::{Ipv4Addr, SocketAddr};

    pub fn shutdown_secs() -> u64 {
        25
    }
    pub fn max_inflight_bytes() -> usize {
        256 << 20
    }
    pub fn schema() -> String {
        "public".into()
    }
    pub fn lock_timeout_ms() -> u64 {
        5_000
    }
    pub fn statement_timeout_ms() -> u64 {
        30_000
    }
    pub fn listen() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 9464).into()
    }
    pub fn level() -> String {
        "info".into()
    }
    pub fn workers() -> usize {
        2
    }
    pub fn wait_time_secs() -> u64 {
        20
    }
    pub fn visibility_timeout_secs() -> u64 {
        120
    }
    pub fn max_body_bytes() -> usize {
        64 << 20
    }
    pub fn batch_events() -> usize {
        5_000
    }
    pub fn batch_bytes() -> usize {
        8 << 20
    }
    pub fn linger_ms() -> u64 {
        50
    }
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
    /// The URL is none that Postgres understands. The message does not hold it.
    pub fn options(&self) -> anyhow::Result<PgConnectOptions> {
        if !self.0.starts_with("postgres://") && !self.0.starts_with("postgresql://") {
            anyhow::bail!("database.url must begin with postgres:// or postgresql://");
        }
        let options: PgConnectOptions = self.0.parse().map_err(|_| {
            anyhow::anyhow!("database.url is not a valid address: expected postgres://user:password@host:port/database")
        })?;
        Ok(options.application_name("hydrant"))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(DatabaseUrl)
    }
}

/// An id that the environment, where 12 is a number, may give.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}

impl Source {
    pub fn visibility_timeout(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout_secs)
    }
}

/// Loads the configuration: the file, over it the environment (`HYDRANT__DATABASE__URL`; `DATABASE_URL` for that one key).
///
/// # Errors
/// A sentence with the key, its value, where it stands and what is allowed.
pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    let mut figment = Figment::new().merge(
        Env::raw()
            .only(&["DATABASE_URL"])
            .map(|_| "database.url".into()),
    );
    if let Some(file) = file {
        if !file.is_file() {
            anyhow::bail!("no configuration file at {}", file.display());
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    let config: Config = figment
        .merge(Env::prefixed("HYDRANT__").split("__"))
        .extract()
        .map_err(explain)?;
    config.check()?;
    Ok(config)
}

/// A sentence for each thing that figment found, with the key and where it stands.
fn explain(error: figment::Error) -> anyhow::Error {
    let sentences: Vec<String> = error
        .into_iter()
        .map(|error| {
            let key = error.path.join(".");
            let place = match &error.metadata {
                Some(metadata) => match &metadata.source {
                    Some(source) => format!(" in {source}"),
                    None => " in the environment".to_owned(),
                },
                None => String::new(),
            };
            if key.is_empty() {
                format!("{}{place}", error.kind)
            } else {
                format!("{key}{place}: {}", error.kind)
            }
        })
        .collect();
    anyhow::anyhow!(sentences.join("; "))
}

impl Config {
    fn check(&self) -> anyhow::Result<()> {
        self.database.url.options()?;
        let schema = &self.database.schema;
        if schema.is_empty() || schema.len() > 63 || schema.contains('\0') {
            anyhow::bail!("database.schema = {schema:?} must have 1 to 63 characters");
        }
        within(
            "database.lock_timeout_ms",
            self.database.lock_timeout_ms,
            100,
            600_000,
        )?;
        within(
            "database.statement_timeout_ms",
            self.database.statement_timeout_ms,
            1_000,
            3_600_000,
        )?;
        if self.database.lock_timeout_ms > self.database.statement_timeout_ms {
            anyhow::bail!(
                "database.lock_timeout_ms = {} must not be above database.statement_timeout_ms = {}: it would never be reached",
                self.database.lock_timeout_ms,
                self.database.statement_timeout_ms
            );
        }
        within("shutdown_secs", self.shutdown_secs, 2, 3_600)?;
        for (name, source) in &self.source {
            source.check(name)?;
        }
        self.check_memory()
    }

    /// Each worker may hold a batch and a small body at any time; what is left is for large bodies, and must be enough for
    /// one of them.
    fn check_memory(&self) -> anyhow::Result<()> {
        let largest = self
            .source
            .values()
            .map(|source| source.max_body_bytes)
            .max()
            .unwrap_or(0);
        let needed = self.memory_of_workers() + largest;
        if needed > self.max_inflight_bytes {
            anyhow::bail!(
                "max_inflight_bytes = {} must be at least {needed}: for each worker batch_bytes and {SMALL_BODY_BYTES} for \
                 a body, and the largest max_body_bytes once",
                self.max_inflight_bytes
            );
        }
        Ok(())
    }

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
}

impl Source {
    fn check(&self, name: &str) -> anyhow::Result<()> {
        let key = |key: &str| format!("source.{name}.{key}");
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            anyhow::bail!("source.{name}: a source's name may hold a to z, 0 to 9 and _");
        }
        if !self.queue_url.starts_with("http://") && !self.queue_url.starts_with("https://") {
            anyhow::bail!(
                "{} = {:?} must be the URL of a queue, beginning with https://",
                key("queue_url"),
                self.queue_url
            );
        }
        within(&key("workers"), self.workers as u64, 1, 256)?;
        within(&key("wait_time_secs"), self.wait_time_secs, 0, 20)?;
        within(
            &key("visibility_timeout_secs"),
            self.visibility_timeout_secs,
            5,
            43_200,
        )?;
        within(
            &key("max_body_bytes"),
            self.max_body_bytes as u64,
            1 << 20,
            1 << 30,
        )?;
        within(&key("batch_events"), self.batch_events as u64, 1, 100_000)?;
        within(
            &key("batch_bytes"),
            self.batch_bytes as u64,
            64 << 10,
            256 << 20,
        )?;
        within(&key("linger_ms"), self.linger_ms, 0, 10_000)?;
        if let Some(id) = &self.network_id
            && (id.trim().is_empty() || id.len() > 255 || id.chars().any(char::is_control))
        {
            anyhow::bail!(
                "{} = {id:?} must have 1 to 255 bytes and no control characters",
                key("network_id")
            );
        }
        Ok(())
    }
}

fn within(key: &str, value: u64, least: u64, most: u64) -> anyhow::Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    anyhow::bail!("{key} = {value} must be from {least} to {most}")
}
