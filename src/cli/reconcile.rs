//! The arguments of `hydrant reconcile`.

use std::path::PathBuf;

use clap::Args;

use super::verify::day;
use super::{Common, network_id};
use crate::amount::Amount;
use crate::formats::value::{Day, Moment};
use crate::reconcile::columns::{Dimension, Value};
use crate::reconcile::number::DecimalMark;
use crate::reconcile::report::{Column, Field};

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    after_help = "Fields to group by: date, hour, offer_id, affiliate_id, advertiser_id, goal_id, currency.\n\
        Fields to add up: impressions, clicks, conversions, payout, revenue, sale_amount.\n\n\
        Exit status: 0 all agrees (or nothing was to be compared), 1 something differs, 2 wrong use, or a report that cannot \
        be read for certain, 3 it could not be run."
)]
pub struct Reconcile {
    #[command(flatten)]
    pub common: Common,
    /// Compare the view stats with this export of TUNE's stats report (CSV), by what the report groups by
    #[arg(long, value_name = "FILE", group = "what")]
    pub report: Option<PathBuf>,
    /// Say what was changed since then, by the day of the conversions: a day (UTC) or a time such as
    /// 2026-11-01T00:00:00-05:00
    #[arg(long, value_name = "TIME", group = "what", value_parser = instant)]
    pub changed_since: Option<Instant>,
    /// The network, where the database has several
    #[arg(long, value_name = "ID", value_parser = network_id)]
    pub network: Option<String>,
    /// The first day of the conversions, clicks and impressions; without it that of the report
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<Day>,
    /// The last day
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub until: Option<Day>,
    /// Look at this offer, affiliate and so on alone, as the report does: affiliate_id=8
    #[arg(long, value_name = "FIELD=VALUE", value_parser = only)]
    pub only: Vec<(Dimension, Value)>,
    /// The report's column for a field, where it is not found by its name: payout=Total. With nothing behind = the field
    /// is left out
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = column, conflicts_with = "changed_since")]
    pub columns: Vec<Column>,
    /// What stands before the decimals in the report, where its numbers do not tell
    #[arg(
        long,
        value_enum,
        value_name = "MARK",
        conflicts_with = "changed_since"
    )]
    pub decimal_mark: Option<DecimalMark>,
    /// Take differences up to this for none; half a cent is what rounding makes of one amount
    #[arg(long, value_name = "AMOUNT", value_parser = tolerance, default_value = "0", conflicts_with = "changed_since")]
    pub tolerance: Amount,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// With --json: list the groups that agree as well
    #[arg(long, requires = "json", conflicts_with = "changed_since")]
    pub all: bool,
}

/// A moment as somebody wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instant {
    pub text: String,
    /// Seconds since 1970.
    pub seconds: i64,
}

/// 2000-01-01 in seconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800;

fn instant(text: &str) -> Result<Instant, &'static str> {
    const RULE: &str =
        "it must be a day (UTC), or a time with its zone such as 2026-11-01T00:00:00Z or …+01:00";
    let seconds = match Day::parse(text) {
        Some(day) => Some(i64::from(day.0) * 86_400),
        None => time(text),
    };
    Ok(Instant {
        text: text.to_owned(),
        seconds: seconds.ok_or(RULE)? + POSTGRES_EPOCH,
    })
}

/// Seconds since 2000.
fn time(text: &str) -> Option<i64> {
    let (moment, zone) = text.split_at_checked(19)?;
    let local = Moment::parse(moment)?.0.div_euclid(1_000_000);
    if zone == "Z" {
        return Some(local);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let part = |text: &str, limit: i64| {
        let is_right = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let part: i64 = text.parse().ok()?;
        (is_right && part < limit).then_some(part)
    };
    let ahead = part(hours, 24)? * 3_600 + part(minutes, 60)? * 60;
    match sign {
        "+" => Some(local - ahead),
        "-" => Some(local + ahead),
        _ => None,
    }
}

fn only(text: &str) -> Result<(Dimension, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it must be FIELD=VALUE")?;
    match Field::named(name) {
        Some(Field::Dimension(dimension)) => match dimension.read(value) {
            Some(value) => Ok((dimension, value)),
            None => Err(format!("{value:?} is no {name}")),
        },
        _ => Err(format!(
            "the field must be one of {}",
            Dimension::ALL.map(Dimension::as_str).join(", ")
        )),
    }
}

fn column(text: &str) -> Result<Column, String> {
    let (name, column) = text.split_once('=').ok_or("it must be FIELD=COLUMN")?;
    match Field::named(name) {
        Some(field) => Ok(Column {
            field,
            name: column.trim().to_owned(),
        }),
        None => {
            let names: Vec<&str> = Field::all().map(Field::as_str).collect();
            Err(format!("the field must be one of {}", names.join(", ")))
        }
    }
}

fn tolerance(text: &str) -> Result<Amount, &'static str> {
    let amount = Amount::parse(text).filter(|amount| *amount >= Amount::ZERO);
    amount.ok_or("it must be an amount such as 0.01")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_zone() {
        for (text, seconds) in [
            ("2026-11-01", 1_793_491_200),
            ("2026-11-01T00:00:00Z", 1_793_491_200),
            ("2026-11-01 01:30:00+01:30", 1_793_491_200),
            ("2026-10-31T19:00:00-05:00", 1_793_491_200),
        ] {
            assert_eq!(instant(text).unwrap().seconds, seconds, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-11-01T00:00:00",
            "2026-11-01T00:00:00+1:00",
            "2026-11-01T00:00:00+01:60",
            "2026-11-01T00:00:00*01:00",
            "2026-11-01T00:00:0é",
        ] {
            assert!(instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_has_a_name_and_a_value() {
        assert_eq!(
            only("affiliate_id=8"),
            Ok((Dimension::AffiliateId, Value::Number(8)))
        );
        for text in ["affiliate_id", "payout=8", "affiliate_id=x", "=8"] {
            assert!(only(text).is_err(), "{text}");
        }
        let column = column("payout=Total = all").unwrap();
        assert_eq!(column.name, "Total = all");
        assert!(super::column("profit=Profit").is_err());
    }
}
