//! The last hour of each source, sampled in the daemon, so that a page that is opened now shows it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::Admin;
use crate::clock;
use crate::pipeline::pulse::Pulse;

/// Between two samples.
pub const STEP_SECS: i64 = 5;
/// An hour's.
const KEPT: usize = 720;
/// Samples of what a figure of now is the mean of: half a minute's.
const RECENT: usize = 6;

/// Samples, the oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    samples: VecDeque<Sample>,
    /// When the last one was taken, in seconds since 1970.
    ends: i64,
}

#[derive(Clone, Debug, Default)]
struct Sample {
    is_paused: bool,
    /// One for each source, in their order; none before they started, or while nobody sampled.
    beats: Vec<Beat>,
}

/// What a source came to in one step.
#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    events_per_second: f64,
    lag: Option<i64>,
    /// The mean of its transactions, and the slowest, in milliseconds.
    transaction: Option<(f64, f64)>,
}

impl Beat {
    fn new(pulse: &Pulse, took: Duration) -> Beat {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        Beat {
            events_per_second: pulse.events as f64 / took.as_secs_f64().max(0.001),
            lag: pulse.lag,
            transaction: pulse
                .mean()
                .map(|mean| (millis(mean), millis(pulse.slowest))),
        }
    }
}

/// When the samples of an hour were taken, and what holds for all sources.
#[derive(Debug, Serialize)]
pub struct Frame {
    step_seconds: i64,
    /// Of the last sample, in seconds since 1970.
    ends: i64,
    paused: Vec<bool>,
}

/// The last hour of one source: a number for each sample, `None` where there is none to tell.
#[derive(Debug, Serialize)]
pub struct Series {
    events_per_second: Vec<Option<f64>>,
    lag_seconds: Vec<Option<i64>>,
    transaction_ms: Vec<Option<f64>>,
    slowest_transaction_ms: Vec<Option<f64>>,
}

/// Takes samples for ever.
pub async fn keep(admin: &Admin) -> Infallible {
    let mut ticks = tokio::time::interval(Duration::from_secs(STEP_SECS as u64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        let took = last.elapsed();
        last = Instant::now();
        let feeds = admin.feeds();
        let beats = feeds.iter().map(|feed| {
            let pulse = std::mem::take(&mut *feed.pulse());
            Beat::new(&pulse, took)
        });
        let sample = Sample {
            is_paused: admin.shared.gate.pause().is_some(),
            beats: beats.collect(),
        };
        admin.history.add(sample, clock::unix_seconds());
    }
}

impl History {
    fn add(&self, sample: Sample, now: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.samples.is_empty() {
            // What nobody sampled, as while the machine slept, stays empty.
            let missed = (now - kept.ends - STEP_SECS / 2) / STEP_SECS;
            let missed = usize::try_from(missed).unwrap_or(0).min(KEPT);
            kept.samples.extend(vec![Sample::default(); missed]);
        }
        kept.samples.push_back(sample);
        let surplus = kept.samples.len().saturating_sub(KEPT);
        kept.samples.drain(..surplus);
        kept.ends = now;
    }

    pub fn frame(&self) -> Frame {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Frame {
            step_seconds: STEP_SECS,
            ends: kept.ends,
            paused: kept.samples.iter().map(|sample| sample.is_paused).collect(),
        }
    }

    /// Of the source at this place.
    pub fn series(&self, at: usize) -> Series {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let beats = || kept.samples.iter().map(|sample| sample.beats.get(at));
        let transactions = || beats().map(|beat| beat?.transaction);
        Series {
            events_per_second: beats()
                .map(|beat| Some(rounded(beat?.events_per_second)))
                .collect(),
            lag_seconds: beats().map(|beat| beat?.lag).collect(),
            transaction_ms: transactions().map(|took| Some(rounded(took?.0))).collect(),
            slowest_transaction_ms: transactions().map(|took| Some(rounded(took?.1))).collect(),
        }
    }

    /// Events a second of the source at this place, of the last half a minute.
    pub fn events_per_second(&self, at: usize) -> f64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = kept.samples.iter().rev().take(RECENT);
        let (mut sum, mut count) = (0.0, 0);
        for beat in recent.filter_map(|sample| sample.beats.get(at)) {
            sum += beat.events_per_second;
            count += 1;
        }
        rounded(sum / f64::from(count.max(1)))
    }
}

/// To a tenth: more would be noise, and bytes.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(events: f64) -> Sample {
        Sample {
            is_paused: false,
            beats: vec![Beat {
                events_per_second: events,
                ..Beat::default()
            }],
        }
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let history = History::default();
        for n in 0..2_000 {
            history.add(sample(f64::from(n)), 1_000 + i64::from(n) * STEP_SECS);
        }
        let series = history.series(0).events_per_second;
        assert_eq!(series.len(), 720);
        assert_eq!(series.last(), Some(&Some(1_999.0)));
        assert_eq!(history.frame().ends, 1_000 + 1_999 * STEP_SECS);
        assert_eq!(history.frame().paused.len(), 720);
        assert_eq!(history.events_per_second(0), 1_996.5);
    }

    #[test]
    fn what_nobody_sampled_is_a_gap() {
        let history = History::default();
        history.add(sample(1.0), 1_000);
        history.add(sample(2.0), 1_006);
        history.add(sample(3.0), 1_020);
        // The clock was set back.
        history.add(sample(4.0), 900);
        let series = history.series(0).events_per_second;
        assert_eq!(
            series,
            [Some(1.0), Some(2.0), None, None, Some(3.0), Some(4.0)]
        );
        history.add(sample(5.0), 1_000_000);
        assert_eq!(history.series(0).events_per_second.len(), 720);
        assert_eq!(history.series(1).lag_seconds, vec![None; 720]);
    }

    #[test]
    fn a_beat_is_what_a_pulse_came_to_in_a_second() {
        let mut pulse = Pulse::default();
        let none = Beat::new(&pulse, Duration::from_secs(5));
        assert_eq!((none.events_per_second, none.transaction), (0.0, None));
        pulse.events = 100;
        pulse.took(Duration::from_millis(10));
        pulse.took(Duration::from_millis(20));
        let beat = Beat::new(&pulse, Duration::from_secs(5));
        assert_eq!(beat.events_per_second, 20.0);
        assert_eq!(beat.transaction, Some((15.0, 20.0)));
    }
}
