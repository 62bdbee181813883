//! One event: from its own slice of JSON to what is stored of it, wherever it stood.

use crate::formats::row::Kind::{Id, Integer, Json, Text};
use crate::formats::row::{self, Field, Row, field, is_blank};
use crate::formats::value::Moment;
use crate::formats::{Reason, Refusal};
use crate::store::documents::content_hash;

/// The columns of `recurly_usage_events` that come from an event as they are, beside `extra`.
pub const FIELDS: [Field; 13] = [
    field("app_id", Id),
    field("user_id", Id),
    field("anonymous_user_id", Id),
    field("event", Text),
    field("platform", Text),
    field("type", Text),
    field("ts", Integer),
    field("properties_id", Id),
    field("properties_values", Json),
    field("properties_options", Json),
    field("traits", Json),
    field("segments", Json),
    field("paths", Json),
];

/// Text that says nothing of a person: the tracker, and how it is set. What it has for values may be a page's address.
const OPEN: [&str; 6] = [
    "app_id",
    "event",
    "platform",
    "type",
    "properties_id",
    "properties_options",
];

/// The columns that may hold something about a person.
pub fn personal() -> impl Iterator<Item = &'static str> {
    row::personal(&FIELDS, &OPEN)
}

/// Seconds, and milliseconds, since 1970 of the years 1973 to 2286: nothing is both.
const SECONDS: std::ops::Range<i64> = 100_000_000..10_000_000_000;
const MILLIS: std::ops::Range<i64> = 100_000_000_000..10_000_000_000_000;
/// 2000-01-01 in milliseconds since 1970.
const MILLENNIUM_MILLIS: i64 = 946_684_800_000;

/// One event, understood.
#[derive(Debug)]
pub struct Event {
    /// Its columns as a JSON object in canonical form.
    pub row: String,
    pub content_hash: [u8; 16],
    /// Of what happened, apart from what else was known then: equal for one event in an object and in a pushed body.
    pub natural_hash: [u8; 16],
    /// When it happened, in milliseconds since 1970.
    pub happened: Option<i64>,
    /// Known fields whose value did not fit.
    pub misfits: u32,
    /// Texts that held what Postgres cannot store.
    pub repaired: u32,
}

/// Understands one event from its raw slice, which is known to be JSON.
///
/// # Errors
/// It is no object, has neither an event nor a type, or is too deep or too large. Any value that does not fit its column goes
/// to `extra` instead.
pub fn read(raw: &str) -> Result<Event, Refusal> {
    let members = row::members(raw)?;
    let has = |name: &str| members.get(name).is_some_and(|raw| !is_blank(raw));
    if !has("event") && !has("type") {
        let detail = "the event has neither an event nor a type";
        return Err(Refusal::new(Reason::EventType, detail));
    }
    let mut row = Row::default();
    for (name, raw) in &members {
        match name.as_ref() {
            "properties" if raw.starts_with('{') => properties(&mut row, raw)?,
            // That is what their columns are called, not their fields.
            "properties_id" | "properties_values" | "properties_options" => row.keep(name, raw)?,
            name => row.put(&FIELDS, name, name, raw)?,
        }
    }
    let (misfits, repaired) = (row.misfits, row.repaired);
    let happened = row.integer("ts").and_then(millis);
    let natural_hash = content_hash("happened", &what_happened(&row, happened));
    let row = row.finish();
    Ok(Event {
        content_hash: content_hash("usage", &row),
        natural_hash,
        happened,
        row,
        misfits,
        repaired,
    })
}

fn properties(row: &mut Row, raw: &str) -> Result<(), Refusal> {
    for (name, raw) in row::members(raw)? {
        let column = match name.as_ref() {
            "id" => "properties_id",
            "values" => "properties_values",
            "options" => "properties_options",
            _ => "",
        };
        row.put(&FIELDS, column, &format!("properties.{name}"), raw)?;
    }
    Ok(())
}

/// Who did what and when. Without the app and what else was known of the user: an account has these switched on for one door
/// and not for the other.
fn what_happened(row: &Row, happened: Option<i64>) -> String {
    let column = |name: &str| row.json(name).unwrap_or("null").to_owned();
    let user = match row.json("user_id") {
        Some(id) => id.to_owned(),
        None => format!("[{}]", column("anonymous_user_id")),
    };
    let time = happened.map_or_else(|| format!("[{}]", column("ts")), |ms| ms.to_string());
    let rest = ["type", "event", "properties_id", "properties_values"].map(column);
    format!("{user},{time},{}", rest.join(","))
}

/// A time as milliseconds, if it looks like one.
fn millis(ts: i64) -> Option<i64> {
    if SECONDS.contains(&ts) {
        Some(ts * 1_000)
    } else {
        Some(ts).filter(|ts| MILLIS.contains(ts))
    }
}

/// A time as Postgres reads it, whatever the session's settings.
pub fn timestamptz(millis: i64) -> String {
    format!("{}+00", Moment((millis - MILLENNIUM_MILLIS) * 1_000))
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
