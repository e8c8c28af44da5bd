//! `wal-fetch`: restores one WAL file. Its exit codes are the contract with PostgreSQL.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use stillframe_core::flows::{WalFetched, wal_fetch};

use crate::common::Common;
use crate::exit::{ABSENT, Failure};
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the file, which PostgreSQL gives as %f
    name: String,
    /// Where to put it, which PostgreSQL gives as %p
    destination: PathBuf,
}

/// Restores.
pub async fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    let world = World::open(common)?;
    match wal_fetch(&world.ports(), &options.name, &options.destination).await? {
        WalFetched::Restored(_) => Ok(ExitCode::SUCCESS),
        WalFetched::Absent => {
            tracing::info!(file = options.name, "is not in the archive");
            Ok(ExitCode::from(ABSENT))
        }
    }
}
