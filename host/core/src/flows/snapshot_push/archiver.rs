//! Whose archiver is watched while the WAL of a backup is waited for, and how far it is.
//!
//! The archive is the proof. But segments of the same names may lie there from before the server was rolled back: then its archiver
//! is refused at them. So the server that archives must have got past the end of the backup itself, where it can be asked.

use std::time::Duration;

use super::cut::within;
use super::preflight::Prepared;
use super::standby::must_archive;
use super::{PushError, PushRequest};
use crate::flows::Ports;
use crate::postgres::{ArchiverStatus, Connection, WalFileName, WalRange, WalSegmentSize};

/// How long a server may take to explain.
const EXPLANATION_DEADLINE: Duration = Duration::from_secs(10);

/// What the archiver of the server that is asked means for the WAL of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flows) enum ArchiverRole {
    /// It archives this WAL: it must have got past the end of the backup.
    Archives,
    /// What it archives, if anything, proves nothing; it may explain.
    Explains,
    /// The same, and nobody could be asked to end the last segment: the server is a standby whose primary is not known.
    Alone,
}

impl ArchiverRole {
    /// How far it is by what it says; what proves nothing is waited for by nobody.
    pub(super) fn position(self, status: Option<&ArchiverStatus>, range: WalRange, size: WalSegmentSize) -> Position {
        match (self, status) {
            (Self::Archives, Some(status)) => Position::of(status, range, size),
            (Self::Archives, None) | (Self::Explains | Self::Alone, _) => Position::Passed,
        }
    }
}

/// Chooses whom to ask, once the primary of a standby has ended the last segment, which on an idle one nobody else would.
pub(super) async fn choose(
    ports: &Ports<'_>,
    session: Box<dyn Connection>,
    primary: Option<Box<dyn Connection>>,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(Box<dyn Connection>, ArchiverRole), PushError> {
    let role = match &prepared.primary {
        // Of a primary that archives nothing, a standby may.
        Some(primary) if must_archive(primary) => ArchiverRole::Archives,
        Some(_) => ArchiverRole::Explains,
        None if prepared.facts.in_recovery => ArchiverRole::Alone,
        None => ArchiverRole::Archives,
    };
    // The stop on a primary has ended the segment.
    let Some(mut primary) = primary else { return Ok((session, role)) };
    within(ports, request.deadlines.cut, primary.create_restore_point_and_switch(request.name.as_str())).await?;
    Ok((primary, role))
}

/// What the server says about its archiver; none when it does not answer. The backup is good without the session.
pub(super) async fn status(ports: &Ports<'_>, connection: Option<&mut (dyn Connection + 'static)>) -> Option<ArchiverStatus> {
    let connection = connection?;
    tokio::select! {
        status = connection.archiver() => status.ok(),
        () = ports.clock.sleep(EXPLANATION_DEADLINE) => None,
    }
}

/// How far the server itself has archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// To the end of the backup.
    Passed,
    /// The history file of the backup is the newest, and it bears the name of the first segment: the last one may be archived or
    /// not be tried yet.
    Calm,
    /// Not as far, or it fails.
    Behind,
}

impl Position {
    fn of(status: &ArchiverStatus, range: WalRange, size: WalSegmentSize) -> Self {
        let name = status.last_archived_wal.as_deref().and_then(|name| name.parse::<WalFileName>().ok());
        let (Some(name), Some(newest)) = (name, name.and_then(|name| name.segment(size))) else { return Self::Behind };
        if newest.timeline != range.timeline || newest.number < range.first {
            return Self::Behind;
        }
        match name {
            _ if newest.number >= range.last => Self::Passed,
            WalFileName::BackupHistory { .. } if !status.is_failing => Self::Calm,
            _ => Self::Behind,
        }
    }
}
