//! The loop of a worker: receive, handle, acknowledge.
//!
//! A crash anywhere brings the messages back, and they change nothing. That sentence is the correctness argument: a message
//! is deleted only after the certain COMMIT of the last transaction that holds one of its events, and every event is added
//! once by its identity.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::breaker::{Breaker, Permit};
use crate::clock;
use crate::config::Source;
use crate::formats::hasoffers::Body;
use crate::formats::{Reason, Refusal, Reject, Scope};
use crate::gate::{Gate, Pause};
use crate::sources::Delivery;
use crate::sources::sqs::{Heartbeat, Sqs, SqsError};
use crate::store::batch::{Batch, Role};
use crate::store::fault::{Fault, Why};
use crate::store::{Refused, Store, Tally, Written};
use crate::telemetry;

/// A body up to this size is read by any worker at any time; memory for a larger one is asked for.
pub const SMALL_BODY_BYTES: usize = 4 << 20;

/// What all workers of the daemon share.
#[derive(Debug)]
pub struct Shared {
    /// Receive no more.
    pub stop: CancellationToken,
    /// Time is up: let go of what is not stored.
    pub give_up: CancellationToken,
    pub gate: Gate,
    /// Bytes for bodies above [`SMALL_BODY_BYTES`].
    pub memory: Semaphore,
}

/// What the workers of one source share.
#[derive(Debug)]
pub struct Feed {
    pub sqs: Arc<Sqs>,
    pub settings: Source,
    /// None: bad input is accepted in any quantity.
    pub breaker: Option<Mutex<Breaker>>,
    /// Set where the feed ends when its queue has stayed empty: cancelled then.
    pub drained: Option<CancellationToken>,
    /// Why the last receive failed; None when it did not.
    pub trouble: Mutex<Option<String>>,
}

impl Feed {
    pub fn name(&self) -> &str {
        self.sqs.name()
    }

    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Whether nothing is received because most input was bad.
    pub fn is_mostly_bad(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| {
            breaker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_open()
        })
    }

    fn permit(&self) -> Permit {
        match &self.breaker {
            Some(breaker) => breaker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .permit(Instant::now()),
            None => Permit::Go,
        }
    }

    /// Takes note of bodies, true for a bad one.
    fn note(&self, bodies: &[bool]) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if breaker.note(bodies, Instant::now()) {
            tracing::error!(
                source = self.name(),
                "over half of the last 200 bodies were bad: nothing more is received; the format changed, or we are wrong. \
                 One receive a minute tries again; `run --accept-bad` goes on regardless"
            );
        }
        let open = if breaker.is_open() { 1.0 } else { 0.0 };
        gauge!(telemetry::PAUSED, "reason" => "mass_bad_input", "source" => self.name().to_owned())
            .set(open);
    }
}

/// The daemon stops, and what is held cannot be stored before it does.
struct Stopped;

/// One loop with its own connection to the database.
pub struct Worker {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    store: Store,
    batch: Batch,
}

/// The messages that a worker holds, in the order of their receive.
struct Held {
    deliveries: Vec<Delivery>,
    heartbeat: Heartbeat,
    /// All events of the first so many deliveries are in the batch or stored.
    read: usize,
    /// All events of the first so many deliveries are committed.
    stored: usize,
    since: Instant,
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
        let stop = self.shared.stop.clone();
        loop {
            stop.run_until_cancelled(self.shared.gate.wait_open())
                .await?;
            if let Permit::Wait(wait) = self.feed.permit() {
                stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
                continue;
            }
            match stop.run_until_cancelled(self.poll(true)).await? {
                Ok(deliveries) => {
                    backoff.reset();
                    return Some(deliveries);
                }
                Err(error) => {
                    let wait = backoff.next();
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
        let Some(drained) = &self.feed.drained else {
            return false;
        };
        *empty_polls = match self.feed.sqs.is_drained().await {
            Ok(Some(true)) => *empty_polls + 2,
            // Without the right to ask for its attributes an empty receive has to do.
            Ok(None) => *empty_polls + 1,
            Ok(Some(false)) | Err(_) => 0,
        };
        if *empty_polls >= 4 {
            drained.cancel();
        } else if self.feed.settings.wait_time_secs == 0 {
            self.shared
                .stop
                .run_until_cancelled(tokio::time::sleep(Duration::from_secs(1)))
                .await;
        }
        drained.is_cancelled()
    }

    /// Stores what came, and what comes right behind it, and acknowledges it.
    async fn work_on(&mut self, deliveries: Vec<Delivery>) {
        let mut held = Held {
            deliveries: Vec::new(),
            heartbeat: Heartbeat::start(Arc::clone(&self.feed.sqs)),
            read: 0,
            stored: 0,
            since: Instant::now(),
        };
        held.add(deliveries);
        let outcome = self.handle(&mut held).await;
        self.acknowledge(held, outcome).await;
        self.batch.clear();
    }

    async fn handle(&mut self, held: &mut Held) -> Result<(), Stopped> {
        let linger = Duration::from_millis(self.feed.settings.linger_ms);
        loop {
            let full_receive = held.deliveries.len() - held.read >= crate::sources::sqs::BATCH_MAX;
            self.read(held).await?;
            // A full receive of small messages: more wait, and a transaction is cheaper for many than for few.
            let room = !self.batch.is_empty()
                && !self.batch.is_full()
                && held.body_bytes() < self.feed.settings.batch_bytes;
            if !full_receive
                || !room
                || held.since.elapsed() >= linger
                || self.shared.stop.is_cancelled()
            {
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
            let at = held.read;
            let started = Instant::now();
            let opened = block_in_place(|| self.open(&held.deliveries[at], SMALL_BODY_BYTES));
            let is_bad = match opened {
                Err(refusal)
                    if refusal.reason == Reason::TooLarge
                        && self.feed.settings.max_body_bytes > SMALL_BODY_BYTES =>
                {
                    // What is in the batch is written first: then this worker holds nothing but its memory to come.
                    self.flush(held).await?;
                    let permits =
                        u32::try_from(self.feed.settings.max_body_bytes).unwrap_or(u32::MAX);
                    let shared = Arc::clone(&self.shared);
                    let memory = tokio::select! {
                        memory = shared.memory.acquire_many(permits) => memory,
                        () = shared.give_up.cancelled() => return Err(Stopped),
                    };
                    let opened = block_in_place(|| {
                        self.open(&held.deliveries[at], self.feed.settings.max_body_bytes)
                    });
                    let is_bad = self.take_in(opened, held).await?;
                    self.flush(held).await?;
                    drop(memory);
                    is_bad
                }
                opened => self.take_in(opened, held).await?,
            };
            bad.push(is_bad);
            held.read = at + 1;
            histogram!(telemetry::DECODE_SECONDS, "source" => self.source())
                .record(started.elapsed());
        }
        self.feed.note(&bad);
        Ok(())
    }

    fn open(&self, delivery: &Delivery, max_bytes: usize) -> Result<Body, Refusal> {
        Body::open(
            delivery.body.as_bytes(),
            max_bytes.min(self.feed.settings.max_body_bytes),
            self.feed.settings.network_id.as_deref(),
        )
    }

    /// Moves the events of one body into the batch, or the body itself as a reject. Whether it was bad.
    async fn take_in(
        &mut self,
        opened: Result<Body, Refusal>,
        held: &mut Held,
    ) -> Result<bool, Stopped> {
        let at = held.read;
        counter!(telemetry::BODY_BYTES, "source" => self.source())
            .increment(held.deliveries[at].body.len() as u64);
        let mut body = match opened {
            Ok(body) => body,
            Err(refusal) => {
                let delivery = &held.deliveries[at];
                counter!(telemetry::BODIES, "source" => self.source(), "outcome" => "quarantined")
                    .increment(1);
                self.batch.reject(Reject {
                    scope: Scope::Body,
                    refusal,
                    payload: delivery.body.clone().into_bytes(),
                    message_id: delivery.id.clone(),
                    network_id: None,
                    event_id: None,
                    dispatch_timestamp: None,
                });
                return Ok(true);
            }
        };
        counter!(telemetry::JSON_BYTES, "source" => self.source()).increment(body.len() as u64);
        counter!(telemetry::TRAILING_BYTES, "source" => self.source())
            .increment(body.trailing_bytes as u64);
        while !block_in_place(|| body.read_into(&mut self.batch, at, &held.deliveries[at].id)) {
            self.flush(held).await?;
        }
        let outcome = if body.is_empty() { "empty" } else { "decoded" };
        counter!(telemetry::BODIES, "source" => self.source(), "outcome" => outcome).increment(1);
        Ok(body.bad_events * 2 > body.events)
    }

    /// Writes the batch and empties it. However long the store is away: what is held stays invisible meanwhile.
    async fn flush(&mut self, held: &mut Held) -> Result<(), Stopped> {
        if !self.batch.is_empty() {
            let started = Instant::now();
            let written = self.write_until_stored().await?;
            if !written.refused.is_empty() {
                self.quarantine_refused(&written.refused, held).await?;
            }
            histogram!(telemetry::TRANSACTION_SECONDS, "source" => self.source())
                .record(started.elapsed());
            self.count(&written.tally);
            self.batch.clear();
        }
        held.stored = held.read;
        Ok(())
    }

    async fn write_until_stored(&mut self) -> Result<Written, Stopped> {
        let shared = Arc::clone(&self.shared);
        let source = self.source();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            let outcome = tokio::select! {
                outcome = self.store.write(&source, &self.batch) => outcome,
                () = shared.give_up.cancelled() => {
                    self.store.disconnect();
                    return Err(Stopped);
                }
            };
            let fault = match outcome {
                Ok(written) => {
                    if shared.gate.open() {
                        tracing::info!("the store takes writes again: receiving goes on");
                    }
                    return Ok(written);
                }
                Err(fault) => fault,
            };
            self.bear(fault, &mut backoff).await?;
        }
    }

    /// Waits as long as a fault of the store asks for.
    async fn bear(&mut self, fault: Fault, backoff: &mut Backoff) -> Result<(), Stopped> {
        let (label, pause) = match &fault {
            Fault::Race(_) | Fault::Contention(_) => ("contention", None),
            Fault::TooMuch(_) => ("too_much", None),
            Fault::Down(why, _) => (why.as_str(), Some(Pause::Store(*why))),
            Fault::MassRefusal(_) => ("mass_refusal", Some(Pause::MassRefusal)),
            // A row of our own that cannot be written, whatever the data.
            Fault::Data(_) => ("refused", Some(Pause::Store(Why::Unavailable))),
        };
        counter!(telemetry::STORE_FAULTS, "source" => self.source(), "fault" => label).increment(1);
        let wait = backoff.next();
        // A connection that went away while nobody used it is no outage: the first time a new one is tried at once.
        if backoff.failures() == 1 && pause == Some(Pause::Store(Why::Unavailable)) {
            return Ok(());
        }
        match pause {
            Some(pause) if self.shared.gate.close(pause) => {
                tracing::error!(source = self.feed.name(), reason = pause.as_str(), error = %fault, "the store cannot be written: receiving stops, what is held is kept and tried again");
            }
            _ if backoff.failures().is_power_of_two() => {
                tracing::warn!(source = self.feed.name(), failures = backoff.failures(), error = %fault, "a transaction failed and is done again");
            }
            _ => {}
        }
        let patience = if pause.is_some() {
            &self.shared.stop
        } else {
            &self.shared.give_up
        };
        patience
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .ok_or(Stopped)
    }

    /// Puts the events that only Postgres refuses into quarantine, with the bytes that they had in their bodies.
    async fn quarantine_refused(
        &mut self,
        refused: &[Refused],
        held: &Held,
    ) -> Result<(), Stopped> {
        let rejects: Vec<Reject> = refused
            .iter()
            .filter_map(|refused| self.reject_of(refused, held))
            .collect();
        self.batch.clear();
        for reject in rejects {
            self.batch.reject(reject);
        }
        self.write_until_stored().await.map(drop)
    }

    fn reject_of(&self, refused: &Refused, held: &Held) -> Option<Reject> {
        let fact = self.batch.facts().get(refused.fact)?;
        let delivery = held.deliveries.get(fact.origin.delivery)?;
        let body = self
            .open(delivery, self.feed.settings.max_body_bytes)
            .ok()?;
        Some(Reject {
            scope: Scope::Event,
            refusal: Refusal::new(
                Reason::RefusedByDatabase,
                format!("SQLSTATE {}", refused.sqlstate),
            ),
            payload: body.raw_event(fact.origin.event)?.as_bytes().to_vec(),
            message_id: delivery.id.clone(),
            network_id: Some(self.batch.network_id(fact).to_owned()),
            event_id: Some(self.batch.event_id(fact).to_owned()),
            dispatch_timestamp: body.dispatch_timestamp(),
        })
    }

    /// Counts what a committed batch came to, and says what is in quarantine.
    fn count(&self, tally: &Tally) {
        let quarantined = self
            .batch
            .rejects()
            .iter()
            .filter(|reject| reject.scope == Scope::Event)
            .count();
        for (outcome, count) in [
            ("stored", tally.stored),
            ("adjustment", tally.adjustments),
            ("duplicate", tally.duplicates),
            ("variant", tally.variants),
            ("quarantined", quarantined as u64),
        ] {
            counter!(telemetry::EVENTS, "source" => self.source(), "outcome" => outcome)
                .increment(count);
        }
        for reject in self.batch.rejects() {
            let (scope, reason) = (reject.scope.as_str(), reject.refusal.reason.as_str());
            counter!(telemetry::QUARANTINED, "source" => self.source(), "scope" => scope, "reason" => reason).increment(1);
            tracing::warn!(
                source = self.feed.name(), scope, reason, detail = %reject.refusal.detail, message_id = reject.message_id,
                network_id = reject.network_id, event_id = reject.event_id, "quarantined"
            );
        }
        if tally.variants > 0 {
            tracing::warn!(
                source = self.feed.name(),
                variants = tally.variants,
                "ids came with other contents; the losers are in event_variants"
            );
        }
        counter!(telemetry::MISFITS, "source" => self.source()).increment(self.batch.misfits);
        counter!(telemetry::REPAIRED, "source" => self.source()).increment(self.batch.repaired);
        histogram!(telemetry::BATCH_EVENTS, "source" => self.source())
            .record(self.batch.len() as f64);
        let newest = |adjustments: bool| {
            let facts = self
                .batch
                .facts()
                .iter()
                .filter(|fact| (fact.role == Role::Adjustment) == adjustments);
            facts.filter_map(|fact| fact.happened).max()
        };
        for (metric, happened) in [
            (telemetry::EVENT_LAG, newest(false)),
            (telemetry::ADJUSTMENT_LAG, newest(true)),
        ] {
            if let Some(happened) = happened {
                gauge!(metric, "source" => self.source())
                    .set((clock::unix_seconds().saturating_sub(happened)) as f64);
            }
        }
    }

    /// Deletes what is stored; gives back what is not.
    async fn acknowledge(&self, held: Held, outcome: Result<(), Stopped>) {
        gauge!(telemetry::MESSAGES_IN_FLIGHT).decrement(held.deliveries.len() as f64);
        gauge!(telemetry::BYTES_IN_FLIGHT).decrement(held.body_bytes() as f64);
        let Held {
            deliveries,
            heartbeat,
            stored,
            since,
            ..
        } = held;
        let ids: Vec<String> = deliveries.into_iter().map(|delivery| delivery.id).collect();
        let (done, undone) = ids.split_at(if outcome.is_ok() { ids.len() } else { stored });
        self.feed.sqs.delete(done).await;
        heartbeat.stop().await;
        if !undone.is_empty() {
            tracing::info!(
                source = self.feed.name(),
                messages = undone.len(),
                "stopping: messages that are not stored go back to the queue"
            );
            self.feed.sqs.release(undone).await;
        }
        histogram!(telemetry::BATCH_SECONDS, "source" => self.source()).record(since.elapsed());
    }

    fn source(&self) -> String {
        self.feed.name().to_owned()
    }
}

impl Held {
    /// Takes messages on. One that is held already has come again: its newest receipt handle is known by now, and its
    /// events need no second look.
    fn add(&mut self, deliveries: Vec<Delivery>) {
        let new: Vec<Delivery> = deliveries
            .into_iter()
            .filter(|d| !self.deliveries.iter().any(|held| held.id == d.id))
            .collect();
        gauge!(telemetry::MESSAGES_IN_FLIGHT).increment(new.len() as f64);
        gauge!(telemetry::BYTES_IN_FLIGHT)
            .increment(new.iter().map(|d| d.body.len()).sum::<usize>() as f64);
        self.heartbeat.hold(&new);
        self.deliveries.extend(new);
    }

    fn body_bytes(&self) -> usize {
        self.deliveries
            .iter()
            .map(|delivery| delivery.body.len())
            .sum()
    }
}
