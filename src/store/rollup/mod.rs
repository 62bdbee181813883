//! The rollup: what view `stats` adds up, kept as sums by hour, so that a report need not read the facts.
//!
//! Every transaction that changes facts appends the sums of exactly what it changed to `stats_deltas` ([`sums`]): a row for
//! each group, in the same COMMIT as the facts, and nobody waits for anybody. A background step moves them into
//! `stats_hourly` ([`mod@merge`]). What counts is both together, so it does not matter when it comes, or whether at all.
//!
//! It is switched on and off while daemons run ([`switch`]). That nothing is counted twice or left out rests on this:
//!
//! 1. A writer reads the state after it has written to a table of facts, in another statement ([`super::facts::confirm`]).
//!    From that write until its end it holds ROW EXCLUSIVE on that table.
//! 2. Switching on takes SHARE ROW EXCLUSIVE on all tables of facts, in the order of the writers. It has to wait for every
//!    writer that has written, and every other waits for it. While it has them it takes a snapshot and sets the state to
//!    filling, and its COMMIT lets go of them.
//! 3. So a writer either has ended before the snapshot, which then has its facts, and what it may have appended is removed;
//!    or its first write comes after that COMMIT, its facts are not in the snapshot, and it finds the state filling and
//!    appends. There is nothing in between, whatever connection or daemon it is.
//! 4. What was there is summed up from the snapshot, as long as it takes. Then `stats` reads the sums.
//! 5. Switching off only sets the state and lets `stats` read the facts. A writer that has read the state before may still
//!    append: nobody reads it, and the next switching on removes it.
//!
//! [`difference`] is what `hydrant verify` looks for and `hydrant rebuild` mends.
//!
//! `stats` never reads sums that are not whole: it changes in the transaction that sets the state to on or off.

pub mod difference;
pub mod merge;
pub mod sums;
pub mod switch;

use crate::formats::value::Day;

/// Whether sums are kept: the state in `rollup_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is kept, and nothing costs anything.
    Off,
    /// Writers append, and what was there before is being summed up.
    Filling,
    /// `stats` reads the sums.
    On,
}

/// How sums are kept by a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Clicks and impressions of days before this one may have been dropped, and their sums stay what they are: nobody knows
    /// whether one that comes is new.
    pub closed_before: Option<Day>,
}

impl State {
    /// From its name in the database.
    pub fn read(name: &str) -> State {
        match name {
            "filling" => State::Filling,
            "on" => State::On,
            _ => State::Off,
        }
    }
}
