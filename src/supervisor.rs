//! What systemd is told, where it wants to know (`Type=notify`): that the sources have started, how it goes, that the workers
//! move, and that the daemon stops. Without a `NOTIFY_SOCKET` nothing is said.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::admin::Admin;
use crate::pipeline::Shared;

/// Between two looks at how it goes, and at the workers where the watchdog leaves that much time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The sources have started.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// Tells how it goes, for ever. A worker that does nothing for as long as the watchdog waits makes that known: the watchdog
/// hears nothing more, and systemd starts the daemon anew.
pub async fn report(shared: Arc<Shared>, admin: Arc<Admin>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK_EVERY, |patience| LOOK_EVERY.min(patience / 4));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut is_stopping, mut is_hanging) = (String::new(), false, false);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                say(&[NotifyState::Stopping]);
            }
        }
        if let Some(patience) = watchdog {
            let hanging = shared.motions.hanging(patience);
            match &hanging {
                None => say(&[NotifyState::Watchdog]),
                Some(source) if !is_hanging => tracing::error!(
                    source,
                    seconds = patience.as_secs(),
                    "a worker hangs: this is a bug of hydrant; the watchdog of systemd is not told that all is well"
                ),
                Some(_) => {}
            }
            is_hanging = hanging.is_some();
        }
        let troubles = admin.troubles().await;
        let status = match troubles.trim_end() {
            "" => "ready".to_owned(),
            lines => lines.replace('\n', "; "),
        };
        if status != said {
            say(&[NotifyState::Status(&status)]);
            said = status;
        }
    }
}

/// Systemd takes it from a socket of its own at once, or is not there any more.
fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
