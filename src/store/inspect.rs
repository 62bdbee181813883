//! What `hydrant check` asks the database: facts alone, the command judges them. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, FromRow, Row};

use super::connection::{Settings, execute, quote_identifier};
use super::fault::{Fault, Why};
use super::migrate;
use super::partitions::{self, DAYS_AHEAD, Partitions};
use super::rollup::State;
use crate::formats::value::Day;

/// A session for questions. One that takes longer than the statement timeout is given up.
pub struct Inspection {
    pub(super) connection: PgConnection,
    settings: Settings,
}

/// The server's settings as they hold for our sessions.
#[derive(FromRow)]
pub struct Server {
    /// 150009 is version 15.9.
    pub version_number: i32,
    pub version: String,
    pub encoding: String,
    pub user: String,
    pub standby: bool,
    pub read_only: bool,
    pub fsync: String,
    pub full_page_writes: String,
    pub data_checksums: String,
    pub synchronous_commit: String,
    pub synchronous_standby_names: String,
    pub max_connections: i32,
}

impl Server {
    /// Whether what is committed outlasts a crash of this server.
    pub fn is_durable(&self) -> bool {
        self.fsync == "on" && self.synchronous_commit != "off"
    }

    /// What a COMMIT is worth here by `synchronous_commit`, in words; without fsync it is worth less.
    pub fn durability(&self) -> String {
        let standbys = &self.synchronous_standby_names;
        let place = match (self.synchronous_commit.as_str(), standbys.as_str()) {
            ("off", _) => {
                return "events whose messages are deleted can be lost in a crash".to_owned();
            }
            (_, "") => "is on this server's disk".to_owned(),
            ("local", _) => format!(
                "is on this server's disk alone, although there are synchronous standbys ({standbys})"
            ),
            ("remote_write", _) => format!(
                "is on this server's disk and has reached a standby ({standbys}), though not its disk"
            ),
            _ => format!("is on this server's disk and on a standby's ({standbys})"),
        };
        format!("what is committed {place}")
    }
}

/// What our role may do in the schema.
#[derive(FromRow)]
pub struct SchemaRights {
    pub exists: bool,
    pub usage: bool,
    pub create: bool,
    /// May create a schema in this database.
    pub create_schema: bool,
    pub temporary: bool,
    /// May attach partitions to `events`; `None` where there is no such table.
    pub owns_events: Option<bool>,
}

/// Which migrations the database has, by their versions.
#[derive(Debug, Default, PartialEq)]
pub struct Migrations {
    pub applied: usize,
    /// Only we have them.
    pub missing: Vec<i64>,
    /// Only the database has them.
    pub unknown: Vec<i64>,
    /// Both have them, and they differ; or it failed.
    pub different: Vec<i64>,
}

impl Migrations {
    /// # Errors
    /// The tables are not those of this version.
    pub fn expect_ours(&self) -> Result<(), Fault> {
        let sentence = if let Some(version) = self.unknown.first() {
            format!(
                "the database has migration {version}, which only a newer version of hydrant knows"
            )
        } else if let Some(version) = self.different.first() {
            format!("migration {version} in the database is not the one of this version of hydrant")
        } else if let Some(version) = self.missing.first() {
            format!(
                "the database lacks migration {version} of this version of hydrant: run hydrant migrate"
            )
        } else {
            return Ok(());
        };
        Err(Fault::down(Why::Misconfigured, sentence))
    }
}

/// How many rows are in a state that somebody should look at; `None` where counting took too long.
pub type Count = Option<i64>;

impl Inspection {
    /// # Errors
    /// The database does not answer or refuses us.
    pub async fn begin(settings: &Settings) -> Result<Inspection, Fault> {
        let mut connection = settings.connect().await?;
        let sql = format!(
            "set search_path to {}; set statement_timeout = {}; set client_min_messages to warning",
            quote_identifier(&settings.schema),
            settings.statement_timeout.as_millis()
        );
        execute(&mut connection, sql)
            .await
            .map_err(|error| Fault::new(error, "could not begin a session"))?;
        Ok(Inspection {
            connection,
            settings: settings.clone(),
        })
    }

    pub async fn server(&mut self) -> Result<Server, Fault> {
        sqlx::query_as(
            "select current_setting('server_version_num')::int as version_number,
                 current_setting('server_version') as version,
                 current_setting('server_encoding') as encoding,
                 current_user::text as user,
                 pg_is_in_recovery() as standby,
                 current_setting('transaction_read_only') = 'on' as read_only,
                 current_setting('fsync') as fsync,
                 current_setting('full_page_writes') as full_page_writes,
                 current_setting('data_checksums') as data_checksums,
                 current_setting('synchronous_commit') as synchronous_commit,
                 current_setting('synchronous_standby_names') as synchronous_standby_names,
                 current_setting('max_connections')::int as max_connections",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the server's settings"))
    }

    /// `async`, `sync`, `quorum` or `potential` for each replica that streams from this server; `None` where our role may
    /// not see it.
    pub async fn replicas(&mut self) -> Result<Vec<Option<String>>, Fault> {
        sqlx::query_scalar("select sync_state from pg_stat_replication")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not look for replicas"))
    }

    pub async fn schema_rights(&mut self) -> Result<SchemaRights, Fault> {
        sqlx::query_as(
            r#"select n.oid is not null as exists,
                 coalesce(has_schema_privilege(n.oid, 'usage'), false) as usage,
                 coalesce(has_schema_privilege(n.oid, 'create'), false) as create,
                 has_database_privilege(current_database(), 'create') as create_schema,
                 has_database_privilege(current_database(), 'temporary') as temporary,
                 (select pg_has_role(c.relowner, 'usage') from pg_class c
                  where c.relnamespace = n.oid and c.relname = 'events') as owns_events
             from (values (1)) one left join pg_namespace n on n.nspname = $1"#,
        )
        .bind(&self.settings.schema)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the rights in the schema"))
    }

    /// The rights that our role lacks and a daemon needs, by table, partitions included. Facts are never deleted.
    pub async fn missing_table_rights(&mut self) -> Result<BTreeMap<String, String>, Fault> {
        let rows = sqlx::query(
            "select c.relname::text, string_agg(r.name, ', ' order by r.at)
             from pg_class c
             join pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
             cross join unnest(array['select', 'insert', 'update', 'delete']) with ordinality r (name, at)
             where (r.name <> 'delete' or c.relname in ('record_patches', 'event_variants', 'stats_deltas'))
                 and (c.relname in ('events', 'adjustments', 'record_patches', 'event_variants', 'quarantine',
                                    'rollup_state', 'stats_hourly', 'stats_deltas')
                      or c.oid in (select i.inhrelid from pg_inherits i join pg_class p on p.oid = i.inhparent
                                   where p.relnamespace = n.oid and p.relname = 'events'))
                 and not has_table_privilege(c.oid, r.name)
             group by 1",
        )
        .bind(&self.settings.schema)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not read the rights on the tables"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub async fn migrations(&mut self) -> Result<Migrations, Fault> {
        let table = format!(
            "{}.{}",
            quote_identifier(&self.settings.schema),
            migrate::TABLE
        );
        let doing = "could not read which migrations the database has";
        let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&table)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, doing))?;
        let rows: Vec<PgRow> = if there {
            let sql = format!("select version, checksum, success from {table} order by version");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| Fault::new(error, doing))?
        } else {
            Vec::new()
        };
        let ours = migrate::checksums();
        let theirs: BTreeMap<i64, (Vec<u8>, bool)> = rows
            .iter()
            .map(|row| (row.get(0), (row.get(1), row.get(2))))
            .collect();
        let differs = |version: &i64| {
            theirs.get(version).is_some_and(|(checksum, success)| {
                !success || ours.get(version).is_some_and(|ours| ours != checksum)
            })
        };
        Ok(Migrations {
            applied: theirs.len(),
            missing: ours
                .keys()
                .filter(|v| !theirs.contains_key(v))
                .copied()
                .collect(),
            unknown: theirs
                .keys()
                .filter(|v| !ours.contains_key(v))
                .copied()
                .collect(),
            different: theirs.keys().filter(|v| differs(v)).copied().collect(),
        })
    }

    /// The days from today on that have no partition yet.
    pub async fn missing_days(&mut self) -> Result<BTreeSet<Day>, Fault> {
        let mut partitions = Partitions::new(self.settings.partition_by);
        partitions
            .load(&mut self.connection, &self.settings)
            .await?;
        Ok(partitions.missing((0..=DAYS_AHEAD).map(|n| partitions::today().plus(n))))
    }

    /// Days whose rows lie in the default partition although each should have its own, with their rows; the newest first.
    /// `None` where counting took too long.
    pub async fn days_in_default(&mut self) -> Result<Option<Vec<(String, i64)>>, Fault> {
        let today = partitions::today();
        let rows = sqlx::query_as(
            "select partition_day::text, count(*) from events_default
             where partition_day between $1::date and $2::date group by 1 order by 1 desc",
        )
        .bind(today.plus(-partitions::DAYS_BACK).to_string())
        .bind(today.plus(DAYS_AHEAD).to_string())
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not look into events_default"));
        in_time(rows)
    }

    /// Open items of the quarantine by reason, the most frequent first.
    pub async fn open_quarantine(&mut self) -> Result<Vec<(String, i64)>, Fault> {
        sqlx::query_as(
            "select reason, count(*) from quarantine where status = 'open' group by 1 order by 2 desc, 1",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| Fault::new(error, "could not look into the quarantine"))
    }

    /// Adjustments of more than a day ago whose record has no original.
    pub async fn old_orphans(&mut self) -> Result<Count, Fault> {
        self.count(
            "select count(*) from orphan_adjustments where received_at < now() - interval '1 day'",
            "could not count the orphan adjustments",
        )
        .await
    }

    /// Originals beyond the first of their record.
    pub async fn duplicate_originals(&mut self) -> Result<Count, Fault> {
        self.count(
            "select count(*) from duplicate_originals",
            "could not count the duplicate originals",
        )
        .await
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.connection.close()).await;
    }

    /// The state of the rollup, and how many rows wait to be merged.
    pub async fn rollup(&mut self) -> Result<(State, Count), Fault> {
        let state: String = sqlx::query_scalar("select state from rollup_state")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, "could not read the state of the rollup"))?;
        let waiting = self
            .count(
                "select count(*) from stats_deltas",
                "could not count the rows of stats_deltas",
            )
            .await?;
        Ok((State::read(&state), waiting))
    }

    async fn count(&mut self, sql: &'static str, doing: &'static str) -> Result<Count, Fault> {
        let counted = sqlx::query_scalar(sql)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| Fault::new(error, doing));
        in_time(counted)
    }
}

/// A statement that the server stopped at its timeout has no answer; that is no fault.
pub(super) fn in_time<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Fault::TooMuch(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}
