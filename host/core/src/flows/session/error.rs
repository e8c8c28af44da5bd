//! Why a session cannot be ended, given up, or found.

use std::path::PathBuf;

use thiserror::Error;

use crate::catalog::{BackupName, CatalogError};
use crate::error::{Classify, ErrorClass};
use crate::flows::PushError;
use crate::session_directory::{SessionDirectoryError, SessionHome, SessionId, SessionRecord, SessionState};

/// Why a session cannot be ended, given up, or found.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The sessions of this host cannot be read or written.
    #[error(transparent)]
    Directory(#[from] SessionDirectoryError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Nobody knows of such a session.
    #[error("this host knows of no session `{0}`")]
    NoSuchSession(SessionId),
    /// What was copied can never be a backup.
    #[error("the session `{id}` is void, and so is every copy made in it: {}", describe(*.state, .reason.as_deref()))]
    Void {
        /// The session.
        id: SessionId,
        /// What became of it.
        state: SessionState,
        /// Why.
        reason: Option<String>,
    },
    /// Backup mode was left in good order, and the backup is not published.
    #[error("backup mode has ended in good order, and the backup `{name}` is not published")]
    NotPublished {
        /// The backup.
        name: BackupName,
        /// Why not.
        #[source]
        cause: Box<PushError>,
    },
    /// It is a backup already.
    #[error("the session `{id}` is published as the backup `{name}`")]
    Published {
        /// The session.
        id: SessionId,
        /// The backup.
        name: BackupName,
    },
    /// It is a backup but for its WAL.
    #[error("the session `{0}` has left backup mode in good order, and only waits for its publication")]
    Stopped(SessionId),
    /// The configuration is about something else.
    #[error("the session `{id}` is of the cluster {found}, and the configuration is about {configured}")]
    Elsewhere {
        /// The session.
        id: SessionId,
        /// Where its backup is announced.
        found: SessionHome,
        /// What is configured.
        configured: SessionHome,
    },
    /// The id would be lost.
    #[error("`{}` holds the id of a session that is not over", .0.display())]
    IdInUse(PathBuf),
    /// Its owner lives, and does not answer.
    #[error("the process that holds the session `{0}` does not answer")]
    Silent(SessionId),
    /// The configuration names no place.
    #[error("there is no directory for sessions: the user has no home")]
    NoDirectory,
    /// Somebody has ended it, and waits for its WAL.
    #[error("the session `{0}` is being published")]
    Publishing(SessionId),
}

impl SessionError {
    /// The error for a session that has become nothing.
    #[must_use]
    pub fn void(record: &SessionRecord) -> Self {
        Self::Void { id: record.id.clone(), state: record.state, reason: record.reason.clone() }
    }
}

/// What became of a void session, in words.
fn describe(state: SessionState, reason: Option<&str>) -> String {
    let what = match state {
        SessionState::TimedOut => "it timed out, and left backup mode",
        SessionState::Lost => "the server, or the connection to it, was lost",
        SessionState::Aborted => "it was given up",
        SessionState::Killed => "it was killed",
        SessionState::Failed => "it failed",
        SessionState::Published => "its backup was published, and has been deleted since",
        SessionState::Starting | SessionState::Running | SessionState::Stopped => state.as_str(),
    };
    reason.map_or_else(|| what.to_owned(), |reason| format!("{what} ({reason})"))
}

impl Classify for SessionError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Directory(error) => error.class(),
            Self::Catalog(error) => error.class(),
            Self::NoSuchSession(_)
            | Self::Void { .. }
            | Self::Published { .. }
            | Self::Stopped(_)
            | Self::Publishing(_)
            | Self::Elsewhere { .. }
            | Self::IdInUse(_) => ErrorClass::Refused,
            Self::Silent(_) => ErrorClass::Transient,
            Self::NoDirectory => ErrorClass::Config,
            // Somebody has settled it meanwhile: no other try can succeed.
            Self::NotPublished { cause, .. } if matches!(**cause, PushError::Catalog(CatalogError::GivenUp { .. })) => {
                ErrorClass::Refused
            }
            Self::NotPublished { cause, .. } => cause.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Directory(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::NoSuchSession(_) => {
                Some("`stillframe session status` lists them; is it of another user or configuration?".to_owned())
            }
            Self::Void { .. } => Some("throw the copy away, begin a new session and copy again".to_owned()),
            Self::NotPublished { cause, .. } if matches!(**cause, PushError::Catalog(CatalogError::GivenUp { .. })) => {
                Some("`reconcile` or `delete garbage` has settled it meanwhile; begin a new session and copy again".to_owned())
            }
            Self::NotPublished { cause, .. } => {
                let again = "keep the copy and its backup_label, and run the same `session end` again within a day";
                // The session is over: that a connection was lost costs nothing any more.
                let hint = if matches!(**cause, PushError::Connection(_)) { None } else { cause.hint() };
                Some(hint.map_or_else(|| again.to_owned(), |hint| format!("{hint}; {again}")))
            }
            Self::Published { name, .. } => Some(format!("`stillframe delete target {name}` deletes it")),
            Self::Stopped(_) => Some("publish it with `session end`, or forget it with --discard".to_owned()),
            Self::Elsewhere { .. } => Some("name the configuration of that cluster with --config".to_owned()),
            Self::IdInUse(path) => Some(format!("end or abort it first: `stillframe session abort --id-file {}`", path.display())),
            Self::Silent(_) => Some("look at its log beside its record, or run this again".to_owned()),
            Self::NoDirectory => Some("set `directory` under `[session]`".to_owned()),
            Self::Publishing(_) => Some("wait until `session end` has ended".to_owned()),
        }
    }
}
