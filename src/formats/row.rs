//! The row that an event of a feed beside HasOffers becomes: typed columns, and `extra` for what has none.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::value::{self, Type, Value};
use super::{Reason, Refusal};
use crate::json::{self, Excess, MEMBERS_MAX, Scalar};

/// What a column takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text that is compared by its bytes; a number is taken as its text.
    Id,
    Text,
    Integer,
    /// An exact decimal.
    Decimal,
    /// An exact decimal that must be right, or the event is quarantined.
    Money,
    Boolean,
    Date,
    /// Whatever it is, as `jsonb`.
    Json,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub column: &'static str,
    pub kind: Kind,
}

/// A column.
pub const fn field(column: &'static str, kind: Kind) -> Field {
    Field { column, kind }
}

/// The columns that may hold something about a person, as of HasOffers: text and JSON, but for those that are `open`.
pub fn personal(
    fields: &'static [Field],
    open: &'static [&'static str],
) -> impl Iterator<Item = &'static str> {
    fields
        .iter()
        .filter(|field| matches!(field.kind, Kind::Id | Kind::Text | Kind::Json))
        .map(|field| field.column)
        .filter(move |column| !open.contains(column))
}

/// Levels of arrays and objects that an event may have, itself included.
pub const DEPTH_MAX: usize = 32;
/// Bytes of one event: Postgres' jsonb takes no array of 2^24 elements or more, and so little text cannot hold them.
const LENGTH_MAX: usize = 16 << 20;

/// The members of an event; of duplicate ones the last.
///
/// # Errors
/// It is no object, or too much.
pub fn members(raw: &str) -> Result<BTreeMap<Cow<'_, str>, &str>, Refusal> {
    if !raw.starts_with('{') {
        let detail = "the event is not a JSON object";
        return Err(Refusal::new(Reason::NotAnObject, detail));
    }
    if raw.len() > LENGTH_MAX {
        let detail = format!("the event has more than {LENGTH_MAX} bytes");
        return Err(Refusal::new(Reason::TooLarge, detail));
    }
    let mut members = BTreeMap::new();
    for (name, value) in json::members(raw) {
        members.insert(name, value);
        if members.len() > MEMBERS_MAX {
            let detail = format!("the event has more than {MEMBERS_MAX} fields");
            return Err(Refusal::new(Reason::TooLarge, detail));
        }
    }
    Ok(members)
}

/// Columns and what has none, each value as canonical JSON. Blank values are left out.
#[derive(Debug, Default)]
pub struct Row {
    columns: BTreeMap<&'static str, String>,
    extra: BTreeMap<String, String>,
    /// Known fields whose value did not fit.
    pub misfits: u32,
    /// Texts that held what Postgres cannot store.
    pub repaired: u32,
}

impl Row {
    /// Puts a value where it belongs: into the column of that name, if there is one that is free and the value fits, or else
    /// into `extra` by its own name. Where the column has the same value already, there is nothing to keep.
    ///
    /// # Errors
    /// An amount of money that is none, and what is too deep or too much.
    pub fn put(
        &mut self,
        fields: &[Field],
        column: &str,
        own_name: &str,
        raw: &str,
    ) -> Result<(), Refusal> {
        if is_blank(raw) {
            return Ok(());
        }
        let Some(field) = fields.iter().find(|field| field.column == column) else {
            return self.keep(own_name, raw);
        };
        match self.typed(field.kind, raw)? {
            Some(typed) => match self.columns.get(field.column) {
                None => drop(self.columns.insert(field.column, typed)),
                Some(first) if *first == typed => {}
                Some(_) => self.keep(own_name, raw)?,
            },
            None if field.kind == Kind::Money => {
                let detail =
                    format!("{own_name} is not a decimal below 10^15 with at most 12 places");
                return Err(Refusal::new(Reason::Amount, detail));
            }
            None => {
                self.misfits += 1;
                self.keep(own_name, raw)?;
            }
        }
        Ok(())
    }

    /// A value in normal form; `None` where it does not fit.
    fn typed(&mut self, kind: Kind, raw: &str) -> Result<Option<String>, Refusal> {
        let kind = match kind {
            Kind::Json => return self.canonical(raw).map(Some),
            Kind::Id | Kind::Text => Type::Text,
            Kind::Integer => Type::BigInt,
            Kind::Decimal | Kind::Money => Type::Amount,
            Kind::Boolean => Type::Boolean,
            Kind::Date => Type::Date,
        };
        let scalar = json::scalar(raw);
        let repaired = matches!(&scalar, Scalar::Text(text) if text.repaired);
        let Some(value) = value::convert(scalar, kind) else {
            return Ok(None);
        };
        self.repaired += u32::from(repaired);
        Ok(Some(match value {
            Value::Int(number) => number.to_string(),
            Value::Amount(amount) => amount.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Text(text) => quoted(&text),
            Value::Date(day) => quoted(&day.to_string()),
            Value::Null | Value::Timestamp(_) => return Ok(None),
        }))
    }

    /// Keeps what has no column.
    pub fn keep(&mut self, name: &str, raw: &str) -> Result<(), Refusal> {
        let value = self.canonical(raw)?;
        self.extra.insert(name.to_owned(), value);
        if self.extra.len() > MEMBERS_MAX {
            return Err(too_much(Excess::Members));
        }
        Ok(())
    }

    fn canonical(&mut self, raw: &str) -> Result<String, Refusal> {
        let (canonical, repaired) = canonical(raw, DEPTH_MAX - 1)?;
        self.repaired += repaired;
        Ok(canonical)
    }

    /// The value of a column as canonical JSON.
    pub fn json(&self, column: &str) -> Option<&str> {
        self.columns.get(column).map(String::as_str)
    }

    /// The value of a column of integers.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.columns.get(column)?.parse().ok()
    }

    /// The whole row as one JSON object.
    pub fn finish(mut self) -> String {
        if !self.extra.is_empty() {
            let extra = object(
                self.extra
                    .iter()
                    .map(|(name, value)| (name.as_str(), value)),
            );
            self.columns.insert("extra", extra);
        }
        object(self.columns.iter().map(|(name, value)| (*name, value)))
    }
}

/// Null and "" are no values. Anything else is one: what Everflow says for "nothing" ("0", "unknown", "null_value") may be
/// meant.
pub fn is_blank(raw: &str) -> bool {
    matches!(raw, "null" | "\"\"")
}

/// A value in canonical form, with this many levels at most, and how many texts were repaired.
pub fn canonical(raw: &str, depth: usize) -> Result<(String, u32), Refusal> {
    let mut out = String::with_capacity(raw.len());
    let repaired = json::canonical(raw, depth, &mut out).map_err(too_much)?;
    Ok((out, repaired))
}

fn too_much(excess: Excess) -> Refusal {
    match excess {
        Excess::Depth => Refusal::new(
            Reason::Depth,
            format!("nested deeper than {DEPTH_MAX} levels"),
        ),
        Excess::Members => Refusal::new(
            Reason::TooLarge,
            format!("more than {MEMBERS_MAX} fields in one object"),
        ),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    json::write_text(text, &mut out);
    out
}

fn object<'a>(members: impl Iterator<Item = (&'a str, &'a String)>) -> String {
    let members: Vec<String> = members
        .map(|(name, value)| format!("{}:{value}", quoted(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}
