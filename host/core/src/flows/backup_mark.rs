//! Marks a backup as permanent, or as ordinary again.
//!
//! A permanent one keeps its own WAL only. Where WAL behind it went meanwhile, it stands alone when it is ordinary again: a recovery
//! beyond its end is not promised that nobody can keep, and nobody is alarmed for WAL that was given up.

use thiserror::Error;

use crate::catalog::{ArchiveError, Backup, BackupName, CatalogContents, CatalogError, Permanence};
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::flows::archive_map::{self, MapError};
use crate::flows::snapshot_fetch::MissingFiles;
use crate::window::{LineEnd, Question, WantedBackup, can_restore};

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
    let mut is_standalone = backup.is_standalone;
    if backup.permanence != permanence {
        if permanence == Permanence::Ordinary && !is_standalone && has_given_up_wal(ports, &contents, backup).await? {
            // Before the mark: never is it the base of a recovery that ends in a gap.
            ports.catalog().make_standalone(name, ports.clock.now()).await?;
            is_standalone = true;
        }
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
    Ok(Backup { permanence, is_standalone, ..backup.clone() })
}

/// Whether WAL that a recovery beyond its end would need is not in the archive, though later WAL is.
async fn has_given_up_wal(ports: &Ports<'_>, contents: &CatalogContents, backup: &Backup) -> Result<bool, MarkError> {
    let (name, size) = (&backup.sentinel.name, backup.sentinel.segment_size);
    let files = ports.archive().list().await?;
    let input = archive_map::window_input(ports, contents, &files, size).await?;
    let question = Question {
        target: &RecoveryTarget::EndOfWal,
        timeline: TargetTimeline::Current,
        backup: WantedBackup::Named(name),
        now: ports.clock.now(),
    };
    // What no recovery begins from is no base in any case.
    let Ok(route) = can_restore(&input, &question) else { return Ok(false) };
    let LineEnd::Missing(missing) = &route.ends_because else { return Ok(false) };
    let missing = MissingFiles::new(missing, size);
    tracing::warn!(backup = %name, "it stands alone from now on: WAL behind it was given up while it was permanent: {missing}");
    Ok(true)
}

/// Why a backup was not marked.
#[derive(Debug, Error)]
pub enum MarkError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is none.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// It is being deleted.
    #[error("the deletion of the backup `{0}` has begun")]
    Condemned(BackupName),
}

impl From<MapError> for MarkError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Catalog(error) => Self::Catalog(error),
            MapError::Archive(error) => Self::Archive(error),
        }
    }
}

impl Classify for MarkError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::NoSuchBackup(_) | Self::Condemned(_) => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::NoSuchBackup(_) => Some("see the names with `stillframe backup-list`".to_owned()),
            Self::Condemned(_) => Some("its snapshot may be gone already; take a new backup".to_owned()),
        }
    }
}
