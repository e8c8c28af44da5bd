//! Which archived WAL the base backups of WAL-G need.
//!
//! WAL-G's records do not tell the segment size, so that places are compared as the file names spell them, and where sizes are
//! possible the one that keeps most counts. Whatever is unknown widens what is kept: without an end, everything since the start;
//! without a position, every timeline that ever left this one.

use super::{Ancestry, WalReason};
use crate::catalog::{Permanence, WalGBackup, WalGName};
use crate::postgres::{Lsn, TimelineId, WalFileName, WalSegment, WalSegmentSize};

/// The middle and the last part of a segment's file name, as one number.
type Place = u64;

/// What one of WAL-G's backups needs.
pub(super) struct WalGNeed {
    /// The backup.
    pub(super) name: WalGName,
    /// The first place of its own segments.
    first: Place,
    /// The last place of its own segments; none when it is not known.
    last: Option<Place>,
    beyond: Beyond,
}

/// What it needs beyond its own segments.
enum Beyond {
    /// Nothing: permanent backups are restored to their own end.
    Nothing,
    /// Everything since, and on the timelines that left later than this; all that ever left, if it is not known.
    Recovery(Option<Lsn>),
    /// The same, because it has no end yet.
    Unfinished,
}

impl WalGNeed {
    pub(super) fn of_backup(backup: &WalGBackup) -> Self {
        let last = backup.finish_lsn.map(|finish| last_place(backup, finish));
        let beyond = match (backup.permanence, last) {
            (Permanence::Permanent, Some(_)) => Beyond::Nothing,
            // By the start and not by the end: a standby may change over to another timeline while WAL-G copies.
            _ => Beyond::Recovery(backup.start_lsn),
        };
        Self { name: backup.name.clone(), first: spelled(backup.name.place()), last, beyond }
    }

    pub(super) fn of_unfinished(name: &WalGName) -> Self {
        Self { name: name.clone(), first: spelled(name.place()), last: None, beyond: Beyond::Unfinished }
    }

    /// Its own places on this timeline, the first and the last.
    pub(super) fn part(&self, timeline: TimelineId) -> Option<(Place, Place)> {
        self.last.filter(|_| timeline == self.name.timeline()).map(|last| (self.first, last))
    }

    /// From where on it needs everything on this timeline, and why; none when it does not.
    pub(super) fn line(&self, timeline: TimelineId, ancestry: &Ancestry) -> Option<(Place, WalReason)> {
        let own = self.name.timeline();
        let (position, reason) = match self.beyond {
            Beyond::Nothing => return None,
            Beyond::Recovery(position) => (position, WalReason::RecoveryFromWalG(self.name.clone())),
            Beyond::Unfinished => (None, WalReason::UnfinishedWalG(self.name.clone())),
        };
        ancestry.may_have_left(timeline, own, position).then_some((self.first, reason))
    }
}

/// The place that a file's name spells; none for a history file.
pub(super) fn place(file: WalFileName) -> Option<Place> {
    match file {
        WalFileName::Segment { log, segment, .. }
        | WalFileName::Partial { log, segment, .. }
        | WalFileName::BackupHistory { log, segment, .. } => Some(spelled((log, segment))),
        WalFileName::History { .. } => None,
    }
}

fn spelled((log, segment): (u32, u32)) -> Place {
    u64::from(log) << 32 | u64::from(segment)
}

/// The place of its end under the smallest segment size that is possible, where that place is highest.
fn last_place(backup: &WalGBackup, finish: Lsn) -> Place {
    let size = backup.segment_sizes().into_iter().min().unwrap_or(WalSegmentSize::SMALLEST);
    let end = WalSegment::ending_at(TimelineId::FIRST, finish, size).file_name(size);
    place(end).unwrap_or(u64::MAX).max(spelled(backup.name.place()))
}
