//! `hydrant demo`.

use super::Failure;
use crate::cli::Demo;
use crate::demo::{self, Options};

pub async fn run(args: Demo) -> Result<(), Failure> {
    let options = Options {
        messages: args.messages,
        seed: args.seed,
        database: args.database,
        keep: args.keep,
    };
    Ok(demo::run(&options).await?)
}
