//! `recovery accept`: lets everybody in again, once the operator has looked at what was recovered.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::flows::{AcceptedRecovery, recovery_accept};

use super::restored_server::RestoredServer;
use crate::exit::Failure;
use crate::output::print;

#[derive(Debug, Args)]
#[command(
    after_help = "The server's own pg_hba.conf was never changed. While the server runs, the file in its place becomes a link to it, \
    which is read at once; without a server, the next start reads its own. Run it again after an interruption."
)]
pub struct Options {
    /// The restored data directory
    directory: PathBuf,
    /// How to reach its server [default: its own socket, as the role of --lock-out]
    #[arg(long)]
    conninfo: Option<String>,
    /// The server's own file, where it cannot say which that is
    #[arg(long, value_name = "FILE")]
    hba_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct View {
    format_version: u32,
    directory: PathBuf,
    /// `opened`, `at-next-start` or `not-locked`.
    outcome: &'static str,
    hba_file: Option<PathBuf>,
}

/// Accepts it.
pub async fn run(options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let own = options.hba_file.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let mut session = match RestoredServer::find(&options.directory, options.conninfo.as_deref()).await? {
        RestoredServer::Stopped => None,
        RestoredServer::Silent(failure) => return Err(failure),
        RestoredServer::Answering(session) => Some(session),
    };
    let accepted = match &mut session {
        Some(session) => recovery_accept(&options.directory, Some(&mut **session), own.as_deref()).await?,
        None => recovery_accept(&options.directory, None, own.as_deref()).await?,
    };
    let (outcome, hba_file) = match &accepted {
        AcceptedRecovery::Opened { own } => ("opened", Some(own.clone())),
        AcceptedRecovery::AtNextStart => ("at-next-start", None),
        AcceptedRecovery::NotLocked => ("not-locked", None),
    };
    let view = View { format_version: 1, directory: options.directory.clone(), outcome, hba_file };
    print(json, &view, || describe(&accepted, options));
    Ok(ExitCode::SUCCESS)
}

fn describe(accepted: &AcceptedRecovery, options: &Options) -> String {
    let directory = options.directory.display();
    match accepted {
        AcceptedRecovery::Opened { own } => format!("the server on {directory} admits whom `{}` admits", own.display()),
        AcceptedRecovery::AtNextStart => format!("the next server that starts on {directory} reads its own pg_hba.conf"),
        AcceptedRecovery::NotLocked => format!("{directory} is not locked"),
    }
}
