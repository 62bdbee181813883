//! `hydrant explain`: how a record came to be what it is.

mod account;
mod fields;
mod standing;
mod text;

use std::io::{self, Write};

use anyhow::anyhow;
use serde::Serialize;

use self::account::Account;
use super::{Failure, printed};
use crate::cli::Explain;
use crate::config;
use crate::store::Settings;
use crate::store::explain::Snapshot;
use crate::store::fault::Fault;
use crate::telemetry;

/// What was found, as `--json` shows it.
#[derive(Serialize)]
struct Found<'a> {
    network_id: &'a str,
    id: &'a str,
    records: Vec<Account>,
}

pub async fn run(args: Explain) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    let records = look(&settings, &args).await.map_err(anyhow::Error::new)?;
    if records.is_empty() {
        return Err(Failure::Failed(anyhow!(
            "network {:?} has no event, adjustment or record with the id {:?}; clicks and impressions are found by their \
             event_id, what could not be stored is in hydrant quarantine list, and events of Everflow and Recurly are in \
             their tables: explain knows those of HasOffers alone",
            args.network_id,
            args.id
        )));
    }
    let found = Found {
        network_id: &args.network_id,
        id: &args.id,
        records,
    };
    let shown = if args.json {
        serde_json::to_string_pretty(&found).map_err(anyhow::Error::new)? + "\n"
    } else {
        text::page(&args.network_id, &found.records)
    };
    printed(io::stdout().lock().write_all(shown.as_bytes()))
}

async fn look(settings: &Settings, args: &Explain) -> Result<Vec<Account>, Fault> {
    let mut snapshot = Snapshot::begin(settings).await?;
    let mut accounts = Vec::new();
    for record_id in snapshot.records(&args.network_id, &args.id).await? {
        let facts = snapshot
            .facts(&args.network_id, &record_id, &args.id)
            .await?;
        accounts.push(account::of(record_id, &facts, args.personal)?);
    }
    snapshot.close().await;
    Ok(accounts)
}
