//! What workers share: those of the daemon, and those of one source.

use std::fmt::Display;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::{counter, gauge};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::backlog::Backlog;
use super::pulse::Pulse;
use crate::backoff::Backoff;
use crate::breaker::{Breaker, Permit};
use crate::clock;
use crate::config::{Source, SourceKind};
use crate::formats::{Format, Reason};
use crate::gate::Gate;
use crate::health::Clocks;
use crate::lookout::Lookout;
use crate::motion::Motions;
use crate::sources::Delivery;
use crate::store::Tally;
use crate::telemetry;

/// What all workers of the daemon share.
#[derive(Debug)]
pub struct Shared {
    /// Receive no more.
    pub stop: CancellationToken,
    /// Time is up: let go of what is not stored.
    pub give_up: CancellationToken,
    pub gate: Gate,
    /// Bytes for bodies above [`super::SMALL_BODY_BYTES`].
    pub memory: Semaphore,
    /// Whether its workers move.
    pub motions: Motions,
}

/// What the workers of one source share.
#[derive(Debug)]
pub struct Feed {
    pub name: String,
    pub settings: Source,
    /// What its bodies hold; each delivery says which of them.
    pub formats: Vec<Format>,
    /// What quarantine calls the source of each of them.
    pub names: Vec<Arc<str>>,
    /// None: bad input is accepted in any quantity.
    pub breaker: Option<Mutex<Breaker>>,
    /// Receive no more: the daemon stops, or this queue has stayed empty.
    pub stop: CancellationToken,
    /// The feed ends when its queue has stayed empty.
    pub until_empty: bool,
    /// Why the last receive failed; None when it did not.
    trouble: Mutex<Option<String>>,
    /// What became of its events since the start.
    pub total: Mutex<Tally>,
    /// What went to quarantine since the start, events and whole bodies.
    pub quarantined: AtomicU64,
    pub clocks: Clocks,
    /// What its transactions came to since the last sample.
    pulse: Mutex<Pulse>,
    /// What waits to be received.
    pub backlog: Lookout<Backlog>,
    /// When the oldest of it was sent, in seconds since 1970, as far as the source told last; 0 where nothing waits.
    waiting_since: AtomicI64,
}

/// How the sources of a run behave.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// End when there is nothing left to receive.
    pub until_empty: bool,
    /// Go on however much of the input is bad.
    pub accept_bad: bool,
}

impl Feed {
    pub fn new(name: &str, settings: Source, conduct: Conduct, shared: &Shared) -> Feed {
        let (names, formats) = settings
            .formats(name)
            .into_iter()
            .map(|(name, format)| (Arc::from(name), format.clone()))
            .unzip();
        Feed {
            name: name.to_owned(),
            formats,
            names,
            settings,
            breaker: (!conduct.accept_bad).then(|| Mutex::new(Breaker::default())),
            stop: shared.stop.child_token(),
            until_empty: conduct.until_empty,
            trouble: Mutex::default(),
            total: Mutex::default(),
            quarantined: AtomicU64::new(0),
            clocks: Clocks::default(),
            pulse: Mutex::default(),
            backlog: Lookout::default(),
            waiting_since: AtomicI64::new(0),
        }
    }

    /// Counts a receive; `None` for one that failed.
    pub(super) fn note_receive(&self, received: Option<&[Delivery]>) {
        let source = || self.name.clone();
        let outcome = match received {
            Some([]) => "empty",
            Some(_) => "messages",
            None => "error",
        };
        counter!(telemetry::RECEIVES, "source" => source(), "outcome" => outcome).increment(1);
        if let Some(deliveries) = received {
            self.set_trouble(None);
            self.clocks.received();
            let count = deliveries.len() as u64;
            counter!(telemetry::MESSAGES_RECEIVED, "source" => source()).increment(count);
        }
    }

    /// Waits after a receive that failed. Every failure is counted; a line is written for the first of a series and then
    /// now and then. `None` when the source stops.
    pub(super) async fn bear(&self, backoff: &mut Backoff, error: &impl Display) -> Option<()> {
        let wait = backoff.wait();
        let failures = backoff.failures();
        if failures.is_power_of_two() {
            tracing::warn!(source = self.name, failures, %error, "receive failed");
        }
        self.set_trouble(Some(error.to_string()));
        let waiting = tokio::time::sleep(wait);
        self.stop.run_until_cancelled(waiting).await
    }

    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Why the last receive failed.
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it is pushed to us: then it cannot be told to wait, and a refusal may lose it.
    fn is_pushed(&self) -> bool {
        matches!(self.settings.kind, SourceKind::Http(_))
    }

    /// Whether nothing is received because most input was bad.
    pub fn is_mostly_bad(&self) -> bool {
        !self.is_pushed()
            && self.breaker.as_ref().is_some_and(|breaker| {
                breaker
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .is_open()
            })
    }

    pub(super) fn permit(&self) -> Permit {
        match &self.breaker {
            Some(breaker) => breaker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .permit(Instant::now()),
            None => Permit::Go,
        }
    }

    /// Shows every counter that an alarm may look at before its first event: a rate needs the zero.
    pub fn announce(&self) {
        let source = || ("source", self.name.clone());
        for name in [
            telemetry::MESSAGES_RECEIVED,
            telemetry::MESSAGES_DELETED,
            telemetry::DELETE_FAILURES,
            telemetry::MESSAGES_RELEASED,
            telemetry::SUSPECTS,
        ] {
            counter!(name, &[source()]).increment(0);
        }
        for outcome in telemetry::EVENT_OUTCOMES {
            counter!(
                telemetry::EVENTS,
                &[source(), ("outcome", outcome.to_owned())]
            )
            .increment(0);
        }
        for fault in telemetry::FAULTS {
            let labels = [source(), ("fault", fault.to_owned())];
            counter!(telemetry::STORE_FAULTS, &labels).increment(0);
        }
        for reason in Reason::ALL {
            for scope in reason.scopes() {
                let (scope, reason) = (scope.as_str().to_owned(), reason.as_str().to_owned());
                let labels = [source(), ("scope", scope), ("reason", reason)];
                counter!(telemetry::QUARANTINED, &labels).increment(0);
            }
        }
        self.note(&[]);
    }

    /// Takes note of when the oldest that waits was sent, in seconds since 1970; `None` where nothing waits.
    pub(super) fn note_oldest(&self, sent: Option<i64>) {
        self.waiting_since
            .store(sent.unwrap_or(0), Ordering::Relaxed);
    }

    /// For how many seconds the oldest has waited.
    pub fn oldest_age(&self) -> Option<i64> {
        let since = self.waiting_since.load(Ordering::Relaxed);
        (since > 0).then(|| (clock::unix_seconds() - since).max(0))
    }

    pub fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what became of this source's events in all.
    pub(super) fn add(&self, tally: Tally) {
        *self.total.lock().unwrap_or_else(PoisonError::into_inner) += tally;
    }

    /// Says what became of this source's events since the start.
    pub fn sum_up(&self) {
        let total = *self.total.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            source = self.name,
            stored = total.stored,
            adjustments = total.adjustments,
            duplicates = total.duplicates,
            variants = total.variants,
            quarantined = self.quarantined.load(Ordering::Relaxed),
            "events since the start"
        );
    }

    /// Takes note of bodies, true for a bad one.
    pub(super) fn note(&self, bodies: &[bool]) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_pushed() {
            // It is not held up, so all of it tells how the input is now.
            breaker.expect_probe();
        }
        let has_opened = breaker.note(bodies, Instant::now());
        self.show_breaker(&breaker, has_opened);
    }

    /// Takes note that so many of the bodies that were noted last are bad, because the database refuses what is in them.
    pub(super) fn note_refused(&self, bodies: usize) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let has_opened = breaker.spoil(bodies, Instant::now());
        self.show_breaker(&breaker, has_opened);
    }

    fn show_breaker(&self, breaker: &Breaker, has_opened: bool) {
        let open = if breaker.is_open() { 1.0 } else { 0.0 };
        let source = self.name.clone();
        if self.is_pushed() {
            if has_opened {
                tracing::error!(
                    source,
                    "over half of the last 200 bodies were bad: they are taken all the same, and are in quarantine; the \
                     format changed, or we are wrong"
                );
            }
            gauge!(telemetry::MOSTLY_BAD, "source" => source).set(open);
            return;
        }
        if has_opened && self.until_empty {
            tracing::error!(
                source = self.name,
                "over half of the last 200 bodies were bad: no more is read, and this run ends; the format is wrong, or \
                 we are. `--accept-bad` goes on regardless"
            );
        } else if has_opened {
            tracing::error!(
                source = self.name,
                "over half of the last 200 bodies were bad: nothing more is received; the format \
                 changed, or we are wrong. One receive a minute tries again; `run --accept-bad` \
                 goes on regardless"
            );
        }
        gauge!(telemetry::PAUSED, "reason" => "mass_bad_input", "source" => source).set(open);
    }
}
