//! The loop of a worker: receive, handle, acknowledge.
//!
//! A crash anywhere brings the messages back, and they change nothing. That sentence is the correctness argument: a message
//! is deleted only after the certain COMMIT of the last transaction that holds one of its events, and every event is added
//! once by its identity.

mod feed;
mod held;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio::task::block_in_place;

pub use self::feed::{Feed, Shared};
use self::held::Held;
use crate::backoff::Backoff;
use crate::breaker::Permit;
use crate::formats::hasoffers::Body;
use crate::formats::{Reason, Refusal, Reject, Scope};
use crate::sources::Delivery;
use crate::sources::sqs::BATCH_MAX;
use crate::sources::sqs_error::SqsError;
use crate::store::Store;
use crate::store::batch::Batch;
use crate::telemetry;

/// How long messages wait before they are given back when the daemon stops.
const CUT_POLLS: Duration = Duration::from_secs(1);

/// A body up to this size is read by any worker at any time; memory for a larger one is asked for.
pub const SMALL_BODY_BYTES: usize = 4 << 20;

/// The daemon stops, and what is held cannot be stored before it does.
struct Stopped;

/// One loop with its own connection to the database.
pub struct Worker {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    store: Store,
    batch: Batch,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, feed: Arc<Feed>, store: Store) -> Worker {
        let batch = Batch::new(feed.settings.batch_events, feed.settings.batch_bytes);
        Worker {
            shared,
            feed,
            store,
            batch,
        }
    }

    /// Works until the daemon stops, or until the queue has stayed empty.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let mut empty_polls = 0;
        while let Some(deliveries) = self.receive(&mut backoff).await {
            if !deliveries.is_empty() {
                empty_polls = 0;
                self.work_on(deliveries).await;
            } else if self.stayed_empty(&mut empty_polls).await {
                break;
            }
        }
        self.store.close().await;
    }

    /// The next messages, perhaps none; `None` when the daemon stops. The stop may cut this wait: nothing is held yet.
    async fn receive(&mut self, backoff: &mut Backoff) -> Option<Vec<Delivery>> {
        let stop = self.feed.stop.clone();
        loop {
            stop.run_until_cancelled(self.shared.gate.wait_open())
                .await?;
            if let Permit::Wait(wait) = self.feed.permit() {
                if self.feed.until_empty {
                    // It would not end today; the daemon says why.
                    stop.cancel();
                }
                stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
                continue;
            }
            match stop.run_until_cancelled(self.poll(true)).await? {
                Ok(deliveries) => {
                    backoff.reset();
                    return Some(deliveries);
                }
                Err(error) => {
                    let wait = backoff.wait();
                    // Every failure is counted; a line is written for the first of a series and then now and then.
                    if backoff.failures().is_power_of_two() {
                        tracing::warn!(source = self.feed.name(), failures = backoff.failures(), %error, "receive failed");
                    }
                    self.feed.set_trouble(Some(error.to_string()));
                    stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
                }
            }
        }
    }

    async fn poll(&self, long: bool) -> Result<Vec<Delivery>, SqsError> {
        let received = self.feed.sqs.receive(long).await;
        let outcome = match &received {
            Ok(deliveries) if deliveries.is_empty() => "empty",
            Ok(_) => "messages",
            Err(_) => "error",
        };
        counter!(telemetry::RECEIVES, "source" => self.source(), "outcome" => outcome).increment(1);
        if let Ok(deliveries) = &received {
            self.feed.set_trouble(None);
            counter!(telemetry::MESSAGES_RECEIVED, "source" => self.source())
                .increment(deliveries.len() as u64);
        }
        received
    }

    /// Whether an empty receive was the last one: twice nothing came, and nothing is in flight elsewhere.
    async fn stayed_empty(&self, empty_polls: &mut u32) -> bool {
        if !self.feed.until_empty {
            return false;
        }
        *empty_polls = match self.feed.sqs.is_drained().await {
            Ok(Some(true)) => *empty_polls + 2,
            // Without the right to ask for its attributes an empty receive has to do.
            Ok(None) => *empty_polls + 1,
            Ok(Some(false)) | Err(_) => 0,
        };
        if *empty_polls >= 4 {
            self.feed.stop.cancel();
        } else if self.feed.settings.wait_time_secs == 0 {
            self.feed
                .stop
                .run_until_cancelled(tokio::time::sleep(Duration::from_secs(1)))
                .await;
        }
        self.feed.stop.is_cancelled()
    }

    /// Stores what came, and what comes right behind it, and acknowledges it.
    async fn work_on(&mut self, deliveries: Vec<Delivery>) {
        let mut held = Held::new(&self.feed.sqs);
        held.add(deliveries);
        if let Err(Stopped) = self.handle(&mut held).await {
            self.batch.clear();
        }
        self.acknowledge(held).await;
    }

    async fn handle(&mut self, held: &mut Held) -> Result<(), Stopped> {
        let linger = Duration::from_millis(self.feed.settings.linger_ms);
        loop {
            let full_receive = held.deliveries.len() - held.read >= BATCH_MAX;
            self.read(held).await?;
            // A full receive of small messages: more wait, and a transaction is cheaper for many than for few.
            let room = !self.batch.is_empty()
                && !self.batch.is_full()
                && held.body_bytes < self.feed.settings.batch_bytes;
            let late = held.since.elapsed() >= linger || self.feed.stop.is_cancelled();
            // Whatever forbids to receive forbids to receive more.
            let paused = self.shared.gate.pause().is_some() || self.feed.is_mostly_bad();
            if !full_receive || !room || late || paused {
                break;
            }
            match self.poll(false).await {
                Ok(more) if !more.is_empty() => held.add(more),
                Ok(_) | Err(_) => break,
            }
        }
        self.flush(held).await
    }

    /// Reads the bodies that were not read yet into the batch, and writes it whenever it is full.
    async fn read(&mut self, held: &mut Held) -> Result<(), Stopped> {
        let mut bad = Vec::new();
        while held.read < held.deliveries.len() {
            held.decoding = Duration::ZERO;
            let opened = self.open_held(held, SMALL_BODY_BYTES);
            let max_bytes = self.feed.settings.max_body_bytes;
            let is_bad = match opened {
                Err(refusal)
                    if refusal.reason == Reason::TooLarge && max_bytes > SMALL_BODY_BYTES =>
                {
                    self.take_in_large(held).await?
                }
                opened => self.take_in(opened, held).await?,
            };
            bad.push(is_bad);
            held.read += 1;
            histogram!(telemetry::DECODE_SECONDS, "source" => self.source()).record(held.decoding);
        }
        self.feed.note(&bad);
        Ok(())
    }

    /// Reads a large body, when there is memory for it. What is in the batch is written before, and what comes of the body
    /// after: nobody who waits for memory holds any.
    async fn take_in_large(&mut self, held: &mut Held) -> Result<bool, Stopped> {
        self.flush(held).await?;
        let max_bytes = self.feed.settings.max_body_bytes;
        let shared = Arc::clone(&self.shared);
        let permits = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let memory = shared
            .give_up
            .run_until_cancelled(shared.memory.acquire_many(permits));
        let memory = memory.await.ok_or(Stopped)?;
        let opened = self.open_held(held, max_bytes);
        let is_bad = self.take_in(opened, held).await?;
        self.flush(held).await?;
        drop(memory);
        Ok(is_bad)
    }

    fn open_held(&self, held: &mut Held, max_bytes: usize) -> Result<Body, Refusal> {
        let started = Instant::now();
        let opened = block_in_place(|| self.open(&held.deliveries[held.read], max_bytes));
        held.decoding += started.elapsed();
        opened
    }

    fn open(&self, delivery: &Delivery, max_bytes: usize) -> Result<Body, Refusal> {
        let settings = &self.feed.settings;
        let max_bytes = max_bytes.min(settings.max_body_bytes);
        Body::open(
            delivery.body.as_bytes(),
            max_bytes,
            settings.network_id.as_deref(),
        )
    }

    /// Moves the events of one body into the batch, or the body itself as a reject. Whether it was bad.
    async fn take_in(
        &mut self,
        opened: Result<Body, Refusal>,
        held: &mut Held,
    ) -> Result<bool, Stopped> {
        let at = held.read;
        let source = self.source();
        let bytes = held.deliveries[at].body.len() as u64;
        counter!(telemetry::BODY_BYTES, "source" => source.clone()).increment(bytes);
        let mut body = match opened {
            Ok(body) => body,
            Err(refusal) => {
                self.batch.reject(bad_body(&held.deliveries[at], refusal));
                counter!(telemetry::BODIES, "source" => source, "outcome" => "quarantined")
                    .increment(1);
                return Ok(true);
            }
        };
        counter!(telemetry::JSON_BYTES, "source" => source.clone()).increment(body.len() as u64);
        counter!(telemetry::TRAILING_BYTES, "source" => source.clone())
            .increment(body.trailing_bytes as u64);
        loop {
            let started = Instant::now();
            let id = &held.deliveries[at].id;
            let done = block_in_place(|| body.read_into(&mut self.batch, at, id));
            held.decoding += started.elapsed();
            if done {
                break;
            }
            self.flush(held).await?;
        }
        let outcome = if body.is_empty() { "empty" } else { "decoded" };
        counter!(telemetry::BODIES, "source" => source, "outcome" => outcome).increment(1);
        Ok(body.bad_events * 2 > body.events)
    }

    /// Deletes what is stored; gives back what is not.
    async fn acknowledge(&self, held: Held) {
        let since = held.since;
        let (stored, others) = held.into_ids().await;
        self.feed.sqs.delete(&stored).await;
        if !others.is_empty() {
            tracing::info!(
                source = self.feed.name(),
                messages = others.len(),
                "stopping: messages that are not stored go back to the queue"
            );
            // The long polls that the stop has cut may live on in the queue for a moment, and would take them at once.
            tokio::time::sleep(CUT_POLLS).await;
            self.feed.sqs.release(&others).await;
        }
        histogram!(telemetry::BATCH_SECONDS, "source" => self.source()).record(since.elapsed());
    }

    fn source(&self) -> String {
        self.feed.name().to_owned()
    }
}

fn bad_body(delivery: &Delivery, refusal: Refusal) -> Reject {
    Reject {
        scope: Scope::Body,
        refusal,
        payload: delivery.body.clone().into_bytes(),
        message_id: delivery.id.clone(),
        network_id: None,
        event_id: None,
        dispatch_timestamp: None,
    }
}
