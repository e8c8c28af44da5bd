//! Why a deletion stopped.

use thiserror::Error;

use crate::catalog::{ArchiveError, BackupName, CatalogError, LeaseError};
use crate::error::{Classify, ErrorClass};
use crate::provider::ProviderError;
use crate::retention::PlanError;

/// Why a deletion stopped.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// The rule cannot be applied.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What would go now is not what was shown.
    #[error("what would be deleted has changed since the plan was made, and nothing was deleted")]
    PlanChanged,
    /// The catalog failed, or holds what cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Others delete, or the lease was lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The storage system is still at it.
    #[error("the storage system still deletes what the interrupted backup `{0}` had cut")]
    StillDeleting(BackupName),
    /// Its time is over, by this clock, and its process runs.
    #[error("the process that takes the backup `{0}` still runs, though its time is over by the clock of this host")]
    StillRunning(BackupName),
    /// Some of it could not be deleted.
    #[error("{failed} of {total} deletions failed")]
    Partly {
        /// How many failed.
        failed: usize,
        /// How many were to go.
        total: usize,
        /// The first failure.
        #[source]
        first: Box<DeleteError>,
    },
}

impl Classify for DeleteError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Plan(error) => error.class(),
            Self::Catalog(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::Provider(error) => error.class(),
            Self::PlanChanged | Self::StillDeleting(_) | Self::StillRunning(_) => ErrorClass::Transient,
            Self::Partly { first, .. } => first.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Provider(error) => error.hint(),
            Self::PlanChanged => Some("look at the new plan: the same command without `--confirm`".to_owned()),
            Self::StillRunning(_) => Some("wait for its end, or end it; and look at the clock of this host".to_owned()),
            Self::StillDeleting(_) => Some("run it again later".to_owned()),
            Self::Partly { first, .. } => {
                let advice = first.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                Some(format!("what could not be deleted is tried again by the next run{advice}"))
            }
        }
    }
}
