//! `hydrant quarantine`: what could not be stored, for people.

mod list;
mod retry;
mod show;

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::json;
use uuid::Uuid;

use super::{Failure, pretty, printed, replay};
use crate::cli::Common;
use crate::cli::quarantine::{IdPrefix, Quarantine as Action, Selection};
use crate::config::{self, Config, MAX_BODY_BYTES, Source, SourceKind};
use crate::formats::place::{Door, Place, Whole};
use crate::formats::{Body, Format, Kept, Refusal};
use crate::store::Settings;
use crate::store::batch::{Batch, Origin};
use crate::store::quarantine::{Item, Quarantine, Status};
use crate::telemetry;

/// The format of the first feed.
const FIRST: Format = Format::Hasoffers { network_id: None };

pub async fn run(action: Action) -> Result<(), Failure> {
    match action {
        Action::List(args) => list::run(args).await,
        Action::Show(args) => show::run(args).await,
        Action::Retry(args) => retry::run(args).await,
        Action::Discard(args) => discard(args).await,
    }
}

async fn discard(args: Selection) -> Result<(), Failure> {
    expect_choice(&args, "discard")?;
    let (_, mut quarantine) = open(&args.common).await?;
    let is_json = args.json;
    let ids = choose(&mut quarantine, args).await?;
    let count = quarantine
        .mark(&ids, Status::Discarded)
        .await
        .map_err(anyhow::Error::new)?;
    quarantine.close().await;
    if is_json {
        let done = json!({"discarded": count});
        return printed(io::stdout().write_all(pretty(&done)?.as_bytes()));
    }
    if !ids.is_empty() {
        printed(writeln!(io::stdout(), "discarded {count}"))?;
    }
    Ok(())
}

async fn open(common: &Common) -> Result<(Config, Quarantine), Failure> {
    let config = config::load(common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    let quarantine = Quarantine::open(&settings)
        .await
        .map_err(anyhow::Error::new)?;
    Ok((config, quarantine))
}

/// Nobody means everything by saying nothing.
fn expect_choice(args: &Selection, doing: &str) -> Result<(), Failure> {
    if args.ids.is_empty() && !args.filters.narrow() && !args.all {
        return Err(Failure::Usage(anyhow!(
            "say what to {doing}: IDs, a filter such as --reason, or --all"
        )));
    }
    Ok(())
}

/// The items that the arguments name. Where there is none it says so.
async fn choose(quarantine: &mut Quarantine, args: Selection) -> Result<Vec<Uuid>, Failure> {
    if args.ids.is_empty() {
        let filter = args.filters.with_status(Some(args.status.status()));
        let ids = quarantine.find(&filter).await.map_err(anyhow::Error::new)?;
        if ids.is_empty() {
            eprintln!("nothing matched");
        }
        return Ok(ids);
    }
    let mut ids = Vec::with_capacity(args.ids.len());
    for prefix in &args.ids {
        match named(quarantine, prefix).await? {
            Some(id) if ids.contains(&id) => {}
            Some(id) => ids.push(id),
            None => return Err(unknown_id(prefix)),
        }
    }
    Ok(ids)
}

fn unknown_id(prefix: &IdPrefix) -> Failure {
    Failure::Failed(anyhow!(
        "no item of quarantine has an ID that begins with {}",
        prefix.text
    ))
}

/// The one item whose id begins so.
async fn named(quarantine: &mut Quarantine, prefix: &IdPrefix) -> Result<Option<Uuid>, Failure> {
    let found = quarantine
        .between(prefix.least, prefix.most)
        .await
        .map_err(anyhow::Error::new)?;
    match found.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        [one, other, ..] => Err(Failure::Usage(anyhow!(
            "{} is the beginning of more than one ID, {one} and {other} among them: give more of it",
            prefix.text
        ))),
    }
}

/// The source of an item and the format of its bodies: one of the configuration, or files that were replayed without one.
fn source(config: &Config, item: &Item) -> Option<(Source, Format)> {
    if let Some((source, format)) = config.filed(&item.source) {
        return Some((source.clone(), format.clone()));
    }
    let source = replay::source_called(&item.source)?;
    let (_, format) = source.formats(&item.source).pop()?;
    let format = format.clone();
    Some((source, format))
}

/// Opens the payload of a body as its source would; as the first feed with the defaults where there is no such source any
/// more.
fn open_body(config: &Config, item: &Item, payload: &[u8]) -> Result<Body, Refusal> {
    let Some((source, format)) = source(config, item) else {
        return FIRST.open(payload, MAX_BODY_BYTES);
    };
    let Some(place) = place(&source, item) else {
        return format.open(payload, source.max_body_bytes);
    };
    let piece = || format.open_piece(payload, source.max_body_bytes, &place);
    let occurrence = item.spot.as_ref().map_or(1, |spot| spot.occurrence);
    if occurrence > 1 {
        // Each of its equals that stood before it holds the same events: these come after those.
        let mut earlier = piece()?;
        let mut events = Batch::new(1_000, usize::MAX);
        while !earlier.read_into(&mut events, 0, "") {
            events.clear();
        }
        place.whole.repeat(occurrence - 1);
    }
    piece()
}

/// Where a body stood in an object or a file. Of what an earlier version put there its message id says it.
fn place(source: &Source, item: &Item) -> Option<Place> {
    if let Some(spot) = &item.spot {
        let (name, etag) = (spot.origin.clone(), spot.etag.clone());
        return Some(Place {
            whole: Arc::new(Whole::new(Door::Pull, name, etag)),
            number: spot.line,
        });
    }
    if !matches!(source.kind, SourceKind::S3 { .. } | SourceKind::File { .. }) {
        return None;
    }
    let (name, number) = item.message_id.as_deref()?.rsplit_once(':')?;
    Some(Place {
        whole: Arc::new(Whole::new(Door::Pull, name.to_owned(), None)),
        number: number.parse().ok()?,
    })
}

/// Reads the payload of an event, with what its row has kept of its body, into `batch`.
fn read_event(
    config: &Config,
    item: &Item,
    payload: &[u8],
    batch: &mut Batch,
    origin: Origin,
) -> Result<(), Refusal> {
    let kept = Kept {
        network_id: item.network_id.as_deref(),
        event_id: item.event_id.as_deref(),
        dispatch_timestamp: item.dispatch_timestamp,
        spot: item.spot.as_ref(),
    };
    let format = source(config, item).map_or(FIRST, |(_, format)| format);
    format.read_event(payload, &kept, batch, origin)
}
