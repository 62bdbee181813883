//! Values that may be about a person, of facts that are old: set to NULL where they stand, never their `content_hash`, so an
//! event that comes again is still known.
//!
//! The pages that hold such values are found first, without a lock. Then a few pages at a time are locked, as far as nobody
//! else has their rows, and written. A record's ledger is folded again in the transaction that blanks an entry of it.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Row};

use super::late;
use super::marks::Mark;
use super::{Action, Reason, Run, is_before, midnight, pause};
use crate::formats::hasoffers::fields;
use crate::formats::value::Day;
use crate::store::connection::{execute, quote_literal};
use crate::store::fault::Fault;
use crate::store::partitions::Leaf;
use crate::store::patches::{self, Records};

/// Pages of one transaction.
const PAGES: i64 = 64;
/// Rows that a page can hold; Postgres' own limit.
const ROWS_OF_PAGE: i32 = 291;
/// Looks at one table; what others hold in all of them is left for the next run.
const LOOKS: u32 = 3;
/// The tables of facts beside the days.
const TABLES: [&str; 4] = [
    "events_default",
    "events_conversions",
    "adjustments",
    "event_variants",
];
const DOING: &str = "could not blank personal values";

/// What is blanked, and in which facts.
pub(super) struct Blanking {
    mark: Mark,
    before: Day,
    keep: Vec<String>,
    /// When the run began, as Postgres writes it. What comes later is for the next one: it would not come to an end.
    began: String,
    /// The columns.
    columns: Vec<&'static str>,
    /// Whether `mark` says so already.
    is_noted: bool,
}

impl Blanking {
    fn new(mut mark: Mark, before: Day, keep: &[String], began: String) -> Blanking {
        // A column that is kept no longer has values in rows that were looked at already.
        if mark.kept.iter().any(|name| !keep.contains(name)) {
            mark.complete_before = None;
        }
        Blanking {
            mark,
            before,
            keep: keep.to_vec(),
            began,
            columns: columns(keep),
            is_noted: false,
        }
    }

    /// The rows `t` of facts that are to be blanked: whose day is over for long, that were not looked at since, and that have
    /// values.
    fn condition(&self) -> String {
        let old = is_before("t.event_day", self.before);
        let unseen = match self.mark.complete_before {
            None => "true".to_owned(),
            Some(complete) => format!(
                "(t.event_day >= '{complete}' or t.received_at >= {since}
                 or t.event_day = '{no_day}' and t.received_at >= {})",
                midnight(complete),
                since = self.mark.since(),
                no_day = Day::EPOCH,
            ),
        };
        format!(
            "{old} and {unseen} and t.received_at < {began}::timestamptz and not {blank}",
            began = quote_literal(&self.began),
            blank = are_blank("t", &self.columns)
        )
    }
}

/// The columns that are blanked where these are kept.
fn columns(keep: &[String]) -> Vec<&'static str> {
    let goes = |name: &&str| !keep.iter().any(|kept| kept == name);
    fields::personal().filter(goes).chain(["extra"]).collect()
}

/// Whether all of these columns are NULL.
pub fn are_blank(alias: &str, columns: &[&str]) -> String {
    let columns: Vec<String> = columns
        .iter()
        .map(|name| format!("{alias}.{name}"))
        .collect();
    format!("(row({}) is null)", columns.join(", "))
}

/// The condition that retention may have blanked a row of facts `t`.
pub fn may_be_blanked(mark: &Mark) -> String {
    match mark.before {
        None => "false".to_owned(),
        Some(before) => format!(
            "t.event_day < '{before}' and {}",
            are_blank("t", &columns(&mark.kept))
        ),
    }
}

impl Run<'_> {
    /// Blanks what is of days before this one.
    pub(super) async fn blank_before(&mut self, before: Day, keep: &[String]) -> Result<(), Fault> {
        self.partitions
            .load(&mut self.connection, self.settings)
            .await?;
        self.begin().await?;
        let mark = Mark::read(&mut self.connection).await?;
        let late = late::noted_since(&mut self.connection, mark.since()).await?;
        let began: String = sqlx::query_scalar("select now()::text")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        self.commit().await?;
        let mut blanking = Blanking::new(mark, before, keep, began);
        let complete = blanking.mark.complete_before;
        let days: Vec<Day> = self
            .partitions
            .days()
            .filter(|day| *day < before)
            .filter(|day| complete.is_none_or(|complete| *day >= complete) || late.contains(day))
            .collect();
        let days = days.into_iter().map(|day| Leaf::Day(day).table());
        let tables = days.chain(TABLES.map(str::to_owned));
        let mut all = true;
        for table in tables {
            all &= self.blank(&table, &mut blanking).await?;
        }
        self.blank_quarantine(before).await?;
        if all && !self.dry {
            self.begin().await?;
            Mark::complete(&mut self.connection, before, keep, &blanking.began).await?;
            self.commit().await?;
        }
        Ok(())
    }

    /// Blanks what is old in a table. Whether none is left.
    async fn blank(&mut self, table: &str, blanking: &mut Blanking) -> Result<bool, Fault> {
        let looked = self.look_at(table).await?;
        let mut condition = blanking.condition();
        // What a run would delete before it comes here has nothing to blank.
        for (_, gone) in self.would_go.iter().filter(|(of, _)| of == table) {
            condition = format!("{condition} and not ({gone})");
        }
        if self.dry || !looked.may_update {
            let rows = self.count(table, &condition).await?;
            match (rows, looked.may_update) {
                (0, _) => {}
                (_, true) => self.did(Action::Blank, table, rows),
                (_, false) => self.keep(table, rows, Reason::Forbidden),
            }
            return Ok(false);
        }
        let (mut rows, mut looks) = (0, 0);
        let is_done = loop {
            let windows = self.windows(table, &condition).await?;
            if windows.is_empty() || looks == LOOKS {
                break windows.is_empty();
            }
            looks += 1;
            for window in windows {
                rows += self
                    .blank_window(table, &condition, window, blanking)
                    .await?;
            }
        };
        if rows > 0 {
            self.did(Action::Blank, table, rows);
        }
        if !is_done {
            let left = self.count(table, &condition).await?;
            self.keep(table, left, Reason::Held);
        }
        Ok(is_done)
    }

    /// The windows of [`PAGES`] pages that hold rows `t` that meet a condition.
    async fn windows(&mut self, table: &str, condition: &str) -> Result<Vec<i64>, Fault> {
        self.begin().await?;
        // It may mean to read the whole table.
        execute(
            &mut self.connection,
            "set local statement_timeout = 0".to_owned(),
        )
        .await
        .map_err(|error| Fault::new(error, DOING))?;
        let sql = format!(
            "select distinct ((t.ctid::text::point)[0])::bigint / {PAGES} from {table} t where {condition} order by 1"
        );
        let windows = sqlx::query_scalar(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not look for personal values"))?;
        self.commit().await?;
        Ok(windows)
    }

    /// Blanks what nobody else holds in one window; how many rows.
    async fn blank_window(
        &mut self,
        table: &str,
        condition: &str,
        window: i64,
        blanking: &mut Blanking,
    ) -> Result<u64, Fault> {
        let mut attempt = 1;
        loop {
            let began = Instant::now();
            match self.try_window(table, condition, window, blanking).await {
                Ok(rows) => {
                    pause(began).await;
                    return Ok(rows);
                }
                Err(fault) if self.is_again(&fault, attempt).await? => attempt += 1,
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn try_window(
        &mut self,
        table: &str,
        condition: &str,
        window: i64,
        blanking: &mut Blanking,
    ) -> Result<u64, Fault> {
        self.begin().await?;
        let sql = format!(
            "select t.ctid::text, t.network_id, t.record_id, t.tune_event_id is not null from {table} t
             where t.ctid = any (array(
                 select format('(%s,%s)', page, item)::tid
                 from generate_series($1, $2) page cross join generate_series(1, {ROWS_OF_PAGE}) item
             )) and {condition}
             for update skip locked"
        );
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(window * PAGES)
            .bind((window + 1) * PAGES - 1)
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        if found.is_empty() {
            self.commit().await?;
            return Ok(0);
        }
        let set: Vec<String> = blanking
            .columns
            .iter()
            .map(|name| format!("{name} = null"))
            .collect();
        let sql = format!(
            "update {table} set {} where ctid = any ($1::text[]::tid[])",
            set.join(", ")
        );
        let places: Vec<&str> = found.iter().map(|row| row.get(0)).collect();
        sqlx::query(AssertSqlSafe(sql))
            .bind(places)
            .persistent(false)
            .execute(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        if table == "adjustments" {
            let folded: Records = found
                .iter()
                .filter(|row| row.get(3))
                .map(|row| (row.get(1), row.get(2)))
                .collect();
            patches::fold_again(&mut self.connection, &folded).await?;
        }
        if !blanking.is_noted {
            Mark::widen(&mut self.connection, blanking.before, &blanking.keep).await?;
        }
        self.commit().await?;
        blanking.is_noted = true;
        Ok(found.len() as u64)
    }

    /// Blanks the bytes of what is done with. What is open keeps them: they are all that there is of it.
    async fn blank_quarantine(&mut self, before: Day) -> Result<(), Fault> {
        const TABLE: &str = "quarantine";
        let old = format!(
            "t.last_seen < {} and octet_length(t.payload) > 0 and t.status",
            midnight(before)
        );
        let open = self.count(TABLE, &format!("{old} = 'open'")).await?;
        if open > 0 {
            self.keep(TABLE, open, Reason::Open);
        }
        let done = format!("{old} <> 'open'");
        if self.dry {
            let rows = self.count(TABLE, &done).await?;
            if rows > 0 {
                self.did(Action::Blank, TABLE, rows);
            }
            return Ok(());
        }
        let sql = format!(
            "update quarantine set payload = '' where id = any (array(
                 select t.id from quarantine t where {done} limit 1000 for update skip locked
             ))"
        );
        let mut rows = 0;
        loop {
            let began = Instant::now();
            self.begin().await?;
            let blanked = sqlx::query(AssertSqlSafe(sql.as_str()))
                .persistent(false)
                .execute(&mut self.connection)
                .await
                .map_err(|error| Fault::new(error, "could not blank what is in quarantine"))?
                .rows_affected();
            self.commit().await?;
            rows += blanked;
            if blanked == 0 {
                break;
            }
            pause(began).await;
        }
        if rows > 0 {
            self.did(Action::Blank, TABLE, rows);
        }
        Ok(())
    }
}
