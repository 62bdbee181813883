//! The demo: a generated feed, a local SQS, a throw-away PostgreSQL and the real daemon between them, then what landed.
//!
//! [`feed`] makes events (of the [`fields`] that TUNE's have), [`mod@publication`] the messages that a queue would give,
//! [`postgres`] the server and [`daemon`] the child process, in a [`folder`] that goes away whatever happens; [`report`]
//! shows and checks. The generator serves benchmarks, too.

mod daemon;
pub mod feed;
mod fields;
mod figures;
mod folder;
mod postgres;
pub mod publication;
mod report;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::daemon::{Counted, Daemon};
use self::figures::grouped;
use self::folder::Folder;
use self::postgres::Postgres;
use self::publication::{Publication, publication};
use self::report::{line, say};
use crate::config::{DatabaseUrl, PartitionBy};
use crate::stand_in::StandIn;
use crate::stand_in::client::{client, create_queue};
use crate::store::{Settings, showcase};

const QUEUE: &str = "hasoffers-firehose";
/// The schema in a database that is not ours.
const SCHEMA: &str = "hydrant_demo";
/// The daemon is given up when it deletes no message for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the command line says.
pub struct Options {
    pub messages: usize,
    pub seed: u64,
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
/// A part of it failed, the numbers do not add up, or it was interrupted before they were shown.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    say(format_args!(
        "Hydrant demo: a HasOffers feed with all its faults, through the real daemon, into PostgreSQL\n"
    ));
    let mut signals = Signals::watch()?;
    let mut folder = Folder::create()?;
    let database = signals.cut(prepare(options, &mut folder)).await?;
    let shown = signals.cut(show(options, &database, &mut folder)).await;
    if shown.is_ok() {
        report::look_further(
            &database.url,
            &database.settings.schema,
            database.server.is_none(),
        );
        if options.keep {
            keep(&database, &mut folder)?;
            return expect_agreement(shown?);
        }
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            say(format_args!(
                "\nPress Enter to end the demo and remove everything."
            ));
            // A signal says the same.
            let _ = signals.cut(enter_pressed()).await;
        }
    }
    let removed = remove(&database, folder).await;
    expect_agreement(shown?)?;
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
        Some(server) => {
            let words = format!(
                "{}, a throw-away server on 127.0.0.1:{}",
                server.version, server.port
            );
            line("PostgreSQL", &words, Some(started));
        }
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

/// Publishes, runs the daemon until the queue is empty, and shows what landed; whether it adds up.
async fn show(options: &Options, database: &Database, folder: &mut Folder) -> anyhow::Result<bool> {
    let stand_in = StandIn::start()
        .await
        .context("cannot start the local SQS")?;
    let client = client(&stand_in.endpoint);
    let queue_url = create_queue(&client, QUEUE).await?;
    line("SQS", &format!("a local stand-in, {queue_url}"), None);

    let started = Instant::now();
    let (seed, messages) = (options.seed, options.messages);
    let publication = tokio::task::spawn_blocking(move || publication(seed, messages)).await?;
    send(&client, &queue_url, &publication.bodies).await?;
    let words = format!(
        "{} messages with {} events, in no order (seed {seed})",
        grouped(publication.bodies.len() as u64),
        grouped(publication.expected.sum()),
    );
    line("Published", &words, Some(started));

    let settings = (database.url.as_str(), database.settings.schema.as_str());
    let mut daemon = Daemon::start(folder, settings, &stand_in.endpoint, &queue_url)?;
    line(
        "Daemon",
        &format!("hydrant run --config {}", daemon.config.display()),
        None,
    );
    let started = Instant::now();
    let counted = drain(&mut daemon, &client, &queue_url, &publication).await?;
    line(
        "Landed",
        &format!(
            "{} events; the queue is empty",
            grouped(counted.events.sum())
        ),
        Some(started),
    );
    daemon.stop(folder).await?;
    line("Stopped", "with SIGTERM, exit status 0", None);
    report::show(&database.settings, &publication, &counted).await
}

async fn send(client: &Client, queue_url: &str, bodies: &[String]) -> anyhow::Result<()> {
    for batch in bodies.chunks(10) {
        let mut request = client.send_message_batch().queue_url(queue_url);
        for (at, body) in batch.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .message_body(body)
                .build()?;
            request = request.entries(entry);
        }
        let sent = request
            .send()
            .await
            .context("cannot send to the local SQS")?;
        if !sent.failed().is_empty() {
            bail!("the local SQS refused {} messages", sent.failed().len());
        }
    }
    Ok(())
}

/// Waits until every message is deleted: then everything is committed and counted.
async fn drain(
    daemon: &mut Daemon,
    client: &Client,
    queue_url: &str,
    publication: &Publication,
) -> anyhow::Result<Counted> {
    let (mut left_before, mut moved, mut told) = (usize::MAX, Instant::now(), Instant::now());
    loop {
        let left = messages_left(client, queue_url).await?;
        let counted = daemon.counted().await?;
        if let (0, Some(counted)) = (left, counted) {
            return Ok(counted);
        }
        if left != left_before {
            (left_before, moved) = (left, Instant::now());
        } else if moved.elapsed() > PATIENCE {
            bail!(
                "the daemon deleted no message in {} s:\n{}",
                PATIENCE.as_secs(),
                daemon.last_lines()
            );
        }
        if let Some(counted) = counted.filter(|_| told.elapsed() >= Duration::from_secs(1)) {
            told = Instant::now();
            let (done, all) = (counted.events.sum(), publication.expected.sum());
            line(
                "",
                &format!("{} of {} events", grouped(done), grouped(all)),
                None,
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn messages_left(client: &Client, queue_url: &str) -> anyhow::Result<usize> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let answer = client
        .get_queue_attributes()
        .queue_url(queue_url)
        .set_attribute_names(Some(names.to_vec()))
        .send()
        .await
        .context("cannot ask the local SQS for its messages")?;
    let attributes = answer.attributes.unwrap_or_default();
    let count = |name| {
        attributes
            .get(name)
            .and_then(|count: &String| count.parse::<usize>().ok())
    };
    names
        .iter()
        .map(count)
        .sum::<Option<usize>>()
        .context("the local SQS does not say how many messages it has")
}

/// Leaves everything but the daemon, and says how to remove it.
fn keep(database: &Database, folder: &mut Folder) -> anyhow::Result<()> {
    match &database.server {
        Some(server) => {
            folder.keep()?;
            say(format_args!("\nThe server keeps running. To remove it:"));
            say(format_args!(
                "  {} && rm -rf {}",
                server.stop_command(),
                folder.path.display()
            ));
        }
        None => {
            say(format_args!("\nThe schema stays. To remove it:"));
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

/// The signals that mean to end.
struct Signals([Signal; 3]);

impl Signals {
    fn watch() -> anyhow::Result<Signals> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Signals([
            watch(SignalKind::interrupt())?,
            watch(SignalKind::terminate())?,
            watch(SignalKind::hangup())?,
        ]))
    }

    /// Does something, unless a signal comes first.
    async fn cut<T>(&mut self, act: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            outcome = act => outcome,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
            _ = hangup.recv() => bail!("hung up"),
        }
    }
}

/// Waits on a thread that nobody waits for: the process can end while it reads.
async fn enter_pressed() -> anyhow::Result<()> {
    let (sender, pressed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = sender.send(());
    });
    pressed.await.context("cannot read from the terminal")
}
