//! Marks a backup as permanent, or as ordinary again.

use thiserror::Error;

use crate::catalog::{Backup, BackupName, CatalogError, Permanence};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;

/// Marks the backup; gives it as it is now. Marking it as what it is succeeds.
pub async fn backup_mark(ports: &Ports<'_>, name: &BackupName, permanence: Permanence) -> Result<Backup, MarkError> {
    let contents = ports.catalog().contents().await?;
    let Some(backup) = contents.find(name) else {
        // A record of that name that cannot be read says more than "there is none".
        let key = ports.catalog().sentinel_key(name);
        let unreadable = contents.unreadable.into_iter().find(|error| error.key() == Some(&key));
        return Err(unreadable.map_or_else(|| MarkError::NoSuchBackup(name.clone()), MarkError::Catalog));
    };
    if backup.is_condemned {
        return Err(MarkError::Condemned(name.clone()));
    }
    if backup.permanence != permanence {
        ports.catalog().mark(name, permanence, ports.clock.now()).await?;
        // A deletion that began meanwhile may have looked before the mark was there.
        if ports.catalog().is_condemned(name).await? {
            return Err(MarkError::Condemned(name.clone()));
        }
        // Or it may be over.
        if !ports.catalog().is_published(name).await? {
            return Err(MarkError::NoSuchBackup(name.clone()));
        }
    }
    Ok(Backup { permanence, ..backup.clone() })
}

/// Why a backup was not marked.
#[derive(Debug, Error)]
pub enum MarkError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is none.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// It is being deleted.
    #[error("the deletion of the backup `{0}` has begun")]
    Condemned(BackupName),
}

impl Classify for MarkError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::NoSuchBackup(_) | Self::Condemned(_) => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::NoSuchBackup(_) => Some("see the names with `stillframe backup-list`".to_owned()),
            Self::Condemned(_) => Some("its snapshot may be gone already; take a new backup".to_owned()),
        }
    }
}
