//! Why the catalog could not be read or written.

use thiserror::Error;

use super::BackupName;
use crate::error::{Classify, ErrorClass};
use crate::store::{Key, StoreError};

/// A failed operation on the catalog.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is cut off or is not what its key says.
    #[error("the catalog record `{key}` is damaged")]
    Malformed {
        /// Its key.
        key: Key,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A record whose values contradict each other or its key.
    #[error("the catalog record `{key}` is damaged: {reason}")]
    Inconsistent {
        /// Its key.
        key: Key,
        /// The contradiction.
        reason: String,
    },
    /// A record of another version of Stillframe.
    #[error("the catalog record `{key}` has format version {found}, and this version of Stillframe knows {newest}")]
    UnknownVersion {
        /// Its key.
        key: Key,
        /// Its version.
        found: u32,
        /// The newest that is known.
        newest: u32,
    },
    /// An object that nobody of this version put there.
    #[error("the catalog holds an unknown object `{key}`")]
    Unknown {
        /// Its key.
        key: Key,
    },
    /// An object among WAL-G's base backups that cannot be understood.
    #[error("the record `{key}` of WAL-G cannot be understood: {reason}")]
    WalG {
        /// Its key.
        key: Key,
        /// What is wrong with it.
        reason: String,
    },
    /// Two backups with one name.
    #[error("a backup named `{name}` exists already")]
    NameTaken {
        /// The name.
        name: BackupName,
    },
    /// Somebody took the backup for abandoned and settled it.
    #[error("the backup `{name}` was given up by somebody who deleted what interrupted runs had left")]
    GivenUp {
        /// The backup.
        name: BackupName,
    },
    /// The store has said that it holds the sentinel, and gives back something else, or nothing.
    #[error("the store acknowledged the sentinel of `{name}` and does not give it back")]
    NotKept {
        /// The backup.
        name: BackupName,
    },
    /// The same of the WAL that a backup keeps for itself.
    #[error("the store acknowledged the WAL that `{name}` keeps and does not give it back")]
    WalNotKept {
        /// The backup.
        name: BackupName,
    },
    /// The sentinel may or may not have been written.
    #[error("it is not known whether the sentinel of `{name}` was written")]
    PublicationUnknown {
        /// The backup.
        name: BackupName,
        /// What the store said to the write.
        #[source]
        source: StoreError,
    },
}

impl CatalogError {
    /// The record that is at fault, where one is.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Malformed { key, .. }
            | Self::Inconsistent { key, .. }
            | Self::UnknownVersion { key, .. }
            | Self::Unknown { key }
            | Self::WalG { key, .. } => Some(key),
            Self::Store(_)
            | Self::NameTaken { .. }
            | Self::GivenUp { .. }
            | Self::NotKept { .. }
            | Self::WalNotKept { .. }
            | Self::PublicationUnknown { .. } => None,
        }
    }
}

impl Classify for CatalogError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Malformed { .. }
            | Self::Inconsistent { .. }
            | Self::NotKept { .. }
            | Self::WalNotKept { .. }
            | Self::Unknown { .. }
            | Self::WalG { .. } => ErrorClass::Corrupt,
            Self::UnknownVersion { .. } => ErrorClass::Config,
            Self::NameTaken { .. } => ErrorClass::Refused,
            Self::GivenUp { .. } | Self::PublicationUnknown { .. } => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Malformed { key, .. } | Self::Inconsistent { key, .. } => Some(format!(
                "restore `{key}` from a copy of the store; until then nothing is deleted, and the other backups can be restored by name"
            )),
            Self::UnknownVersion { .. } => Some("use the version of Stillframe that wrote it, or a newer one".to_owned()),
            Self::Unknown { key } => {
                Some(format!("move `{key}` elsewhere if it does not belong there; until then nothing is deleted"))
            }
            Self::WalG { key, .. } => {
                Some(format!("repair `{key}`, or delete that backup with WAL-G; until then no WAL is deleted"))
            }
            Self::NameTaken { .. } => Some("run it again: the next name is another one".to_owned()),
            Self::GivenUp { .. } => Some("run it again, and compare the clocks of the hosts".to_owned()),
            Self::NotKept { .. } => Some(
                "look at the store with `stillframe check`; the snapshot and its intent were left in place, and `stillframe reconcile` \
                 finishes the backup once the store keeps what it is given"
                    .to_owned(),
            ),
            Self::WalNotKept { .. } => Some("look at the store with `stillframe check`".to_owned()),
            Self::PublicationUnknown { .. } => Some(
                "see with `stillframe backup-list` whether it is there; its snapshot and its intent were left in place".to_owned(),
            ),
        }
    }
}
