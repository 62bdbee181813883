//! What may be about a person in HasOffers' facts: by the day of the event. A record's ledger is folded again in the transaction
//! that blanks an entry of it.

use super::blanks::{Blanking, Target, Then, are_blank, columns};
use super::late;
use super::marks::{Mark, Whose};
use super::{Run, is_before, midnight};
use crate::formats::hasoffers::fields;
use crate::formats::value::Day;
use crate::store::connection::quote_literal;
use crate::store::fault::Fault;
use crate::store::partitions::Leaf;

/// The tables of facts beside the days.
const TABLES: [&str; 4] = [
    "events_default",
    "events_conversions",
    "adjustments",
    "event_variants",
];

/// The condition that retention may have blanked a row of facts `t`.
pub fn may_be_blanked(mark: &Mark) -> String {
    match mark.before {
        None => "false".to_owned(),
        Some(before) => format!(
            "t.event_day < '{before}' and {}",
            are_blank(&columns(fields::personal(), &mark.kept))
        ),
    }
}

/// The rows `t` whose day is over for long, and that were not looked at since.
fn is_old(blanking: &Blanking) -> String {
    let mark = &blanking.mark;
    let unseen = match mark.complete_before {
        None => "true".to_owned(),
        Some(complete) => format!(
            "(t.event_day >= '{complete}' or t.received_at >= {since}
             or t.event_day = '{no_day}' and t.received_at >= {})",
            midnight(complete),
            since = mark.since(),
            no_day = Day::EPOCH,
        ),
    };
    format!(
        "{} and {unseen} and t.received_at < {}::timestamptz",
        is_before("t.event_day", blanking.before),
        quote_literal(&blanking.began),
    )
}

impl Run<'_> {
    /// Blanks what is of days before this one.
    pub(super) async fn blank_facts(&mut self, before: Day, keep: &[String]) -> Result<(), Fault> {
        self.partitions
            .load(&mut self.connection, self.settings)
            .await?;
        let blanking = self.blanking(Whose::Facts, before, keep).await?;
        let old = is_old(&blanking);
        let columns = columns(fields::personal(), keep);
        let days = self.days_to_blank(&blanking).await?;
        let days = days.into_iter().map(|day| Leaf::Day(day).table());
        let targets = days
            .chain(TABLES.map(str::to_owned))
            .map(|table| Target {
                then: match table.as_str() {
                    "adjustments" => Then::Fold,
                    _ => Then::Nothing,
                },
                ..Target::of_columns(&table, &old, &columns)
            })
            .collect();
        self.blank_all(targets, blanking).await
    }

    /// The days that have a partition in which there may be something to blank.
    async fn days_to_blank(&mut self, blanking: &Blanking) -> Result<Vec<Day>, Fault> {
        self.begin().await?;
        let late = late::noted_since(&mut self.connection, blanking.mark.since()).await?;
        self.commit().await?;
        let complete = blanking.mark.complete_before;
        let unseen =
            |day: &Day| complete.is_none_or(|complete| *day >= complete) || late.contains(day);
        let days = self.partitions.days();
        Ok(days
            .filter(|day| *day < blanking.before)
            .filter(unseen)
            .collect())
    }
}
