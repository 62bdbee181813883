//! One event: from its own slice of JSON to identity, typed values and `extra`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::fields::{Class, FIELDS, Field};
use super::members::{EVENT_ID, Members, TUNE_EVENT_ID};
use crate::formats::value::{self, Day, Type, Value};
use crate::formats::{Reason, Refusal};
use crate::json::{self, Excess, MEMBERS_MAX, Raw, Scalar};

/// Levels of arrays and objects that an event may have, itself included.
const DEPTH_MAX: usize = 32;
/// Bytes of `extra`. Postgres' jsonb takes no array of 2^24 elements or more, and says so with an error that could mean
/// anything; so little text cannot hold them.
const EXTRA_LENGTH_MAX: usize = 16 << 20;

/// What an event is a count of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Impression,
    Click,
    Conversion,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Impression => "impression",
            Action::Click => "click",
            Action::Conversion => "conversion",
        }
    }
}

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An original, without `adjust_action`.
    Standard,
    /// An original that an adjustment made.
    Create,
    /// An entry in the ledger of a record.
    Update,
}

/// What an event inherits from its envelope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context<'a> {
    pub network_id: Option<Cow<'a, str>>,
    /// Of the source: for events that have no network from anywhere else.
    pub source_network_id: Option<Cow<'a, str>>,
    pub dispatch_timestamp: Option<i64>,
}

/// One event, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    pub network_id: Cow<'a, str>,
    pub event_id: Cow<'a, str>,
    pub tune_event_id: Option<Cow<'a, str>>,
    pub action: Action,
    pub kind: Kind,
    /// Of the envelope.
    pub dispatch_timestamp: Option<i64>,
    pub event_day: Day,
    /// One for each of [`FIELDS`].
    pub values: Vec<Value<'a>>,
    /// Canonical JSON of what is unknown or does not fit; `None` when empty.
    pub extra: Option<String>,
    /// Known fields whose value did not fit.
    pub misfits: u32,
    /// Texts that held what Postgres cannot store.
    pub repaired: u32,
}

impl Event<'_> {
    /// What adjustments refer to.
    pub fn record_id(&self) -> &str {
        self.tune_event_id.as_deref().unwrap_or(&self.event_id)
    }
}

/// An event that cannot be stored, with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BadEvent {
    pub refusal: Refusal,
    pub network_id: Option<String>,
    pub event_id: Option<String>,
}

/// Understands one event from its raw slice.
///
/// # Errors
/// See [`Reader::read`].
pub fn parse<'a>(raw: &'a str, context: &Context<'a>) -> Result<Event<'a>, Box<BadEvent>> {
    Reader::new().read(raw, 0, context).1
}

/// Understands the events of one text, one after the other: what it needs of memory it asks for once.
pub(super) struct Reader<'a> {
    members: Members<'a>,
    values: Vec<Value<'a>>,
}

impl<'a> Reader<'a> {
    pub fn new() -> Reader<'a> {
        Reader {
            members: Members::new(),
            values: Vec::new(),
        }
    }

    /// Understands the event that begins at the byte `at` of `text`; its raw slice comes first.
    ///
    /// # Errors
    /// What must be right and is not: identity, action, order, amounts, nesting. Any other value that does not fit goes to
    /// `extra` instead.
    pub fn read(
        &mut self,
        text: &'a str,
        at: usize,
        context: &Context<'a>,
    ) -> (&'a str, Result<Event<'a>, Box<BadEvent>>) {
        if text.as_bytes().get(at) != Some(&b'{') {
            let raw = json::elements_from(text, at).next().unwrap_or_default();
            let refusal = Refusal::new(Reason::NotAnObject, "the event is not a JSON object");
            return (raw, Err(bad(refusal, None, None, context)));
        }
        let end = self.members.read(text, at);
        let raw = text.get(at..end).unwrap_or_default();
        let event = self.understand(context).map_err(|refusal| {
            let event_id = self.members.id(EVENT_ID, Reason::EventId).ok().flatten();
            bad(refusal, self.members.own_network_id(), event_id, context)
        });
        (raw, event)
    }

    /// Takes the memory of an event for the next one.
    pub fn reuse(&mut self, event: Event<'a>) {
        self.values = event.values;
    }

    fn understand(&mut self, context: &Context<'a>) -> Result<Event<'a>, Refusal> {
        let members = &mut self.members;
        let event_id = members
            .id(EVENT_ID, Reason::EventId)?
            .ok_or_else(|| Refusal::new(Reason::EventId, "event_id is missing or blank"))?;
        let network_id = members.network_id(context)?;
        let action = members.action()?;
        let kind = members.kind()?;
        let tune_event_id = members.id(TUNE_EVENT_ID, Reason::TuneEventId)?;
        let mut extra = std::mem::take(&mut members.unknown);
        if extra.len() > MEMBERS_MAX {
            return Err(too_much(Excess::Members));
        }
        let mut values = std::mem::take(&mut self.values);
        let (misfits, repaired) = convert(members.known(), &mut values, &mut extra)?;
        let event_day = event_day(members.known(), &values);
        let (extra, repaired_extra) = canonical_extra(&extra).map_err(too_much)?;
        if extra
            .as_ref()
            .is_some_and(|extra| extra.len() > EXTRA_LENGTH_MAX)
        {
            return Err(Refusal::new(
                Reason::TooLarge,
                format!("its fields without a column take more than {EXTRA_LENGTH_MAX} bytes"),
            ));
        }
        Ok(Event {
            network_id,
            event_id,
            tune_event_id,
            action,
            kind,
            dispatch_timestamp: context.dispatch_timestamp,
            event_day,
            values,
            extra,
            misfits,
            repaired: repaired + repaired_extra,
        })
    }
}

fn bad(
    refusal: Refusal,
    own_network_id: Option<Cow<'_, str>>,
    event_id: Option<Cow<'_, str>>,
    context: &Context<'_>,
) -> Box<BadEvent> {
    let network_id = context.network_id.as_deref().or(own_network_id.as_deref());
    Box::new(BadEvent {
        refusal,
        network_id: network_id
            .or(context.source_network_id.as_deref())
            .map(str::to_owned),
        event_id: event_id.map(Cow::into_owned),
    })
}

/// Fills `values` with the typed values of the known fields, and adds those that do not fit to `extra`. How many did not fit,
/// and how many texts were repaired.
fn convert<'a>(
    known: &[Option<Raw<'a>>],
    values: &mut Vec<Value<'a>>,
    extra: &mut BTreeMap<Cow<'a, str>, &'a str>,
) -> Result<(u32, u32), Refusal> {
    let mut misfits = 0;
    let mut repaired = 0;
    values.clear();
    for (field, raw) in FIELDS.iter().zip(known) {
        let Some(raw) = raw else {
            values.push(Value::Null);
            continue;
        };
        let scalar = match raw.plain_text() {
            Some("") => {
                values.push(Value::Null);
                continue;
            }
            Some(text) if matches!(field.kind, Type::Text | Type::Key) => {
                values.push(Value::Text(Cow::Borrowed(text)));
                continue;
            }
            _ => raw.scalar(),
        };
        repaired += u32::from(matches!(&scalar, Scalar::Text(text) if text.repaired));
        values.push(match value::convert(scalar, field.kind) {
            Some(value) => value,
            None if field.class == Class::Delta => {
                let detail = format!(
                    "{} is not a decimal below 10^15 with at most 12 places",
                    field.name
                );
                return Err(Refusal::new(Reason::Amount, detail));
            }
            None if field.name == "adjustment_sequence_id" => return Err(bad_sequence()),
            None => {
                misfits += 1;
                extra.insert(Cow::Borrowed(field.name), raw.text);
                Value::Null
            }
        });
    }
    if matches!(values[SEQUENCE], Value::Int(sequence) if sequence < 0) {
        return Err(bad_sequence());
    }
    Ok((misfits, repaired))
}

fn too_much(excess: Excess) -> Refusal {
    match excess {
        Excess::Depth => Refusal::new(
            Reason::Depth,
            format!("nested deeper than {DEPTH_MAX} levels"),
        ),
        Excess::Members => Refusal::new(
            Reason::TooLarge,
            format!("more than {MEMBERS_MAX} fields without a column, or within one field"),
        ),
    }
}

fn bad_sequence() -> Refusal {
    Refusal::new(
        Reason::AdjustmentSequenceId,
        "adjustment_sequence_id is not an integer from 0 to 2^63-1",
    )
}

/// The position of a field that has a meaning of its own.
const fn position(name: &str) -> usize {
    let mut at = 0;
    while !same(FIELDS[at].name.as_bytes(), name.as_bytes()) {
        at += 1;
    }
    at
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

pub const SEQUENCE: usize = position("adjustment_sequence_id");
pub const ADJUSTED_AT: usize = position("adjustment_timestamp");
pub const CREATED: usize = position("created_timestamp");
const DATE: usize = position("date");
const DATETIME: usize = position("datetime");

/// The day of the event, from the event alone: a clock would make it depend on when it came.
fn event_day(known: &[Option<Raw<'_>>], values: &[Value<'_>]) -> Day {
    if let Value::Date(day) = values[DATE] {
        return day;
    }
    // The day of a datetime counts even where its time of day does not fit.
    if let Some(Scalar::Text(text)) = known[DATETIME].map(Raw::scalar)
        && let Some(day) = text.value.trim_ascii().get(..10).and_then(Day::parse)
    {
        return day;
    }
    match values[CREATED] {
        Value::Int(seconds) => Day::of_unix_seconds(seconds).unwrap_or(Day::EPOCH),
        _ => Day::EPOCH,
    }
}

/// The fields that have no column or do not fit theirs, without the blank ones, as canonical JSON.
fn canonical_extra(fields: &BTreeMap<Cow<'_, str>, &str>) -> Result<(Option<String>, u32), Excess> {
    let mut extra = String::new();
    let mut repaired = 0;
    for (name, raw) in fields
        .iter()
        .filter(|(_, raw)| !matches!(**raw, "null" | "\"\""))
    {
        extra.push(if extra.is_empty() { '{' } else { ',' });
        json::write_text(name, &mut extra);
        extra.push(':');
        repaired += json::canonical(raw, DEPTH_MAX - 1, &mut extra)?;
    }
    if extra.is_empty() {
        return Ok((None, repaired));
    }
    extra.push('}');
    Ok((Some(extra), repaired))
}

/// The fields whose values are signed differences in an adjustment, by position.
pub fn delta_fields() -> impl Iterator<Item = (usize, &'static Field)> {
    FIELDS
        .iter()
        .enumerate()
        .filter(|(_, field)| field.class == Class::Delta)
}

/// The fields that an adjustment can change, by position.
pub fn state_fields() -> impl Iterator<Item = (usize, &'static Field)> {
    FIELDS
        .iter()
        .enumerate()
        .filter(|(_, field)| field.class == Class::State)
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
