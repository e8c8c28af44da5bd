//! `wal-prefetch`: fetches the next segments into the spool. `wal-fetch` starts it; nobody else has to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use stillframe_core::flows::{PrefetchRequest, wal_prefetch};
use stillframe_core::postgres::{WalFileName, WalSegmentSize};

use crate::commands::wal_push::terminated;
use crate::common::Common;
use crate::exit::Failure;
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    /// The segment that the server has
    served: WalFileName,
    /// Size of a segment in bytes
    #[arg(value_parser = segment_size)]
    segment_size: WalSegmentSize,
    /// Where the server wants its segments
    destination: PathBuf,
}

/// Fetches until nobody takes what is there.
pub async fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    // Out of the session and the process group of the server, which signals all of it when it ends.
    let _leader_already = rustix::process::setsid();
    let world = World::open(common).await?;
    let request =
        PrefetchRequest { served: options.served, segment_size: options.segment_size, destination: options.destination.clone() };
    wal_prefetch(&world.ports(), &world.ahead(), &request, terminated()).await;
    Ok(ExitCode::SUCCESS)
}

fn segment_size(text: &str) -> Result<WalSegmentSize, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("`{text}` is no number of bytes"))?;
    WalSegmentSize::try_from(bytes).map_err(|error| error.to_string())
}
