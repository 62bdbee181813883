//! The messages that a worker holds.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;

use crate::sources::Delivery;
use crate::sources::heartbeat::Heartbeat;
use crate::sources::sqs::Sqs;
use crate::telemetry;

/// Messages in the order of their receive, kept invisible as long as they are held.
#[derive(Debug)]
pub struct Held {
    pub deliveries: Vec<Delivery>,
    /// All events of the first so many deliveries are in the batch or stored.
    pub read: usize,
    /// All events of the first so many deliveries are committed.
    pub stored: usize,
    /// Time that decoding took so far.
    pub decoding: Duration,
    pub since: Instant,
    pub body_bytes: usize,
    ids: HashSet<String>,
    heartbeat: Heartbeat,
}

impl Held {
    pub fn new(sqs: &Arc<Sqs>) -> Held {
        Held {
            deliveries: Vec::new(),
            read: 0,
            stored: 0,
            decoding: Duration::ZERO,
            since: Instant::now(),
            body_bytes: 0,
            ids: HashSet::new(),
            heartbeat: Heartbeat::start(Arc::clone(sqs)),
        }
    }

    /// Takes messages on. One that is held already has come again: its newest receipt handle is known by now, and its
    /// events need no second look.
    pub fn add(&mut self, deliveries: Vec<Delivery>) {
        let first = self.deliveries.len();
        let new = deliveries
            .into_iter()
            .filter(|delivery| self.ids.insert(delivery.id.clone()));
        self.deliveries.extend(new);
        let new = &self.deliveries[first..];
        let bytes: usize = new.iter().map(|delivery| delivery.body.len()).sum();
        gauge!(telemetry::MESSAGES_IN_FLIGHT).increment(new.len() as f64);
        gauge!(telemetry::BYTES_IN_FLIGHT).increment(bytes as f64);
        self.body_bytes += bytes;
        self.heartbeat.hold(new);
    }

    /// Lets go of them: the ids of those that are stored, and of the others.
    pub async fn into_ids(self) -> (Vec<String>, Vec<String>) {
        gauge!(telemetry::MESSAGES_IN_FLIGHT).decrement(self.deliveries.len() as f64);
        gauge!(telemetry::BYTES_IN_FLIGHT).decrement(self.body_bytes as f64);
        self.heartbeat.stop().await;
        let mut stored: Vec<String> = self
            .deliveries
            .into_iter()
            .map(|delivery| delivery.id)
            .collect();
        let others = stored.split_off(self.stored);
        (stored, others)
    }
}
