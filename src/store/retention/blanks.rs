//! Blanking what may be about a person, whatever table it stands in: set to NULL or taken out, never a `content_hash`, so what
//! comes again is still known.
//!
//! The pages that hold such values are found first, without a lock. Then a few pages at a time are locked, as far as nobody
//! else has their rows, and written; what is worked out from them is worked out anew in the same transaction.

use std::time::Instant;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::marks::{Mark, Whose};
use super::{Action, Reason, Run, pause};
use crate::formats::value::Day;
use crate::store::connection::execute;
use crate::store::documents::{self, Table, key_of};
use crate::store::fault::Fault;
use crate::store::patches;

/// Pages of one transaction.
const PAGES: i64 = 64;
/// Rows that a page can hold; Postgres' own limit.
const ROWS_OF_PAGE: i32 = 291;
/// Looks at one table; what others hold in all of them is left for the next run.
const LOOKS: u32 = 3;
const DOING: &str = "could not blank personal values";

/// What is blanked, of facts or of documents.
pub(super) struct Blanking {
    whose: Whose,
    pub mark: Mark,
    pub before: Day,
    keep: Vec<String>,
    /// When the run began, as Postgres writes it. What comes later is for the next one: it would not come to an end.
    pub began: String,
    /// Whether `mark` says so already.
    is_noted: bool,
}

/// A table of which old values are blanked.
pub(super) struct Target {
    pub table: String,
    /// Its rows `t` that are old and have such values.
    pub condition: String,
    /// What is set in them.
    pub set: String,
    pub then: Then,
}

/// What is worked out anew from rows that were blanked.
pub(super) enum Then {
    Nothing,
    /// The patches of their records.
    Fold,
    /// The states, in this table, of what they are versions of.
    Lay(&'static Table),
}

impl Target {
    /// One whose columns become NULL.
    pub fn of_columns(table: &str, old: &str, columns: &[&str]) -> Target {
        Target {
            table: table.to_owned(),
            condition: format!("{old} and not {}", are_blank(columns)),
            set: format!("{} = null", columns.join(" = null, ")),
            then: Then::Nothing,
        }
    }

    /// One that has them as members of an object.
    pub fn of_members(table: &str, object: &str, old: &str, members: &[&str]) -> Target {
        let names = format!("array['{}']", members.join("', '"));
        Target {
            table: table.to_owned(),
            condition: format!("{old} and t.{object} ?| {names}"),
            set: format!("{object} = {object} - {names}"),
            then: Then::Nothing,
        }
    }
}

/// The columns that are blanked where these are kept; `extra` is one, because nobody knows what is in there.
pub(super) fn columns(
    personal: impl Iterator<Item = &'static str>,
    keep: &[String],
) -> Vec<&'static str> {
    let goes = |name: &&str| !keep.iter().any(|kept| kept == name);
    personal.filter(goes).chain(["extra"]).collect()
}

/// Whether all of these columns of a row `t` are NULL.
pub(super) fn are_blank(columns: &[&str]) -> String {
    format!("(row(t.{}) is null)", columns.join(", t."))
}

impl Run<'_> {
    /// What is to be blanked from now on.
    pub(super) async fn blanking(
        &mut self,
        whose: Whose,
        before: Day,
        keep: &[String],
    ) -> Result<Blanking, Fault> {
        self.begin().await?;
        let mut mark = Mark::read(&mut self.connection, whose).await?;
        let began: String = sqlx::query_scalar("select now()::text")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        self.commit().await?;
        // A column that is kept no longer has values in rows that were looked at already.
        if mark.kept.iter().any(|name| !keep.contains(name)) {
            mark.complete_before = None;
        }
        Ok(Blanking {
            whose,
            mark,
            before,
            keep: keep.to_vec(),
            began,
            is_noted: false,
        })
    }

    /// Blanks what is old in these tables, and notes it when none is left.
    pub(super) async fn blank_all(
        &mut self,
        targets: Vec<Target>,
        mut blanking: Blanking,
    ) -> Result<(), Fault> {
        let mut all = true;
        for target in &targets {
            all &= self.blank(target, &mut blanking).await?;
        }
        if all {
            let Blanking {
                whose,
                before,
                keep,
                began,
                ..
            } = &blanking;
            self.begin().await?;
            Mark::complete(&mut self.connection, *whose, *before, keep, began).await?;
            self.commit().await?;
        }
        Ok(())
    }

    /// Blanks what is old in a table. Whether none is left.
    async fn blank(&mut self, target: &Target, blanking: &mut Blanking) -> Result<bool, Fault> {
        let table = target.table.as_str();
        let looked = self.look_at(table).await?;
        if self.dry || !looked.may_update {
            let mut condition = target.condition.clone();
            // What a run would delete before it comes here has nothing to blank.
            for (_, gone) in self.would_go.iter().filter(|(of, _)| of == table) {
                condition = format!("{condition} and not ({gone})");
            }
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
            let windows = self.windows(target).await?;
            if windows.is_empty() || looks == LOOKS {
                break windows.is_empty();
            }
            looks += 1;
            for window in windows {
                rows += self.blank_window(target, window, blanking).await?;
            }
        };
        if rows > 0 {
            self.did(Action::Blank, table, rows);
        }
        if !is_done {
            let left = self.count(table, &target.condition).await?;
            self.keep(table, left, Reason::Held);
        }
        Ok(is_done)
    }

    /// The windows of [`PAGES`] pages that hold rows to blank.
    async fn windows(&mut self, target: &Target) -> Result<Vec<i64>, Fault> {
        self.begin().await?;
        // It may mean to read the whole table.
        execute(
            &mut self.connection,
            "set local statement_timeout = 0".to_owned(),
        )
        .await
        .map_err(|error| Fault::new(error, DOING))?;
        let sql = format!(
            "select distinct ((t.ctid::text::point)[0])::bigint / {PAGES} from {} t where {} order by 1",
            target.table, target.condition
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
        target: &Target,
        window: i64,
        blanking: &mut Blanking,
    ) -> Result<u64, Fault> {
        let mut attempt = 1;
        loop {
            let began = Instant::now();
            match self.try_window(target, window, blanking).await {
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
        target: &Target,
        window: i64,
        blanking: &mut Blanking,
    ) -> Result<u64, Fault> {
        self.begin().await?;
        let found = self.lock_window(target, window).await?;
        if found.is_empty() {
            self.commit().await?;
            return Ok(0);
        }
        let places: Vec<&str> = found.iter().map(|row| row.get(0)).collect();
        let Target { table, set, .. } = target;
        let sql = format!("update {table} set {set} where ctid = any ($1::text[]::tid[])");
        sqlx::query(AssertSqlSafe(sql))
            .bind(places)
            .persistent(false)
            .execute(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        self.work_out(target, &found).await?;
        if !blanking.is_noted {
            let Blanking {
                whose,
                before,
                keep,
                ..
            } = &*blanking;
            Mark::widen(&mut self.connection, *whose, *before, keep).await?;
        }
        self.commit().await?;
        blanking.is_noted = true;
        Ok(found.len() as u64)
    }

    /// Locks the rows of a window that nobody else holds: their places, and what [`Run::work_out`] needs.
    async fn lock_window(&mut self, target: &Target, window: i64) -> Result<Vec<PgRow>, Fault> {
        let key = match target.then {
            Then::Nothing => String::new(),
            Then::Fold => ", t.network_id, t.record_id, t.tune_event_id is not null".to_owned(),
            Then::Lay(table) => format!(", t.{}", table.key.join(", t.")),
        };
        let sql = format!(
            "select t.ctid::text{key} from {} t
             where t.ctid = any (array(
                 select format('(%s,%s)', page, item)::tid
                 from generate_series($1, $2) page cross join generate_series(1, {ROWS_OF_PAGE}) item
             )) and {}
             for update skip locked",
            target.table, target.condition
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(window * PAGES)
            .bind((window + 1) * PAGES - 1)
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, DOING))
    }

    /// Works out anew what comes of rows that were blanked.
    async fn work_out(&mut self, target: &Target, blanked: &[PgRow]) -> Result<(), Fault> {
        match target.then {
            Then::Nothing => Ok(()),
            Then::Fold => {
                let entries = blanked.iter().filter(|row| row.get(3));
                let records = entries.map(|row| (row.get(1), row.get(2))).collect();
                patches::fold_again(&mut self.connection, &records).await
            }
            Then::Lay(table) => {
                let keys = blanked.iter().map(|row| key_of(table, row, 1)).collect();
                documents::lay_again(&mut self.connection, table, &target.table, &keys).await
            }
        }
    }
}
