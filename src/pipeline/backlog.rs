//! What waits at a source to be received: what a queue says when it is asked, what the last listing found.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};

use super::Feed;
use crate::sources::sqs::Sqs;
use crate::sources::sqs_error::SqsError;
use crate::telemetry;

/// Between two questions to a queue, where somebody asks.
const REST: Duration = Duration::from_secs(10);
/// And where nobody does: alerts look at the metrics.
const UNASKED: Duration = Duration::from_secs(60);

/// How much waits; what is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Messages, files or objects.
    pub waiting: Option<u64>,
    /// Messages in the dead-letter queue.
    pub dead_letters: Option<u64>,
    /// Shards that this daemon reads.
    pub shards: Option<u64>,
    /// Why a queue does not tell.
    pub problem: Option<String>,
}

/// Asks a queue now and then, until its source stops.
pub(super) async fn watch_queue(feed: Arc<Feed>, sqs: Arc<Sqs>) {
    for outcome in ["extended", "failed"] {
        let labels = [
            ("source", feed.name.clone()),
            ("outcome", outcome.to_owned()),
        ];
        counter!(telemetry::VISIBILITY_EXTENSIONS, &labels).increment(0);
    }
    let stop = feed.stop.clone();
    let watching = async {
        loop {
            let _ = tokio::time::timeout(UNASKED, feed.backlog.asked()).await;
            // Boxed: the SDK's futures are large.
            let backlog = Box::pin(ask(&feed.name, &sqs)).await;
            feed.backlog.tell(backlog);
            tokio::time::sleep(REST).await;
        }
    };
    stop.run_until_cancelled(watching).await;
}

/// Asks a queue, and shows what it says.
async fn ask(source: &str, sqs: &Sqs) -> Backlog {
    let label = || ("source", source.to_owned());
    let depth = sqs.depth().await;
    count_look(source, "main", depth.as_ref().err());
    let depth = match depth {
        Ok(depth) => depth,
        Err(error) => {
            return Backlog {
                problem: Some(error.to_string()),
                ..Backlog::default()
            };
        }
    };
    gauge!(telemetry::QUEUE_MESSAGES, &[label()]).set(depth.waiting as f64);
    gauge!(telemetry::QUEUE_IN_FLIGHT, &[label()]).set(depth.in_flight as f64);
    if let Some(retention) = depth.retention {
        gauge!(telemetry::QUEUE_RETENTION, &[label()]).set(retention as f64);
    }
    if let Some(dead) = &depth.dead_letters {
        count_look(source, "dead_letter", dead.as_ref().err());
    }
    let dead_letters = depth.dead_letters.and_then(Result::ok);
    if let Some(dead) = dead_letters {
        gauge!(telemetry::DEAD_LETTERS, &[label()]).set(dead as f64);
    }
    Backlog {
        waiting: Some(depth.waiting),
        dead_letters,
        ..Backlog::default()
    }
}

fn count_look(source: &str, queue: &'static str, error: Option<&SqsError>) {
    let outcome = match error {
        None => "answered",
        Some(SqsError::Denied { .. }) => "denied",
        Some(_) => "error",
    };
    counter!(telemetry::QUEUE_LOOKS, "source" => source.to_owned(), "queue" => queue, "outcome" => outcome)
        .increment(1);
}
