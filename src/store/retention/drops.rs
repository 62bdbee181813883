//! Old clicks and impressions: a day at a time where it has a partition, else row by row.
//!
//! Dropping a partition locks `events` and its default partition against everybody for a moment. The wait for that lock is
//! short, because whoever comes while we wait has to wait behind us. (`detach … concurrently`, which would need less, is
//! refused by Postgres where there is a default partition.)

use std::time::Instant;

use sqlx::AssertSqlSafe;

use super::marks::mark_events;
use super::{ATTEMPTS, Action, ROWS, Reason, Run, Step, is_before, midnight, pause};
use crate::config::HORIZON_DAYS;
use crate::formats::value::Day;
use crate::store::connection::execute;
use crate::store::fault::Fault;
use crate::store::partitions::{LOCK_TIMEOUT_MS, Leaf};

/// How dropping a day ended.
enum Dropped {
    Yes,
    No(Reason),
}

impl Run<'_> {
    /// Drops and deletes what is of days before this one.
    pub(super) async fn drop_before(&mut self, before: Day) -> Result<(), Fault> {
        self.partitions
            .load(&mut self.connection, self.settings)
            .await?;
        let days: Vec<Day> = self.partitions.days().filter(|day| *day < before).collect();
        for day in days {
            let table = Leaf::Day(day).table();
            let looked = self.look_at(&table).await?;
            let dropped = if self.is_late(day).await? {
                Dropped::No(Reason::Late)
            } else if !looked.may_drop {
                Dropped::No(Reason::Forbidden)
            } else if self.dry {
                self.would_go.push((table.clone(), "true".to_owned()));
                Dropped::Yes
            } else {
                self.drop_day(day, before).await?
            };
            match dropped {
                Dropped::Yes => (self.tell)(Step {
                    action: Action::Drop,
                    table,
                    rows: looked.rows,
                    bytes: Some(looked.bytes),
                    reason: None,
                }),
                Dropped::No(reason) => {
                    self.keep(&table, looked.rows, reason);
                    // Who holds one day, or owns it, has the others as well.
                    if reason != Reason::Late {
                        break;
                    }
                }
            }
        }
        let old = format!(
            "{} and t.received_at < now() - interval '{HORIZON_DAYS} days'",
            is_before("t.partition_day", before)
        );
        self.delete("events_default", &old, Some(before)).await?;
        let losers = format!(
            "t.role = 'original' and t.partition_day > '{}' and {old} and not exists (
                 select from events e
                 where e.partition_day = t.partition_day and e.network_id = t.network_id and e.event_id = t.event_id
             )",
            Day::CONVERSIONS
        );
        self.delete("event_variants", &losers, Some(before)).await?;
        self.drop_of_everflow(before).await
    }

    /// Everflow's go by when they came, so nothing that may come again can be among them.
    async fn drop_of_everflow(&mut self, before: Day) -> Result<(), Fault> {
        let old = format!("t.received_at < {}", midnight(before));
        self.delete("everflow_clicks", &old, None).await?;
        self.delete("everflow_impressions", &old, None).await?;
        let losers = format!("t.event_type in ('click_variant', 'impression_variant') and {old}");
        self.delete("everflow_other", &losers, None).await
    }

    /// Whether events of a day came so late that they may come again.
    async fn is_late(&mut self, day: Day) -> Result<bool, Fault> {
        self.begin().await?;
        let late = self.has_late_note(day).await?;
        self.commit().await?;
        Ok(late)
    }

    /// One more day, because a note may be an hour old.
    async fn has_late_note(&mut self, day: Day) -> Result<bool, Fault> {
        sqlx::query_scalar(
            "select exists (select from late_days where day = date '2000-01-01' + $1
                 and last_at > now() - make_interval(days => $2))",
        )
        .bind(day.0)
        .bind(HORIZON_DAYS as i32 + 1)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not look for events that came late"))
    }

    async fn drop_day(&mut self, day: Day, before: Day) -> Result<Dropped, Fault> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let fault = match self.try_drop(day, before).await {
                Ok(dropped) => return Ok(dropped),
                Err(fault) => fault,
            };
            if !self.is_again(&fault, attempt).await? {
                return match fault {
                    Fault::Contention(_) if attempt == ATTEMPTS => Ok(Dropped::No(Reason::Held)),
                    fault => Err(fault),
                };
            }
        }
    }

    /// One transaction. Under the lock nobody adds an event to the day: whether one came late is certain.
    async fn try_drop(&mut self, day: Day, before: Day) -> Result<Dropped, Fault> {
        const DOING: &str = "could not drop the partition of a day";
        let table = Leaf::Day(day).table();
        self.begin().await?;
        let lock = format!(
            "set local lock_timeout = {LOCK_TIMEOUT_MS};
             lock table only events, only events_default, only {table} in access exclusive mode"
        );
        execute(&mut self.connection, lock)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        if self.has_late_note(day).await? {
            self.roll_back().await?;
            return Ok(Dropped::No(Reason::Late));
        }
        mark_events(&mut self.connection, before).await?;
        let sql = format!("drop table {table}; delete from late_days where day = '{day}'");
        execute(&mut self.connection, sql)
            .await
            .map_err(|error| Fault::new(error, DOING))?;
        self.commit().await?;
        Ok(Dropped::Yes)
    }

    /// Deletes the rows `t` of a table that meet a condition, some at a time. What others hold right now is left for the
    /// next run. `before` is noted with the first of them.
    async fn delete(
        &mut self,
        table: &str,
        condition: &str,
        before: Option<Day>,
    ) -> Result<(), Fault> {
        let may = self.look_at(table).await?.may_delete;
        if self.dry || !may {
            let rows = self.count(table, condition).await?;
            match (rows, may) {
                (0, _) => {}
                (_, true) => {
                    self.did(Action::Delete, table, rows);
                    self.would_go.push((table.to_owned(), condition.to_owned()));
                }
                (_, false) => self.keep(table, rows, Reason::Forbidden),
            }
            return Ok(());
        }
        let sql = format!(
            "with gone as (
                 delete from {table} where ctid = any (array(
                     select t.ctid from {table} t where t.ctid >= $1::text::tid and {condition}
                     limit {ROWS} for update skip locked
                 ))
                 returning ctid
             )
             select count(*), coalesce(max((ctid::text::point)[0]), 0)::bigint from gone"
        );
        // Each step goes on at the page where the one before it ended; a last one looks from the first page on.
        let (mut rows, mut page, mut attempt) = (0, 0, 1);
        loop {
            let began = Instant::now();
            match self.try_delete(&sql, page, before).await {
                Ok((deleted, last_page)) => {
                    rows += deleted;
                    attempt = 1;
                    if deleted < u64::from(ROWS) && page == 0 {
                        break;
                    }
                    page = if deleted < u64::from(ROWS) {
                        0
                    } else {
                        last_page
                    };
                    pause(began).await;
                }
                Err(fault) if self.is_again(&fault, attempt).await? => attempt += 1,
                Err(fault) => return Err(fault),
            }
        }
        if rows > 0 {
            self.did(Action::Delete, table, rows);
        }
        Ok(())
    }

    /// How many rows were deleted from this page on, and the last page that had one.
    async fn try_delete(
        &mut self,
        sql: &str,
        page: i64,
        before: Option<Day>,
    ) -> Result<(u64, i64), Fault> {
        self.begin().await?;
        // Finding the last of them may mean to read the whole table.
        execute(
            &mut self.connection,
            "set local statement_timeout = 0".to_owned(),
        )
        .await
        .map_err(|error| Fault::new(error, "could not delete old events"))?;
        let (deleted, last_page): (i64, i64) = sqlx::query_as(AssertSqlSafe(sql))
            .bind(format!("({page},0)"))
            .persistent(false)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not delete old events"))?;
        if let Some(before) = before
            && deleted > 0
        {
            mark_events(&mut self.connection, before).await?;
        }
        self.commit().await?;
        Ok((deleted.unsigned_abs(), last_page))
    }
}
