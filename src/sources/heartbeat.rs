//! Keeping messages invisible for as long as they are worked on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Delivery;
use super::sqs::Sqs;
use crate::telemetry;

/// From its first receive on, a message can be kept invisible for 12 hours in all.
const INVISIBLE_MAX: Duration = Duration::from_secs(12 * 3600 - 60);

/// Keeps messages invisible until it is stopped: extended again after each third of the visibility timeout.
#[derive(Debug)]
pub struct Heartbeat {
    stop: CancellationToken,
    held: Arc<Mutex<Vec<(String, Instant)>>>,
    task: AbortOnDropHandle<()>,
}

impl Heartbeat {
    pub fn start(sqs: Arc<Sqs>) -> Heartbeat {
        let stop = CancellationToken::new();
        let held = Arc::<Mutex<Vec<(String, Instant)>>>::default();
        let task = tokio::spawn(beat(sqs, Arc::clone(&held), stop.clone()));
        Heartbeat {
            stop,
            held,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Keeps these messages as well.
    pub fn hold(&self, deliveries: &[Delivery]) {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(deliveries.iter().map(|delivery| (delivery.id.clone(), now)));
    }

    /// Stops and waits for a call under way: it must not undo the release that follows.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

async fn beat(sqs: Arc<Sqs>, held: Arc<Mutex<Vec<(String, Instant)>>>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(sqs.visibility / 3);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let receipts: Vec<String> = {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = sqs.receipts();
            let extensible = held
                .iter()
                .filter(|(_, since)| since.elapsed() + sqs.visibility < INVISIBLE_MAX);
            extensible
                .filter_map(|(id, _)| newest.get(id).cloned())
                .collect()
        };
        let failed = sqs.change_visibility(&receipts, sqs.visibility).await;
        let extended = receipts.len() - failed;
        counter!(telemetry::VISIBILITY_EXTENSIONS, "source" => sqs.name().to_owned(), "outcome" => "extended").increment(extended as u64);
        counter!(telemetry::VISIBILITY_EXTENSIONS, "source" => sqs.name().to_owned(), "outcome" => "failed").increment(failed as u64);
        if failed > 0 {
            tracing::warn!(
                source = sqs.name(),
                messages = failed,
                "visibility could not be extended; the messages may come twice"
            );
        }
    }
}
