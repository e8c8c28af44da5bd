//! The name of a backup that is ours or WAL-G's: where either is shown and only ours may be changed.

use thiserror::Error;

use crate::catalog::{BackupName, WalGName};
use crate::error::{Classify, ErrorClass};

/// The name of a backup, ours or WAL-G's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyBackupName {
    /// A snapshot of ours.
    Snapshot(BackupName),
    /// A base backup of WAL-G.
    WalG(WalGName),
}

impl AnyBackupName {
    /// Gives the name of a backup of ours; `walg_command` is what does the same to one of WAL-G's.
    pub fn ours(&self, walg_command: &'static str) -> Result<&BackupName, OfWalG> {
        match self {
            Self::Snapshot(name) => Ok(name),
            Self::WalG(name) => Err(OfWalG { name: name.clone(), walg_command }),
        }
    }
}

/// A backup that is not ours to change.
#[derive(Debug, Error)]
#[error("`{name}` is a base backup of WAL-G, which Stillframe lists and protects but does not change")]
pub struct OfWalG {
    name: WalGName,
    walg_command: &'static str,
}

impl Classify for OfWalG {
    fn class(&self) -> ErrorClass {
        ErrorClass::Refused
    }

    fn hint(&self) -> Option<String> {
        Some(format!("WAL-G does it: `wal-g {} {}`", self.walg_command, self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_of_walg_is_refused_by_name_and_the_hint_says_who_changes_it() {
        let ours: BackupName = "sf-20261121T083214Z-9k3m2p7x".parse().unwrap();
        assert_eq!(AnyBackupName::Snapshot(ours.clone()).ours("delete target").unwrap(), &ours);
        let text = "base_000000010000000200000003_D_000000010000000200000001";
        let error = AnyBackupName::WalG(text.parse().unwrap()).ours("delete target").unwrap_err();
        assert!(error.to_string().contains(text) && error.to_string().contains("protects"), "{error}");
        assert_eq!(
            (error.class(), error.hint()),
            (ErrorClass::Refused, Some(format!("WAL-G does it: `wal-g delete target {text}`")))
        );
    }
}
