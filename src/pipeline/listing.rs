//! The listings of a source of objects: where each begins, and what it found.
//!
//! A bucket has a page for each thousand objects, and years of exports have many. Pages of old objects that are all read are
//! passed: most listings begin behind them.

use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;

use super::Feed;
use super::backlog::Backlog;
use crate::clock;
use crate::sources::s3::Begin;
use crate::telemetry;

/// A second.
pub const NANOS: i64 = 1_000_000_000;
/// Each listing of so many begins at the first key: a key may come anywhere, and an object change long after it was read.
const WHOLE: u32 = 10;
/// And each that begins so many seconds after the last of these, or later.
const WHOLE_SECS: u64 = 3_600;
/// The others begin behind the pages whose objects are all read and were written longer ago than this.
const LOOK_BACK: Duration = Duration::from_hours(24);

/// All listings of a place.
#[derive(Debug, Default)]
pub struct Listings {
    /// Since the last whole one began, that one included.
    begun: u32,
    /// When that was, in seconds since 1970.
    whole_since: i64,
    passed: Passed,
}

/// A listing under way, and what it found so far.
#[derive(Debug)]
pub struct Listing {
    /// Where its next page begins.
    pub next: Begin,
    pub found: Found,
    pub since: Instant,
    /// A page is not passed, so none behind it can be.
    has_gap: bool,
}

/// The pages that need no look each time, from the first key on.
#[derive(Debug, Default)]
struct Passed {
    /// The last key of them; `None` while there are none.
    key: Option<String>,
    found: Found,
}

/// Objects by what is to be done with them.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub read: usize,
    /// As far as can be: they end early.
    pub broken: usize,
    pub waiting: usize,
    /// Of these, those that nobody who waits for the end waits for: they were tried in vain.
    pub hopeless: usize,
    pub unsettled: usize,
    pub left_alone: usize,
    /// When the oldest that is not read yet was written, in seconds since 1970.
    pub oldest: Option<i64>,
    /// When the newest of all was written, in nanoseconds since 1970.
    pub newest: i64,
}

impl Listings {
    pub fn begin(&mut self, now: i64) -> Listing {
        let is_late = now.abs_diff(self.whole_since) >= WHOLE_SECS;
        if self.begun == 0 || self.begun == WHOLE || is_late {
            *self = Listings {
                whole_since: now,
                ..Listings::default()
            };
        }
        self.begun += 1;
        Listing {
            next: match &self.passed.key {
                Some(key) => Begin::Behind(key.clone()),
                None => Begin::First,
            },
            found: self.passed.found.clone(),
            since: Instant::now(),
            has_gap: false,
        }
    }

    /// Takes note of the page that a listing has just looked at, and of its last key, if the next listing can begin behind it.
    pub fn pass(&mut self, listing: &mut Listing, last_key: Option<String>, now: i64) {
        let found = &listing.found;
        let age = now.saturating_sub(found.newest / NANOS);
        let is_old = age >= LOOK_BACK.as_secs().cast_signed();
        listing.has_gap |= found.waiting + found.unsettled > 0 || !is_old;
        if !listing.has_gap && last_key.is_some() {
            self.passed = Passed {
                key: last_key,
                found: found.clone(),
            };
        }
    }
}

impl Found {
    /// Shows what the last listing found.
    pub fn show(&self, feed: &Feed) {
        let source = &feed.name;
        let states = [
            ("read", self.read),
            ("broken", self.broken),
            ("waiting", self.waiting),
            ("unsettled", self.unsettled),
            ("left_alone", self.left_alone),
        ];
        for (state, count) in states {
            let labels = [("source", source.to_owned()), ("state", state.to_owned())];
            gauge!(telemetry::OBJECTS, &labels).set(count as f64);
        }
        let lag = self
            .oldest
            .map_or(0, |oldest| clock::unix_seconds() - oldest);
        gauge!(telemetry::OBJECT_LAG, "source" => source.to_owned()).set(lag.max(0) as f64);
        feed.note_oldest(self.oldest);
        feed.backlog.tell(Backlog {
            waiting: Some((self.waiting + self.unsettled) as u64),
            ..Backlog::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    /// Looks at pages as a listing would: of each the last key, what is unread in it, and when its newest object was written.
    /// Returns the key behind which it began.
    fn list(listings: &mut Listings, pages: &[(&str, usize, i64)]) -> Option<String> {
        list_at(NOW, listings, pages)
    }

    fn list_at(now: i64, listings: &mut Listings, pages: &[(&str, usize, i64)]) -> Option<String> {
        let mut listing = listings.begin(now);
        let first = match &listing.next {
            Begin::Behind(key) => Some(key.clone()),
            _ => None,
        };
        for (key, waiting, newest) in pages {
            if first.as_deref().is_some_and(|first| *key <= first) {
                continue;
            }
            listing.found.read += 10 - waiting;
            listing.found.waiting += waiting;
            listing.found.newest = listing.found.newest.max(newest * NANOS);
            listings.pass(&mut listing, Some((*key).to_owned()), NOW);
        }
        assert_eq!(
            listing.found.read + listing.found.waiting,
            10 * pages.len(),
            "those that were left out count as well"
        );
        first
    }

    #[test]
    fn a_listing_begins_behind_what_is_read_and_old() {
        let mut listings = Listings::default();
        let old = NOW - 2 * DAY;
        let pages = [
            ("b", 0, old),
            ("d", 0, old),
            ("f", 0, NOW - DAY / 2),
            ("h", 0, old),
        ];
        assert_eq!(list(&mut listings, &pages), None);
        assert_eq!(list(&mut listings, &pages).as_deref(), Some("d"));
        // What is read meanwhile, or becomes old, is passed.
        let pages = [("b", 0, old), ("d", 0, old), ("f", 0, old), ("h", 1, old)];
        assert_eq!(list(&mut listings, &pages).as_deref(), Some("d"));
        assert_eq!(list(&mut listings, &pages).as_deref(), Some("f"));
    }

    #[test]
    fn what_comes_before_it_is_found_by_the_next_whole_listing() {
        let mut listings = Listings::default();
        let pages = [("b", 0, 0), ("d", 0, 0)];
        for number in 0..WHOLE {
            assert_eq!(list(&mut listings, &pages).is_none(), number == 0);
        }
        let pages = [("b", 1, NOW), ("d", 0, 0)];
        assert_eq!(list(&mut listings, &pages), None);
        assert_eq!(list(&mut listings, &pages), None, "it is not read yet");
    }

    #[test]
    fn a_listing_is_whole_after_an_hour_however_seldom_they_are() {
        let mut listings = Listings::default();
        let pages = [("b", 0, 0), ("d", 0, 0)];
        for (minute, is_whole) in [
            (0, true),
            (59, false),
            (60, true),
            (119, false),
            (500, true),
        ] {
            let begin = list_at(NOW + minute * 60, &mut listings, &pages);
            assert_eq!(begin.is_none(), is_whole, "{minute}");
        }
        // A clock that was set back holds nothing up.
        assert_eq!(list_at(NOW - DAY, &mut listings, &pages), None);
    }

    #[test]
    fn a_page_without_a_key_is_no_place_to_begin() {
        let mut listings = Listings::default();
        let mut listing = listings.begin(NOW);
        listings.pass(&mut listing, Some("b".to_owned()), NOW);
        listings.pass(&mut listing, None, NOW);
        assert_eq!(listings.begin(NOW).next, Begin::Behind("b".to_owned()));
    }
}
