//! The messages of a queue that a worker holds, kept invisible meanwhile.

use std::collections::HashSet;
use std::sync::Arc;

use super::Feed;
use super::held::Held;
use crate::sources::Delivery;
use crate::sources::heartbeat::Heartbeat;
use crate::sources::sqs::Sqs;

/// A message that was received so often and is still there may be what ends the process that reads it: what comes more
/// often is a suspect.
const TRUSTED_ATTEMPTS: u32 = 2;

/// Messages, and those that came too often to be read along with others: each of these is held by itself.
#[derive(Debug)]
pub struct Hidden {
    pub held: Held,
    pub suspects: Vec<Hidden>,
    feed: Arc<Feed>,
    sqs: Arc<Sqs>,
    ids: HashSet<String>,
    heartbeat: Heartbeat,
}

impl Hidden {
    pub fn new(feed: &Arc<Feed>, sqs: &Arc<Sqs>) -> Hidden {
        Hidden {
            feed: Arc::clone(feed),
            held: Held::new(feed),
            suspects: Vec::new(),
            sqs: Arc::clone(sqs),
            ids: HashSet::new(),
            heartbeat: Heartbeat::start(Arc::clone(sqs)),
        }
    }

    /// Takes messages on. One that is held already has come again: its newest receipt handle is known by now, and its
    /// events need no second look.
    pub fn add(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            if !self.ids.insert(delivery.id.clone()) {
                continue;
            }
            if delivery.attempt <= TRUSTED_ATTEMPTS {
                self.keep(delivery);
            } else {
                let mut suspect = Hidden::new(&self.feed, &self.sqs);
                suspect.keep(delivery);
                self.suspects.push(suspect);
            }
        }
    }

    fn keep(&mut self, delivery: Delivery) {
        self.heartbeat.hold(&delivery);
        self.held.add(delivery);
    }

    /// The message that is held by itself because it came too often.
    pub fn suspect(&self) -> Option<&Delivery> {
        let mut deliveries = self.held.deliveries.iter();
        deliveries.find(|delivery| delivery.attempt > TRUSTED_ATTEMPTS)
    }

    /// Hides a suspect for longer than what else is held: if it ends the process, the others come back without it.
    pub async fn set_apart(&self) {
        self.heartbeat.hide_longer().await;
    }

    /// Extends their visibility no more.
    pub async fn into_held(self) -> Held {
        self.heartbeat.stop().await;
        self.held
    }
}
