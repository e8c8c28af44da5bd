//! Why the sessions of a host cannot be kept or read.

use std::path::PathBuf;

use thiserror::Error;

use super::SessionId;
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;

/// Why the sessions of a host cannot be kept or read.
#[derive(Debug, Error)]
pub enum SessionDirectoryError {
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others could read ids or answer in place of an owner.
    #[error("`{}` belongs to another user, or others have rights there (mode {mode:04o})", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is a session of this id.
    #[error("there is a session `{0}` already")]
    Taken(SessionId),
    /// A record is not what it must be.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Classify for SessionDirectoryError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::NotPrivate { .. } => ErrorClass::Config,
            Self::Taken(_) => ErrorClass::Internal,
            Self::Unreadable { .. } => ErrorClass::Corrupt,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::NotPrivate { path, .. } => {
                Some(format!("`chmod 700 {}`, or name another `directory` under `[session]`", path.display()))
            }
            Self::Taken(_) | Self::Unreadable { .. } => None,
        }
    }
}
