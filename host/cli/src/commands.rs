//! One file per command: its options, the flow that it runs, and what it prints.

pub mod archive_accept;
pub mod backup_list;
pub mod backup_lock;
pub mod backup_mark;
pub mod backup_show;
pub mod can_restore;
pub mod check;
pub mod config_import;
pub mod config_show;
pub mod delete;
pub mod drill;
pub mod provider;
pub mod reconcile;
pub mod recovery_accept;
pub mod recovery_status;
pub mod restore_point;
pub mod session;
pub mod snapshot_fetch;
pub mod snapshot_push;
pub mod snapshot_release;
pub mod store_create;
pub mod wal_daemon;
pub mod wal_fetch;
pub mod wal_push;
pub mod wal_show;
pub mod wal_verify;
pub mod window;

mod named;
mod restored_server;
mod target;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use crate::args::Command;
use crate::common::Common;
use crate::exit::Failure;

/// How long a command that has ended waits for its file operations.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// Runs one command.
pub fn run(command: Command, common: &Common, json: bool) -> Result<ExitCode, Failure> {
    if json && !command.has_result() {
        return Err(NothingToPrint.into());
    }
    match command {
        // These two run once per segment: one thread, and nothing that they do not use.
        Command::WalPush(options) => single_threaded(wal_push::run(common, &options)),
        Command::WalFetch(options) => single_threaded(wal_fetch::run(common, &options)),
        Command::WalPrefetch(options) => single_threaded(wal_fetch::prefetch::run(common, &options)),
        Command::WalDaemon(options) => multi_threaded(wal_daemon::run(common, &options)),
        Command::SnapshotPush(options) => multi_threaded(snapshot_push::run(common, &options, json)),
        Command::SnapshotFetch(options) => multi_threaded(snapshot_fetch::run(common, &options, json)),
        Command::SnapshotRelease(options) => multi_threaded(snapshot_release::run(common, &options, json)),
        Command::Recovery(recovery_status::Command::Status(options)) => {
            multi_threaded(recovery_status::run(common, &options, json))
        }
        Command::Recovery(recovery_status::Command::Accept(options)) => multi_threaded(recovery_accept::run(&options, json)),
        Command::WalShow(options) => single_threaded(wal_show::run(common, &options, json)),
        Command::WalVerify(options) => multi_threaded(wal_verify::run(common, &options, json)),
        Command::Window(options) => multi_threaded(window::run(common, &options, json)),
        Command::CanRestore(options) => multi_threaded(can_restore::run(common, &options, json)),
        // These two ask providers about backups that are not known to be ready.
        Command::BackupList => multi_threaded(backup_list::run(common, json)),
        Command::BackupShow(options) => multi_threaded(backup_show::run(common, &options, json)),
        Command::BackupMark(options) => single_threaded(backup_mark::run(common, &options, json)),
        Command::BackupLock(options) => multi_threaded(backup_lock::run(common, &options, json)),
        Command::Check(options) => multi_threaded(check::run(common, &options, json)),
        Command::Reconcile(options) => multi_threaded(reconcile::run(common, &options, json)),
        Command::RestorePoint(command) => multi_threaded(restore_point::run(common, &command, json)),
        Command::Delete(options) => multi_threaded(delete::run(common, &options, json)),
        Command::Drill(options) => multi_threaded(drill::run(common, &options, json)),
        Command::Session(command) => multi_threaded(session::run(common, &command, json)),
        Command::Config(config_show::Command::Show) => config_show::run(common, json),
        Command::Config(config_show::Command::Import(options)) => config_import::run(&options, json),
        Command::Provider(command) => multi_threaded(provider::run(common, &command, json)),
        Command::Store(store_create::Command::Create) => multi_threaded(store_create::run(common, json)),
        Command::Archive(archive_accept::Command::Accept(options)) => single_threaded(archive_accept::run(common, &options, json)),
    }
}

fn single_threaded(flow: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    block_on(tokio::runtime::Builder::new_current_thread(), flow)
}

fn multi_threaded(flow: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    block_on(tokio::runtime::Builder::new_multi_thread(), flow)
}

fn block_on(
    mut builder: tokio::runtime::Builder,
    flow: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = builder.enable_all().build().map_err(|source| NoRuntime { source })?;
    let result = runtime.block_on(flow);
    // What an interruption stopped may still be cleaning up; a file system that hangs must not keep us for ever.
    runtime.shutdown_timeout(CLEAN_UP);
    result
}

/// JSON is asked of a command that has none.
#[derive(Debug, thiserror::Error)]
#[error("this command prints no result, and so none as JSON")]
struct NothingToPrint;

impl stillframe_core::error::Classify for NothingToPrint {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("leave --json out; the exit code tells".to_owned())
    }
}

/// The system gives no threads or no event queue.
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
struct NoRuntime {
    #[source]
    source: std::io::Error,
}

impl stillframe_core::error::Classify for NoRuntime {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Transient
    }
}
