//! Which files or objects are to be read: what a listing shows and `positions` does not know as read. All loops of a source
//! take from one agenda.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::listing::{self, Found, Listing, Listings};
use super::{Feed, Worker};
use crate::clock;
use crate::sources::file::Files;
use crate::sources::object::{Listed, Object, ObjectError, Position};
use crate::sources::s3::{Begin, Bucket, Page};
use crate::store::positions::Saved;

/// Between two listings where somebody waits for the end.
const SOON: Duration = Duration::from_secs(1);
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
    /// It found nothing that is to be read now or soon.
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
            progress: Progress::default(),
            failures: std::sync::Mutex::default(),
        }
    }

    /// The next object to be read; `None` when there will be none: the source stops, or everything is read and nobody wants
    /// to wait.
    ///
    /// # Errors
    /// The place cannot be listed. The next call begins anew.
    pub(super) async fn next(&self, worker: &mut Worker) -> Result<Option<Todo>, ObjectError> {
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
                    self.look(listing, &mut state, worker).await?;
                    worker.motion.rest();
                }
                None if self.is_over(&state, &feed) => state.is_over = true,
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

    /// Looks at the next objects of a listing.
    async fn look(
        &self,
        mut listing: Listing,
        state: &mut State,
        worker: &mut Worker,
    ) -> Result<(), ObjectError> {
        let feed = Arc::clone(&worker.feed);
        let listed = feed.stop.run_until_cancelled(self.list(listing.next));
        let Some(page) = listed.await.transpose()? else {
            return Ok(());
        };
        feed.set_trouble(None);
        feed.clocks.received();
        listing.found.left_alone += page.left_alone;
        for objects in page.objects.chunks(TOGETHER) {
            let names: Vec<&str> = objects.iter().map(|one| one.name.as_str()).collect();
            let Ok(saved) = worker.positions(&names).await else {
                return Ok(());
            };
            for object in objects {
                let saved = saved.get(&object.name).filter(|_| !self.rhythm.is_again);
                self.judge(object, saved, state, &mut listing.found);
            }
        }
        if let Some(next) = page.next {
            let now = clock::unix_seconds();
            state.listings.pass(&mut listing, page.last_key, now);
            listing.next = next;
            state.listing = Some(listing);
        } else {
            listing.found.show(&feed);
            state.is_idle = listing.found.waiting + listing.found.unsettled == 0;
            state.last = Some(Instant::now());
        }
        Ok(())
    }

    async fn list(&self, begin: Begin) -> Result<Page, ObjectError> {
        match &self.place {
            Place::Files(files) => Ok(Page {
                objects: files.list()?,
                ..Page::default()
            }),
            Place::Bucket(bucket) => Ok(bucket.list(begin).await?),
        }
    }

    /// Puts an object on the agenda, unless it is read, being read or not to be read yet.
    fn judge(&self, listed: &Listed, saved: Option<&Saved>, state: &mut State, found: &mut Found) {
        let position = saved.and_then(|saved| Position::parse(saved.position.as_deref()?).ok());
        let is_known = |position: &Position| position.version == listed.version;
        found.newest = found.newest.max(listed.version.modified);
        if saved.is_some_and(|saved| saved.is_ended) && position.as_ref().is_some_and(is_known) {
            found.read += 1;
            if self.rhythm.poll.is_none() {
                self.progress.skipped.fetch_add(1, Ordering::Relaxed);
                self.note_bytes(listed.version.size);
            }
            return;
        }
        let modified = listed.version.modified / listing::NANOS;
        found.oldest = Some(found.oldest.map_or(modified, |oldest| oldest.min(modified)));
        let age = Duration::from_secs(clock::unix_seconds().abs_diff(modified));
        if age < self.rhythm.settle {
            found.unsettled += 1;
            return;
        }
        found.waiting += 1;
        if !self.in_work().contains(&listed.name) {
            state.waiting.push_back(Todo {
                listed: listed.clone(),
                position,
            });
        }
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

    /// Whether an object may yet get longer at its end.
    pub(super) fn may_grow(&self) -> bool {
        matches!(self.place, Place::Files(_)) && self.rhythm.poll.is_some()
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
