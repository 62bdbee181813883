//! `hydrant man`: manual pages, made from the command line itself.

use std::io::{self, Write};

use anyhow::Context;
use clap_mangen::Man as Page;

use super::{Failure, printed};
use crate::cli::{self, shell::Man};

pub fn run(args: &Man) -> Result<(), Failure> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(cli::command(), dir))
            .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
        return Ok(());
    }
    let mut page = Vec::new();
    Page::new(cli::command())
        .render(&mut page)
        .context("cannot make the manual page")?;
    printed(io::stdout().lock().write_all(&page))
}
