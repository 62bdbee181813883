//! Whether a source is well, by four clocks: when a receive was last answered, when a transaction was last committed, since
//! when the oldest delivery in flight is held, and since when shards are read by nobody. The pipeline sets them; what they
//! say is a pure function of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::SourceKind;
use crate::sources::http::door::COMMIT_DEADLINE;

/// What a call may take beyond the time that a source waits for something to come: its own time limit, the attempts after
/// it, and a machine that is busy.
const GRACE: Duration = Duration::from_secs(60);
/// A batch for which others contend counts as an outage after this time.
const HELD_FOR_LONG: Duration = Duration::from_secs(120);
/// A queue may hide its messages for less; a transaction may take a minute all the same.
const HELD_AT_LEAST: Duration = Duration::from_secs(60);

/// The clocks of one source.
#[derive(Debug)]
pub struct Clocks(Mutex<Times>);

#[derive(Debug)]
struct Times {
    /// From then on receives are expected; `None` while there is nothing to receive from.
    expecting: Option<Instant>,
    received: Option<Moment>,
    committed: Option<Moment>,
    /// How many deliveries are in flight, by when the first of their batch came.
    held: BTreeMap<Instant, usize>,
    /// How many shards are read by nobody, and since when there are any.
    unread: Option<(usize, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    /// The same by the wall clock, in seconds since 1970.
    unix: i64,
}

impl Moment {
    fn now() -> Moment {
        Moment {
            at: Instant::now(),
            unix: clock::unix_seconds(),
        }
    }
}

/// What the clocks show at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// When a receive was last answered, be it with nothing, in seconds since 1970.
    pub last_receive: Option<i64>,
    /// When a transaction was last committed, in seconds since 1970.
    pub last_commit: Option<i64>,
    /// For how long there has been neither; `None` while nothing is expected.
    pub silence: Option<Duration>,
    /// Deliveries that are received, and neither acknowledged nor given back.
    pub in_flight: usize,
    /// For how long the oldest of them is held.
    pub oldest_in_flight: Option<Duration>,
    /// How many shards are read by nobody, and for how long there are any.
    pub unread: Option<(usize, Duration)>,
}

/// How long a source that is well may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Between two answers; `None` where silence means that nobody sends.
    pub silence: Option<Duration>,
    /// From a receive to the acknowledgement.
    pub in_flight: Duration,
    /// With shards that nobody reads: until then the lease of one that has died may still hold others off.
    pub unread: Option<Duration>,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks(Mutex::new(Times {
            expecting: Some(Instant::now()),
            received: None,
            committed: None,
            held: BTreeMap::new(),
            unread: None,
        }))
    }
}

impl Clocks {
    /// A receive was answered.
    pub fn received(&self) {
        self.times().received = Some(Moment::now());
    }

    /// A transaction was committed.
    pub fn committed(&self) {
        self.times().committed = Some(Moment::now());
    }

    /// Says whether there is something to receive from.
    pub fn expect(&self, is_expecting: bool) {
        let mut times = self.times();
        match (times.expecting, is_expecting) {
            (None, true) => times.expecting = Some(Instant::now()),
            (Some(_), false) => times.expecting = None,
            _ => {}
        }
    }

    /// Says how many shards are read by nobody now.
    pub fn leave_unread(&self, count: usize) {
        let mut times = self.times();
        let since = times.unread.map_or_else(Instant::now, |(_, since)| since);
        times.unread = (count > 0).then_some((count, since));
    }

    /// One more delivery is in flight, of a batch that is held since then.
    pub fn hold(&self, since: Instant) {
        *self.times().held.entry(since).or_default() += 1;
    }

    /// So many deliveries of such a batch are not in flight any more.
    pub fn let_go(&self, since: Instant, count: usize) {
        let mut times = self.times();
        if let Some(held) = times.held.get_mut(&since) {
            *held = held.saturating_sub(count);
            if *held == 0 {
                times.held.remove(&since);
            }
        }
    }

    pub fn read(&self, now: Instant) -> Reading {
        let times = self.times();
        let signs = [times.received, times.committed].into_iter().flatten();
        let silent_since = |expecting| signs.map(|sign| sign.at).fold(expecting, Instant::max);
        let since = |then: Instant| now.saturating_duration_since(then);
        Reading {
            last_receive: times.received.map(|moment| moment.unix),
            last_commit: times.committed.map(|moment| moment.unix),
            silence: times.expecting.map(silent_since).map(since),
            in_flight: times.held.values().sum(),
            oldest_in_flight: times.held.keys().next().copied().map(since),
            unread: times.unread.map(|(count, then)| (count, since(then))),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// Those of a source, from its own settings.
    pub fn of(source: &SourceKind) -> Limits {
        let waiting = match source {
            SourceKind::Sqs { queue, .. } => Some(Duration::from_secs(queue.wait_time_secs)),
            SourceKind::Kinesis { stream, .. } => {
                Some(Duration::from_millis(stream.poll_interval_ms))
            }
            SourceKind::File { folder, .. } => Some(Duration::from_secs(folder.watch.poll_secs)),
            SourceKind::S3 { bucket, .. } => Some(Duration::from_secs(bucket.watch.poll_secs)),
            SourceKind::Http(_) => None,
        };
        let in_flight = match source {
            SourceKind::Sqs { queue, .. } => {
                Duration::from_secs(queue.visibility_timeout_secs).max(HELD_AT_LEAST)
            }
            SourceKind::Http(_) => COMMIT_DEADLINE,
            SourceKind::Kinesis { .. } | SourceKind::File { .. } | SourceKind::S3 { .. } => {
                HELD_FOR_LONG
            }
        };
        let unread = match source {
            SourceKind::Kinesis { stream, .. } => Some(Duration::from_secs(stream.lease_secs)),
            _ => None,
        };
        Limits {
            silence: waiting.map(|waiting| waiting + GRACE),
            in_flight,
            unread,
        }
    }
}

/// Why a source is not well; `None` when it is. `running`: for how long the store has taken writes without a pause: nobody is
/// blamed for what came of one.
pub fn trouble(reading: &Reading, limits: &Limits, running: Duration) -> Option<String> {
    if let Some(held) = reading.oldest_in_flight.map(|held| held.min(running))
        && held > limits.in_flight
    {
        return Some(format!(
            "the oldest in flight was received {} s ago, and is not stored yet; well is up to {} s",
            held.as_secs(),
            limits.in_flight.as_secs()
        ));
    }
    if let (Some((shards, time)), Some(limit)) = (reading.unread, limits.unread)
        && time.min(running) > limit
    {
        return Some(format!(
            "shards that nobody has read for {} s: {shards}; raise workers, or start another daemon",
            time.min(running).as_secs()
        ));
    }
    let (silence, limit) = (reading.silence?.min(running), limits.silence?);
    (silence > limit).then(|| {
        format!(
            "no receive was answered for {} s; well is up to {} s",
            silence.as_secs(),
            limit.as_secs()
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const LIMITS: Limits = Limits {
        silence: Some(Duration::from_secs(80)),
        in_flight: Duration::from_secs(120),
        unread: Some(Duration::from_secs(30)),
    };

    fn silent_for(seconds: u64) -> Reading {
        Reading {
            silence: Some(Duration::from_secs(seconds)),
            ..Reading::default()
        }
    }

    fn held_for(seconds: u64) -> Reading {
        Reading {
            in_flight: 1,
            oldest_in_flight: Some(Duration::from_secs(seconds)),
            ..silent_for(0)
        }
    }

    #[test]
    fn silence_is_trouble_beyond_its_limit() {
        assert_eq!(trouble(&silent_for(80), &LIMITS, HOUR), None);
        assert_eq!(
            trouble(&silent_for(95), &LIMITS, HOUR).unwrap(),
            "no receive was answered for 95 s; well is up to 80 s"
        );
    }

    #[test]
    fn silence_is_no_trouble_where_nothing_is_expected() {
        let pushed = Limits {
            silence: None,
            ..LIMITS
        };
        assert_eq!(trouble(&silent_for(9_999), &pushed, HOUR), None);
        assert_eq!(trouble(&Reading::default(), &LIMITS, HOUR), None);
    }

    #[test]
    fn what_is_held_for_long_is_trouble_whatever_is_received() {
        assert_eq!(trouble(&held_for(120), &LIMITS, HOUR), None);
        assert_eq!(
            trouble(&held_for(121), &LIMITS, HOUR).unwrap(),
            "the oldest in flight was received 121 s ago, and is not stored yet; well is up to 120 s"
        );
    }

    #[test]
    fn shards_that_nobody_reads_are_trouble_after_a_lease() {
        let unread_for = |seconds| Reading {
            unread: Some((4, Duration::from_secs(seconds))),
            ..silent_for(0)
        };
        assert_eq!(trouble(&unread_for(30), &LIMITS, HOUR), None);
        assert_eq!(
            trouble(&unread_for(31), &LIMITS, HOUR).unwrap(),
            "shards that nobody has read for 31 s: 4; raise workers, or start another daemon"
        );
        let just_now = Duration::from_secs(3);
        assert_eq!(trouble(&unread_for(31), &LIMITS, just_now), None);
    }

    #[test]
    fn the_time_of_a_pause_is_nobodys_trouble() {
        let just_now = Duration::from_secs(3);
        assert_eq!(trouble(&silent_for(9_999), &LIMITS, just_now), None);
        assert_eq!(trouble(&held_for(9_999), &LIMITS, just_now), None);
        assert!(trouble(&held_for(9_999), &LIMITS, HOUR).is_some());
    }

    #[test]
    fn the_clocks_show_what_was_told_to_them() {
        let clocks = Clocks::default();
        let started = Instant::now();
        let reading = clocks.read(started + HOUR);
        assert!(reading.silence.unwrap() >= HOUR);
        assert_eq!((reading.last_receive, reading.last_commit), (None, None));

        clocks.received();
        let reading = clocks.read(Instant::now() + HOUR);
        assert!(reading.last_receive.is_some() && reading.last_commit.is_none());
        clocks.committed();
        assert!(clocks.read(Instant::now()).last_commit.is_some());
        assert!(clocks.read(Instant::now()).silence.unwrap() < HOUR);

        clocks.expect(false);
        assert_eq!(clocks.read(Instant::now()).silence, None);
        clocks.expect(true);
        assert!(clocks.read(Instant::now()).silence.unwrap() < HOUR);
    }

    #[test]
    fn shards_are_unread_since_there_were_any() {
        let clocks = Clocks::default();
        clocks.leave_unread(0);
        assert_eq!(clocks.read(Instant::now()).unread, None);
        clocks.leave_unread(2);
        let later = Instant::now() + HOUR;
        clocks.leave_unread(3);
        let (count, time) = clocks.read(later).unread.unwrap();
        assert!(count == 3 && time >= HOUR, "{count} {time:?}");
        clocks.leave_unread(0);
        clocks.leave_unread(1);
        let (_, time) = clocks.read(Instant::now()).unread.unwrap();
        assert!(time < HOUR, "{time:?}");
    }

    #[test]
    fn the_oldest_in_flight_is_the_first_of_the_oldest_batch() {
        let (clocks, first) = (Clocks::default(), Instant::now());
        let (second, now) = (first + HOUR, first + 3 * HOUR);
        clocks.hold(second);
        clocks.hold(first);
        clocks.hold(first);
        let reading = clocks.read(now);
        assert_eq!(
            (reading.in_flight, reading.oldest_in_flight),
            (3, Some(3 * HOUR))
        );
        clocks.let_go(first, 1);
        assert_eq!(clocks.read(now).oldest_in_flight, Some(3 * HOUR));
        clocks.let_go(first, 1);
        assert_eq!(clocks.read(now).oldest_in_flight, Some(2 * HOUR));
        clocks.let_go(second, 1);
        let reading = clocks.read(now);
        assert_eq!((reading.in_flight, reading.oldest_in_flight), (0, None));
    }
}
