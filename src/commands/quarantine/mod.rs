//! `hydrant quarantine`: what could not be stored, for people.

mod list;
mod retry;
mod show;

use std::borrow::Cow;
use std::io::{self, Write};

use anyhow::anyhow;
use uuid::Uuid;

use super::{Failure, printed};
use crate::cli::Common;
use crate::cli::quarantine::{IdPrefix, Quarantine as Action, Selection};
use crate::config::{self, Config, MAX_BODY_BYTES};
use crate::formats::hasoffers::event::{self, Context, Event};
use crate::formats::hasoffers::{Body, envelope};
use crate::formats::{Reason, Refusal};
use crate::store::Settings;
use crate::store::quarantine::{Item, Quarantine, Status};
use crate::telemetry;

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
    let ids = choose(&mut quarantine, args).await?;
    if !ids.is_empty() {
        let count = quarantine
            .mark(&ids, Status::Discarded)
            .await
            .map_err(anyhow::Error::new)?;
        printed(writeln!(io::stdout(), "discarded {count}"))?;
    }
    quarantine.close().await;
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

/// Opens the payload of a body as its source would, with the defaults where there is no such source any more.
fn open_body(config: &Config, item: &Item, payload: &[u8]) -> Result<Body, Refusal> {
    let source = config.source.get(&item.source);
    let max_bytes = source.map_or(MAX_BODY_BYTES, |source| source.max_body_bytes);
    let network_id = source.and_then(|source| source.network_id.as_deref());
    Body::open(payload, max_bytes, network_id)
}

/// Understands the payload of an event with what its row has kept of its envelope.
fn parse_event<'a>(
    config: &'a Config,
    item: &'a Item,
    payload: &'a [u8],
) -> Result<Event<'a>, Refusal> {
    let source = config.source.get(&item.source);
    let source_network_id = source.and_then(|source| source.network_id.as_deref());
    let context = Context {
        network_id: item.network_id.as_deref().map(Cow::Borrowed),
        source_network_id: source_network_id.map(Cow::Borrowed),
        dispatch_timestamp: item.dispatch_timestamp,
    };
    let text = std::str::from_utf8(payload)
        .map_err(|_| Refusal::new(Reason::NotUtf8, "the event is not UTF-8"))?;
    event::parse(envelope::validate(text)?, &context).map_err(|bad| bad.refusal)
}
