//! What keeps a backup whatever a rule says: a lock of its storage system, or a restore.
//!
//! What is locked would be refused by the storage system, after it had been condemned; what is restored may be refused as well, and
//! where it is not, the WAL that the restore is still to replay would go.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::{KeepReason, Reason, RemoveReason};
use crate::catalog::{Backup, BackupName, RestoreRecord};

/// Where a backup is restored, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePlace {
    /// The restored data directory.
    pub destination: PathBuf,
    /// Host on which it is.
    pub hostname: String,
    /// When the restore began.
    pub since: Timestamp,
}

impl fmt::Display for RestorePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "restored to `{}` on `{}` since {:.0}", self.destination.display(), self.hostname, self.since)
    }
}

/// What keeps backups at this moment.
pub(super) struct Holds {
    /// The oldest restore of each.
    restores: BTreeMap<BackupName, RestorePlace>,
    now: Timestamp,
}

impl Holds {
    pub(super) fn new(restores: Vec<RestoreRecord>, now: Timestamp) -> Self {
        let mut restores = restores;
        restores.sort_by_key(|record| record.begun_at);
        let mut oldest = BTreeMap::new();
        for RestoreRecord { backup, destination, hostname, begun_at, .. } in restores {
            oldest.entry(backup).or_insert(RestorePlace { destination, hostname, since: begun_at });
        }
        Self { restores: oldest, now }
    }

    pub(super) fn restore_of(&self, backup: &Backup) -> Option<&RestorePlace> {
        self.restores.get(&backup.sentinel.name)
    }

    /// The removal of an uncondemned backup, unless something keeps it.
    pub(super) fn remove(&self, backup: &Backup, reason: RemoveReason) -> Reason {
        let lock = backup.locked_until(self.now).map(KeepReason::Locked);
        let restore = || self.restore_of(backup).cloned().map(KeepReason::Restored);
        lock.or_else(restore).map_or(Reason::Remove(reason), Reason::Keep)
    }
}
