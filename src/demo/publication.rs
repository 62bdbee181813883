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

use super::feed::{self, Event, Feed, Mix, Totals};
use super::fields::FIRST_SECOND;

/// Events of one message of the backlog.
const EVENTS_PER_BODY: usize = 40;
/// Events of one live message: they come as they happen, and a forgotten demo must not fill the disk.
const LIVE_EVENTS_PER_BODY: usize = 5;
/// Of a hundred events, how many come a second time.
const DUPLICATES_PERCENT: usize = 5;
/// Two unreadable messages, and one with a second content of an id.
const SPECIAL_BODIES: usize = 3;
/// The fewest messages that hold everything there is to show.
pub const MESSAGES_MIN: usize = 10;
/// Of the events that were published, how many of the last ones can come again.
const REMEMBERED: usize = 1_000;

/// What is published over time, and what must come of it.
pub struct Publication {
    feed: Feed,
    rng: Xoshiro256PlusPlus,
    /// Events that can come again.
    remembered: Vec<Event>,
    /// Messages so far.
    pub messages: u64,
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

impl Publication {
    /// Nothing yet. The same seed gives the same backlog.
    pub fn new(seed: u64) -> Publication {
        Publication {
            feed: feed::endless(seed, Mix::DEMO),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x005e_ed0f_d150_4de4),
            remembered: Vec::new(),
            messages: 0,
            expected: Outcomes::default(),
            bad_bodies: 0,
            totals: Totals::default(),
        }
    }

    /// `messages` bodies with about [`EVENTS_PER_BODY`] events each, and everything in them that can go wrong.
    pub fn backlog(&mut self, messages: usize) -> Vec<String> {
        let readable = messages.max(MESSAGES_MIN) - SPECIAL_BODIES;
        let distinct = readable * EVENTS_PER_BODY * 100 / (100 + DUPLICATES_PERCENT);
        let mut events = self.draw(distinct);
        for _ in 0..distinct * DUPLICATES_PERCENT / 100 {
            let again = events[self.rng.random_range(0..distinct)].clone();
            events.push(again);
            self.expected.duplicates += 1;
        }
        let variant = events.choose(&mut self.rng).map(second_content);
        for poison in POISON {
            events.push(Event {
                network_id: "demo",
                json: poison.to_owned(),
                is_adjustment: false,
                counts: Totals::default(),
            });
            self.expected.quarantined += 1;
        }
        events.shuffle(&mut self.rng);

        let mut bodies = self.pack(&events, readable, None);
        // Its envelope is later than all others: the first content is the one that stays.
        if let Some(event) = variant {
            self.expected.variants += 1;
            bodies.push(body(&[event], i64::from(u32::MAX), i64::from(u32::MAX)));
        }
        let truncated = STANDARD.decode(&bodies[0]).map(|mut gzip| {
            gzip.truncate(gzip.len() / 2);
            STANDARD.encode(gzip)
        });
        bodies.extend(truncated);
        bodies.push("%% this is no base64 %%".to_owned());
        self.bad_bodies += 2;
        bodies.shuffle(&mut self.rng);
        self.messages = bodies.len() as u64;
        bodies
    }

    /// `messages` more bodies, of what happens at this second and of one event that was published before.
    pub fn live(&mut self, messages: usize, second: i64) -> Vec<String> {
        self.feed.go_on_at(second);
        let again = self.remembered.choose(&mut self.rng).cloned();
        let mut events = self.draw(messages * LIVE_EVENTS_PER_BODY - 1);
        if let Some(event) = again {
            events.push(event);
            self.expected.duplicates += 1;
        }
        events.shuffle(&mut self.rng);
        let bodies = self.pack(&events, messages, Some(second));
        self.messages += bodies.len() as u64;
        bodies
    }

    /// So many events that were not there yet.
    fn draw(&mut self, count: usize) -> Vec<Event> {
        let events: Vec<Event> = self.feed.by_ref().take(count).collect();
        for event in &events {
            self.totals += event.counts;
            *if event.is_adjustment {
                &mut self.expected.adjustments
            } else {
                &mut self.expected.stored
            } += 1;
        }
        let last = &events[count.saturating_sub(REMEMBERED)..];
        let room = REMEMBERED - last.len();
        self.remembered
            .drain(..self.remembered.len().saturating_sub(room));
        self.remembered.extend_from_slice(last);
        events
    }

    /// Spreads events over exactly so many bodies, each of one network, as an envelope is; dispatched at this second, or one
    /// in each second of the backlog.
    fn pack(&self, events: &[Event], bodies: usize, second: Option<i64>) -> Vec<String> {
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
                let number = self.messages as i64 + packed.len() as i64;
                let dispatched = second.unwrap_or(FIRST_SECOND + number);
                packed.push(body(&events[range], number, dispatched));
            }
            left = (left.0 - share, left.1 - events.len());
        }
        packed
    }
}

/// Events that cannot be stored: an amount that is none, an action that nobody knows, no id.
const POISON: [&str; 3] = [
    r#"{"event_id":"poison-amount","action":"conversion","offer_id":101,"payout":"12,50"}"#,
    r#"{"event_id":"poison-action","action":"install","offer_id":101,"num":1}"#,
    r#"{"action":"click","offer_id":101,"num":1}"#,
];

/// The same id with another content: a note that the first one lacks.
fn second_content(event: &Event) -> Event {
    let json = event.json.strip_suffix('}').unwrap_or(&event.json);
    Event {
        json: format!("{json},\"note\":\"sent again\"}}"),
        ..event.clone()
    }
}

/// One message: base64 of gzip of an envelope with these events, which are of one network.
pub fn body(events: &[Event], number: i64, dispatched: i64) -> String {
    let network_id = events.first().map_or("", |event| event.network_id);
    let data: Vec<&str> = events.iter().map(|event| event.json.as_str()).collect();
    let envelope = format!(
        r#"{{"dispatch_id":"{}","dispatch_timestamp":{dispatched},"is_test":false,"network_id":"{network_id}","target_class":"stats","dispatch_class":"event","data":[{}]}}"#,
        Uuid::from_u64_pair(0, number as u64),
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
    use crate::store::batch::{Batch, Role};

    /// Events, events that cannot be stored, and bodies that cannot be read.
    fn count(bodies: &[String]) -> (u64, u64, u64) {
        let (mut events, mut bad_events, mut bad_bodies) = (0, 0, 0);
        for body in bodies {
            let Ok(mut body) = Body::open(body.as_bytes(), 1 << 20, None) else {
                bad_bodies += 1;
                continue;
            };
            assert!(body.read_into(&mut Batch::new(1_000, 1 << 20), 0, "m"));
            events += body.events as u64;
            bad_events += body.bad_events as u64;
        }
        (events, bad_events, bad_bodies)
    }

    #[test]
    fn as_many_messages_and_events_come_as_promised() {
        for messages in [MESSAGES_MIN, 50, 333] {
            let mut publication = Publication::new(3);
            let bodies = publication.backlog(messages);
            assert_eq!(bodies.len(), messages);
            let expected = publication.expected;
            let counted = (expected.sum(), expected.quarantined, publication.bad_bodies);
            assert_eq!(count(&bodies), counted);
        }
    }

    #[test]
    fn live_messages_go_on_where_the_backlog_ended() {
        let mut publication = Publication::new(3);
        publication.backlog(50);
        let before = publication.expected;
        let now = FIRST_SECOND + 86_400 * 24;
        let mut bodies = Vec::new();
        for second in 0..40 {
            bodies.extend(publication.live(10, now + second));
        }
        assert_eq!((bodies.len(), publication.messages), (400, 450));
        let expected = publication.expected;
        assert_eq!(count(&bodies), (expected.sum() - before.sum(), 0, 0));
        assert_eq!(expected.duplicates - before.duplicates, 40);
        assert!(expected.adjustments > before.adjustments);
    }

    #[test]
    fn nothing_live_is_dated_after_it_was_published() {
        let mut publication = Publication::new(3);
        publication.backlog(50);
        let mut adjusted = 0;
        for now in (0..300).map(|n| FIRST_SECOND + 86_400 * 24 + n) {
            let mut batch = Batch::new(1_000, 1 << 20);
            for body in publication.live(5, now) {
                let mut body = Body::open(body.as_bytes(), 1 << 20, None).unwrap();
                assert!(body.read_into(&mut batch, 0, "m"));
            }
            for fact in batch.facts() {
                assert!(fact.happened.unwrap() <= now, "{:?}", fact.happened);
                adjusted += usize::from(fact.role == Role::Adjustment);
            }
        }
        assert!(adjusted > 300, "{adjusted}");
    }
}
