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
    /// Nobody but whoever inherits a process: the prefetcher, which its own starter does not wait for.
    Nobody,
}

impl Caller {
    /// Tells by the arguments, before they are understood: a misspelt flag must not look like an absent file either, nor a
    /// misspelt command beside the bare name of a WAL file, which only `restore_command` gives.
    pub fn of_process() -> Self {
        Self::of(&std::env::args_os().collect::<Vec<_>>())
    }

    fn of(arguments: &[OsString]) -> Self {
        let is_wal_file = |text: &str| text.parse::<WalFileName>().is_ok();
        let is_told = |argument: &OsString| argument == "wal-fetch" || argument.to_str().is_some_and(is_wal_file);
        if is_prefetcher(arguments) {
            Self::Nobody
        } else if !arguments.iter().any(|argument| argument == "wal-push") && arguments.iter().any(is_told) {
            Self::Recovery
        } else {
            Self::Anybody
        }
    }
}

/// Whether it is called as `wal-fetch` calls it, with three words. PostgreSQL gives one or two, and whoever names this command in
/// place of `wal-push` must not be told that WAL is archived.
fn is_prefetcher(arguments: &[OsString]) -> bool {
    let mut arguments = arguments.iter().skip(1);
    let mut words = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") => {
                arguments.next();
            }
            Some(text) if text.starts_with('-') => {}
            _ => words.push(argument),
        }
    }
    words.len() > 3 && words[0] == "wal-prefetch"
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
        // PostgreSQL as process 1 inherits it, and would take anything else for a crash of a process of its own.
        Caller::Nobody => 0,
    }
}

/// Ends the process with an error's code when it panics: the usual 101 would tell PostgreSQL that the file is absent.
pub fn end_panics_as_errors(caller: Caller) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(code(ErrorClass::Internal, caller).into());
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

    #[test]
    fn only_the_prefetcher_as_it_is_left_behind_ends_without_a_code() {
        let of = |line: &str| Caller::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let segment = "000000010000000000000003";
        for line in
            ["x wal-prefetch a b c", "x --config /c wal-prefetch -v a b c", "x wal-prefetch --config=/c a b c of-a-later-version"]
        {
            assert_eq!(of(line), Caller::Nobody, "{line}");
        }
        assert_eq!(code(ErrorClass::Usage, Caller::Nobody), 0);
        assert_eq!(of("x wal-prefetch pg_wal/a"), Caller::Anybody, "an archive_command");
        assert_eq!(of(&format!("x wal-prefetch {segment} pg_wal/RECOVERYXLOG")), Caller::Recovery, "a restore_command");
        assert_eq!(of("x --config wal-prefetch wal-fetch a b c"), Caller::Recovery);
        assert_eq!(of("x wal-push wal-prefetch a b c"), Caller::Anybody);
    }
}
