//! Whether text is JSON. It says yes only to what `serde_json` takes; of the rest, and of very deep nesting, it says that it
//! does not know. To validate a usual body and to find its events takes half as long as with `serde_json` and a search for
//! them behind it.

use std::borrow::Cow;
use std::ops::Range;

use super::scan::find_stop;
use super::unescape;

/// Levels that are looked into.
const DEPTH_MAX: usize = 64;

/// The value that `text` is, without the white space around it; `None` where it is not known to be valid.
pub fn known_valid(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let end = value(bytes, start, DEPTH_MAX)?;
    (skip_space(bytes, end) == bytes.len()).then(|| &text[start..end])
}

/// The raw members of an object that is not known to be valid, duplicates included. Each is looked at before it is given out.
pub struct CheckedMembers<'a> {
    text: &'a str,
    /// Where the next key begins; the end of the text when there is none.
    at: usize,
    /// All members were given out, and there is nothing else in the text.
    pub is_valid: bool,
}

/// The members of the object that `text` is, up to the first that is not known to be valid.
pub fn checked_members(text: &str) -> CheckedMembers<'_> {
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let mut members = CheckedMembers {
        text,
        at: bytes.len(),
        is_valid: false,
    };
    if bytes.get(start) == Some(&b'{') {
        members.at = skip_space(bytes, start + 1);
        if bytes.get(members.at) == Some(&b'}') {
            members.close();
        }
    }
    members
}

impl CheckedMembers<'_> {
    fn close(&mut self) {
        let bytes = self.text.as_bytes();
        self.is_valid = skip_space(bytes, self.at + 1) == bytes.len();
        self.at = bytes.len();
    }
}

impl<'a> Iterator for CheckedMembers<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<(Cow<'a, str>, &'a str)> {
        let bytes = self.text.as_bytes();
        let Member { key, value } = member(bytes, self.at, DEPTH_MAX)?;
        self.at = skip_space(bytes, value.end);
        match bytes.get(self.at) {
            Some(b',') => self.at = skip_space(bytes, self.at + 1),
            Some(b'}') => self.close(),
            _ => self.at = bytes.len(),
        }
        Some((unescape(&self.text[key]).value, &self.text[value]))
    }
}

struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

/// The member whose key begins at `at`. Here and below: where what begins at `at` ends, `None` where it is not known to be
/// valid.
#[inline]
fn member(bytes: &[u8], at: usize, depth: usize) -> Option<Member> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let key = at..string(bytes, at)?;
    let colon = skip_space(bytes, key.end);
    if bytes.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip_space(bytes, colon + 1);
    let end = value(bytes, start, depth)?;
    Some(Member {
        key,
        value: start..end,
    })
}

#[inline]
fn value(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b'{' => object(bytes, at, depth.checked_sub(1)?),
        b'[' => array(bytes, at, depth.checked_sub(1)?),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => None,
    }
}

fn object(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    let mut at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        at = skip_space(bytes, member(bytes, at, depth)?.value.end);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn array(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    let mut at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    loop {
        at = skip_space(bytes, value(bytes, at, depth)?);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

#[inline]
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let stop = find_stop(bytes, at + 1);
    match bytes.get(stop)? {
        b'"' => Some(stop + 1),
        _ => escaped_string(bytes, stop),
    }
}

#[cold]
fn escaped_string(bytes: &[u8], mut stop: usize) -> Option<usize> {
    loop {
        match bytes.get(stop)? {
            b'"' => return Some(stop + 1),
            b'\\' => stop = find_stop(bytes, escape(bytes, stop)?),
            _ => return None,
        }
    }
}

fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => {
            let digits = bytes.get(at + 2..at + 6)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)
        }
        _ => None,
    }
}

#[inline]
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let at = at + usize::from(bytes[at] == b'-');
    let mut end = match bytes.get(at)? {
        b'0' => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(bytes, end + 1 + usize::from(signed))?;
    }
    Some(end)
}

/// At least one digit.
#[inline]
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (end > at).then_some(end)
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    (bytes.get(at..end)? == word).then_some(end)
}

#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

#[cfg(test)]
#[path = "valid_tests.rs"]
mod tests;
