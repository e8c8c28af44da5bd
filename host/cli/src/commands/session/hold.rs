//! `session hold`: holds backup mode in the foreground, for a service manager that starts it and may stop it.
//!
//! The manager is told when backup mode is held, so that what is ordered after this service begins neither earlier nor in vain.

use std::process::ExitCode;

use crate::common::Common;
use crate::daemon::notify;
use crate::exit::Failure;
use crate::output::print;
use crate::session::order::BeginOptions;
use crate::session::owner;
use crate::wiring::new_session_id;

/// Holds until the session is ended or given up; a signal to end gives it up.
pub async fn run(common: &Common, options: &BeginOptions, json: bool) -> Result<ExitCode, Failure> {
    let order = options.order(new_session_id()?).map_err(NoDirectory)?;
    owner::own(common, order, |begun| {
        print(json, begun, || begun.text());
        notify::ready();
        Ok(())
    })
    .await
    // A result has been printed, or the failure is all there is to say.
    .map_err(|failure| if json { failure.beside_a_result() } else { failure })
}

/// The working directory is gone.
#[derive(Debug, thiserror::Error)]
#[error("the working directory cannot be found")]
struct NoDirectory(#[source] std::io::Error);

impl stillframe_core::error::Classify for NoDirectory {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Usage
    }
}
