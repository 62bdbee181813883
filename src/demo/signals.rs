//! The signals that mean to end.

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Signals([Signal; 3]);

impl Signals {
    /// # Errors
    /// The system refuses.
    pub fn watch() -> anyhow::Result<Signals> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Signals([
            watch(SignalKind::interrupt())?,
            watch(SignalKind::terminate())?,
            watch(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one, and says what it told. What waits can be dropped without losing one.
    pub async fn told(&mut self) -> &'static str {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => "interrupted",
            _ = terminate.recv() => "terminated",
            _ = hangup.recv() => "hung up",
        }
    }

    /// Does something, unless a signal comes first.
    ///
    /// # Errors
    /// It failed, or a signal came.
    pub async fn cut<T>(
        &mut self,
        act: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            outcome = act => outcome,
            told = self.told() => bail!(told),
        }
    }
}
