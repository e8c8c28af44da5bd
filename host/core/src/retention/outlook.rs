//! What can be recovered before a plan is applied, and what will be recoverable after it.

use std::collections::BTreeMap;

use super::{Ancestry, Decision, WalPlan};
use crate::catalog::{ArchivedFile, BackupState};
use crate::postgres::{TimelineId, WalFileName, WalSegmentSize};
use crate::window::{Standing, TimelineOrigin, TimelineWal, Window, WindowBackup, WindowInput, calculate};

/// What can be recovered, without and with a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// As things stand.
    pub before: Window,
    /// When the plan has been applied.
    pub after: Window,
}

/// Calculates both. Neither is more than `window` would say.
pub(super) fn outlook(decisions: &[Decision], wal: &WalPlan, ancestry: &Ancestry) -> Outlook {
    let now = |decision: &Decision| {
        let mut backup = WindowBackup::from(&decision.backup);
        if decision.becomes_standalone && backup.standing == Standing::Standalone {
            let is_ready = decision.backup.state == BackupState::Ready;
            backup.standing = if is_ready { Standing::Good } else { Standing::NotReady };
        }
        backup
    };
    let kept = decisions.iter().filter(|decision| decision.reason.keeps());
    Outlook {
        before: window(decisions.iter().map(now).collect(), wal.iter().map(|decision| decision.file), ancestry),
        after: window(kept.map(|decision| WindowBackup::from(&decision.backup)).collect(), wal.kept(), ancestry),
    }
}

fn window<'a>(backups: Vec<WindowBackup>, files: impl Iterator<Item = &'a ArchivedFile>, ancestry: &Ancestry) -> Window {
    // Numbers of segments mean nothing under another size; without a backup nothing can be recovered under any.
    let newest = backups.iter().max_by_key(|backup| (backup.started_at, &backup.name));
    let Some(size) = newest.map(|newest| newest.segment_size) else { return Window::default() };
    calculate(&WindowInput { segment_size: size, backups, timelines: timelines(files, size, ancestry) })
}

/// The numbers of the segments on each timeline. The files are sorted, by timeline first.
fn timelines<'a>(
    files: impl Iterator<Item = &'a ArchivedFile>,
    size: WalSegmentSize,
    ancestry: &Ancestry,
) -> BTreeMap<TimelineId, TimelineWal> {
    let mut timelines = BTreeMap::new();
    for file in files {
        let timeline = file.name.timeline();
        let wal =
            timelines.entry(timeline).or_insert_with(|| TimelineWal { origin: origin(timeline, ancestry), numbers: Vec::new() });
        if let (WalFileName::Segment { .. }, Some(segment)) = (file.name, file.name.segment(size))
            && wal.numbers.last() != Some(&segment.number)
        {
            wal.numbers.push(segment.number);
        }
    }
    timelines
}

fn origin(timeline: TimelineId, ancestry: &Ancestry) -> TimelineOrigin {
    match ancestry.history(timeline) {
        _ if timeline == TimelineId::FIRST => TimelineOrigin::First,
        Some(history) => TimelineOrigin::Known(history.clone()),
        None => TimelineOrigin::Missing,
    }
}
