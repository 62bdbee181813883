//! V10 and the digest: every fact read as the bytes that were written, by COPY in binary, and hashed again. Memory holds
//! one row at a time.

use std::collections::BTreeMap;

use anyhow::Context;
use futures_util::StreamExt;
use sqlx::postgres::PgConnection;
use twox_hash::XxHash3_128;

use super::{Finding, Found, PACE, Progress, Scope};
use crate::formats::hasoffers::event::{delta_fields, state_fields};
use crate::formats::hasoffers::fields::FIELDS;
use crate::formats::value::{Day, Type};
use crate::json;
use crate::store::batch::ID_COLUMNS;
use crate::store::fault::Fault;
use crate::store::retention::facts::may_be_blanked;
use crate::store::retention::marks::{Mark, Whose};
use crate::store::row::{self, RowWriter};

/// Levels of JSON below the fields of `extra`; more is never written.
const DEPTH: usize = 32;
/// Signature, flags and length of the header's extension.
const HEADER: usize = 19;

/// The contents of the tables, whatever the order of their rows and the layout of their partitions.
#[derive(Debug, Default, PartialEq)]
pub struct Digest {
    /// By table and day; a row that has no day has "".
    pub days: BTreeMap<(&'static str, String), Sum>,
    pub all: Sum,
}

/// Rows, and the sum of their hashes: sums do not depend on the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    pub hash: u128,
}

impl Sum {
    fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.hash = self.hash.wrapping_add(hash);
    }
}

/// A table of facts.
struct Table {
    name: &'static str,
    /// Whether a row `t` lies where it does not belong.
    misplaced: &'static str,
    /// The rows of a day and later, as conditions on `t`. Clicks are found by their partitions.
    parts: &'static [&'static str],
}

const TABLES: [Table; 3] = [
    Table {
        name: "events",
        misplaced: "t.adjust_action = 'update' or t.partition_day
            <> case when t.action = 'conversion' then date '0001-01-01' else t.event_day end",
        parts: &[
            "partition_day = '0001-01-01'",
            "partition_day > '0001-01-01'",
        ],
    },
    Table {
        name: "adjustments",
        misplaced: "t.adjust_action is distinct from 'update'",
        parts: &["true"],
    },
    Table {
        name: "event_variants",
        misplaced: "(t.adjust_action is not distinct from 'update') <> (t.role = 'adjustment')",
        parts: &["true"],
    },
];

/// One fact as it stands in its table.
struct Fact<'r> {
    network_id: &'r [u8],
    event_id: &'r [u8],
    event_day: Day,
    /// Of its columns.
    hash: [u8; 16],
    content_hash: &'r [u8],
    dispatch_timestamp: &'r [u8],
    misplaced: bool,
    /// Old enough, and without any value that may be about a person: then its hash is of what it was.
    blanked: bool,
}

/// The check. With a day: the clicks and impressions of that day on, and of the rest what came since.
pub async fn check(
    connection: &mut PgConnection,
    scope: &Scope,
    progress: Progress<'_>,
) -> Result<Vec<Finding>, Fault> {
    let mut found = Found::default();
    let mut seen = 0;
    let blanked = may_be_blanked(&Mark::read(connection, Whose::Facts).await?);
    for table in &TABLES {
        for part in table.parts {
            let condition = match scope {
                Scope::Since(day) if part.contains('>') => format!("t.partition_day >= '{day}'"),
                Scope::Since(day) => format!("{} and t.received_at >= '{day}'", of(part)),
                Scope::All | Scope::Record(..) => of(part),
            };
            read_facts(
                connection,
                table,
                &condition,
                &blanked,
                &mut seen,
                progress,
                |fact| {
                    let wrong = if fact.hash != fact.content_hash && !fact.blanked {
                        "a row's columns do not come to its content_hash"
                    } else if fact.misplaced {
                        "a row lies in a table or a day that it does not belong to"
                    } else {
                        return;
                    };
                    let (network_id, event_id) = (text(fact.network_id), text(fact.event_id));
                    let ids = [("network_id", &*network_id), ("event_id", &*event_id)];
                    found.add(wrong, [("table", table.name)].into_iter().chain(ids));
                },
            )
            .await?;
        }
    }
    Ok(found.list())
}

/// A condition with its column's table.
fn of(part: &str) -> String {
    part.replace("partition_day", "t.partition_day")
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The digest: facts, variants, patches, and what is in quarantine. With a day: of that day on.
pub async fn digest(
    connection: &mut PgConnection,
    scope: &Scope,
    progress: Progress<'_>,
) -> Result<Digest, Fault> {
    let mut digest = Digest::default();
    let mut seen = 0;
    for table in &TABLES {
        for part in table.parts {
            let condition = match scope {
                Scope::Since(day) if part.contains('>') => format!("t.partition_day >= '{day}'"),
                Scope::Since(day) => format!("{} and t.event_day >= '{day}'", of(part)),
                Scope::All | Scope::Record(..) => of(part),
            };
            read_facts(
                connection,
                table,
                &condition,
                "false",
                &mut seen,
                progress,
                |fact| {
                    let day = fact.event_day.to_string();
                    let row = [&fact.hash[..], fact.dispatch_timestamp].concat();
                    digest.add(table.name, day, &row);
                },
            )
            .await?;
        }
    }
    let others = [
        ("record_patches", patches(scope)),
        ("quarantine", quarantine(scope)),
    ];
    for (name, select) in others {
        read(connection, &select, &mut seen, progress, |row| {
            let (day, rest) = column(row)?;
            let day = text(day.unwrap_or_default()).into_owned();
            digest.add(name, day, rest);
            Ok(())
        })
        .await?;
    }
    Ok(digest)
}

impl Digest {
    fn add(&mut self, table: &'static str, day: String, row: &[u8]) {
        let hash = XxHash3_128::oneshot(&[table.as_bytes(), row].concat());
        self.days.entry((table, day)).or_default().add(hash);
        self.all.add(hash);
    }
}

/// The day of a patch is that of its last adjustment. Its `revision` tells how often it was written, and is no content.
fn patches(scope: &Scope) -> String {
    let since = match scope {
        Scope::Since(day) => format!("last_adjusted_at >= '{day}'"),
        Scope::All | Scope::Record(..) => "true".to_owned(),
    };
    let folded: Vec<String> = delta_fields()
        .chain(state_fields())
        .map(|(_, field)| match field.kind {
            Type::Amount => format!("trim_scale({})", field.name),
            _ => field.name.to_owned(),
        })
        .collect();
    format!(
        "select coalesce(last_adjusted_at::date::text, ''), network_id, record_id, adjustment_count,
             last_adjustment_sequence_id, last_adjusted_at, {}
         from record_patches where {since}",
        folded.join(", ")
    )
}

/// What is in quarantine has no day: when it came is not the feed's.
fn quarantine(scope: &Scope) -> String {
    let any = !matches!(scope, Scope::Since(_));
    format!(
        "select '', source, scope, coalesce(network_id, ''), payload_sha256 from quarantine where {any}"
    )
}

async fn read_facts(
    connection: &mut PgConnection,
    table: &Table,
    condition: &str,
    blanked: &str,
    seen: &mut u64,
    progress: Progress<'_>,
    mut each: impl FnMut(&Fact<'_>),
) -> Result<(), Fault> {
    let fields = FIELDS.iter().map(|field| field.name);
    let columns: Vec<&str> = ID_COLUMNS.into_iter().chain(fields).collect();
    let select = format!(
        "select {}, extra, content_hash, dispatch_timestamp, coalesce({}, false), {blanked} from {} t where {condition}",
        columns.join(", "),
        table.misplaced,
        table.name,
    );
    let (mut written, mut hashed) = (Vec::new(), Vec::new());
    read(connection, &select, seen, progress, |row| {
        written.clear();
        let writer = RowWriter::new(&mut written, &mut hashed);
        each(&fact(row, writer)?);
        Ok(())
    })
    .await
}

/// Takes a row of [`read_facts`] apart, and writes it as the daemon does, which hashes it.
fn fact<'r>(row: &'r [u8], mut writer: RowWriter<'_>) -> anyhow::Result<Fact<'r>> {
    let mut rest = row;
    let mut next = || -> anyhow::Result<Option<&'r [u8]>> {
        let (value, behind) = column(rest)?;
        rest = behind;
        Ok(value)
    };
    let mut ids: [&[u8]; ID_COLUMNS.len()] = [&[]; ID_COLUMNS.len()];
    for position in 0..ID_COLUMNS.len() + FIELDS.len() {
        match next()? {
            None => writer.null(),
            Some(bytes) => {
                writer.bytes(bytes);
                if let Some(id) = ids.get_mut(position) {
                    *id = bytes;
                }
            }
        }
    }
    let extra = next()?.map(canonical_extra).transpose()?;
    let hash = writer.finish(extra.as_deref());
    let [network_id, event_id, .., event_day] = ids;
    Ok(Fact {
        network_id,
        event_id,
        event_day: Day(i32::from_be_bytes(
            event_day.try_into().context("a day has not 4 bytes")?,
        )),
        hash,
        content_hash: next()?.unwrap_or_default(),
        dispatch_timestamp: next()?.unwrap_or_default(),
        misplaced: next()? == Some(&[1]),
        blanked: next()? == Some(&[1]),
    })
}

/// `extra` as it was written. Postgres keeps the same value, but orders keys and writes white space as it likes.
fn canonical_extra(jsonb: &[u8]) -> anyhow::Result<String> {
    let text = jsonb
        .strip_prefix(&[1])
        .context("jsonb is not of version 1")?;
    let text = std::str::from_utf8(text)?;
    let fields: BTreeMap<_, _> = json::members(text).collect();
    let mut canonical = String::with_capacity(text.len());
    for (name, raw) in fields {
        canonical.push(if canonical.is_empty() { '{' } else { ',' });
        json::write_text(&name, &mut canonical);
        canonical.push(':');
        // What is nested deeper than anything that was ever written has another hash, whatever stands here.
        let _ = json::canonical(raw, DEPTH, &mut canonical);
    }
    canonical.push('}');
    Ok(canonical)
}

/// Reads the rows of a select: each as its columns, a length and bytes each.
async fn read(
    connection: &mut PgConnection,
    select: &str,
    seen: &mut u64,
    progress: Progress<'_>,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> Result<(), Fault> {
    const DOING: &str = "could not read rows to hash them";
    let statement = format!("copy ({select}) to stdout (format binary)");
    let mut messages = connection
        .copy_out_raw(&statement)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
    // The header comes with the first row, and each row in a message of its own.
    let mut header = HEADER;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| Fault::new(error, DOING))?;
        let row = message.get(std::mem::take(&mut header)..).unwrap_or(&[]);
        let Some((count, row)) = row.split_first_chunk::<2>() else {
            continue;
        };
        if i16::from_be_bytes(*count) < 0 {
            continue;
        }
        each(row).map_err(|error| Fault::MassRefusal(error.context(DOING)))?;
        *seen += 1;
        if seen.is_multiple_of(PACE) {
            progress(*seen);
        }
    }
    Ok(())
}

/// The first column of a row, and what is behind it.
fn column(row: &[u8]) -> anyhow::Result<(Option<&[u8]>, &[u8])> {
    row::column(row).context("a row is cut off")
}
