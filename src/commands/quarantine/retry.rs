//! `hydrant quarantine retry`: stored bytes take the path of a delivery once more.
//!
//! An item is marked as resolved after the commit of its events. A crash in between is harmless: the next retry finds
//! them there already.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Failure, choose, expect_choice, open, open_body, read_event};
use crate::backoff::Backoff;
use crate::cli::quarantine::Selection;
use crate::commands::{pretty, printed};
use crate::config::Config;
use crate::formats::{Reason, Refusal, Scope};
use crate::store::batch::{Batch, Origin};
use crate::store::fault::Fault;
use crate::store::quarantine::{Item, Quarantine, Status};
use crate::store::refused;
use crate::store::{MASS, Settings, Store, Tally, Written};

/// Events of a body that are written at a time, and bytes of them.
const BATCH_EVENTS: usize = 5_000;
const BATCH_BYTES: usize = 8 << 20;
/// Items that are worked on together: too few of them for a mass refusal. Events that the database refuses again are
/// nothing unusual here, and must not keep the others from being stored.
const TOGETHER: usize = MASS - 1;
/// Attempts at a transaction that other writers disturb.
const ATTEMPTS: u32 = 8;

pub async fn run(args: Selection) -> Result<(), Failure> {
    expect_choice(&args, "retry")?;
    let (config, mut quarantine) = open(&args.common).await?;
    let is_json = args.json;
    let ids = choose(&mut quarantine, args).await?;
    if ids.is_empty() && !is_json {
        return Ok(());
    }
    let store = Store::new(Settings::new(&config.database)?);
    let mut retry = Retry {
        config,
        quarantine,
        store,
        report: Report::default(),
    };
    let outcome = retry.all(&ids).await;
    let report = if is_json {
        pretty(&retry.report.json())?
    } else {
        retry.report.to_string()
    };
    printed(io::stdout().write_all(report.as_bytes()))?;
    retry.store.close().await;
    retry.quarantine.close().await;
    Ok(outcome.map_err(anyhow::Error::new)?)
}

struct Retry {
    config: Config,
    quarantine: Quarantine,
    store: Store,
    report: Report,
}

/// What came of it.
#[derive(Default)]
struct Report {
    resolved: u64,
    still_bad: BTreeMap<Reason, u64>,
    tally: Tally,
    /// Events of bodies that are for quarantine themselves.
    rejected: u64,
    /// Items whose bytes are gone.
    blanked: u64,
}

impl Report {
    fn json(&self) -> Value {
        let still_bad = self.still_bad.iter();
        let still_bad: Map<String, Value> = still_bad
            .map(|(reason, count)| (reason.to_string(), json!(count)))
            .collect();
        json!({
            "resolved": self.resolved,
            "still_bad": still_bad,
            "stored": self.tally.stored,
            "adjustments": self.tally.adjustments,
            "duplicates": self.tally.duplicates,
            "variants": self.tally.variants,
            "quarantined": self.rejected,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let still_bad: u64 = self.still_bad.values().sum();
        writeln!(f, "resolved {}, still bad {still_bad}", self.resolved)?;
        let reasons = self.still_bad.iter();
        let reasons: Vec<_> = reasons.map(|(r, count)| format!("{r} {count}")).collect();
        if !reasons.is_empty() {
            writeln!(f, "  reasons: {}", reasons.join(", "))?;
        }
        if self.blanked > 0 {
            writeln!(
                f,
                "  left out: {}, whose payload retention blanked",
                self.blanked
            )?;
        }
        let tally = &self.tally;
        writeln!(
            f,
            "  events: {} stored, {} adjustments, {} duplicates, {} variants, {} to quarantine",
            tally.stored, tally.adjustments, tally.duplicates, tally.variants, self.rejected
        )
    }
}

impl Retry {
    async fn all(&mut self, ids: &[Uuid]) -> Result<(), Fault> {
        for ids in ids.chunks(TOGETHER) {
            let (blanked, items): (Vec<_>, Vec<_>) = self
                .quarantine
                .load(ids)
                .await?
                .into_iter()
                .partition(|(item, _)| item.is_blanked());
            self.report.blanked += blanked.len() as u64;
            let (bodies, events): (Vec<_>, Vec<_>) = items
                .into_iter()
                .partition(|(item, _)| item.scope == Scope::Body.as_str());
            for (item, payload) in &bodies {
                self.body(item, payload).await?;
            }
            self.events(&events).await?;
        }
        Ok(())
    }

    /// Events whose own bytes are in quarantine.
    async fn events(&mut self, items: &[(Item, Vec<u8>)]) -> Result<(), Fault> {
        let mut batch = Batch::new(BATCH_EVENTS, usize::MAX);
        let mut bad: BTreeMap<usize, Refusal> = BTreeMap::new();
        for (at, (item, payload)) in items.iter().enumerate() {
            let origin = Origin {
                delivery: at,
                event: 0,
            };
            if let Err(refusal) = read_event(&self.config, item, payload, &mut batch, origin) {
                bad.insert(at, refusal);
            }
        }
        // Without rejects no source is written.
        let written = self.write("", &batch).await?;
        for refused in &written.refused {
            let at = batch.origin(refused.item).delivery;
            bad.insert(at, refused.refusal());
        }
        let mut good = Vec::with_capacity(items.len());
        for (at, (item, _)) in items.iter().enumerate() {
            match bad.remove(&at) {
                Some(refusal) => self.still_bad(item, refusal).await?,
                None => good.push(item.id),
            }
        }
        self.resolved(&good).await
    }

    /// A body. Where some of its events are bad again, these go to quarantine on their own.
    async fn body(&mut self, item: &Item, payload: &[u8]) -> Result<(), Fault> {
        let mut body = match open_body(&self.config, item, payload) {
            Ok(body) => body,
            Err(refusal) => return self.still_bad(item, refusal).await,
        };
        let message_id = item.message_id.as_deref().unwrap_or_default();
        let mut batch = Batch::new(BATCH_EVENTS, BATCH_BYTES);
        loop {
            let done = body.read_into(&mut batch, 0, message_id);
            let written = match self.write(&item.source, &batch).await {
                // One body of which the database refuses most must not keep the others from being tried.
                Err(mass @ Fault::MassRefusal(_)) => {
                    let refusal = Refusal::new(Reason::RefusedByDatabase, mass.to_string());
                    return self.still_bad(item, refusal).await;
                }
                written => written?,
            };
            if !written.refused.is_empty() {
                let rejects = self.refused_events(item, payload, &batch, &written)?;
                self.write(&item.source, &rejects).await?;
            }
            if done {
                return self.resolved(&[item.id]).await;
            }
            batch.clear();
        }
    }

    /// The events of a body that only the database refuses, with the bytes that they have in it.
    fn refused_events(
        &self,
        item: &Item,
        payload: &[u8],
        batch: &Batch,
        written: &Written,
    ) -> Result<Batch, Fault> {
        let message_id = item.message_id.as_deref().unwrap_or_default();
        let body = open_body(&self.config, item, payload)
            .map_err(|refusal| refused::not_found(message_id, refusal.detail))?;
        let mut rejects = Batch::new(BATCH_EVENTS, usize::MAX);
        for reject in refused::rejects(&written.refused, batch, &body, message_id)? {
            rejects.reject(reject);
        }
        Ok(rejects)
    }

    /// Writes a batch; again where other writers, such as the daemon, came in between.
    async fn write(&mut self, source: &str, batch: &Batch) -> Result<Written, Fault> {
        if batch.is_empty() {
            return Ok(Written::default());
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.store.write(source, batch).await {
                Err(Fault::Race(_) | Fault::Contention(_)) if backoff.failures() < ATTEMPTS => {
                    tokio::time::sleep(backoff.wait()).await;
                }
                Ok(written) => {
                    self.report.tally += written.tally;
                    self.report.rejected += batch.rejects().len() as u64;
                    return Ok(written);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn resolved(&mut self, ids: &[Uuid]) -> Result<(), Fault> {
        self.quarantine.mark(ids, Status::Resolved).await?;
        self.report.resolved += ids.len() as u64;
        Ok(())
    }

    async fn still_bad(&mut self, item: &Item, refusal: Refusal) -> Result<(), Fault> {
        self.quarantine.note(item.id, &refusal).await?;
        *self.report.still_bad.entry(refusal.reason).or_default() += 1;
        Ok(())
    }
}
