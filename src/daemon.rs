//! The daemon: one task per worker, the admin server, stop and drain.

mod retention;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::backoff::Backoff;
use crate::config::{Config, PartitionBy, SourceKind};
use crate::gate::{Gate, Pause};
use crate::motion::Motions;
use crate::pipeline::start::Prepared;
use crate::pipeline::{Conduct, Feed, Shared};
use crate::store::fault::{Fault, Why};
use crate::store::inspect::Inspection;
use crate::store::migrate::{make_days_ahead, migrate};
use crate::store::rollup::merge::keep_merging;
use crate::store::{Claims, Settings, Store};
use crate::{supervisor, telemetry};

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
        motions: Motions::default(),
    });
    let admin = Arc::new(Admin::new(metrics, Arc::clone(&shared), settings.clone()));
    let admin_stop = CancellationToken::new();
    let mut helpers = JoinSet::new();
    let serve = admin::serve(listener, Arc::clone(&admin), admin_stop.clone());
    let admin_server = helpers.spawn(async {
        if let Err(error) = serve.await {
            tracing::error!(%error, "the admin server ended: nobody can see how the daemon is");
        }
    });
    helpers.spawn(supervisor::report(Arc::clone(&shared), Arc::clone(&admin)));
    let shutdown = Duration::from_secs(config.shutdown_secs);
    helpers.spawn(watch_signals(Arc::clone(&shared), shutdown, signals));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %config.admin.listen, sources = config.source.len(), "started");

    let outcome = work(&config, mode, settings, &shared, &admin, &mut helpers).await;
    admin_stop.cancel();
    let served =
        async { while !admin_server.is_finished() && helpers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), served).await;
    helpers.abort_all();
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
    helpers: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    if !reach_database(&settings, mode, shared).await? {
        return Ok(());
    }
    let conduct = Conduct {
        until_empty: mode.until_empty,
        accept_bad: mode.accept_bad,
    };
    let mut sources = Vec::new();
    for (name, source) in &config.source {
        // Boxed: the SDK's futures are large.
        let preparing = Box::pin(Prepared::new(name, source, conduct, shared));
        let Some(prepared) = shared.stop.run_until_cancelled(preparing).await else {
            return Ok(());
        };
        sources.push(prepared?);
    }
    let feeds: Vec<Arc<Feed>> = sources.iter().map(|one| Arc::clone(&one.feed)).collect();
    admin.watch(&feeds);
    let mut workers = JoinSet::new();
    let claims = Arc::new(Claims::default());
    let store = || Store::beside(settings.clone(), Arc::clone(&claims));
    for source in sources {
        source.start(shared, store, &mut workers);
    }
    supervisor::ready();
    let by_the_way = [
        helpers.spawn(retention::keep(settings.clone(), config.retention.clone())),
        helpers.spawn(keep_merging(settings.clone())),
        helpers.spawn(keep_days_ahead(settings, mode)),
    ];
    let shutdown = Duration::from_secs(config.shutdown_secs);
    let outcome = join(workers, helpers, shared, shutdown).await;
    by_the_way.iter().for_each(AbortHandle::abort);
    feeds.iter().for_each(|feed| feed.sum_up());
    outcome?;
    if mode.until_empty && !shared.stop.is_cancelled() {
        expect_all_read(&feeds)?;
    }
    match feeds
        .iter()
        .find(|feed| feed.until_empty && feed.is_mostly_bad())
    {
        Some(feed) => anyhow::bail!(
            "source.{}: over half of the last 200 bodies were bad, so the rest stays in the queue; see hydrant quarantine \
             list; run --accept-bad goes on regardless",
            feed.name
        ),
        None => Ok(()),
    }
}

/// A run that ends by itself leaves files and objects aside that it cannot read: their trouble stays to the end, and nobody
/// would know of it from a status of 0. Messages need none of that, for a queue is not empty before they are deleted.
fn expect_all_read(feeds: &[Arc<Feed>]) -> anyhow::Result<()> {
    for feed in feeds {
        let has_objects = matches!(
            feed.settings.kind,
            SourceKind::File { .. } | SourceKind::S3 { .. }
        );
        if let Some(trouble) = feed.trouble().filter(|_| has_objects) {
            anyhow::bail!("source.{}: {trouble}", feed.name);
        }
    }
    Ok(())
}

/// Waits for the workers. One that panics ends the daemon, and so does one of their helpers: half of it must not go on alone.
async fn join(
    mut workers: JoinSet<()>,
    helpers: &mut JoinSet<()>,
    shared: &Shared,
    shutdown: Duration,
) -> anyhow::Result<()> {
    let all_done = async {
        while let Some(ended) = workers.join_next().await {
            ended
                .context("a worker panicked: this is a bug of hydrant; what it held comes again")?;
        }
        Ok(())
    };
    let helper_panics = async {
        while let Some(ended) = helpers.join_next().await {
            if let Err(panic) = ended {
                return panic;
            }
        }
        std::future::pending().await
    };
    let too_late = async {
        shared.stop.cancelled().await;
        tokio::time::sleep(shutdown).await;
    };
    tokio::select! {
        outcome = all_done => outcome,
        panic = helper_panics => Err(panic).context("a helper of the workers panicked: this is a bug of hydrant; what is held comes again"),
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
            Store::new(settings.clone()).connect().await?;
            look_at_server(settings, mode).await
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

/// Says what a COMMIT is worth on this server, and sees to it that the tables are those of this version.
///
/// # Errors
/// The database does not answer or refuses us, or its tables are of another version.
async fn look_at_server(settings: &Settings, mode: Mode) -> Result<(), Fault> {
    let mut inspection = Inspection::begin(settings).await?;
    if mode.no_migrate {
        inspection.migrations().await?.expect_ours()?;
    }
    let server = inspection.server().await?;
    inspection.close().await;
    gauge!(telemetry::STORE_DURABLE).set(f64::from(u8::from(server.is_durable())));
    let version = server.version.as_str();
    if server.is_durable() {
        tracing::info!(
            version,
            durability = server.durability(),
            "the database is there"
        );
    } else {
        tracing::warn!(
            version,
            fsync = server.fsync,
            synchronous_commit = server.synchronous_commit,
            "the database forgets in a crash what it has confirmed, and messages are deleted by its word"
        );
    }
    Ok(())
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_one_worker_is_the_end_of_all() {
        let shared = Shared {
            stop: CancellationToken::new(),
            give_up: CancellationToken::new(),
            gate: Gate::default(),
            memory: Semaphore::new(0),
            motions: Motions::default(),
        };
        let mut workers = JoinSet::new();
        workers.spawn(std::future::pending());
        workers.spawn(async { panic!("as a bug would") });
        let mut helpers = JoinSet::new();
        let ended = join(workers, &mut helpers, &shared, Duration::from_secs(25)).await;
        let said = ended.unwrap_err().to_string();
        assert!(said.starts_with("a worker panicked"), "{said}");

        let mut workers = JoinSet::new();
        workers.spawn(std::future::pending());
        helpers.spawn(async {});
        helpers.spawn(async { panic!("as a bug would") });
        let ended = join(workers, &mut helpers, &shared, Duration::from_secs(25)).await;
        let said = ended.unwrap_err().to_string();
        assert!(
            said.starts_with("a helper of the workers panicked"),
            "{said}"
        );
    }
}
