//! `session`: backup mode for a tool that cuts or copies by itself, from `begin` to `end`.

mod abort;
mod begin;
mod end;
mod hold;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use stillframe_core::catalog::process_space;
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::flows::{SessionError, published_session};
use stillframe_core::session_directory::{SessionDirectory, SessionId, SessionRecord, SessionState, read_id};

use crate::common::Common;
use crate::exit::Failure;
use crate::session::order::BeginOptions;
use crate::session::refuse_elsewhere;
use crate::wiring::World;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Enter backup mode and return; prints the start LSN, and the id of the session on the next line
    ///
    /// A process that it leaves behind holds backup mode until `session end`. In a unit of systemd use `hold` in a service of its own:
    /// what `ExecStartPre=` leaves behind is killed before `ExecStart=`.
    Begin(BeginOptions),
    /// Enter backup mode and hold it in the foreground, for a service manager; prints what `begin` prints
    Hold(BeginOptions),
    /// Leave backup mode, print `backup_label` byte for byte, and publish the backup
    ///
    /// May be repeated: it prints the same label again. 0 says that the backup is published; 4 that the copy is void; any other code
    /// that nothing is lost and the same command shall be run again.
    End(EndOptions),
    /// Show what a session does, or what became of it; all of this host without an id
    Status(Choice),
    /// Leave backup mode and forget the backup; the copy is void
    Abort(AbortOptions),
    /// Own a session; `begin` starts it
    #[command(hide = true)]
    Own,
}

/// Which session.
#[derive(Debug, Args)]
pub struct Choice {
    /// The id that `session begin` printed
    #[arg(conflicts_with = "id_file")]
    id: Option<SessionId>,
    /// The file that `session begin --id-file` wrote
    #[arg(long, value_name = "FILE")]
    id_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct AbortOptions {
    #[command(flatten)]
    choice: Choice,
    /// Forget also a session that has left backup mode in good order, and only waits for its publication
    #[arg(long)]
    discard: bool,
}

#[derive(Debug, Args)]
pub struct EndOptions {
    #[command(flatten)]
    choice: Choice,
    /// By what the outside tool knows its copy; may be given several times
    #[arg(long = "snapshot-id", value_name = "ID", value_parser = snapshot_id)]
    snapshot_ids: Vec<String>,
    /// Write `backup_label`, and `tablespace_map` if there are tablespaces, into this directory as well
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

/// Longest id of a copy.
const MAX_SNAPSHOT_ID: usize = 1024;

fn snapshot_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_SNAPSHOT_ID || text.chars().any(char::is_control) {
        return Err(format!("it must have 1 to {MAX_SNAPSHOT_ID} bytes, and no control characters"));
    }
    Ok(text.to_owned())
}

/// Runs the subcommand.
pub async fn run(common: &Common, command: &Command, json: bool) -> Result<ExitCode, Failure> {
    match command {
        Command::Begin(options) => begin::run(common, options, json).await,
        Command::Hold(options) => hold::run(common, options, json).await,
        Command::End(options) => end::run(common, options, json).await,
        Command::Status(choice) => status::run(common, choice, json).await,
        Command::Abort(options) => abort::run(common, options, json).await,
        Command::Own => begin::own(common).await,
    }
}

impl Choice {
    /// The id; none when nobody has named a session.
    fn find(&self) -> Result<Option<SessionId>, Failure> {
        match (&self.id, &self.id_file) {
            (Some(id), _) => Ok(Some(id.clone())),
            (None, Some(path)) => Ok(Some(read_id(path)?.ok_or_else(|| NoIdFile(path.clone()))?)),
            (None, None) => Ok(None),
        }
    }

    /// The session that must be named, and its record.
    fn read(&self, world: &World, directory: &SessionDirectory) -> Result<SessionRecord, Failure> {
        let id = self.find()?.ok_or(NoneNamed)?;
        let record = directory.read(&id)?.ok_or(SessionError::NoSuchSession(id))?;
        refuse_elsewhere(world, &record)?;
        Ok(record)
    }
}

/// What is true of a session whose owner is dead, whatever its record says: the catalog knows what is published, and what was kept
/// for a publication has left backup mode in good order.
async fn without_owner(world: &World, directory: &SessionDirectory, record: SessionRecord) -> Result<SessionRecord, Failure> {
    let now = SystemClock.now();
    if record.state.is_void() {
        return Ok(record);
    }
    if published_session(&world.ports(), &record.backup_name).await?.is_some() {
        let is_known = record.state == SessionState::Published;
        return Ok(if is_known { record } else { record.ended(SessionState::Published, None, now) });
    }
    if record.state != SessionState::Published && directory.sentinel(&record.id)?.is_some() {
        let reason = record.reason.clone();
        return Ok(record.ended(SessionState::Stopped, reason, now));
    }
    if !record.is_of_this_boot() && process_space().is_some() {
        tracing::warn!("the session is of an earlier boot, or of the machine that this one is a copy of");
    }
    Ok(record.without_owner(now))
}

/// The file of an id is not there.
#[derive(Debug, thiserror::Error)]
#[error("there is no file `{}`", .0.display())]
struct NoIdFile(PathBuf);

impl stillframe_core::error::Classify for NoIdFile {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Refused
    }

    fn hint(&self) -> Option<String> {
        Some("`stillframe session status` lists the sessions of this host".to_owned())
    }
}

/// Neither an id nor a file is named.
#[derive(Debug, thiserror::Error)]
#[error("no session is named")]
struct NoneNamed;

impl stillframe_core::error::Classify for NoneNamed {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("give its id, or --id-file".to_owned())
    }
}
