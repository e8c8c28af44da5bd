//! Proves one WAL file and archives it; several of them may be under way at once.

use std::path::Path;

use super::WalPushError;
use crate::catalog::PushOutcome;
use crate::flows::Ports;
use crate::postgres::{PgControl, SegmentHeader, SystemIdentifier, TimelineHistory, WalFileName};

/// Longest `.history` or `.backup` file that makes sense.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Archives the file at `path`; returns when it is durable.
pub(super) async fn archive_file(ports: &Ports<'_>, data_directory: &Path, path: &Path) -> Result<PushOutcome, WalPushError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: WalFileName = name.parse()?;
    let content = std::fs::read(path).map_err(|source| WalPushError::Read { path: path.to_owned(), source })?;
    check(name, &content, || identity(data_directory))?;
    Ok(ports.archive().push(name, &content).await?)
}

/// Refuses a file that is not what its name says, or is of another cluster.
fn check(
    name: WalFileName,
    content: &[u8],
    identity: impl FnOnce() -> Result<SystemIdentifier, WalPushError>,
) -> Result<(), WalPushError> {
    match name {
        WalFileName::Segment { .. } | WalFileName::Partial { .. } => {
            let header = SegmentHeader::prove(name, content).map_err(|source| WalPushError::Header { name, source })?;
            let ours = identity()?;
            if header.system_identifier != ours {
                return Err(WalPushError::ForeignCluster { name, found: header.system_identifier, ours });
            }
            Ok(())
        }
        WalFileName::History { timeline } => {
            let text = String::from_utf8_lossy(content);
            TimelineHistory::parse(timeline, &text).map_err(|source| WalPushError::History { name, source })?;
            Ok(())
        }
        WalFileName::BackupHistory { .. } if content.len() > MAX_TEXT_BYTES => Err(WalPushError::TooLong { name }),
        WalFileName::BackupHistory { .. } => Ok(()),
    }
}

/// Reads the system identifier. `pg_control` may be torn by a write at this very moment: then it is read again.
fn identity(data_directory: &Path) -> Result<SystemIdentifier, WalPushError> {
    const ATTEMPTS: usize = 5;
    let path = data_directory.join(PgControl::PATH);
    let mut attempt = 1;
    loop {
        let bytes = std::fs::read(&path).map_err(|source| WalPushError::Read { path: path.clone(), source })?;
        match PgControl::parse(&bytes) {
            Ok(control) => return Ok(control.system_identifier()),
            Err(source) if attempt == ATTEMPTS => return Err(WalPushError::Control { path, source }),
            Err(_) => attempt += 1,
        }
    }
}
