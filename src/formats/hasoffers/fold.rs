//! The fold: what the ledger of one record comes to. Pure; it depends on the set of entries alone, never on their order.

use super::event::{delta_fields, state_fields};
use crate::amount::Amount;

/// One entry of a record's ledger, as far as the fold looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub event_id: String,
    pub adjustment_sequence_id: Option<i64>,
    pub adjustment_timestamp: Option<i64>,
    /// One for each of [`delta_fields`], absent being zero.
    pub deltas: Vec<Amount>,
    /// One for each of [`state_fields`], in text form, `None` where blank.
    pub state: Vec<Option<String>>,
}

/// The folded ledger of one record: a row of `record_patches`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    pub adjustment_count: i64,
    pub last_adjustment_sequence_id: Option<i64>,
    /// The greatest `adjustment_timestamp` that is a time from 1970 to 9999.
    pub last_adjusted_at: Option<i64>,
    /// One for each of [`delta_fields`].
    pub sums: Vec<Amount>,
    /// One for each of [`state_fields`].
    pub state: Vec<Option<String>>,
}

/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// The ledger's sums were too large.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the differences of one record add up to more than 128 bits hold")]
pub struct Overflow;

/// Folds a ledger: differences are summed; a state field has the value of the greatest entry in which it is not blank.
///
/// # Errors
/// [`Overflow`], which takes more than 10^11 entries.
pub fn fold(ledger: &[Entry]) -> Result<Patch, Overflow> {
    let mut patch = Patch::empty();
    for entry in in_order(ledger) {
        patch.add(entry)?;
    }
    Ok(patch)
}

/// The entries in the order in which they count.
pub fn in_order(ledger: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = ledger.iter().collect();
    entries.sort_by_key(|entry| entry.order());
    entries
}

impl Patch {
    /// Of a ledger without entries.
    pub fn empty() -> Patch {
        Patch {
            sums: vec![Amount::ZERO; delta_fields().count()],
            state: vec![None; state_fields().count()],
            ..Patch::default()
        }
    }

    /// Adds the entry that comes next in order.
    ///
    /// # Errors
    /// As for [`fold`].
    pub fn add(&mut self, entry: &Entry) -> Result<(), Overflow> {
        let plausible = |seconds: &i64| (0..=LAST_SECOND).contains(seconds);
        self.adjustment_count += 1;
        self.last_adjustment_sequence_id = self
            .last_adjustment_sequence_id
            .max(entry.adjustment_sequence_id);
        self.last_adjusted_at = self
            .last_adjusted_at
            .max(entry.adjustment_timestamp.filter(plausible));
        for (sum, delta) in self.sums.iter_mut().zip(&entry.deltas) {
            *sum = sum.checked_add(*delta).ok_or(Overflow)?;
        }
        for (state, value) in self.state.iter_mut().zip(&entry.state) {
            if value.is_some() {
                state.clone_from(value);
            }
        }
        Ok(())
    }
}

impl Entry {
    /// The one total order of a ledger. What is missing comes first: an entry whose place is unknown must not beat one
    /// whose place is known. Never by arrival.
    fn order(&self) -> (Option<i64>, Option<i64>, &[u8]) {
        (
            self.adjustment_sequence_id,
            self.adjustment_timestamp,
            self.event_id.as_bytes(),
        )
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
