use std::collections::BTreeMap;
use std::fmt::Write;

use super::{cell, expect_generated};

const EXAMPLE: &str = include_str!("../../../config/hydrant.toml");

#[test]
fn the_page_of_the_configuration_is_the_example() {
    expect_generated("docs/configuration.md", &render());
}

/// A section for each table of the example, a row for each key.
fn render() -> String {
    let mut page = String::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut explained = BTreeMap::new();
    heading(&mut page, "At the top of the file", "");
    // Up to the first blank line it is about the file itself.
    let keys = EXAMPLE.split_once("\n\n").unwrap().1;
    for line in keys.lines().map(uncommented) {
        if let Some(key) = as_key(line) {
            row(&mut page, &key, &comment.join(" "), &mut explained);
            comment.clear();
        } else if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
        } else if line.starts_with('[') {
            heading(&mut page, &format!("`{line}`"), &comment.join(" "));
            comment.clear();
        }
    }
    assert!(comment.is_empty(), "{comment:?}");
    page
}

/// A line of a source that is commented out, as it is without the mark.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(bare) if !bare.starts_with(' ') => bare,
        _ => line,
    }
}

/// A line that sets a key.
struct Key<'a> {
    name: &'a str,
    value: &'a str,
    /// Such a line has no default, but an example.
    is_commented_out: bool,
}

fn as_key(line: &str) -> Option<Key<'_>> {
    let bare = line.strip_prefix("# ");
    let (name, value) = bare.unwrap_or(line).split_once(" = ")?;
    let is_name = !name.contains(' ');
    is_name.then_some(Key {
        name,
        value,
        is_commented_out: bare.is_some(),
    })
}

fn heading(page: &mut String, title: &str, comment: &str) {
    let gap = if page.is_empty() { "" } else { "\n" };
    write!(page, "{gap}## {title}\n\n").unwrap();
    if !comment.is_empty() {
        write!(page, "{comment}\n\n").unwrap();
    }
    page.push_str("| key | default | is |\n|---|---|---|\n");
}

/// `explained`: of each key that has been explained, whether it has a default.
fn row<'a>(
    page: &mut String,
    key: &Key<'a>,
    comment: &str,
    explained: &mut BTreeMap<&'a str, bool>,
) {
    let Key { name, value, .. } = key;
    let has_default = if comment.is_empty() {
        // One comment may explain two keys.
        explained
            .get(name)
            .copied()
            .unwrap_or(!key.is_commented_out)
    } else {
        !(key.is_commented_out
            || comment.contains("must be given")
            || comment.starts_with("For example"))
    };
    explained.insert(name, has_default);
    let default = if has_default {
        format!("`{value}`")
    } else {
        format!("none; such as `{value}`")
    };
    let meaning = if comment.is_empty() {
        "as above"
    } else {
        comment
    };
    writeln!(
        page,
        "| `{name}` | {} | {} |",
        cell(&default),
        cell(meaning)
    )
    .unwrap();
}
