//! Exit codes: one table from error classes to numbers.
//!
//! `restore_command` has a column of its own. PostgreSQL takes 1 to 125 for "there is no such file" and may then end recovery,
//! so nothing but a proven absence may give such a code there.

use std::error::Error;
use std::ffi::OsString;

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::postgres::WalFileName;

/// A file that is certainly not in the archive.
pub const ABSENT: u8 = 1;

/// How PostgreSQL will read the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A person, a script or `archive_command`.
    Anybody,
    /// `restore_command`.
    Recovery,
}

impl Caller {
    /// Tells by the arguments, before they are understood: a misspelt flag must not look like an absent file either, nor a
    /// misspelt command beside the bare name of a WAL file, which only `restore_command` gives.
    pub fn of_process() -> Self {
        let is_wal_file = |text: &str| text.parse::<WalFileName>().is_ok();
        let is_told = |argument: OsString| argument == "wal-fetch" || argument.to_str().is_some_and(is_wal_file);
        let pushes = std::env::args_os().any(|argument| argument == "wal-push");
        if !pushes && std::env::args_os().any(is_told) { Self::Recovery } else { Self::Anybody }
    }
}

/// The exit code of a class.
pub fn code(class: ErrorClass, caller: Caller) -> u8 {
    let (code, code_of_wal_fetch) = match class {
        ErrorClass::Usage => (2, 202),
        ErrorClass::Config => (3, 203),
        ErrorClass::Refused => (4, 204),
        ErrorClass::Transient => (5, 205),
        ErrorClass::Corrupt => (6, 206),
        ErrorClass::Internal => (7, 207),
    };
    match caller {
        Caller::Anybody => code,
        Caller::Recovery => code_of_wal_fetch,
    }
}

/// Ends the process with an error's code when it panics: the usual 101 would tell PostgreSQL that the file is absent.
pub fn end_panics_as_errors() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(code(ErrorClass::Internal, Caller::Recovery).into());
    }));
}

/// What a command ends with when it fails.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    class: ErrorClass,
    hint: Option<String>,
    is_beside_a_result: bool,
}

impl Failure {
    /// Message of the error and of everything below it, outermost first.
    pub fn chain(&self) -> Vec<String> {
        let mut messages = vec![self.error.to_string()];
        let mut source = self.error.source();
        while let Some(error) = source {
            messages.push(error.to_string());
            source = error.source();
        }
        messages
    }

    /// What the operator can do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The same failure of a command that has printed a result, which tells of it.
    pub fn beside_a_result(mut self) -> Self {
        self.is_beside_a_result = true;
        self
    }

    /// Whether a result has been printed: standard output holds one JSON document and no more.
    pub fn is_beside_a_result(&self) -> bool {
        self.is_beside_a_result
    }

    /// The class.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

impl<E: Classify> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { class: error.class(), hint: error.hint(), error: Box::new(error), is_beside_a_result: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_never_takes_an_error_for_an_absent_file() {
        use ErrorClass::{Config, Corrupt, Internal, Refused, Transient, Usage};
        for class in [Usage, Config, Refused, Transient, Corrupt, Internal] {
            assert!((2..126).contains(&code(class, Caller::Anybody)), "{class:?}");
            assert!(code(class, Caller::Recovery) > 125, "{class:?}");
        }
    }
}
