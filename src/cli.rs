//! The command line.

pub mod quarantine;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, PartitionBy};
use crate::demo::publication::MESSAGES_MIN;

/// Lands affiliate-marketing event feeds in Postgres, exactly once in effect.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive and store until told to stop (SIGTERM or SIGINT)
    Run(Run),
    /// Say whether the configuration, the database and the queues are fit; nothing is changed or received
    Check(Check),
    /// Bring the database to this version and make the days ahead
    Migrate(Migrate),
    /// Show what Hydrant understands of a body, as JSON, without a database
    Decode(Decode),
    /// Look at what could not be stored, and send it through again
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// Show all of it: a generated feed through the real daemon into a throw-away PostgreSQL
    Demo(Demo),
    /// Serve a local stand-in for Amazon SQS, to try things with
    StandIn(StandIn),
}

#[derive(Debug, Args)]
pub struct Common {
    /// The configuration file; every key of it can be set from the environment as well
    #[arg(long, short, env = "HYDRANT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub common: Common,
    /// Exit with status 0 once the queues have stayed empty: for cron and backfills
    #[arg(long)]
    pub until_empty: bool,
    /// Do not migrate the database first
    #[arg(long)]
    pub no_migrate: bool,
    /// Go on although most of the input is bad, and put it into quarantine
    #[arg(long)]
    pub accept_bad: bool,
}

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    pub common: Common,
    /// Move the clicks and impressions that are there already to partitions of this kind; set database.partition_by to
    /// the same
    #[arg(long, value_enum)]
    pub partition_by: Option<PartitionBy>,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// How many messages to publish, of some 40 events each
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = messages)]
    pub messages: usize,
    /// The same seed gives the same feed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Use this database, in a schema hydrant_demo of its own, instead of a throw-away one
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Leave the database behind, and say how to remove it
    #[arg(long)]
    pub keep: bool,
}

fn messages(text: &str) -> Result<usize, String> {
    let allowed = MESSAGES_MIN..=100_000;
    match text.parse() {
        Ok(messages) if allowed.contains(&messages) => Ok(messages),
        _ => Err(format!(
            "must be from {} to {}",
            allowed.start(),
            allowed.end()
        )),
    }
}

#[derive(Debug, Args)]
pub struct StandIn {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9324")]
    pub listen: SocketAddr,
    /// A queue to begin with
    #[arg(long, value_name = "NAME", default_value = "hasoffers-firehose")]
    pub queue: String,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub common: Common,
    /// Write the findings as a JSON array of objects with area, name, status, found and advice
    #[arg(long)]
    pub json: bool,
    /// Of the queues, look at this source's alone
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

#[derive(Debug, Args)]
pub struct Decode {
    /// A body as the queue gives it, or its JSON; standard input where it is - or missing
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// For an envelope and events that name none, as the source's setting
    #[arg(long, value_name = "ID", value_parser = network_id)]
    pub network_id: Option<String>,
    /// Refuse a body that inflates to more
    #[arg(long, value_name = "N", default_value_t = config::MAX_BODY_BYTES as u64,
        value_parser = clap::value_parser!(u64).range(1..=config::BODY_BYTES_LIMIT))]
    pub max_body_bytes: u64,
}

fn network_id(text: &str) -> Result<String, &'static str> {
    config::is_network_id(text)
        .then(|| text.to_owned())
        .ok_or("it must have 1 to 255 bytes and no control characters")
}
