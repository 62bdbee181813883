//! `hydrant completions`.

use std::io::{self, Write};

use super::{Failure, printed};
use crate::cli::{self, shell::Completions};

pub fn run(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "hydrant", &mut script);
    printed(io::stdout().lock().write_all(&script))
}
