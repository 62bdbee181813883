use super::*;
use crate::amount::Amount;
use crate::reconcile::compare::{Cell, Place};

const BY_DAY: [Dimension; 2] = [Dimension::Date, Dimension::OfferId];
const MEASURES: [Measure; 2] = [Measure::Conversions, Measure::Payout];

fn scope(dimensions: &[Dimension]) -> Scope<'_> {
    Scope {
        dimensions,
        measures: &MEASURES,
        since: Day::parse("2026-11-03").unwrap(),
        until: Day::parse("2026-11-05").unwrap(),
    }
}

fn group(date: &str, offer: i64) -> Group {
    vec![Value::Day(Day::parse(date).unwrap()), Value::Number(offer)]
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

/// A difference of so many conversions and so much payout.
fn difference(group: Group, conversions: &str, payout: &str) -> Difference {
    let cells = [
        (Measure::Conversions, conversions),
        (Measure::Payout, payout),
    ];
    let cells = cells.map(|(measure, by)| Cell {
        measure,
        report: Amount::ZERO,
        hydrant: amount(by),
        difference: amount(by),
        mirror: None,
    });
    Difference {
        group,
        place: Place::Hydrant,
        cells: cells
            .into_iter()
            .filter(|cell| !cell.difference.is_zero())
            .collect(),
    }
}

/// A fact that counts, unless it is marked as one that does not.
fn fact(id: &str, group: Group, conversions: &str, payout: &str, marks: &[Mark]) -> Fact {
    let mut amounts = Amounts::default();
    amounts
        .add(Measure::Conversions, amount(conversions))
        .unwrap();
    amounts.add(Measure::Payout, amount(payout)).unwrap();
    Fact {
        group,
        record_id: id.to_owned(),
        event_id: id.to_owned(),
        kind: "adjustment".to_owned(),
        hour: None,
        counts: !marks.contains(&Mark::Pending) && !marks.contains(&Mark::Withheld),
        marks: marks.to_vec(),
        amounts,
    }
}

fn named(evidence: &Evidence) -> Vec<(&str, Vec<&str>)> {
    let records = evidence.records.iter();
    records
        .map(|(reason, records)| {
            let ids = records
                .first
                .iter()
                .map(|clue| clue.fact.record_id.as_str());
            (reason.as_str(), ids.collect())
        })
        .collect()
}

#[test]
fn what_is_missing_here_does_not_count_or_counts_against() {
    let here = group("2026-11-04", 7);
    let differences = [difference(here.clone(), "-1", "-2.5")];
    let mut search = Search::new(scope(&BY_DAY), &differences);
    let days: Vec<String> = search.days().unwrap().iter().map(Day::to_string).collect();
    assert_eq!(days, ["2026-11-03", "2026-11-04", "2026-11-05"]);
    for fact in [
        fact("waits", here.clone(), "1", "2.5", &[Mark::Pending]),
        fact("takes away", here.clone(), "-1", "-2.5", &[]),
        fact("orphan", here.clone(), "-1", "-1.5", &[Mark::Orphan]),
        fact(
            "orphan too",
            here.clone(),
            "0",
            "-1",
            &[Mark::Orphan, Mark::Test],
        ),
        fact("other", here.clone(), "-1", "-2", &[]),
        fact("adds", here.clone(), "1", "2.5", &[]),
        fact("elsewhere", group("2026-11-04", 8), "-1", "-2.5", &[]),
    ] {
        search.see(&fact).unwrap();
    }
    let found = search.finish();
    assert_eq!(
        named(&found[0]),
        [
            ("orphan", vec!["orphan", "orphan too"]),
            ("pending", vec!["waits"]),
            ("test", vec!["orphan too"]),
            ("equals_difference", vec!["waits", "takes away"]),
        ]
    );
    let orphans = &found[0].apart[&Mark::Orphan];
    assert_eq!(orphans.facts, 2);
    assert_eq!(
        scope(&BY_DAY).mends(&differences[0], &orphans.effect),
        MEASURES
    );
}

#[test]
fn what_agrees_must_not_be_spoilt() {
    let here = group("2026-11-04", 7);
    for (difference, explains) in [
        (difference(here.clone(), "1", "0"), vec!["none paid"]),
        (difference(here.clone(), "0", "2.5"), vec!["paid more"]),
        // Of money and number the money must be right.
        (difference(here.clone(), "1", "9"), vec![]),
        (
            difference(here.clone(), "2", "2.5"),
            vec!["paid", "paid more"],
        ),
    ] {
        let differences = [difference];
        let mut search = Search::new(scope(&BY_DAY), &differences);
        for fact in [
            fact("none paid", here.clone(), "1", "0", &[]),
            fact("paid", here.clone(), "1", "2.5", &[]),
            fact("paid more", here.clone(), "0", "2.5", &[]),
        ] {
            search.see(&fact).unwrap();
        }
        let found = search.finish();
        let alone = found[0].records.get(&Reason::Alone);
        let ids: Vec<&str> = alone
            .iter()
            .flat_map(|records| &records.first)
            .map(|clue| clue.fact.record_id.as_str())
            .collect();
        assert_eq!(ids, explains, "{:?}", differences[0].cells);
    }
}

#[test]
fn the_day_beside_explains_what_it_has_too_much_of() {
    let differences = [
        difference(group("2026-11-03", 7), "-1", "-2.5"),
        difference(group("2026-11-04", 7), "1", "2.5"),
        difference(group("2026-11-05", 9), "-1", "-2.5"),
    ];
    let mut search = Search::new(scope(&BY_DAY), &differences);
    for fact in [
        fact("night", group("2026-11-04", 7), "1", "2.5", &[]),
        // This group agrees, and would not any more.
        fact("right", group("2026-11-04", 9), "1", "2.5", &[]),
        // This day was not compared.
        fact("not in the report", group("2026-11-06", 9), "1", "2.5", &[]),
    ] {
        search.see(&fact).unwrap();
    }
    let found = search.finish();
    assert_eq!(named(&found[0]), [("day_or_hour_beside", vec!["night"])]);
    assert_eq!(named(&found[1]), [("equals_difference", vec!["night"])]);
    assert_eq!(
        named(&found[2]),
        [("day_or_hour_beside", vec!["not in the report"])]
    );
}

#[test]
fn a_report_by_hour_has_hours_beside() {
    let by_hour = [Dimension::Date, Dimension::Hour];
    let differences = [
        difference(group("2026-11-04", 23), "1", "1"),
        difference(group("2026-11-05", 0), "-1", "-1"),
        difference(group("2026-11-05", 1), "-1", "-1"),
    ];
    let mut search = Search::new(scope(&by_hour), &differences);
    search
        .see(&fact("late", group("2026-11-04", 23), "1", "1", &[]))
        .unwrap();
    let found = search.finish();
    assert_eq!(named(&found[1]), [("day_or_hour_beside", vec!["late"])]);
    assert_eq!(named(&found[2]), []);
}

#[test]
fn few_are_named_the_best_first_and_all_are_counted() {
    let here = group("2026-11-04", 7);
    let differences = [difference(here.clone(), "0", "-1")];
    let mut search = Search::new(scope(&BY_DAY), &differences);
    for n in 0..20 {
        let payout = if n == 19 { "1" } else { "0.1" };
        search
            .see(&fact(payout, here.clone(), "0", payout, &[Mark::Withheld]))
            .unwrap();
    }
    let found = search.finish();
    let records = &found[0].records[&Reason::Marked(Mark::Withheld)];
    assert_eq!((records.count, records.first.len()), (20, NAMED));
    assert_eq!(records.first[0].fact.record_id, "1");
    let apart = &found[0].apart[&Mark::Withheld];
    assert_eq!(
        (apart.facts, apart.amounts.get(Measure::Payout)),
        (20, amount("2.9"))
    );
}
