//! The mass breaker: when most input is bad, either its format changed or we are wrong. Then nothing more is received, and
//! the queue keeps it safe.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bodies that are looked back at.
const WINDOW: usize = 200;
/// Between two receives that try whether it has become better.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// Whether a worker may receive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Permit {
    Go,
    /// Once, to see whether the input is good again.
    Probe,
    Wait(Duration),
}

/// The last bodies of one source.
#[derive(Debug, Default)]
pub struct Breaker {
    /// True for a bad one.
    recent: VecDeque<bool>,
    /// When the next probe is due, while it is open.
    probe_at: Option<Instant>,
    /// Whether a probe was let through whose bodies are not known yet. Others were under way when it opened: they tell
    /// nothing of what comes next.
    awaits_probe: bool,
}

impl Breaker {
    pub fn permit(&mut self, now: Instant) -> Permit {
        match self.probe_at {
            None => Permit::Go,
            Some(due) if now >= due => {
                self.probe_at = Some(now + PROBE_EVERY);
                self.expect_probe();
                Permit::Probe
            }
            Some(due) => Permit::Wait(due - now),
        }
    }

    /// Says that what is noted next was let through to see how the input is now.
    pub fn expect_probe(&mut self) {
        self.awaits_probe = true;
    }

    pub fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }

    /// Takes note of bodies, true for a bad one. While it is open only those of a probe count, and mostly good ones close
    /// it. Returns whether it has just opened.
    pub fn note(&mut self, bodies: &[bool], now: Instant) -> bool {
        let mostly_bad = |bad: usize, all: usize| bad * 2 > all;
        let bad = bodies.iter().filter(|bad| **bad).count();
        if self.is_open() {
            if self.awaits_probe && !bodies.is_empty() {
                self.awaits_probe = false;
                if !mostly_bad(bad, bodies.len()) {
                    *self = Breaker::default();
                }
            }
            return false;
        }
        self.recent.extend(bodies);
        let surplus = self.recent.len().saturating_sub(WINDOW);
        self.recent.drain(..surplus);
        let bad = self.recent.iter().filter(|bad| **bad).count();
        if self.recent.len() == WINDOW && mostly_bad(bad, WINDOW) {
            self.probe_at = Some(now + PROBE_EVERY);
        }
        self.is_open()
    }

    /// Takes note that so many of the last bodies, which could be read, are bad all the same. Returns whether it has just
    /// opened.
    pub fn spoil(&mut self, bodies: usize, now: Instant) -> bool {
        let good = self.recent.iter_mut().rev().filter(|bad| !**bad);
        good.take(bodies).for_each(|bad| *bad = true);
        !self.is_open() && self.note(&[], now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_when_over_half_of_200_bodies_are_bad() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        assert!(!breaker.note(&[true; 199], now), "too few to judge");
        let mut breaker = Breaker::default();
        assert!(!breaker.note(&[false; 100], now));
        assert!(!breaker.note(&[true; 100], now), "half of them");
        assert_eq!(breaker.permit(now), Permit::Go);
        assert!(breaker.note(&[true], now), "101 of the last 200");
        assert_eq!(breaker.permit(now), Permit::Wait(PROBE_EVERY));
    }

    #[test]
    fn what_could_be_read_may_be_bad_all_the_same() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..199 {
            assert!(!breaker.note(&[false], now));
            assert!(!breaker.spoil(1, now), "too few to judge");
        }
        assert!(breaker.note(&[false], now), "199 of 200");
        assert!(!breaker.spoil(1, now), "it is open already");
        let mut breaker = Breaker::default();
        breaker.note(&[false; 200], now);
        assert!(!breaker.spoil(100, now), "half of them");
        assert!(breaker.spoil(1, now));
    }

    #[test]
    fn a_good_probe_closes_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.note(&[true; 200], now);
        let later = now + PROBE_EVERY;
        assert_eq!(breaker.permit(later), Permit::Probe);
        assert_eq!(
            breaker.permit(later),
            Permit::Wait(PROBE_EVERY),
            "one worker probes, the others wait"
        );
        assert!(!breaker.note(&[true, true, false], later));
        assert!(breaker.is_open());
        assert!(!breaker.note(&[], later), "an empty queue tells nothing");
        assert!(breaker.is_open());
        let later = later + PROBE_EVERY;
        assert_eq!(breaker.permit(later), Permit::Probe);
        breaker.note(&[false, false, true], later);
        assert_eq!(breaker.permit(later), Permit::Go);
        assert!(!breaker.note(&[true; 199], later), "it starts anew");
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_close_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.note(&[true; 200], now);
        breaker.note(&[false], now);
        assert_eq!(breaker.permit(now), Permit::Wait(PROBE_EVERY));
    }
}
