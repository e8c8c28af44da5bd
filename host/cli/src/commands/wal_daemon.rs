//! `wal-daemon`: archives and restores for clients at a socket, until it is told to end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::common::{Common, NoResult};
use crate::daemon::{ConfigurationId, Limits, WalService, serve};
use crate::exit::Failure;
use crate::wiring::{World, termination};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    no_result: NoResult,
    /// Where clients connect to; readable for the user who runs it only
    socket: PathBuf,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    let configuration = ConfigurationId::of_process(common.config.as_deref()).ok();
    let world = World::open(common).await?;
    let data_directory = world.config.pgdata()?.to_owned();
    let service = Arc::new(WalService::new(world, data_directory, configuration));
    serve(&options.socket, service, Limits::default(), termination()).await?;
    Ok(ExitCode::SUCCESS)
}
