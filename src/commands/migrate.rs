//! `hydrant migrate`.

use super::Failure;
use crate::cli::Migrate;
use crate::store::Settings;
use crate::store::migrate::{make_days_ahead, migrate};
use crate::store::repartition::repartition;
use crate::{config, telemetry};

pub async fn run(args: Migrate) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let mut settings = Settings::new(&config.database)?;
    let configured = settings.partition_by;
    settings.partition_by = args.partition_by.unwrap_or(configured);
    migrate(&settings).await.map_err(anyhow::Error::new)?;
    println!("the database is up to date (schema {})", settings.schema);
    if args.partition_by.is_some() {
        let moved = repartition(&settings).await.map_err(anyhow::Error::new)?;
        println!("moved {} events of {} days", moved.rows, moved.days);
    }
    make_days_ahead(&settings)
        .await
        .map_err(anyhow::Error::new)?;
    if settings.partition_by != configured {
        println!(
            "now set database.partition_by = {:?} in the configuration of every daemon",
            settings.partition_by.as_str()
        );
    }
    Ok(())
}
