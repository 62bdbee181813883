//! What workers share: those of the daemon, and those of one source.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use metrics::{counter, gauge};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::breaker::{Breaker, Permit};
use crate::config::Source;
use crate::formats::Reason;
use crate::gate::Gate;
use crate::sources::sqs::Sqs;
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
}

/// What the workers of one source share.
#[derive(Debug)]
pub struct Feed {
    pub sqs: Arc<Sqs>,
    pub settings: Source,
    /// None: bad input is accepted in any quantity.
    pub breaker: Option<Mutex<Breaker>>,
    /// Receive no more: the daemon stops, or this queue has stayed empty.
    pub stop: CancellationToken,
    /// The feed ends when its queue has stayed empty.
    pub until_empty: bool,
    /// Why the last receive failed; None when it did not.
    pub trouble: Mutex<Option<String>>,
    /// What became of its events since the start.
    pub total: Mutex<Tally>,
}

impl Feed {
    pub fn name(&self) -> &str {
        self.sqs.name()
    }

    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Whether nothing is received because most input was bad.
    pub fn is_mostly_bad(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| {
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
        let source = || ("source", self.name().to_owned());
        for name in [
            telemetry::MESSAGES_RECEIVED,
            telemetry::MESSAGES_DELETED,
            telemetry::DELETE_FAILURES,
            telemetry::MESSAGES_RELEASED,
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
        for reason in Reason::ALL {
            for scope in reason.scopes() {
                let (scope, reason) = (scope.as_str().to_owned(), reason.as_str().to_owned());
                let labels = [source(), ("scope", scope), ("reason", reason)];
                counter!(telemetry::QUARANTINED, &labels).increment(0);
            }
        }
        self.note(&[]);
    }

    /// Adds to what became of this source's events in all.
    pub(super) fn add(&self, tally: Tally) {
        *self.total.lock().unwrap_or_else(PoisonError::into_inner) += tally;
    }

    /// Says what became of this source's events since the start.
    pub fn sum_up(&self) {
        let total = *self.total.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            source = self.name(),
            stored = total.stored,
            adjustments = total.adjustments,
            duplicates = total.duplicates,
            variants = total.variants,
            "events since the start"
        );
    }

    /// Takes note of bodies, true for a bad one.
    pub(super) fn note(&self, bodies: &[bool]) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if breaker.note(bodies, Instant::now()) {
            tracing::error!(
                source = self.name(),
                "over half of the last 200 bodies were bad: nothing more is received; the format \
                 changed, or we are wrong. One receive a minute tries again; `run --accept-bad` \
                 goes on regardless"
            );
        }
        let open = if breaker.is_open() { 1.0 } else { 0.0 };
        let source = self.name().to_owned();
        gauge!(telemetry::PAUSED, "reason" => "mass_bad_input", "source" => source).set(open);
    }
}
