//! `wal-push`: archives one WAL file. Silent when all is well, for it runs once per segment.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use stillframe_core::flows::{Ports, WalPushed, wal_push};
use stillframe_core::postgres::PgControl;

use crate::common::{Common, NoResult};
use crate::config::{Config, ConfigError};
use crate::exit::Failure;
use crate::wiring::{World, termination};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    no_result: NoResult,
    /// Let the daemon at this socket do it, when it can
    // Read before the command line is: whoever gets here does without.
    #[arg(long, value_name = "SOCKET")]
    daemon: Option<PathBuf>,
    /// The file, as PostgreSQL names it by %p
    path: PathBuf,
}

/// Archives.
pub async fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let data_directory = data_directory(&options.path, &world.config)?;
    let pusher = world.pusher(&data_directory)?;
    let archiving = world.archiving_now()?;
    let ports = Ports { archiving: &archiving, ..world.ports() };
    // Until this file is archived, a signal ends the process as usual.
    let stop = async { termination().await };
    match wal_push(&ports, &world.ahead(), &pusher, &options.path, stop).await? {
        WalPushed::Stored => tracing::debug!(path = %options.path.display(), "archived"),
        WalPushed::Before => tracing::debug!(path = %options.path.display(), "was archived by an earlier call"),
        WalPushed::Parked => tracing::debug!(path = %options.path.display(), "is kept beside the archive"),
        WalPushed::AlreadyStored => tracing::info!(path = %options.path.display(), "was archived before, with the same content"),
    }
    Ok(ExitCode::SUCCESS)
}

/// PostgreSQL calls us in its data directory and names the file relative to it. A restored server thus archives as itself,
/// wherever its copy of the configuration says that the original lies.
fn data_directory(path: &Path, config: &Config) -> Result<PathBuf, ConfigError> {
    if path.is_relative() && Path::new(PgControl::PATH).exists() {
        return Ok(PathBuf::from("."));
    }
    config.pgdata().map(Path::to_owned)
}
