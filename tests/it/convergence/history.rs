//! Random histories: what TUNE might send about a few records, in any order and more than once.

use std::collections::BTreeMap;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Int(i64),
    /// In hundredths.
    Money(i64),
}

/// One content of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub network_id: String,
    pub event_id: String,
    pub tune_event_id: Option<String>,
    pub action: &'static str,
    pub adjust_action: Option<&'static str>,
    /// The known fields that are not blank.
    pub cells: BTreeMap<&'static str, Cell>,
}

/// An event in one envelope.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub event: Rc<Event>,
    pub dispatch_timestamp: Option<i64>,
    pub envelope: Value,
}

const ORIGINALS: usize = 10;
const UPDATES: usize = 40;
const RIVALS: usize = 8;
/// Events of these days exist; the last one is too old for a partition.
pub const DAYS: usize = 3;

/// The deliveries of a history of two networks of its own, shuffled.
pub fn history(seed: u64, name: &str, days: &[String; DAYS]) -> Vec<Delivery> {
    let mut history = History {
        random: StdRng::seed_from_u64(seed),
        networks: ["a", "b"].map(|network| format!("{name}{network}")),
        days,
    };
    let mut events: Vec<Event> = (0..ORIGINALS).map(|n| history.original(n)).collect();
    events.extend((0..UPDATES).map(|n| history.update(n)));
    for _ in 0..RIVALS {
        let rival = history.rival(&events);
        events.push(rival);
    }
    history.deliver(events)
}

struct History<'a> {
    random: StdRng,
    networks: [String; 2],
    days: &'a [String; DAYS],
}

impl History<'_> {
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.random).unwrap().clone()
    }

    /// Standard and create, clicks among them; some records have two, and both networks use the same ids.
    fn original(&mut self, n: usize) -> Event {
        let record = format!("r{}", self.random.random_range(1..=6));
        // Without a tune_event_id the event's own id is the record's.
        let own = self.random.random_bool(0.3);
        let mut cells = BTreeMap::from([("date", Cell::Text(self.pick(self.days)))]);
        self.amounts(&mut cells, 0..2_000);
        self.state(&mut cells);
        Event {
            network_id: self.pick(&self.networks.clone()),
            event_id: if own {
                record.clone()
            } else {
                format!("e{}", n % 8)
            },
            tune_event_id: (!own).then_some(record),
            action: self.pick(&["conversion", "conversion", "conversion", "click"]),
            adjust_action: self.pick(&[None, None, Some("create")]),
            cells,
        }
    }

    /// Of records with an original or without, or of none; with ties and without a place.
    fn update(&mut self, n: usize) -> Event {
        let record = format!("r{}", self.random.random_range(1..=8));
        let mut cells = BTreeMap::new();
        if self.random.random_bool(0.8) {
            cells.insert(
                "adjustment_sequence_id",
                Cell::Int(self.random.random_range(1..=7)),
            );
        }
        if self.random.random_bool(0.7) {
            cells.insert(
                "adjustment_timestamp",
                Cell::Int(self.random.random_range(1_664_820_812..1_664_820_815)),
            );
        }
        if self.random.random_bool(0.1) {
            cells.insert("update_stats", Cell::Text("false".into()));
        }
        self.amounts(&mut cells, -1_000..1_000);
        self.state(&mut cells);
        Event {
            network_id: self.pick(&self.networks.clone()),
            event_id: format!("u{n}"),
            tune_event_id: self.random.random_bool(0.9).then_some(record),
            action: self.pick(&["conversion", "conversion", "conversion", "click"]),
            adjust_action: Some("update"),
            cells,
        }
    }

    /// Another content under the id of an event.
    fn rival(&mut self, events: &[Event]) -> Event {
        let mut event = self.pick(events);
        match self.random.random_range(0..4) {
            0 => drop(
                event
                    .cells
                    .insert("payout", Cell::Money(self.random.random_range(1..100))),
            ),
            1 => drop(event.cells.insert("note", Cell::Text("rival".into()))),
            2 => drop(event.cells.insert("date", Cell::Text(self.pick(self.days)))),
            _ => event.tune_event_id = self.pick(&[None, Some("r1".into()), Some("r7".into())]),
        }
        event
    }

    fn amounts(
        &mut self,
        cells: &mut BTreeMap<&'static str, Cell>,
        hundredths: std::ops::Range<i64>,
    ) {
        for name in ["num", "payout", "revenue", "sale_amount"] {
            if self.random.random_bool(0.5) {
                let amount = self.random.random_range(hundredths.clone());
                cells.insert(name, Cell::Money(amount));
            }
        }
    }

    /// A part of the fields that an update may change.
    fn state(&mut self, cells: &mut BTreeMap<&'static str, Cell>) {
        for name in ["status", "note", "user_agent", "ip"] {
            if self.random.random_bool(0.4) {
                let text = self.pick(&["approved", "rejected", "pending"]);
                cells.insert(name, Cell::Text(text.into()));
            }
        }
        for name in ["current_payout", "current_revenue"] {
            if self.random.random_bool(0.2) {
                cells.insert(name, Cell::Money(self.random.random_range(0..500)));
            }
        }
        if self.random.random_bool(0.3) {
            cells.insert("status_code", Cell::Int(self.random.random_range(41..60)));
        }
    }

    /// Each event once to three times, with other times of dispatch and in other spellings.
    fn deliver(&mut self, events: Vec<Event>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for event in events.into_iter().map(Rc::new) {
            for _ in 0..self.pick(&[1, 1, 2, 3]) {
                let dispatch_timestamp = self
                    .random
                    .random_bool(0.9)
                    .then(|| self.random.random_range(1..20));
                deliveries.push(Delivery {
                    envelope: json!({
                        "network_id": event.network_id,
                        "dispatch_timestamp": dispatch_timestamp,
                        "data": self.spell(&event),
                    }),
                    event: Rc::clone(&event),
                    dispatch_timestamp,
                });
            }
        }
        deliveries.shuffle(&mut self.random);
        deliveries
    }

    fn spell(&mut self, event: &Event) -> Value {
        let mut object = Map::new();
        for blank in ["note", "ip", "aff_sub", "num", "new"] {
            if self.random.random_bool(0.3) {
                object.insert(blank.into(), self.pick(&[json!(""), Value::Null]));
            }
        }
        object.insert("event_id".into(), json!(event.event_id));
        object.insert("action".into(), json!(event.action));
        if let Some(id) = &event.tune_event_id {
            object.insert("tune_event_id".into(), json!(id));
        }
        if let Some(action) = event.adjust_action {
            let number = if action == "create" {
                json!(1)
            } else {
                json!("2")
            };
            object.insert("adjust_action".into(), self.pick(&[json!(action), number]));
        }
        for (name, cell) in &event.cells {
            let spellings = match cell {
                Cell::Text(text) => vec![json!(text)],
                Cell::Int(number) => vec![json!(number), json!(number.to_string())],
                Cell::Money(hundredths) => vec![
                    json!(*hundredths as f64 / 100.0),
                    json!(format!("{hundredths}e-2")),
                    json!(format!("{:.5}", *hundredths as f64 / 100.0)),
                ],
            };
            object.insert((*name).into(), self.pick(&spellings));
        }
        Value::from(object)
    }
}
