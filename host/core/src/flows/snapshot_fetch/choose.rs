//! Chooses the backup: the one that is named, or the newest from which the target can be reached, by the calculation of the window.
//!
//! Every refusal of the calculation is one of the restore. An operator who has the missing WAL elsewhere may go on without it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::error::MissingFiles;
use super::{FetchError, increment};
use crate::catalog::{ArchivedFile, Backup, BackupName, CatalogContents, RestorePointName, WalGName};
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::flows::can_restore::CanRestoreRequest;
use crate::flows::wal_scan::WalScan;
use crate::flows::wal_search::{Searched, Sought, is_sought, search};
use crate::flows::{FetchRequest, Ports, archive_map};
use crate::postgres::WalRange;
use crate::window::{self, LineEnd, Question, Refusal, Route, TimelineOrigin, WantedBackup, WindowInput};

/// Which backup the operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupSelector {
    /// The newest from which the target can be reached.
    Automatic,
    /// The newest of all.
    Latest,
    /// This one.
    Named(BackupName),
    /// The parent of this increment, recovered to it.
    Increment(RestorePointName),
    /// One that is not ours to restore.
    WalG(WalGName),
}

/// Whether WAL between the backup and the target may be missing from the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingWal {
    /// It may not.
    #[default]
    Refused,
    /// The operator has it elsewhere.
    Accepted,
    /// The operator's own command gets all of it.
    Elsewhere,
}

/// What is wished of a recovery.
pub(in crate::flows) struct Wish<'a> {
    selector: &'a BackupSelector,
    target: &'a RecoveryTarget,
    timeline: TargetTimeline,
}

impl<'a> Wish<'a> {
    pub(in crate::flows) fn of_request(request: &'a CanRestoreRequest) -> Self {
        Self { selector: &request.selector, target: &request.target, timeline: request.timeline }
    }
}

/// What was chosen.
pub(super) struct Choice {
    pub(super) backup: Backup,
    /// How the target is reached; none when WAL is missing and the operator accepts it.
    pub(super) route: Option<Route>,
    pub(super) input: WindowInput,
}

/// Chooses, or says why none will do.
pub(super) async fn choose(ports: &Ports<'_>, contents: &CatalogContents, request: &FetchRequest) -> Result<Choice, FetchError> {
    let recovery = &request.recovery;
    let wish = Wish { selector: &request.selector, target: &recovery.target, timeline: recovery.timeline };
    if let Some(choice) = of_external(contents, request)? {
        return Ok(choice);
    }
    let files = ports.archive().list().await?;
    let (input, decided) = decide(ports, contents, &files, &wish).await?;
    let decided = if is_sought(&recovery.target) { look_for(ports, &input, request, decided).await? } else { decided };
    let (name, route) = match decided {
        Ok(route) => (route.backup.clone(), Some(route)),
        Err(Refusal::WalMissing { name, missing, .. }) if request.missing_wal != MissingWal::Refused => {
            tracing::warn!(backup = %name, "going on without {}", MissingFiles::new(&missing, input.segment_size));
            (name, None)
        }
        Err(refusal) => return Err(refused(refusal, contents, &input)),
    };
    let backup = contents.find(&name).cloned().ok_or(FetchError::NoSuchBackup(name))?;
    if let Some(route) = &route {
        warn(&backup, route, recovery, &input);
    }
    Ok(Choice { backup, route, input })
}

/// A backup that is named and whose WAL another tool keeps: what it reaches nobody can tell here, but for what lies before its end.
fn of_external(contents: &CatalogContents, request: &FetchRequest) -> Result<Option<Choice>, FetchError> {
    let BackupSelector::Named(name) = &request.selector else { return Ok(None) };
    let named = contents.find(name).filter(|backup| backup.sentinel.external_archive.is_some() && !backup.is_condemned);
    let (Some(backup), MissingWal::Elsewhere) = (named, request.missing_wal) else { return Ok(None) };
    let sentinel = &backup.sentinel;
    let reason = match request.recovery.target {
        RecoveryTarget::Time(moment) if moment < sentinel.finished_at => {
            format!("it finished at {}, after the target {moment}", sentinel.finished_at)
        }
        RecoveryTarget::Lsn(position) if position < sentinel.stop_lsn => {
            format!("it stopped at {}, after the target {position}", sentinel.stop_lsn)
        }
        _ => {
            let input = WindowInput { segment_size: sentinel.segment_size, backups: Vec::new(), timelines: BTreeMap::new() };
            return Ok(Some(Choice { backup: backup.clone(), route: None, input }));
        }
    };
    Err(FetchError::Unreachable { name: name.clone(), reason })
}

/// Where a restore point or a transaction lies the WAL tells, and with it the backup from which it is reached. From a backup behind
/// it recovery would run past it, to the end, and fail there.
async fn look_for(
    ports: &Ports<'_>,
    input: &WindowInput,
    request: &FetchRequest,
    decided: Result<Route, Refusal>,
) -> Result<Result<Route, Refusal>, FetchError> {
    if !matches!(decided, Ok(_) | Err(Refusal::Ambiguous { .. })) {
        return Ok(decided);
    }
    let recovery = &request.recovery;
    let sought = Sought { target: &recovery.target, timeline: recovery.timeline, selector: &request.selector };
    let mut scan = WalScan::new(ports, input.segment_size, request.scan);
    let doubt = match search(ports, input, sought, &mut scan).await? {
        Searched::Found { mark, route, doubt } => {
            tracing::info!(lsn = %mark.begin, at = %mark.at, "the target was found in the WAL");
            if let Some(reason) = doubt {
                tracing::warn!("an earlier one of that name, at which recovery would stop, is not ruled out: {reason}");
            }
            return Ok(Ok(route));
        }
        Searched::Absent { missing } if request.missing_wal == MissingWal::Refused => {
            let missing = MissingFiles::new(&missing, input.segment_size);
            let name = decided.ok().filter(|_| request.selector != BackupSelector::Automatic).map(|route| route.backup);
            return Err(FetchError::NotInWal { name, missing });
        }
        Searched::Absent { .. } => "it is not in the archived WAL".to_owned(),
        Searched::Unread(reason) => reason,
    };
    if decided.is_ok() {
        tracing::warn!("whether the archived WAL reaches the target is not known: {doubt}");
    }
    Ok(decided)
}

/// Puts the question to the window. Gives what it looked at as well.
pub(in crate::flows) async fn decide(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    files: &[ArchivedFile],
    wish: &Wish<'_>,
) -> Result<(WindowInput, Result<Route, Refusal>), FetchError> {
    let wanted = match wish.selector {
        BackupSelector::WalG(name) => return Err(FetchError::OfWalG(name.clone())),
        BackupSelector::Automatic => WantedBackup::Automatic,
        BackupSelector::Latest => WantedBackup::Latest,
        BackupSelector::Named(name) => WantedBackup::Named(name),
        // Whoever is given one has put its parent in its place before.
        BackupSelector::Increment(name) => WantedBackup::Named(&increment::find(contents, name)?.parent),
    };
    for backup in contents.backups.iter().filter(|backup| !backup.is_condemned && !backup.has_failed()) {
        if wanted == WantedBackup::Automatic && backup.state != crate::catalog::BackupState::Ready {
            tracing::warn!(backup = %backup.sentinel.name, "passed over: its snapshots are not known to be ready");
        }
    }
    let size = contents.backups.last().map_or_else(Default::default, |newest| newest.sentinel.segment_size);
    let mut input = archive_map::window_input(ports, contents, files, size).await?;
    let question = Question { target: wish.target, timeline: wish.timeline, backup: wanted, now: ports.clock.now() };
    let mut decided = window::can_restore(&input, &question);
    if let Err(Refusal::SegmentSize { name, size }) = &decided {
        // Of a time when segments had another size: looked at under that one.
        input = archive_map::window_input(ports, contents, files, *size).await?;
        decided = window::can_restore(&input, &Question { backup: WantedBackup::Named(name), ..question });
    }
    Ok((input, decided))
}

/// What the operator should know of a way that leads to the target.
fn warn(backup: &Backup, route: &Route, recovery: &crate::data_directory::RecoverySettings, input: &WindowInput) {
    if route.followed != backup.sentinel.timeline && !matches!(recovery.timeline, TargetTimeline::Number(_)) {
        tracing::warn!(
            backup_timeline = %backup.sentinel.timeline,
            followed_timeline = %route.followed,
            "recovery follows the newest timeline in the archive; if a copy of this cluster made it, use --target-timeline current"
        );
    }
    if let (RecoveryTarget::EndOfWal, LineEnd::Missing(missing)) = (&recovery.target, &route.ends_because) {
        let files = MissingFiles::new(missing, input.segment_size);
        tracing::warn!("recovery ends at {}, before later WAL in the archive, since WAL is missing: {files}", route.end);
    }
}

/// The refusal of the calculation, as one of the restore.
pub(in crate::flows) fn refused(refusal: Refusal, contents: &CatalogContents, input: &WindowInput) -> FetchError {
    match refusal {
        Refusal::Future { target, now } => FetchError::Future { target, now },
        Refusal::NoBackups => FetchError::NoBackups,
        Refusal::NoSuchBackup(name) => no_such_backup(contents, &name),
        Refusal::Condemned(name) => FetchError::Condemned(name),
        Refusal::Failed { name, reason } => FetchError::SetFailed { name, reason },
        Refusal::External { name, place } => FetchError::ExternalWal { name, place },
        Refusal::Standalone(name) => FetchError::Standalone(name),
        Refusal::Unreachable { name, reason } => FetchError::Unreachable { name, reason },
        Refusal::Ambiguous { backups } => FetchError::Ambiguous { backups },
        Refusal::OtherTimeline { name, own, followed, stop } => FetchError::OtherTimeline { name, own, followed, stop },
        Refusal::NoSuchTimeline(timeline) => FetchError::NoSuchTimeline(timeline),
        Refusal::History { timeline, origin } => match origin {
            TimelineOrigin::Unreadable(reason) => FetchError::HistoryUnreadable { timeline, reason },
            TimelineOrigin::Damaged(reason) => FetchError::HistoryDamaged { timeline, reason },
            TimelineOrigin::First | TimelineOrigin::Known(_) | TimelineOrigin::Missing => FetchError::NoSuchTimeline(timeline),
        },
        Refusal::WalMissing { name, missing, .. } => {
            FetchError::WalMissing { name, missing: MissingFiles::new(&missing, input.segment_size) }
        }
        Refusal::SegmentSize { name, .. } => FetchError::NoSuchBackup(name),
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

/// What is missing behind the end of a route: up to the next archived segment, or the one that nobody has archived yet.
pub(in crate::flows) fn missing_behind(input: &WindowInput, route: &Route) -> Vec<WalRange> {
    match &route.ends_because {
        LineEnd::Missing(missing) => missing.clone(),
        LineEnd::ArchiveEnds => {
            let number = route.end.0 / input.segment_size.bytes();
            vec![WalRange { timeline: route.followed, first: number, last: number }]
        }
    }
}

/// That a route ends before its target, in words.
pub(in crate::flows) fn ends_before(route: &Route, last: Option<Timestamp>) -> String {
    let why = match route.ends_because {
        LineEnd::ArchiveEnds => "where the archive ends",
        LineEnd::Missing(_) => "where WAL is missing",
    };
    match last {
        Some(last) => format!("replay ends at {}, {why}, and the last transaction before that ended at {last}", route.end),
        None => format!("replay ends at {}, {why}, and nothing before that is at or behind the target", route.end),
    }
}
