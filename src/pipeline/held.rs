//! The deliveries that a worker holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;

use super::Feed;
use crate::sources::Delivery;
use crate::store::batch::Batch;
use crate::store::refused::Refused;
use crate::telemetry;

/// Deliveries in the order in which they came, and how far they are done.
#[derive(Debug)]
pub struct Held {
    pub deliveries: Vec<Delivery>,
    /// All events of the first so many deliveries are in the batch or stored.
    pub read: usize,
    /// All events of the first so many deliveries are committed.
    pub stored: usize,
    /// Of each that is read, whether most of it was bad.
    bad: Vec<bool>,
    /// The breaker knows of the first so many of these.
    told: usize,
    /// Time that decoding the present one took so far.
    pub decoding: Duration,
    pub since: Instant,
    in_flight: InFlight,
}

impl Held {
    /// Nothing yet, of this source.
    pub fn new(feed: &Arc<Feed>) -> Held {
        let since = Instant::now();
        Held {
            deliveries: Vec::new(),
            read: 0,
            stored: 0,
            bad: Vec::new(),
            told: 0,
            decoding: Duration::ZERO,
            since,
            in_flight: InFlight {
                feed: Arc::clone(feed),
                since,
                messages: 0,
                bytes: 0,
            },
        }
    }

    pub fn add(&mut self, delivery: Delivery) {
        self.in_flight.add(delivery.body.len());
        self.deliveries.push(delivery);
    }

    /// Takes note that one more is read, and whether most of it was bad.
    pub fn note(&mut self, is_bad: bool) {
        self.bad.push(is_bad);
        self.read += 1;
    }

    /// Takes note of events of `batch` that only the database refuses: a body is bad as well if most of its events are.
    pub fn note_refused(&mut self, batch: &Batch, refused: &[Refused]) {
        let delivery = |refused: &Refused| batch.origin(refused.item).delivery;
        for refused in refused.chunk_by(|a, b| delivery(a) == delivery(b)) {
            let delivery = delivery(&refused[0]);
            if let Some(is_bad) = self.bad.get_mut(delivery) {
                *is_bad |= refused.len() * 2 > batch.events_of(delivery);
            }
        }
    }

    /// Those that are stored since the last call, for the breaker.
    pub fn take_notes(&mut self) -> &[bool] {
        let from = std::mem::replace(&mut self.told, self.bad.len());
        &self.bad[from..]
    }

    pub fn body_bytes(&self) -> usize {
        self.in_flight.bytes
    }

    /// The ids of those that are stored, and of the others.
    pub fn ids(&self) -> (Vec<String>, Vec<String>) {
        let (stored, others) = self.deliveries.split_at(self.stored);
        let ids = |deliveries: &[Delivery]| deliveries.iter().map(|one| one.id.clone()).collect();
        (ids(stored), ids(others))
    }
}

/// What gauges and clocks know of these deliveries, until they are let go of.
#[derive(Debug)]
struct InFlight {
    feed: Arc<Feed>,
    since: Instant,
    messages: usize,
    bytes: usize,
}

impl InFlight {
    fn add(&mut self, bytes: usize) {
        gauge!(telemetry::MESSAGES_IN_FLIGHT).increment(1.0);
        gauge!(telemetry::BYTES_IN_FLIGHT).increment(bytes as f64);
        self.feed.clocks.hold(self.since);
        self.messages += 1;
        self.bytes += bytes;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.feed.clocks.let_go(self.since, self.messages);
        gauge!(telemetry::MESSAGES_IN_FLIGHT).decrement(self.messages as f64);
        gauge!(telemetry::BYTES_IN_FLIGHT).decrement(self.bytes as f64);
    }
}
