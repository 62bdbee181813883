//! `hydrant demo`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::Failure;
use crate::cli::Demo;
use crate::demo::{self, Options};

pub async fn run(args: Demo) -> Result<(), Failure> {
    // Without a terminal there is nobody to end it: a script must not hang.
    let is_watched = io::stdin().is_terminal() && io::stdout().is_terminal();
    let options = Options {
        messages: args.messages,
        seed: args.seed,
        live: match args.seconds {
            None if is_watched => None,
            seconds => Some(Duration::from_secs(seconds.unwrap_or(0))),
        },
        database: args.database,
        keep: args.keep,
    };
    Ok(demo::run(&options).await?)
}
