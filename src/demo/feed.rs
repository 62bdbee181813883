//! A generated HasOffers feed: what a network's impressions, clicks and conversions could look like, and the adjustments of
//! those conversions. The same seed gives the same events on every machine, whatever its clock says.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range, RangeInclusive};

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};

use super::fields::{self, Session};
use super::money::{Money, decimal};

/// Money is counted in units of 10^-5, as TUNE does: exactly.
pub const UNITS: i64 = 100_000;
/// The ids of adjustments go on by so many a second.
const SEQUENCES: i64 = 10_000;

/// One event and what it adds to the totals.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub network_id: &'static str,
    pub json: String,
    pub is_adjustment: bool,
    pub counts: Totals,
}

/// Sums as TUNE's stats report has them; money in [`UNITS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub impressions: i64,
    pub clicks: i64,
    pub conversions: i64,
    pub payout: i64,
    pub revenue: i64,
    pub sale_amount: i64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.conversions += other.conversions;
        self.payout += other.payout;
        self.revenue += other.revenue;
        self.sale_amount += other.sale_amount;
    }
}

/// What a feed consists of.
#[derive(Clone, Debug)]
pub struct Mix {
    /// When it begins, in seconds since 1970.
    pub first_second: i64,
    /// Seconds from one event to the next.
    pub pause: Range<i64>,
    /// Of a thousand events, leaving aside the adjustments of earlier ones.
    pub impressions: u32,
    pub clicks: u32,
    /// Of each conversion that is adjusted: one half of them.
    pub adjustments: RangeInclusive<u32>,
}

impl Mix {
    /// What `hydrant demo` shows.
    pub const DEMO: Mix = Mix {
        first_second: fields::FIRST_SECOND,
        pause: 0..12,
        impressions: 689,
        clicks: 200,
        adjustments: 1..=4,
    };
}

/// The first `n` events of the demo's feed with this seed. No two are the same.
pub fn events(seed: u64, n: usize) -> impl Iterator<Item = Event> {
    endless(seed, Mix::DEMO).take(n)
}

/// A feed without an end. No two events are the same.
pub fn endless(seed: u64, mix: Mix) -> Feed {
    Feed {
        rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        now: mix.first_second,
        mix,
        serial: 0,
        later: BTreeMap::new(),
        is_live: false,
        last_sequence: 0,
    }
}

/// Events one after the other, each with its time.
pub struct Feed {
    rng: Xoshiro256PlusPlus,
    mix: Mix,
    /// Seconds since 1970.
    now: i64,
    serial: u64,
    /// Adjustments by the position at which they come.
    later: BTreeMap<u64, Later>,
    /// It happens as it is published: nothing is dated after that.
    is_live: bool,
    /// Of the live adjustments.
    last_sequence: i64,
}

/// An adjustment that is still to come.
struct Later {
    event: Map<String, Value>,
    network_id: &'static str,
    num: i64,
    change: Money,
}

impl Iterator for Feed {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.serial += 1;
        self.now += self.rng.random_range(self.mix.pause.clone());
        if let Some(first) = self.later.first_entry()
            && *first.key() <= self.serial
        {
            let later = first.remove();
            return Some(self.adjustment(later));
        }
        let impressions = 12 + self.mix.impressions;
        let clicks = impressions + self.mix.clicks;
        Some(match self.rng.random_range(0..1000) {
            0..=1 => self.click_correction(),
            2..=6 => self.created_conversion(),
            7..=11 => self.orphan(),
            n if n < impressions => self.view("impression"),
            n if n < clicks => self.view("click"),
            _ => self.conversion(),
        })
    }
}

impl Feed {
    /// Has what comes next happen at this second, until another is told; what was to be adjusted still is.
    pub fn go_on_at(&mut self, second: i64) {
        self.now = second;
        self.mix.pause = 0..1;
        self.is_live = true;
    }

    /// An adjustment whose turn it is. A live one happens now, whenever it was meant to: it comes sooner than that. Those of
    /// one second keep their order.
    fn adjustment(&mut self, mut later: Later) -> Event {
        if self.is_live {
            self.last_sequence = (self.now * SEQUENCES).max(self.last_sequence + 1);
            let event = &mut later.event;
            event.insert("adjustment_timestamp".into(), self.now.into());
            event.insert("adjustment_sequence_id".into(), self.last_sequence.into());
        }
        finish(
            &later.event,
            later.network_id,
            true,
            later.num,
            later.change,
        )
    }

    fn uuid(&mut self) -> Value {
        let bytes = self.rng.random();
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
            .into()
    }

    /// The fields that every event has, under an `event_id` of its own.
    fn fields(&mut self, action: &str) -> (Session, Map<String, Value>) {
        let session = Session::random(&mut self.rng, self.now);
        let mut event = session.fields(&mut self.rng, action);
        event.insert("event_id".into(), self.uuid());
        (session, event)
    }

    fn view(&mut self, action: &'static str) -> Event {
        let (session, mut event) = self.fields(action);
        let (payout, revenue) = match action {
            "click" => (session.offer.click_payout, session.offer.click_payout * 2),
            _ => (0, 0),
        };
        let money = Money {
            payout,
            revenue,
            sale_amount: 0,
        };
        event.insert("payout".into(), decimal(payout));
        event.insert("revenue".into(), decimal(revenue));
        finish(&event, session.network_id, false, 1, money)
    }

    /// A conversion; half of them are adjusted later.
    fn conversion(&mut self) -> Event {
        let (session, mut event) = self.fields("conversion");
        let money = self.money(&session);
        let status = *["approved", "approved", "approved", "pending", "rejected"]
            .choose(&mut self.rng)
            .unwrap_or(&"approved");
        session.add_conversion_fields(&mut self.rng, &mut event, status);
        event.insert("tune_event_id".into(), self.uuid());
        money.write(&mut event);
        if self.rng.random_bool(0.5) {
            self.adjust(&session, &event, status == "approved", money);
        }
        let counted = i64::from(status == "approved");
        finish(
            &event,
            session.network_id,
            false,
            counted,
            money.times(counted),
        )
    }

    fn money(&mut self, session: &Session) -> Money {
        let sale_amount = self.rng.random_range(500..30_000) * (UNITS / 100);
        let share = session.offer.sale_share;
        Money {
            payout: session.offer.payout + sale_amount * share / 1000,
            revenue: session.offer.payout * 3 / 2 + sale_amount * share / 500,
            sale_amount,
        }
    }

    /// One to four adjustments of a conversion: approved, rejected or paid differently, as its state allows.
    fn adjust(
        &mut self,
        session: &Session,
        original: &Map<String, Value>,
        mut counted: bool,
        mut money: Money,
    ) {
        let mut at = self.now;
        let mut position = self.serial;
        for _ in 0..self.rng.random_range(self.mix.adjustments.clone()) {
            at += self.rng.random_range(600..40_000);
            position += self.rng.random_range(1..400);
            let (num, change) = if !counted {
                counted = true;
                (1, money)
            } else if self.rng.random_bool(0.4) {
                counted = false;
                (-1, money.times(-1))
            } else {
                let change = Money {
                    payout: self.rng.random_range(-90..150) * (UNITS / 100),
                    revenue: self.rng.random_range(0..200) * (UNITS / 100),
                    sale_amount: 0,
                };
                money.payout += change.payout;
                money.revenue += change.revenue;
                (0, change)
            };
            let mut event = original.clone();
            self.make_adjustment(&mut event, "update", at, num, change);
            let status = if counted { "approved" } else { "rejected" };
            let current = money.times(i64::from(counted));
            event.insert("status".into(), status.into());
            event.insert("current_payout".into(), decimal(current.payout));
            event.insert("current_revenue".into(), decimal(current.revenue));
            let later = Later {
                event,
                network_id: session.network_id,
                num,
                change,
            };
            // Where another adjustment has the position, the next free one.
            while self.later.contains_key(&position) {
                position += 1;
            }
            self.later.insert(position, later);
        }
    }

    fn make_adjustment(
        &mut self,
        event: &mut Map<String, Value>,
        adjust_action: &str,
        at: i64,
        num: i64,
        change: Money,
    ) {
        event.insert("event_id".into(), self.uuid());
        event.insert("adjust_action".into(), adjust_action.into());
        let sequence = at * SEQUENCES + self.rng.random_range(0..SEQUENCES);
        event.insert("adjustment_sequence_id".into(), sequence.into());
        event.insert("adjustment_timestamp".into(), at.into());
        event.insert(
            "created_from_adjustment".into(),
            (adjust_action == "create").into(),
        );
        event.insert("update_stats".into(), true.into());
        event.insert("is_adjustment".into(), true.into());
        event.insert("num".into(), num.into());
        change.write(event);
    }

    /// A conversion that was uploaded by hand.
    fn created_conversion(&mut self) -> Event {
        let (session, mut event) = self.fields("conversion");
        let money = self.money(&session);
        session.add_conversion_fields(&mut self.rng, &mut event, "approved");
        event.insert("tune_event_id".into(), self.uuid());
        self.make_adjustment(&mut event, "create", self.now, 1, money);
        event.insert("current_payout".into(), decimal(money.payout));
        event.insert("current_revenue".into(), decimal(money.revenue));
        finish(&event, session.network_id, false, 1, money)
    }

    /// An adjustment of a conversion from before the feed began.
    fn orphan(&mut self) -> Event {
        let (session, mut event) = self.fields("conversion");
        let money = self.money(&session).times(-1);
        session.add_conversion_fields(&mut self.rng, &mut event, "rejected");
        event.insert("tune_event_id".into(), self.uuid());
        self.make_adjustment(&mut event, "update", self.now, -1, money);
        finish(&event, session.network_id, true, -1, money)
    }

    /// Clicks taken out of a day's total as one number, without any of them being named.
    fn click_correction(&mut self) -> Event {
        let (session, mut event) = self.fields("click");
        let num = -self.rng.random_range(1..20);
        let nothing = Money {
            payout: 0,
            revenue: 0,
            sale_amount: 0,
        };
        self.make_adjustment(&mut event, "update", self.now, num, nothing);
        finish(&event, session.network_id, true, num, nothing)
    }
}

fn finish(
    event: &Map<String, Value>,
    network_id: &'static str,
    is_adjustment: bool,
    num: i64,
    money: Money,
) -> Event {
    let mut counts = Totals {
        payout: money.payout,
        revenue: money.revenue,
        sale_amount: money.sale_amount,
        ..Totals::default()
    };
    match event.get("action").and_then(Value::as_str) {
        Some("impression") => counts.impressions = num,
        Some("click") => counts.clicks = num,
        _ => counts.conversions = num,
    }
    Event {
        network_id,
        json: Value::Object(event.clone()).to_string(),
        is_adjustment,
        counts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::hasoffers::event::{Action, Context, Kind, parse};

    #[test]
    fn a_seed_is_a_feed() {
        let first: Vec<Event> = events(7, 500).collect();
        assert_eq!(first, events(7, 500).collect::<Vec<_>>());
        assert_ne!(first, events(8, 500).collect::<Vec<_>>());
    }

    #[test]
    fn every_event_is_understood_and_looks_like_tunes() {
        let (mut conversions, mut clicks, mut impressions) = (0, 0, 0);
        let mut adjusted = std::collections::HashSet::new();
        for event in events(1, 20_000) {
            let parsed = parse(&event.json, &Context::default()).unwrap();
            assert_eq!(parsed.misfits, 0, "{}", event.json);
            assert_eq!(parsed.kind == Kind::Update, event.is_adjustment);
            let keys = event.json.matches("\":").count();
            assert!((50..=75).contains(&keys), "{keys} keys: {}", event.json);
            match (parsed.kind, parsed.action) {
                (Kind::Standard, Action::Conversion) => conversions += 1,
                (Kind::Standard, Action::Click) => clicks += 1,
                (Kind::Standard, Action::Impression) => impressions += 1,
                (Kind::Update, Action::Conversion) => {
                    adjusted.insert(parsed.record_id().to_owned());
                }
                _ => {}
            }
        }
        let share = |n: usize| n * 100 / (conversions + clicks + impressions);
        assert!((68..=73).contains(&share(impressions)));
        assert!((18..=22).contains(&share(clicks)));
        assert!((8..=12).contains(&share(conversions)));
        assert!((45..=60).contains(&(adjusted.len() * 100 / conversions)));
    }
}
