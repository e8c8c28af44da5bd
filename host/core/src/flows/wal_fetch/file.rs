//! Reads one file from the archive, proves it and gives it its name.

use std::path::Path;

use super::{WalFetchError, WalFetched};
use crate::files;
use crate::flows::Ports;
use crate::postgres::{SegmentHeader, WalFileName};

/// Mode of the restored file, as PostgreSQL makes its own.
const FILE_MODE: u32 = 0o600;

/// Writes the archived file to `destination`, as a whole or not at all.
pub(super) async fn restore_file(ports: &Ports<'_>, name: WalFileName, destination: &Path) -> Result<WalFetched, WalFetchError> {
    let Some(content) = ports.archive().fetch(name).await? else { return Ok(WalFetched::Absent) };
    // What the archive proves to be what was pushed may still be what somebody else pushed by hand.
    if let WalFileName::Segment { .. } = name {
        SegmentHeader::prove(name, &content).map_err(|source| WalFetchError::Header { name, source })?;
    }
    files::write_atomically(destination, &content, FILE_MODE)
        .map_err(|source| WalFetchError::Write { destination: destination.to_owned(), source })?;
    Ok(WalFetched::Restored(content.len() as u64))
}
