//! Objects that are left alone for a while: those that cannot be read, each for longer after every attempt, and files whose
//! last line may not be complete. None of them keeps the others waiting.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::sources::object::{Listed, Version};

/// Between two attempts at an object.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(600);
/// Who waits for the end gives an object up after so many: fewer may be a fault that passes.
const ENOUGH: u32 = 3;

/// Objects by name.
#[derive(Debug, Default)]
pub struct Asides {
    by_name: HashMap<String, Aside>,
    /// Why others could be read in part alone: as they are they will not be tried again.
    broken: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Aside {
    version: Version,
    until: Instant,
    backoff: Backoff,
    /// Why it cannot be read; None where its last line may yet be completed.
    trouble: Option<String>,
    /// When it was set aside or listed, the last time.
    seen: Instant,
}

/// What is to be done with an object that was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// It could not be read, and is not to be tried again yet.
    Later,
    /// Its last line may not be complete.
    Unfinished,
}

impl Asides {
    /// Takes note that an object could not be read. How many there are now.
    pub fn fail(&mut self, listed: &Listed, trouble: String, now: Instant) -> usize {
        let aside = self.entry(listed, now);
        aside.until = now + aside.backoff.wait();
        aside.trouble = Some(trouble);
        self.failing().count()
    }

    /// Takes note that an object ends early and will not be tried again as it is.
    pub fn give_up(&mut self, listed: &Listed, trouble: String) {
        self.by_name.remove(&listed.name);
        self.broken.insert(listed.name.clone(), trouble);
    }

    /// Leaves an object alone whose last line may not be complete.
    pub fn wait(&mut self, listed: &Listed, wait: Duration, now: Instant) {
        let aside = self.entry(listed, now);
        aside.until = now + wait;
        aside.trouble = None;
        aside.backoff.reset();
    }

    fn entry(&mut self, listed: &Listed, now: Instant) -> &mut Aside {
        let entry = self.by_name.entry(listed.name.clone());
        let aside = entry.or_insert_with(|| Aside {
            version: listed.version.clone(),
            until: now,
            backoff: Backoff::new(LEAST, MOST),
            trouble: None,
            seen: now,
        });
        aside.version = listed.version.clone();
        aside.seen = now;
        aside
    }

    /// It was read, or is not what it was.
    pub fn forget(&mut self, name: &str) {
        self.by_name.remove(name);
        self.broken.remove(name);
    }

    /// Forgets what was neither listed nor set aside since then: it is gone.
    pub fn forget_unseen(&mut self, since: Instant) {
        self.by_name.retain(|_, aside| aside.seen >= since);
    }

    /// Whose turn it is of an object that was listed. Another version is tried at once.
    pub fn turn(&mut self, listed: &Listed, now: Instant) -> Turn {
        let Some(aside) = self.by_name.get_mut(&listed.name) else {
            return Turn::Now;
        };
        aside.seen = now;
        if now >= aside.until || aside.version != listed.version {
            Turn::Now
        } else if aside.trouble.is_some() {
            Turn::Later
        } else {
            Turn::Unfinished
        }
    }

    /// Whether it was tried often enough for somebody who waits for the end.
    pub fn is_hopeless(&self, name: &str) -> bool {
        let aside = self.by_name.get(name);
        aside.is_some_and(|aside| aside.trouble.is_some() && aside.backoff.failures() >= ENOUGH)
    }

    fn failing(&self) -> impl Iterator<Item = (&String, &String)> {
        let troubles = self.by_name.iter();
        troubles.filter_map(|(name, aside)| Some((name, aside.trouble.as_ref()?)))
    }

    /// What cannot be read now, in a sentence.
    pub fn trouble(&self) -> Option<String> {
        let (name, trouble) = self.failing().min()?;
        Some(sentence(self.failing().count(), name, trouble))
    }

    /// What was not read to its end, for somebody who waited for that.
    pub fn outcome(&self) -> Option<String> {
        let (name, trouble) = self.failing().chain(&self.broken).min()?;
        let count = self.failing().count() + self.broken.len();
        Some(sentence(count, name, trouble))
    }
}

fn sentence(count: usize, name: &str, trouble: &str) -> String {
    format!("objects that cannot be read: {count}, among them {name}: {trouble}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listed(name: &str, size: u64) -> Listed {
        Listed {
            name: name.to_owned(),
            version: Version {
                size,
                modified: 0,
                etag: None,
            },
        }
    }

    #[test]
    fn what_fails_is_tried_again_later_each_time_and_told() {
        let mut asides = Asides::default();
        let mut now = Instant::now();
        let a = listed("a", 1);
        assert_eq!(asides.turn(&a, now), Turn::Now);
        for attempt in 1..=12 {
            assert_eq!(asides.fail(&a, "denied".to_owned(), now), 1);
            assert_eq!(asides.turn(&a, now), Turn::Later);
            assert_eq!(asides.is_hopeless("a"), attempt >= 3);
            let most = Duration::from_secs(1 << (attempt - 1)).min(MOST);
            assert_eq!(asides.turn(&a, now + most / 3), Turn::Later, "{attempt}");
            now += most;
            assert_eq!(asides.turn(&a, now), Turn::Now, "{attempt}");
        }
        asides.fail(&a, "denied".to_owned(), now);
        assert_eq!(asides.fail(&listed("b", 1), "locked".to_owned(), now), 2);
        let told = "objects that cannot be read: 2, among them a: denied";
        assert_eq!(asides.trouble().as_deref(), Some(told));
        assert_eq!(asides.turn(&listed("a", 2), now), Turn::Now, "it changed");
        asides.forget("a");
        asides.forget("b");
        assert_eq!((asides.trouble(), asides.outcome()), (None, None));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut asides = Asides::default();
        let now = Instant::now();
        for name in ["gone", "there", "new"] {
            asides.fail(&listed(name, 1), "denied".to_owned(), now);
        }
        let later = now + Duration::from_secs(9);
        asides.turn(&listed("there", 1), later);
        asides.fail(&listed("new", 1), "denied".to_owned(), later);
        asides.forget_unseen(later);
        assert_eq!(asides.failing().count(), 2);
        assert!(!asides.is_hopeless("gone"));
    }

    #[test]
    fn a_last_line_may_be_completed_for_a_while() {
        let mut asides = Asides::default();
        let now = Instant::now();
        let a = listed("a", 1);
        asides.wait(&a, Duration::from_secs(60), now);
        assert_eq!(asides.turn(&a, now), Turn::Unfinished);
        assert_eq!(asides.trouble(), None);
        assert_eq!(asides.turn(&listed("a", 2), now), Turn::Now);
        let later = now + Duration::from_secs(60);
        assert_eq!(asides.turn(&a, later), Turn::Now);
    }

    #[test]
    fn what_is_broken_is_told_at_the_end_alone() {
        let mut asides = Asides::default();
        asides.give_up(&listed("a", 1), "cut off".to_owned());
        assert_eq!(asides.trouble(), None);
        let told = "objects that cannot be read: 1, among them a: cut off";
        assert_eq!(asides.outcome().as_deref(), Some(told));
        asides.forget("a");
        assert_eq!(asides.outcome(), None, "it was written anew");
    }
}
