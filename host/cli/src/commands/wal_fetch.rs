//! `wal-fetch`: restores one WAL file. Its exit codes are the contract with PostgreSQL.

mod detach;
pub mod prefetch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use stillframe_core::flows::{WalFetched, wal_fetch};

use crate::common::{Common, NoResult};
use crate::exit::{ABSENT, Failure};
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    no_result: NoResult,
    /// Let the daemon at this socket do it, when it can
    // Read before the command line is: whoever gets here does without.
    #[arg(long, value_name = "SOCKET")]
    daemon: Option<PathBuf>,
    /// Name of the file, which PostgreSQL gives as %f
    name: String,
    /// Where to put it, which PostgreSQL gives as %p
    destination: PathBuf,
}

/// Restores, and leaves a process behind that fetches the next segments.
pub async fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let (fetched, next) = wal_fetch(&world.ports(), &world.ahead(), &options.name, &options.destination).await?;
    match fetched {
        WalFetched::Restored(_) => {
            if let Some(request) = next {
                detach::start(&world.config.path, &request);
            }
            Ok(ExitCode::SUCCESS)
        }
        WalFetched::Absent => {
            // A standby that waits asks every few seconds.
            tracing::debug!(file = options.name, "is not in the archive");
            Ok(ExitCode::from(ABSENT))
        }
    }
}
