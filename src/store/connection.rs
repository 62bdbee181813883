//! One worker's connection to Postgres. There is no pool on this path: a pool can hand out a connection with a transaction
//! left open by a cancelled `begin`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::claims::Claims;
use super::fault::{Fault, Why};
use super::nodelay;
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
            Ok(Ok(connection)) => {
                nodelay::send_at_once(self.options.get_port());
                Ok(connection)
            }
            Ok(Err(error)) => Err(untrusted(&error)
                .unwrap_or_else(|| Fault::new(error, "could not connect to the database"))),
            Err(_) => Err(Fault::down(
                Why::Unavailable,
                "could not connect to the database: no answer in 10 s",
            )),
        }
    }

    /// Opens a connection that sees the database as it is at this moment, and cannot write: one transaction with the further
    /// `settings`, each `set local` with a semicolon behind it.
    ///
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn snapshot(&self, settings: &str) -> Result<PgConnection, Fault> {
        let mut connection = self.connect().await?;
        let begin = format!(
            "begin isolation level repeatable read, read only;
             set local search_path to {schema};
             set local lock_timeout = {lock};
             set local standard_conforming_strings = on;
             set local timezone = 'UTC';
             set local datestyle = 'ISO, MDY';
             set local jit = off;
             {settings}",
            schema = quote_identifier(&self.schema),
            lock = self.lock_timeout.as_millis(),
        );
        execute(&mut connection, begin)
            .await
            .map_err(|error| Fault::new(error, "could not begin a snapshot"))?;
        Ok(connection)
    }

    /// Begins a transaction with everything that it relies on, in one round trip; nothing is left to the defaults of a
    /// server, a role or a pooler.
    ///
    /// Every statement of ours looks rows up by their key, so the other ways of joining are off. Plans are made anew each
    /// time: one that is kept from when a table was empty may go by another index than a large table needs.
    pub fn begin(&self) -> String {
        format!(
            "begin isolation level read committed;
             set local search_path to {schema};
             set local lock_timeout = {lock};
             set local statement_timeout = {statement};
             set local idle_in_transaction_session_timeout = {statement};
             set local jit = off;
             set local plan_cache_mode = force_custom_plan;
             set local enable_hashjoin = off;
             set local enable_mergejoin = off;
             set local enable_seqscan = off",
            schema = quote_identifier(&self.schema),
            lock = self.lock_timeout.as_millis(),
            statement = self.statement_timeout.as_millis(),
        )
    }
}

/// The fault of a server that does not prove to be who the URL asks for, or has no TLS: waiting mends neither. What breaks a
/// connection on its way is an outage.
fn untrusted(error: &sqlx::Error) -> Option<Fault> {
    let why: &dyn std::error::Error = match error {
        sqlx::Error::Tls(error) => error.as_ref(),
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => error,
        _ => return None,
    };
    Some(Fault::down(
        Why::Misconfigured,
        format!(
            "could not connect to the database by TLS: {why}; see sslmode and sslrootcert in database.url"
        ),
    ))
}

/// For a snapshot whose statements read whole tables: none of them is too long.
pub(super) const READS_WHOLE_TABLES: &str = "set local statement_timeout = 0;
     set local idle_in_transaction_session_timeout = 0;
     set local work_mem = '64MB';";

/// A name as SQL takes it literally.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it literally, where `standard_conforming_strings` is on.
pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One worker's connection, made anew after every doubt.
#[derive(Debug)]
pub struct Store {
    pub settings: Settings,
    pub(super) connection: Option<PgConnection>,
    pub(super) partitions: Partitions,
    pub(super) claims: Arc<Claims>,
    /// So many more batches are looked up before they are copied.
    pub(super) careful_batches: u32,
}

impl Store {
    /// The only one in this process.
    pub fn new(settings: Settings) -> Store {
        Store::beside(settings, Arc::default())
    }

    /// One of several that write to the same database and share what they claim.
    pub fn beside(settings: Settings, claims: Arc<Claims>) -> Store {
        Store {
            partitions: Partitions::new(settings.partition_by),
            settings,
            connection: None,
            claims,
            careful_batches: 0,
        }
    }

    /// One more that shares what this one claims.
    pub fn another(&self) -> Store {
        Store::beside(self.settings.clone(), Arc::clone(&self.claims))
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
        let ask = async {
            expect_writable(&mut connection, &self.settings.schema).await?;
            self.partitions.load(&mut connection, &self.settings).await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, ask).await {
            Ok(answered) => answered?,
            Err(_) => {
                return Err(Fault::down(
                    Why::Unavailable,
                    "could not ask the database what it has: no answer in 10 s",
                ));
            }
        }
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
