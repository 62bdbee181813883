//! `hydrant replay`: files take the path of a queue's messages.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Failure, printed};
use crate::cli::Replay;
use crate::config::{self, Config, Source};
use crate::gate::Gate;
use crate::motion::Motions;
use crate::pipeline::agenda::{Agenda, Place, Rhythm};
use crate::pipeline::objects::ObjectWorker;
use crate::pipeline::{Conduct, Feed, Shared, Worker};
use crate::sources::file::{Files, walk};
use crate::store::{Claims, Settings, Store};
use crate::telemetry;

/// What files of HasOffers count as that belong to no source of the configuration. Those of another format have its word
/// behind a dot, so that quarantine knows what they hold.
const NAME: &str = "replay";
const HASOFFERS: &str = "hasoffers";

fn name_of(format: &str) -> String {
    match format {
        HASOFFERS => NAME.to_owned(),
        other => format!("{NAME}.{other}"),
    }
}

/// The source of what is called so, where it is files that belong to no source of the configuration.
pub fn source_called(name: &str) -> Option<Source> {
    let format = match name.strip_prefix(NAME)? {
        "" => HASOFFERS,
        rest => rest.strip_prefix('.')?,
    };
    config::source_of_files(format, None).ok()
}

pub async fn run(args: Replay) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    let (name, source) = source(&config, &args).map_err(Failure::Usage)?;
    let files = files(&args.paths).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    let mut store = Store::new(settings.clone());
    store.connect().await.map_err(anyhow::Error::new)?;
    store.close().await;

    let shared = Arc::new(Shared {
        stop: CancellationToken::new(),
        give_up: CancellationToken::new(),
        gate: Gate::default(),
        memory: Semaphore::new(source.max_body_bytes),
        motions: Motions::default(),
    });
    let conduct = Conduct {
        until_empty: true,
        accept_bad: args.accept_bad,
    };
    let feed = Arc::new(Feed::new(&name, source, conduct, &shared));
    let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
    let bar = bar(sizes.map(|metadata| metadata.len()).sum());
    let rhythm = Rhythm {
        poll: None,
        settle: Duration::ZERO,
        is_again: args.again,
    };
    let agenda = Arc::new(Agenda::new(Place::Files(Files::Named(files)), rhythm));
    let mut loops = JoinSet::new();
    let claims = Arc::new(Claims::default());
    for _ in 0..feed.settings.workers {
        let store = Store::beside(settings.clone(), Arc::clone(&claims));
        let worker = Worker::new(Arc::clone(&shared), Arc::clone(&feed), store);
        loops.spawn(ObjectWorker::new(worker, Arc::clone(&agenda)).run());
    }
    let outcome = watch(loops, &shared, &agenda, &bar).await;
    bar.finish_and_clear();
    let summary = Summary::of(&feed, &agenda);
    printed(summary.print(args.json))?;
    outcome?;
    expect_all(&summary, &feed, &shared)
}

/// The source that the files count as, and its name.
fn source(config: &Config, args: &Replay) -> anyhow::Result<(String, Source)> {
    let Some(name) = &args.source else {
        let source = config::source_of_files(&args.format, args.network_id.clone());
        return Ok((name_of(&args.format), source.context("--format")?));
    };
    match config.filed(name) {
        Some((source, format)) => Ok((name.clone(), source.of_files(format))),
        None => Err(anyhow!(
            "there is no source {name:?} in the configuration: leave --source out, or name one that is there"
        )),
    }
}

/// All files that the paths name, by their paths from the root on.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in paths {
        let whole =
            fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
        if whole.is_dir() {
            let mut found = Vec::new();
            walk(&whole, &mut found)?;
            files.extend(found.into_iter().map(|(path, _)| path));
        } else {
            files.insert(whole);
        }
    }
    if files.is_empty() {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        anyhow::bail!("there is no file in {}", paths.join(", "));
    }
    Ok(files.into_iter().collect())
}

/// A bar on a terminal's standard error, and nothing elsewhere.
fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let template = "[{elapsed_precise}] {wide_bar} {bytes} of {total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Waits for the end. A first signal stops behind the transaction that is under way, a second one at once.
async fn watch(
    mut loops: JoinSet<()>,
    shared: &Shared,
    agenda: &Agenda,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let doing = "cannot watch for signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(doing)?;
    let mut terminate = signal(SignalKind::terminate()).context(doing)?;
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        let is_second = shared.stop.is_cancelled();
        let stop = if is_second {
            &shared.give_up
        } else {
            &shared.stop
        };
        tokio::select! {
            ended = loops.join_next() => match ended {
                Some(ended) => ended.context("a worker panicked: this is a bug of hydrant; run replay again")?,
                None => return Ok(()),
            },
            _ = interrupt.recv() => stop.cancel(),
            _ = terminate.recv() => stop.cancel(),
            _ = look.tick() => bar.set_position(agenda.progress.bytes.load(Ordering::Relaxed)),
        }
    }
}

/// What became of the files and their events.
#[derive(Serialize)]
struct Summary {
    files_read: u64,
    files_read_before: u64,
    stored: u64,
    adjustments: u64,
    duplicates: u64,
    variants: u64,
    quarantined: u64,
    /// A sentence for each file that could not be read to its end.
    failures: Vec<String>,
}

impl Summary {
    fn of(feed: &Feed, agenda: &Agenda) -> Summary {
        let total = *feed.total.lock().unwrap_or_else(PoisonError::into_inner);
        Summary {
            files_read: agenda.progress.read.load(Ordering::Relaxed),
            files_read_before: agenda.progress.skipped.load(Ordering::Relaxed),
            stored: total.stored,
            adjustments: total.adjustments,
            duplicates: total.duplicates,
            variants: total.variants,
            quarantined: feed.quarantined.load(Ordering::Relaxed),
            failures: agenda.failures(),
        }
    }

    fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            return writeln!(out, "{}", serde_json::to_string(self)?);
        }
        let files = if self.files_read == 1 {
            "file"
        } else {
            "files"
        };
        writeln!(out, "{} {files} read", self.files_read)?;
        if self.files_read_before > 0 {
            let words = match self.files_read_before {
                1 => "1 was read before; --again reads it again".to_owned(),
                more => format!("{more} were read before; --again reads them again"),
            };
            writeln!(out, "  {words}")?;
        }
        writeln!(
            out,
            "  events: {} stored, {} adjustments, {} duplicates, {} variants, {} to quarantine",
            self.stored, self.adjustments, self.duplicates, self.variants, self.quarantined
        )
    }
}

fn expect_all(summary: &Summary, feed: &Feed, shared: &Shared) -> Result<(), Failure> {
    let why = if feed.is_mostly_bad() {
        "over half of the last 200 bodies were bad: see whether --format or --source is right, and hydrant quarantine list; \
         --accept-bad goes on regardless"
            .to_owned()
    } else if shared.stop.is_cancelled() {
        "interrupted: run it again, without --again, to go on where it ended".to_owned()
    } else if !summary.failures.is_empty() {
        summary.failures.join("; ")
    } else {
        return Ok(());
    };
    Err(Failure::Failed(anyhow!(why)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::formats::Format;

    #[test]
    fn the_name_of_what_was_replayed_tells_its_format() {
        let format = |name: &str| {
            source_called(name)?
                .formats(name)
                .pop()
                .map(|(_, it)| it.clone())
        };
        assert_eq!(name_of("hasoffers"), "replay");
        let hasoffers = Format::Hasoffers { network_id: None };
        assert_eq!(format(&name_of("hasoffers")), Some(hasoffers));
        assert_eq!(format(&name_of("recurly")), Some(Format::Recurly));
        for other in ["replays", "replay.", "replay.other", "feed"] {
            assert_eq!(format(other), None, "{other}");
        }
    }
}
