use super::*;
use crate::reconcile::report::Sum;
use proptest::prelude::*;

/// A report by date, offer and currency that says the same as these sums.
fn report(sums: &BTreeMap<Group, Amounts>) -> Report {
    let groups = sums.iter().zip(2..);
    Report {
        dimensions: vec![Dimension::Date, Dimension::OfferId, Dimension::Currency],
        measures: vec![Measure::Clicks, Measure::Payout],
        unused: Vec::new(),
        clicks_may_be_unique: false,
        groups: groups
            .map(|((group, amounts), line)| {
                (
                    group.clone(),
                    Sum {
                        line,
                        rows: 1,
                        amounts: *amounts,
                    },
                )
            })
            .collect(),
        rows: sums.len(),
        total: None,
    }
}

fn group(day: i32, offer: i64, currency: &str) -> Group {
    let day = crate::formats::value::Day(9_800 + day);
    vec![
        Value::Day(day),
        Value::Number(offer),
        Value::Text(currency.to_owned()),
    ]
}

fn amounts(clicks: &str, payout: &str) -> Amounts {
    let mut amounts = Amounts::default();
    for (measure, text) in [(Measure::Clicks, clicks), (Measure::Payout, payout)] {
        amounts.add(measure, Amount::parse(text).unwrap()).unwrap();
    }
    amounts
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

#[test]
fn what_is_missing_on_one_side_is_nothing_there() {
    let ours = BTreeMap::from([
        (group(1, 7, "EUR"), amounts("3", "1.5")),
        (group(2, 7, "EUR"), amounts("0", "0")),
        (group(3, 7, "EUR"), amounts("1", "0")),
    ]);
    let theirs = BTreeMap::from([
        (group(1, 7, "EUR"), amounts("3", "1.5")),
        (group(4, 7, "USD"), amounts("0", "2")),
    ]);
    let found = compare(&report(&theirs), &ours, Amount::ZERO).unwrap();
    assert_eq!(found.groups, 4);
    let differing: Vec<_> = found
        .differences
        .iter()
        .map(|one| (one.group.clone(), one.place))
        .collect();
    assert_eq!(
        differing,
        [
            (group(3, 7, "EUR"), Place::Hydrant),
            (group(4, 7, "USD"), Place::Report(3))
        ]
    );
    assert_eq!(found.differences[1].cells[0].difference, amount("-2"));
    let report = report(&theirs);
    let agreeing = found.agreeing(&report, &ours);
    let agreeing: Vec<_> = agreeing
        .map(|one| (one.group.clone(), one.place, one.rows))
        .collect();
    assert_eq!(
        agreeing,
        [
            (group(1, 7, "EUR"), Place::Both(2), 1),
            (group(2, 7, "EUR"), Place::Hydrant, 0)
        ]
    );
    assert_eq!(found.rows_agreeing, 1);
    let totals: Vec<String> = found
        .totals
        .iter()
        .map(|one| {
            let currency = one
                .currency
                .as_ref()
                .map_or("all".to_owned(), Value::to_string);
            format!(
                "{} {currency} {} {} {}, {} agree",
                one.measure.as_str(),
                one.report,
                one.hydrant,
                one.difference,
                one.agreeing
            )
        })
        .collect();
    assert_eq!(
        totals,
        [
            "clicks all 3 4 1, 3 agree",
            "payout EUR 1.5 1.5 0, 1.5 agree",
            "payout USD 2 0 -2, 0 agree"
        ]
    );
}

#[test]
fn a_tolerance_takes_in_what_equals_it() {
    let ours = BTreeMap::from([(group(1, 7, "EUR"), amounts("3", "1.505"))]);
    let theirs = BTreeMap::from([(group(1, 7, "EUR"), amounts("3", "1.5"))]);
    let differing = |tolerance| {
        let found = compare(&report(&theirs), &ours, amount(tolerance)).unwrap();
        found.differences.len()
    };
    assert_eq!(
        [differing("0"), differing("0.004999"), differing("0.005")],
        [1, 1, 0]
    );
}

#[test]
fn what_is_counted_elsewhere_is_found() {
    let ours = BTreeMap::from([
        (group(1, 7, "EUR"), amounts("3", "1.5")),
        (group(2, 7, "EUR"), amounts("5", "4")),
        (group(2, 9, "EUR"), amounts("5", "0")),
    ]);
    let theirs = BTreeMap::from([
        (group(1, 7, "EUR"), amounts("4", "2")),
        (group(2, 7, "EUR"), amounts("4", "3.5")),
        (group(2, 9, "EUR"), amounts("6", "0")),
    ]);
    let found = compare(&report(&theirs), &ours, Amount::ZERO).unwrap();
    let mirrors: Vec<_> = found
        .differences
        .iter()
        .map(|one| one.cells.iter().map(|cell| cell.mirror).collect::<Vec<_>>())
        .collect();
    let mirror = |at, dimension| Some(Mirror { at, dimension });
    assert_eq!(
        mirrors,
        [
            vec![mirror(1, Dimension::Date), mirror(1, Dimension::Date)],
            vec![mirror(0, Dimension::Date), mirror(0, Dimension::Date)],
            vec![mirror(1, Dimension::OfferId)],
        ]
    );
}

#[test]
fn what_is_counted_elsewhere_is_looked_for_only_for_the_first_differences() {
    let last = i64::try_from(EXPLAINED).unwrap();
    let ours: BTreeMap<Group, Amounts> = (0..last)
        .map(|offer| (group(1, offer, "EUR"), amounts("1", "0")))
        .collect();
    let theirs = BTreeMap::from([(group(2, 0, "EUR"), amounts("1", "0"))]);
    let found = compare(&report(&theirs), &ours, Amount::ZERO).unwrap();
    let mirror = |at: usize| found.differences[at].cells[0].mirror;
    let first = Mirror {
        at: EXPLAINED,
        dimension: Dimension::Date,
    };
    assert_eq!(
        [mirror(0), mirror(1), mirror(EXPLAINED)],
        [Some(first), None, None]
    );
}

/// Sums of some groups, with amounts of up to five decimals.
fn sums() -> impl Strategy<Value = BTreeMap<Group, Amounts>> {
    let group = (0..3, 1_i64..4, prop::sample::select(vec!["EUR", "USD"]))
        .prop_map(|(day, offer, currency)| group(day, offer, currency));
    let amounts = (-5_i64..100, -1_000_000_i64..1_000_000)
        .prop_map(|(clicks, payout)| amounts(&clicks.to_string(), &format!("{payout}e-5")));
    prop::collection::btree_map(group, amounts, 1..12)
}

proptest! {
    #[test]
    fn a_report_agrees_with_itself(sums in sums()) {
        let found = compare(&report(&sums), &sums, Amount::ZERO).unwrap();
        prop_assert!(found.differences.is_empty());
        prop_assert!(found.totals.iter().all(|one| one.difference.is_zero() && one.agreeing == one.hydrant));
        prop_assert_eq!(found.rows_agreeing, sums.len());
    }

    #[test]
    fn one_changed_cell_is_found_with_its_amount(
        sums in sums(),
        which in any::<prop::sample::Index>(),
        by in prop::sample::select(vec!["-0.00001", "0.01", "7", "-12345.6"]),
        is_clicks in any::<bool>(),
    ) {
        let measure = if is_clicks { Measure::Clicks } else { Measure::Payout };
        let mut report = report(&sums);
        let at = which.index(sums.len());
        let group = sums.keys().nth(at).unwrap();
        report.groups.get_mut(group).unwrap().amounts.add(measure, amount(by)).unwrap();
        let found = compare(&report, &sums, Amount::ZERO).unwrap();
        prop_assert_eq!(found.differences.len(), 1);
        prop_assert_eq!(found.agreeing(&report, &sums).count(), sums.len() - 1);
        let one = &found.differences[0];
        prop_assert_eq!(&one.group, group);
        prop_assert_eq!(one.cells.len(), 1);
        prop_assert_eq!(one.cells[0].measure, measure);
        prop_assert_eq!(one.cells[0].difference, -amount(by));
        prop_assert_eq!(one.cells[0].mirror, None);
    }
}
