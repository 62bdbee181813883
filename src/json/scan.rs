//! Where the parts of valid JSON end. On other text nothing panics and everything ends, but what is found means nothing.

use std::borrow::Cow;

use super::{Scalar, Text, scalar, unescape};

/// One value as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw<'a> {
    pub text: &'a str,
    /// It is a string with a backslash in it.
    pub has_escape: bool,
}

impl<'a> Raw<'a> {
    /// The text of a string without escapes.
    #[inline]
    pub fn plain_text(self) -> Option<&'a str> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        (!self.has_escape).then_some(inner)
    }

    /// What it is; as [`scalar`], without another search for escapes in a string that has none.
    pub fn scalar(self) -> Scalar<'a> {
        match self.plain_text() {
            Some(text) => Scalar::Text(Text {
                value: Cow::Borrowed(text),
                repaired: false,
            }),
            None => scalar(self.text),
        }
    }
}

/// The raw elements of an array, in order.
pub struct Elements<'a> {
    array: &'a str,
    at: usize,
}

/// The elements of `array`, which must be the raw slice of an array.
pub fn elements(array: &str) -> Elements<'_> {
    Elements { array, at: 1 }
}

/// The elements of an array that ends where `text` does, from the byte `at` of the text on.
pub fn elements_from(text: &str, at: usize) -> Elements<'_> {
    Elements { array: text, at }
}

impl<'a> Elements<'a> {
    /// Where the next element begins; `None` after the last one.
    pub fn start(&self) -> Option<usize> {
        let bytes = self.array.as_bytes();
        let start = skip_separators(bytes, self.at);
        (start < bytes.len() && bytes[start] != b']').then_some(start)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.start()?;
        self.at = value_end(self.array.as_bytes(), start).0;
        self.array.get(start..self.at)
    }
}

/// The members of an object, key by key and value by value, duplicates included.
pub struct Members<'a> {
    text: &'a str,
    at: usize,
}

/// The members of `object`, which must be the raw slice of an object.
pub fn members(object: &str) -> Members<'_> {
    members_from(object, 0)
}

/// The members of the object that begins at the byte `at` of `text`.
pub fn members_from(text: &str, at: usize) -> Members<'_> {
    Members { text, at: at + 1 }
}

impl<'a> Members<'a> {
    /// Goes to the next key. False after the last member.
    pub fn advance(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        self.at = skip_separators(bytes, self.at);
        self.at < bytes.len() && bytes[self.at] != b'}'
    }

    /// Past the closing bracket, after the last member.
    pub fn end(&self) -> usize {
        self.text.len().min(self.at + 1)
    }

    /// Takes the key where it is `key`.
    #[inline]
    pub fn take_key(&mut self, key: &Key) -> bool {
        let is_it = key.stands_at(self.text.as_bytes(), self.at + 1);
        if is_it {
            self.at += key.length + 1;
        }
        is_it
    }

    /// The key.
    pub fn key(&mut self) -> Cow<'a, str> {
        let start = self.at;
        let (end, has_escape) = string_end(self.text.as_bytes(), start);
        self.at = end;
        let text = self.text.get(start..end).unwrap_or_default();
        match (Raw { text, has_escape }).scalar() {
            Scalar::Text(text) => text.value,
            _ => unescape(text).value,
        }
    }

    /// The value of the key that was just taken. Not inlined, it gave its three words back through memory, and waiting for
    /// them took 4 % of all decoding.
    #[inline(always)]
    pub fn value(&mut self) -> Raw<'a> {
        let bytes = self.text.as_bytes();
        let start = skip_separators(bytes, self.at);
        let (end, has_escape) = value_end(bytes, start);
        self.at = end;
        let text = self.text.get(start..end).unwrap_or_default();
        Raw { text, has_escape }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<(Cow<'a, str>, &'a str)> {
        self.advance().then(|| (self.key(), self.value().text))
    }
}

/// A key without escapes that is expected. It is compared in three words: no search for its end, no look-up.
#[derive(Clone, Copy)]
pub struct Key {
    words: [u64; KEY_WORDS],
    masks: [u64; KEY_WORDS],
    /// With the closing quote; 0 where it is too long to be compared like this.
    length: usize,
}

const KEY_WORDS: usize = 3;

impl Key {
    /// A longer name than 23 bytes is never found.
    pub const fn new(name: &str) -> Key {
        let name = name.as_bytes();
        let mut key = Key {
            words: [0; KEY_WORDS],
            masks: [0; KEY_WORDS],
            length: 0,
        };
        if name.len() >= 8 * KEY_WORDS {
            return key;
        }
        let mut at = 0;
        while at <= name.len() {
            let byte = if at < name.len() { name[at] } else { b'"' };
            key.words[at / 8] |= (byte as u64) << (at % 8 * 8);
            key.masks[at / 8] |= 0xff << (at % 8 * 8);
            at += 1;
        }
        key.length = at;
        key
    }

    /// Whether it stands at `at`, its closing quote included. Not seen in the last bytes of the text.
    #[inline]
    fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        let Some(found) = bytes.get(at..at + 8 * KEY_WORDS) else {
            return false;
        };
        let mut difference = 0;
        for (n, chunk) in found.chunks_exact(8).enumerate() {
            difference |= (word(chunk) ^ self.words[n]) & self.masks[n];
        }
        difference == 0 && self.length > 0
    }
}

/// Past white space, commas and colons: in valid JSON at most one of the two stands here.
#[inline]
fn skip_separators(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && matches!(bytes[at], b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') {
        at += 1;
    }
    at
}

/// Where the value that starts at `at` ends, always past `at`, and whether it is a string with an escape.
#[inline]
fn value_end(bytes: &[u8], at: usize) -> (usize, bool) {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => (nested_end(bytes, at), false),
        _ => {
            let mut end = at;
            while end < bytes.len()
                && !matches!(
                    bytes[end],
                    b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'
                )
            {
                end += 1;
            }
            (end.max(at + 1).min(bytes.len()), false)
        }
    }
}

/// Past the closing quote of the string that starts at `at`, and whether there is an escape in it.
#[inline]
fn string_end(bytes: &[u8], at: usize) -> (usize, bool) {
    let stop = find_stop(bytes, at + 1);
    if bytes.get(stop) == Some(&b'\\') {
        (escaped_string_end(bytes, stop), true)
    } else {
        (bytes.len().min(stop + 1), false)
    }
}

#[cold]
fn escaped_string_end(bytes: &[u8], mut stop: usize) -> usize {
    while bytes.get(stop) == Some(&b'\\') {
        stop = find_stop(bytes, stop + 2);
    }
    bytes.len().min(stop + 1)
}

/// The first quote, backslash or control character from `at` on, or the end. Most strings are short, so it looks at eight
/// bytes at a time, without a call as `memchr` takes. Sixteen took longer.
#[inline]
pub(super) fn find_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = word(chunk);
        let stops = equal(word, b'"') | equal(word, b'\\') | below_space(word);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    find_stop_bytewise(bytes, at)
}

#[cold]
fn find_stop_bytewise(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.iter().skip(at);
    let is_stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    at + rest.take_while(|byte| !is_stop(byte)).count()
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

#[inline]
fn word(chunk: &[u8]) -> u64 {
    chunk
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The high bit of each byte that is `byte`. A borrow may set more of them, but only above the first one.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference & HIGH
}

/// The high bit of each byte that is a control character; as [`equal`].
#[inline]
fn below_space(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGH
}

/// Past the bracket that closes the one at `at`.
fn nested_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0usize;
    let mut from = at;
    while from < bytes.len() {
        match bytes[from] {
            b'"' => {
                from = string_end(bytes, from).0;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return from + 1;
                }
            }
            _ => {}
        }
        from += 1;
    }
    bytes.len()
}
