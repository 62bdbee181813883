//! How many requests a route takes in a second.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket that fills by `per_second` and holds what a second brings.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    level: Mutex<(f64, Instant)>,
}

impl Rate {
    pub fn new(per_second: u64, now: Instant) -> Rate {
        let per_second = per_second as f64;
        Rate {
            per_second,
            level: Mutex::new((per_second, now)),
        }
    }

    /// Takes one out, if there is one.
    pub fn allows(&self, now: Instant) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *level;
        let filled = left + self.per_second * now.saturating_duration_since(since).as_secs_f64();
        let filled = filled.min(self.per_second);
        let allowed = filled >= 1.0;
        *level = (if allowed { filled - 1.0 } else { filled }, since.max(now));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_brings_its_number_and_no_more() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        let allowed = |at: u64| {
            let now = start + Duration::from_millis(at);
            (0..100).filter(|_| rate.allows(now)).count()
        };
        assert_eq!(allowed(0), 10);
        assert_eq!(allowed(50), 0);
        assert_eq!(allowed(350), 3);
        assert_eq!(allowed(60_000), 10, "what was not used is lost");
    }
}
