//! What the calculation looks at: facts about backups and numbers of segments, and no more, so that a plan can leave some out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::TimelineOrigin;
use crate::catalog::age::{Age, oldest_first};
use crate::catalog::{Backup, BackupName, BackupState, ExternalArchive};
use crate::data_directory::RecoveryTarget;
use crate::postgres::{Lsn, SystemIdentifier, TimelineHistory, TimelineId, WalFileName, WalRange, WalSegmentSize};

/// What the calculation looks at.
#[derive(Debug, Clone)]
pub struct WindowInput {
    /// Segment size of the archive.
    pub segment_size: WalSegmentSize,
    /// The backups, in any order.
    pub backups: Vec<WindowBackup>,
    /// What is archived of each timeline.
    pub timelines: BTreeMap<TimelineId, TimelineWal>,
}

/// What is archived of one timeline.
#[derive(Debug, Clone)]
pub struct TimelineWal {
    /// Where it comes from.
    pub origin: TimelineOrigin,
    /// Numbers of its archived segments, sorted, each once.
    pub numbers: Vec<u64>,
}

/// What counts of a backup.
#[derive(Debug, Clone)]
pub struct WindowBackup {
    /// Its name.
    pub name: BackupName,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Where replay must begin.
    pub start: Lsn,
    /// Before this position a restore is not consistent.
    pub stop: Lsn,
    /// When it began.
    pub started_at: Timestamp,
    /// When backup mode had ended.
    pub finished_at: Timestamp,
    /// Segment size of the cluster at that time.
    pub segment_size: WalSegmentSize,
    /// Identifier of the cluster.
    pub system_identifier: SystemIdentifier,
    /// What it is good for.
    pub standing: Standing,
    /// Whether it keeps the WAL up to its own end for itself, so that nothing of the archive is needed to get there.
    pub keeps_wal: bool,
    /// Where its increments end: so far its WAL stays even if it stands alone.
    pub points: Vec<(TimelineId, Lsn)>,
}

/// What a backup is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Recovery can begin from it.
    Good,
    /// It can be restored to its own end and to its increments, and no further.
    Standalone,
    /// Its snapshots are not known to be ready.
    NotReady,
    /// Its snapshots can never be restored, and why.
    Failed(String),
    /// Its deletion has begun.
    Condemned,
    /// Its WAL is not in this archive, but there.
    External(String),
}

impl From<&Backup> for WindowBackup {
    fn from(backup: &Backup) -> Self {
        let sentinel = &backup.sentinel;
        let standing = match &backup.state {
            _ if backup.is_condemned => Standing::Condemned,
            BackupState::Failed(reason) => Standing::Failed(reason.clone()),
            _ if sentinel.external_archive.is_some() => {
                Standing::External(sentinel.external_archive.as_ref().map(ExternalArchive::describe).unwrap_or_default())
            }
            _ if backup.is_standalone => Standing::Standalone,
            BackupState::Cut => Standing::NotReady,
            BackupState::Ready => Standing::Good,
        };
        Self {
            name: sentinel.name.clone(),
            timeline: sentinel.timeline,
            start: sentinel.start_lsn,
            stop: sentinel.stop_lsn,
            started_at: sentinel.started_at,
            finished_at: sentinel.finished_at,
            segment_size: sentinel.segment_size,
            system_identifier: sentinel.system_identifier,
            standing,
            keeps_wal: sentinel.is_cold,
            points: backup.increments.iter().map(|increment| (increment.timeline, increment.to)).collect(),
        }
    }
}

impl WindowBackup {
    pub(crate) fn age(&self) -> Age<'_> {
        Age {
            cluster: self.system_identifier,
            timeline: self.timeline,
            span: (self.start, self.stop),
            began: self.started_at,
            name: &self.name,
        }
    }

    /// Whether a backup that stands alone is recovered as far as that: to its own end, or before the end of an increment.
    pub(crate) fn reaches_alone(&self, target: &RecoveryTarget) -> bool {
        match target {
            RecoveryTarget::Immediate => true,
            RecoveryTarget::Lsn(position) => self.points.iter().any(|(_, point)| position < point),
            RecoveryTarget::EndOfWal | RecoveryTarget::Time(_) | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => false,
        }
    }

    /// The segments without which it cannot be restored.
    #[must_use]
    pub fn wal_range(&self) -> WalRange {
        WalRange::of_backup(self.timeline, self.start, self.stop, self.segment_size)
    }
}

impl TimelineWal {
    /// Its segments among these files, numbered by this size.
    #[must_use]
    pub fn new(timeline: TimelineId, origin: TimelineOrigin, files: &[WalFileName], size: WalSegmentSize) -> Self {
        let own = files.iter().filter(|file| file.timeline() == timeline && matches!(file, WalFileName::Segment { .. }));
        let mut numbers: Vec<u64> = own.filter_map(|file| file.segment(size)).map(|segment| segment.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self { origin, numbers }
    }
}

impl WindowInput {
    /// The numbers of a timeline's archived segments.
    pub(crate) fn numbers(&self, timeline: TimelineId) -> &[u64] {
        self.timelines.get(&timeline).map_or(&[], |wal| &wal.numbers)
    }

    /// The way to a timeline, as PostgreSQL finds it: without a history a timeline has no ancestors. None where it would refuse.
    pub(crate) fn history(&self, timeline: TimelineId) -> Option<TimelineHistory> {
        match self.timelines.get(&timeline).map(|wal| &wal.origin) {
            Some(TimelineOrigin::Known(history)) => Some(history.clone()),
            // Whoever holds the key may follow it further; on the timeline itself nothing changes.
            Some(TimelineOrigin::First | TimelineOrigin::Missing | TimelineOrigin::Unreadable(_)) | None => {
                Some(TimelineHistory::root(timeline))
            }
            Some(TimelineOrigin::Damaged(_)) => None,
        }
    }

    /// The cluster that the newest backup is of: positions of another one say nothing about it. Times after `now` are believed last.
    pub(crate) fn cluster(&self, now: Timestamp) -> Option<SystemIdentifier> {
        let standing = self.backups.iter().filter(|backup| backup.standing != Standing::Condemned);
        oldest_first(standing, WindowBackup::age, now).last().map(|backup| backup.system_identifier)
    }
}
