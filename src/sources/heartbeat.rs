//! Keeping messages invisible for as long as they are worked on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Delivery;
use super::sqs::{Sqs, Unchanged};
use crate::telemetry;

/// From its first receive on, a message can be kept invisible for 12 hours in all.
const INVISIBLE_MAX: Duration = Duration::from_secs(12 * 3600 - 60);

/// Keeps messages invisible until it is stopped: extended again after each third of the visibility timeout.
#[derive(Debug)]
pub struct Heartbeat {
    sqs: Arc<Sqs>,
    stop: CancellationToken,
    kept: Arc<Mutex<Kept>>,
    task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Kept {
    /// By id, and since when.
    messages: Vec<(String, Instant)>,
    /// For how long each extension hides them.
    timeout: Duration,
}

impl Heartbeat {
    pub fn start(sqs: Arc<Sqs>) -> Heartbeat {
        let stop = CancellationToken::new();
        let kept = Arc::new(Mutex::new(Kept {
            messages: Vec::new(),
            timeout: sqs.visibility,
        }));
        let task = tokio::spawn(beat(Arc::clone(&sqs), Arc::clone(&kept), stop.clone()));
        Heartbeat {
            sqs,
            stop,
            kept,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Keeps this message as well.
    pub fn hold(&self, delivery: &Delivery) {
        let message = (delivery.id.clone(), Instant::now());
        lock(&self.kept).messages.push(message);
    }

    /// Hides its messages for twice the visibility timeout, at once and with each extension.
    pub async fn hide_longer(&self) {
        lock(&self.kept).timeout = 2 * self.sqs.visibility;
        extend(&self.sqs, &self.kept).await;
    }

    /// Stops and waits for a call under way: it must not undo the release that follows.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(ended) = self.task.await
            && ended.is_panic()
        {
            std::panic::resume_unwind(ended.into_panic());
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn beat(sqs: Arc<Sqs>, kept: Arc<Mutex<Kept>>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(sqs.visibility / 3);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        extend(&sqs, &kept).await;
    }
}

async fn extend(sqs: &Sqs, kept: &Mutex<Kept>) {
    let (receipts, timeout) = {
        let kept = lock(kept);
        let newest = sqs.receipts();
        let longest = |since: &Instant| INVISIBLE_MAX.saturating_sub(since.elapsed());
        let extensible = kept
            .messages
            .iter()
            .filter(|(_, since)| longest(since) > sqs.visibility);
        let (mut receipts, mut timeout) = (Vec::new(), kept.timeout);
        for (id, since) in extensible {
            if let Some(receipt) = newest.get(id) {
                receipts.push(receipt.clone());
                timeout = timeout.min(longest(since));
            }
        }
        (receipts, timeout)
    };
    let Unchanged {
        messages: failed,
        why,
    } = sqs.change_visibility(&receipts, timeout).await;
    let extended = receipts.len() - failed;
    counter!(telemetry::VISIBILITY_EXTENSIONS, "source" => sqs.name().to_owned(), "outcome" => "extended").increment(extended as u64);
    counter!(telemetry::VISIBILITY_EXTENSIONS, "source" => sqs.name().to_owned(), "outcome" => "failed").increment(failed as u64);
    if failed > 0 {
        tracing::warn!(
            source = sqs.name(),
            messages = failed,
            error = why,
            "visibility could not be extended; the messages may come twice"
        );
    }
}
