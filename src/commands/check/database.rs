//! The database: whether it can be reached and written, keeps what it commits, and has room for our sessions.

use super::{Finding, Findings, tables};
use crate::config::Config;
use crate::store::Settings;
use crate::store::fault::{Fault, Why};
use crate::store::inspect::{Inspection, Server};

/// The oldest server whose SQL we use, and the ones that our tests run on.
const OLDEST: i32 = 130_000;
const TESTED: &str = "15";
/// Sessions beside the workers': for the days ahead, two for retention, for the sums of `stats`, for /readyz, two for the status
/// page, and for somebody who looks.
const OTHER_SESSIONS: usize = 8;

pub async fn look(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let settings = Settings::new(&config.database)?;
    let mut findings = Findings::new("database");
    if let Err(fault) = ask(config, &settings, &mut findings).await {
        findings.fail("connection", fault.to_string(), advice_for(&fault));
    }
    Ok(findings.list)
}

pub fn advice_for(fault: &Fault) -> &'static str {
    match fault {
        Fault::Down(Why::Misconfigured, _) => {
            "check the user, the password and the database in database.url, and the role's rights"
        }
        Fault::TooMuch(_) | Fault::Contention(_) => "try again when the database has less to do",
        _ => {
            "check that the server runs, that database.url names its host and port, and that a firewall lets us through"
        }
    }
}

/// Everything in turn; the first question that is not answered ends it.
async fn ask(config: &Config, settings: &Settings, findings: &mut Findings) -> Result<(), Fault> {
    let mut database = Inspection::begin(settings).await?;
    let server = database.server().await?;
    let options = &settings.options;
    findings.ok(
        "connection",
        format!(
            "database {} on {}:{} as {}",
            options.get_database().unwrap_or(&server.user),
            options.get_host(),
            options.get_port(),
            server.user
        ),
    );
    judge_server(&server, findings);
    judge_durability(&server, findings);
    judge_replicas(&database.replicas().await?, findings);
    judge_connections(config, &server, findings);

    tables::look(settings, &server.user, &mut database, findings).await
}

fn judge_server(server: &Server, findings: &mut Findings) {
    let version = format!("PostgreSQL {} (tested: {TESTED})", server.version);
    if server.version_number < OLDEST {
        findings.fail("server version", version, "upgrade it to 13 or newer");
    } else {
        findings.ok("server version", version);
    }
    if server.encoding == "UTF8" {
        findings.ok("encoding", "UTF8");
    } else {
        findings.fail(
            "encoding",
            format!("{}: not every text could be stored", server.encoding),
            "create the database with encoding 'UTF8' template template0",
        );
    }
    if server.standby {
        findings.fail(
            "writable",
            "no: the server is a standby",
            "let database.url name the primary",
        );
    } else if server.read_only {
        findings.fail(
            "writable",
            "no: transactions are read-only",
            "look for default_transaction_read_only in the settings of the server, the database and the role",
        );
    } else {
        findings.ok("writable", "yes");
    }
}

/// A message is deleted once its events are committed: a commit that can be lost is lost for good.
fn judge_durability(server: &Server, findings: &mut Findings) {
    if server.fsync == "on" {
        findings.ok("fsync", "on");
    } else {
        findings.fail(
            "fsync",
            "off: a crash of the machine can destroy the whole database",
            "set fsync = on in postgresql.conf",
        );
    }
    let value = server.synchronous_commit.as_str();
    let found = format!("{value}: {}", server.durability());
    match value {
        "off" => findings.fail(
            "synchronous_commit",
            found,
            format!(
                "alter role {} set synchronous_commit = on, or set it for the database or the server",
                server.user
            ),
        ),
        "local" if !server.synchronous_standby_names.is_empty() => findings.warn(
            "synchronous_commit",
            found,
            "set it to on if a fail-over must lose nothing",
        ),
        _ => findings.ok("synchronous_commit", found),
    }
    if server.full_page_writes == "on" {
        findings.ok("full_page_writes", "on");
    } else {
        findings.warn(
            "full_page_writes",
            "off: after a crash pages can be half written",
            "set it to on, unless the file system writes pages as a whole, as ZFS does",
        );
    }
    let checksums = if server.data_checksums == "on" {
        "on"
    } else {
        "off: a disk that returns wrong data goes unnoticed (pg_checksums --enable turns them on)"
    };
    findings.ok("data checksums", checksums);
}

fn judge_replicas(states: &[Option<String>], findings: &mut Findings) {
    let hidden = states.iter().filter(|state| state.is_none()).count();
    let synchronous = states
        .iter()
        .flatten()
        .filter(|state| matches!(state.as_str(), "sync" | "quorum"))
        .count();
    let found = match (states.len(), synchronous) {
        (0, _) => {
            "none stream from here: what is newer than the last backup is on this server alone"
                .to_owned()
        }
        (all, 0) if hidden > 0 => format!(
            "{all}; whether they are synchronous is hidden from us: grant pg_monitor shows it"
        ),
        (all, 0) => format!(
            "{all}, none of them synchronous: a fail-over loses the last moments, whose messages are deleted"
        ),
        (all, some) => {
            format!("{all}, {some} of them synchronous: a fail-over to those loses nothing")
        }
    };
    findings.ok("replicas", found);
}

fn judge_connections(config: &Config, server: &Server, findings: &mut Findings) {
    let workers: usize = config.source.values().map(|source| source.workers).sum();
    let (needed, allowed) = (workers + OTHER_SESSIONS, server.max_connections);
    let found = format!(
        "{needed} for {workers} workers and their company; the server allows {allowed} to all"
    );
    if needed < usize::try_from(allowed).unwrap_or_default() {
        findings.ok("connections", found);
    } else {
        findings.fail(
            "connections",
            found,
            "lower workers, or raise max_connections on the server",
        );
    }
}
