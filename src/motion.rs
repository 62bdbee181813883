//! Whether the workers move. Each says when it has done a step, however that ended, and when it rests: then it may wait for
//! as long as it likes. One that does neither hangs, and only a new start helps. An outage of the queue or the database is
//! another thing: there each failure is a step.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// All workers of the daemon.
#[derive(Debug, Default)]
pub struct Motions(Mutex<Vec<Weak<Motion>>>);

/// One worker. It rests at first.
#[derive(Debug)]
pub struct Motion {
    source: String,
    last_step: Mutex<Option<Instant>>,
}

impl Motions {
    /// One more worker of this source. It is looked at until it is dropped.
    pub fn add(&self, source: &str) -> Arc<Motion> {
        let motion = Arc::new(Motion {
            source: source.to_owned(),
            last_step: Mutex::new(None),
        });
        let mut all = lock(&self.0);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&motion));
        motion
    }

    /// The source of a worker that has done nothing for so long, if there is one.
    pub fn hanging(&self, patience: Duration) -> Option<String> {
        let all = lock(&self.0);
        let mut workers = all.iter().filter_map(Weak::upgrade);
        let hanging = workers.find(|one| {
            let last_step = *lock(&one.last_step);
            last_step.is_some_and(|then| then.elapsed() > patience)
        });
        hanging.map(|one| one.source.clone())
    }
}

impl Motion {
    /// Something is done, and the next thing is begun.
    pub fn step(&self) {
        *lock(&self.last_step) = Some(Instant::now());
    }

    /// It waits for what may not come for long.
    pub fn rest(&self) {
        *lock(&self.last_step) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_hangs_that_neither_steps_nor_rests() {
        let motions = Motions::default();
        let (one, other) = (motions.add("one"), motions.add("other"));
        let patience = Duration::from_millis(20);
        std::thread::sleep(2 * patience);
        assert_eq!(motions.hanging(patience), None, "they have not begun");
        one.step();
        other.step();
        std::thread::sleep(2 * patience);
        other.step();
        assert_eq!(motions.hanging(patience).unwrap(), "one");
        one.rest();
        assert_eq!(motions.hanging(Duration::from_secs(60)), None);
        assert_eq!(motions.hanging(Duration::ZERO).unwrap(), "other");
        drop(other);
        assert_eq!(motions.hanging(Duration::ZERO), None, "it has ended");
    }
}
