//! Locks a backup in the storage system, or lifts the lock: nobody deletes its snapshots before the lock ends.
//!
//! The storage systems come first, and what was locked is recorded then: a record without a lock would promise what is not so, and a
//! lock without a record is still met by every deletion, which gives way to it. Under the lease, so that no deletion is at it.

use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::catalog::{Backup, BackupLock, BackupName, BackupSet, CatalogError, LeaseError, LeaseRequest};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::provider::{LockMode, Provider, ProviderError, ProviderFault, ProviderName};

/// What to do with the lock of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockAction {
    /// Lock it, or prolong its lock.
    Lock(BackupLock),
    /// Lift the lock.
    Release,
}

/// Locks or unlocks all sets of a backup; gives it as it is now. Repeating it finishes what an interruption left.
pub async fn backup_lock(
    ports: &Ports<'_>,
    name: &BackupName,
    action: LockAction,
    request: &LeaseRequest,
) -> Result<Backup, LockError> {
    let lease = ports.lease(request).await?;
    let changed = lease.during(change(ports, name, action)).await;
    lease.release().await;
    changed?
}

async fn change(ports: &Ports<'_>, name: &BackupName, action: LockAction) -> Result<Backup, LockError> {
    let now = ports.clock.now();
    let contents = ports.catalog().contents().await?;
    let Some(backup) = contents.find(name) else {
        let key = ports.catalog().sentinel_key(name);
        let unreadable = contents.unreadable.into_iter().find(|error| error.key() == Some(&key));
        return Err(unreadable.map_or_else(|| LockError::NoSuchBackup(name.clone()), LockError::Catalog));
    };
    if backup.is_condemned {
        return Err(LockError::Condemned(name.clone()));
    }
    check(backup, action, now)?;
    if backup.sentinel.outside.is_some() {
        return Err(LockError::Outside(name.clone()));
    }
    // Every provider is asked whether it can before the first one does: a backup that is locked in part is deleted in part.
    let mut sets: Vec<(Arc<dyn Provider>, &BackupSet)> = Vec::with_capacity(backup.sentinel.sets.len());
    for set in &backup.sentinel.sets {
        let provider = ports.providers.open(&set.provider).await?;
        if !provider.describe().await?.features.lock {
            return Err(LockError::CannotLock { provider: set.provider.clone() });
        }
        sets.push((provider, set));
    }
    // A deletion begins with the first set: it is the first to be locked and the last to be unlocked, so that an interruption leaves
    // all of the backup locked, or none of it.
    if action == LockAction::Release {
        sets.reverse();
    }
    for (provider, set) in sets {
        let handle = &set.snapshot.handle;
        match action {
            LockAction::Lock(lock) => provider.lock(handle, lock.mode, lock.until).await?,
            LockAction::Release => match provider.unlock(handle).await {
                Err(ProviderError { fault: ProviderFault::Locked { until }, .. }) => {
                    return Err(LockError::Kept { name: name.clone(), until });
                }
                unlocked => unlocked?,
            },
        }
    }
    let lock = match action {
        LockAction::Lock(lock) => {
            ports.catalog().record_lock(name, lock, now).await?;
            Some(lock)
        }
        LockAction::Release => {
            ports.catalog().remove_lock(name).await?;
            None
        }
    };
    Ok(Backup { lock, ..backup.clone() })
}

/// Refuses what no storage system would do, before one has done a part of it.
fn check(backup: &Backup, action: LockAction, now: Timestamp) -> Result<(), LockError> {
    let name = &backup.sentinel.name;
    match (action, backup.lock.filter(|old| old.until > now)) {
        (LockAction::Lock(lock), _) if lock.until <= now => Err(LockError::Past { until: lock.until, now }),
        (LockAction::Lock(lock), Some(old)) if lock.until < old.until => {
            Err(LockError::Earlier { name: name.clone(), until: old.until })
        }
        (LockAction::Lock(BackupLock { mode: LockMode::Governance, .. }) | LockAction::Release, Some(old))
            if old.mode == LockMode::Compliance =>
        {
            Err(LockError::Kept { name: name.clone(), until: old.until })
        }
        _ => Ok(()),
    }
}

/// Why a lock was not changed.
#[derive(Debug, Error)]
pub enum LockError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Others delete, or the lease was lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// There is none.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// It is being deleted.
    #[error("the deletion of the backup `{0}` has begun")]
    Condemned(BackupName),
    /// A provider has no locks.
    #[error("the provider `{provider}` cannot lock snapshots")]
    CannotLock {
        /// The provider.
        provider: ProviderName,
    },
    /// An outside tool made the copy.
    #[error("the copy of the backup `{0}` was made by an outside tool, and is not ours to lock")]
    Outside(BackupName),
    /// The end of the lock is over.
    #[error("a lock until {until} has ended: it is {now}")]
    Past {
        /// The end.
        until: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// A lock is prolonged, not shortened.
    #[error("the backup `{name}` is locked until {until} already")]
    Earlier {
        /// The backup.
        name: BackupName,
        /// The end of its lock.
        until: Timestamp,
    },
    /// Nobody may lift it.
    #[error("the lock of the backup `{name}` cannot be lifted before {until}")]
    Kept {
        /// The backup.
        name: BackupName,
        /// The end of its lock.
        until: Timestamp,
    },
}

impl Classify for LockError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Provider(error) => error.class(),
            Self::Past { .. } => ErrorClass::Usage,
            Self::NoSuchBackup(_)
            | Self::Condemned(_)
            | Self::CannotLock { .. }
            | Self::Outside(_)
            | Self::Earlier { .. }
            | Self::Kept { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::Catalog(error) => return error.hint(),
            Self::Lease(error) => return error.hint(),
            Self::Provider(error) => return error.hint(),
            Self::NoSuchBackup(_) => "see the names with `stillframe backup-list`",
            Self::Condemned(_) => "its snapshot may be gone already; take a new backup",
            Self::Outside(_) => "lock it with that tool, and mark the backup as permanent: `stillframe backup-mark`",
            Self::CannotLock { .. } => "mark it as permanent, which keeps our own rules from deleting it: `stillframe backup-mark`",
            Self::Past { .. } => "give a moment that is still to come",
            Self::Earlier { .. } => "a later moment prolongs it; to shorten it, release it first",
            Self::Kept { .. } => "it is a lock of compliance: nobody lifts it",
        };
        Some(advice.to_owned())
    }
}
