//! One file for each subcommand.

mod check;
mod decode;
mod demo;
mod migrate;
mod quarantine;
mod run;
mod stand_in;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// How a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense: exit status 2.
    #[error("{0:#}")]
    Usage(anyhow::Error),
    /// It could not be done: exit status 1.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Failure {
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
        }
    }
}

/// The program: reads the command line, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(dispatch(cli.command)),
        Err(error) => Err(Failure::Failed(
            anyhow::Error::new(error).context("cannot start"),
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hydrant: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Decode(args) => decode::run(args),
        Command::Quarantine(action) => quarantine::run(action).await,
        Command::Demo(args) => demo::run(args).await,
        Command::StandIn(args) => stand_in::run(args).await,
    }
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
