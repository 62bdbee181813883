//! The loop of a queue's worker: receive, handle, acknowledge.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use metrics::{counter, histogram};

use super::hidden::Hidden;
use super::{Stopped, Worker};
use crate::backoff::Backoff;
use crate::sources::Delivery;
use crate::sources::sqs::{BATCH_MAX, Sqs};
use crate::sources::sqs_error::SqsError;
use crate::telemetry;

/// How long messages wait before they are given back when the daemon stops.
const CUT_POLLS: Duration = Duration::from_secs(1);

/// One of the workers of a queue.
pub struct QueueWorker {
    worker: Worker,
    sqs: Arc<Sqs>,
}

impl QueueWorker {
    pub fn new(worker: Worker, sqs: Arc<Sqs>) -> QueueWorker {
        QueueWorker { worker, sqs }
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
        self.worker.store.close().await;
    }

    /// The next messages, perhaps none; `None` when the daemon stops. The stop may cut this wait: nothing is held yet.
    async fn receive(&mut self, backoff: &mut Backoff) -> Option<Vec<Delivery>> {
        let feed = Arc::clone(&self.worker.feed);
        loop {
            self.worker.may_receive().await?;
            match feed.stop.run_until_cancelled(self.poll(true)).await? {
                Ok(deliveries) => {
                    backoff.reset();
                    return Some(deliveries);
                }
                Err(error) => {
                    self.worker.motion.rest();
                    feed.bear(backoff, &error).await?;
                }
            }
        }
    }

    async fn poll(&self, long: bool) -> Result<Vec<Delivery>, SqsError> {
        let feed = &self.worker.feed;
        let received = self.sqs.receive(long).await.map(|received| {
            // An empty answer that did not wait says little: SQS asks only some of its servers.
            if long || received.oldest.is_some() {
                feed.note_oldest(received.oldest);
            }
            received.deliveries
        });
        self.worker.motion.step();
        feed.note_receive(received.as_deref().ok());
        received
    }

    /// Whether an empty receive was the last one: twice nothing came, and nothing is in flight elsewhere.
    async fn stayed_empty(&self, empty_polls: &mut u32) -> bool {
        let feed = &self.worker.feed;
        if !feed.until_empty {
            return false;
        }
        *empty_polls = match self.sqs.is_drained().await {
            Ok(Some(true)) => *empty_polls + 2,
            // Without the right to ask for its attributes an empty receive has to do.
            Ok(None) => *empty_polls + 1,
            Ok(Some(false)) | Err(_) => 0,
        };
        if *empty_polls >= 4 {
            feed.stop.cancel();
        } else if self.sqs.polls_at_once() {
            feed.stop
                .run_until_cancelled(tokio::time::sleep(Duration::from_secs(1)))
                .await;
        }
        feed.stop.is_cancelled()
    }

    /// Stores what came, and what comes right behind it, and acknowledges it.
    ///
    /// A message that ends the process takes those along that are read with it, and in the end they would all be in the
    /// dead-letter queue. So one that came too often is handled alone, after the others are deleted, and for the time that
    /// takes it is hidden for longer than those that wait behind it.
    async fn work_on(&mut self, deliveries: Vec<Delivery>) {
        let mut first = Hidden::new(&self.worker.feed, &self.sqs);
        first.add(deliveries);
        let (mut waiting, mut undone) = (vec![first], Vec::new());
        while let Some(mut hidden) = waiting.pop() {
            if let Some(suspect) = hidden.suspect() {
                counter!(telemetry::SUSPECTS, "source" => self.worker.source()).increment(1);
                tracing::warn!(
                    source = self.worker.feed.name,
                    message_id = suspect.id,
                    attempt = suspect.attempt,
                    "a message that came too often is handled alone"
                );
                hidden.set_apart().await;
            }
            let outcome = self.handle(&mut hidden).await;
            waiting.append(&mut hidden.suspects);
            match outcome {
                Ok(()) => self.acknowledge(hidden).await,
                Err(Stopped) => {
                    self.worker.batch.clear();
                    undone.push(hidden);
                }
            }
        }
        join_all(undone.into_iter().map(|hidden| self.acknowledge(hidden))).await;
    }

    async fn handle(&mut self, hidden: &mut Hidden) -> Result<(), Stopped> {
        self.worker.motion.step();
        let settings = &self.worker.feed.settings;
        let (linger, batch_bytes) = (
            Duration::from_millis(settings.linger_ms),
            settings.batch_bytes,
        );
        loop {
            let held = &mut hidden.held;
            let full_receive = held.deliveries.len() - held.read >= BATCH_MAX;
            self.worker.read(held).await?;
            // A full receive of small messages: more wait, and a transaction is cheaper for many than for few.
            let batch = &self.worker.batch;
            let room = !batch.is_empty() && !batch.is_full() && held.body_bytes() < batch_bytes;
            let late = held.since.elapsed() >= linger || self.worker.feed.stop.is_cancelled();
            // Whatever forbids to receive forbids to receive more.
            let paused =
                self.worker.shared.gate.pause().is_some() || self.worker.feed.is_mostly_bad();
            if !full_receive || !room || late || paused {
                break;
            }
            match self.poll(false).await {
                Ok(more) if !more.is_empty() => hidden.add(more),
                Ok(_) | Err(_) => break,
            }
        }
        self.worker.flush(&mut hidden.held).await
    }

    /// Deletes what is stored; gives back what is not.
    async fn acknowledge(&self, hidden: Hidden) {
        let held = hidden.into_held().await;
        let (stored, others) = held.ids();
        // Each call has a time limit of its own; how many there are depends on the batch.
        self.worker.motion.rest();
        let delete = held.trace.delete(stored.len());
        self.sqs.delete(&stored).await;
        drop(delete);
        if !others.is_empty() {
            tracing::info!(
                source = self.worker.feed.name,
                messages = others.len(),
                "stopping: messages that are not stored go back to the queue"
            );
            // The long polls that the stop has cut may live on in the queue for a moment, and would take them at once.
            tokio::time::sleep(CUT_POLLS).await;
            self.sqs.release(&others).await;
        }
        let took = held.since.elapsed();
        histogram!(telemetry::BATCH_SECONDS, "source" => self.worker.source()).record(took);
    }
}
