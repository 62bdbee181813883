//! Who reads which part of a source: leases on the rows of `positions`, by the clock of the database alone.
//!
//! A lease keeps two from doing the same work; it is not what keeps events from counting twice. Who has lost one may still
//! store what it holds, and saves no position any more.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::connection::{Settings, execute, quote_identifier};
use super::fault::{Fault, Why};

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What one daemon asks of one source's parts, on a connection of its own.
#[derive(Debug)]
pub struct Leases {
    settings: Settings,
    connection: Option<PgConnection>,
    source: String,
    /// This daemon.
    pub owner: String,
    length: Duration,
}

/// A part as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub part: String,
    /// Nothing more will come.
    pub is_ended: bool,
    /// Its owner is this daemon.
    pub is_mine: bool,
    /// Another daemon whose lease has not run out.
    pub other: Option<String>,
}

impl Leases {
    /// Leases of this length, unless they are renewed.
    pub fn new(settings: Settings, source: &str, owner: String, length: Duration) -> Leases {
        Leases {
            settings,
            connection: None,
            source: source.to_owned(),
            owner,
            length,
        }
    }

    /// Makes shards known that are not yet. Where the source had none, each begins at `first`, without it at the present
    /// time, as `at_timestamp:` and milliseconds; later ones begin at their beginning. Files that were read by the same
    /// name, as by a replay, are no shards.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn add(&mut self, parts: &[String], first: Option<&str>) -> Result<(), Fault> {
        let source = self.source.clone();
        self.ask("could not add to the positions", async |connection| {
            sqlx::query(
                "insert into positions (source, part, position)
                 select $1, part,
                        case when not exists (select from positions where source = $1 and part like 'shardId-%')
                             then coalesce($3, 'at_timestamp:' || floor(extract(epoch from now()) * 1000)::bigint) end
                 from unnest($2::text[]) part
                 on conflict on constraint positions_part do nothing",
            )
            .bind(&source)
            .bind(parts)
            .bind(first)
            .execute(connection)
            .await
            .map(drop)
        })
        .await
    }

    /// Takes out the shards that are not among those listed and were not read to their end, unless somebody reads them
    /// yet. Each of them is given to one daemon, with its position.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn forget(
        &mut self,
        listed: &[String],
        held: &[String],
    ) -> Result<Vec<(String, Option<String>)>, Fault> {
        let source = self.source.clone();
        let doing = "could not take expired shards out of the positions";
        self.ask(doing, async |connection| {
            sqlx::query_as(
                "delete from positions
                 where source = $1 and part like 'shardId-%' and not is_ended
                       and part <> all($2) and part <> all($3)
                       and (lease_until is null or lease_until <= now())
                 returning part, position",
            )
            .bind(&source)
            .bind(listed)
            .bind(held)
            .fetch_all(connection)
            .await
        })
        .await
    }

    /// Renews the leases of these parts, where they are still ours, and says how all parts are now.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn renew(&mut self, held: &[String]) -> Result<Vec<Lease>, Fault> {
        let (source, owner, seconds) = (self.source.clone(), self.owner.clone(), self.seconds());
        let rows = self
            .ask("could not renew the leases", async |connection| {
                sqlx::query(
                    "update positions set lease_until = now() + make_interval(secs => $4)
                     where source = $1 and owner = $2 and part = any($3)",
                )
                .bind(&source)
                .bind(&owner)
                .bind(held)
                .bind(seconds)
                .execute(&mut *connection)
                .await?;
                sqlx::query(
                    "select part, is_ended, owner is not distinct from $2 as is_mine,
                            case when owner <> $2 and lease_until > now() then owner end as other
                     from positions where source = $1 order by part",
                )
                .bind(&source)
                .bind(&owner)
                .fetch_all(connection)
                .await
            })
            .await?;
        let lease = |row: &sqlx::postgres::PgRow| Lease {
            part: row.get("part"),
            is_ended: row.get("is_ended"),
            is_mine: row.get("is_mine"),
            other: row.get("other"),
        };
        Ok(rows.iter().map(lease).collect())
    }

    /// Takes a part that is free or, where one is named, another's. `None` if somebody was faster; else its position.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn take(
        &mut self,
        part: &str,
        from: Option<&str>,
    ) -> Result<Option<Option<String>>, Fault> {
        let (source, owner, seconds) = (self.source.clone(), self.owner.clone(), self.seconds());
        self.ask("could not take a lease", async |connection| {
            sqlx::query_scalar(
                "update positions set owner = $2, lease_until = now() + make_interval(secs => $4)
                 where source = $1 and part = $3 and not is_ended
                       and (owner is null or owner = $2 or owner = $5 or lease_until <= now())
                 returning position",
            )
            .bind(&source)
            .bind(&owner)
            .bind(part)
            .bind(seconds)
            .bind(from)
            .fetch_optional(connection)
            .await
        })
        .await
    }

    /// Gives a part back, if it is still ours.
    ///
    /// # Errors
    /// The database does not answer; the lease runs out.
    pub async fn give_back(&mut self, part: &str) -> Result<(), Fault> {
        let (source, owner) = (self.source.clone(), self.owner.clone());
        self.ask("could not give a lease back", async |connection| {
            sqlx::query(
                "update positions set owner = null, lease_until = null
                 where source = $1 and owner = $2 and part = $3",
            )
            .bind(&source)
            .bind(&owner)
            .bind(part)
            .execute(connection)
            .await
            .map(drop)
        })
        .await
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), connection.close()).await;
        }
    }

    fn seconds(&self) -> f64 {
        self.length.as_secs_f64()
    }

    /// Asks on the connection, which is made anew after every doubt.
    async fn ask<T>(
        &mut self,
        doing: &'static str,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Fault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, question(&mut connection)).await;
        let Ok(answer) = answer else {
            return Err(Fault::down(
                Why::Unavailable,
                format!("{doing}: no answer in {} s", ANSWER_TIMEOUT.as_secs()),
            ));
        };
        let answer = answer.map_err(|error| Fault::new(error, doing))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<PgConnection, Fault> {
        let mut connection = self.settings.connect().await?;
        let schema = quote_identifier(&self.settings.schema);
        execute(&mut connection, format!("set search_path to {schema}"))
            .await
            .map_err(|error| Fault::new(error, "could not name the schema"))?;
        Ok(connection)
    }
}
