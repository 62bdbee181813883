//! `hydrant migrate`.

use super::Failure;
use crate::cli::Migrate;
use crate::store::Settings;
use crate::store::migrate::migrate;
use crate::{config, telemetry};

pub async fn run(args: Migrate) -> Result<(), Failure> {
    let config = config::load(args.common.config.as_deref()).map_err(Failure::Usage)?;
    telemetry::start_logs(&config.log).map_err(Failure::Usage)?;
    let settings = Settings::new(&config.database)?;
    migrate(&settings).await.map_err(anyhow::Error::new)?;
    println!("the database is up to date (schema {})", settings.schema);
    Ok(())
}
