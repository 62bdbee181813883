//! The arguments of `hydrant quarantine`.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::Common;
use crate::formats::Reason;
use crate::store::quarantine::{Filter, Status};

#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List what is in quarantine, the latest first; never its payloads
    List(List),
    /// Show one item with everything that is known of it, and its payload
    Show(Show),
    /// Send stored bytes through the normal path again: what can be stored now is resolved
    Retry(Selection),
    /// Mark what nobody wants; nothing is deleted
    Discard(Selection),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub filters: Filters,
    /// Only what has this status
    #[arg(long, value_enum, default_value = "open")]
    pub status: AnyStatus,
    /// One JSON object on each line instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    pub common: Common,
    /// An ID, or the first 4 or more characters of one
    #[arg(value_parser = id)]
    pub id: IdPrefix,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The exact bytes of the payload and nothing else
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

#[derive(Debug, Args)]
pub struct Selection {
    #[command(flatten)]
    pub common: Common,
    /// IDs, or the first 4 or more characters of each
    #[arg(value_name = "ID", value_parser = id, conflicts_with_all = [
        "reason", "source", "scope", "network_id", "older_than", "newer_than", "limit", "status", "all",
    ])]
    pub ids: Vec<IdPrefix>,
    #[command(flatten)]
    pub filters: Filters,
    /// Only what has this status
    #[arg(long, value_enum, default_value = "open")]
    pub status: OneStatus,
    /// Everything that has the status, without another filter
    #[arg(long)]
    pub all: bool,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Filters {
    /// Only what was refused for this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)), hide_possible_values = true)]
    pub reason: Option<String>,
    /// Only what came from the source of this name, or by this route of it: NAME.ROUTE
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only whole bodies, or only single events
    #[arg(long, value_parser = ["body", "event"])]
    pub scope: Option<String>,
    /// Only what belongs to this network
    #[arg(long, value_name = "ID")]
    pub network_id: Option<String>,
    /// Only what was last seen longer ago: 90s, 15m, 3h, 2d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// Only what was last seen since then: 90s, 15m, 3h, 2d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub newer_than: Option<Duration>,
    /// At most so many: `list` takes the latest, the others the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// A status, or none in particular.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AnyStatus {
    Open,
    Resolved,
    Discarded,
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OneStatus {
    Open,
    Resolved,
    Discarded,
}

impl Filters {
    /// Whether they leave out anything but by number and status.
    pub fn narrow(&self) -> bool {
        self.reason.is_some()
            || self.source.is_some()
            || self.scope.is_some()
            || self.network_id.is_some()
            || self.older_than.is_some()
            || self.newer_than.is_some()
    }

    pub fn with_status(self, status: Option<Status>) -> Filter {
        Filter {
            reason: self.reason,
            source: self.source,
            scope: self.scope,
            network_id: self.network_id,
            older_than: self.older_than,
            newer_than: self.newer_than,
            limit: self.limit,
            status,
        }
    }
}

impl AnyStatus {
    pub fn status(self) -> Option<Status> {
        match self {
            AnyStatus::Open => Some(Status::Open),
            AnyStatus::Resolved => Some(Status::Resolved),
            AnyStatus::Discarded => Some(Status::Discarded),
            AnyStatus::All => None,
        }
    }
}

impl OneStatus {
    pub fn status(self) -> Status {
        match self {
            OneStatus::Open => Status::Open,
            OneStatus::Resolved => Status::Resolved,
            OneStatus::Discarded => Status::Discarded,
        }
    }
}

/// The beginning of an ID, as the range of the IDs that begin so.
#[derive(Clone, Debug, PartialEq)]
pub struct IdPrefix {
    pub text: String,
    pub least: Uuid,
    pub most: Uuid,
}

fn id(text: &str) -> Result<IdPrefix, &'static str> {
    const RULE: &str = "an ID, or at least the first 4 characters of one, is expected";
    let digits = text.replace('-', "");
    if digits.len() < 4 || digits.len() > 32 {
        return Err(RULE);
    }
    let filled = |with: &str| {
        let missing = with.repeat(32 - digits.len());
        Uuid::try_parse(&format!("{digits}{missing}")).map_err(|_| RULE)
    };
    Ok(IdPrefix {
        least: filled("0")?,
        most: filled("f")?,
        text: text.to_owned(),
    })
}

/// Longest age that can be asked for.
const AGE_DAYS_MAX: u64 = 36_500;

fn age(text: &str) -> Result<Duration, String> {
    let rule = || format!("a number and one of s, m, h, d is expected, up to {AGE_DAYS_MAX}d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(rule()),
    };
    let digits = &text[..text.len() - 1];
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(rule());
    }
    let number: u64 = digits.parse().map_err(|_| rule())?;
    let seconds = number.checked_mul(unit).ok_or_else(rule)?;
    if seconds > AGE_DAYS_MAX * 86_400 {
        return Err(rule());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_a_range_of_ids() {
        let whole = "3f2a1b9c-0d4e-4f60-8a7b-9c0d1e2f3a4b";
        let prefix = id(whole).unwrap();
        assert_eq!(prefix.least.to_string(), whole);
        assert_eq!(prefix.most, prefix.least);
        let prefix = id("3F2A1B9C-0d").unwrap();
        assert_eq!(
            prefix.least.to_string(),
            "3f2a1b9c-0d00-0000-0000-000000000000"
        );
        assert_eq!(
            prefix.most.to_string(),
            "3f2a1b9c-0dff-ffff-ffff-ffffffffffff"
        );
        for text in ["", "3f2", "3f2-", "3f2g", "é12345", &format!("{whole}0")] {
            assert!(id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_age_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("3h", 10_800), ("2d", 172_800)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)));
        }
        for text in [
            "",
            "s",
            "3",
            "-3h",
            "+3h",
            "3 h",
            "3w",
            "3é",
            "36501d",
            "999999999999999999d",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
