//! Which files or objects are to be read: what a listing shows and `positions` does not know as read. All loops of a source
//! take from one agenda.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::aside::{Asides, Turn};
use super::listing::{self, Listing, Listings};
use super::{Feed, Worker};
use crate::backoff::Backoff;
use crate::clock;
use crate::sources::file::Files;
use crate::sources::object::{Listed, Object, ObjectError, Position};
use crate::sources::s3::{Begin, Bucket, Page};
use crate::store::positions::Saved;

/// Between two listings where somebody waits for the end.
const SOON: Duration = Duration::from_secs(1);
/// The last line of a file that has not changed for so many times `settle`, and for a minute, is as complete as it will be.
const COMPLETE_TIMES: u32 = 10;
const COMPLETE_LEAST: Duration = Duration::from_mins(1);
/// Objects whose positions are asked for at a time.
const TOGETHER: usize = 1_000;

/// Where the objects are.
#[derive(Debug)]
pub enum Place {
    Files(Files),
    Bucket(Bucket),
}

/// When it looks, and what it takes.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Between two listings; None: there is one alone.
    pub poll: Option<Duration>,
    /// An object is read when it has not changed for so long.
    pub settle: Duration,
    /// Read everything, whatever was read before.
    pub is_again: bool,
}

/// An object to be read, and how far it was.
#[derive(Debug)]
pub struct Todo {
    pub listed: Listed,
    pub position: Option<Position>,
}

#[derive(Debug)]
pub struct Agenda {
    pub place: Place,
    rhythm: Rhythm,
    state: Mutex<State>,
    /// Names of what loops are reading. Apart from the state: that is held while somebody waits for the next listing.
    in_work: std::sync::Mutex<HashSet<String>>,
    asides: std::sync::Mutex<Asides>,
    pub progress: Progress,
    /// What could not be read, a sentence each.
    failures: std::sync::Mutex<Vec<String>>,
}

/// How far it is, for somebody who watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of objects, those that were read before included.
    pub bytes: AtomicU64,
    /// Objects that were read to their end.
    pub read: AtomicU64,
    /// Objects that had been read before.
    pub skipped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Todo>,
    listings: Listings,
    /// The listing under way; None between two.
    listing: Option<Listing>,
    /// When the last listing ended.
    last: Option<Instant>,
    /// It found nothing that is to be read now or soon, but for what was tried in vain.
    is_idle: bool,
    is_over: bool,
}

impl Agenda {
    pub fn new(place: Place, rhythm: Rhythm) -> Agenda {
        Agenda {
            place,
            rhythm,
            state: Mutex::default(),
            in_work: std::sync::Mutex::default(),
            asides: std::sync::Mutex::default(),
            progress: Progress::default(),
            failures: std::sync::Mutex::default(),
        }
    }

    /// The next object to be read; `None` when there will be none: the source stops, or everything is read and nobody wants
    /// to wait.
    ///
    /// # Errors
    /// The place cannot be listed. The next call begins anew. `backoff` is the caller's for that alone: it is reset by a
    /// listing that comes to its end.
    pub(super) async fn next(
        &self,
        worker: &mut Worker,
        backoff: &mut Backoff,
    ) -> Result<Option<Todo>, ObjectError> {
        let feed = Arc::clone(&worker.feed);
        let stop = &feed.stop;
        // Somebody else may look, or wait for the next listing.
        worker.motion.rest();
        let Some(mut state) = stop.run_until_cancelled(self.state.lock()).await else {
            return Ok(None);
        };
        loop {
            if stop.is_cancelled() || state.is_over {
                return Ok(None);
            }
            if let Some(todo) = state.waiting.pop_front() {
                self.in_work().insert(todo.listed.name.clone());
                worker.motion.step();
                return Ok(Some(todo));
            }
            match state.listing.take() {
                Some(listing) => {
                    worker.motion.step();
                    if self.look(listing, &mut state, worker).await? {
                        backoff.reset();
                    }
                    worker.motion.rest();
                }
                None if self.is_over(&state, &feed) => {
                    state.is_over = true;
                    feed.set_trouble(self.asides().outcome());
                }
                None => {
                    let wait = self.until_due(&state, &feed);
                    if stop.run_until_cancelled(wait).await.is_some() {
                        state.listing = Some(state.listings.begin(clock::unix_seconds()));
                    }
                }
            }
        }
    }

    async fn until_due(&self, state: &State, feed: &Feed) {
        if let (Some(last), Some(poll)) = (state.last, self.rhythm.poll) {
            let poll = if feed.until_empty {
                poll.min(SOON)
            } else {
                poll
            };
            tokio::time::sleep_until(last + poll).await;
        }
    }

    /// Whether it has looked, and there is nothing to wait for.
    fn is_over(&self, state: &State, feed: &Feed) -> bool {
        let is_idle = state.is_idle && self.in_work().is_empty();
        state.last.is_some() && (self.rhythm.poll.is_none() || feed.until_empty && is_idle)
    }

    /// Looks at the next objects of a listing. True at its end.
    async fn look(
        &self,
        mut listing: Listing,
        state: &mut State,
        worker: &mut Worker,
    ) -> Result<bool, ObjectError> {
        let feed = Arc::clone(&worker.feed);
        let next = std::mem::take(&mut listing.next);
        let listed = feed.stop.run_until_cancelled(self.list(next));
        let Some(page) = listed.await.transpose()? else {
            return Ok(false);
        };
        feed.set_trouble(self.trouble());
        feed.clocks.received();
        listing.found.left_alone += page.left_alone;
        // Before the positions are asked for: what a loop is done with in between has another one by now.
        let in_work = self.in_work().clone();
        for objects in page.objects.chunks(TOGETHER) {
            let names: Vec<&str> = objects.iter().map(|one| one.name.as_str()).collect();
            let Ok(saved) = worker.positions(&names).await else {
                return Ok(false);
            };
            for object in objects {
                let saved = saved.get(&object.name).filter(|_| !self.rhythm.is_again);
                let todo = self.judge(object, saved, &mut listing);
                let todo = todo.filter(|todo| !in_work.contains(&todo.listed.name));
                state.waiting.extend(todo);
            }
        }
        if let Some(next) = page.next {
            let now = clock::unix_seconds();
            state.listings.pass(&mut listing, page.last_key, now);
            listing.next = next;
            state.listing = Some(listing);
            return Ok(false);
        }
        self.asides().forget_unseen(listing.since);
        feed.set_trouble(self.trouble());
        let found = &listing.found;
        found.show(&feed);
        state.is_idle = found.waiting + found.unsettled == found.hopeless;
        state.last = Some(Instant::now());
        Ok(true)
    }

    async fn list(&self, begin: Begin) -> Result<Page, ObjectError> {
        match &self.place {
            Place::Files(files) => {
                let (objects, gone) = files.list()?;
                for error in gone {
                    self.note_failure(error.to_string());
                }
                Ok(Page {
                    objects,
                    ..Page::default()
                })
            }
            Place::Bucket(bucket) => Ok(bucket.list(begin).await?),
        }
    }

    /// Counts an object. What is to be done, unless it is read or not to be read yet.
    fn judge(&self, listed: &Listed, saved: Option<&Saved>, listing: &mut Listing) -> Option<Todo> {
        let found = &mut listing.found;
        let position = saved.and_then(|saved| Position::parse(saved.position.as_deref()?).ok());
        let is_known = |position: &Position| position.version == listed.version;
        found.newest = found.newest.max(listed.version.modified);
        let is_ended = saved.is_some_and(|saved| saved.is_ended);
        if let Some(position) = position.as_ref().filter(|one| is_ended && is_known(one)) {
            if position.is_broken {
                found.broken += 1;
                let error = ObjectError::Broken(listed.name.clone());
                self.note_failure(error.to_string());
                self.give_up(listed, &error);
            } else {
                found.read += 1;
            }
            if self.rhythm.poll.is_none() {
                self.progress.skipped.fetch_add(1, Ordering::Relaxed);
                self.note_bytes(listed.version.size);
            }
            return None;
        }
        let modified = listed.version.modified / listing::NANOS;
        found.oldest = Some(found.oldest.map_or(modified, |oldest| oldest.min(modified)));
        let mut asides = self.asides();
        let turn = asides.turn(listed, Instant::now());
        if age(listed) < self.rhythm.settle || turn == Turn::Unfinished {
            found.unsettled += 1;
            return None;
        }
        found.waiting += 1;
        found.hopeless += usize::from(asides.is_hopeless(&listed.name));
        (turn == Turn::Now).then(|| Todo {
            listed: listed.clone(),
            position,
        })
    }

    /// Takes note that a loop is done with an object, well or not.
    pub(super) fn done(&self, name: &str) {
        self.in_work().remove(name);
    }

    fn in_work(&self) -> MutexGuard<'_, HashSet<String>> {
        self.in_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an object where it is to go on.
    pub(super) async fn open(
        &self,
        listed: &Listed,
        position: Option<&Position>,
        max_bytes: usize,
    ) -> Result<Object, ObjectError> {
        match &self.place {
            Place::Files(files) => files.open(listed, position, max_bytes).await,
            Place::Bucket(bucket) => bucket.open(listed, position, max_bytes).await,
        }
    }

    /// Where an object is, in words that no other place has for one of its own.
    pub(super) fn address(&self, name: &str) -> String {
        match &self.place {
            Place::Files(files) => files.address(name),
            Place::Bucket(bucket) => bucket.address(name),
        }
    }

    /// How long it may still take until the last line of an object is complete; `None` where it is as complete as it will be.
    pub(super) fn may_grow(&self, listed: &Listed) -> Option<Duration> {
        let may_ever = matches!(self.place, Place::Files(_)) && self.rhythm.poll.is_some();
        let complete = (self.rhythm.settle * COMPLETE_TIMES).max(COMPLETE_LEAST);
        complete
            .checked_sub(age(listed))
            .filter(|left| may_ever && !left.is_zero())
    }

    /// Leaves an object alone until its last line is complete, or will never be.
    pub(super) fn wait_for_rest(&self, listed: &Listed, wait: Duration) {
        self.asides().wait(listed, wait, Instant::now());
    }

    /// Takes note that an object was read to its end, or is not what it was.
    pub(super) fn forget(&self, name: &str) {
        self.asides().forget(name);
    }

    /// Takes note that an object cannot be read, and tries it again later. How many there are now.
    pub(super) fn fail(&self, listed: &Listed, error: &ObjectError) -> usize {
        self.asides()
            .fail(listed, error.to_string(), Instant::now())
    }

    /// Takes note that an object ends early, and only another version of it can be read to its end.
    pub(super) fn give_up(&self, listed: &Listed, error: &ObjectError) {
        self.asides().give_up(listed, error.to_string());
    }

    /// What cannot be read now, in a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        self.asides().trouble()
    }

    fn asides(&self) -> MutexGuard<'_, Asides> {
        self.asides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only what has an end is asked for its failures: a daemon's would grow for ever.
    pub(super) fn note_failure(&self, sentence: String) {
        if self.rhythm.poll.is_none() {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(sentence);
        }
    }

    /// What could not be read to its end, a sentence each.
    pub fn failures(&self) -> Vec<String> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.clone()
    }

    pub(super) fn note_bytes(&self, bytes: u64) {
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Since an object was written.
fn age(listed: &Listed) -> Duration {
    let modified = listed.version.modified / listing::NANOS;
    Duration::from_secs(clock::unix_seconds().abs_diff(modified))
}
