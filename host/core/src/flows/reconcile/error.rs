//! Why catalog and storage could not be reconciled.

use thiserror::Error;

use crate::catalog::{BackupName, CatalogError, LeaseError};
use crate::error::{Classify, ErrorClass};
use crate::flows::DeleteError;
use crate::provider::{ProviderError, ProviderName};

/// Why catalog and storage could not be reconciled, or not as a whole.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Others delete, or the lease was lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A deletion failed.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// A provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The storage says otherwise than a moment ago.
    #[error("the snapshot of `{name}` with the provider `{provider}` is not ready any more")]
    NotReady {
        /// The backup.
        name: BackupName,
        /// The provider.
        provider: ProviderName,
    },
    /// Backups that are listed cannot be restored.
    #[error("snapshots of {count} listed backups are gone or damaged")]
    Lost {
        /// How many backups.
        count: usize,
    },
    /// Records cannot be read.
    #[error("not everything could be judged: the record `{record}` cannot be read")]
    Unreadable {
        /// The first of them.
        record: String,
    },
    /// Providers did not answer.
    #[error("not everything could be judged: {count} of the providers did not answer")]
    Unknown {
        /// How many.
        count: usize,
        /// What the first one said.
        #[source]
        source: ProviderError,
    },
    /// Some of it failed.
    #[error("{failed} of {total} actions failed")]
    Partly {
        /// How many failed.
        failed: usize,
        /// How many were to be done.
        total: usize,
        /// The first failure.
        #[source]
        first: Box<ReconcileError>,
    },
}

impl ReconcileError {
    /// Whether somebody else may be at it.
    pub(super) fn is_lost_lease(&self) -> bool {
        matches!(self, Self::Lease(_) | Self::Delete(DeleteError::Lease(_)))
    }
}

impl Classify for ReconcileError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Delete(error) => error.class(),
            Self::Provider(error) | Self::Unknown { source: error, .. } => error.class(),
            Self::NotReady { .. } => ErrorClass::Transient,
            Self::Lost { .. } => ErrorClass::Refused,
            Self::Unreadable { .. } => ErrorClass::Corrupt,
            Self::Partly { first, .. } => first.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            Self::Delete(error) => error.hint(),
            Self::Provider(error) => error.hint(),
            Self::NotReady { .. } => Some("run it again".to_owned()),
            Self::Lost { .. } => {
                Some("they cannot be restored; take a new backup, then delete each with `stillframe delete target`".to_owned())
            }
            Self::Unreadable { .. } => Some("restore it from a copy of the store, and run it again".to_owned()),
            Self::Unknown { source, .. } => {
                Some(source.hint().unwrap_or_else(|| "run it again when they answer; nothing of theirs was touched".to_owned()))
            }
            Self::Partly { first, .. } => {
                let advice = first.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                Some(format!("run it again: what is done is not done twice{advice}"))
            }
        }
    }
}
