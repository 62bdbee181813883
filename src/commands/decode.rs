//! `hydrant decode`: what Hydrant understands of a body. One JSON document goes to standard output, a summary for people
//! to standard error. Nothing is stored, and no configuration is needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Failure, printed};
use crate::cli::{Decode, Feed};
use crate::formats::hasoffers::Body;
use crate::formats::hasoffers::event::{BadEvent, Event, Kind};
use crate::formats::hasoffers::fields::FIELDS;
use crate::formats::value::Value;
use crate::formats::{Format, Refusal, Scope, body, everflow};
use crate::json;

mod documents;

pub fn run(args: Decode) -> Result<(), Failure> {
    let bytes = read(args.file.as_deref()).map_err(Failure::Usage)?;
    let settings = args.event_type.map(|event_type| everflow::Settings {
        event_type,
        network_id: args.network_id.clone(),
        fields: BTreeMap::new(),
    });
    match (args.format, settings) {
        (Feed::Everflow, Some(settings)) => {
            let format = Format::Everflow(Arc::new(settings));
            documents::show(&bytes, &format, args.max_body_bytes as usize)
        }
        (Feed::Recurly, _) => {
            documents::show(&bytes, &Format::Recurly, args.max_body_bytes as usize)
        }
        _ => hasoffers(&bytes, &args),
    }
}

fn hasoffers(bytes: &[u8], args: &Decode) -> Result<(), Failure> {
    let network_id = args.network_id.as_deref();
    let (control_fields, mut body) = match body::open(bytes, args.max_body_bytes as usize) {
        Ok(opened) => (
            control_fields(&opened.text),
            Body::of(opened, network_id).map_err(Box::new),
        ),
        Err(refusal) => (None, Err(Box::new(refusal))),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let found = Found::default();
    let written = write_document(&mut out, control_fields, &mut body, &found);
    let is_whole = written.is_ok();
    printed(written)?;
    match body {
        // Where the reader went away, the events were not counted to the end.
        Ok(_) if !is_whole => Ok(()),
        Ok(_) => {
            eprint!("{}", found.summary.into_inner().for_people());
            Ok(())
        }
        Err(refusal) => Err(unreadable(&refusal)),
    }
}

fn unreadable(refusal: &Refusal) -> Failure {
    Failure::Failed(anyhow!(
        "the body cannot be read and would go to quarantine: {} ({})",
        refusal.detail,
        refusal.reason
    ))
}

fn read(file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => fs::read(file).with_context(|| format!("cannot read {}", file.display())),
        None => {
            let mut bytes = Vec::new();
            let mut stdin = io::stdin().lock();
            if stdin.is_terminal() {
                eprintln!("reading a body from the terminal; Ctrl-D ends it");
            }
            stdin
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            Ok(bytes)
        }
    }
}

/// What stands beside the events of an envelope, as it stands there. Known of many a body that is refused, too.
fn control_fields(text: &str) -> Option<BTreeMap<String, Box<RawValue>>> {
    let envelope = body::validate(text).ok()?;
    if !envelope.starts_with('{') {
        return None;
    }
    json::members(envelope)
        .filter(|(key, _)| key != "data")
        .map(|(key, raw)| {
            let raw = RawValue::from_string(raw.to_owned()).ok()?;
            Some((key.into_owned(), raw))
        })
        .collect()
}

/// What the events turned out to be, gathered while they are written: a large body never stands in memory as a tree.
#[derive(Default)]
struct Found {
    rejected: RefCell<Vec<Rejected>>,
    summary: RefCell<Summary>,
}

fn write_document(
    out: &mut impl Write,
    envelope: Option<BTreeMap<String, Box<RawValue>>>,
    body: &mut Result<Body, Box<Refusal>>,
    found: &Found,
) -> io::Result<()> {
    let events = match body {
        Ok(body) => {
            let mut summary = found.summary.borrow_mut();
            summary.json_bytes = body.len();
            summary.trailing_bytes = body.trailing_bytes;
            Some(RefCell::new(body))
        }
        Err(refusal) => {
            found.reject(Rejected::body(refusal));
            None
        }
    };
    let mut serializer = serde_json::Serializer::pretty(&mut *out);
    let mut document = serializer.serialize_map(None)?;
    document.serialize_entry("envelope", &envelope)?;
    document.serialize_entry(
        "events",
        &Events {
            body: events,
            found,
        },
    )?;
    document.serialize_entry("quarantine", &found.rejected)?;
    document.serialize_entry("summary", &found.summary)?;
    SerializeMap::end(document)?;
    out.write_all(b"\n")?;
    out.flush()
}

impl Found {
    fn reject(&self, rejected: Rejected) {
        let mut summary = self.summary.borrow_mut();
        *summary.quarantine.entry(rejected.reason).or_default() += 1;
        self.rejected.borrow_mut().push(rejected);
    }
}

/// The events of a body, one after the other.
struct Events<'a> {
    body: Option<RefCell<&'a mut Body>>,
    found: &'a Found,
}

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut events = serializer.serialize_seq(None)?;
        if let Some(body) = &self.body {
            let mut body = body.borrow_mut();
            let mut position = 0;
            while let Some((raw, event)) = body.next_event() {
                match event {
                    Ok(event) => {
                        let row = Row::of(&event);
                        self.found.summary.borrow_mut().count(&row);
                        events.serialize_element(&row)?;
                    }
                    Err(bad) => self
                        .found
                        .reject(Rejected::event(position, *bad, raw).map_err(S::Error::custom)?),
                }
                position += 1;
            }
            self.found.summary.borrow_mut().events = position;
        }
        events.end()
    }
}

/// What would go to quarantine.
#[derive(Serialize)]
struct Rejected {
    scope: &'static str,
    reason: &'static str,
    detail: String,
    /// Its place in the body, from 0; of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// As it stands in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

impl Rejected {
    fn body(refusal: &Refusal) -> Rejected {
        Rejected {
            scope: Scope::Body.as_str(),
            reason: refusal.reason.as_str(),
            detail: refusal.detail.to_string(),
            position: None,
            network_id: None,
            event_id: None,
            event: None,
        }
    }

    fn event(position: u64, bad: BadEvent, raw: &str) -> serde_json::Result<Rejected> {
        Ok(Rejected {
            scope: Scope::Event.as_str(),
            reason: bad.refusal.reason.as_str(),
            detail: bad.refusal.detail.into_owned(),
            position: Some(position),
            network_id: bad.network_id,
            event_id: bad.event_id,
            event: Some(RawValue::from_string(raw.to_owned())?),
        })
    }
}

/// An event as the row that it becomes: its columns by name, blank ones left out.
struct Row<'a> {
    event: &'a Event<'a>,
    /// Names of `extra`: known fields whose value does not fit their column, and fields that have none.
    misfits: Vec<String>,
    unknown: Vec<String>,
}

impl<'a> Row<'a> {
    fn of(event: &'a Event<'a>) -> Row<'a> {
        let names = json::members(event.extra.as_deref().unwrap_or("{}"));
        let (misfits, unknown) = names
            .map(|(name, _)| name.into_owned())
            .partition(|name| FIELDS.iter().any(|field| field.name == name));
        Row {
            event,
            misfits,
            unknown,
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let (table, adjust_action) = match event.kind {
            Kind::Standard => ("events", None),
            Kind::Create => ("events", Some("create")),
            Kind::Update => ("adjustments", Some("update")),
        };
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("table", table)?;
        row.serialize_entry("network_id", &event.network_id)?;
        row.serialize_entry("event_id", &event.event_id)?;
        row.serialize_entry("record_id", event.record_id())?;
        if let Some(id) = &event.tune_event_id {
            row.serialize_entry("tune_event_id", id)?;
        }
        row.serialize_entry("action", event.action.as_str())?;
        if let Some(word) = adjust_action {
            row.serialize_entry("adjust_action", word)?;
        }
        row.serialize_entry("event_day", &event.event_day.to_string())?;
        if let Some(timestamp) = event.dispatch_timestamp {
            row.serialize_entry("dispatch_timestamp", &timestamp)?;
        }
        for (field, value) in FIELDS.iter().zip(&event.values) {
            match value {
                Value::Null => {}
                Value::Text(text) => row.serialize_entry(field.name, text)?,
                Value::Int(number) => row.serialize_entry(field.name, number)?,
                // Its own digits: a float would change some.
                Value::Amount(amount) => row.serialize_entry(field.name, &verbatim(amount)?)?,
                Value::Bool(value) => row.serialize_entry(field.name, value)?,
                Value::Date(day) => row.serialize_entry(field.name, &day.to_string())?,
                Value::Timestamp(moment) => row.serialize_entry(field.name, &moment.to_string())?,
            }
        }
        if let Some(extra) = &event.extra {
            row.serialize_entry("extra", &verbatim(extra)?)?;
        }
        if !self.misfits.is_empty() {
            row.serialize_entry("misfits", &self.misfits)?;
        }
        if event.repaired > 0 {
            row.serialize_entry("repaired_texts", &event.repaired)?;
        }
        row.end()
    }
}

fn verbatim<E: Error>(json: impl ToString) -> Result<Box<RawValue>, E> {
    RawValue::from_string(json.to_string()).map_err(E::custom)
}

#[derive(Default, Serialize)]
struct Summary {
    /// Those for quarantine included.
    events: u64,
    /// Of what is stored, adjustments included.
    actions: BTreeMap<&'static str, u64>,
    /// By `adjust_action`.
    adjustments: BTreeMap<&'static str, u64>,
    /// By reason.
    quarantine: BTreeMap<&'static str, u64>,
    /// By field: values that do not fit their column and go to `extra`.
    misfit_fields: BTreeMap<String, u64>,
    /// By field: what has no column and goes to `extra`.
    unknown_fields: BTreeMap<String, u64>,
    /// Texts with a NUL or a lone surrogate, replaced by U+FFFD.
    repaired_texts: u64,
    json_bytes: usize,
    /// After the last gzip member; ignored.
    trailing_bytes: usize,
}

impl Summary {
    fn count(&mut self, row: &Row<'_>) {
        let event = row.event;
        *self.actions.entry(event.action.as_str()).or_default() += 1;
        match event.kind {
            Kind::Standard => {}
            Kind::Create => *self.adjustments.entry("create").or_default() += 1,
            Kind::Update => *self.adjustments.entry("update").or_default() += 1,
        }
        for (names, counts) in [
            (&row.misfits, &mut self.misfit_fields),
            (&row.unknown, &mut self.unknown_fields),
        ] {
            for name in names {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
        self.repaired_texts += u64::from(event.repaired);
    }

    /// A line for each thing there is to say.
    fn for_people(&self) -> String {
        let mut lines = match self.events {
            0 => "no events\n".to_owned(),
            1 => "1 event\n".to_owned(),
            count => format!("{count} events\n"),
        };
        let unknown = self.unknown_fields.iter();
        let misfits = self.misfit_fields.iter();
        for (title, counts) in [
            ("actions", listed(self.actions.iter())),
            ("adjustments", listed(self.adjustments.iter())),
            ("to quarantine", listed(self.quarantine.iter())),
            ("did not fit, kept in extra", listed(misfits)),
            ("without a column, kept in extra", listed(unknown)),
            ("texts repaired", number(self.repaired_texts)),
            ("bytes after the gzip", number(self.trailing_bytes as u64)),
        ] {
            if !counts.is_empty() {
                lines.push_str(&format!("  {title}: {counts}\n"));
            }
        }
        lines
    }
}

/// Names with their counts, as many as fit a line.
fn listed<'a, N: AsRef<str> + 'a>(
    counts: impl ExactSizeIterator<Item = (&'a N, &'a u64)>,
) -> String {
    const SHOWN: usize = 12;
    let more = counts.len().saturating_sub(SHOWN);
    let mut names: Vec<String> = counts
        .take(SHOWN)
        // A field's name comes from outside: a terminal must not take it for a command.
        .map(|(name, count)| format!("{} {count}", name.as_ref().escape_debug()))
        .collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

fn number(count: u64) -> String {
    match count {
        0 => String::new(),
        count => count.to_string(),
    }
}
