//! What the database is asked for the status page: only while somebody looks at it, seldom, and with short time limits.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Admin;
use crate::store::Settings;
use crate::store::fault::Fault;
use crate::store::inspect::Inspection;
use crate::store::overview::{OPEN_COUNTED, Orphans, Refusals};

/// Between two looks.
const REST: Duration = Duration::from_secs(10);
/// A statement that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Orphans are found by reading every adjustment. That is done more seldom, and the more so the longer it took: at most this
/// part of the time.
const ORPHANS_REST: Duration = Duration::from_secs(60);
const ORPHANS_TIMEOUT: Duration = Duration::from_secs(5);
const ORPHANS_PART: u32 = 100;

/// The server, and what is in quarantine.
#[derive(Clone, Debug, Serialize)]
pub struct Database {
    postgres: String,
    is_writable: bool,
    fsync: String,
    synchronous_commit: String,
    /// Whether what is committed outlasts a crash of the server.
    is_durable: bool,
    /// Where it is kept, in words.
    durability: String,
    quarantine: Quarantine,
}

#[derive(Clone, Debug, Serialize)]
struct Quarantine {
    open: i64,
    /// There may be more: these are the newest.
    is_cut: bool,
    refusals: Vec<Refusals>,
}

/// Looks at the server and its quarantine whenever somebody has asked.
pub async fn keep_database(admin: &Admin) -> Infallible {
    loop {
        admin.database.asked().await;
        let looking = database(&admin.settings);
        let seen = tokio::time::timeout(5 * TIMEOUT, looking).await;
        admin.database.tell(match seen {
            Ok(seen) => seen.map_err(|fault| fault.to_string()),
            Err(_) => Err("no answer in 10 s".to_owned()),
        });
        tokio::time::sleep(REST).await;
    }
}

async fn database(settings: &Settings) -> Result<Database, Fault> {
    let mut inspection = Inspection::begin(&within(settings, TIMEOUT)).await?;
    let server = inspection.server().await?;
    let refusals = inspection.refusals().await?;
    inspection.close().await;
    let open = refusals.iter().map(|one| one.open).sum();
    Ok(Database {
        is_writable: !server.standby && !server.read_only,
        is_durable: server.is_durable(),
        durability: server.durability(),
        postgres: server.version,
        fsync: server.fsync,
        synchronous_commit: server.synchronous_commit,
        quarantine: Quarantine {
            open,
            is_cut: open >= OPEN_COUNTED,
            refusals,
        },
    })
}

/// Counts the orphans whenever somebody has asked.
pub async fn keep_orphans(admin: &Admin) -> Infallible {
    loop {
        admin.orphans.asked().await;
        let started = Instant::now();
        let counted = tokio::time::timeout(2 * ORPHANS_TIMEOUT, orphans(&admin.settings)).await;
        let too_slow = || format!("not counted in {} s", ORPHANS_TIMEOUT.as_secs());
        admin.orphans.tell(match counted {
            Ok(Ok(counted)) => counted.ok_or_else(too_slow),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err(too_slow()),
        });
        tokio::time::sleep(ORPHANS_REST.max(ORPHANS_PART * started.elapsed())).await;
    }
}

async fn orphans(settings: &Settings) -> Result<Option<Orphans>, Fault> {
    let mut inspection = Inspection::begin(&within(settings, ORPHANS_TIMEOUT)).await?;
    let counted = inspection.orphans().await;
    inspection.close().await;
    counted
}

fn within(settings: &Settings, timeout: Duration) -> Settings {
    Settings {
        statement_timeout: timeout.min(settings.statement_timeout),
        ..settings.clone()
    }
}
