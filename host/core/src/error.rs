//! What every error of Stillframe can say about itself.
//!
//! An error's class alone decides whether an operation is tried again and which exit code the process ends with; its hint tells
//! the operator what to do. Neither is ever parsed from text.

use std::error::Error;

/// What kind of failure it is; the one input to retry and exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The command line is wrong.
    Usage,
    /// The configuration, or the set-up of the server, is wrong.
    Config,
    /// The request is understood and would do harm, or what it names does not exist.
    Refused,
    /// It may work when tried again: a network, a lock, a full disk, a deadline.
    Transient,
    /// Stored or restored data is not what was written.
    Corrupt,
    /// A fault of Stillframe or of a provider.
    Internal,
}

/// An error that knows its class and what the operator can do.
pub trait Classify: Error + Send + Sync + 'static {
    /// Says what kind of failure it is.
    fn class(&self) -> ErrorClass;

    /// Says what the operator can do about it; no final stop.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Message of an error and of everything below it, outermost first, as one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
