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

/// Class, exit code, exit code of `wal-fetch`, meaning.
pub const TABLE: [(ErrorClass, u8, u8, &str); 6] = [
    (ErrorClass::Usage, 2, 202, "the command line is wrong"),
    (ErrorClass::Config, 3, 203, "the configuration or the set-up of the server is wrong"),
    (ErrorClass::Refused, 4, 204, "it would do harm, or what it names does not exist"),
    (ErrorClass::Transient, 5, 205, "it may work when tried again"),
    (ErrorClass::Corrupt, 6, 206, "stored or restored data is not what was written"),
    (ErrorClass::Internal, 7, 207, "a fault of Stillframe or of a provider"),
];

/// The exit code of a class.
pub fn code(class: ErrorClass, caller: Caller) -> u8 {
    match (TABLE.iter().find(|(listed, ..)| *listed == class), caller) {
        (Some((_, code, _, _)), Caller::Anybody) | (Some((_, _, code, _)), Caller::Recovery) => *code,
        (None, _) => u8::MAX,
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
        for (class, code, code_of_wal_fetch, _) in TABLE {
            assert!((2..126).contains(&code), "{class:?}");
            assert!(code_of_wal_fetch > 125, "{class:?}");
        }
    }
}
