//! What a cold backup keeps for itself: no archive has it, so it is looked for where it lies.

use super::{Depth, VerifyError};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::archive_map::ArchiveMap;
use crate::flows::snapshot_fetch::cold::{KeptWalError, read_kept};
use crate::flows::{Ports, archive_map::MapError};

/// What was found of WAL that is not in the archive: a backup keeps it for itself, or another tool does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptState {
    /// It is there; it was not read.
    Present,
    /// It was read, and is what it must be.
    Proven,
    /// It is gone.
    Missing,
    /// It is something else than what was kept.
    Damaged(String),
    /// It could not be read for want of a key.
    NotVerified(String),
}

impl KeptState {
    /// Whether nothing of it is known to be missing or damaged.
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Present | Self::Proven | Self::NotVerified(_))
    }
}

/// Looks at it; none of a backup whose WAL is in the archive.
pub(super) async fn look(ports: &Ports<'_>, map: &ArchiveMap, name: &str, depth: Depth) -> Result<Option<KeptState>, VerifyError> {
    let found = map.contents.backups.iter().find(|backup| backup.sentinel.is_cold && backup.sentinel.name.as_str() == name);
    let Some(backup) = found else { return Ok(None) };
    if depth == Depth::Names {
        let is_there = ports.catalog().keeps_wal(&backup.sentinel.name).await.map_err(MapError::from)?;
        return Ok(Some(if is_there { KeptState::Present } else { KeptState::Missing }));
    }
    let state = match read_kept(ports, &backup.sentinel).await {
        Ok(_) => KeptState::Proven,
        Err(KeptWalError::Missing { .. }) => KeptState::Missing,
        Err(error) if error.class() == ErrorClass::Config => KeptState::NotVerified(chain(&error)),
        Err(error) if error.class() == ErrorClass::Corrupt => KeptState::Damaged(chain(&error)),
        Err(KeptWalError::Archive(error)) => return Err(MapError::from(error).into()),
        Err(error @ KeptWalError::NotIt { .. }) => KeptState::Damaged(chain(&error)),
    };
    Ok(Some(state))
}
