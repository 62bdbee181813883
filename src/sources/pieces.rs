//! Bodies in a stream of bytes: one a line, the elements of an array, or one document as a whole. Pure: bytes come in as they
//! come, and pieces go out the same however the bytes were cut.

use memchr::memchr;
use serde::{Deserialize, Serialize};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Bytes before the piece at hand that are kept: a file is known again by them.
const BEFORE_BYTES: usize = 1024;
/// A piece that is larger is not copied.
const LARGE_BYTES: usize = 1 << 20;
/// A first line that is longer is a body by itself.
const FIRST_LINE_MAX: usize = 64 << 10;

/// How bodies stand in a stream. What its first line says holds for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One a line; blank lines are none.
    Lines,
    /// The elements of a JSON array, or of several one after the other.
    Array,
    /// A single body: JSON whose first line ends in its middle.
    Document,
}

impl Layout {
    /// `None`: the beginning is too short to tell.
    fn of(beginning: &[u8], is_whole: bool) -> Option<Layout> {
        if beginning.len() < BYTE_ORDER_MARK.len() && !is_whole {
            return None;
        }
        let text = without_mark(beginning).trim_ascii_start();
        match text.first() {
            None if is_whole => Some(Layout::Lines),
            None => None,
            Some(b'[') => Some(Layout::Array),
            Some(b'{') => match memchr(b'\n', text) {
                Some(end) => match text[..end].trim_ascii_end().last() {
                    Some(b'{' | b'[' | b',' | b':') => Some(Layout::Document),
                    _ => Some(Layout::Lines),
                },
                None if is_whole || text.len() > FIRST_LINE_MAX => Some(Layout::Lines),
                None => None,
            },
            Some(_) => Some(Layout::Lines),
        }
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// One body of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// One byte more than is allowed at most: enough for the format to refuse it.
    pub bytes: Vec<u8>,
    /// Its line, blank ones counted, or its place in the array, from 1.
    pub number: u64,
    /// Where the next piece begins at the earliest.
    pub end: u64,
    /// Whether its end was seen; the last line of a stream may be cut off.
    pub is_ended: bool,
}

/// Where a stream can be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub layout: Layout,
    /// Bytes of the stream, unpacked.
    pub offset: u64,
    /// Of the last piece before it.
    pub number: u64,
}

/// Cuts a stream into pieces.
#[derive(Debug)]
pub struct Pieces {
    max_bytes: usize,
    layout: Option<Layout>,
    buffer: Vec<u8>,
    /// In the buffer: where the piece at hand begins, and up to where it was looked at.
    start: usize,
    looked: usize,
    /// Of `start`, in the stream.
    offset: u64,
    /// Bytes of the piece at hand that are more than allowed and were dropped.
    dropped: u64,
    number: u64,
    array: Array,
    is_whole: bool,
}

/// Where in an array the next byte stands.
#[derive(Debug, Default)]
struct Array {
    is_open: bool,
    is_in_element: bool,
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Pieces {
    /// From the beginning of a stream, or from a mark on. A piece has at most `max_bytes` and one.
    pub fn new(max_bytes: usize, mark: Option<Mark>) -> Pieces {
        let layout = mark.map(|mark| mark.layout);
        Pieces {
            max_bytes,
            layout,
            buffer: Vec::new(),
            start: 0,
            looked: 0,
            offset: mark.map_or(0, |mark| mark.offset),
            dropped: 0,
            number: mark.map_or(0, |mark| mark.number),
            array: Array {
                is_open: layout == Some(Layout::Array),
                ..Array::default()
            },
            is_whole: false,
        }
    }

    /// `None` until enough of the stream came to tell.
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let gone = self.start.saturating_sub(BEFORE_BYTES);
        self.buffer.drain(..gone);
        self.looked -= gone;
        self.start -= gone;
        self.buffer.extend_from_slice(bytes);
    }

    /// Some bytes that stand right before the next piece: as many as are still here, a KiB at most. Where the piece before
    /// was too large they are not the right ones.
    pub fn before(&self) -> &[u8] {
        &self.buffer[self.start.saturating_sub(BEFORE_BYTES)..self.start]
    }

    /// No more bytes will come.
    pub fn finish(&mut self) {
        self.is_whole = true;
    }

    pub fn is_finished(&self) -> bool {
        self.is_whole
    }

    /// The next piece; `None` until more bytes came, or at the end.
    pub fn cut(&mut self) -> Option<Piece> {
        if self.layout.is_none() {
            self.layout = Some(Layout::of(&self.buffer, self.is_whole)?);
            let mark = self.buffer.len() - without_mark(&self.buffer).len();
            self.skip_to(mark);
        }
        let piece = match self.layout? {
            Layout::Lines => self.next_line(),
            Layout::Array => self.next_element(),
            Layout::Document => self.rest(),
        };
        if piece.is_none() {
            let most = (self.start + 1).saturating_add(self.max_bytes);
            self.dropped += self.buffer.len().saturating_sub(most) as u64;
            self.buffer.truncate(most);
            self.looked = self.looked.min(self.buffer.len());
        }
        piece
    }

    fn next_line(&mut self) -> Option<Piece> {
        self.skip_blanks();
        if let Some(length) = memchr(b'\n', &self.buffer[self.looked..]) {
            let end = self.looked + length;
            self.number += 1;
            return Some(self.take(end, end + 1, true));
        }
        self.rest()
    }

    /// Blanks before a piece are no part of it. A line that ends in them is counted.
    fn skip_blanks(&mut self) {
        while self.looked == self.start
            && let Some(byte) = self.buffer.get(self.start)
            && byte.is_ascii_whitespace()
        {
            self.number += u64::from(*byte == b'\n' && self.layout == Some(Layout::Lines));
            self.skip_to(self.start + 1);
        }
    }

    fn next_element(&mut self) -> Option<Piece> {
        while let Some(byte) = self.buffer.get(self.looked).copied() {
            let at = self.looked;
            match self.array.step(byte) {
                Step::Between => self.skip_to(at + 1),
                Step::Within => self.looked += 1,
                Step::Last => {
                    self.number += 1;
                    return Some(self.take(at + 1, at + 1, true));
                }
                Step::Behind => {
                    self.number += 1;
                    return Some(self.take(at, at, true));
                }
            }
        }
        self.rest()
    }

    /// All that is left, at the end of the stream.
    fn rest(&mut self) -> Option<Piece> {
        self.skip_blanks();
        self.looked = self.buffer.len();
        if !self.is_whole || self.start == self.buffer.len() {
            return None;
        }
        self.number += 1;
        let is_ended = self.layout == Some(Layout::Document);
        Some(self.take(self.buffer.len(), self.buffer.len(), is_ended))
    }

    fn skip_to(&mut self, next: usize) {
        self.offset += (next - self.start) as u64;
        self.start = next;
        self.looked = next;
    }

    /// The piece at hand, which ends at `end` of the buffer; the next one begins at `next`.
    fn take(&mut self, end: usize, next: usize, is_ended: bool) -> Piece {
        let is_whole = self.dropped == 0 && end - self.start <= self.max_bytes;
        let mut bytes = if end - self.start > LARGE_BYTES {
            self.part_with(end, next)
        } else {
            let bytes = self.buffer[self.start..end].to_vec();
            self.skip_to(next);
            bytes
        };
        bytes.truncate(if is_whole {
            bytes.trim_ascii_end().len()
        } else {
            self.max_bytes.saturating_add(1)
        });
        self.offset += std::mem::take(&mut self.dropped);
        Piece {
            bytes,
            number: self.number,
            end: self.offset,
            is_ended,
        }
    }

    /// The bytes of the piece at hand without a copy, which would be in memory beside it. The buffer keeps what stands right
    /// before the next one.
    fn part_with(&mut self, end: usize, next: usize) -> Vec<u8> {
        let kept = next.saturating_sub(BEFORE_BYTES).max(self.start);
        let rest = self.buffer[kept..].to_vec();
        let mut bytes = std::mem::replace(&mut self.buffer, rest);
        bytes.truncate(end);
        bytes.drain(..self.start);
        bytes.shrink_to_fit();
        self.skip_to(next);
        self.start -= kept;
        self.looked -= kept;
        bytes
    }
}

/// What a byte of an array is to the elements.
enum Step {
    Between,
    Within,
    /// The last byte of an element.
    Last,
    /// The first byte behind one.
    Behind,
}

impl Array {
    fn step(&mut self, byte: u8) -> Step {
        if !self.is_in_element {
            match byte {
                b',' => return Step::Between,
                b'[' if !self.is_open => self.is_open = true,
                b']' => self.is_open = false,
                byte if byte.is_ascii_whitespace() => return Step::Between,
                _ => {
                    self.is_in_element = true;
                    return self.step_within(byte);
                }
            }
            return Step::Between;
        }
        self.step_within(byte)
    }

    fn step_within(&mut self, byte: u8) -> Step {
        if self.is_in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.is_in_text = false;
                    return self.end_at(Step::Last);
                }
                _ => {}
            }
            return Step::Within;
        }
        match byte {
            b'"' => self.is_in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                return self.end_at(Step::Last);
            }
            b'}' => return self.end_at(Step::Last),
            b']' | b',' => return self.end_at(Step::Behind),
            byte if byte.is_ascii_whitespace() => return self.end_at(Step::Behind),
            _ => {}
        }
        Step::Within
    }

    /// An element ends on its own level alone.
    fn end_at(&mut self, step: Step) -> Step {
        if self.depth > 0 {
            return Step::Within;
        }
        self.is_in_element = false;
        step
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
