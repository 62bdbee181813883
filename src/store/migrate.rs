//! Bringing the database to the version that this program writes.

use std::collections::BTreeMap;

use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use super::connection::{Settings, execute, quote_identifier};
use super::fault::{Fault, Why};
use super::partitions::Partitions;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The migrations' own table.
pub(super) const TABLE: &str = "hydrant_migrations";

/// Makes the schema and the tables, as far as they are missing. Safe while daemons run, and when two do it
/// at once: the migrator holds an advisory lock, the only one in Hydrant.
///
/// # Errors
/// The database does not answer or refuses us, or it was migrated by a newer version.
pub async fn migrate(settings: &Settings) -> Result<(), Fault> {
    let mut connection = settings.connect().await?;
    let schema = quote_identifier(&settings.schema);
    if !schema_exists(&mut connection, settings).await? {
        let sql = format!("create schema if not exists {schema}");
        let created = execute(&mut connection, sql).await;
        match created.map_err(|error| Fault::new(error, "could not create the schema")) {
            // Another was at it at the same time: "if not exists" looks before it waits.
            Ok(()) | Err(Fault::Race(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    execute(
        &mut connection,
        format!("set search_path to {schema}; set client_min_messages to warning"),
    )
    .await
    .map_err(|error| Fault::new(error, "could not enter the schema"))?;
    migrator().run(&mut connection).await.map_err(explain)?;
    let _ = connection.close().await;
    Ok(())
}

/// Whether there is a schema of the configured name.
pub(super) async fn schema_exists(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<bool, Fault> {
    sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
        .bind(&settings.schema)
        .fetch_one(connection)
        .await
        .map_err(|error| Fault::new(error, "could not look for the schema"))
}

/// Makes the partitions of the days to come.
///
/// # Errors
/// The database does not answer or refuses us, or somebody reads `events` for long: [`Fault::Contention`].
pub async fn make_days_ahead(settings: &Settings) -> Result<(), Fault> {
    let mut connection = settings.connect().await?;
    Partitions::new(settings.partition_by)
        .make_ahead(&mut connection, settings)
        .await?;
    let _ = connection.close().await;
    Ok(())
}

fn migrator() -> Migrator {
    let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// The migrations of this version, each with the checksum of its text.
pub(super) fn checksums() -> BTreeMap<i64, Vec<u8>> {
    MIGRATOR
        .iter()
        .map(|migration| (migration.version, migration.checksum.to_vec()))
        .collect()
}

fn explain(error: MigrateError) -> Fault {
    const DOING: &str = "could not migrate the database";
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Fault::new(error, DOING)
        }
        MigrateError::VersionMissing(version) => Fault::down(
            Why::Misconfigured,
            format!(
                "the database has migration {version}, which only a newer version of hydrant knows"
            ),
        ),
        MigrateError::VersionMismatch(version) => Fault::down(
            Why::Misconfigured,
            format!(
                "migration {version} in the database is not the one of this version of hydrant"
            ),
        ),
        other => Fault::down(Why::Misconfigured, format!("{DOING}: {other}")),
    }
}
