//! Which keys the workers of this process are writing, or have written lately.
//!
//! Two workers that have the same event at the same time would find out in the database only: the COPY of one of them
//! waits and then fails, with all of its batch. So each says first what it is about to write, and whoever comes later writes
//! the rest, and looks again when the other has ended. With one event in a hundred repeated close by, this made two workers
//! a third faster.
//!
//! None of this is needed for a right result, which the unique keys of the tables are for: other processes are not asked,
//! and what was written long ago is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use tokio_util::sync::CancellationToken;

/// A key, by its hash: of two that share one, the later is merely looked up or waits.
pub type KeyHash = u64;

/// Keys that are remembered at least; twice as many at most, at some ten bytes each.
const REMEMBERED: usize = 400_000;

/// The keys that are being written, and by which claim, and those that were written.
#[derive(Debug, Default)]
pub struct Claims {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    /// The last claim of each key.
    claimed: FxHashMap<KeyHash, (u64, CancellationToken)>,
    written: FxHashSet<KeyHash>,
    written_before: FxHashSet<KeyHash>,
}

/// The keys of one transaction, claimed until this is dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    number: u64,
    keys: Vec<KeyHash>,
    /// The claims that had a key before, which end in their time.
    earlier: HashMap<KeyHash, CancellationToken>,
    written: FxHashSet<KeyHash>,
    ended: CancellationToken,
}

impl Claims {
    /// Claims all keys at once. Of two claims that share a key only the later one waits, so that no two wait for each
    /// other.
    pub fn take(self: &Arc<Self>, keys: Vec<KeyHash>) -> Claim {
        let ended = CancellationToken::new();
        let mut earlier = HashMap::new();
        let mut written = FxHashSet::default();
        let mut known = self.lock();
        known.last += 1;
        let number = known.last;
        for key in &keys {
            if known.written.contains(key) || known.written_before.contains(key) {
                written.insert(*key);
            }
            match known.claimed.insert(*key, (number, ended.clone())) {
                Some((other, its_end)) if other != number => {
                    earlier.insert(*key, its_end);
                }
                _ => {}
            }
        }
        drop(known);
        Claim {
            claims: Arc::clone(self),
            number,
            keys,
            earlier,
            written,
            ended,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether nobody else of this process was writing the key when it was claimed, or has written it lately.
    pub fn is_likely_new(&self, key: KeyHash) -> bool {
        !self.earlier.contains_key(&key) && !self.written.contains(&key)
    }

    /// Waits until the earlier claims of its keys have ended, whatever came of them.
    pub async fn wait_for_earlier(&self) {
        for its_end in self.earlier.values() {
            its_end.cancelled().await;
        }
    }

    /// Remembers that the keys are in the database now.
    pub fn written(&self) {
        let mut known = self.claims.lock();
        known.written.extend(&self.keys);
        if known.written.len() >= REMEMBERED {
            known.written_before = std::mem::take(&mut known.written);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut known = self.claims.lock();
        for key in &self.keys {
            let last = known.claimed.get(key);
            if last.is_some_and(|(number, _)| *number == self.number) {
                known.claimed.remove(key);
            }
        }
        drop(known);
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_later_claim_waits_for_all_before_it() {
        let claims = Arc::new(Claims::default());
        let first = claims.take(vec![1, 2, 2]);
        let second = claims.take(vec![2, 3]);
        let third = claims.take(vec![2]);
        assert!(first.is_likely_new(1) && first.is_likely_new(2));
        assert!(!second.is_likely_new(2) && second.is_likely_new(3) && !third.is_likely_new(2));
        first.wait_for_earlier().await;
        assert!(waits(&second).await);
        drop(first);
        second.wait_for_earlier().await;
        assert!(waits(&third).await);
        drop(second);
        third.wait_for_earlier().await;
        drop(third);
        assert!(claims.lock().claimed.is_empty());
    }

    async fn waits(claim: &Claim) -> bool {
        let wait = claim.wait_for_earlier();
        tokio::time::timeout(Duration::from_millis(20), wait)
            .await
            .is_err()
    }

    #[test]
    fn what_was_written_is_remembered_for_a_while() {
        let claims = Arc::new(Claims::default());
        let is_new = |key: KeyHash| claims.take(vec![key]).is_likely_new(key);
        assert!(is_new(1) && is_new(1), "nobody said that it was written");
        claims.take(vec![1]).written();
        let keys = |first: u64| (first..first + REMEMBERED as u64).collect::<Vec<_>>();
        assert!(!is_new(1));
        claims.take(keys(1_000_000)).written();
        assert!(!is_new(1));
        claims.take(keys(2_000_000)).written();
        assert!(is_new(1) && !is_new(2_000_000));
    }
}
