//! The command line.

pub mod quarantine;
pub mod reconcile;
pub mod shell;
pub mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{self, PartitionBy};
use crate::demo::publication::MESSAGES_MIN;
use crate::formats::everflow::event_type::EventType;

/// Lands affiliate-marketing event feeds in Postgres, exactly once in effect.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Exit status: 0 done, 1 could not be done, 2 wrong use or configuration. check, verify and reconcile have \
        statuses of their own."
)]
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
    /// Ask the daemon that runs with this configuration whether it is ready; for containers and scripts
    Healthcheck(Healthcheck),
    /// Bring the database to this version and make the days ahead
    Migrate(Migrate),
    /// Show what Hydrant understands of a body, as JSON, without a database
    Decode(Decode),
    /// Store bodies or events from files, as if a queue had given them; again does no harm
    Replay(Replay),
    /// Look at what could not be stored, and send it through again
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// Prove that what is stored is right, in one read-only snapshot of the live database
    Verify(verify::Verify),
    /// Mend what verify finds in patches, variants and sums: fold the ledgers again, safe while daemons run
    Rebuild(verify::Rebuild),
    /// Say how a record came to be what it is: its original, each adjustment in order, and where each value comes from
    Explain(Explain),
    /// Drop old clicks and impressions, and blank what may be about a person, as the configuration says
    Retention(Retention),
    /// Compare the view stats with an export of TUNE's stats report, or say what was changed since a time
    Reconcile(reconcile::Reconcile),
    /// Show all of it: a generated feed, live, through the real daemon into a throw-away PostgreSQL
    Demo(Demo),
    /// Serve a local stand-in for Amazon SQS, to try things with
    StandIn(StandIn),
    /// Write a script that lets a shell complete commands and options
    Completions(shell::Completions),
    /// Write the manual page, or those of all commands
    Man(shell::Man),
}

/// The command line. Where a command does not say what its exit statuses are, they are the usual ones.
pub fn command() -> clap::Command {
    fn with_exit_status(command: clap::Command) -> clap::Command {
        let command = command.mut_subcommands(with_exit_status);
        match command.get_after_help() {
            Some(_) => command,
            None => command.after_help(EXIT_STATUS),
        }
    }
    with_exit_status(Cli::command())
}

const EXIT_STATUS: &str = "Exit status: 0 done, 1 could not be done, 2 wrong use or configuration.";

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
    /// Keep the sums of view stats by hour beside the facts, so that reports stay fast; or stop keeping them. Daemons may go on
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub rollup: Option<Switch>,
    /// With --rollup off: also where clicks and impressions were dropped, of which only the rollup has the sums
    #[arg(long, requires = "rollup")]
    pub forget_dropped: bool,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub struct Retention {
    #[command(flatten)]
    pub common: Common,
    /// Change nothing, and say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// How many messages are there to begin with, of some 40 events each
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = messages)]
    pub messages: usize,
    /// The same seed gives the same messages to begin with
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How long messages then come live, 0 for not at all; without it until Ctrl-C on a terminal, and elsewhere not at all
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
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
    /// Write where it is as one JSON object on one line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing fails, 1 something fails, or it could not be looked at, 2 wrong use or configuration."
)]
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
pub struct Healthcheck {
    #[command(flatten)]
    pub common: Common,
    /// Ask only whether it lives, not whether its database and its sources answer
    #[arg(long)]
    pub live: bool,
    /// Write one JSON object, also where no daemon answers
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Decode {
    /// A body as the queue gives it, or its JSON; standard input where it is - or missing
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What the body holds
    #[arg(long, value_enum, default_value_t = Feed::Hasoffers)]
    pub format: Feed,
    /// Of Everflow: what kind of delivery it is
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        required_if_eq("format", "everflow")
    )]
    pub event_type: Option<EventType>,
    /// For an envelope and events that name none, as the source's setting
    #[arg(long, value_name = "ID", value_parser = network_id)]
    pub network_id: Option<String>,
    /// Refuse a body that inflates to more
    #[arg(long, value_name = "N", default_value_t = config::MAX_BODY_BYTES as u64,
        value_parser = clap::value_parser!(u64).range(1..=config::BODY_BYTES_LIMIT))]
    pub max_body_bytes: u64,
}

/// A feed whose format Hydrant knows.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Feed {
    Hasoffers,
    Everflow,
    Recurly,
}

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    pub common: Common,
    /// Files, and folders with all files below. One body a line (base64, an envelope or an event), a JSON array of
    /// these, or one JSON document; packed with gzip or not
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Take the format and every other setting from this source of the configuration, and count as it
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// What the bodies hold, as a source's setting
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "hasoffers",
        conflicts_with = "source"
    )]
    pub format: String,
    /// For envelopes and events that name none, as a source's setting
    #[arg(long, value_name = "ID", value_parser = network_id, conflicts_with = "source")]
    pub network_id: Option<String>,
    /// Read files from their beginning, however far they were read before
    #[arg(long)]
    pub again: bool,
    /// Go on although most of the input is bad, and put it into quarantine
    #[arg(long)]
    pub accept_bad: bool,
    /// Write the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub common: Common,
    /// The network that the record belongs to
    #[arg(value_name = "NETWORK", value_parser = network_id)]
    pub network_id: String,
    /// A tune_event_id, an event_id or a record_id; clicks and impressions are found by their event_id
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    pub id: String,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show addresses, user agents, referrers and other text about people as well
    #[arg(long)]
    pub personal: bool,
}

fn network_id(text: &str) -> Result<String, &'static str> {
    config::is_network_id(text)
        .then(|| text.to_owned())
        .ok_or("it must have 1 to 255 bytes and no control characters")
}
