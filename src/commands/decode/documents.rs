//! What a body of a feed beside HasOffers becomes: documents.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::{Failure, printed};
use super::unreadable;
use crate::formats::{Format, Reject};
use crate::store::batch::Batch;
use crate::store::documents::Document;

/// Prints the rows of a body, and what of it would go to quarantine.
pub fn show(bytes: &[u8], format: &Format, max_bytes: usize) -> Result<(), Failure> {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    let mut body = format
        .open(bytes, max_bytes)
        .map_err(|refusal| unreadable(&refusal))?;
    body.read_into(&mut batch, 0, "");
    let shown = Shown::of(&batch).map_err(anyhow::Error::new)?;
    let text = serde_json::to_string_pretty(&shown).map_err(anyhow::Error::new)?;
    printed(writeln!(io::stdout(), "{text}"))
}

#[derive(Serialize)]
struct Shown<'a> {
    events: Vec<BTreeMap<&'a str, Box<RawValue>>>,
    quarantine: Vec<Rejected<'a>>,
    /// Known fields whose value does not fit their column and goes to `extra`.
    misfits: u64,
    /// Texts with a NUL or a lone surrogate, replaced by U+FFFD.
    repaired_texts: u64,
}

/// What would go to quarantine.
#[derive(Serialize)]
struct Rejected<'a> {
    reason: &'a str,
    detail: &'a str,
    network_id: Option<&'a str>,
    event_id: Option<&'a str>,
    /// As it stands in the body.
    event: Box<RawValue>,
}

impl<'a> Shown<'a> {
    fn of(batch: &'a Batch) -> serde_json::Result<Shown<'a>> {
        let rejected = |reject: &'a Reject| {
            Ok(Rejected {
                reason: reject.refusal.reason.as_str(),
                detail: &reject.refusal.detail,
                network_id: reject.network_id.as_deref(),
                event_id: reject.event_id.as_deref(),
                event: serde_json::from_slice(&reject.payload)?,
            })
        };
        let rejects = batch.rejects().iter().map(rejected);
        Ok(Shown {
            events: batch
                .documents()
                .iter()
                .map(row)
                .collect::<Result<_, _>>()?,
            quarantine: rejects.collect::<serde_json::Result<_>>()?,
            misfits: batch.misfits,
            repaired_texts: batch.repaired,
        })
    }
}

/// The columns of a document with their values, its table and its event type.
fn row(document: &Document) -> serde_json::Result<BTreeMap<&str, Box<RawValue>>> {
    let text = |value: &str| serde_json::value::to_raw_value(value);
    let mut row: BTreeMap<&str, Box<RawValue>> = serde_json::from_str(&document.row)?;
    for (column, value) in document.table.key.iter().zip(&document.key) {
        row.insert(column, text(value)?);
    }
    row.insert("event_type", text(document.event_type)?);
    row.insert("table", text(document.table.name)?);
    Ok(row)
}
