//! `hydrant quarantine list`.

use std::io::{self, Write};

use super::{Failure, open};
use crate::cli::quarantine::List;
use crate::commands::printed;
use crate::commands::terminal::{Column, Paint, table};
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
        page(&items, filter.status.is_none(), Paint::stdout())
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

/// The detail, which may be long, comes last.
fn page(items: &[Item], with_status: bool, paint: Paint) -> String {
    let mut columns = [
        "ID", "AGE", "REASON", "SOURCE", "SCOPE", "NETWORK", "EVENT", "SEEN", "DETAIL",
    ]
    .map(Column::Left)
    .to_vec();
    if with_status {
        columns.insert(2, Column::Left("STATUS"));
    }
    let rows: Vec<_> = items.iter().map(|item| cells(item, with_status)).collect();
    table(&columns, &rows, paint)
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
