//! A database for each test, on the one cluster of this test run or on a cluster of the test's own.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, ValueRef, raw_sql};

use super::Postgres;
use super::postgres::programs;

/// An empty database on the shared cluster. Nobody stops that cluster: a test that needs a crash
/// starts its own.
pub async fn database() -> Database {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED
        .get_or_init(|| Postgres::start_with(&["fsync = off"]))
        .database()
        .await
}

/// An empty database for one test.
pub struct Database {
    pub url: String,
    name: String,
    maintenance_url: String,
}

impl Database {
    pub(super) async fn create(postgres: &Postgres) -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", CREATED.fetch_add(1, Ordering::Relaxed));
        let maintenance_url = postgres.url("postgres");
        rows(&maintenance_url, &format!("create database {name}")).await;
        Self {
            url: postgres.url(&name),
            name,
            maintenance_url,
        }
    }

    /// A connection, for a test that needs a session of its own or looks at an error.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// Runs SQL, several statements too, in a new session, and gives each row as `psql -At` prints
    /// it: the columns as text with `|` between them. NULL is `NULL`.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.url, sql).await
    }
}

impl Drop for Database {
    /// The databases of many tests would fill a small disk. Where the server is stopped, the
    /// cluster takes them along.
    fn drop(&mut self) {
        let dropdb = programs().join("dropdb");
        let maintenance = ["--maintenance-db", &self.maintenance_url];
        let _ = Command::new(dropdb)
            .arg("--force")
            .args(maintenance)
            .arg(&self.name)
            .output();
    }
}

async fn connect(url: &str) -> PgConnection {
    match PgConnection::connect(url).await {
        Ok(connection) => connection,
        Err(error) => panic!("cannot connect to {url}: {error}"),
    }
}

async fn rows(url: &str, sql: &str) -> Vec<String> {
    match raw_sql(AssertSqlSafe(sql))
        .fetch_all(&mut connect(url).await)
        .await
    {
        Ok(rows) => rows.iter().map(line).collect(),
        Err(error) => panic!("{error}, in: {sql}"),
    }
}

fn line(row: &PgRow) -> String {
    let columns: Vec<_> = (0..row.len())
        .map(|column| text(&row.try_get_raw(column).unwrap()))
        .collect();
    columns.join("|")
}

fn text(value: &PgValueRef<'_>) -> String {
    if value.is_null() {
        "NULL".into()
    } else {
        value.as_str().unwrap().into()
    }
}
