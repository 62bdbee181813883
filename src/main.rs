use std::process::ExitCode;

use clap::Parser;
use hydrant::cli::Cli;
use hydrant::commands;

#[tokio::main]
async fn main() -> ExitCode {
    match commands::dispatch(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hydrant: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}
