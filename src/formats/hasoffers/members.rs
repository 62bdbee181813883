//! The members of an event, and those of them that must be right: ids, action, kind.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::event::{Action, Context, Kind};
use super::fields::FIELDS;
use crate::formats::id::parse_id;
use crate::formats::{Reason, Refusal};
use crate::json::scan::Key;
use crate::json::{self, MEMBERS_MAX, Raw, Scalar};

/// Where the members of the identity stand among those of an event: behind the known fields.
pub const EVENT_ID: usize = FIELDS.len();
pub const TUNE_EVENT_ID: usize = FIELDS.len() + 1;
const NETWORK_ID: usize = FIELDS.len() + 2;
const ACTION: usize = FIELDS.len() + 3;
const ADJUST_ACTION: usize = FIELDS.len() + 4;
const IDENTITY: [&str; 5] = [
    "event_id",
    "tune_event_id",
    "network_id",
    "action",
    "adjust_action",
];
const NAMES: [&str; FIELDS.len() + IDENTITY.len()] = names();

const fn names() -> [&'static str; FIELDS.len() + IDENTITY.len()] {
    let mut names = [""; FIELDS.len() + IDENTITY.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = if at < FIELDS.len() {
            FIELDS[at].name
        } else {
            IDENTITY[at - FIELDS.len()]
        };
        at += 1;
    }
    names
}

static KEYS: [Key; NAMES.len()] = keys();

const fn keys() -> [Key; NAMES.len()] {
    let mut keys = [Key::new(""); NAMES.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = Key::new(NAMES[at]);
        at += 1;
    }
    keys
}

static BY_NAME: LazyLock<FxHashMap<&'static str, usize>> = LazyLock::new(|| {
    NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| (*name, at))
        .collect()
});

/// What stands before the first member, and a member that is not known: as [`Members::followers`] has it.
const START: usize = NAMES.len();
const UNKNOWN: usize = NAMES.len() + 1;

/// The raw members of an event by what they are; of duplicate keys the last one. It can be used for one event after the
/// other.
pub struct Members<'a> {
    raw: [Option<Raw<'a>>; NAMES.len()],
    /// At most one more than [`MEMBERS_MAX`]: such an event is refused.
    pub unknown: BTreeMap<Cow<'a, str>, &'a str>,
    /// Which member came behind each the last time. Events have their members in one order, though not all have the same
    /// ones, so this foretells nearly every key.
    followers: [usize; NAMES.len() + 2],
}

impl<'a> Members<'a> {
    pub fn new() -> Members<'a> {
        Members {
            raw: [None; NAMES.len()],
            unknown: BTreeMap::new(),
            followers: [0; NAMES.len() + 2],
        }
    }

    /// Reads the object that begins at the byte `at` of `text`; where it ends.
    pub fn read(&mut self, text: &'a str, at: usize) -> usize {
        self.raw.fill(None);
        self.unknown.clear();
        let mut members = json::members_from(text, at);
        let mut before = START;
        while members.advance() {
            let expected = self.followers[before];
            if members.take_key(&KEYS[expected]) {
                self.raw[expected] = Some(members.value());
                before = expected;
                continue;
            }
            let key = members.key();
            let raw = members.value();
            let known = BY_NAME.get(key.as_ref()).copied();
            if let Some(at) = known {
                self.raw[at] = Some(raw);
                self.followers[before] = at;
            } else if self.unknown.len() <= MEMBERS_MAX {
                self.unknown.insert(key, raw.text);
            }
            before = known.unwrap_or(UNKNOWN);
        }
        members.end()
    }

    /// One for each of [`FIELDS`].
    pub fn known(&self) -> &[Option<Raw<'a>>] {
        &self.raw[..FIELDS.len()]
    }

    fn scalar(&self, at: usize) -> Option<Scalar<'a>> {
        self.raw[at].map(Raw::scalar)
    }

    /// An id, `None` where it is blank.
    pub fn id(&self, at: usize, reason: Reason) -> Result<Option<Cow<'a, str>>, Refusal> {
        let name = NAMES[at];
        parse_id(self.scalar(at)).map_err(|rule| Refusal::new(reason, format!("{name} {rule}")))
    }

    /// The event's own network, as far as it is an id.
    pub fn own_network_id(&self) -> Option<Cow<'a, str>> {
        parse_id(self.scalar(NETWORK_ID)).ok().flatten()
    }

    pub fn network_id(&self, context: &Context<'a>) -> Result<Cow<'a, str>, Refusal> {
        let own = self.id(NETWORK_ID, Reason::NetworkId)?;
        match (own, &context.network_id) {
            (Some(own), Some(envelope)) if own != *envelope => Err(Refusal::new(
                Reason::NetworkMismatch,
                "network_id is not the envelope's",
            )),
            (Some(own), _) => Ok(own),
            (None, Some(envelope)) => Ok(envelope.clone()),
            (None, None) => context.source_network_id.clone().ok_or_else(|| {
                Refusal::new(
                    Reason::NetworkMissing,
                    "no network_id in the event, its envelope or the source",
                )
            }),
        }
    }

    pub fn action(&self) -> Result<Action, Refusal> {
        match self.scalar(ACTION) {
            Some(Scalar::Text(text)) if text.value == "impression" => Ok(Action::Impression),
            Some(Scalar::Text(text)) if text.value == "click" => Ok(Action::Click),
            Some(Scalar::Text(text)) if text.value == "conversion" => Ok(Action::Conversion),
            _ => Err(Refusal::new(
                Reason::Action,
                "action is not impression, click or conversion",
            )),
        }
    }

    pub fn kind(&self) -> Result<Kind, Refusal> {
        let word = match self.scalar(ADJUST_ACTION) {
            None | Some(Scalar::Null) => Cow::Borrowed(""),
            Some(Scalar::Text(text)) => Cow::Owned(text.value.trim().to_ascii_lowercase()),
            Some(Scalar::Number(number)) => {
                json::plain_number(number).unwrap_or(Cow::Borrowed("?"))
            }
            Some(Scalar::Bool(_) | Scalar::Nested) => Cow::Borrowed("?"),
        };
        match word.as_ref() {
            "" => Ok(Kind::Standard),
            "1" | "create" => Ok(Kind::Create),
            "2" | "update" => Ok(Kind::Update),
            _ => Err(Refusal::new(
                Reason::AdjustAction,
                "adjust_action is not create (1) or update (2)",
            )),
        }
    }
}
