//! Whether the store takes writes, as far as the workers know. While it does not, nobody receives: messages that wait in
//! the queue do not age towards its dead-letter queue.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;
use tokio::sync::watch;

use crate::store::fault::Why;
use crate::telemetry;

/// Why nothing is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Store(Why),
    /// The database refused most of a batch.
    MassRefusal,
}

impl Pause {
    const ALL: [Pause; 4] = [
        Pause::Store(Why::Unavailable),
        Pause::Store(Why::ReadOnly),
        Pause::Store(Why::Misconfigured),
        Pause::MassRefusal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Pause::Store(why) => why.as_str(),
            Pause::MassRefusal => "mass_refusal",
        }
    }
}

/// Shared by all workers: who cannot write closes it, who can opens it.
#[derive(Debug)]
pub struct Gate {
    pause: watch::Sender<Option<Pause>>,
    /// When it was last opened or closed.
    changed: Mutex<Instant>,
}

impl Default for Gate {
    fn default() -> Self {
        let gate = Gate {
            pause: watch::Sender::new(None),
            changed: Mutex::new(Instant::now()),
        };
        gate.show(None);
        gate
    }
}

impl Gate {
    /// Whether it was open until now.
    pub fn close(&self, pause: Pause) -> bool {
        let before = self.pause.send_replace(Some(pause));
        self.show(Some(pause));
        if before.is_none() {
            self.note_change();
        }
        before.is_none()
    }

    /// Opens it for one that could write, after the pause that it saw itself; whether it was closed until now. That others
    /// can write says nothing about a batch that the database refuses.
    pub fn open(&self, after: Option<Pause>) -> bool {
        let changed = self.pause.send_if_modified(|pause| {
            let opens = *pause != Some(Pause::MassRefusal) || after == Some(Pause::MassRefusal);
            opens && pause.take().is_some()
        });
        if changed {
            self.note_change();
            self.show(None);
        }
        changed
    }

    pub fn pause(&self) -> Option<Pause> {
        *self.pause.borrow()
    }

    /// For how long it has been open, or closed.
    pub fn unchanged_for(&self) -> Duration {
        self.changed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    fn note_change(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when it is open.
    pub async fn wait_open(&self) {
        // The sender is ours and lives: waiting cannot fail.
        let _ = self.pause.subscribe().wait_for(Option::is_none).await;
    }

    /// Returns when it is closed.
    pub async fn wait_closed(&self) {
        let _ = self.pause.subscribe().wait_for(Option::is_some).await;
    }

    fn show(&self, now: Option<Pause>) {
        gauge!(telemetry::STORE_UP).set(if now.is_none() { 1.0 } else { 0.0 });
        for pause in Pause::ALL {
            gauge!(telemetry::PAUSED, "reason" => pause.as_str()).set(if now == Some(pause) {
                1.0
            } else {
                0.0
            });
        }
    }
}
