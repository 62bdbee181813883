//! Cutting JSON text that is known to be valid into the raw slices of its parts.
//!
//! A body is validated once, as a whole, by [`valid`] or else by `serde_json`. Its parts are found again by [`scan`] without
//! a second validation and without a tree: every event keeps its own bytes, one bad event cannot spoil its siblings, and
//! numbers stay text.

pub mod scan;
pub mod valid;

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memchr2;

pub use self::scan::{Raw, elements, elements_from, members, members_from};

/// Longest number that is written out in digits; a longer one (1e200000) is kept as text.
const NUMBER_LENGTH_MAX: usize = 400;

/// One JSON value, seen from its raw slice.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    Null,
    Bool(bool),
    /// The number's own text.
    Number(&'a str),
    Text(Text<'a>),
    /// An array or an object.
    Nested,
}

/// A JSON string without its escapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Text<'a> {
    pub value: Cow<'a, str>,
    /// It held a NUL or a lone surrogate, which Postgres cannot store; each was replaced by U+FFFD.
    pub repaired: bool,
}

/// What a raw value is.
pub fn scalar(raw: &str) -> Scalar<'_> {
    match raw.as_bytes().first() {
        Some(b'"') => Scalar::Text(unescape(raw)),
        Some(b'{' | b'[') => Scalar::Nested,
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'n') | None => Scalar::Null,
        Some(_) => Scalar::Number(raw),
    }
}

/// The text of a raw string. NUL and lone surrogates become U+FFFD.
pub fn unescape(raw: &str) -> Text<'_> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    let Some(first) = memchr2(b'\\', 0, inner.as_bytes()) else {
        return Text {
            value: Cow::Borrowed(inner),
            repaired: false,
        };
    };
    let mut value = String::with_capacity(inner.len());
    value.push_str(&inner[..first]);
    let mut repaired = false;
    let mut rest = inner[first..].chars();
    while let Some(c) = rest.next() {
        let c = if c == '\\' {
            escaped(&mut rest)
        } else {
            Some(c)
        };
        value.push(c.filter(|c| *c != '\0').unwrap_or_else(|| {
            repaired = true;
            char::REPLACEMENT_CHARACTER
        }));
    }
    Text {
        value: Cow::Owned(value),
        repaired,
    }
}

/// The character of an escape whose backslash was just taken; `None` for a lone surrogate.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let first = hex4(rest)?;
            if !(0xD800..0xDC00).contains(&first) {
                return char::from_u32(first);
            }
            // A pair only if a low surrogate follows; else what follows stands for itself.
            let mut ahead = rest.clone();
            if ahead.next() == Some('\\')
                && ahead.next() == Some('u')
                && let Some(second) = hex4(&mut ahead).filter(|c| (0xDC00..0xE000).contains(c))
            {
                *rest = ahead;
                return char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
            }
            None
        }
        other => Some(other),
    }
}

fn hex4(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut code = 0;
    for _ in 0..4 {
        code = code * 16 + rest.next()?.to_digit(16)?;
    }
    Some(code)
}

/// A number in its normal form: no exponent, no needless zeros, 0 without sign. `None` where that would take more than
/// 400 characters.
pub fn plain_number(number: &str) -> Option<Cow<'_, str>> {
    let bytes = number.as_bytes();
    if bytes.len() <= 18
        && bytes.iter().all(u8::is_ascii_digit)
        && (bytes.len() == 1 || bytes.first() != Some(&b'0'))
    {
        return Some(Cow::Borrowed(number));
    }
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], number[at + 1..].trim_start_matches('+')),
        None => (number, "0"),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Some(Cow::Borrowed("0"));
    }
    // How many of the significant digits stand before the point.
    let point = exponent
        .parse::<i64>()
        .ok()?
        .checked_add(whole.len() as i64 - leading as i64)?;
    let length = significant.len() as i64;
    if length.max(point).max(length - point) > NUMBER_LENGTH_MAX as i64 {
        return None;
    }
    Some(Cow::Owned(if point <= 0 {
        format!("{sign}0.{}{significant}", "0".repeat(-point as usize))
    } else if point >= length {
        format!(
            "{sign}{significant}{}",
            "0".repeat((point - length) as usize)
        )
    } else {
        format!(
            "{sign}{}.{}",
            &significant[..point as usize],
            &significant[point as usize..]
        )
    }))
}

/// Different keys that one object may have. They are sorted in memory, where a member takes some 100 bytes, however few of
/// them it has in the text: millions of keys in one event would take several times its size. TUNE's events have some 75.
pub const MEMBERS_MAX: usize = 10_000;

/// What a value has too much of.
#[derive(Debug, PartialEq)]
pub enum Excess {
    /// Nesting goes deeper than allowed.
    Depth,
    /// An object has more than [`MEMBERS_MAX`] keys.
    Members,
}

/// Appends `raw` in its canonical form: sorted keys, of duplicate ones the last, normal numbers, repaired text, no white
/// space. `depth` is how many levels may still be opened. Returns how many texts were repaired.
///
/// # Errors
/// Too deep or too many members; `out` then ends somewhere in the middle.
pub fn canonical(raw: &str, depth: usize, out: &mut String) -> Result<u32, Excess> {
    let mut repaired = 0;
    match scalar(raw) {
        Scalar::Null => out.push_str("null"),
        Scalar::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Scalar::Number(number) => match plain_number(number) {
            Some(plain) => out.push_str(&plain),
            None => write_text(number, out),
        },
        Scalar::Text(text) => {
            write_text(&text.value, out);
            repaired += u32::from(text.repaired);
        }
        Scalar::Nested if depth == 0 => return Err(Excess::Depth),
        Scalar::Nested if raw.starts_with('[') => {
            out.push('[');
            for (i, element) in elements(raw).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                repaired += canonical(element, depth - 1, out)?;
            }
            out.push(']');
        }
        Scalar::Nested => {
            let mut sorted = BTreeMap::new();
            for (key, value) in members(raw) {
                sorted.insert(key, value);
                if sorted.len() > MEMBERS_MAX {
                    return Err(Excess::Members);
                }
            }
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(&key, out);
                out.push(':');
                repaired += canonical(value, depth - 1, out)?;
            }
            out.push('}');
        }
    }
    Ok(repaired)
}

/// Appends `text` as a JSON string.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
