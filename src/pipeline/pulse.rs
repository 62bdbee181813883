//! What the transactions of a source came to since somebody last asked.

use std::time::Duration;

use crate::store::Tally;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pulse {
    pub events: u64,
    pub transactions: u32,
    /// Of all of them together.
    pub time: Duration,
    pub slowest: Duration,
    /// The age of the newest event of a transaction when it was committed, in seconds: of all transactions the greatest.
    pub lag: Option<i64>,
}

impl Pulse {
    /// Adds a transaction and how long it took.
    pub fn took(&mut self, time: Duration) {
        self.transactions += 1;
        self.time += time;
        self.slowest = self.slowest.max(time);
    }

    /// Adds what a transaction stored.
    pub fn stored(&mut self, tally: &Tally, quarantined: usize, lag: Option<i64>) {
        let stored = tally.stored + tally.adjustments + tally.duplicates + tally.variants;
        self.events += stored + quarantined as u64;
        self.lag = self.lag.max(lag);
    }

    pub fn mean(&self) -> Option<Duration> {
        (self.transactions > 0).then(|| self.time / self.transactions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_add_up() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.mean(), None);
        let tally = Tally {
            stored: 5,
            adjustments: 1,
            duplicates: 2,
            variants: 1,
        };
        pulse.stored(&tally, 3, Some(9));
        pulse.stored(&Tally::default(), 0, None);
        pulse.stored(&Tally::default(), 0, Some(4));
        pulse.took(Duration::from_millis(10));
        pulse.took(Duration::from_millis(30));
        assert_eq!((pulse.events, pulse.lag), (12, Some(9)));
        assert_eq!(pulse.mean(), Some(Duration::from_millis(20)));
        assert_eq!(pulse.slowest, Duration::from_millis(30));
    }
}
