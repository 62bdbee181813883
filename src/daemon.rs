//! The daemon: one task per worker, the admin server, stop and drain.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::types::QueueAttributeName;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::backoff::Backoff;
use crate::breaker::Breaker;
use crate::config::{Config, PartitionBy};
use crate::gate::{Gate, Pause};
use crate::pipeline::{Feed, Shared, Worker};
use crate::sources::sqs::Sqs;
use crate::sources::sqs_error::SqsError;
use crate::store::fault::{Fault, Why};
use crate::store::migrate::{make_days_ahead, migrate};
use crate::store::{Settings, Store};

/// What the command line says about a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// End when the queues have stayed empty.
    pub until_empty: bool,
    /// Leave the database's version alone.
    pub no_migrate: bool,
    /// Go on however much of the input is bad.
    pub accept_bad: bool,
}

/// Before the time to stop is up, this much is left for giving messages back.
const RELEASE_TIME: Duration = Duration::from_secs(3);
/// How often the days ahead are looked after.
const DAYS_EVERY: Duration = Duration::from_secs(3600);
/// And after a failure.
const DAYS_AGAIN: Duration = Duration::from_secs(300);
/// How long that may take.
const DAYS_TIMEOUT: Duration = Duration::from_secs(600);

/// Runs until `signals` completes (once to stop, once more to let go at once) or, if so told, until the queues have stayed
/// empty.
///
/// # Errors
/// It cannot start or cannot go on.
pub async fn run<S, F>(
    config: Config,
    mode: Mode,
    metrics: PrometheusHandle,
    signals: S,
) -> anyhow::Result<()>
where
    S: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let settings = Settings::new(&config.database)?;
    let listener = TcpListener::bind(config.admin.listen)
        .await
        .with_context(|| format!("cannot listen on admin.listen = {}", config.admin.listen))?;
    let shared = Arc::new(Shared {
        stop: CancellationToken::new(),
        give_up: CancellationToken::new(),
        gate: Gate::default(),
        memory: Semaphore::new(config.memory_for_large_bodies()),
    });
    let admin = Arc::new(Admin {
        metrics,
        shared: Arc::clone(&shared),
        settings: settings.clone(),
        feeds: Mutex::default(),
        probe: tokio::sync::Mutex::default(),
    });
    let admin_stop = CancellationToken::new();
    let admin_server = tokio::spawn(admin::serve(
        listener,
        Arc::clone(&admin),
        admin_stop.clone(),
    ));
    let shutdown = Duration::from_secs(config.shutdown_secs);
    let watch = tokio::spawn(watch_signals(Arc::clone(&shared), shutdown, signals));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %config.admin.listen, sources = config.source.len(), "started");

    let outcome = work(&config, mode, settings, &shared, &admin).await;
    watch.abort();
    admin_stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(1), admin_server).await;
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    outcome
}

async fn work(
    config: &Config,
    mode: Mode,
    settings: Settings,
    shared: &Arc<Shared>,
    admin: &Arc<Admin>,
) -> anyhow::Result<()> {
    if !reach_database(&settings, mode, shared).await? {
        return Ok(());
    }
    let mut feeds = Vec::new();
    for (name, source) in &config.source {
        let feed = Feed {
            sqs: Arc::new(Sqs::new(name, source).await),
            settings: source.clone(),
            breaker: (!mode.accept_bad).then(|| Mutex::new(Breaker::default())),
            stop: shared.stop.child_token(),
            until_empty: mode.until_empty,
            trouble: Mutex::default(),
            total: Mutex::default(),
        };
        feed.announce();
        // Boxed: the SDK's futures are large.
        let asked = shared
            .stop
            .run_until_cancelled(Box::pin(expect_queue(&feed)));
        let Some(asked) = asked.await else {
            return Ok(());
        };
        asked?;
        feeds.push(Arc::new(feed));
    }
    if let Ok(mut known) = admin.feeds.lock() {
        known.clone_from(&feeds);
    }
    let mut workers = JoinSet::new();
    for feed in &feeds {
        for _ in 0..feed.settings.workers {
            let store = Store::new(settings.clone());
            workers.spawn(Worker::new(Arc::clone(shared), Arc::clone(feed), store).run());
        }
    }
    let days = tokio::spawn(keep_days_ahead(settings, mode));
    let outcome = join(workers, shared, Duration::from_secs(config.shutdown_secs)).await;
    days.abort();
    feeds.iter().for_each(|feed| feed.sum_up());
    outcome?;
    match feeds
        .iter()
        .find(|feed| feed.until_empty && feed.is_mostly_bad())
    {
        Some(feed) => anyhow::bail!(
            "source.{}: over half of the last 200 bodies were bad, so the rest stays in the queue; see hydrant quarantine \
             list; run --accept-bad goes on regardless",
            feed.name()
        ),
        None => Ok(()),
    }
}

/// Waits for the workers. One that panics ends the daemon: half of it must not go on alone.
async fn join(mut workers: JoinSet<()>, shared: &Shared, shutdown: Duration) -> anyhow::Result<()> {
    let all_done = async {
        while let Some(ended) = workers.join_next().await {
            ended
                .context("a worker panicked: this is a bug of hydrant; what it held comes again")?;
        }
        Ok(())
    };
    let too_late = async {
        shared.stop.cancelled().await;
        tokio::time::sleep(shutdown).await;
    };
    tokio::select! {
        outcome = all_done => outcome,
        () = too_late => anyhow::bail!("could not finish in shutdown_secs = {}; what was held comes again", shutdown.as_secs()),
    }
}

/// The first signal stops receiving; time or a second signal lets go of what is not stored.
async fn watch_signals<S, F>(shared: Arc<Shared>, shutdown: Duration, signals: S)
where
    S: Fn() -> F,
    F: Future<Output = ()>,
{
    signals().await;
    tracing::info!(
        seconds = shutdown.as_secs(),
        "stopping: finishing what is held"
    );
    shared.stop.cancel();
    tokio::select! {
        () = signals() => {}
        () = tokio::time::sleep(shutdown.saturating_sub(RELEASE_TIME)) => {}
    }
    shared.give_up.cancel();
}

/// Waits for a database that takes writes, and brings it to this version. False when the daemon is to stop first.
///
/// # Errors
/// The database refuses us: at start-up somebody has to mend that.
async fn reach_database(settings: &Settings, mode: Mode, shared: &Shared) -> anyhow::Result<bool> {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        let reached = async {
            if !mode.no_migrate {
                migrate(settings).await?;
            }
            Store::new(settings.clone()).connect().await
        };
        let Some(reached) = shared.stop.run_until_cancelled(reached).await else {
            return Ok(false);
        };
        match reached {
            Ok(()) => {
                shared.gate.open(None);
                return Ok(true);
            }
            Err(fault @ Fault::Down(Why::Misconfigured, _)) => return Err(fault.into()),
            Err(fault) => {
                let why = if let Fault::Down(why, _) = &fault {
                    *why
                } else {
                    Why::Unavailable
                };
                shared.gate.close(Pause::Store(why));
                let wait = backoff.wait();
                if backoff.failures().is_power_of_two() {
                    tracing::warn!(failures = backoff.failures(), error = %fault, "the database cannot be reached; waiting for it");
                }
                if shared
                    .stop
                    .run_until_cancelled(tokio::time::sleep(wait))
                    .await
                    .is_none()
                {
                    return Ok(false);
                }
            }
        }
    }
}

/// A queue that does not exist will not come by waiting; anything else may.
async fn expect_queue(feed: &Feed) -> anyhow::Result<()> {
    match feed.sqs.attributes(&[QueueAttributeName::QueueArn]).await {
        Ok(_) => Ok(()),
        Err(error @ SqsError::NoQueue(_)) => anyhow::bail!("source.{}: {error}", feed.name()),
        Err(error) => {
            tracing::warn!(source = feed.name(), %error, "the queue cannot be asked for its attributes");
            feed.set_trouble(Some(error.to_string()));
            Ok(())
        }
    }
}

/// Makes the partitions of the days to come. A failure is tried again soon, long before they are needed.
async fn keep_days_ahead(settings: Settings, mode: Mode) {
    if settings.partition_by == PartitionBy::None || mode.no_migrate {
        return;
    }
    loop {
        let made = tokio::time::timeout(DAYS_TIMEOUT, make_days_ahead(&settings)).await;
        let trouble = match made {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(_) => Some(format!("not done in {} s", DAYS_TIMEOUT.as_secs())),
        };
        if let Some(error) = &trouble {
            tracing::warn!(
                error,
                "the partitions of the days to come could not be made"
            );
        }
        let pause = if trouble.is_some() {
            DAYS_AGAIN
        } else {
            DAYS_EVERY
        };
        tokio::time::sleep(pause).await;
    }
}
