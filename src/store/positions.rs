//! How far a source was read whose messages are not deleted.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::connection::{Store, quote_identifier};
use super::fault::{Fault, Why};

/// Up to where a part of a source is stored, once the transaction that saves it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// A shard, an object or a file.
    pub part: String,
    /// In the source's own words.
    pub position: String,
    /// Nothing more will come.
    pub is_ended: bool,
    /// Who reads it, where parts are leased. What another has by now is left as it is: its events were stored all the
    /// same, and change nothing when the other stores them again.
    pub owner: Option<String>,
}

/// Saves a checkpoint within the transaction that stores what stands before it.
pub(super) async fn save(
    connection: &mut PgConnection,
    source: &str,
    checkpoint: &Checkpoint,
) -> Result<(), Fault> {
    sqlx::query(
        "insert into positions as p (source, part, position, is_ended, owner)
         values ($1, $2, $3, $4, $5)
         on conflict on constraint positions_part do update set
             position = excluded.position, is_ended = excluded.is_ended, updated_at = now()
         where p.owner is not distinct from excluded.owner",
    )
    .bind(source)
    .bind(&checkpoint.part)
    .bind(&checkpoint.position)
    .bind(checkpoint.is_ended)
    .bind(&checkpoint.owner)
    .execute(connection)
    .await
    .map_err(|error| Fault::new(error, "could not save the position of the source"))?;
    Ok(())
}

/// What is saved of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub position: Option<String>,
    pub is_ended: bool,
}

impl Store {
    /// What is saved of those of these parts that are known.
    ///
    /// # Errors
    /// The database does not answer; the connection is made anew the next time.
    pub async fn positions(
        &mut self,
        source: &str,
        parts: &[&str],
    ) -> Result<HashMap<String, Saved>, Fault> {
        self.connect().await?;
        let table = format!("{}.positions", quote_identifier(&self.settings.schema));
        let deadline = self.settings.statement_timeout * 2;
        let sql = AssertSqlSafe(format!(
            "select part, position, is_ended from {table} where source = $1 and part = any($2)"
        ));
        let asked = sqlx::query_as::<_, (String, Option<String>, bool)>(sql)
            .bind(source)
            .bind(parts)
            .persistent(false)
            .fetch_all(self.connected()?);
        let doing = "could not ask how far the source was read";
        let found = match tokio::time::timeout(deadline, asked).await {
            Ok(Ok(found)) => found,
            failed => {
                self.disconnect();
                return Err(match failed {
                    Ok(Err(error)) => Fault::new(error, doing),
                    _ => Fault::down(Why::Unavailable, format!("{doing}: no answer")),
                });
            }
        };
        let saved = found
            .into_iter()
            .map(|(part, position, is_ended)| (part, Saved { position, is_ended }));
        Ok(saved.collect())
    }
}
