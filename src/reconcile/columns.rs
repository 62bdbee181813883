//! The columns of the view `stats`: what it groups by, and what it adds up.

use std::fmt;

use anyhow::Context;

use crate::amount::Amount;
use crate::formats::value::Day;

/// What `stats` groups by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Date,
    Hour,
    OfferId,
    AffiliateId,
    AdvertiserId,
    GoalId,
    Currency,
}

impl Dimension {
    pub const ALL: [Dimension; 7] = [
        Dimension::Date,
        Dimension::Hour,
        Dimension::OfferId,
        Dimension::AffiliateId,
        Dimension::AdvertiserId,
        Dimension::GoalId,
        Dimension::Currency,
    ];

    /// The column's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Dimension::Date => "date",
            Dimension::Hour => "hour",
            Dimension::OfferId => "offer_id",
            Dimension::AffiliateId => "affiliate_id",
            Dimension::AdvertiserId => "advertiser_id",
            Dimension::GoalId => "goal_id",
            Dimension::Currency => "currency",
        }
    }

    /// The value that a text means; `None` where it is none of this column. Nothing is 0 for an id, as in `stats`.
    pub fn read(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Dimension::Date => day(text).map(Value::Day),
            Dimension::Hour if text.is_empty() => Some(Value::Blank),
            Dimension::Hour => whole(text).filter(|hour| *hour < 24).map(Value::Number),
            Dimension::Currency if text.is_empty() => Some(Value::Blank),
            Dimension::Currency => Some(Value::Text(text.to_owned())),
            _ if text.is_empty() => Some(Value::Number(0)),
            _ => whole(text).map(Value::Number),
        }
    }
}

/// A day, with a time of midnight behind it or without.
fn day(text: &str) -> Option<Day> {
    let (day, time) = text.split_at_checked(10)?;
    let midnight = ["", " 00:00:00", "T00:00:00"];
    midnight.contains(&time).then(|| Day::parse(day))?
}

/// A number of digits alone: i64 takes a sign as well.
fn whole(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// The value of a dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// No hour, no currency: NULL.
    Blank,
    Day(Day),
    Number(i64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Blank => f.write_str("-"),
            Value::Day(day) => day.fmt(f),
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => text.fmt(f),
        }
    }
}

/// A value for each of the dimensions that are compared by.
pub type Group = Vec<Value>;

/// What `stats` adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    Impressions,
    Clicks,
    Conversions,
    Payout,
    Revenue,
    SaleAmount,
}

impl Measure {
    pub const ALL: [Measure; 6] = [
        Measure::Impressions,
        Measure::Clicks,
        Measure::Conversions,
        Measure::Payout,
        Measure::Revenue,
        Measure::SaleAmount,
    ];

    /// The column's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Impressions => "impressions",
            Measure::Clicks => "clicks",
            Measure::Conversions => "conversions",
            Measure::Payout => "payout",
            Measure::Revenue => "revenue",
            Measure::SaleAmount => "sale_amount",
        }
    }

    /// Whether it is an amount of a currency, and not a number of events.
    pub fn is_money(self) -> bool {
        matches!(
            self,
            Measure::Payout | Measure::Revenue | Measure::SaleAmount
        )
    }
}

/// A value for each measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts([Amount; 6]);

impl Amounts {
    pub fn get(&self, measure: Measure) -> Amount {
        self.0[measure as usize]
    }

    /// # Errors
    /// The sum does not fit, which no amounts of money come to.
    pub fn add(&mut self, measure: Measure, amount: Amount) -> anyhow::Result<()> {
        let sum = &mut self.0[measure as usize];
        *sum = sum
            .checked_add(amount)
            .with_context(|| format!("the sum of {} is too large", measure.as_str()))?;
        Ok(())
    }

    /// # Errors
    /// As for [`Amounts::add`].
    pub fn add_all(&mut self, other: &Amounts) -> anyhow::Result<()> {
        Measure::ALL
            .iter()
            .try_for_each(|measure| self.add(*measure, other.get(*measure)))
    }

    /// Each with the other sign.
    pub fn negated(&self) -> Amounts {
        Amounts(self.0.map(|amount| -amount))
    }

    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|amount| amount.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_value_of_its_column_or_none() {
        let day = Value::Day(Day::parse("2026-11-03").unwrap());
        for (dimension, text, value) in [
            (Dimension::Date, " 2026-11-03 ", Some(day.clone())),
            (Dimension::Date, "2026-11-03 00:00:00", Some(day)),
            (Dimension::Date, "2026-11-03 05:00:00", None),
            (Dimension::Date, "11/03/2026", None),
            (Dimension::Date, "", None),
            (Dimension::Date, "2026-11-0é", None),
            (Dimension::Hour, "23", Some(Value::Number(23))),
            (Dimension::Hour, "", Some(Value::Blank)),
            (Dimension::Hour, "24", None),
            (Dimension::OfferId, "", Some(Value::Number(0))),
            (Dimension::OfferId, "007", Some(Value::Number(7))),
            (Dimension::OfferId, "1,234", None),
            (Dimension::OfferId, "-7", None),
            (Dimension::OfferId, "99999999999999999999", None),
            (Dimension::Currency, "EUR", Some(Value::Text("EUR".into()))),
            (Dimension::Currency, " ", Some(Value::Blank)),
        ] {
            assert_eq!(dimension.read(text), value, "{text:?}");
        }
    }
}
