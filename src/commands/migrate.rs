//! `hydrant migrate`.

use std::fmt;
use std::io::{self, Write};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{Failure, pretty, printed};
use crate::cli::{Migrate, Switch};
use crate::store::Settings;
use crate::store::migrate::{make_days_ahead, migrate};
use crate::store::repartition::repartition;
use crate::store::rollup::switch::{self, Filled};
use crate::{config, telemetry};

pub async fn run(args: Migrate) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    if args.forget_dropped && args.rollup != Some(Switch::Off) {
        return Err(Failure::Usage(anyhow!(
            "--forget-dropped goes with --rollup off: nothing is forgotten otherwise"
        )));
    }
    let mut settings = Settings::new(&config.database)?;
    let configured = settings.partition_by;
    settings.partition_by = args.partition_by.unwrap_or(configured);
    migrate(&settings).await.map_err(anyhow::Error::new)?;
    if !args.json {
        say(format_args!(
            "the database is up to date (schema {})",
            settings.schema
        ))?;
    }
    let moved = match args.partition_by {
        Some(_) => Some(repartition(&settings).await.map_err(anyhow::Error::new)?),
        None => None,
    };
    let switched = match args.rollup {
        Some(to) => Some(switch_rollup(&settings, to, args.forget_dropped).await?),
        None => None,
    };
    make_days_ahead(&settings)
        .await
        .map_err(anyhow::Error::new)?;
    if args.json {
        let done = json!({
            "schema": settings.schema,
            "partition_by": settings.partition_by.as_str(),
            "moved": moved.map(|moved| json!({"events": moved.rows, "days": moved.days})),
            "rollup": switched.map(|switched| switched.json()),
        });
        return printed(io::stdout().write_all(pretty(&done)?.as_bytes()));
    }
    if let Some(moved) = moved {
        say(format_args!(
            "moved {} events of {} days",
            moved.rows, moved.days
        ))?;
    }
    if let Some(switched) = switched {
        say(format_args!("{switched}"))?;
    }
    if settings.partition_by != configured {
        say(format_args!(
            "now set database.partition_by = {:?} in the configuration of every daemon",
            settings.partition_by.as_str()
        ))?;
    }
    Ok(())
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    printed(writeln!(io::stdout(), "{line}"))
}

/// What became of the rollup.
enum Switched {
    On(Filled),
    OnAlready,
    Off,
    OffAlready,
}

async fn switch_rollup(
    settings: &Settings,
    to: Switch,
    forget_dropped: bool,
) -> anyhow::Result<Switched> {
    Ok(match to {
        Switch::On => {
            let bar = bar();
            let outcome = switch::on(settings, |filled| {
                bar.set_length(filled.of_days as u64);
                bar.set_position(filled.days as u64);
                bar.set_message(format!("{} rows", filled.rows));
            })
            .await;
            bar.finish_and_clear();
            outcome?.map_or(Switched::OnAlready, Switched::On)
        }
        Switch::Off if switch::off(settings, forget_dropped).await? => Switched::Off,
        Switch::Off => Switched::OffAlready,
    })
}

impl Switched {
    fn json(&self) -> Value {
        match self {
            Switched::On(filled) => {
                json!({"state": "on", "changed": true, "days": filled.days, "rows": filled.rows})
            }
            Switched::OnAlready => json!({"state": "on", "changed": false}),
            Switched::Off => json!({"state": "off", "changed": true}),
            Switched::OffAlready => json!({"state": "off", "changed": false}),
        }
    }
}

impl fmt::Display for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Switched::On(Filled { days, rows, .. }) => write!(
                f,
                "the rollup is on: the facts of {days} days are summed up in {rows} rows"
            ),
            Switched::OnAlready => write!(f, "the rollup is on already"),
            Switched::Off => write!(f, "the rollup is off: view stats reads the facts"),
            Switched::OffAlready => write!(f, "the rollup is off already"),
        }
    }
}

/// A bar on a terminal's standard error, and nothing elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "[{elapsed_precise}] {wide_bar} {pos}/{len} days, {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(250));
    bar
}
