//! The capability `command`: programs that the operator's policy names.
//!
//! The host loads a component that imports this only if the operator grants it, and denies each call that the policy does not cover.

use crate::Error;
pub use crate::bindings::base::stillframe::provider::command::{CommandError, ExitStatus, Invocation, Output};

/// Programs that the operator's policy names; see `wit/capabilities.wit`.
pub trait Command {
    /// Runs one program to its end.
    fn run(&self, invocation: &Invocation) -> Result<Output, CommandError>;
}

/// What the host makes of an error that the provider did not expect.
impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Denied(text) => Self::Denied(text),
            CommandError::NotInstalled(text) => Self::Unsupported(format!("running a program that is not installed: {text}")),
            CommandError::TimedOut => Self::Transient("a program was ended at the deadline".to_owned()),
            CommandError::Failed(text) => Self::Transient(text),
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl Command for crate::Sandbox {
    fn run(&self, invocation: &Invocation) -> Result<Output, CommandError> {
        crate::bindings::base::stillframe::provider::command::run(invocation)
    }
}
