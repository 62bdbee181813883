//! How a record came to be what it is, worked out from its facts. Its form is that of `--json`: every amount is text, so
//! that no reader takes it for a float.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fields::{differences, shown, value};
use super::standing::{Contribution, Now, Standing, entry, in_stats};
use crate::formats::hasoffers::event::delta_fields;
use crate::formats::hasoffers::fields::FIELDS;
use crate::formats::hasoffers::fold::{Entry, Overflow, in_order};
use crate::store::explain::{Fact, Facts};
use crate::store::fault::Fault;

/// Values by the names of their fields.
type Values = BTreeMap<&'static str, String>;

/// One record.
#[derive(Serialize)]
pub struct Account {
    pub record_id: String,
    pub kind: Kind,
    pub original: Option<Original>,
    /// Of several originals of one record one counts; these are the others.
    pub other_originals: Vec<Original>,
    /// In the order in which they count.
    pub ledger: Vec<Step>,
    /// Corrections without `tune_event_id`: they count in totals and belong to no record.
    pub standalone: Vec<Standalone>,
    pub variants: Vec<Variant>,
    /// Every field that adjustments can change, as it stands.
    pub now: Vec<Now>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Conversion,
    Click,
    Impression,
    /// Adjustments whose original is not here.
    Orphan,
    Standalone,
    /// Nothing but contents that lost.
    Variant,
}

#[derive(Serialize)]
pub struct Original {
    pub event_id: String,
    pub action: String,
    pub adjust_action: Option<String>,
    pub event_day: String,
    pub dispatch_timestamp: Option<i64>,
    pub received_at: String,
    /// Adjustments of it that had been received before.
    pub late_after: Vec<String>,
    /// False where it adds nothing to the totals by itself.
    pub counts: bool,
    /// What it adds to the totals.
    pub contributes: Values,
    /// Every field that is not blank.
    pub fields: Values,
    /// What was about a person is blank because it is old.
    pub blanked: bool,
}

/// One entry of the ledger.
#[derive(Serialize)]
pub struct Step {
    pub event_id: String,
    pub adjustment_sequence_id: Option<i64>,
    pub adjustment_timestamp: Option<i64>,
    /// What puts it behind the entry before.
    pub placed_by: Place,
    pub dispatch_timestamp: Option<i64>,
    pub received_at: String,
    /// Entries with a later place that had been received before.
    pub late_after: Vec<String>,
    /// False where its differences are left out of the view `stats`.
    pub in_stats: bool,
    /// As it gives them.
    pub differences: Values,
    /// Of all differences up to here.
    pub sums: Values,
    pub changes: Vec<Change>,
    /// As of an original.
    pub blanked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    AdjustmentSequenceId,
    /// The sequences are equal.
    AdjustmentTimestamp,
    /// The times are equal as well.
    EventId,
}

#[derive(Serialize)]
pub struct Change {
    pub field: &'static str,
    pub from: Option<String>,
    pub to: Option<String>,
}

#[derive(Serialize)]
pub struct Standalone {
    pub event_id: String,
    pub action: String,
    pub event_day: String,
    pub received_at: String,
    pub in_stats: bool,
    pub differences: Values,
}

/// A content that lost against another of the same id. Where no content of it stands in its table any more, nobody knows
/// by what and against which.
#[derive(Serialize)]
pub struct Variant {
    pub role: String,
    pub event_id: String,
    pub received_at: String,
    pub lost_by: Option<Rank>,
    pub lost: Content,
    pub won: Option<Content>,
    pub differs: Vec<Difference>,
}

/// What decides between two contents: the least wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    DispatchTimestamp,
    /// The times are equal.
    ContentHash,
}

#[derive(Serialize)]
pub struct Content {
    pub record_id: String,
    pub dispatch_timestamp: Option<i64>,
    pub content_hash: String,
}

#[derive(Serialize)]
pub struct Difference {
    pub field: &'static str,
    pub lost: Option<String>,
    pub won: Option<String>,
}

/// Works it out. Values that may be about a person are hidden unless `personal`.
pub fn of(record_id: String, facts: &Facts, personal: bool) -> Result<Account, Fault> {
    let too_much = |overflow: Overflow| Fault::MassRefusal(overflow.into());
    let (own, standalone): (Vec<&Fact>, Vec<&Fact>) = facts
        .adjustments
        .iter()
        .partition(|fact| fact.tune_event_id.is_some());
    let mut originals = facts.originals.iter();
    let original = originals.next();
    let entries: Vec<Entry> = own
        .iter()
        .map(|fact| entry(fact))
        .collect::<Result<_, _>>()?;
    let by_id: BTreeMap<&str, &Fact> = own.iter().map(|f| (f.event_id.as_str(), *f)).collect();
    let ordered = in_order(&entries);
    let ledger: Vec<&Fact> = ordered.iter().map(|e| by_id[e.event_id.as_str()]).collect();

    let mut standing = Standing::new(original);
    let mut before = standing.fields().map_err(too_much)?;
    let mut steps = Vec::with_capacity(ordered.len());
    let mut previous = None;
    for (n, entry) in ordered.into_iter().enumerate() {
        standing.add(entry).map_err(too_much)?;
        let after = standing.fields().map_err(too_much)?;
        steps.push(Step {
            event_id: entry.event_id.clone(),
            adjustment_sequence_id: entry.adjustment_sequence_id,
            adjustment_timestamp: entry.adjustment_timestamp,
            placed_by: place(previous.replace(entry), entry),
            dispatch_timestamp: ledger[n].dispatch_timestamp,
            received_at: ledger[n].received_at.clone(),
            late_after: received_before(ledger[n], &ledger[n + 1..]),
            in_stats: in_stats(ledger[n]),
            differences: differences(ledger[n]).into_iter().collect(),
            sums: sums(&standing),
            changes: changes(&before, &after, personal),
            blanked: ledger[n].blanked,
        });
        before = after;
    }
    Ok(Account {
        kind: kind(original, &ledger, &standalone),
        original: original.map(|fact| original_of(fact, &ledger, personal)),
        other_originals: originals.map(|f| original_of(f, &[], personal)).collect(),
        ledger: steps,
        standalone: standalone.into_iter().map(standalone_of).collect(),
        variants: facts
            .variants
            .iter()
            .map(|(lost, won)| variant(lost, won.as_ref(), personal))
            .collect(),
        warnings: warnings(facts, &before),
        now: before
            .into_iter()
            .map(|now| masked(now, personal))
            .collect(),
        record_id,
    })
}

fn kind(original: Option<&Fact>, ledger: &[&Fact], standalone: &[&Fact]) -> Kind {
    match original.map(|fact| fact.action.as_str()) {
        Some("click") => Kind::Click,
        Some("impression") => Kind::Impression,
        Some(_) => Kind::Conversion,
        None if !ledger.is_empty() => Kind::Orphan,
        None if !standalone.is_empty() => Kind::Standalone,
        None => Kind::Variant,
    }
}

fn original_of(fact: &Fact, ledger: &[&Fact], personal: bool) -> Original {
    let own = Contribution::of(fact);
    let contributes = [
        ("num", own.num),
        ("payout", own.payout),
        ("revenue", own.revenue),
        ("sale_amount", own.sale_amount),
    ];
    let mut fields: Values = FIELDS
        .iter()
        .zip(&fact.values)
        .filter_map(|(f, value)| Some((f.name, shown(f.name, value.as_deref(), personal)?)))
        .collect();
    let extra = shown("extra", fact.extra.as_deref(), personal);
    fields.extend(extra.map(|extra| ("extra", extra)));
    Original {
        event_id: fact.event_id.clone(),
        action: fact.action.clone(),
        adjust_action: fact.adjust_action.clone(),
        event_day: fact.event_day.clone(),
        dispatch_timestamp: fact.dispatch_timestamp,
        received_at: fact.received_at.clone(),
        late_after: received_before(fact, ledger),
        counts: own.counts,
        contributes: contributes
            .map(|(n, amount)| (n, amount.to_string()))
            .into(),
        fields,
        blanked: fact.blanked,
    }
}

/// Which of `others` were received before `fact`. What came in one transaction came at one time.
fn received_before(fact: &Fact, others: &[&Fact]) -> Vec<String> {
    let earlier = others.iter().filter(|o| o.received_at < fact.received_at);
    earlier.map(|other| other.event_id.clone()).collect()
}

/// What puts an entry behind the one before.
fn place(before: Option<&Entry>, entry: &Entry) -> Place {
    match before {
        Some(before) if before.adjustment_sequence_id == entry.adjustment_sequence_id => {
            if before.adjustment_timestamp == entry.adjustment_timestamp {
                Place::EventId
            } else {
                Place::AdjustmentTimestamp
            }
        }
        _ => Place::AdjustmentSequenceId,
    }
}

fn sums(standing: &Standing<'_>) -> Values {
    delta_fields()
        .zip(&standing.patch.sums)
        .filter(|(_, sum)| !sum.is_zero())
        .map(|((_, field), sum)| (field.name, sum.to_string()))
        .collect()
}

fn changes(before: &[Now], after: &[Now], personal: bool) -> Vec<Change> {
    let pairs = before.iter().zip(after);
    let changed = pairs.filter(|(from, to)| from.value != to.value);
    changed
        .map(|(from, to)| Change {
            field: to.field,
            from: shown(from.field, from.value.as_deref(), personal),
            to: shown(to.field, to.value.as_deref(), personal),
        })
        .collect()
}

fn masked(now: Now, personal: bool) -> Now {
    Now {
        value: shown(now.field, now.value.as_deref(), personal),
        ..now
    }
}

fn standalone_of(fact: &Fact) -> Standalone {
    Standalone {
        event_id: fact.event_id.clone(),
        action: fact.action.clone(),
        event_day: fact.event_day.clone(),
        received_at: fact.received_at.clone(),
        in_stats: in_stats(fact),
        differences: differences(fact).into_iter().collect(),
    }
}

fn variant(lost: &Fact, won: Option<&Fact>, personal: bool) -> Variant {
    let content = |fact: &Fact| Content {
        record_id: fact.record_id.clone(),
        dispatch_timestamp: fact.dispatch_timestamp,
        content_hash: fact.content_hash.clone(),
    };
    let lost_by = |won: &Fact| match lost.dispatch_timestamp == won.dispatch_timestamp {
        true => Rank::ContentHash,
        false => Rank::DispatchTimestamp,
    };
    Variant {
        role: lost.role.clone(),
        event_id: lost.event_id.clone(),
        received_at: lost.received_at.clone(),
        lost_by: won.map(lost_by),
        lost: content(lost),
        won: won.map(content),
        differs: won.map_or_else(Vec::new, |won| differing(lost, won, personal)),
    }
}

fn differing(lost: &Fact, won: &Fact, personal: bool) -> Vec<Difference> {
    let fields = FIELDS.iter().map(|field| field.name);
    ["tune_event_id", "action", "adjust_action", "event_day"]
        .into_iter()
        .chain(fields)
        .chain(["extra"])
        .filter(|name| any_value(lost, name) != any_value(won, name))
        .map(|field| Difference {
            field,
            lost: shown(field, any_value(lost, field), personal),
            won: shown(field, any_value(won, field), personal),
        })
        .collect()
}

/// A value of an event, be it a field or what Hydrant keeps beside them.
fn any_value<'a>(fact: &'a Fact, name: &str) -> Option<&'a str> {
    match name {
        "tune_event_id" => fact.tune_event_id.as_deref(),
        "action" => Some(&fact.action),
        "adjust_action" => fact.adjust_action.as_deref(),
        "event_day" => Some(&fact.event_day),
        "extra" => fact.extra.as_deref(),
        _ => value(fact, name),
    }
}

/// What should not be so.
fn warnings(facts: &Facts, now: &[Now]) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(conversion) = &facts.conversion {
        let same = |(now, shown): &(&Now, &Option<String>)| now.value == **shown;
        let differing = now.iter().zip(conversion).filter(|pair| !same(pair));
        let names: Vec<_> = differing.map(|(now, _)| now.field).collect();
        if !names.is_empty() {
            warnings.push(format!(
                "the view conversions shows something else than the ledger comes to, in {}: run hydrant verify",
                names.join(", ")
            ));
        }
    }
    let rank = |fact: &Fact| {
        let time = fact.dispatch_timestamp.unwrap_or(i64::MAX);
        (time, fact.content_hash.clone())
    };
    for (lost, won) in &facts.variants {
        if won.as_ref().is_some_and(|won| rank(lost) < rank(won)) {
            warnings.push(format!(
                "another content of {} {} should stand in its place: run hydrant verify",
                lost.role, lost.event_id
            ));
        }
    }
    warnings
}
