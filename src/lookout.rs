//! What is looked at only now and then, because looking costs something: who wants to know asks and takes what was seen last,
//! and whoever looks decides how often.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock;

#[derive(Debug)]
pub struct Lookout<T> {
    asked: Notify,
    seen: Mutex<Option<Seen<T>>>,
}

/// What was seen, and when, in seconds since 1970.
#[derive(Clone, Debug)]
pub struct Seen<T> {
    pub at: i64,
    pub what: T,
}

impl<T> Default for Lookout<T> {
    fn default() -> Lookout<T> {
        Lookout {
            asked: Notify::new(),
            seen: Mutex::new(None),
        }
    }
}

impl<T: Clone> Lookout<T> {
    /// What was seen last, and asks for a new look, for who comes next.
    pub fn ask(&self) -> Option<Seen<T>> {
        self.asked.notify_one();
        self.last()
    }

    /// What was seen last; nobody looks for that.
    pub fn last(&self) -> Option<Seen<T>> {
        self.seen().clone()
    }

    /// Returns when somebody has asked since the last time.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    pub fn tell(&self, what: T) {
        let at = clock::unix_seconds();
        *self.seen() = Some(Seen { at, what });
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen<T>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn however_many_ask_one_look_answers() {
        let lookout = Lookout::default();
        assert!(lookout.ask().is_none());
        assert!(lookout.ask().is_none());
        lookout.asked().await;
        lookout.tell(7);
        assert_eq!(lookout.last().map(|seen| seen.what), Some(7));
        let again = tokio::time::timeout(std::time::Duration::from_millis(50), lookout.asked());
        assert!(again.await.is_err(), "nobody has asked since");
    }
}
