//! A row in Postgres' binary form: of each column its length and its bytes. Its content hash is made along with it.

use std::ops::Range;

use twox_hash::XxHash3_128;

use crate::formats::value::{Day, Moment, Type, Value};

/// How COPY says that a column is NULL.
pub const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// Appends the length of a column. No row is near 2 GiB: a body is bounded by `max_body_bytes`.
pub fn write_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as i32).to_be_bytes());
}

/// The first column of a row, `None` for NULL, and what is behind it. Nothing where the row is cut off.
pub fn column(row: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = row.split_first_chunk()?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        return Some((None, rest));
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((Some(value), rest))
}

/// Where the columns of a row go, one after the other.
///
/// What is hashed is of each column that is not NULL its position, its length and its bytes. So a field that becomes a column
/// later changes no hash of a row without it.
pub struct RowWriter<'a> {
    row: &'a mut Vec<u8>,
    hashed: &'a mut Vec<u8>,
    column: u16,
}

impl<'a> RowWriter<'a> {
    /// Appends to `row`; `hashed` is overwritten.
    pub fn new(row: &'a mut Vec<u8>, hashed: &'a mut Vec<u8>) -> RowWriter<'a> {
        hashed.clear();
        RowWriter {
            row,
            hashed,
            column: 0,
        }
    }

    pub fn null(&mut self) {
        self.row.extend_from_slice(&NULL);
        self.column += 1;
    }

    /// Appends the values of fields, of which many are NULL in every event: these are skipped until there is another, and
    /// appended at once.
    pub fn values<'v>(&mut self, values: impl Iterator<Item = (&'v Value<'v>, Type)>) {
        let mut nulls = 0;
        for (value, kind) in values {
            if *value == Value::Null {
                nulls += 1;
            } else {
                self.nulls(nulls);
                nulls = 0;
                self.value(value, kind);
            }
        }
        self.nulls(nulls);
    }

    #[inline]
    fn nulls(&mut self, count: usize) {
        for _ in 0..count {
            self.row.extend_from_slice(&NULL);
        }
        self.column += count as u16;
    }

    /// Appends a column; where its bytes stand in the row.
    pub fn bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let length = (bytes.len() as u32).to_be_bytes();
        self.row.extend_from_slice(&length);
        self.row.extend_from_slice(bytes);
        self.hash_position(self.column, length);
        self.hashed.extend_from_slice(bytes);
        self.column += 1;
        self.row.len() - bytes.len()..self.row.len()
    }

    #[inline]
    fn value(&mut self, value: &Value<'_>, kind: Type) {
        match value {
            Value::Null => self.null(),
            Value::Text(text) => drop(self.bytes(text.as_bytes())),
            // Parsing made sure that the number fits its column.
            Value::Int(number) => match kind {
                Type::SmallInt => self.fixed((*number as i16).to_be_bytes()),
                Type::Integer => self.fixed((*number as i32).to_be_bytes()),
                _ => self.fixed(number.to_be_bytes()),
            },
            Value::Amount(amount) => {
                let (numeric, length) = amount.numeric();
                self.bytes(&numeric[..length]);
            }
            Value::Bool(value) => self.fixed([u8::from(*value)]),
            Value::Date(Day(days)) => self.fixed(days.to_be_bytes()),
            Value::Timestamp(Moment(micros)) => self.fixed(micros.to_be_bytes()),
        }
    }

    /// Appends the last column, JSON text as binary `jsonb`, and ends the row. Its content hash.
    pub fn finish(mut self, extra: Option<&str>) -> [u8; 16] {
        /// Of binary `jsonb`: text follows.
        const VERSION: u8 = 1;
        match extra {
            Some(extra) => {
                let length = (extra.len() as u32 + 1).to_be_bytes();
                self.row.extend_from_slice(&length);
                self.row.push(VERSION);
                self.row.extend_from_slice(extra.as_bytes());
                // Wherever it stands.
                self.hash_position(u16::MAX, length);
                self.hashed.push(VERSION);
                self.hashed.extend_from_slice(extra.as_bytes());
            }
            None => self.row.extend_from_slice(&NULL),
        }
        // Nobody who could choose the contents of one id to collide gains by it: a fast hash is enough.
        XxHash3_128::oneshot(self.hashed).to_be_bytes()
    }

    /// As [`RowWriter::bytes`], for a length that the compiler knows.
    #[inline]
    pub fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        let length = (N as u32).to_be_bytes();
        self.row.extend_from_slice(&length);
        self.row.extend_from_slice(&bytes);
        self.hash_position(self.column, length);
        self.hashed.extend_from_slice(&bytes);
        self.column += 1;
    }

    fn hash_position(&mut self, position: u16, length: [u8; 4]) {
        self.hashed.extend_from_slice(&position.to_be_bytes());
        self.hashed.extend_from_slice(&length);
    }
}
