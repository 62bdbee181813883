//! The loop of a writer of requests: take what is there, store it in one transaction, answer.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Worker;
use super::held::Held;
use crate::sources::http::{Inbox, Request};
use crate::telemetry;

/// One of the writers of a listener.
pub struct RequestWorker {
    worker: Worker,
    inbox: Arc<Inbox>,
}

impl RequestWorker {
    pub fn new(worker: Worker, inbox: &Arc<Inbox>) -> RequestWorker {
        RequestWorker {
            worker,
            inbox: Arc::clone(inbox),
        }
    }

    /// Works until the daemon stops and nothing is left to be answered.
    pub async fn run(mut self) {
        while let Some(requests) = self.take().await {
            self.store(requests).await;
        }
        self.worker.store.close().await;
    }

    /// The next requests, to share a transaction; `None` when the daemon stops and none is left.
    async fn take(&self) -> Option<Vec<Request>> {
        let (feed, shared) = (&self.worker.feed, &self.worker.shared);
        self.worker.motion.rest();
        // Who cannot write takes nothing away from those who may soon.
        feed.stop.run_until_cancelled(shared.gate.wait_open()).await;
        let mut inbox = self.inbox.lock().await;
        let first = match feed.stop.run_until_cancelled(inbox.recv()).await {
            Some(first) => first?,
            None => inbox.try_recv().ok()?,
        };
        self.worker.motion.step();
        Some(self.join(first, &mut inbox).await)
    }

    /// Adds to the first request what comes right behind it. The others have the inbox meanwhile no more than us: what
    /// they are busy with is stored at the same time.
    async fn join(&self, first: Request, inbox: &mut mpsc::Receiver<Request>) -> Vec<Request> {
        let settings = &self.worker.feed.settings;
        let until = Instant::now() + Duration::from_millis(settings.linger_ms);
        let mut bytes = first.delivery.body.len();
        let mut requests = vec![first];
        while requests.len() < settings.batch_events && bytes < settings.batch_bytes {
            let Ok(Some(next)) = timeout_at(until, inbox.recv()).await else {
                break;
            };
            bytes += next.delivery.body.len();
            requests.push(next);
        }
        requests
    }

    /// Stores requests, and answers each. Where the daemon stops before all are stored, only those that are hear so.
    async fn store(&mut self, requests: Vec<Request>) {
        self.worker.feed.clocks.received();
        counter!(telemetry::MESSAGES_RECEIVED, "source" => self.worker.source())
            .increment(requests.len() as u64);
        let (mut held, mut senders) = (
            Held::new(&self.worker.feed),
            Vec::with_capacity(requests.len()),
        );
        for request in requests {
            held.add(request.delivery);
            senders.push((request.answer, request.room));
        }
        let outcome = match self.worker.read(&mut held).await {
            Ok(()) => self.worker.flush(&mut held).await,
            stopped => stopped,
        };
        if outcome.is_err() {
            self.worker.batch.clear();
        }
        let took = held.since.elapsed();
        histogram!(telemetry::BATCH_SECONDS, "source" => self.worker.source()).record(took);
        for (at, (answer, _room)) in senders.into_iter().enumerate() {
            // A sender that has gone away hears nothing, and its events are stored all the same.
            let _ = answer.send(at < held.stored);
        }
    }
}
