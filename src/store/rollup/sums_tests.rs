use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::formats::hasoffers::Body;

/// No day is closed.
const OPEN: Keeping = Keeping {
    closed_before: None,
};

fn batch_of(events: &[Json]) -> Batch {
    let mut batch = Batch::new(usize::MAX, usize::MAX);
    let text = json!({"network_id": "n", "data": events}).to_string();
    let mut body = Body::open(text.as_bytes(), 1 << 20, None).unwrap();
    assert!(body.read_into(&mut batch, 0, "message"));
    assert_eq!(batch.rejects(), []);
    batch
}

/// Facts and amounts of each group, by what people see of it.
type Shown = BTreeMap<String, (i64, [String; 4])>;

fn shown(groups: &Groups<'_>) -> Shown {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let id = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().unwrap());
    let lines = groups.sums.iter().map(|(group, sums)| {
        let hour = group
            .hour
            .map(|hour| i16::from_be_bytes(hour.try_into().unwrap()));
        let ids = group.ids.map(id);
        let line = format!(
            "{} {hour:?} {ids:?} {:?}",
            text(group.action),
            group.currency.map(text)
        );
        (
            line,
            (sums.facts, sums.amounts.map(|amount| amount.to_string())),
        )
    });
    lines.collect()
}

fn sums_of(events: &[Json]) -> Shown {
    let batch = batch_of(events);
    let mut groups = Groups::new(OPEN);
    groups
        .add_facts(&batch, &batch.facts().iter().collect::<Vec<_>>())
        .unwrap();
    shown(&groups)
}

#[test]
fn a_fact_counts_by_its_own_fields() {
    let fact = |changes: Json| {
        let mut event = json!({"event_id": "e", "action": "conversion", "hour": 7, "offer_id": 1, "affiliate_id": "2",
            "advertiser_id": 3, "goal_id": 4, "currency": "EUR", "payout": "1.50", "revenue": 2, "sale_amount": 0.1});
        let changes = changes.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(changes);
        sums_of(&[event])
    };
    let group = |action: &str| format!("{action} Some(7) [1, 2, 3, 4] Some(\"EUR\")");
    let one = |group: String, amounts: [&str; 4]| {
        BTreeMap::from([(group, (1, amounts.map(str::to_owned)))])
    };
    let conversion = one(group("conversion"), ["1", "1.5", "2", "0.1"]);
    for counts in [
        json!({}),
        json!({"status": "approved"}),
        json!({"status": "rejected", "adjust_action": "create"}),
        json!({"num": 1, "update_stats": false}),
    ] {
        assert_eq!(fact(counts.clone()), conversion, "{counts}");
    }
    for does_not in [
        json!({"status": "pending"}),
        json!({"status": "Approved"}),
        json!({"action": "click", "status": "rejected"}),
        json!({"adjust_action": "update", "update_stats": false}),
    ] {
        assert_eq!(fact(does_not.clone()), BTreeMap::new(), "{does_not}");
    }
    let update =
        json!({"adjust_action": "update", "status": "rejected", "payout": "-1.5", "revenue": null});
    assert_eq!(
        fact(update),
        one(group("conversion"), ["0", "-1.5", "0", "0.1"])
    );
    let update = json!({"adjust_action": "update", "num": -1, "update_stats": true});
    assert_eq!(
        fact(update),
        one(group("conversion"), ["-1", "1.5", "2", "0.1"])
    );
    let impression = json!({"action": "impression", "num": "1000", "payout": "", "revenue": null, "sale_amount": 0});
    assert_eq!(
        fact(impression),
        one(group("impression"), ["1000", "0", "0", "0"])
    );
    let bare = json!({"hour": null, "offer_id": "", "affiliate_id": null, "advertiser_id": 0, "goal_id": "x", "currency": ""});
    let nothing = "conversion None [0, 0, 0, 0] None".to_owned();
    assert_eq!(fact(bare), one(nothing, ["1", "1.5", "2", "0.1"]));
}

#[test]
fn clicks_of_a_closed_day_count_no_more() {
    let batch = batch_of(&[
        json!({"event_id": "c", "action": "click", "date": "2026-03-04"}),
        json!({"event_id": "i", "action": "impression", "date": "2026-03-04"}),
        json!({"event_id": "o", "action": "conversion", "date": "2026-03-04"}),
        json!({"event_id": "u", "action": "click", "adjust_action": "update", "num": 1, "date": "2026-03-04"}),
        // It tells no day, so none of its is closed.
        json!({"event_id": "d", "action": "click"}),
    ]);
    let counted = |before: &str| {
        let mut groups = Groups::new(Keeping {
            closed_before: Day::parse(before),
        });
        let facts: Vec<&Fact> = batch.facts().iter().collect();
        groups.add_facts(&batch, &facts).unwrap();
        groups.sums.values().map(|sums| sums.facts).sum::<i64>()
    };
    assert_eq!(counted("2026-03-04"), 5);
    assert_eq!(counted("2026-03-05"), 3);
}

fn event() -> impl Strategy<Value = Json> {
    let money = || -100_000i64..100_000;
    (
        prop::sample::select(vec!["impression", "click", "conversion"]),
        prop::option::of(prop::sample::select(vec!["create", "update"])),
        prop::option::of(prop::sample::select(vec!["approved", "pending"])),
        prop::option::of(any::<bool>()),
        prop::option::of(0..3i64),
        (0..3i64, prop::option::of(0..2i64)),
        (money(), money(), prop::option::of(money())),
    )
        .prop_map(|(action, adjust, status, update_stats, hour, (offer, num), (payout, revenue, sale))| {
            let decimal = |hundredths: i64| Json::String(format!("{hundredths}e-2"));
            json!({"action": action, "adjust_action": adjust, "status": status, "update_stats": update_stats, "hour": hour,
                "offer_id": offer, "num": num, "payout": decimal(payout), "revenue": decimal(revenue),
                "sale_amount": sale.map(decimal)})
        })
}

proptest! {
    /// However facts are shared out among transactions, their sums add up to the same; and taking away what was added
    /// leaves nothing.
    #[test]
    fn sums_do_not_depend_on_who_adds_them(events in prop::collection::vec(event(), 1..40), split in 0..40usize) {
        let events: Vec<Json> = events
            .into_iter()
            .enumerate()
            .map(|(n, mut event)| {
                event["event_id"] = n.to_string().into();
                event
            })
            .collect();
        let batch = batch_of(&events);
        let facts: Vec<&Fact> = batch.facts().iter().collect();
        let (some, others) = facts.split_at(split.min(facts.len()));
        let mut whole = Groups::new(OPEN);
        whole.add_facts(&batch, &facts).unwrap();
        let mut parts = Groups::new(OPEN);
        parts.add_facts(&batch, others).unwrap();
        parts.add_facts(&batch, some).unwrap();
        prop_assert_eq!(shown(&whole), shown(&parts));
        for fact in &facts {
            parts.add(of_fact(&batch, fact), true).unwrap();
        }
        prop_assert!(parts.sums.values().all(|sums| *sums == Sums::default()));
    }
}
