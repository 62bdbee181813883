//! One queue: which messages are visible, which are hidden and until when.
//!
//! Nothing here reads a clock or waits: the time is an argument. No operation looks at more messages than it
//! hands out or moves, so a long backlog costs nothing.

use super::attributes::{MAX_VISIBILITY_SECS, Settings};
use super::protocol::{Code, Refusal};
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

/// SQS hands out no more while this many messages are in flight.
const MAX_IN_FLIGHT: usize = 120_000;

/// What was sent. It never changes, whatever happens to the message.
#[derive(Debug)]
pub struct Content {
    pub id: String,
    /// The body as JSON text, quotes and escapes included.
    pub body: Box<RawValue>,
    pub md5: String,
    pub sent: Instant,
}

/// A message as it is kept.
#[derive(Debug)]
pub struct Message {
    content: Arc<Content>,
    receive_count: u32,
    first_received: Option<Instant>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Visible,
    Delayed { until: Instant },
    InFlight { received: Instant, until: Instant },
}

/// A message as it is handed out.
#[derive(Debug)]
pub struct Delivery {
    pub content: Arc<Content>,
    pub receipt_handle: String,
    pub receive_count: u32,
    pub first_received: Instant,
}

/// What one receive takes out of a queue.
#[derive(Debug, Default)]
pub struct Received {
    pub deliveries: Vec<Delivery>,
    /// Messages that were received too often. They belong to the dead-letter queue now.
    pub spent: Vec<Message>,
}

/// How many messages a queue holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

/// One queue.
pub struct Queue {
    pub settings: Settings,
    pub created: Instant,
    pub modified: Instant,
    /// Told whenever a receive that found nothing should look again.
    pub stirred: Arc<Notify>,
    /// Part of every receipt handle, so that a handle is of no use in another queue.
    id: Uuid,
    next_number: u64,
    messages: HashMap<u64, Message>,
    /// The visible messages. A number whose message is gone is skipped when its turn comes.
    visible: VecDeque<u64>,
    /// The delayed messages and those in flight, by the time they become visible.
    hidden: BTreeSet<(Instant, u64)>,
    delayed: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            created: now,
            modified: now,
            stirred: Arc::new(Notify::new()),
            id: Uuid::new_v4(),
            next_number: 0,
            messages: HashMap::new(),
            visible: VecDeque::new(),
            hidden: BTreeSet::new(),
            delayed: 0,
        }
    }

    /// Adds a message that was sent. It is visible after the delay.
    pub fn send(&mut self, content: Content, delay: Duration) {
        let until = content.sent + delay;
        let state = if delay.is_zero() {
            State::Visible
        } else {
            State::Delayed { until }
        };
        self.add(Message {
            content: Arc::new(content),
            receive_count: 0,
            first_received: None,
            state,
        });
    }

    /// Adds a message that another queue gave up. It keeps its id, its age and its receive count.
    pub fn adopt(&mut self, message: Message) {
        self.add(Message {
            state: State::Visible,
            ..message
        });
    }

    fn add(&mut self, message: Message) {
        let number = self.next_number;
        self.next_number += 1;
        if let State::Delayed { until } = message.state {
            self.delayed += 1;
            self.hidden.insert((until, number));
        } else {
            self.visible.push_back(number);
        }
        self.messages.insert(number, message);
        self.stirred.notify_waiters();
    }

    /// Takes up to `max` visible messages and hides them. With `max_receive_count`, messages that were received
    /// so often already are taken out instead: a message moves at the receive which would exceed the count.
    pub fn receive(
        &mut self,
        max: usize,
        visibility: Duration,
        max_receive_count: Option<u32>,
        now: Instant,
    ) -> Result<Received, Refusal> {
        self.surface(now);
        let room = MAX_IN_FLIGHT.saturating_sub(self.hidden.len() - self.delayed);
        if room == 0 {
            let message = format!("{MAX_IN_FLIGHT} messages are in flight, which is the limit");
            return Err(Refusal::new(Code::OverLimit, message));
        }
        let mut received = Received::default();
        while received.deliveries.len() < max.min(room)
            && let Some(number) = self.visible.pop_front()
        {
            let Some(message) = self.messages.get_mut(&number) else {
                continue;
            };
            let expired = message.content.sent + self.settings.retention() <= now;
            let spent = max_receive_count.is_some_and(|max| message.receive_count >= max);
            if expired || spent {
                let message = self.messages.remove(&number);
                received.spent.extend(message.filter(|_| !expired));
                continue;
            }
            let until = now + visibility;
            message.receive_count += 1;
            message.state = State::InFlight {
                received: now,
                until,
            };
            self.hidden.insert((until, number));
            received.deliveries.push(Delivery {
                content: Arc::clone(&message.content),
                receipt_handle: handle(self.id, number, message.receive_count),
                receive_count: message.receive_count,
                first_received: *message.first_received.get_or_insert(now),
            });
        }
        Ok(received)
    }

    /// Deletes the message, if the handle is of its latest receive. An older handle succeeds and deletes
    /// nothing, and one of a message that is gone succeeds, as on AWS.
    pub fn delete(&mut self, receipt_handle: &str) -> Result<(), Refusal> {
        let (number, receive) = self.parse(receipt_handle)?;
        if self
            .messages
            .get(&number)
            .is_some_and(|message| message.receive_count == receive)
            && let Some(message) = self.messages.remove(&number)
            && let State::InFlight { until, .. } = message.state
        {
            self.hidden.remove(&(until, number));
        }
        Ok(())
    }

    /// Hides a message in flight until `visibility` from now; zero makes it visible at once. A handle that
    /// outlived its receive (the message is visible again, or was received again) succeeds and changes
    /// nothing; a message that is gone is refused. So it is on AWS.
    pub fn change_visibility(
        &mut self,
        receipt_handle: &str,
        visibility: Duration,
        now: Instant,
    ) -> Result<(), Refusal> {
        let (number, receive) = self.parse(receipt_handle)?;
        self.surface(now);
        let Some(message) = self.messages.get_mut(&number) else {
            return Err(Refusal::parameter(
                "the message does not exist or is not available for visibility timeout change",
            ));
        };
        let State::InFlight { received, until } = message.state else {
            return Ok(());
        };
        if message.receive_count != receive {
            return Ok(());
        }
        let limit = Duration::from_secs(MAX_VISIBILITY_SECS.into());
        if now.duration_since(received) + visibility > limit {
            return Err(Refusal::parameter(format!(
                "the total visibility timeout is beyond the limit of {MAX_VISIBILITY_SECS} seconds"
            )));
        }
        self.hidden.remove(&(until, number));
        let until = now + visibility;
        message.state = State::InFlight { received, until };
        self.hidden.insert((until, number));
        // Even a later time than before may be news: a waiting receive goes by the earliest of all.
        self.stirred.notify_waiters();
        Ok(())
    }

    /// Removes all messages.
    pub fn purge(&mut self) {
        self.messages.clear();
        self.visible.clear();
        self.hidden.clear();
        self.delayed = 0;
    }

    /// How many messages there are. One past its retention period counts until a receive comes upon it.
    pub fn counts(&mut self, now: Instant) -> Counts {
        self.surface(now);
        Counts {
            visible: self.messages.len() - self.hidden.len(),
            in_flight: self.hidden.len() - self.delayed,
            delayed: self.delayed,
        }
    }

    /// When the next hidden message becomes visible.
    pub fn next_visible(&self) -> Option<Instant> {
        self.hidden.first().map(|(until, _)| *until)
    }

    /// Makes those messages visible whose time has come. They queue up behind those that are visible already.
    fn surface(&mut self, now: Instant) {
        while let Some(&(until, number)) = self.hidden.first()
            && until <= now
        {
            self.hidden.pop_first();
            if let Some(message) = self.messages.get_mut(&number) {
                if let State::Delayed { .. } = message.state {
                    self.delayed -= 1;
                }
                message.state = State::Visible;
                self.visible.push_back(number);
            }
        }
    }

    /// The message number and the receive that a handle stands for.
    fn parse(&self, receipt_handle: &str) -> Result<(u64, u32), Refusal> {
        let mut parts = receipt_handle.split('.');
        let queue = parts.next().and_then(|part| Uuid::parse_str(part).ok());
        let number = parts.next().and_then(|part| part.parse().ok());
        let receive = parts.next().and_then(|part| part.parse().ok());
        match (queue, number, receive, parts.next()) {
            (Some(queue), Some(number), Some(receive), None)
                if queue == self.id && number < self.next_number =>
            {
                Ok((number, receive))
            }
            _ => {
                let message = format!("the receipt handle \"{receipt_handle}\" is not valid");
                Err(Refusal::new(Code::ReceiptHandleIsInvalid, message))
            }
        }
    }
}

fn handle(queue: Uuid, number: u64, receive: u32) -> String {
    format!("{queue}.{number}.{receive}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "queue_tests.rs"]
mod tests;
