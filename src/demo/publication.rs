//! A feed as a queue delivers it: in no order, some of it twice, some of it broken.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::feed::{self, Event, Totals};
use super::fields::FIRST_SECOND;

/// Events of one message.
const EVENTS_PER_BODY: usize = 40;
/// Of a hundred events, how many come a second time.
const DUPLICATES_PERCENT: usize = 5;
/// Two unreadable messages, and one with a second content of an id.
const SPECIAL_BODIES: usize = 3;
/// The fewest messages that hold everything there is to show.
pub const MESSAGES_MIN: usize = 10;

/// What is sent, and what must come of it.
pub struct Publication {
    pub bodies: Vec<String>,
    /// Of the events in readable bodies.
    pub expected: Outcomes,
    /// Messages that cannot be read at all.
    pub bad_bodies: u64,
    /// Every different event counted once.
    pub totals: Totals,
}

/// Events by what becomes of them: the labels of `hydrant_events_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub stored: u64,
    pub adjustments: u64,
    pub duplicates: u64,
    pub variants: u64,
    pub quarantined: u64,
}

impl Outcomes {
    pub fn sum(&self) -> u64 {
        self.stored + self.adjustments + self.duplicates + self.variants + self.quarantined
    }
}

/// `messages` bodies with about [`EVENTS_PER_BODY`] events each; the same seed gives the same ones.
pub fn publication(seed: u64, messages: usize) -> Publication {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x005e_ed0f_d150_4de4);
    let readable = messages.max(MESSAGES_MIN) - SPECIAL_BODIES;
    let distinct = readable * EVENTS_PER_BODY * 100 / (100 + DUPLICATES_PERCENT);
    let mut events: Vec<Event> = feed::events(seed, distinct).collect();

    let mut totals = Totals::default();
    let mut expected = Outcomes::default();
    for event in &events {
        totals += event.counts;
        *if event.is_adjustment {
            &mut expected.adjustments
        } else {
            &mut expected.stored
        } += 1;
    }
    for _ in 0..distinct * DUPLICATES_PERCENT / 100 {
        let again = events[rng.random_range(0..distinct)].clone();
        events.push(again);
        expected.duplicates += 1;
    }
    let variant = events
        .choose(&mut rng)
        .map(|event| second_content(event, &mut expected));
    for poison in POISON {
        events.push(Event {
            network_id: "demo",
            json: poison.to_owned(),
            is_adjustment: false,
            counts: Totals::default(),
        });
        expected.quarantined += 1;
    }
    events.shuffle(&mut rng);

    let mut bodies = pack(&events, readable);
    // Its envelope is later than all others: the first content is the one that stays.
    bodies.extend(variant.map(|event| body(&[event], i64::from(u32::MAX))));
    let truncated = STANDARD.decode(&bodies[0]).map(|mut gzip| {
        gzip.truncate(gzip.len() / 2);
        STANDARD.encode(gzip)
    });
    bodies.extend(truncated);
    bodies.push("%% this is no base64 %%".to_owned());
    bodies.shuffle(&mut rng);
    Publication {
        bodies,
        expected,
        bad_bodies: 2,
        totals,
    }
}

/// Events that cannot be stored: an amount that is none, an action that nobody knows, no id.
const POISON: [&str; 3] = [
    r#"{"event_id":"poison-amount","action":"conversion","offer_id":101,"payout":"12,50"}"#,
    r#"{"event_id":"poison-action","action":"install","offer_id":101,"num":1}"#,
    r#"{"action":"click","offer_id":101,"num":1}"#,
];

/// The same id with another content: a note that the first one lacks.
fn second_content(event: &Event, expected: &mut Outcomes) -> Event {
    expected.variants += 1;
    let json = event.json.strip_suffix('}').unwrap_or(&event.json);
    Event {
        json: format!("{json},\"note\":\"sent again\"}}"),
        ..event.clone()
    }
}

/// Spreads events over exactly so many bodies, each of one network, as an envelope is.
fn pack(events: &[Event], bodies: usize) -> Vec<String> {
    let mut networks: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for event in events {
        networks
            .entry(event.network_id)
            .or_default()
            .push(event.clone());
    }
    let mut packed = Vec::with_capacity(bodies);
    let mut left = (bodies, events.len());
    for events in networks.values() {
        // The last network gets what is left.
        let share = (left.0 * events.len() / left.1).max(1);
        for at in 0..share {
            let range = at * events.len() / share..(at + 1) * events.len() / share;
            packed.push(body(&events[range], packed.len() as i64));
        }
        left = (left.0 - share, left.1 - events.len());
    }
    packed
}

/// One message: base64 of gzip of an envelope with these events, which are of one network.
pub fn body(events: &[Event], number: i64) -> String {
    let network_id = events.first().map_or("", |event| event.network_id);
    let data: Vec<&str> = events.iter().map(|event| event.json.as_str()).collect();
    let envelope = format!(
        r#"{{"dispatch_id":"{}","dispatch_timestamp":{},"is_test":false,"network_id":"{network_id}","target_class":"stats","dispatch_class":"event","data":[{}]}}"#,
        Uuid::from_u64_pair(0, number as u64),
        FIRST_SECOND + number,
        data.join(","),
    );
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let written = gzip.write_all(envelope.as_bytes());
    let bytes = written.and_then(|()| gzip.finish()).unwrap_or_default();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::hasoffers::Body;
    use crate::store::batch::Batch;

    #[test]
    fn as_many_messages_and_events_come_as_promised() {
        for messages in [MESSAGES_MIN, 50, 333] {
            let publication = publication(3, messages);
            assert_eq!(publication.bodies.len(), messages);
            let (mut events, mut bad_events, mut bad_bodies) = (0, 0, 0);
            for body in &publication.bodies {
                let Ok(mut body) = Body::open(body.as_bytes(), 1 << 20, None) else {
                    bad_bodies += 1;
                    continue;
                };
                assert!(body.read_into(&mut Batch::new(1_000, 1 << 20), 0, "m"));
                events += body.events as u64;
                bad_events += body.bad_events as u64;
            }
            assert_eq!(events, publication.expected.sum());
            assert_eq!(bad_events, publication.expected.quarantined);
            assert_eq!(bad_bodies, publication.bad_bodies);
        }
    }
}
