//! One file for each subcommand.

mod decode;
mod migrate;
mod quarantine;
mod run;

use std::io::{self, ErrorKind};

use crate::cli::Command;

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

/// Runs a command to its end.
///
/// # Errors
/// It could not be done.
pub async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Decode(args) => decode::run(args),
        Command::Quarantine(action) => quarantine::run(action).await,
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
