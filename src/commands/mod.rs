//! One file for each subcommand.

mod check;
mod completions;
mod decode;
mod demo;
mod explain;
mod healthcheck;
mod man;
mod migrate;
mod quarantine;
mod rebuild;
mod reconcile;
mod replay;
mod retention;
mod run;
mod stand_in;
mod terminal;
mod verify;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::FromArgMatches;
use serde::Serialize;

use crate::cli::{self, Cli, Command};
use crate::telemetry;

/// The exit status of a command that proves something, where nothing could be said.
const COULD_NOT_RUN: u8 = 3;

/// How a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense: exit status 2.
    #[error("{0:#}")]
    Usage(anyhow::Error),
    /// It could not be done: exit status 1.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
    /// Nothing is known, because it could not be looked at: exit status 3.
    #[error("{0:#}")]
    Unverified(anyhow::Error),
}

impl Failure {
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
            Failure::Unverified(_) => COULD_NOT_RUN,
        }
    }
}

/// The program: reads the command line, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let parsed = cli::command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(usage_status(&error));
        }
    };
    let outcome = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(cli.command));
            #[cfg(feature = "otlp")]
            telemetry::end_traces();
            outcome
        }
        Err(error) => Err(Failure::Failed(
            anyhow::Error::new(error).context("cannot start"),
        )),
    };
    telemetry::end_logs();
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            // Nobody may read it: that changes no exit status.
            let _ = writeln!(io::stderr(), "hydrant: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}

/// Of `verify` 2 would mean that it ran and found a defect.
fn usage_status(error: &clap::Error) -> u8 {
    match error.exit_code() {
        2 if std::env::args().nth(1).as_deref() == Some("verify") => COULD_NOT_RUN,
        status => u8::try_from(status).unwrap_or(2),
    }
}

/// Runs a command; its exit status.
async fn dispatch(command: Command) -> Result<u8, Failure> {
    let done = match command {
        Command::Run(args) => run::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Healthcheck(args) => healthcheck::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Decode(args) => decode::run(args),
        Command::Replay(args) => replay::run(args).await,
        Command::Quarantine(action) => quarantine::run(action).await,
        Command::Verify(args) => return verify::run(args).await,
        Command::Rebuild(args) => rebuild::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Retention(args) => retention::run(args).await,
        Command::Reconcile(args) => return reconcile::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::StandIn(args) => stand_in::run(args).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    done.map(|()| 0)
}

/// How writing to standard output ended. A reader that has gone away (`| head`) has seen what it wanted.
fn printed(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Failed(
            anyhow::Error::new(error).context("cannot write to standard output"),
        )),
        _ => Ok(()),
    }
}

/// A value as JSON that people can read, too.
fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
