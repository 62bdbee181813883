//! The demo: a generated feed, a local SQS, a PostgreSQL of its own and the real daemon between them, first with a backlog,
//! then live, and whether what landed is what was published.
//!
//! [`feed`] makes events (of the [`fields`] that TUNE's have), [`mod@publication`] the messages that a queue would give,
//! [`postgres`] the server, by programs of this machine or such that it can [`fetch`], and [`daemon`] the child process, in a
//! [`folder`] that goes away whatever happens; [`traffic`] runs it, [`report`] shows and checks. The generator serves
//! benchmarks, too.

mod daemon;
pub mod feed;
mod fetch;
mod fields;
mod figures;
mod folder;
mod money;
mod postgres;
mod progress;
pub mod publication;
mod report;
mod signals;
mod traffic;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use self::folder::Folder;
use self::postgres::Postgres;
use self::report::{line, say};
use self::signals::Signals;
use self::traffic::Traffic;
use crate::config::{DatabaseUrl, PartitionBy};
use crate::store::{Settings, showcase};

/// The schema in a database that is not ours.
const SCHEMA: &str = "hydrant_demo";

/// What the command line says.
pub struct Options {
    /// Of the backlog.
    pub messages: usize,
    pub seed: u64,
    /// How long there is live traffic; none with zero, and until a signal comes with `None`.
    pub live: Option<Duration>,
    /// Instead of a throw-away one.
    pub database: Option<String>,
    /// Leave the database to the user.
    pub keep: bool,
}

/// Where the feed lands.
struct Database {
    url: String,
    settings: Settings,
    /// None where the user named the database.
    server: Option<Postgres>,
}

/// Runs the demo to its end, and removes everything, unless told otherwise.
///
/// # Errors
/// A part of it failed, the numbers do not add up, or it was interrupted at another time than that of live traffic.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    say(format_args!(
        "Hydrant demo: a HasOffers feed with all its faults, through the real daemon, into PostgreSQL\n"
    ));
    let mut signals = Signals::watch()?;
    let mut folder = Folder::create()?;
    let database = signals.cut(prepare(options, &mut folder)).await?;
    let outcome = perform(options, &database, &mut folder, &mut signals).await;
    if outcome.is_ok() && options.keep {
        keep(&database, &mut folder)?;
        return expect_agreement(outcome?);
    }
    let removed = remove(&database, folder).await;
    expect_agreement(outcome?)?;
    removed
}

fn expect_agreement(agrees: bool) -> anyhow::Result<()> {
    if agrees {
        return Ok(());
    }
    bail!("the numbers do not add up: this is a bug of hydrant")
}

async fn prepare(options: &Options, folder: &mut Folder) -> anyhow::Result<Database> {
    let started = Instant::now();
    let (url, schema, server) = match &options.database {
        Some(url) => (url.clone(), SCHEMA, None),
        None => {
            let server = Postgres::start(folder).await?;
            (server.url(), "public", Some(server))
        }
    };
    let settings = Settings {
        options: DatabaseUrl::new(&url).options().context("--database")?,
        schema: schema.to_owned(),
        partition_by: PartitionBy::Day,
        lock_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(30),
    };
    match &server {
        Some(server) => line("PostgreSQL", &server.to_string(), Some(started)),
        None => {
            showcase::create_schema(&settings).await?;
            line(
                "PostgreSQL",
                &format!("the given database, in its new schema {schema}"),
                None,
            );
        }
    }
    Ok(Database {
        url,
        settings,
        server,
    })
}

/// The backlog, then live traffic until its end; whether everything added up.
async fn perform(
    options: &Options,
    database: &Database,
    folder: &mut Folder,
    signals: &mut Signals,
) -> anyhow::Result<bool> {
    let mut traffic = signals
        .cut(Traffic::start(options, database, folder))
        .await?;
    let mut agrees = signals.cut(traffic.land(database)).await?;
    if agrees && options.live != Some(Duration::ZERO) {
        report::look(&traffic.address(), database, options.live);
        traffic.live(options.live, signals).await?;
        agrees = signals.cut(traffic.close(database)).await?;
    }
    signals.cut(traffic.stop(folder)).await?;
    Ok(agrees)
}

/// Leaves everything but the daemon, and says how to look at it and to remove it.
fn keep(database: &Database, folder: &mut Folder) -> anyhow::Result<()> {
    match &database.server {
        Some(server) => {
            folder.keep()?;
            say(format_args!("\nThe server keeps running:"));
            report::look_further(database);
            say(format_args!("\nTo remove it:"));
            say(format_args!(
                "  {} && rm -rf {}",
                server.stop_command(),
                folder.path.display()
            ));
        }
        None => {
            say(format_args!("\nThe schema stays:"));
            report::look_further(database);
            say(format_args!("\nTo remove it:"));
            say(format_args!("  drop schema {SCHEMA} cascade"));
        }
    }
    Ok(())
}

async fn remove(database: &Database, folder: Folder) -> anyhow::Result<()> {
    let dropped = match &database.server {
        Some(_) => Ok(()),
        None => showcase::drop_schema(&database.settings).await,
    };
    let path = folder.path.clone();
    tokio::task::spawn_blocking(|| drop(folder)).await?;
    dropped?;
    if path.exists() {
        bail!("could not remove {}", path.display());
    }
    say(format_args!("\nEverything is removed."));
    Ok(())
}
