//! The checks, in one table.

use super::{Scope, rows, sums};
use crate::formats::value::Day;

/// How bad it is when a check finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody should look at it; the feed can be the reason.
    Soft,
    /// A defect: numbers are wrong, or cannot be trusted.
    Hard,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Soft => "soft",
            Kind::Hard => "hard",
        }
    }
}

/// One invariant.
#[derive(Debug)]
pub struct Check {
    pub number: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// What holds where all is well.
    pub meaning: &'static str,
    /// What to do where it does not.
    pub advice: &'static str,
    pub(super) how: How,
}

#[derive(Debug)]
pub(super) enum How {
    /// A statement that gives a row (what, example) for each thing that is wrong.
    Sql(fn(&Scope, &[Day]) -> String),
    Ledgers,
    Contents,
}

/// Every check, by its number.
///
/// They are run in the order of [`IN_ORDER_OF_LOCKS`].
pub static CHECKS: [Check; 13] = [
    Check {
        number: "V1",
        name: "unique ids",
        kind: Kind::Hard,
        meaning: "an id is one row of its table, and an index keeps it so",
        advice: "stop the daemons, delete all rows but one of each id, make the unique index on (network_id, event_id) again, \
                 then run hydrant rebuild --all",
        how: How::Sql(rows::repeated_ids),
    },
    Check {
        number: "V2",
        name: "patches",
        kind: Kind::Hard,
        meaning: "each row of record_patches is what its record's adjustments come to",
        advice: "run hydrant rebuild --all (or --record NETWORK ID): it folds these ledgers again; before that, put back \
                 adjustments that were deleted (adjustment_count differs), delete one of two patches, and mend V10",
        how: How::Ledgers,
    },
    Check {
        number: "V3",
        name: "sums",
        kind: Kind::Hard,
        meaning: "conversions and the patches without one add up to what originals and adjustments add up to",
        advice: "mend V1 and V2 first; if this stays, the views are not hydrant's own: compare them with the migrations",
        how: How::Sql(sums::by_network),
    },
    Check {
        number: "V4",
        name: "sums by group",
        kind: Kind::Hard,
        meaning: "the same for each day, offer, affiliate, goal and currency of the originals",
        advice: "mend V1 and V2 first; if this stays, the views are not hydrant's own: compare them with the migrations",
        how: How::Sql(sums::by_group),
    },
    Check {
        number: "V5",
        name: "drift",
        kind: Kind::Soft,
        meaning: "adjustments name the day, offer, affiliate, goal and currency of their originals",
        advice: "nothing is lost: view stats counts these by their own fields, as they came, and view conversions by their \
                 originals'; a report by one of them differs from the other by their amounts",
        how: How::Sql(sums::drift),
    },
    Check {
        number: "V6",
        name: "variants",
        kind: Kind::Hard,
        meaning: "of several contents of one id the least (dispatch_timestamp, content_hash) stands in its table",
        advice: "run hydrant rebuild --all: it settles these ids anew",
        how: How::Sql(rows::unsettled_variants),
    },
    Check {
        number: "V7",
        name: "originals",
        kind: Kind::Soft,
        meaning: "a record has one original",
        advice: "view conversions shows the first of them alone, stats counts all: look at view duplicate_originals, and ask \
                 TUNE which one is meant",
        how: How::Sql(rows::duplicate_originals),
    },
    Check {
        number: "V8",
        name: "orphans",
        kind: Kind::Soft,
        meaning: "adjustments find their original within a day",
        advice: "those of conversions that are older than the subscription never will; if others grow in number, messages are \
                 missing: look at the dead-letter queue and at hydrant quarantine list",
        how: How::Sql(rows::orphans),
    },
    Check {
        number: "V9",
        name: "amounts",
        kind: Kind::Soft,
        meaning: "an approved conversion's sum is its current amount, a rejected one's is zero",
        advice: "an adjustment is missing, or TUNE means something else by these fields: compare some of them with TUNE's own \
                 report",
        how: How::Sql(rows::odd_amounts),
    },
    Check {
        number: "V10",
        name: "contents",
        kind: Kind::Hard,
        meaning: "each stored fact has the content that it came with, and lies where it belongs",
        advice: "somebody changed these rows, or the disk did: take them from a backup, or delete them and send their messages \
                 again, then run hydrant rebuild --all",
        how: How::Contents,
    },
    Check {
        number: "V11",
        name: "quarantine",
        kind: Kind::Soft,
        meaning: "nothing waits in quarantine",
        advice: "look at hydrant quarantine list; retry what can be stored by now, discard what nobody wants",
        how: How::Sql(rows::open_quarantine),
    },
    Check {
        number: "V13",
        name: "days",
        kind: Kind::Hard,
        meaning: "a click or impression counts on one day alone",
        advice: "TUNE sent one id with two days and both count: delete the row of the wrong day, or keep ids unique over all \
                 days with hydrant migrate --partition-by none",
        how: How::Sql(rows::ids_of_two_days),
    },
    Check {
        number: "V14",
        name: "rollup",
        kind: Kind::Hard,
        meaning: "the sums that view stats reads are what the facts come to, where the rollup is on",
        advice: "run hydrant rebuild --all: it adds what is lacking; if it comes again, a daemon of an older version writes here; \
                 if it is the view, run hydrant migrate --rollup on",
        how: How::Sql(sums::rollup),
    },
];

/// The positions in [`CHECKS`] in the order in which they are run. Reading clicks locks the default partition against a
/// daemon that makes a day, so it comes last.
pub const IN_ORDER_OF_LOCKS: [usize; 13] = [1, 2, 3, 4, 6, 7, 8, 10, 5, 0, 12, 11, 9];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_run_once() {
        let mut positions = IN_ORDER_OF_LOCKS;
        positions.sort();
        assert!(positions.into_iter().eq(0..CHECKS.len()));
    }
}
