//! Writing a batch until it is stored, whatever the database does meanwhile, and counting what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tokio::task::block_in_place;

use super::held::Held;
use super::{Stopped, Worker};
use crate::backoff::Backoff;
use crate::clock;
use crate::formats::{Reject, Scope};
use crate::gate::Pause;
use crate::store::batch::Role;
use crate::store::documents::Layer;
use crate::store::fault::{Fault, Why};
use crate::store::positions::Saved;
use crate::store::refused::{self, Refused};
use crate::store::{Tally, Written};
use crate::telemetry;

/// Attempts to write a batch that others contend for, before that counts as an outage: some two minutes.
const PATIENCE: u32 = 20;
/// Lines of log about one batch's quarantine.
const LINES_MAX: usize = 100;

impl Worker {
    /// Writes the batch and empties it. However long the store is away: what is held stays invisible meanwhile.
    pub(super) async fn flush(&mut self, held: &mut Held) -> Result<(), Stopped> {
        if !self.batch.is_empty() {
            let started = Instant::now();
            let _store = held.trace.store(self.batch.events());
            let written = self.write_until_stored().await?;
            self.count(&written.tally, held);
            if !written.refused.is_empty() {
                self.feed
                    .note_refused(self.mostly_refused(&written.refused));
                self.take_refused(&written.refused, held).await?;
                self.write_until_stored().await?;
                self.count(&Tally::default(), held);
            }
            self.batch.clear();
            let took = started.elapsed();
            self.feed.pulse().took(took);
            histogram!(telemetry::TRANSACTION_SECONDS, "source" => self.source()).record(took);
        }
        held.stored = held.read;
        Ok(())
    }

    async fn write_until_stored(&mut self) -> Result<Written, Stopped> {
        let shared = Arc::clone(&self.shared);
        let source = self.source();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut seen = None;
        loop {
            self.motion.step();
            let outcome = tokio::select! {
                outcome = self.store.write(&source, &self.batch) => outcome,
                () = shared.give_up.cancelled() => {
                    self.store.disconnect();
                    return Err(Stopped);
                }
            };
            self.motion.step();
            let fault = match outcome {
                Ok(written) => {
                    self.feed.clocks.committed();
                    if shared.gate.open(seen) {
                        tracing::info!("the store takes writes again: receiving goes on");
                    }
                    return Ok(written);
                }
                Err(fault) => fault,
            };
            seen = self.bear(fault, &mut backoff).await?;
        }
    }

    /// What is saved of these parts of the source, however long the store is away.
    pub(super) async fn positions(
        &mut self,
        parts: &[&str],
    ) -> Result<HashMap<String, Saved>, Stopped> {
        let shared = Arc::clone(&self.shared);
        let source = self.source();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut seen = None;
        loop {
            self.motion.step();
            let asked = self.store.positions(&source, parts);
            let answer = shared.stop.run_until_cancelled(asked).await;
            self.motion.step();
            match answer {
                Some(Ok(saved)) => {
                    if seen.is_some() {
                        shared.gate.open(seen);
                    }
                    return Ok(saved);
                }
                Some(Err(fault)) => seen = self.bear(fault, &mut backoff).await?,
                None => {
                    self.store.disconnect();
                    return Err(Stopped);
                }
            }
        }
    }

    /// Waits as long as a fault of the store asks for. What it closed the gate with, if it did.
    async fn bear(
        &mut self,
        fault: Fault,
        backoff: &mut Backoff,
    ) -> Result<Option<Pause>, Stopped> {
        let wait = backoff.wait();
        let (label, pause) = match &fault {
            // Others are at it as well; but not for ever.
            Fault::Race(_) | Fault::Contention(_) if backoff.failures() < PATIENCE => {
                ("contention", None)
            }
            Fault::Race(_) | Fault::Contention(_) => {
                ("contention", Some(Pause::Store(Why::Unavailable)))
            }
            // A single event is too much: that is no matter of size any more.
            Fault::TooMuch(_) => ("too_much", Some(Pause::Store(Why::Unavailable))),
            Fault::Unknown(_) => ("commit_unknown", Some(Pause::Store(Why::Unavailable))),
            Fault::RolledBack(_) => ("commit_rolled_back", Some(Pause::Store(Why::Unavailable))),
            Fault::Down(why, _) => (why.as_str(), Some(Pause::Store(*why))),
            Fault::MassRefusal(_) => ("mass_refusal", Some(Pause::MassRefusal)),
            // A row of our own that cannot be written, whatever the data.
            Fault::Data(_) => ("refused", Some(Pause::Store(Why::Unavailable))),
        };
        counter!(telemetry::STORE_FAULTS, "source" => self.source(), "fault" => label).increment(1);
        // A connection that went away while nobody used it is no outage: at first a new one is tried at once.
        let source = self.feed.name.as_str();
        if backoff.failures() == 1 && pause == Some(Pause::Store(Why::Unavailable)) {
            match &fault {
                Fault::Unknown(_) => tracing::warn!(
                    source, error = %fault,
                    "whether a COMMIT was done is not known: the batch is written again, which changes nothing if it was"
                ),
                Fault::RolledBack(_) => tracing::error!(
                    source, error = %fault,
                    "a transaction failed unnoticed, so its COMMIT was a ROLLBACK: the batch is written again"
                ),
                _ => {}
            }
            return Ok(None);
        }
        match pause {
            Some(pause) if self.shared.gate.close(pause) => tracing::error!(
                source, reason = pause.as_str(), error = %fault,
                "the store cannot be written: receiving stops, what is held is kept and tried again"
            ),
            _ if backoff.failures().is_power_of_two() => tracing::warn!(
                source, failures = backoff.failures(), error = %fault,
                "a transaction failed and is done again"
            ),
            _ => {}
        }
        self.motion.rest();
        let patience = if pause.is_some() {
            &self.shared.stop
        } else {
            &self.shared.give_up
        };
        patience
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .ok_or(Stopped)?;
        Ok(pause)
    }

    /// Fills the batch with the events that only Postgres refuses, as rejects with the bytes that they had.
    async fn take_refused(&mut self, refused: &[Refused], held: &Held) -> Result<(), Stopped> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let rejects = loop {
            match block_in_place(|| self.rejects_of(refused, held)) {
                Ok(rejects) => break rejects,
                Err(fault) => drop(self.bear(fault, &mut backoff).await?),
            }
        };
        let checkpoint = self.batch.checkpoint.take();
        self.batch.clear();
        for reject in rejects {
            self.batch.reject(reject);
        }
        self.batch.checkpoint = checkpoint;
        Ok(())
    }

    /// Deliveries of which the database refuses most.
    fn mostly_refused(&self, refused: &[Refused]) -> usize {
        let delivery = |refused: &Refused| self.batch.origin(refused.item).delivery;
        refused
            .chunk_by(|a, b| delivery(a) == delivery(b))
            .filter(|these| these.len() * 2 > self.batch.events_of(delivery(&these[0])))
            .count()
    }

    /// Opens each delivery of theirs once more: a batch keeps no raw events.
    fn rejects_of(&self, refused: &[Refused], held: &Held) -> Result<Vec<Reject>, Fault> {
        let delivery = |refused: &Refused| self.batch.origin(refused.item).delivery;
        let mut rejects = Vec::with_capacity(refused.len());
        for refused in refused.chunk_by(|a, b| delivery(a) == delivery(b)) {
            let delivery = &held.deliveries[delivery(&refused[0])];
            let body = self
                .open(delivery, self.feed.settings.max_body_bytes)
                .map_err(|refusal| refused::not_found(&delivery.id, refusal.detail))?;
            for mut reject in refused::rejects(refused, &self.batch, &body, &delivery.id)? {
                reject.source = Some(Arc::clone(&self.feed.names[delivery.format]));
                rejects.push(reject);
            }
        }
        Ok(rejects)
    }

    /// Counts what a committed batch came to, and says what is in quarantine.
    fn count(&self, tally: &Tally, held: &mut Held) {
        let source = self.source();
        let bad_events = self
            .batch
            .rejects()
            .iter()
            .filter(|r| r.scope == Scope::Event)
            .count();
        let counts = [
            tally.stored,
            tally.adjustments,
            tally.duplicates,
            tally.variants,
            bad_events as u64,
        ];
        for (outcome, count) in telemetry::EVENT_OUTCOMES.into_iter().zip(counts) {
            let labels = [("source", source.clone()), ("outcome", outcome.to_owned())];
            counter!(telemetry::EVENTS, &labels).increment(count);
        }
        let quarantined = self.batch.rejects().len() as u64;
        self.feed.add(*tally);
        self.feed
            .quarantined
            .fetch_add(quarantined, Ordering::Relaxed);
        held.trace.committed(*tally, quarantined);
        self.tell_rejects();
        if tally.variants > 0 {
            tracing::warn!(
                source,
                variants = tally.variants,
                "ids came with other contents; those that do not count are kept apart, and which do is the same for every order"
            );
        }
        counter!(telemetry::MISFITS, "source" => source.clone()).increment(self.batch.misfits);
        counter!(telemetry::REPAIRED, "source" => source.clone()).increment(self.batch.repaired);
        histogram!(telemetry::BATCH_EVENTS, "source" => source.clone())
            .record(self.batch.len() as f64);
        let mut least: Option<i64> = None;
        for (metric, adjustments) in [
            (telemetry::EVENT_LAG, false),
            (telemetry::ADJUSTMENT_LAG, true),
        ] {
            if let Some(newest) = self.newest(adjustments) {
                let lag = clock::unix_seconds().saturating_sub(newest);
                gauge!(metric, "source" => source.clone()).set(lag as f64);
                least = Some(least.map_or(lag, |least| least.min(lag)));
            }
        }
        self.feed.pulse().stored(tally, bad_events, least);
    }

    /// One line for each thing in quarantine, up to a number: one body can hold millions of bad events. Never a payload:
    /// that may be personal.
    fn tell_rejects(&self) {
        let source = self.source();
        for (nth, reject) in self.batch.rejects().iter().enumerate() {
            let (scope, reason) = (reject.scope.as_str(), reject.refusal.reason.as_str());
            let labels = [
                ("source", source.clone()),
                ("scope", scope.into()),
                ("reason", reason.into()),
            ];
            counter!(telemetry::QUARANTINED, &labels).increment(1);
            if nth < LINES_MAX {
                let source = reject.source.as_deref().unwrap_or(&source);
                tracing::warn!(
                    source, scope, reason, detail = %reject.refusal.detail, message_id = reject.message_id,
                    network_id = reject.network_id, event_id = reject.event_id, "quarantined"
                );
            }
        }
        let untold = self.batch.rejects().len().saturating_sub(LINES_MAX);
        if untold > 0 {
            tracing::warn!(
                source,
                more = untold,
                "quarantined, too; see `hydrant quarantine list`"
            );
        }
    }

    /// When the newest original or adjustment of the batch happened.
    fn newest(&self, adjustments: bool) -> Option<i64> {
        let facts = self.batch.facts().iter();
        let facts = facts.map(|fact| (fact.role == Role::Adjustment, fact.happened));
        let documents = self.batch.documents().iter();
        let documents = documents.map(|one| (one.layer == Layer::Update, one.happened));
        facts
            .chain(documents)
            .filter(|(is_adjustment, _)| *is_adjustment == adjustments)
            .filter_map(|(_, happened)| happened)
            .max()
    }
}
