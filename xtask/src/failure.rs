//! Why a chore could not be done; read by a person, so a text.

use std::fmt;
use std::io;

/// A chore that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    /// What the process ends with: that of the program that failed, where there was one.
    pub(crate) exit_code: u8,
}

impl Failure {
    /// A failure of the chore itself.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit_code: 1 }
    }

    /// The failure of a program.
    pub(crate) fn of_program(text: impl Into<String>, code: Option<i32>) -> Self {
        let exit_code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1);
        Self { text: text.into(), exit_code }
    }

    /// A failure of the file system; `action` completes "cannot …".
    pub(crate) fn io(action: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::new(format!("cannot {action}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
