//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::PartitionBy;

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
