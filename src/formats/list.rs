//! A body that is a JSON array of events, or one event by itself.

use super::body::{self, Opened};
use super::{Reason, Refusal};
use crate::json;

/// The events of a body, taken one after the other.
#[derive(Debug)]
pub struct List {
    /// JSON that is known to be valid; what is left begins at `next`.
    text: String,
    next: usize,
    is_array: bool,
    pub trailing_bytes: usize,
    /// Events taken so far.
    pub events: usize,
    /// Of these, how many went to quarantine.
    pub bad_events: usize,
}

impl List {
    /// # Errors
    /// What makes the body as a whole unreadable, see [`body::open`]; or it is neither an array nor an object.
    pub fn open(bytes: &[u8], max_bytes: usize) -> Result<List, Refusal> {
        let Opened {
            text,
            trailing_bytes,
        } = body::open(bytes, max_bytes)?;
        let raw = body::validate(&text)?;
        let is_array = match raw.as_bytes().first() {
            Some(b'[') => true,
            Some(b'{') => false,
            _ => {
                let detail = "neither a JSON object nor an array of them";
                return Err(Refusal::new(Reason::NotAnObject, detail));
            }
        };
        let start = text.len() - text.trim_start().len();
        let end = start + raw.len();
        let mut text = text;
        text.truncate(end);
        Ok(List {
            next: start + usize::from(is_array),
            text,
            is_array,
            trailing_bytes,
            events: 0,
            bad_events: 0,
        })
    }

    /// The JSON, unpacked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of JSON held.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there was no event in it; known once it is read.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The raw slice of the next event with its position; `None` after the last one.
    pub fn next_event(&mut self) -> Option<(usize, &str)> {
        let start = if self.is_array {
            json::elements_from(&self.text, self.next).start()?
        } else {
            Some(self.next).filter(|next| *next < self.text.len())?
        };
        let raw = match self.is_array {
            true => json::elements_from(&self.text, start).next()?,
            false => &self.text[start..],
        };
        self.next = start + raw.len();
        self.events += 1;
        Some((self.events - 1, raw))
    }

    /// The raw slices of all events with their positions, of a body that was not read from yet.
    pub fn raw_events(&self) -> impl Iterator<Item = (usize, &str)> {
        let (many, one) = match self.is_array {
            true => (Some(json::elements_from(&self.text, self.next)), None),
            false => (None, Some(&self.text[self.next..])),
        };
        many.into_iter().flatten().chain(one).enumerate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(body: &str) -> Vec<String> {
        let mut list = List::open(body.as_bytes(), 100).unwrap();
        let all: Vec<String> = list.raw_events().map(|(_, raw)| raw.to_owned()).collect();
        let mut taken = Vec::new();
        while let Some((position, raw)) = list.next_event() {
            assert_eq!(position, taken.len());
            taken.push(raw.to_owned());
        }
        assert_eq!(taken, all);
        taken
    }

    #[test]
    fn an_array_and_a_single_event_are_read_and_nothing_else() {
        assert_eq!(
            events("\n [ {\"a\":[1]} ,2, \"x]\"] \n"),
            ["{\"a\":[1]}", "2", "\"x]\""]
        );
        assert_eq!(events(" {\"a\": 1 } "), ["{\"a\": 1 }"]);
        assert!(events("[]").is_empty());
        for body in ["MQ==", "bnVsbA=="] {
            let reason = List::open(body.as_bytes(), 100).unwrap_err().reason;
            assert_eq!(reason, Reason::NotGzip, "{body}");
        }
        let reason = List::open(b"{\"a\":1", 100).unwrap_err().reason;
        assert_eq!(reason, Reason::NotJson);
    }
}
