//! The arguments of `hydrant verify` and `hydrant rebuild`.

use clap::Args;

use super::Common;
use crate::formats::value::Day;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 all is well, 1 something to look at (soft), 2 a defect (hard), 3 it could not be run."
)]
pub struct Verify {
    #[command(flatten)]
    pub common: Common,
    /// Look at what came on this day (UTC) or later: records of which a fact came, and ids and records of which one lost to
    /// what came (V2 to V6); conversions and adjustments that came (V10), clicks and impressions of that day and later (V1,
    /// V10, V13), sums of that day and later (V14). V7 to V9 and V11 look at everything. With --digest: rows of that day
    /// and later
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<Day>,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// Check nothing; print rows and a hash for each table and day, to compare two databases with
    #[arg(long)]
    pub digest: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub struct Rebuild {
    #[command(flatten)]
    pub common: Common,
    /// Every record
    #[arg(long, group = "which")]
    pub all: bool,
    /// The records of which a fact came on this day (UTC) or later
    #[arg(long, value_name = "DAY", value_parser = day, group = "which")]
    pub since: Option<Day>,
    /// One record
    #[arg(long, num_args = 2, value_names = ["NETWORK", "ID"], group = "which", allow_hyphen_values = true)]
    pub record: Option<Vec<String>>,
    /// Go on behind this record: what an interrupted run printed
    #[arg(long, num_args = 2, value_names = ["NETWORK", "ID"], conflicts_with = "record", allow_hyphen_values = true)]
    pub after: Option<Vec<String>>,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

pub(super) fn day(text: &str) -> Result<Day, &'static str> {
    Day::parse(text).ok_or("it must be a day such as 2026-03-01")
}
