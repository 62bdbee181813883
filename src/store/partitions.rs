//! The partitions of `events`: which there are, and making the days that are missing.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::{Settings, execute};
use super::fault::Fault;
use crate::clock;
use crate::config::PartitionBy;
use crate::formats::value::Day;

/// Days that are made before they come.
pub const DAYS_AHEAD: i32 = 14;
/// How old a day may be for its first event to make it. Older ones stay in the default partition.
pub(super) const DAYS_BACK: i32 = 400;
/// Readers of `events` hold a lock that ATTACH waits for; this long, and then again.
pub(super) const LOCK_TIMEOUT_MS: u32 = 1_000;
const ATTEMPTS: u32 = 3;

/// The table that holds a row of `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    Conversions,
    Day(Day),
    Default,
}

impl Leaf {
    pub fn table(self) -> String {
        match self {
            Leaf::Conversions => "events_conversions".to_owned(),
            Leaf::Day(day) => day_table(day),
            Leaf::Default => "events_default".to_owned(),
        }
    }
}

fn day_table(day: Day) -> String {
    format!("events_{}", day.to_string().replace('-', ""))
}

/// What one connection knows of the partitions. It may be outdated: then a COPY fails with a [`Fault::Race`], and it is
/// loaded again.
#[derive(Debug)]
pub struct Partitions {
    partition_by: PartitionBy,
    days: BTreeSet<Day>,
    /// Days that cannot be made: the default partition already holds rows of them, or we have no right to.
    left_out: BTreeSet<Day>,
}

impl Partitions {
    pub fn new(partition_by: PartitionBy) -> Partitions {
        Partitions {
            partition_by,
            days: BTreeSet::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// The partition of a day.
    pub fn leaf(&self, partition_day: Day) -> Leaf {
        if partition_day == Day::CONVERSIONS {
            Leaf::Conversions
        } else if self.days.contains(&partition_day) {
            Leaf::Day(partition_day)
        } else {
            Leaf::Default
        }
    }

    /// The days that have a partition of their own.
    pub fn days(&self) -> impl Iterator<Item = Day> {
        self.days.iter().copied()
    }

    /// Lets days stay in the default partition, as far as this connection is concerned.
    pub fn leave_out(&mut self, days: BTreeSet<Day>) {
        self.left_out
            .extend(days.into_iter().filter(|day| !self.days.contains(day)));
    }

    /// Reads which days there are.
    pub async fn load(
        &mut self,
        connection: &mut PgConnection,
        settings: &Settings,
    ) -> Result<(), Fault> {
        const DOING: &str = "could not read the partitions of events";
        let rows = sqlx::query(
            "select child.relname::text from pg_inherits i
             join pg_class child on child.oid = i.inhrelid
             join pg_class parent on parent.oid = i.inhparent
             join pg_namespace n on n.oid = parent.relnamespace
             where n.nspname = $1 and parent.relname = 'events'",
        )
        .bind(&settings.schema)
        .fetch_all(connection)
        .await
        .map_err(|error| Fault::new(error, DOING))?;
        self.days = rows.iter().filter_map(|row| day_of(row.get(0))).collect();
        self.left_out.clear();
        Ok(())
    }

    /// Which of `days` are missing and shall have a partition.
    pub fn missing(&self, days: impl Iterator<Item = Day>) -> BTreeSet<Day> {
        if self.partition_by == PartitionBy::None {
            return BTreeSet::new();
        }
        let range = today().plus(-DAYS_BACK)..=today().plus(DAYS_AHEAD);
        days.filter(|day| {
            range.contains(day) && !self.days.contains(day) && !self.left_out.contains(day)
        })
        .collect()
    }

    /// Makes the days from today on that are missing.
    ///
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn make_ahead(
        &mut self,
        connection: &mut PgConnection,
        settings: &Settings,
    ) -> Result<(), Fault> {
        self.load(connection, settings).await?;
        let days = (0..=DAYS_AHEAD).map(|n| today().plus(n));
        self.make(connection, settings, self.missing(days)).await
    }

    /// Makes the partitions of some days.
    ///
    /// # Errors
    /// The database does not answer, or readers of `events` do not let go of it.
    pub async fn make(
        &mut self,
        connection: &mut PgConnection,
        settings: &Settings,
        days: BTreeSet<Day>,
    ) -> Result<(), Fault> {
        for day in days {
            match make_day(connection, settings, day).await? {
                Made::Yes => self.days.insert(day),
                Made::LeftOut(why) => {
                    tracing::warn!(day = %day, why, "a day stays in the default partition");
                    self.left_out.insert(day)
                }
            };
        }
        Ok(())
    }
}

enum Made {
    Yes,
    LeftOut(&'static str),
}

/// Makes one day: the table with its own key first, then ATTACH. "Already exists" means that another daemon made it.
async fn make_day(
    connection: &mut PgConnection,
    settings: &Settings,
    day: Day,
) -> Result<Made, Fault> {
    const DOING: &str = "could not make the partition of a day";
    let table = day_table(day);
    let sql = format!(
        "{begin};
         set local lock_timeout = {LOCK_TIMEOUT_MS};
         create table {table} (like events including defaults including comments);
         alter table {table} add constraint {table}_key unique (network_id, event_id);
         alter table events attach partition {table} for values from ('{day}') to ('{next}');
         commit",
        begin = settings.begin(),
        next = day.plus(1),
    );
    let mut attempt = 0;
    loop {
        attempt += 1;
        let Err(error) = execute(connection, sql.clone()).await else {
            return Ok(Made::Yes);
        };
        let state = error
            .as_database_error()
            .and_then(|e| e.code())
            .unwrap_or_default()
            .into_owned();
        if !state.is_empty() {
            execute(connection, "rollback".to_owned())
                .await
                .map_err(|error| Fault::new(error, DOING))?;
        }
        match state.as_str() {
            // Its table; or its name or its row type's in the catalogue, where both were at it at the same time.
            "42P07" | "42710" | "23505" if is_attached(connection, settings, &table).await? => {
                return Ok(Made::Yes);
            }
            // A day that was detached and kept, for example.
            "42P07" => {
                return Ok(Made::LeftOut(
                    "a table of its name is no partition of events",
                ));
            }
            "23514" => return Ok(Made::LeftOut("events_default already holds rows of it")),
            "42501" => return Ok(Made::LeftOut("the database role may not create it")),
            "55P03" | "40P01" | "42710" | "23505" if attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(rand::random_range(50..300))).await;
            }
            _ => return Err(Fault::new(error, DOING)),
        }
    }
}

async fn is_attached(
    connection: &mut PgConnection,
    settings: &Settings,
    table: &str,
) -> Result<bool, Fault> {
    sqlx::query_scalar(
        "select exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                        join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2)",
    )
    .bind(&settings.schema)
    .bind(table)
    .fetch_one(connection)
    .await
    .map_err(|error| Fault::new(error, "could not look for the partition of a day"))
}

fn day_of(table: &str) -> Option<Day> {
    let digits = table
        .strip_prefix("events_")
        .filter(|d| d.len() == 8 && d.is_ascii())?;
    Day::parse(&format!(
        "{}-{}-{}",
        &digits[..4],
        &digits[4..6],
        &digits[6..]
    ))
}

pub(super) fn today() -> Day {
    Day::of_unix_seconds(clock::unix_seconds()).unwrap_or(Day::EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_its_day() {
        let day = Day::parse("2026-10-02").unwrap();
        assert_eq!(day_of(&Leaf::Day(day).table()), Some(day));
        assert_eq!(day_of("events_default"), None);
        assert_eq!(day_of("events_conversions"), None);
    }

    #[test]
    fn old_and_far_days_get_no_partition() {
        let partitions = Partitions::new(PartitionBy::Day);
        let days = [-401, -400, 0, 14, 15].map(|n| today().plus(n));
        assert_eq!(
            partitions.missing(days.into_iter()),
            days[1..4].iter().copied().collect()
        );
        assert!(
            Partitions::new(PartitionBy::None)
                .missing(days.into_iter())
                .is_empty()
        );
    }
}
