//! Chooses the backup: the one that is named, or the newest from which the target can be reached.
//!
//! A target is reachable only from a backup that had STOPPED before it, on the way to the timeline that is followed: a backup
//! that merely started before it is not consistent there yet. One whose snapshots failed is passed over unless it is named, and one
//! whose snapshots are not ready when nobody named any.

use jiff::Timestamp;

use super::FetchError;
use crate::catalog::{Backup, BackupName, BackupState, CatalogContents, WalArchive, WalGName};
use crate::data_directory::{RecoverySettings, RecoveryTarget, TargetTimeline};
use crate::postgres::{TimelineHistory, TimelineId};

/// Which backup the operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupSelector {
    /// The newest from which the target can be reached.
    Automatic,
    /// The newest of all.
    Latest,
    /// This one.
    Named(BackupName),
    /// One that is not ours to restore.
    WalG(WalGName),
}

/// Chooses, or says why none will do.
pub(super) async fn choose(
    archive: &WalArchive<'_>,
    contents: &CatalogContents,
    selector: &BackupSelector,
    recovery: &RecoverySettings,
    now: Timestamp,
) -> Result<Backup, FetchError> {
    if let RecoveryTarget::Time(moment) = recovery.target
        && moment > now
    {
        return Err(FetchError::Future { target: moment, now });
    }
    let mut usable: Vec<&Backup> = contents.backups.iter().filter(|backup| !backup.is_condemned).collect();
    usable.sort_by_key(|backup| (backup.sentinel.started_at, backup.sentinel.name.clone()));
    // What a cluster left that was here before (`pg_upgrade`, `initdb`) is restored by name only.
    if let Some(newest) = usable.last().map(|backup| backup.sentinel.system_identifier) {
        usable.retain(|backup| backup.sentinel.system_identifier == newest);
    }
    usable.retain(|backup| !backup.has_failed());
    match selector {
        BackupSelector::WalG(name) => Err(FetchError::OfWalG(name.clone())),
        BackupSelector::Named(name) => {
            let backup = contents.find(name).ok_or_else(|| no_such_backup(contents, name))?;
            if backup.is_condemned {
                return Err(FetchError::Condemned(name.clone()));
            }
            prove_reachable(archive, backup, recovery).await?;
            Ok(backup.clone())
        }
        BackupSelector::Latest => {
            let backup = usable.last().ok_or(FetchError::NoBackups)?;
            prove_reachable(archive, backup, recovery).await?;
            Ok((*backup).clone())
        }
        BackupSelector::Automatic => {
            let (ready, others): (Vec<&Backup>, _) = usable.into_iter().partition(|backup| backup.state == BackupState::Ready);
            for backup in others {
                tracing::warn!(backup = %backup.sentinel.name, "passed over: its snapshots are not known to be ready");
            }
            newest_reachable(archive, &ready, recovery).await
        }
    }
}

/// A sentinel that cannot be read says more than "there is no such backup".
fn no_such_backup(contents: &CatalogContents, name: &BackupName) -> FetchError {
    let unreadable = contents.unreadable.iter().find(|error| error.key().is_some_and(|key| key.as_str().contains(name.as_str())));
    match unreadable {
        Some(error) => FetchError::Unreadable { name: name.clone(), reason: error.to_string() },
        None => FetchError::NoSuchBackup(name.clone()),
    }
}

async fn newest_reachable(archive: &WalArchive<'_>, usable: &[&Backup], recovery: &RecoverySettings) -> Result<Backup, FetchError> {
    // Where a transaction or a restore point lies in the WAL is not known: from a backup after it, recovery would run past it.
    let is_unknown = matches!(recovery.target, RecoveryTarget::Xid(_) | RecoveryTarget::Name(_));
    if is_unknown && usable.len() > 1 {
        return Err(FetchError::Ambiguous { backups: usable.len() });
    }
    let mut refusal = FetchError::NoBackups;
    for backup in usable.iter().rev() {
        match prove_reachable(archive, backup, recovery).await {
            Ok(()) => return Ok((*backup).clone()),
            // It had not stopped before the target: an older one may have.
            Err(error @ FetchError::Unreachable { .. }) => refusal = error,
            // Only who names the timeline means to go back to before it left.
            Err(error @ FetchError::OtherTimeline { .. }) if is_named(recovery.timeline) => refusal = error,
            Err(error) => return Err(error),
        }
    }
    Err(refusal)
}

fn is_named(timeline: TargetTimeline) -> bool {
    matches!(timeline, TargetTimeline::Number(_))
}

/// Proves what can be proven: that the backup had stopped before the target, on the way to the timeline.
async fn prove_reachable(archive: &WalArchive<'_>, backup: &Backup, recovery: &RecoverySettings) -> Result<(), FetchError> {
    let sentinel = &backup.sentinel;
    let unreachable = |reason: String| FetchError::Unreachable { name: sentinel.name.clone(), reason };
    match recovery.target {
        RecoveryTarget::Time(moment) if moment < sentinel.finished_at => {
            return Err(unreachable(format!("it finished at {}, after the target {moment}", sentinel.finished_at)));
        }
        RecoveryTarget::Lsn(position) if position < sentinel.stop_lsn => {
            return Err(unreachable(format!("it stopped at {}, after the target {position}", sentinel.stop_lsn)));
        }
        _ => {}
    }
    let path = followed_path(archive, sentinel.timeline, recovery.timeline).await?;
    if !path.contains(sentinel.timeline, sentinel.stop_lsn) {
        return Err(FetchError::OtherTimeline {
            name: sentinel.name.clone(),
            own: sentinel.timeline,
            followed: path.timeline(),
            stop: sentinel.stop_lsn,
        });
    }
    if path.timeline() != sentinel.timeline && !is_named(recovery.timeline) {
        tracing::warn!(
            backup_timeline = %sentinel.timeline,
            followed_timeline = %path.timeline(),
            "recovery follows the newest timeline in the archive; if a copy of this cluster made it, use --target-timeline current"
        );
    }
    Ok(())
}

/// The timelines that recovery would go through, as PostgreSQL finds them.
async fn followed_path(
    archive: &WalArchive<'_>,
    backup_timeline: TimelineId,
    target: TargetTimeline,
) -> Result<TimelineHistory, FetchError> {
    let timeline = match target {
        TargetTimeline::Current => return Ok(TimelineHistory::root(backup_timeline)),
        TargetTimeline::Number(timeline) => timeline,
        TargetTimeline::Latest => {
            // From the backup's timeline on, as long as there is a history for the next number.
            let mut newest = backup_timeline;
            while archive.history(newest.next()).await?.is_some() {
                newest = newest.next();
            }
            newest
        }
    };
    if timeline == backup_timeline {
        return Ok(TimelineHistory::root(timeline));
    }
    archive.history(timeline).await?.ok_or(FetchError::NoSuchTimeline(timeline))
}
