//! A restore that names an increment: of its parent, on its timeline, and to its very position.
//!
//! The name stands in the WAL, but it may stand there twice, and PostgreSQL would stop at the first. The catalog has the position
//! behind the record of the point; recovery is told the one at which that record begins, and stops when it has replayed it. So the
//! record is looked for in the archive first, which proves besides that it is there.

use std::ops::ControlFlow;

use thiserror::Error;

use super::{BackupSelector, FetchError, FetchRequest};
use crate::catalog::{CatalogContents, Increment, RestorePointName};
use crate::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::flows::restore_point::ends_at;
use crate::flows::wal_scan::{ScanEnd, WalScan};
use crate::postgres::{Lsn, MarkKind, WalMark, WalRange};

/// The last segment, and the one before it in which the record may begin.
const SEGMENTS_OF_THE_RECORD: u64 = 2;

/// The request with the backup and the target that an increment stands for; none if it names none.
pub(super) async fn resolve(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    request: &FetchRequest,
) -> Result<Option<FetchRequest>, FetchError> {
    let BackupSelector::Increment(name) = &request.selector else { return Ok(None) };
    let increment = find(contents, name)?;
    refuse_target(name, &request.recovery.target, request.recovery.inclusive)?;
    let begin = locate(ports, increment).await?;
    tracing::info!(parent = %increment.parent, lsn = %begin, "the restore point was found in the WAL");
    let mut resolved = request.clone();
    resolved.selector = BackupSelector::Named(increment.parent.clone());
    resolved.recovery.target = RecoveryTarget::Lsn(begin);
    resolved.recovery.inclusive = Inclusion::Inclusive;
    resolved.recovery.timeline = TargetTimeline::Number(increment.timeline);
    Ok(Some(resolved))
}

/// The increment of that name, whose parent is there.
pub(in crate::flows) fn find<'a>(contents: &'a CatalogContents, name: &RestorePointName) -> Result<&'a Increment, IncrementError> {
    contents.find_increment(name).map(|(_, increment)| increment).ok_or_else(|| IncrementError::no_such(contents, name))
}

/// An increment is a target itself.
pub(in crate::flows) fn refuse_target(
    name: &RestorePointName,
    target: &RecoveryTarget,
    inclusion: Inclusion,
) -> Result<(), IncrementError> {
    let is_free = *target == RecoveryTarget::EndOfWal && inclusion == Inclusion::Inclusive;
    if is_free { Ok(()) } else { Err(IncrementError::HasTarget(name.clone())) }
}

/// Where the record of the point begins.
pub(in crate::flows) async fn locate(ports: &Ports<'_>, increment: &Increment) -> Result<Lsn, FetchError> {
    let unread = |reason: String| IncrementError::Unread {
        name: increment.name.clone(),
        parent: increment.parent.to_string(),
        to: increment.to,
        reason,
    };
    let mut begin: Option<WalMark> = None;
    let mut scan = WalScan::new(ports, increment.segment_size, SEGMENTS_OF_THE_RECORD);
    let mut ranges: Vec<WalRange> = increment.replay.clone();
    if let Some(last) = ranges.last_mut() {
        last.first = last.first.max(last.last.saturating_sub(SEGMENTS_OF_THE_RECORD - 1));
    }
    let end = scan
        .newest_first(&ranges, |_, marks| {
            begin = marks.iter().find(|mark| ends_at(mark, increment.to)).cloned();
            if begin.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    let Some(mark) = begin else {
        return Err(match end {
            ScanEnd::Stopped(reason) => unread(reason),
            ScanEnd::Found | ScanEnd::Exhausted => unread("no record of a restore point ends there".to_owned()),
        }
        .into());
    };
    // The server spells other letters in an encoding of its own.
    let is_spelled = |found: &String| found == increment.name.as_str() || !increment.name.as_str().is_ascii();
    match &mark.kind {
        MarkKind::RestorePoint(found) if is_spelled(found) => Ok(mark.begin),
        _ => Err(unread("the restore point that ends there has another name".to_owned()).into()),
    }
}

/// Why an increment cannot be restored.
#[derive(Debug, Error)]
pub enum IncrementError {
    /// There is none.
    #[error("the catalog holds neither a backup nor a restore point `{name}`{}", if *unreadable > 0 { " that can be read" } else { "" })]
    NoSuch {
        /// The name.
        name: RestorePointName,
        /// Records that could not be read.
        unreadable: usize,
    },
    /// Its parent has gone.
    #[error("the backup `{parent}`, which the restore point `{name}` continues, is not in the catalog")]
    Stray {
        /// The increment.
        name: RestorePointName,
        /// Its parent.
        parent: String,
    },
    /// It is a target, and another one was named.
    #[error("the restore point `{0}` is a target itself, and another one is given")]
    HasTarget(RestorePointName),
    /// Its record was not found in the WAL.
    #[error("the restore point `{name}` is not found in the archived WAL before {to}: {reason}")]
    Unread {
        /// The increment.
        name: RestorePointName,
        /// Its parent.
        parent: String,
        /// Where it ends.
        to: Lsn,
        /// Why.
        reason: String,
    },
}

impl IncrementError {
    fn no_such(contents: &CatalogContents, name: &RestorePointName) -> Self {
        if let Some(stray) = contents.stray_increments.iter().find(|stray| stray.name == *name) {
            return Self::Stray { name: name.clone(), parent: stray.parent.to_string() };
        }
        Self::NoSuch { name: name.clone(), unreadable: contents.unreadable.len() }
    }
}

impl Classify for IncrementError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::HasTarget(_) => ErrorClass::Usage,
            Self::NoSuch { .. } | Self::Stray { .. } | Self::Unread { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuch { .. } => {
                Some("`stillframe backup-list` shows both; one that is only in the WAL is reached with --target-name".to_owned())
            }
            Self::Stray { .. } => {
                Some("it went while the backup was deleted, or its record was lost; `stillframe reconcile`".to_owned())
            }
            Self::HasTarget(_) => Some("leave the target out, or name the backup and the target".to_owned()),
            Self::Unread { parent, to, .. } => Some(format!(
                "`stillframe wal-verify --deep` shows what is wrong; `{parent} --target-lsn {to} --target-exclusive` goes as far \
                 without looking"
            )),
        }
    }
}
