//! The arguments of `hydrant completions` and `hydrant man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Write the pages of all commands into this folder, as hydrant.1, hydrant-run.1 and so on
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
