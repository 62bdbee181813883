//! `hydrant run`.

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use super::Failure;
use crate::cli::Run;
use crate::daemon::{self, Mode};
use crate::{config, telemetry};

pub async fn run(args: Run) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    config.expect_sources().map_err(Failure::Usage)?;
    if args.until_empty {
        config.expect_ends().map_err(Failure::Usage)?;
    }
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    for warning in &config.warnings {
        tracing::warn!(advice = warning.advice, "{}", warning.found);
    }
    let metrics = telemetry::start_metrics()?;
    let mode = Mode {
        until_empty: args.until_empty,
        no_migrate: args.no_migrate,
        accept_bad: args.accept_bad,
    };
    // Both are watched from the start: none is lost between the first and the second.
    let terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let watched = Arc::new(Mutex::new((terminate, interrupt)));
    let signals = move || {
        let watched = Arc::clone(&watched);
        async move {
            let mut watched = watched.lock().await;
            let (terminate, interrupt) = &mut *watched;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    };
    Ok(daemon::run(config, mode, metrics, signals).await?)
}
