//! The loop of one shard: read, store, and save how far it was read in the same transaction. There is nothing to
//! acknowledge: who reads the shard next begins behind what is committed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::{Stopped, Worker};
use crate::backoff::Backoff;
use crate::sources::Delivery;
use crate::sources::kinesis::{Kinesis, Position, Read};
use crate::sources::kinesis_error::KinesisError;
use crate::store::positions::Checkpoint;
use crate::telemetry;

/// A shard gives five reads a second to all who read it.
const BETWEEN_READS: Duration = Duration::from_millis(200);
/// What reading and storing may take beyond the time between two reads.
const GRACE: Duration = Duration::from_secs(10);

/// Reads one shard for as long as this daemon has it.
pub struct ShardReader {
    pub worker: Worker,
    pub kinesis: Arc<Kinesis>,
    pub shard: String,
    pub position: Position,
    /// Who saves its position.
    pub owner: String,
    /// The shard is another's, or nobody's any more.
    pub lost: CancellationToken,
    pub progress: Arc<Progress>,
}

/// How far a reader is, for others to look at.
#[derive(Debug)]
pub struct Progress {
    behind_ms: AtomicU64,
    /// When the last read was answered; before the first, when the shard was taken.
    read_at: Mutex<Instant>,
    /// So many reads in a row gave nothing, and there was nothing more.
    pub empty_reads: AtomicU32,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            behind_ms: AtomicU64::new(0),
            read_at: Mutex::new(Instant::now()),
            empty_reads: AtomicU32::new(0),
        }
    }
}

impl Progress {
    /// How old the oldest record may be that is not read yet. Kinesis tells with each read; when there has been none for
    /// long, something may have come right behind the last one, and has waited since.
    pub fn age(&self, now: Instant, between_reads: Duration) -> Duration {
        let behind = Duration::from_millis(self.behind_ms.load(Ordering::Relaxed));
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = now.saturating_duration_since(read_at);
        match silent > between_reads + GRACE {
            true => behind + silent,
            false => behind,
        }
    }

    fn note(&self, behind: Duration) {
        let millis = u64::try_from(behind.as_millis()).unwrap_or(u64::MAX);
        self.behind_ms.store(millis, Ordering::Relaxed);
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl ShardReader {
    /// Reads until the daemon stops, the shard is lost, or it has ended. The shard, and whether it has ended.
    pub async fn run(mut self) -> (String, bool) {
        let is_ended = self.read_on().await;
        self.worker.store.close().await;
        (self.shard, is_ended)
    }

    async fn read_on(&mut self) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        let mut iterator = None;
        loop {
            let (lost, started) = (self.lost.clone(), Instant::now());
            let fetching = self.fetch(&mut iterator, &mut backoff);
            let Some(Some(read)) = lost.run_until_cancelled(fetching).await else {
                return false;
            };
            self.note(&read);
            iterator.clone_from(&read.next);
            let pause = if read.behind.is_zero() {
                Duration::from_millis(self.kinesis.settings.poll_interval_ms)
            } else {
                BETWEEN_READS
            };
            if self.store(read).await.is_err() {
                return false;
            }
            if iterator.is_none() {
                return true;
            }
            let stop = self.worker.feed.stop.clone();
            self.worker.motion.rest();
            let waiting = lost.run_until_cancelled(tokio::time::sleep_until(started + pause));
            stop.run_until_cancelled(waiting).await;
        }
    }

    /// The next records, perhaps none; `None` when the daemon stops. This wait may be cut: nothing is held yet.
    async fn fetch(
        &mut self,
        iterator: &mut Option<String>,
        backoff: &mut Backoff,
    ) -> Option<Read> {
        let feed = Arc::clone(&self.worker.feed);
        loop {
            self.worker.may_receive().await?;
            let polled = feed.stop.run_until_cancelled(self.poll(iterator)).await?;
            self.worker.motion.step();
            let error = match polled {
                Ok(read) => {
                    feed.note_receive(Some(&read.deliveries));
                    backoff.reset();
                    return Some(read);
                }
                Err(error) => error,
            };
            self.worker.motion.rest();
            match error {
                KinesisError::ExpiredIterator => {
                    *iterator = None;
                    let waiting = tokio::time::sleep(backoff.wait());
                    feed.stop.run_until_cancelled(waiting).await?;
                }
                KinesisError::Throttled { .. } => {
                    counter!(telemetry::THROTTLED_READS, "source" => feed.name.clone())
                        .increment(1);
                    let waiting = tokio::time::sleep(backoff.wait());
                    feed.stop.run_until_cancelled(waiting).await?;
                }
                KinesisError::Refused { ref detail, .. } if self.may_begin_anew(iterator) => {
                    counter!(telemetry::LOST_POSITIONS, "source" => feed.name.clone()).increment(1);
                    tracing::error!(
                        source = feed.name, shard = self.shard, position = %self.position, detail,
                        "Kinesis does not have the position of this shard any more: records may have expired unread; \
                         reading goes on at the oldest that there is"
                    );
                    self.position = Position::TrimHorizon;
                }
                error => {
                    feed.note_receive(None);
                    let error = format!("{error} (shard {})", self.shard);
                    feed.bear(backoff, &error).await?;
                }
            }
        }
    }

    /// Whether it is the saved sequence number that was refused.
    fn may_begin_anew(&self, iterator: &Option<String>) -> bool {
        iterator.is_none() && matches!(self.position, Position::After(_))
    }

    async fn poll(&self, iterator: &mut Option<String>) -> Result<Read, KinesisError> {
        // Boxed: the SDK's futures are large.
        if iterator.is_none() {
            let placing = self.kinesis.iterator(&self.shard, &self.position);
            *iterator = Box::pin(placing).await?;
        }
        match iterator {
            Some(iterator) => Box::pin(self.kinesis.read(&self.shard, iterator)).await,
            // Not even an iterator: the shard is closed, and nothing of it is left.
            None => Ok(Read {
                deliveries: Vec::new(),
                last: None,
                next: None,
                behind: Duration::ZERO,
            }),
        }
    }

    fn note(&self, read: &Read) {
        self.progress.note(read.behind);
        let at_tip = read.deliveries.is_empty() && read.behind.is_zero() && read.next.is_some();
        let empty_reads = match at_tip {
            true => self.progress.empty_reads.load(Ordering::Relaxed) + 1,
            false => 0,
        };
        self.progress
            .empty_reads
            .store(empty_reads, Ordering::Relaxed);
    }

    /// Stores what was read, and that it was.
    async fn store(&mut self, read: Read) -> Result<(), Stopped> {
        let is_ended = read.next.is_none();
        if read.deliveries.is_empty() && !is_ended {
            return Ok(());
        }
        if let Some(last) = read.last {
            self.position = Position::After(last);
        }
        let mut held = Held::new(&self.worker.feed);
        let outcome = self.handle(read.deliveries, is_ended, &mut held).await;
        if outcome.is_err() {
            self.worker.batch.clear();
        }
        let took = held.since.elapsed();
        histogram!(telemetry::BATCH_SECONDS, "source" => self.worker.source()).record(took);
        outcome
    }

    async fn handle(
        &mut self,
        deliveries: Vec<Delivery>,
        is_ended: bool,
        held: &mut Held,
    ) -> Result<(), Stopped> {
        deliveries.into_iter().for_each(|one| held.add(one));
        self.worker.read(held).await?;
        self.worker.batch.checkpoint = Some(Checkpoint {
            part: self.shard.clone(),
            position: self.position.to_string(),
            is_ended,
            owner: Some(self.owner.clone()),
        });
        self.worker.flush(held).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_gets_older() {
        let (progress, poll) = (Progress::default(), Duration::from_secs(1));
        let second = Duration::from_secs(1);
        let at = |seconds| Instant::now() + seconds * second;
        assert_eq!(progress.age(at(0), poll), Duration::ZERO);
        assert!(
            progress.age(at(60), poll) >= 60 * second,
            "never read since it was taken"
        );
        progress.note(5 * second);
        assert_eq!(progress.age(at(9), poll), 5 * second);
        let age = progress.age(at(60), poll);
        assert!((65 * second..70 * second).contains(&age), "{age:?}");
        progress.note(Duration::ZERO);
        assert_eq!(progress.age(at(9), poll), Duration::ZERO);
    }
}
