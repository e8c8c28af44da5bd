//! Which archived WAL the base backups of WAL-G need.
//!
//! WAL-G's records do not tell the segment size, so that places are compared as the file names spell them, and where sizes are
//! possible the one that keeps most counts. Whatever is unknown widens what is kept: without an end, everything since the start;
//! without a position, every timeline that ever left this one.

use super::{Ancestry, WalReason};
use crate::catalog::{Permanence, WalGBackup, WalGName};
use crate::postgres::{Lsn, TimelineId, WalFileName, WalSegment, WalSegmentSize};

/// The middle and the last part of a segment's file name.
type Place = (u32, u32);

/// What one of WAL-G's backups needs.
pub(super) struct WalGNeed {
    name: WalGName,
    /// The first place of its own segments.
    first: Place,
    /// The last place of its own segments; none when it is not known.
    last: Option<Place>,
    line: Line,
}

/// What it needs beyond its own segments.
enum Line {
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
        let line = match (backup.permanence, last) {
            (Permanence::Permanent, Some(_)) => Line::Nothing,
            // By the start and not by the end: a standby may change over to another timeline while WAL-G copies.
            _ => Line::Recovery(backup.start_lsn),
        };
        Self { name: backup.name.clone(), first: backup.name.place(), last, line }
    }

    pub(super) fn of_unfinished(name: &WalGName) -> Self {
        Self { name: name.clone(), first: name.place(), last: None, line: Line::Unfinished }
    }

    /// Says why a file stays; none when this backup does not need it.
    pub(super) fn reason_to_keep(&self, file: WalFileName, ancestry: &Ancestry) -> Option<WalReason> {
        let place = place(file)?;
        let timeline = self.name.timeline();
        if place < self.first {
            return None;
        }
        if file.timeline() == timeline && self.last.is_some_and(|last| place <= last) {
            return Some(WalReason::PartOfWalG(self.name.clone()));
        }
        match self.line {
            Line::Nothing => None,
            Line::Recovery(position) => {
                let is_on_line = ancestry.may_have_left(file.timeline(), timeline, position);
                is_on_line.then(|| WalReason::RecoveryFromWalG(self.name.clone()))
            }
            Line::Unfinished => {
                let is_on_line = ancestry.may_have_left(file.timeline(), timeline, None);
                is_on_line.then(|| WalReason::UnfinishedWalG(self.name.clone()))
            }
        }
    }
}

fn place(file: WalFileName) -> Option<Place> {
    match file {
        WalFileName::Segment { log, segment, .. }
        | WalFileName::Partial { log, segment, .. }
        | WalFileName::BackupHistory { log, segment, .. } => Some((log, segment)),
        WalFileName::History { .. } => None,
    }
}

/// The place of its end under the smallest segment size that is possible, where that place is highest.
fn last_place(backup: &WalGBackup, finish: Lsn) -> Place {
    let size = backup.segment_sizes().into_iter().min().unwrap_or(WalSegmentSize::SMALLEST);
    let end = WalSegment::ending_at(TimelineId::FIRST, finish, size).file_name(size);
    place(end).unwrap_or((u32::MAX, u32::MAX)).max(backup.name.place())
}
