//! Money in a generated event.

use serde_json::{Map, Value, json};

use super::feed::UNITS;

/// What is paid for a conversion, what it earns, and what was sold; in [`UNITS`].
#[derive(Clone, Copy)]
pub struct Money {
    pub payout: i64,
    pub revenue: i64,
    pub sale_amount: i64,
}

impl Money {
    pub fn times(self, factor: i64) -> Money {
        Money {
            payout: factor * self.payout,
            revenue: factor * self.revenue,
            sale_amount: factor * self.sale_amount,
        }
    }

    pub fn write(self, event: &mut Map<String, Value>) {
        for (name, cents, amount) in [
            ("payout", "payout_cents", self.payout),
            ("revenue", "revenue_cents", self.revenue),
            ("sale_amount", "sale_cents", self.sale_amount),
        ] {
            event.insert(name.into(), decimal(amount));
            event.insert(cents.into(), decimal(amount));
        }
    }
}

/// Money as TUNE writes it, a JSON number. The float that is nearest to so few digits is written as exactly these.
pub fn decimal(units: i64) -> Value {
    json!(units as f64 / UNITS as f64)
}
