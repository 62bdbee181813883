//! Starting the loops of a source, of whatever kind it is.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use tokio::task::JoinSet;

use super::agenda::{Agenda, Place, Rhythm};
use super::backlog::watch_queue;
use super::objects::ObjectWorker;
use super::queue::QueueWorker;
use super::requests::RequestWorker;
use super::shards::Shards;
use super::{Conduct, Feed, Shared, Worker};
use crate::config::{Source, SourceKind, Watch};
use crate::sources::file::Files;
use crate::sources::http::Inbox;
use crate::sources::http::door::Door;
use crate::sources::http::listener::{self, Listener};
use crate::sources::kinesis::Kinesis;
use crate::sources::kinesis_error::KinesisError;
use crate::sources::s3::Bucket;
use crate::sources::sqs::Sqs;
use crate::sources::sqs_error::SqsError;
use crate::store::Store;

/// A source whose loops can start.
pub struct Prepared {
    pub feed: Arc<Feed>,
    client: Client,
}

/// What reaches the source.
enum Client {
    Sqs(Arc<Sqs>),
    Objects(Arc<Agenda>),
    Kinesis(Arc<Kinesis>),
    Http(Box<Listener>, Arc<Inbox>),
}

impl Prepared {
    /// # Errors
    /// The source cannot be there: somebody has to mend the settings.
    pub async fn new(
        name: &str,
        source: &Source,
        conduct: Conduct,
        shared: &Arc<Shared>,
    ) -> anyhow::Result<Prepared> {
        let feed = Arc::new(Feed::new(name, source.clone(), conduct, shared));
        feed.announce();
        let client = match &source.kind {
            SourceKind::Sqs { queue, .. } => {
                let sqs = Sqs::new(name, queue).await;
                expect_queue(&feed, &sqs).await?;
                Client::Sqs(Arc::new(sqs))
            }
            SourceKind::File { folder, .. } => {
                let files = Files::Folder(folder.path.clone());
                Client::objects(Place::Files(files), folder.watch)
            }
            SourceKind::S3 { bucket, .. } => {
                let client = Bucket::new(bucket).await;
                Client::objects(Place::Bucket(client), bucket.watch)
            }
            SourceKind::Kinesis { stream, .. } => {
                let kinesis = Kinesis::new(stream).await;
                expect_stream(&feed, &kinesis).await?;
                Client::Kinesis(Arc::new(kinesis))
            }
            SourceKind::Http(settings) => {
                let bound = listener::bind(name, settings).await?;
                let (door, requests) = Door::new(shared, &feed, settings);
                let listener = Listener::new(bound, door, settings);
                Client::Http(Box::new(listener), Arc::new(Inbox::new(requests)))
            }
        };
        Ok(Prepared { feed, client })
    }

    /// Starts its loops, each with a store of its own.
    pub fn start(self, shared: &Arc<Shared>, store: impl Fn() -> Store, loops: &mut JoinSet<()>) {
        let worker = || Worker::new(Arc::clone(shared), Arc::clone(&self.feed), store());
        match self.client {
            Client::Sqs(sqs) => {
                for _ in 0..self.feed.settings.workers {
                    loops.spawn(QueueWorker::new(worker(), Arc::clone(&sqs)).run());
                }
                loops.spawn(watch_queue(Arc::clone(&self.feed), sqs));
            }
            Client::Objects(agenda) => {
                for _ in 0..self.feed.settings.workers {
                    loops.spawn(ObjectWorker::new(worker(), Arc::clone(&agenda)).run());
                }
            }
            Client::Kinesis(kinesis) => {
                loops.spawn(Shards::new(worker(), kinesis).run());
            }
            Client::Http(listener, inbox) => {
                for _ in 0..self.feed.settings.workers {
                    loops.spawn(RequestWorker::new(worker(), &inbox).run());
                }
                loops.spawn(listener.run());
            }
        }
    }
}

impl Client {
    fn objects(place: Place, watch: Watch) -> Client {
        let rhythm = Rhythm {
            poll: Some(Duration::from_secs(watch.poll_secs)),
            settle: Duration::from_secs(watch.settle_secs),
            is_again: false,
        };
        Client::Objects(Arc::new(Agenda::new(place, rhythm)))
    }
}

/// A queue that does not exist will not come by waiting; anything else may.
async fn expect_queue(feed: &Feed, sqs: &Sqs) -> anyhow::Result<()> {
    match sqs.attributes(&[QueueAttributeName::QueueArn]).await {
        Ok(_) => Ok(()),
        Err(error @ SqsError::NoQueue(_)) => anyhow::bail!("source.{}: {error}", feed.name),
        Err(error) => {
            tracing::warn!(source = feed.name, %error, "the queue cannot be asked for its attributes");
            feed.set_trouble(Some(error.to_string()));
            Ok(())
        }
    }
}

/// As [`expect_queue`], for a stream.
async fn expect_stream(feed: &Feed, kinesis: &Kinesis) -> anyhow::Result<()> {
    match kinesis.shards().await {
        Ok(_) => Ok(()),
        Err(error @ KinesisError::NoStream(_)) => anyhow::bail!("source.{}: {error}", feed.name),
        Err(error) => {
            tracing::warn!(source = feed.name, %error, "the stream cannot be asked for its shards");
            feed.set_trouble(Some(error.to_string()));
            Ok(())
        }
    }
}
