//! Where an event stood that has no id of its own: in what, and as the how manieth of its content.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use twox_hash::XxHash3_128;

/// How something came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It was fetched: an object or a file.
    Pull,
    /// It was sent: a body.
    Push,
}

impl Door {
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Pull => "pull",
            Door::Push => "push",
        }
    }
}

/// An object, a file or a body, while it is read from its beginning.
#[derive(Debug)]
pub struct Whole {
    pub door: Door,
    /// Its address, with its bucket and its key or with its path, or a hash of its text.
    pub name: String,
    /// The version of an object.
    pub etag: Option<String>,
    /// How often each content was met so far: 24 bytes and what a map adds for each different event of the object, which is
    /// some 50 MiB for a million of them. No limit counts them.
    met: Mutex<HashMap<[u8; 16], u64>>,
}

impl Whole {
    pub fn new(door: Door, name: String, etag: Option<String>) -> Whole {
        Whole {
            door,
            name,
            etag,
            met: Mutex::default(),
        }
    }

    /// Takes note of one more event with this content; the how manieth it is, from 1.
    pub fn meet(&self, content_hash: [u8; 16]) -> u64 {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let count = met.entry(content_hash).or_default();
        *count += 1;
        *count
    }

    /// Takes note of something bad at a line. Its bytes are all that is known of its content.
    pub fn meet_bad(&self, bytes: &[u8], line: u64) -> Spot {
        let hash = XxHash3_128::oneshot(&[b"bad ", bytes].concat());
        Spot {
            origin: self.name.clone(),
            etag: self.etag.clone(),
            occurrence: self.meet(hash.to_be_bytes()),
            line,
        }
    }

    /// As if all that was met so far had been met so many times.
    pub fn repeat(&self, times: u64) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for count in met.values_mut() {
            *count *= times;
        }
    }
}

/// A body that is a piece of a whole.
#[derive(Clone, Debug)]
pub struct Place {
    pub whole: Arc<Whole>,
    /// Its line or its place in an array, from 1.
    pub number: u64,
}

/// Where something stood that is in quarantine, so that it comes back as what it would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The name of its whole.
    pub origin: String,
    /// The version of an object.
    pub etag: Option<String>,
    /// The how manieth of its content it is in there, from 1.
    pub occurrence: u64,
    /// Its line or its place in an array, from 1.
    pub line: u64,
}

/// All that tells an event from others of its content. As text it is what quarantine knows such an event by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub door: Door,
    pub origin: String,
    pub occurrence: u64,
}

impl Identity {
    /// Reads what it is as text.
    pub fn parse(text: &str) -> Option<Identity> {
        let (door, rest) = text.split_once(' ')?;
        let (origin, occurrence) = rest.rsplit_once(' ')?;
        let doors = [Door::Pull, Door::Push];
        Some(Identity {
            door: doors.into_iter().find(|one| one.as_str() == door)?,
            origin: origin.to_owned(),
            occurrence: occurrence.parse().ok()?,
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.door.as_str(),
            self.origin,
            self.occurrence
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_is_counted_by_itself() {
        let whole = Whole::new(Door::Pull, "a".into(), None);
        let met = [[1; 16], [2; 16], [1; 16], [1; 16], [2; 16]].map(|hash| whole.meet(hash));
        assert_eq!(met, [1, 1, 2, 3, 2]);
        whole.repeat(2);
        assert_eq!([[1; 16], [2; 16]].map(|hash| whole.meet(hash)), [7, 5]);
    }

    #[test]
    fn what_is_bad_is_counted_by_its_bytes() {
        let whole = Whole::new(Door::Pull, "a".into(), Some("v1".into()));
        let spots = [("x", 3), ("y", 4), ("x", 7)];
        let spots = spots.map(|(bytes, line)| whole.meet_bad(bytes.as_bytes(), line));
        assert_eq!(
            spots.each_ref().map(|spot| (spot.occurrence, spot.line)),
            [(1, 3), (1, 4), (2, 7)]
        );
        assert_eq!(spots[0].origin, "a");
        assert_eq!(spots[0].etag.as_deref(), Some("v1"));
    }

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        for (door, origin) in [(Door::Push, "0fe1"), (Door::Pull, " exports/a b:3 7")] {
            let identity = Identity {
                door,
                origin: origin.to_owned(),
                occurrence: 12,
            };
            assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        }
        for other in ["", "pull", "pull a", "pull a b", "both a 1"] {
            assert_eq!(Identity::parse(other), None, "{other}");
        }
    }
}
