//! One worker's connection to Postgres. There is no pool on this path: a pool can hand out a connection with a transaction
//! left open by a cancelled `begin`.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::fault::{Fault, Why};
use super::partitions::Partitions;
use crate::config::{Database, PartitionBy};

/// How to reach the database and how long to wait for it.
#[derive(Clone)]
pub struct Settings {
    pub options: PgConnectOptions,
    pub schema: String,
    pub partition_by: PartitionBy,
    pub lock_timeout: Duration,
    pub statement_timeout: Duration,
}

/// Without the options: theirs would show the password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("schema", &self.schema)
            .field("partition_by", &self.partition_by)
            .finish_non_exhaustive()
    }
}

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Settings {
    /// # Errors
    /// The URL is none that Postgres understands.
    pub fn new(database: &Database) -> anyhow::Result<Settings> {
        Ok(Settings {
            options: database.url.options()?,
            schema: database.schema.clone(),
            partition_by: database.partition_by,
            lock_timeout: Duration::from_millis(database.lock_timeout_ms),
            statement_timeout: Duration::from_millis(database.statement_timeout_ms),
        })
    }

    /// Opens a connection. Its timeouts are the server's: they hold for what happens outside of [`Settings::begin`], too.
    ///
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn connect(&self) -> Result<PgConnection, Fault> {
        let options = self.options.clone().disable_statement_logging();
        match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Fault::new(error, "could not connect to the database")),
            Err(_) => Err(Fault::down(
                Why::Unavailable,
                "could not connect to the database: no answer in 10 s",
            )),
        }
    }

    /// Begins a transaction with everything that it relies on, in one round trip; nothing is left to the defaults of a
    /// server, a role or a pooler.
    ///
    /// Every statement of ours looks rows up by their key. With the other ways of joining off, a plan that was made
    /// while the tables were empty is still the right one when they are not.
    pub fn begin(&self) -> String {
        format!(
            "begin isolation level read committed;
             set local search_path to {schema};
             set local lock_timeout = {lock};
             set local statement_timeout = {statement};
             set local idle_in_transaction_session_timeout = {statement};
             set local jit = off;
             set local enable_hashjoin = off;
             set local enable_mergejoin = off;
             set local enable_seqscan = off",
            schema = quote_identifier(&self.schema),
            lock = self.lock_timeout.as_millis(),
            statement = self.statement_timeout.as_millis(),
        )
    }
}

/// A name as SQL takes it literally.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One worker's connection, made anew after every doubt.
#[derive(Debug)]
pub struct Store {
    pub settings: Settings,
    pub(super) connection: Option<PgConnection>,
    pub(super) partitions: Partitions,
}

impl Store {
    pub fn new(settings: Settings) -> Store {
        Store {
            partitions: Partitions::new(settings.partition_by),
            settings,
            connection: None,
        }
    }

    /// Makes sure that there is a connection to a database that we can write.
    ///
    /// # Errors
    /// The database does not answer, refuses us, or is read-only.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        if self.connection.is_some() {
            return Ok(());
        }
        let mut connection = self.settings.connect().await?;
        expect_writable(&mut connection, &self.settings.schema).await?;
        self.partitions
            .load(&mut connection, &self.settings)
            .await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Drops the connection with its socket: whatever was under way has an unknown outcome.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// The connection that [`Store::connect`] made.
    pub(super) fn connected(&mut self) -> Result<&mut PgConnection, Fault> {
        self.connection
            .as_mut()
            .ok_or_else(|| Fault::down(Why::Unavailable, "not connected to the database"))
    }

    /// Rolls back after an error that the server told; on any doubt the connection is dropped.
    pub(super) async fn roll_back(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let rolled_back = execute(&mut connection, "rollback".to_owned());
            if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(5), rolled_back).await {
                self.connection = Some(connection);
            }
        }
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), connection.close()).await;
        }
    }
}

/// A standby or a demoted primary answers queries, but takes no rows.
async fn expect_writable(connection: &mut PgConnection, schema: &str) -> Result<(), Fault> {
    let row = sqlx::query(
        "select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as read_only,
                current_setting('server_encoding') as encoding,
                exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                        where n.nspname = $1 and c.relname = 'events') as migrated",
    )
    .bind(schema)
    .persistent(false)
    .fetch_one(connection)
    .await
    .map_err(|error| Fault::new(error, "could not ask the database whether it can be written"))?;
    let (standby, read_only): (bool, bool) = (row.get(0), row.get(1));
    let (encoding, migrated): (String, bool) = (row.get(2), row.get(3));
    if standby || read_only {
        return Err(Fault::down(
            Why::ReadOnly,
            "the database is read-only: a standby, or a primary that was demoted",
        ));
    }
    if encoding != "UTF8" {
        return Err(Fault::down(
            Why::Misconfigured,
            format!("the database's encoding is {encoding}; it must be UTF8"),
        ));
    }
    if !migrated {
        return Err(Fault::down(
            Why::Misconfigured,
            format!("schema {schema:?} has no tables of hydrant: run hydrant migrate"),
        ));
    }
    Ok(())
}

/// Runs statements of ours that take no values.
pub(super) async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DatabaseUrl;

    #[test]
    fn the_password_is_in_no_debug_output() {
        let settings = Settings::new(&Database {
            url: DatabaseUrl::new("postgres://u:geheim@localhost/d"),
            schema: "public".into(),
            partition_by: PartitionBy::Day,
            lock_timeout_ms: 1,
            statement_timeout_ms: 1,
        });
        let shown = format!("{:?}", Store::new(settings.unwrap()));
        assert!(
            shown.contains("public") && !shown.contains("geheim"),
            "{shown}"
        );
    }
}
