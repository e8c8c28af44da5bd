//! Why an operation on a tree failed: the cases of the WIT variant `tree-error`.

use std::fmt::Display;
use std::io;

use rustix::io::Errno;
use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

/// Why an operation on a tree failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TreeError {
    /// A rule forbids it; the text names the rule.
    #[error("denied: {0}")]
    Denied(String),
    /// There is no such root, file or directory.
    #[error("not found: {0}")]
    NotFound(String),
    /// The destination is there already.
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// The file system cannot do it.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The disk or a quota is full.
    #[error("no room is left: {0}")]
    Exhausted(String),
    /// It was stopped; what was built so far is removed.
    #[error("it was stopped at its deadline")]
    TimedOut,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl TreeError {
    /// The error of a system call, told as what could not be done with which path.
    pub(super) fn of(action: &str, path: &dyn Display, cause: &io::Error) -> Self {
        let text = format!("cannot {action} `{path}`: {cause}");
        if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Exhausted(text);
        }
        match Errno::from_io_error(cause) {
            Some(Errno::NOENT) => Self::NotFound(text),
            Some(Errno::EXIST | Errno::NOTEMPTY) => Self::AlreadyExists(text),
            Some(Errno::LOOP) => Self::Denied(format!("cannot {action} `{path}`: a symbolic link is on the way")),
            Some(Errno::XDEV) => Self::Denied(format!("cannot {action} `{path}`: it leads out of its root")),
            Some(Errno::OPNOTSUPP | Errno::NOSYS) => Self::Unsupported(text),
            _ => Self::Failed(text),
        }
    }
}

impl Classify for TreeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Denied(_) | Self::NotFound(_) | Self::Unsupported(_) => ErrorClass::Config,
            Self::AlreadyExists(_) => ErrorClass::Refused,
            Self::Exhausted(_) | Self::TimedOut | Self::Failed(_) => ErrorClass::Transient,
        }
    }
}
