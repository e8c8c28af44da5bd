//! Reads one file from the archive, proves it and gives it its name.

use std::path::Path;

use super::{WalFetchError, WalFetched};
use crate::catalog::ArchiveError;
use crate::files::{FileError, Unfinished};
use crate::flows::Ports;
use crate::postgres::WalFileName;

/// Mode of the restored file, as PostgreSQL makes its own.
const FILE_MODE: u32 = 0o600;

/// Writes the archived file to `destination`, as a whole or not at all.
///
/// Not flushed: PostgreSQL removes what lies at `%p` before each restore command, so that a crash leaves nothing which anybody
/// reads, and what it keeps of it, it flushes itself. Replay of a busy server's WAL would wait for the disk at each segment.
pub(super) async fn restore_file(ports: &Ports<'_>, name: WalFileName, destination: &Path) -> Result<WalFetched, WalFetchError> {
    let failed = |source| WalFetchError::Write { destination: destination.to_owned(), source };
    let Some(object) = ports.archive().find(name).await? else { return Ok(WalFetched::Absent) };
    let file = Unfinished::beside(destination, FILE_MODE).map_err(failed)?;
    let (restored, file) = object.write_to(file).await.map_err(|error| match error {
        ArchiveError::Sink { source, .. } => failed(FileError::new("write", destination, source)),
        error => error.into(),
    })?;
    // What the archive proves to be what was pushed may still be what somebody else pushed by hand.
    if let WalFileName::Segment { .. } | WalFileName::Partial { .. } = name {
        restored.prove_segment().map_err(|source| WalFetchError::Header { name, source })?;
    }
    file.finish().map_err(failed)?;
    Ok(WalFetched::Restored(restored.size_bytes))
}
