//! One file for each subcommand.

mod demo;
mod migrate;
mod run;
mod stand_in;

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
        Command::Demo(args) => demo::run(args).await,
        Command::StandIn(args) => stand_in::run(args).await,
    }
}
