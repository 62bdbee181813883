//! Quarantine: the bytes of what is done with.

use std::time::Instant;

use sqlx::AssertSqlSafe;

use super::{Action, Reason, Run, midnight, pause};
use crate::formats::value::Day;
use crate::store::fault::Fault;

impl Run<'_> {
    /// Blanks the bytes of what is done with. What is open keeps them: they are all that there is of it.
    pub(super) async fn blank_quarantine(&mut self, before: Day) -> Result<(), Fault> {
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
