//! `wal-prefetch`: fetches the next segments into the spool. `wal-fetch` starts it; nobody else has to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use stillframe_core::flows::{PrefetchRequest, wal_prefetch};
use stillframe_core::postgres::{WalFileName, WalSegmentSize};

use crate::common::{Common, NoResult};
use crate::exit::Failure;
use crate::wiring::{World, termination};

/// How often it looks whether the server still runs. Nobody unmounts its directory quicker.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    no_result: NoResult,
    /// The segment that the server has
    served: WalFileName,
    /// Size of a segment in bytes
    #[arg(value_parser = segment_size)]
    segment_size: WalSegmentSize,
    /// Where the server wants its segments
    destination: PathBuf,
}

/// Fetches until nobody takes what is there, or the server has ended.
pub async fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    // Out of the session and the process group of the server, which signals all of it when it ends.
    let _leader_already = rustix::process::setsid();
    let gone = server_gone(&options.destination);
    let world = World::open(common).await?;
    let request =
        PrefetchRequest { served: options.served, segment_size: options.segment_size, destination: options.destination.clone() };
    let stop = async {
        tokio::select! {
            () = termination() => {}
            () = gone => {}
        }
    };
    wal_prefetch(&world.ports(), &world.ahead(), &request, stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Waits until the server that recovers to this destination has removed its lock file; for ever when it has none now.
fn server_gone(destination: &Path) -> impl Future<Output = ()> {
    let lock_file = lock_file(destination).filter(|path| path.exists());
    async move {
        let Some(lock_file) = lock_file else { return std::future::pending().await };
        while lock_file.exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The lock file of the server that recovers to this destination, in its data directory.
pub(super) fn lock_file(destination: &Path) -> Option<PathBuf> {
    destination.parent().and_then(Path::parent).map(|data_directory| data_directory.join("postmaster.pid"))
}

fn segment_size(text: &str) -> Result<WalSegmentSize, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("`{text}` is no number of bytes"))?;
    WalSegmentSize::try_from(bytes).map_err(|error| error.to_string())
}
