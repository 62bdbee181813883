//! `hydrant quarantine list`.

use std::io::{self, IsTerminal, Write};

use super::{Failure, open};
use crate::cli::quarantine::List;
use crate::commands::printed;
use crate::store::quarantine::Item;

pub async fn run(args: List) -> Result<(), Failure> {
    let (_, mut quarantine) = open(&args.common).await?;
    let filter = args.filters.with_status(args.status.status());
    let items = quarantine.list(&filter).await.map_err(anyhow::Error::new)?;
    quarantine.close().await;
    if items.is_empty() {
        eprintln!("nothing matched");
        return Ok(());
    }
    let text = if args.json {
        json_lines(&items).map_err(anyhow::Error::new)?
    } else {
        let bold = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        table(&items, filter.status.is_none(), bold)
    };
    printed(io::stdout().lock().write_all(text.as_bytes()))
}

fn json_lines(items: &[Item]) -> serde_json::Result<String> {
    let mut lines = String::new();
    for item in items {
        lines.push_str(&serde_json::to_string(item)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// Columns as wide as they need; the detail, which may be long, comes last. Escape sequences are for terminals only.
fn table(items: &[Item], with_status: bool, bold: bool) -> String {
    let mut header = vec![
        "ID", "AGE", "REASON", "SOURCE", "SCOPE", "NETWORK", "EVENT", "SEEN", "DETAIL",
    ];
    if with_status {
        header.insert(2, "STATUS");
    }
    let mut lines = vec![header.into_iter().map(str::to_owned).collect()];
    lines.extend(items.iter().map(|item| cells(item, with_status)));
    let width = |column: usize| {
        let cells = lines.iter().map(|cells| cells[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (at, cells) in lines.iter().enumerate() {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let line = padded.join("  ");
        match line.trim_end() {
            header if at == 0 && bold => text.push_str(&format!("\x1b[1m{header}\x1b[0m")),
            line => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn cells(item: &Item, with_status: bool) -> Vec<String> {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let mut cells = vec![
        item.id.to_string()[..8].to_owned(),
        age(item.ages.1),
        item.reason.clone(),
        item.source.clone(),
        item.scope.clone(),
        known(&item.network_id),
        known(&item.event_id),
        item.seen.to_string(),
        item.detail.clone().unwrap_or_default(),
    ];
    if with_status {
        cells.insert(2, item.status.clone());
    }
    cells
}

/// Seconds in the largest unit that there is one of.
pub fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
