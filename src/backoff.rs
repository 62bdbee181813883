//! Waiting longer after every failure, with jitter so that many do not come back at once.

use std::time::Duration;

/// Waits between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(least: Duration, most: Duration) -> Backoff {
        Backoff {
            least,
            most,
            failures: 0,
        }
    }

    /// How long to wait now: at random between a half and the whole of a time that doubles with each failure.
    pub fn wait(&mut self) -> Duration {
        let whole = self
            .least
            .saturating_mul(1 << self.failures.min(16))
            .min(self.most);
        self.failures += 1;
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for whole in [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] {
            let wait = backoff.wait().as_secs_f64();
            assert!(
                (whole * 0.499..=whole * 1.001).contains(&wait),
                "{wait} of {whole}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }
}
