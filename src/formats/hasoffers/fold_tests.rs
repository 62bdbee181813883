use std::cmp::Ordering;
use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// An entry with one amount for all differences and one value for each state field.
fn entry(event_id: &str, sequence: Option<i64>, state: Option<&str>) -> Entry {
    Entry {
        event_id: event_id.to_owned(),
        adjustment_sequence_id: sequence,
        adjustment_timestamp: None,
        deltas: vec![Amount::ONE; delta_fields().count()],
        state: vec![state.map(str::to_owned); state_fields().count()],
    }
}

fn state_of(ledger: &[Entry]) -> Option<String> {
    fold(ledger).unwrap().state[0].clone()
}

#[test]
fn an_empty_ledger_changes_nothing() {
    let patch = fold(&[]).unwrap();
    assert_eq!(patch.adjustment_count, 0);
    assert!(patch.sums.iter().all(|sum| sum.is_zero()));
    assert!(patch.state.iter().all(Option::is_none));
    assert_eq!(
        (patch.last_adjustment_sequence_id, patch.last_adjusted_at),
        (None, None)
    );
}

#[test]
fn a_missing_sequence_comes_before_zero() {
    let ledger = [
        entry("z", None, Some("unknown")),
        entry("a", Some(0), Some("known")),
    ];
    assert_eq!(state_of(&ledger).as_deref(), Some("known"));
}

#[test]
fn a_tie_goes_to_the_later_time_then_to_the_greater_id_by_bytes() {
    // Bytes: "B" < "a" < "é", where a language sorts a, B, e.
    let tie = |id| entry(id, Some(7), Some(id));
    assert_eq!(
        state_of(&[tie("a"), tie("é"), tie("B")]).as_deref(),
        Some("é")
    );
    assert_eq!(state_of(&[tie("a"), tie("B")]).as_deref(), Some("a"));
    let mut later = tie("B");
    later.adjustment_timestamp = Some(1);
    assert_eq!(state_of(&[tie("a"), later]).as_deref(), Some("B"));
}

#[test]
fn a_blank_in_the_newest_entry_leaves_the_older_value() {
    let mut newest = entry("b", Some(2), Some("new"));
    newest.state[0] = None;
    let patch = fold(&[newest, entry("a", Some(1), Some("old"))]).unwrap();
    assert_eq!(patch.state[0].as_deref(), Some("old"));
    assert!(
        patch.state[1..]
            .iter()
            .all(|state| state.as_deref() == Some("new"))
    );
}

#[test]
fn the_last_adjustment_is_no_time_that_postgres_cannot_show() {
    let at = |seconds| Entry {
        adjustment_timestamp: Some(seconds),
        ..entry("a", None, None)
    };
    let last = |ledger: &[Entry]| fold(ledger).unwrap().last_adjusted_at;
    assert_eq!(last(&[at(i64::MAX), at(-1)]), None);
    assert_eq!(
        last(&[at(LAST_SECOND + 1), at(5), at(LAST_SECOND)]),
        Some(LAST_SECOND)
    );
}

/// The fold by another way of thinking: no order is made, each result is looked for on its own. Amounts are counted in
/// integers that were never parsed.
struct Oracle<'a>(&'a [Drawn]);

/// An entry as it was drawn.
#[derive(Clone, Debug)]
struct Drawn {
    event_id: String,
    sequence: Option<i64>,
    timestamp: Option<i64>,
    /// In millionths.
    deltas: Vec<i64>,
    state: Vec<Option<String>>,
}

impl Oracle<'_> {
    fn sum(&self, n: usize) -> i64 {
        self.0.iter().map(|drawn| drawn.deltas[n]).sum()
    }

    /// The value that no other entry with a value beats.
    fn state(&self, n: usize) -> Option<&str> {
        let candidates = || self.0.iter().filter(|drawn| drawn.state[n].is_some());
        let unbeaten = |drawn: &&Drawn| !candidates().any(|other| beats(other, drawn));
        candidates()
            .find(unbeaten)
            .and_then(|drawn| drawn.state[n].as_deref())
    }
}

fn beats(one: &Drawn, other: &Drawn) -> bool {
    let rank = |number: Option<i64>| number.map_or(i128::from(i64::MIN) - 1, i128::from);
    match rank(one.sequence).cmp(&rank(other.sequence)) {
        Ordering::Equal => match rank(one.timestamp).cmp(&rank(other.timestamp)) {
            Ordering::Equal => one.event_id.as_bytes() > other.event_id.as_bytes(),
            order => order == Ordering::Greater,
        },
        order => order == Ordering::Greater,
    }
}

/// Millionths as a decimal, written by moving the point through the digits.
fn decimal(millionths: i64) -> String {
    let digits = format!("{:07}", millionths.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - 6);
    let text = format!("{whole}.{fraction}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if millionths < 0 {
        format!("-{text}")
    } else {
        text.to_owned()
    }
}

fn production(drawn: &Drawn) -> Entry {
    Entry {
        event_id: drawn.event_id.clone(),
        adjustment_sequence_id: drawn.sequence,
        adjustment_timestamp: drawn.timestamp,
        deltas: drawn
            .deltas
            .iter()
            .map(|n| Amount::parse(&decimal(*n)).unwrap())
            .collect(),
        state: drawn.state.clone(),
    }
}

/// Few sequences and times, so that ties are common; ids whose order by bytes differs from that of a language.
fn history() -> impl Strategy<Value = Vec<Drawn>> {
    let number =
        || prop_oneof![2 => Just(None), 5 => (0..4i64).prop_map(Some), 1 => Just(Some(i64::MAX))];
    let deltas = proptest::collection::vec(
        prop_oneof![
            Just(0),
            -3_000_000..3_000_000i64,
            -999_999_999_999..999_999_999_999i64
        ],
        delta_fields().count(),
    );
    let state =
        proptest::collection::vec(proptest::option::of("[a-c]{1,2}"), state_fields().count());
    let drawn = ("[aBé]{1,4}", number(), number(), deltas, state).prop_map(
        |(event_id, sequence, timestamp, deltas, state)| Drawn {
            event_id,
            sequence,
            timestamp,
            deltas,
            state,
        },
    );
    proptest::collection::vec(drawn, 0..9).prop_map(|mut history| {
        let mut ids = HashSet::new();
        history.retain(|drawn| ids.insert(drawn.event_id.clone()));
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]

    #[test]
    fn the_fold_is_what_the_rules_say_in_every_order(
        history in history(),
        orders in proptest::collection::vec(any::<[u32; 9]>(), 8),
    ) {
        let oracle = Oracle(&history);
        for order in orders {
            let mut ledger: Vec<_> = history.iter().map(production).zip(order).collect();
            ledger.sort_by_key(|(_, place)| *place);
            let ledger: Vec<_> = ledger.into_iter().map(|(entry, _)| entry).collect();
            let patch = fold(&ledger).unwrap();
            prop_assert_eq!(patch.sums.len(), delta_fields().count());
            prop_assert_eq!(patch.state.len(), state_fields().count());
            prop_assert_eq!(patch.adjustment_count, history.len() as i64);
            prop_assert_eq!(patch.last_adjustment_sequence_id, history.iter().filter_map(|d| d.sequence).max());
            let in_range = history.iter().filter_map(|d| d.timestamp).filter(|t| *t != i64::MAX);
            prop_assert_eq!(patch.last_adjusted_at, in_range.max());
            for (n, sum) in patch.sums.iter().enumerate() {
                prop_assert_eq!(sum.to_string(), decimal(oracle.sum(n)));
            }
            for (n, state) in patch.state.iter().enumerate() {
                prop_assert_eq!(state.as_deref(), oracle.state(n));
            }
        }
    }
}
