//! The pages that are generated, so that they cannot drift: `docs/configuration.md` from `config/hydrant.toml`,
//! `docs/data-model.md` from the comments in the database. `make docs` writes them anew.

mod configuration;
mod data_model;

use std::path::Path;
use std::{env, fs};

/// What stands above this line in a page is written by hand.
const MARK: &str = "<!-- What follows is generated: make docs -->\n";

/// Expects the generated part of a page to be this, or writes it where that was asked for.
fn expect_generated(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let page = fs::read_to_string(&file).unwrap();
    let (by_hand, generated) = page.split_once(MARK).unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(file, format!("{by_hand}{MARK}{expected}")).unwrap();
    } else if generated != expected {
        let differs = |(one, other): &(&str, &str)| one != other;
        let found = generated.lines().zip(expected.lines()).find(differs);
        panic!("{path} is not what it would be now ({found:?}): run make docs");
    }
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
