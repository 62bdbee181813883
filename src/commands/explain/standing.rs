//! What a record comes to after some entries of its ledger, and where each value is from: the rules of the view
//! `conversions`, told step by step.

use serde::Serialize;

use super::fields::value;
use crate::amount::Amount;
use crate::formats::hasoffers::event::{delta_fields, state_fields};
use crate::formats::hasoffers::fold::{Entry, Overflow, Patch};
use crate::store::explain::Fact;
use crate::store::fault::Fault;

/// By which rule a value is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The original's: no adjustment says otherwise.
    Original,
    /// Of the greatest adjustment in which the field is not blank.
    Adjustment,
    /// Of the greatest adjustment with a `current_payout` or `current_revenue`.
    Current,
    /// What the original contributes and the sum of all differences.
    Net,
    /// Nobody gave one.
    Blank,
}

/// One field as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Now {
    pub field: &'static str,
    pub value: Option<String>,
    pub rule: Rule,
    /// The fact that the value is from; none where it is a sum.
    pub event_id: Option<String>,
    /// Of a sum: what the original contributes; none without an original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Of a sum: the differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<String>,
}

/// What an original adds to the totals by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// False for a standard event that was born pending or rejected: its approval comes as a difference.
    pub counts: bool,
    pub num: Amount,
    pub payout: Amount,
    pub revenue: Amount,
    pub sale_amount: Amount,
}

impl Contribution {
    pub fn of(fact: &Fact) -> Contribution {
        let status = value(fact, "status");
        let counts = fact.adjust_action.is_some() || status.is_none_or(|it| it == "approved");
        let amount = |name, absent| match value(fact, name).and_then(Amount::parse) {
            _ if !counts => Amount::ZERO,
            given => given.unwrap_or(absent),
        };
        Contribution {
            counts,
            num: amount("num", Amount::ONE),
            payout: amount("payout", Amount::ZERO),
            revenue: amount("revenue", Amount::ZERO),
            sale_amount: amount("sale_amount", Amount::ZERO),
        }
    }
}

/// A record while its ledger is gone through in order.
pub struct Standing<'a> {
    original: Option<(&'a Fact, Contribution)>,
    pub patch: Patch,
    /// For each of [`state_fields`], the entry that its value is from.
    givers: Vec<Option<String>>,
}

impl<'a> Standing<'a> {
    /// Before the first entry.
    pub fn new(original: Option<&'a Fact>) -> Standing<'a> {
        Standing {
            original: original.map(|fact| (fact, Contribution::of(fact))),
            patch: Patch::empty(),
            givers: vec![None; state_fields().count()],
        }
    }

    /// Adds the entry that comes next.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Overflow> {
        self.patch.add(entry)?;
        for (giver, value) in self.givers.iter_mut().zip(&entry.state) {
            if value.is_some() {
                *giver = Some(entry.event_id.clone());
            }
        }
        Ok(())
    }

    /// Every field that adjustments can change, in the order of
    /// [`shown_by_conversions`](crate::store::explain::shown_by_conversions).
    pub fn fields(&self) -> Result<Vec<Now>, Overflow> {
        let mut fields: Vec<Now> = state_fields().map(|(_, f)| self.state(f.name)).collect();
        fields.push(self.amount("payout", "current_payout", |own| own.payout)?);
        fields.push(self.amount("revenue", "current_revenue", |own| own.revenue)?);
        fields.push(self.net("net_num", "num", |own| own.num)?);
        fields.push(self.net("net_payout", "payout", |own| own.payout)?);
        fields.push(self.net("net_revenue", "revenue", |own| own.revenue)?);
        fields.push(self.net("net_sale_amount", "sale_amount", |own| own.sale_amount)?);
        Ok(fields)
    }

    fn state(&self, name: &'static str) -> Now {
        let position = state_fields().position(|(_, field)| field.name == name);
        let given = position.and_then(|n| Some((self.patch.state[n].clone()?, &self.givers[n])));
        match given {
            Some((value, giver)) => Now {
                field: name,
                value: Some(value),
                rule: Rule::Adjustment,
                event_id: giver.clone(),
                original: None,
                differences: None,
            },
            None => self.of_original(name),
        }
    }

    fn of_original(&self, name: &'static str) -> Now {
        let given = self
            .original
            .and_then(|(fact, _)| Some((value(fact, name)?, fact)));
        Now {
            field: name,
            value: given.map(|(value, _)| value.to_owned()),
            rule: given.map_or(Rule::Blank, |_| Rule::Original),
            event_id: given.map(|(_, fact)| fact.event_id.clone()),
            original: None,
            differences: None,
        }
    }

    /// `payout` or `revenue`. Differences and current values are never added together.
    fn amount(
        &self,
        name: &'static str,
        current: &'static str,
        own: fn(&Contribution) -> Amount,
    ) -> Result<Now, Overflow> {
        let current = self.state(current);
        if current.rule == Rule::Adjustment {
            return Ok(Now {
                field: name,
                rule: Rule::Current,
                ..current
            });
        }
        if self.original.is_some() && !self.sum(name).is_zero() {
            return self.net(name, name, own);
        }
        Ok(self.of_original(name))
    }

    fn net(
        &self,
        name: &'static str,
        delta: &'static str,
        own: fn(&Contribution) -> Amount,
    ) -> Result<Now, Overflow> {
        let own = self.original.map(|(_, contribution)| own(&contribution));
        let differences = self.sum(delta);
        let value = own.unwrap_or(Amount::ZERO).checked_add(differences);
        Ok(Now {
            field: name,
            value: Some(value.ok_or(Overflow)?.to_string()),
            rule: Rule::Net,
            event_id: None,
            original: own.map(|own| own.to_string()),
            differences: Some(differences.to_string()),
        })
    }

    fn sum(&self, delta: &str) -> Amount {
        delta_fields()
            .position(|(_, field)| field.name == delta)
            .map_or(Amount::ZERO, |n| self.patch.sums[n])
    }
}

/// An adjustment as the fold looks at it.
pub fn entry(fact: &Fact) -> Result<Entry, Fault> {
    let mut deltas = Vec::new();
    for (n, field) in delta_fields() {
        deltas.push(match fact.values[n].as_deref() {
            None => Amount::ZERO,
            Some(text) => Amount::parse(text).ok_or_else(|| {
                Fault::MassRefusal(anyhow::anyhow!(
                    "adjustments.{} of event {} holds an amount that hydrant never writes",
                    field.name,
                    fact.event_id
                ))
            })?,
        });
    }
    let number = |name| value(fact, name).and_then(|text| text.parse().ok());
    Ok(Entry {
        event_id: fact.event_id.clone(),
        adjustment_sequence_id: number("adjustment_sequence_id"),
        adjustment_timestamp: number("adjustment_timestamp"),
        deltas,
        state: state_fields()
            .map(|(n, _)| fact.values[n].clone())
            .collect(),
    })
}

/// Whether an adjustment's differences are in the view `stats`.
pub fn in_stats(fact: &Fact) -> bool {
    value(fact, "update_stats") != Some("false")
}
