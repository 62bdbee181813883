//! What facts contribute to view `stats`, added up by group: the same rules as view `stats_facts`, which `hydrant verify`
//! compares with these sums.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row, ValueRef};

use crate::amount::Amount;
use crate::formats::hasoffers::fields::FIELDS;
use crate::formats::value::Day;
use crate::store::batch::{Batch, Fact, ID_COLUMNS, NULL, write_length};
use crate::store::facts::copy;
use crate::store::fault::Fault;
use crate::store::rollup::Keeping;

/// The columns of a fact that its contribution depends on.
pub const COLUMNS: [&str; 16] = [
    "network_id",
    "event_day",
    "hour",
    "offer_id",
    "affiliate_id",
    "advertiser_id",
    "goal_id",
    "currency",
    "action",
    "adjust_action",
    "status",
    "update_stats",
    "num",
    "payout",
    "revenue",
    "sale_amount",
];

/// The values of [`COLUMNS`], in Postgres' binary form.
type Values<'a> = [Option<&'a [u8]>; COLUMNS.len()];

/// For each column of a row in [`Batch`], where it stands in [`COLUMNS`]; up to the last that does.
static PLACES: LazyLock<Vec<Option<usize>>> = LazyLock::new(|| {
    let fields = FIELDS.iter().map(|field| field.name);
    let mut places: Vec<Option<usize>> = ID_COLUMNS
        .into_iter()
        .chain(fields)
        .map(|name| COLUMNS.iter().position(|column| *column == name))
        .collect();
    let end = places.iter().rposition(Option::is_some);
    places.truncate(end.map_or(0, |last| last + 1));
    places
});

/// Rows that came into a table of facts or left it by a settling of contents: [`COLUMNS`] from their first column on.
#[derive(Debug, Default)]
pub struct Exchanged {
    pub came: Vec<PgRow>,
    pub left: Vec<PgRow>,
}

impl Exchanged {
    pub fn extend(&mut self, other: Exchanged) {
        self.came.extend(other.came);
        self.left.extend(other.left);
    }
}

/// The key of `stats_hourly`, in binary: what a report groups by, and the action.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group<'a> {
    network_id: &'a [u8],
    date: &'a [u8],
    hour: Option<&'a [u8]>,
    /// offer, affiliate, advertiser, goal; missing is 0.
    ids: [&'a [u8]; 4],
    currency: Option<&'a [u8]>,
    action: &'a [u8],
}

/// What facts come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    facts: i64,
    /// num, payout, revenue, sale_amount.
    amounts: [Amount; 4],
}

/// What a transaction changes, by group.
pub struct Groups<'a> {
    keeping: Keeping,
    sums: FxHashMap<Group<'a>, Sums>,
}

impl<'a> Groups<'a> {
    pub fn new(keeping: Keeping) -> Groups<'a> {
        Groups {
            keeping,
            sums: FxHashMap::default(),
        }
    }

    /// Adds facts of a batch that went in.
    ///
    /// # Errors
    /// As for [`Groups::add_exchanged`].
    pub fn add_facts(&mut self, batch: &'a Batch, facts: &[&Fact]) -> Result<(), Fault> {
        facts
            .iter()
            .try_for_each(|fact| self.add(of_fact(batch, fact), false))
    }

    /// Adds rows that came, and takes those away that left.
    ///
    /// # Errors
    /// A fact holds an amount that is none, or the sums do not fit 128 bits.
    pub fn add_exchanged(&mut self, exchanged: &'a Exchanged) -> Result<(), Fault> {
        for row in &exchanged.came {
            self.add(of_row(row)?, false)?;
        }
        for row in &exchanged.left {
            self.add(of_row(row)?, true)?;
        }
        Ok(())
    }

    /// Adds one fact to its group, or takes it away.
    fn add(&mut self, values: Values<'a>, away: bool) -> Result<(), Fault> {
        if is_closed(&values, self.keeping) {
            return Ok(());
        }
        let Some((group, mut sums)) = contribution(values)? else {
            return Ok(());
        };
        if away {
            sums.facts = -sums.facts;
            sums.amounts = sums.amounts.map(|amount| -amount);
        }
        let total = self.sums.entry(group).or_default();
        total.facts += sums.facts;
        for (total, amount) in total.amounts.iter_mut().zip(sums.amounts) {
            *total = total.checked_add(amount).ok_or_else(|| {
                Fault::MassRefusal(anyhow::anyhow!(
                    "the amounts of one transaction add up to more than 128 bits hold"
                ))
            })?;
        }
        Ok(())
    }

    /// Appends them to `stats_deltas`, but for those whose sums stay what they are.
    ///
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn append(self, connection: &mut PgConnection) -> Result<(), Fault> {
        const STATEMENT: &str = "copy stats_deltas (network_id, date, hour, offer_id, affiliate_id, advertiser_id, goal_id,
            currency, action, facts, num, payout, revenue, sale_amount) from stdin (format binary)";
        let is_change = |(_, sums): &(Group<'_>, Sums)| *sums != Sums::default();
        let changes: Vec<_> = self.sums.into_iter().filter(is_change).collect();
        if changes.is_empty() {
            return Ok(());
        }
        copy(connection, STATEMENT, &changes, |(group, sums), out| {
            encode(group, sums, out);
        })
        .await
        .map_err(|error| Fault::new(error, "could not append the sums of facts"))
    }
}

fn of_fact<'a>(batch: &'a Batch, fact: &Fact) -> Values<'a> {
    let mut values = [None; COLUMNS.len()];
    for (place, value) in PLACES.iter().zip(batch.columns(fact)) {
        if let Some(place) = place {
            values[*place] = value;
        }
    }
    values
}

fn of_row(row: &PgRow) -> Result<Values<'_>, Fault> {
    const DOING: &str = "could not read the contents of a repeated id";
    let mut values = [None; COLUMNS.len()];
    for (at, place) in values.iter_mut().enumerate() {
        let value = row
            .try_get_raw(at)
            .map_err(|error| Fault::new(error, DOING))?;
        if !value.is_null() {
            let bytes = value.as_bytes();
            *place = Some(bytes.map_err(|error| Fault::new(sqlx::Error::Decode(error), DOING))?);
        }
    }
    Ok(values)
}

/// Whether a fact is a click or impression of a day whose sums are closed. One that tells no day has none to close: it is
/// dropped only when it cannot come again.
fn is_closed(values: &Values<'_>, keeping: Keeping) -> bool {
    let [_, date, _, _, _, _, _, _, action, adjust_action, ..] = values;
    let date = date.and_then(|date| Some(Day(i32::from_be_bytes(date.try_into().ok()?))));
    *action != Some(b"conversion")
        && *adjust_action != Some(b"update")
        && date.is_some_and(|date| {
            date != Day::EPOCH && keeping.closed_before.is_some_and(|before| date < before)
        })
}

/// What a fact contributes; nothing where it does not count.
fn contribution(values: Values<'_>) -> Result<Option<(Group<'_>, Sums)>, Fault> {
    const NO_ID: &[u8] = &0i64.to_be_bytes();
    let [
        network_id,
        date,
        hour,
        offer_id,
        affiliate_id,
        advertiser_id,
        goal_id,
        currency,
        action,
        adjust_action,
        status,
        update_stats,
        num,
        amounts @ ..,
    ] = values;
    let (counts, default_num) = match adjust_action {
        Some(b"update") => (update_stats != Some(&[0]), Amount::ZERO),
        Some(_) => (true, Amount::ONE),
        None => (matches!(status, None | Some(b"approved")), Amount::ONE),
    };
    if !counts {
        return Ok(None);
    }
    let group = Group {
        network_id: network_id.unwrap_or_default(),
        date: date.unwrap_or_default(),
        hour,
        ids: [offer_id, affiliate_id, advertiser_id, goal_id].map(|id| id.unwrap_or(NO_ID)),
        currency,
        action: action.unwrap_or_default(),
    };
    let [payout, revenue, sale_amount] = amounts;
    let sums = Sums {
        facts: 1,
        amounts: [
            amount(num, default_num)?,
            amount(payout, Amount::ZERO)?,
            amount(revenue, Amount::ZERO)?,
            amount(sale_amount, Amount::ZERO)?,
        ],
    };
    Ok(Some((group, sums)))
}

fn amount(numeric: Option<&[u8]>, default: Amount) -> Result<Amount, Fault> {
    let Some(numeric) = numeric else {
        return Ok(default);
    };
    Amount::from_numeric(numeric).ok_or_else(|| {
        Fault::MassRefusal(anyhow::anyhow!(
            "a fact holds an amount that hydrant never writes: hydrant verify names it (V10)"
        ))
    })
}

/// A row of `stats_deltas` for COPY.
fn encode(group: &Group<'_>, sums: &Sums, out: &mut Vec<u8>) {
    const COUNT: i16 = 14;
    out.extend_from_slice(&COUNT.to_be_bytes());
    let mut column = |value: Option<&[u8]>| match value {
        Some(value) => {
            write_length(value.len(), out);
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&NULL),
    };
    let facts = sums.facts.to_be_bytes();
    let [offer_id, affiliate_id, advertiser_id, goal_id] = group.ids;
    let columns = [
        Some(group.network_id),
        Some(group.date),
        group.hour,
        Some(offer_id),
        Some(affiliate_id),
        Some(advertiser_id),
        Some(goal_id),
        group.currency,
        Some(group.action),
        Some(&facts),
    ];
    columns.into_iter().for_each(&mut column);
    for amount in sums.amounts {
        let (numeric, length) = amount.numeric();
        column(Some(&numeric[..length]));
    }
}

#[cfg(test)]
#[path = "sums_tests.rs"]
mod tests;
