//! Looks for a restore point or a transaction in the archived WAL: only its records tell where they lie.
//!
//! Along the way from each backup, the newest first; `can-restore` tells what was found, `snapshot-fetch` restores from there.

use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::catalog::ArchiveError;
use crate::catalog::age::oldest_first;
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::flows::Ports;
use crate::flows::snapshot_fetch::{BackupSelector, choose};
use crate::flows::wal_scan::{ScanEnd, WalScan, is_target};
use crate::postgres::{WalMark, WalRange};
use crate::window::{Question, Route, Standing, WantedBackup, WindowBackup, WindowInput, can_restore};

/// What is looked for, and from which backups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) target: &'a RecoveryTarget,
    pub(super) timeline: TargetTimeline,
    pub(super) selector: &'a BackupSelector,
}

/// What came out of it.
#[derive(Debug)]
pub(super) enum Searched {
    /// It is there, and reached along this route. Why an earlier one of that name, at which replay would stop, is not ruled out:
    /// none if it is.
    Found { mark: WalMark, route: Route, doubt: Option<String> },
    /// It is not in the WAL of any such backup. The WAL behind the end of the newest one's is missing.
    Absent { missing: Vec<WalRange> },
    /// Not all of that WAL was read, and why.
    Unread(String),
}

/// Whether names and positions do not tell where a target lies.
pub(super) fn is_sought(target: &RecoveryTarget) -> bool {
    matches!(target, RecoveryTarget::Name(_) | RecoveryTarget::Xid(_))
}

/// Looks for it.
pub(super) async fn search(
    ports: &Ports<'_>,
    input: &WindowInput,
    sought: Sought<'_>,
    scan: &mut WalScan<'_>,
) -> Result<Searched, ArchiveError> {
    let mut found: Vec<WalMark> = Vec::new();
    let mut newest: Option<Route> = None;
    for backup in candidates(input, sought.selector, ports.clock.now()) {
        let question = Question {
            target: &RecoveryTarget::EndOfWal,
            timeline: sought.timeline,
            backup: WantedBackup::Named(&backup.name),
            now: ports.clock.now(),
        };
        let Ok(route) = can_restore(input, &question) else { continue };
        let end = scan
            .newest_first(&route.replay, |_, marks| {
                found.extend(marks.iter().filter(|mark| is_target(mark, sought.target) && mark.begin < route.end).cloned());
                ControlFlow::Continue(())
            })
            .await?;
        found.sort_by_key(|mark| mark.begin);
        // Replay stops at the first one that it meets, wherever later ones of that name lie.
        let first = found.iter().find(|mark| mark.begin >= backup.start).cloned();
        match (first.filter(|mark| mark.begin >= backup.stop), end) {
            (Some(mark), ScanEnd::Stopped(reason)) => return Ok(Searched::Found { mark, route, doubt: Some(reason) }),
            (None, ScanEnd::Stopped(reason)) => return Ok(Searched::Unread(reason)),
            (Some(mark), _) => return Ok(Searched::Found { mark, route, doubt: None }),
            // It lies before the end of this backup, or is not there: an older one may reach it.
            (None, _) => newest = newest.or(Some(route)),
        }
    }
    Ok(Searched::Absent { missing: newest.as_ref().map_or_else(Vec::new, |route| choose::missing_behind(input, route)) })
}

/// From which backups a search begins, the newest first.
fn candidates<'a>(input: &'a WindowInput, selector: &BackupSelector, now: Timestamp) -> Vec<&'a WindowBackup> {
    let wanted = input.backups.iter().filter(|backup| match selector {
        BackupSelector::Named(name) => &backup.name == name,
        _ => backup.standing == Standing::Good,
    });
    let mut found = oldest_first(wanted, WindowBackup::age, now);
    found.reverse();
    if *selector == BackupSelector::Latest {
        found.truncate(1);
    }
    found
}
