//! What goes through the local SQS, and the daemon that takes it: a backlog first, then live traffic.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use tokio::time::MissedTickBehavior;

use super::daemon::{Counted, Daemon};
use super::figures::grouped;
use super::folder::Folder;
use super::progress::Progress;
use super::publication::Publication;
use super::report::{self, line};
use super::signals::Signals;
use super::{Database, Options};
use crate::clock;
use crate::stand_in::StandIn;
use crate::stand_in::client::{client, create_queue};

const QUEUE: &str = "hasoffers-firehose";
/// The daemon is given up when it deletes no message for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Live messages are published [`AT_A_TIME`] with this pause: 20 a second.
const PAUSE: Duration = Duration::from_millis(250);
const AT_A_TIME: usize = 5;

/// A queue, what was published to it, and the daemon that reads it.
pub struct Traffic {
    client: Client,
    queue_url: String,
    publication: Publication,
    daemon: Daemon,
    /// Ends with this.
    _sqs: StandIn,
}

impl Traffic {
    /// Publishes the backlog, and starts the daemon.
    ///
    /// # Errors
    /// The local SQS or the daemon does not start.
    pub async fn start(
        options: &Options,
        database: &Database,
        folder: &mut Folder,
    ) -> anyhow::Result<Traffic> {
        let sqs = StandIn::start()
            .await
            .context("cannot start the local SQS")?;
        let client = client(&sqs.endpoint);
        let queue_url = create_queue(&client, QUEUE).await?;
        line("SQS", &format!("a local stand-in, {queue_url}"), None);

        let started = Instant::now();
        let mut publication = Publication::new(options.seed);
        let messages = options.messages;
        let (publication, bodies) = tokio::task::spawn_blocking(move || {
            let bodies = publication.backlog(messages);
            (publication, bodies)
        })
        .await?;
        send(&client, &queue_url, &bodies).await?;
        let words = format!(
            "{} messages with {} events, in no order (seed {})",
            grouped(publication.messages),
            grouped(publication.expected.sum()),
            options.seed,
        );
        line("Published", &words, Some(started));

        let settings = (database.url.as_str(), database.settings.schema.as_str());
        let daemon = Daemon::start(folder, settings, &sqs.endpoint, &queue_url)?;
        line(
            "Daemon",
            &format!("hydrant run --config {}", daemon.config.display()),
            None,
        );
        Ok(Traffic {
            client,
            queue_url,
            publication,
            daemon,
            _sqs: sqs,
        })
    }

    /// Waits until the backlog has landed, and shows what became of it; whether it adds up.
    ///
    /// # Errors
    /// The daemon or the database gave up.
    pub async fn land(&mut self, database: &Database) -> anyhow::Result<bool> {
        let counted = self.drain().await?;
        report::show(&database.settings, &self.publication, &counted).await
    }

    /// Publishes as things happen, for so long or until a signal comes.
    ///
    /// # Errors
    /// The local SQS or the daemon gave up.
    pub async fn live(
        &mut self,
        time: Option<Duration>,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let (started, messages, events) = (
            Instant::now(),
            self.publication.messages,
            self.publication.expected.sum(),
        );
        let mut progress = Progress::new("Live", Duration::from_secs(5));
        let mut pace = tokio::time::interval(PAUSE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // What is sent is counted, so no signal cuts the sending.
        while time.is_none_or(|time| started.elapsed() < time) {
            tokio::select! {
                _ = pace.tick() => {}
                _ = signals.told() => break,
            }
            let bodies = self.publication.live(AT_A_TIME, clock::unix_seconds());
            send(&self.client, &self.queue_url, &bodies).await?;
            if let Some(counted) = self.daemon.counted().await? {
                let seconds = started.elapsed().as_secs();
                progress.tell(&so_far(
                    seconds,
                    self.publication.expected.sum() - events,
                    counted.events.sum().saturating_sub(events),
                    self.waiting().await? as u64,
                ));
            }
        }
        drop(progress);
        let words = format!(
            "{} messages with {} events",
            grouped(self.publication.messages - messages),
            grouped(self.publication.expected.sum() - events),
        );
        line("Live", &words, Some(started));
        Ok(())
    }

    /// Waits until everything has landed, and shows what it came to; whether it adds up.
    ///
    /// # Errors
    /// The daemon or the database gave up.
    pub async fn close(&mut self, database: &Database) -> anyhow::Result<bool> {
        let counted = self.drain().await?;
        report::close(&database.settings, &self.publication, &counted).await
    }

    /// The address of the daemon's admin server.
    pub fn address(&self) -> String {
        self.daemon.address()
    }

    /// Stops the daemon as an operator does.
    ///
    /// # Errors
    /// It did not end, or not with status 0.
    pub async fn stop(self, folder: &mut Folder) -> anyhow::Result<()> {
        self.daemon.stop(folder).await?;
        line("Stopped", "with SIGTERM, exit status 0", None);
        Ok(())
    }

    /// Waits until every message is deleted: then everything is committed and counted.
    async fn drain(&mut self) -> anyhow::Result<Counted> {
        let started = Instant::now();
        let mut progress = Progress::new("", Duration::from_secs(1));
        let (mut before, mut moved) = (usize::MAX, Instant::now());
        let counted = loop {
            let waiting = self.waiting().await?;
            let counted = self.daemon.counted().await?;
            if let (0, Some(counted)) = (waiting, counted) {
                break counted;
            }
            if waiting != before {
                (before, moved) = (waiting, Instant::now());
            } else if moved.elapsed() > PATIENCE {
                bail!(
                    "the daemon deleted no message in {} s:\n{}",
                    PATIENCE.as_secs(),
                    self.daemon.last_lines()
                );
            }
            if let Some(counted) = counted {
                let (done, all) = (counted.events.sum(), self.publication.expected.sum());
                progress.tell(&format!("{} of {} events", grouped(done), grouped(all)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        drop(progress);
        let words = format!(
            "{} events; the queue is empty",
            grouped(counted.events.sum())
        );
        line("Landed", &words, Some(started));
        Ok(counted)
    }

    /// Messages that are not deleted yet.
    async fn waiting(&self) -> anyhow::Result<usize> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .context("cannot ask the local SQS for its messages")?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| {
            attributes
                .get(name)
                .and_then(|count: &String| count.parse::<usize>().ok())
        };
        names
            .iter()
            .map(count)
            .sum::<Option<usize>>()
            .context("the local SQS does not say how many messages it has")
    }
}

/// How far live traffic is. With what stands before it, it fits on a terminal of 80 columns.
fn so_far(seconds: u64, published: u64, landed: u64, waiting: u64) -> String {
    format!(
        "{:02}:{:02}  {} events sent, {} landed, {} wait",
        seconds / 60,
        seconds % 60,
        grouped(published),
        grouped(landed),
        grouped(waiting),
    )
}

async fn send(client: &Client, queue_url: &str, bodies: &[String]) -> anyhow::Result<()> {
    for batch in bodies.chunks(10) {
        let mut request = client.send_message_batch().queue_url(queue_url);
        for (at, body) in batch.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .message_body(body)
                .build()?;
            request = request.entries(entry);
        }
        let sent = request
            .send()
            .await
            .context("cannot send to the local SQS")?;
        if !sent.failed().is_empty() {
            bail!("the local SQS refused {} messages", sent.failed().len());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_fits_in_80_columns() {
        let line = format!(
            "  {:<12}{}",
            "Live",
            so_far(86_400, 8_640_000, 8_640_000, 99_999)
        );
        assert!(line.len() < 80, "{}: {line}", line.len());
    }
}
