//! From deliveries to stored events: what the loop of every source does in the same way. Each kind of source has its own
//! loop: [`queue`] receives, handles and acknowledges; [`requests`] takes what others push, handles and answers; [`objects`]
//! reads files and objects that an [`agenda`] lists; [`stream`] reads one of the shards that [`shards`] has taken for this daemon, as many as [`share`] says.
//!
//! A crash anywhere brings the messages back, and they change nothing. That sentence is the correctness argument: a message
//! is acknowledged only after the certain COMMIT of the last transaction that holds one of its events, and every event is
//! added once by its identity.

pub mod agenda;
mod aside;
pub mod backlog;
mod feed;
mod held;
mod hidden;
mod listing;
pub mod objects;
pub mod pulse;
pub mod queue;
pub mod requests;
mod shards;
mod share;
pub mod start;
pub mod stream;
mod trace;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio::task::block_in_place;

pub use self::feed::{Conduct, Feed, Shared};
use self::held::Held;
use crate::breaker::Permit;
use crate::formats::{Body, Reason, Refusal, Reject, Scope};
use crate::motion::Motion;
use crate::sources::Delivery;
use crate::store::Store;
use crate::store::batch::Batch;
use crate::telemetry;

/// A body up to this size is read by any worker at any time; memory for a larger one is asked for.
pub const SMALL_BODY_BYTES: usize = 4 << 20;

/// The daemon stops, and what is held cannot be stored before it does.
struct Stopped;

/// What reads bodies and stores their events, with its own connection to the database.
pub struct Worker {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    store: Store,
    batch: Batch,
    motion: Arc<Motion>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, feed: Arc<Feed>, store: Store) -> Worker {
        let batch = Batch::new(feed.settings.batch_events, feed.settings.batch_bytes);
        let motion = shared.motions.add(&feed.name);
        Worker {
            shared,
            feed,
            store,
            batch,
            motion,
        }
    }

    /// One more of the same feed, with a connection of its own.
    fn another(&self) -> Worker {
        let (shared, feed) = (Arc::clone(&self.shared), Arc::clone(&self.feed));
        Worker::new(shared, feed, self.store.another())
    }

    /// Waits until receiving is allowed: the store takes writes, and the input is not mostly bad. `None` when the source
    /// stops.
    async fn may_receive(&self) -> Option<()> {
        let stop = &self.feed.stop;
        self.motion.rest();
        loop {
            stop.run_until_cancelled(self.shared.gate.wait_open())
                .await?;
            let Permit::Wait(wait) = self.feed.permit() else {
                self.motion.step();
                return Some(());
            };
            if self.feed.until_empty {
                // It would not end today; the daemon says why.
                stop.cancel();
            }
            stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
        }
    }

    /// Reads the bodies that were not read yet into the batch, and writes it whenever it is full.
    async fn read(&mut self, held: &mut Held) -> Result<(), Stopped> {
        let mut bad = Vec::new();
        let _decode = held.trace.decode();
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
            self.motion.step();
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
        self.motion.rest();
        let memory = memory.await.ok_or(Stopped)?;
        self.motion.step();
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
        let max_bytes = max_bytes.min(self.feed.settings.max_body_bytes);
        let format = &self.feed.formats[delivery.format];
        match &delivery.place {
            Some(place) => format.open_piece(&delivery.body, max_bytes, place),
            None => format.open(&delivery.body, max_bytes),
        }
    }

    /// Moves the events of one body into the batch, or the body itself as a reject. Whether it was bad.
    async fn take_in(
        &mut self,
        opened: Result<Body, Refusal>,
        held: &mut Held,
    ) -> Result<bool, Stopped> {
        let at = held.read;
        let source = self.source();
        let name = Arc::clone(&self.feed.names[held.deliveries[at].format]);
        let bytes = held.deliveries[at].body.len() as u64;
        counter!(telemetry::BODY_BYTES, "source" => source.clone()).increment(bytes);
        let mut body = match opened {
            Ok(body) => body,
            Err(refusal) => {
                self.batch.file_under(&name);
                let reject = self.bad_body(&held.deliveries[at], refusal);
                self.batch.reject(reject);
                counter!(telemetry::BODIES, "source" => source, "outcome" => "quarantined")
                    .increment(1);
                return Ok(true);
            }
        };
        counter!(telemetry::JSON_BYTES, "source" => source.clone()).increment(body.len() as u64);
        counter!(telemetry::TRAILING_BYTES, "source" => source.clone())
            .increment(body.trailing_bytes() as u64);
        loop {
            let started = Instant::now();
            let id = &held.deliveries[at].id;
            self.batch.file_under(&name);
            let done = block_in_place(|| body.read_into(&mut self.batch, at, id));
            held.decoding += started.elapsed();
            if done {
                break;
            }
            self.flush(held).await?;
        }
        let outcome = if body.is_empty() { "empty" } else { "decoded" };
        counter!(telemetry::BODIES, "source" => source, "outcome" => outcome).increment(1);
        Ok(body.bad_events() * 2 > body.events())
    }

    fn bad_body(&self, delivery: &Delivery, refusal: Refusal) -> Reject {
        let counts_places = self.feed.formats[delivery.format].counts_places();
        let place = delivery.place.as_ref().filter(|_| counts_places);
        Reject {
            source: None,
            scope: Scope::Body,
            refusal,
            payload: delivery.body.clone(),
            message_id: delivery.id.clone(),
            network_id: None,
            event_id: None,
            dispatch_timestamp: None,
            spot: place.map(|place| place.whole.meet_bad(&delivery.body, place.number)),
        }
    }

    fn source(&self) -> String {
        self.feed.name.clone()
    }
}
