//! Which shards of a stream this daemon reads: it lists them, leases its share of them, and has a loop for each.
//!
//! A shard is read only after those that it was split or merged from are read to their end, by whichever daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::{counter, gauge};
use rand::seq::SliceRandom;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::backlog::Backlog;
use super::share::{Holder, to_take};
use super::stream::{Progress, ShardReader};
use super::{Feed, Worker};
use crate::clock;
use crate::config::Start;
use crate::sources::kinesis::{Kinesis, Position, Shard};
use crate::store::fault::Fault;
use crate::store::leases::{Lease, Leases};
use crate::telemetry;

/// Shards come and go by hand, or once in a while.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// A shard that ended has children, which may not be listed at once.
const LIST_AGAIN: Duration = Duration::from_secs(2);

/// Keeps this daemon's share of a stream's shards read.
pub struct Shards {
    /// Those of the shards are made like it.
    worker: Worker,
    feed: Arc<Feed>,
    kinesis: Arc<Kinesis>,
    leases: Leases,
    /// By then the leases of the daemons that had died before have run out.
    settled_at: Instant,
    listed: Vec<Shard>,
    list_at: Instant,
    readers: JoinSet<(String, bool)>,
    reading: BTreeMap<String, Reading>,
    /// Of looking after the leases, in a row.
    failures: u32,
    /// Shards that nobody reads, as far as it was told.
    unread: usize,
}

/// A shard that is read here.
struct Reading {
    lost: CancellationToken,
    progress: Arc<Progress>,
}

impl Shards {
    pub fn new(worker: Worker, kinesis: Arc<Kinesis>) -> Shards {
        let feed = Arc::clone(&worker.feed);
        for name in [telemetry::THROTTLED_READS, telemetry::LOST_POSITIONS] {
            counter!(name, "source" => feed.name.clone()).increment(0);
        }
        gauge!(telemetry::UNREAD_SHARDS, "source" => feed.name.clone()).set(0.0);
        let lease = Duration::from_secs(kinesis.settings.lease_secs);
        let owner = uuid::Uuid::new_v4().to_string();
        let leases = Leases::new(worker.store.settings.clone(), &feed.name, owner, lease);
        Shards {
            worker,
            feed,
            kinesis,
            leases,
            settled_at: Instant::now() + lease,
            listed: Vec::new(),
            list_at: Instant::now(),
            readers: JoinSet::new(),
            reading: BTreeMap::new(),
            failures: 0,
            unread: 0,
        }
    }

    /// Works until the daemon stops, or until all shards have stayed empty; then all of them are given back.
    pub async fn run(mut self) {
        tracing::info!(
            source = self.feed.name,
            owner = self.leases.owner,
            "shards are leased"
        );
        let stop = self.feed.stop.clone();
        let mut ticks = tokio::time::interval(self.tick());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() || !self.readers.is_empty() {
            tokio::select! {
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                _ = ticks.tick() => self.look().await,
                Some(done) = self.readers.join_next() => {
                    if self.finish(done).await {
                        ticks.reset_immediately();
                    }
                }
            }
        }
        self.leases.close().await;
    }

    /// A lease is renewed several times before it would run out.
    fn tick(&self) -> Duration {
        let lease = Duration::from_secs(self.kinesis.settings.lease_secs);
        (lease / 5).min(Duration::from_secs(3))
    }

    /// Renews what this daemon has, and sees what else there is. While the database is away nothing can be taken from
    /// anybody, and what is read cannot be stored: that is told where it is written.
    async fn look(&mut self) {
        match self.renew_and_take().await {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    let failures = self.failures;
                    tracing::warn!(source = self.feed.name, failures, %error, "the leases of the shards could not be looked after");
                }
            }
        }
        self.show();
    }

    async fn renew_and_take(&mut self) -> Result<(), Fault> {
        let held: Vec<String> = self.reading.keys().cloned().collect();
        let mut leases = self.leases.renew(&held).await?;
        self.let_go_of_lost(&leases);
        if self.feed.stop.is_cancelled() {
            return Ok(());
        }
        if Instant::now() >= self.list_at && self.list().await {
            let ids: Vec<String> = self.listed.iter().map(|shard| shard.id.clone()).collect();
            let known = |id: &String| leases.iter().any(|lease| lease.part == *id);
            if !ids.iter().all(known) {
                let first = first_position(self.kinesis.settings.start);
                self.leases.add(&ids, first.as_deref()).await?;
                leases = self.leases.renew(&held).await?;
            }
            // A stream that has just been made may list none yet.
            if !ids.is_empty() {
                self.forget_expired(&ids, &held).await?;
            }
        }
        let readable = readable(&self.listed, &leases, |shard| {
            self.reading.contains_key(shard)
        });
        for (shard, from) in to_take(&readable.shards, self.feed.settings.workers) {
            self.take(shard, from).await?;
        }
        self.tell_unread(&readable.shards);
        if self.feed.until_empty && !self.listed.is_empty() && self.stayed_empty(&readable) {
            self.feed.stop.cancel();
        }
        Ok(())
    }

    /// Whether the shards are listed anew.
    async fn list(&mut self) -> bool {
        // Whoever waits longer than a lease for Kinesis would lose its shards.
        let listing = tokio::time::timeout(2 * self.tick(), self.kinesis.shards());
        let trouble = match listing.await {
            Ok(Ok(mut shards)) => {
                // Two daemons that start together then seldom reach for the same shard.
                shards.shuffle(&mut rand::rng());
                self.listed = shards;
                self.list_at = Instant::now() + LIST_EVERY;
                if self.reading.is_empty() {
                    self.feed.set_trouble(None);
                }
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "could not list the shards: no answer".to_owned(),
        };
        tracing::warn!(
            source = self.feed.name,
            error = trouble,
            "the shards could not be listed"
        );
        self.feed.set_trouble(Some(trouble));
        self.list_at = Instant::now() + LIST_AGAIN;
        false
    }

    /// Tells of shards that are gone before they were read to their end: what was left in them has expired with them.
    async fn forget_expired(&mut self, listed: &[String], held: &[String]) -> Result<(), Fault> {
        for (shard, position) in self.leases.forget(listed, held).await? {
            counter!(telemetry::LOST_POSITIONS, "source" => self.feed.name.clone()).increment(1);
            let position = Position::parse(position.as_deref());
            tracing::error!(
                source = self.feed.name, shard, %position,
                "Kinesis does not have this shard any more, and its end was not read: records may have expired unread; \
                 reading goes on in the shards that there are"
            );
        }
        Ok(())
    }

    /// Ends the loops of shards that others have by now, or that are gone.
    fn let_go_of_lost(&mut self, leases: &[Lease]) {
        for (shard, reading) in &self.reading {
            let is_mine = leases.iter().any(|it| it.part == *shard && it.is_mine);
            let is_there = self.listed.iter().any(|it| it.id == *shard);
            let is_kept = is_mine && is_there;
            if !is_kept && !reading.lost.is_cancelled() {
                tracing::info!(
                    source = self.feed.name,
                    shard,
                    is_mine,
                    "the shard is read no more here"
                );
                reading.lost.cancel();
            }
        }
    }

    async fn take(&mut self, shard: String, from: Option<String>) -> Result<(), Fault> {
        // Its loop may still be storing what it held when the shard was lost.
        if self.reading.contains_key(&shard) {
            return Ok(());
        }
        let Some(position) = self.leases.take(&shard, from.as_deref()).await? else {
            return Ok(());
        };
        let position = Position::parse(position.as_deref());
        tracing::info!(source = self.feed.name, shard, %position, from, "the shard is read here");
        let reading = Reading {
            lost: CancellationToken::new(),
            progress: Arc::default(),
        };
        let reader = ShardReader {
            worker: self.worker.another(),
            kinesis: Arc::clone(&self.kinesis),
            shard: shard.clone(),
            position,
            owner: self.leases.owner.clone(),
            lost: reading.lost.clone(),
            progress: Arc::clone(&reading.progress),
        };
        self.readers.spawn(reader.run());
        self.reading.insert(shard, reading);
        Ok(())
    }

    /// Gives back the shard of a loop that is done. Whether it has ended: then others can be read by now.
    async fn finish(&mut self, done: Result<(String, bool), JoinError>) -> bool {
        let (shard, is_ended) = match done {
            Ok(done) => done,
            // Half of a daemon must not go on alone.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return false,
            },
        };
        self.reading.remove(&shard);
        // Where the database is away, the leases run out: a daemon that stops must not wait for it once for each shard.
        if self.failures == 0
            && let Err(error) = self.leases.give_back(&shard).await
        {
            self.failures += 1;
            tracing::warn!(source = self.feed.name, shard, %error, "the shards could not be given back; their leases run out");
        }
        if is_ended {
            tracing::info!(source = self.feed.name, shard, "the shard has ended");
            self.list_at = Instant::now();
        }
        self.show();
        is_ended
    }

    fn show(&self) {
        let source = || self.feed.name.clone();
        let poll = Duration::from_millis(self.kinesis.settings.poll_interval_ms);
        let now = Instant::now();
        let ages = self.reading.values().map(|one| one.progress.age(now, poll));
        let age = ages.max().unwrap_or_default();
        gauge!(telemetry::ITERATOR_AGE, "source" => source()).set(age.as_secs_f64());
        let oldest = (!age.is_zero()).then(|| clock::unix_seconds() - age.as_secs() as i64);
        self.feed.note_oldest(oldest);
        self.feed.backlog.tell(Backlog {
            shards: Some(self.reading.len() as u64),
            ..Backlog::default()
        });
        self.feed.clocks.expect(!self.reading.is_empty());
        gauge!(telemetry::SHARDS, "source" => source()).set(self.reading.len() as f64);
    }

    /// Counts the shards that nobody reads, and warns when there are some for longer than a lease: all daemons together
    /// have too few workers then, and what is in these shards expires.
    fn tell_unread(&mut self, shards: &[(String, Holder)]) {
        let unread = unread(shards, |shard| self.reading.contains_key(shard));
        gauge!(telemetry::UNREAD_SHARDS, "source" => self.feed.name.clone()).set(unread as f64);
        self.feed.clocks.leave_unread(unread);
        let lease = Duration::from_secs(self.kinesis.settings.lease_secs);
        // Until then those who have room for them, or who come to have it, may not have looked.
        let lasting = match self.feed.clocks.read(Instant::now().into_std()).unread {
            Some((unread, time)) if time > lease => unread,
            _ => 0,
        };
        if lasting > self.unread {
            tracing::warn!(
                source = self.feed.name,
                shards = lasting,
                "shards are read by nobody: raise workers, or start another daemon"
            );
        }
        self.unread = lasting;
    }

    /// Whether all that is here was read to its tip, twice, and nothing waits for this daemon to take it.
    fn stayed_empty(&self, readable: &Readable) -> bool {
        let at_tip = |shard: &String| {
            let reading = self.reading.get(shard);
            reading.is_some_and(|one| one.progress.empty_reads.load(Ordering::Relaxed) >= 2)
        };
        let done = |(shard, holder): &(String, Holder)| match holder {
            Holder::Other(_) => true,
            Holder::Me | Holder::Nobody => at_tip(shard),
        };
        let others = has_others(&readable.shards);
        let settled = !others || Instant::now() >= self.settled_at;
        settled && readable.shards.iter().all(done) && (readable.waiting == 0 || others)
    }
}

fn has_others(shards: &[(String, Holder)]) -> bool {
    let mut holders = shards.iter().map(|(_, holder)| holder);
    holders.any(|holder| matches!(holder, Holder::Other(_)))
}

/// How many shards nobody has, those aside that this daemon has taken meanwhile.
fn unread(shards: &[(String, Holder)], is_read_here: impl Fn(&str) -> bool) -> usize {
    let free = shards
        .iter()
        .filter(|(shard, holder)| *holder == Holder::Nobody && !is_read_here(shard));
    free.count()
}

/// What the first shards of a source begin with; `None` is now, by the clock of the database.
fn first_position(start: Start) -> Option<String> {
    match start {
        Start::TrimHorizon => Some(Position::TrimHorizon.to_string()),
        Start::At(millis) => Some(Position::AtTimestamp(millis).to_string()),
        Start::Latest => None,
    }
}

/// The shards that are there to be read.
#[derive(Debug, PartialEq)]
struct Readable {
    shards: Vec<(String, Holder)>,
    /// So many others wait for the end of a parent.
    waiting: usize,
}

fn readable(listed: &[Shard], leases: &[Lease], is_read_here: impl Fn(&str) -> bool) -> Readable {
    let leases: BTreeMap<&str, &Lease> =
        leases.iter().map(|one| (one.part.as_str(), one)).collect();
    let has_ended = |id: &str| leases.get(id).is_some_and(|lease| lease.is_ended);
    // A parent that is not listed any more has expired: nothing of it can be read.
    let is_listed = |id: &str| listed.iter().any(|shard| shard.id == id);
    let (mut shards, mut waiting) = (Vec::new(), 0);
    for shard in listed.iter().filter(|shard| !has_ended(&shard.id)) {
        let mut parents = shard.parents.iter();
        if parents.any(|parent| is_listed(parent) && !has_ended(parent)) {
            waiting += 1;
            continue;
        }
        let Some(lease) = leases.get(shard.id.as_str()) else {
            continue;
        };
        let holder = match &lease.other {
            Some(other) => Holder::Other(other.clone()),
            None if lease.is_mine && is_read_here(&shard.id) => Holder::Me,
            None => Holder::Nobody,
        };
        shards.push((shard.id.clone(), holder));
    }
    Readable { shards, waiting }
}

#[cfg(test)]
#[path = "shards_tests.rs"]
mod tests;
