//! All queues of a stand-in, and the operations on whole queues.

use super::attributes::{self, Settings};
use super::protocol::*;
use super::queue::{Delivery, Queue};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// The account id in every queue URL.
pub const ACCOUNT_ID: &str = "000000000000";

const MAX_LISTED_QUEUES: usize = 1000;

/// The queues by name, behind one lock: it is held for moments, and a redrive needs two queues at once.
pub struct Account {
    queues: Mutex<BTreeMap<String, Queue>>,
    started: Instant,
    started_since_epoch: Duration,
    /// Ends every long poll.
    pub stop: CancellationToken,
}

impl Account {
    /// An account without queues.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            queues: Mutex::new(BTreeMap::new()),
            started: Instant::now(),
            started_since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            stop,
        }
    }

    /// The time of day at an instant. All times are kept as instants, so that a clock that is set back
    /// cannot make a message visible late.
    pub fn since_epoch(&self, at: Instant) -> Duration {
        self.started_since_epoch + at.saturating_duration_since(self.started)
    }

    /// Does something with all queues.
    fn with_queues<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Queue>) -> T) -> T {
        act(&mut self.queues.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something with the queue of this URL.
    pub fn with_queue<T>(
        &self,
        queue_url: &str,
        act: impl FnOnce(&mut Queue) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let name = name_in(queue_url);
        self.with_queues(|queues| act(queues.get_mut(name).ok_or_else(|| no_queue(name))?))
    }

    /// Receives from the queue of this URL and moves what is spent to its dead-letter queue. A queue whose
    /// dead-letter queue was deleted keeps delivering.
    pub fn receive(
        &self,
        queue_url: &str,
        max: usize,
        visibility: Option<Duration>,
        now: Instant,
    ) -> Result<(Vec<Delivery>, Option<Instant>), Refusal> {
        let name = name_in(queue_url);
        self.with_queues(|queues| {
            let queue = queues.get(name).ok_or_else(|| no_queue(name))?;
            let redrive = queue.settings.redrive.clone();
            let redrive = redrive.filter(|redrive| queues.contains_key(&redrive.target_queue));
            let queue = queues.get_mut(name).ok_or_else(|| no_queue(name))?;
            let visibility = visibility.unwrap_or(queue.settings.visibility());
            let max_receive_count = redrive.as_ref().map(|redrive| redrive.max_receive_count);
            let received = queue.receive(max, visibility, max_receive_count, now)?;
            let next_visible = queue.next_visible();
            if let Some(dead) = redrive.and_then(|redrive| queues.get_mut(&redrive.target_queue)) {
                received
                    .spent
                    .into_iter()
                    .for_each(|message| dead.adopt(message));
            }
            Ok((received.deliveries, next_visible))
        })
    }

    /// CreateQueue. Creating a queue that exists succeeds if its attributes are the same.
    pub fn create_queue(&self, request: CreateQueue, base_url: &str) -> Result<QueueUrl, Refusal> {
        let name = request.queue_name;
        check_name(&name)?;
        let mut settings = Settings::default();
        for (attribute, value) in &request.attributes {
            settings.set(attribute, value)?;
        }
        self.with_queues(|queues| {
            check_redrive(&settings, &name, queues)?;
            if let Some(queue) = queues.get(&name) {
                let (wanted, present) = (settings.to_map(), queue.settings.to_map());
                for attribute in request.attributes.keys() {
                    if wanted.get(attribute) != present.get(attribute) {
                        let message = format!(
                            "a queue {name} exists with a different value for attribute {attribute}"
                        );
                        return Err(Refusal::new(Code::QueueNameExists, message));
                    }
                }
            } else {
                queues.insert(name.clone(), Queue::new(settings, Instant::now()));
            }
            Ok(QueueUrl {
                queue_url: queue_url(base_url, &name),
            })
        })
    }

    /// GetQueueUrl.
    pub fn get_queue_url(&self, request: GetQueueUrl, base_url: &str) -> Result<QueueUrl, Refusal> {
        let queue_url = queue_url(base_url, &request.queue_name);
        self.with_queue(&queue_url, |_| Ok(()))?;
        Ok(QueueUrl { queue_url })
    }

    /// ListQueues, in the order of names. The token is the last name that was listed.
    pub fn list_queues(&self, request: ListQueues, base_url: &str) -> QueueUrls {
        let max = request
            .max_results
            .unwrap_or(MAX_LISTED_QUEUES)
            .clamp(1, MAX_LISTED_QUEUES);
        let after = request.next_token.unwrap_or_default();
        let mut names: Vec<String> = self.with_queues(|queues| {
            let listed = queues
                .keys()
                .filter(|name| name.starts_with(&request.queue_name_prefix));
            listed
                .filter(|name| **name > after)
                .take(max + 1)
                .cloned()
                .collect()
        });
        let more = names.len() > max;
        names.truncate(max);
        QueueUrls {
            queue_urls: names.iter().map(|name| queue_url(base_url, name)).collect(),
            // Only a caller that asks for pages gets a token, as on AWS.
            next_token: names
                .pop()
                .filter(|_| more && request.max_results.is_some()),
        }
    }

    /// DeleteQueue. Receives that wait at the queue are told that it is gone.
    pub fn delete_queue(&self, request: &OneQueue) -> Result<(), Refusal> {
        let name = name_in(&request.queue_url);
        let queue = self
            .with_queues(|queues| queues.remove(name))
            .ok_or_else(|| no_queue(name))?;
        queue.stirred.notify_waiters();
        Ok(())
    }

    /// PurgeQueue, at once and as often as one likes.
    pub fn purge_queue(&self, request: &OneQueue) -> Result<(), Refusal> {
        self.with_queue(&request.queue_url, |queue| {
            queue.purge();
            Ok(())
        })
    }

    /// GetQueueAttributes: those that were asked for by name, or all.
    pub fn queue_attributes(
        &self,
        request: &GetQueueAttributes,
    ) -> Result<QueueAttributes, Refusal> {
        let mut attributes = self.with_queue(&request.queue_url, |queue| {
            let counts = queue.counts(Instant::now());
            let mut map = queue.settings.to_map();
            let mut put = |name: &str, value: String| map.insert(name.to_owned(), value);
            put("ApproximateNumberOfMessages", counts.visible.to_string());
            put(
                "ApproximateNumberOfMessagesNotVisible",
                counts.in_flight.to_string(),
            );
            put(
                "ApproximateNumberOfMessagesDelayed",
                counts.delayed.to_string(),
            );
            put("QueueArn", attributes::arn(name_in(&request.queue_url)));
            put(
                "CreatedTimestamp",
                self.since_epoch(queue.created).as_secs().to_string(),
            );
            put(
                "LastModifiedTimestamp",
                self.since_epoch(queue.modified).as_secs().to_string(),
            );
            Ok(map)
        })?;
        let asked = &request.attribute_names;
        if let Some(name) = asked.iter().find(|name| {
            *name != "All"
                && !attributes.contains_key(*name)
                && !attributes::OPTIONAL.contains(&name.as_str())
        }) {
            return Err(attributes::unknown(name));
        }
        if !asked.iter().any(|name| name == "All") {
            attributes.retain(|name, _| asked.contains(name));
        }
        Ok(QueueAttributes { attributes })
    }

    /// SetQueueAttributes. Either all of them are set or none, and they apply at once.
    pub fn set_queue_attributes(&self, request: &SetQueueAttributes) -> Result<(), Refusal> {
        let name = name_in(&request.queue_url);
        self.with_queues(|queues| {
            let mut settings = queues
                .get(name)
                .ok_or_else(|| no_queue(name))?
                .settings
                .clone();
            for (attribute, value) in &request.attributes {
                settings.set(attribute, value)?;
            }
            check_redrive(&settings, name, queues)?;
            if let Some(queue) = queues.get_mut(name) {
                queue.settings = settings;
                queue.modified = Instant::now();
            }
            Ok(())
        })
    }
}

/// The URL of the queue with this name.
pub fn queue_url(base_url: &str, name: &str) -> String {
    format!("{base_url}/{ACCOUNT_ID}/{name}")
}

/// Only the last part of a queue URL counts: a client may know this endpoint by another host name.
fn name_in(queue_url: &str) -> &str {
    queue_url.rsplit('/').next().unwrap_or_default()
}

fn no_queue(name: &str) -> Refusal {
    Refusal::new(
        Code::QueueDoesNotExist,
        format!("the queue {name} does not exist"),
    )
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.ends_with(".fifo") {
        let message = "this stand-in has no first-in-first-out queues";
        return Err(Refusal::new(Code::UnsupportedOperation, message));
    }
    let well_formed = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if name.is_empty() || name.len() > 80 || !well_formed {
        return Err(Refusal::parameter(
            "a queue name is 1 to 80 letters, digits, hyphens and underscores",
        ));
    }
    Ok(())
}

fn check_redrive(
    settings: &Settings,
    name: &str,
    queues: &BTreeMap<String, Queue>,
) -> Result<(), Refusal> {
    match &settings.redrive {
        Some(redrive) if redrive.target_queue == name => Err(Refusal::parameter(
            "a queue cannot be its own dead-letter queue",
        )),
        Some(redrive) if !queues.contains_key(&redrive.target_queue) => {
            Err(Refusal::parameter(format!(
                "the dead-letter queue {} does not exist",
                redrive.target_queue
            )))
        }
        _ => Ok(()),
    }
}
