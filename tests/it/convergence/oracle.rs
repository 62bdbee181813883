//! What the tables and views must hold after a history: everything is sorted first, and then applied.
//!
//! Written from the rules alone. Only the content hash is the store's own: it is the label of a content.

use std::collections::{BTreeMap, BTreeSet};

use hydrant::config::PartitionBy;
use hydrant::store::batch::Batch;
use serde_json::{Map, Value, json};

use super::history::{Cell, Delivery, Event};
use crate::support::store::deliver;

/// A row as JSON without its NULLs.
pub type Row = Map<String, Value>;
type Record = (String, String);

/// Every row of a table or view, as JSON text.
pub type Rows = BTreeSet<String>;

#[derive(Debug, Default, PartialEq)]
pub struct State {
    pub events: Rows,
    pub adjustments: Rows,
    pub event_variants: Rows,
    pub record_patches: Rows,
    pub conversions: Rows,
    pub duplicate_originals: Rows,
    pub orphan_adjustments: Rows,
    pub stats: Rows,
}

const DELTAS: [&str; 7] = [
    "num",
    "payout",
    "revenue",
    "sale_amount",
    "payout_cents",
    "revenue_cents",
    "sale_cents",
];
const STATES: [&str; 11] = [
    "status",
    "status_code",
    "current_payout",
    "current_revenue",
    "ip",
    "session_ip",
    "session_datetime",
    "user_agent",
    "refer",
    "pixel_refer",
    "note",
];
const NET: [&str; 4] = ["num", "payout", "revenue", "sale_amount"];

pub fn state_after(deliveries: &[&Delivery], partition_by: PartitionBy, too_old: &str) -> State {
    let mut ids: BTreeMap<_, BTreeMap<String, (i64, Row)>> = BTreeMap::new();
    for delivery in deliveries {
        let (place, row) = row_of(delivery, partition_by, too_old);
        let time = delivery.dispatch_timestamp.unwrap_or(i64::MAX);
        let event = &delivery.event;
        let contents = ids
            .entry((place, event.network_id.clone(), event.event_id.clone()))
            .or_default();
        let content = contents
            .entry(text(&row["content_hash"]))
            .or_insert((time, row));
        content.0 = content.0.min(time);
    }
    let (mut originals, mut ledger, mut state) = (Vec::new(), Vec::new(), State::default());
    for ((place, ..), contents) in ids {
        let mut contents: Vec<_> = contents.into_iter().collect();
        contents.sort_by_key(|(hash, (time, _))| (*time, hash.clone()));
        for (n, (_, (time, mut row))) in contents.into_iter().enumerate() {
            if time != i64::MAX {
                row.insert("dispatch_timestamp".into(), json!(time));
            }
            match (n, place.as_str()) {
                (0, "adjustments") => ledger.push(row),
                (0, _) => originals.push(row),
                _ => {
                    let role = if place == "adjustments" {
                        "adjustment"
                    } else {
                        "original"
                    };
                    row.insert("role".into(), json!(role));
                    state.event_variants.insert(line(&row));
                }
            }
        }
    }
    state.events = originals.iter().map(line).collect();
    state.adjustments = ledger.iter().map(line).collect();
    let patches = patches_of(&ledger);
    state.record_patches = patches.values().map(line).collect();
    current_state(&originals, &patches, &mut state);
    let orphan = |row: &&Row| {
        row["action"] == "conversion"
            && row.contains_key("tune_event_id")
            && !originals.iter().any(|original| {
                original["action"] == "conversion" && record(original) == record(row)
            })
    };
    state.orphan_adjustments = ledger.iter().filter(orphan).map(id_line).collect();
    state.stats = stats(&originals, &ledger);
    state
}

/// Where a delivery's event belongs, and its row without the time.
fn row_of(delivery: &Delivery, partition_by: PartitionBy, too_old: &str) -> (String, Row) {
    let mut batch = Batch::new(2, usize::MAX);
    deliver(&delivery.envelope, &mut batch);
    let hash: String = batch.facts()[0]
        .content_hash
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let event: &Event = &delivery.event;
    let day = match event.cells.get("date") {
        Some(Cell::Text(date)) => date.as_str(),
        _ => "1970-01-01",
    };
    let record_id = event.tune_event_id.as_ref().unwrap_or(&event.event_id);
    let mut row = Row::new();
    let mut put = |name: &str, value: Value| drop(row.insert(name.into(), value));
    put("network_id", json!(event.network_id));
    put("event_id", json!(event.event_id));
    put("record_id", json!(record_id));
    put("action", json!(event.action));
    put("event_day", json!(day));
    put("content_hash", json!(format!("\\x{hash}")));
    if let Some(id) = &event.tune_event_id {
        put("tune_event_id", json!(id));
    }
    if let Some(action) = event.adjust_action {
        put("adjust_action", json!(action));
    }
    for (name, cell) in &event.cells {
        put(
            name,
            match cell {
                Cell::Text(text) if text == "false" => json!(false),
                Cell::Text(text) => json!(text),
                Cell::Int(number) => json!(number),
                Cell::Money(hundredths) => money(*hundredths),
            },
        );
    }
    let place = if event.adjust_action == Some("update") {
        return ("adjustments".into(), row);
    } else if event.action == "conversion" {
        put("partition_day", json!("0001-01-01"));
        "conversions"
    } else {
        put("partition_day", json!(day));
        let own = partition_by == PartitionBy::Day && day != too_old;
        if own { day } else { "default" }
    };
    (place.to_owned(), row)
}

/// The fold of every ledger: its entries in order, each applied to what came before.
pub fn patches_of(ledger: &[Row]) -> BTreeMap<Record, Row> {
    let mut entries: Vec<&Row> = ledger
        .iter()
        .filter(|row| row.contains_key("tune_event_id"))
        .collect();
    let number = |row: &Row, name: &str| row.get(name).map_or(-1, |value| value.as_i64().unwrap());
    entries.sort_by_key(|row| {
        (
            number(row, "adjustment_sequence_id"),
            number(row, "adjustment_timestamp"),
            text(&row["event_id"]),
        )
    });
    let mut patches: BTreeMap<Record, Row> = BTreeMap::new();
    for entry in entries {
        let patch = patches.entry(record(entry)).or_insert_with(|| {
            let mut patch = Row::from_iter(DELTAS.map(|name| (name.to_owned(), json!(0))));
            patch.insert("network_id".into(), entry["network_id"].clone());
            patch.insert("record_id".into(), entry["record_id"].clone());
            patch
        });
        patch.insert(
            "adjustment_count".into(),
            json!(number(patch, "adjustment_count").max(0) + 1),
        );
        for (from, to) in [
            ("adjustment_sequence_id", "last_adjustment_sequence_id"),
            ("adjustment_timestamp", "last_adjusted_at"),
        ] {
            let last = number(patch, to).max(number(entry, from));
            if last >= 0 {
                patch.insert(to.into(), json!(last));
            }
        }
        for name in DELTAS {
            let sum = hundredths(patch, name) + hundredths(entry, name);
            patch.insert(name.into(), money(sum));
        }
        for name in STATES {
            if let Some(value) = entry.get(name) {
                patch.insert(name.into(), value.clone());
            }
        }
    }
    patches
}

/// The views `conversions` and `duplicate_originals`.
fn current_state(originals: &[Row], patches: &BTreeMap<Record, Row>, state: &mut State) {
    let mut records: BTreeMap<Record, Vec<&Row>> = BTreeMap::new();
    for original in originals.iter().filter(|row| row["action"] == "conversion") {
        records.entry(record(original)).or_default().push(original);
    }
    let none = Row::new();
    for (record, mut originals) in records {
        originals.sort_by_key(|row| (row.contains_key("adjust_action"), text(&row["event_id"])));
        state
            .duplicate_originals
            .extend(originals[1..].iter().map(|row| id_line(row)));
        let (original, patch) = (originals[0], patches.get(&record).unwrap_or(&none));
        let contribution = contribution(original);
        let mut row = Row::new();
        for name in ["network_id", "event_id", "record_id"] {
            row.insert(name.into(), original[name].clone());
        }
        for (name, own) in NET.iter().zip(contribution) {
            row.insert(format!("net_{name}"), money(own + hundredths(patch, name)));
        }
        for name in STATES {
            if let Some(value) = patch.get(name).or(original.get(name)) {
                row.insert(name.into(), value.clone());
            }
        }
        for (name, current) in [("payout", "current_payout"), ("revenue", "current_revenue")] {
            let value = match patch.get(current) {
                Some(value) => Some(value.clone()),
                None if hundredths(patch, name) != 0 => Some(row[&format!("net_{name}")].clone()),
                None => original.get(name).cloned(),
            };
            row.extend(value.map(|value| (name.to_owned(), value)));
        }
        state.conversions.insert(line(&row));
    }
}

/// What an original adds to the totals, one for each of [`NET`].
fn contribution(original: &Row) -> [i64; 4] {
    let status = original.get("status").map(text);
    if !original.contains_key("adjust_action") && status.is_some_and(|status| status != "approved")
    {
        return [0; 4];
    }
    NET.map(|name| match original.get(name) {
        None if name == "num" => 100,
        _ => hundredths(original, name),
    })
}

/// The sums of view `stats` by network and day.
fn stats(originals: &[Row], ledger: &[Row]) -> Rows {
    let mut sums: BTreeMap<(String, String), BTreeMap<&str, i64>> = BTreeMap::new();
    let counted = |row: &&Row| row.get("update_stats") != Some(&json!(false));
    let differences = ledger
        .iter()
        .filter(counted)
        .map(|row| (row, NET.map(|name| hundredths(row, name))));
    for (row, [num, payout, revenue, sale]) in originals
        .iter()
        .map(|row| (row, contribution(row)))
        .chain(differences)
    {
        let sums = sums
            .entry((text(&row["network_id"]), text(&row["event_day"])))
            .or_default();
        *sums
            .entry(if row["action"] == "click" {
                "clicks"
            } else {
                "conversions"
            })
            .or_default() += num;
        for (name, amount) in [
            ("payout", payout),
            ("revenue", revenue),
            ("sale_amount", sale),
        ] {
            *sums.entry(name).or_default() += amount;
        }
    }
    let lines = sums
        .into_iter()
        .filter(|(_, sums)| sums.values().any(|sum| *sum != 0))
        .map(|((network, day), sums)| {
            let sum = |name| money(sums.get(name).copied().unwrap_or(0));
            let names = ["clicks", "conversions", "payout", "revenue", "sale_amount"];
            let sums = names.map(|name| (name.to_owned(), sum(name)));
            let by = [
                ("network_id".to_owned(), json!(network)),
                ("date".to_owned(), json!(day)),
            ];
            line(&by.into_iter().chain(sums).collect())
        });
    lines.collect()
}

fn record(row: &Row) -> Record {
    (text(&row["network_id"]), text(&row["record_id"]))
}

fn id_line(row: &Row) -> String {
    let ids = ["network_id", "event_id"].map(|name| (name.to_owned(), row[name].clone()));
    line(&ids.into_iter().collect())
}

/// A row as text; the keys of its map are sorted.
pub fn line(row: &Row) -> String {
    Value::from(row.clone()).to_string()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn hundredths(row: &Row, name: &str) -> i64 {
    row.get(name)
        .map_or(0, |value| (value.as_f64().unwrap() * 100.0).round() as i64)
}

/// An amount as the database's JSON has it.
fn money(hundredths: i64) -> Value {
    if hundredths % 100 == 0 {
        json!(hundredths / 100)
    } else {
        json!(hundredths as f64 / 100.0)
    }
}
