//! The deliveries that a worker holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;

use super::Feed;
use super::trace::Trace;
use crate::sources::Delivery;
use crate::telemetry;

/// Deliveries in the order in which they came, and how far they are done.
#[derive(Debug)]
pub struct Held {
    pub deliveries: Vec<Delivery>,
    /// All events of the first so many deliveries are in the batch or stored.
    pub read: usize,
    /// All events of the first so many deliveries are committed.
    pub stored: usize,
    /// Time that decoding the present one took so far.
    pub decoding: Duration,
    pub since: Instant,
    pub trace: Trace,
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
            decoding: Duration::ZERO,
            since,
            trace: Trace::new(&feed.name),
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
        self.trace.received();
        self.deliveries.push(delivery);
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
