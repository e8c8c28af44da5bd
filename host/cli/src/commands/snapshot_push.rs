//! `snapshot-push`: takes a backup.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use stillframe_core::catalog::{Backup, ExternalKind, Permanence};
use stillframe_core::data_directory::LocalStoppedServer;
use stillframe_core::flows::{
    ColdServer, ExternalWal, Isolation, Ports, PushRequest, Readiness, Server, Unproven, snapshot_push, snapshot_push_cold,
    snapshot_push_external,
};
use stillframe_core::paths::{KernelFiles, LocalPaths};
use stillframe_core::provider::ProviderName;
use stillframe_core::store::Store;

use super::view::BackupView;
use crate::common::Common;
use crate::config::{ConfigError, SessionPlace, host_name};
use crate::exit::Failure;
use crate::output::print;
use crate::progress::ProgressOptions;
use crate::wiring::{World, interrupted, lease_request};

/// What is left when it is interrupted twice.
const LEFT: &str = "the intent for `delete garbage`";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of the command line")]
pub struct Options {
    /// The provider of every directory that `[paths]` in the configuration does not name
    ///
    /// By default the one that `backup.provider` names, or the only one that is configured. What `[paths]` says of a directory
    /// counts all the same: where its data lies does not change by a flag.
    #[arg(long, value_parser = |text: &str| ProviderName::try_from(text.to_owned()))]
    provider: Option<ProviderName>,
    /// Back up a server that was shut down, without connecting to it
    ///
    /// `pg_control` must prove a clean shutdown of a primary, and nobody may start the server until the backup is published. Its WAL
    /// needs no archive: the segment with the shutdown checkpoint is kept with the backup.
    #[arg(long)]
    cold: bool,
    /// The WAL is kept by the tool that `[external_archive]` names: it is looked for there, and nothing is written there
    #[arg(long, conflicts_with = "cold")]
    external_archive: bool,
    /// Publish even if nothing proves that the WAL is in the external archive; that is recorded
    #[arg(long, requires = "external_archive")]
    unproven: bool,
    /// Where backup mode is while the files of a standby are cut
    ///
    /// By default what `session` under `[backup]` says. With `primary` the backup begins and ends on the primary, and the files are
    /// cut on the standby once it has replayed the beginning and has a restartpoint there.
    #[arg(long)]
    session: Option<SessionPlace>,
    /// Publish as soon as the WAL is archived: `backup-list` asks later whether the snapshots became ready
    #[arg(long)]
    no_wait: bool,
    /// No retention rule deletes this backup
    #[arg(long, short)]
    permanent: bool,
    /// Keep this JSON value with the backup
    #[arg(long, value_name = "JSON", value_parser = json_value)]
    add_user_data: Option<serde_json::Value>,
    /// For tests: accept a snapshot that changes with the live cluster
    #[arg(long)]
    allow_not_isolated: bool,
    #[command(flatten)]
    pub progress: ProgressOptions,
}

/// Reads a value that the operator keeps with a backup.
pub fn json_value(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; a text needs its own quotes: '\"nightly\"'"))
}

/// Takes a backup.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let providers = world.providers.choose(options.provider.as_ref(), &world.config)?;
    let (name, token) = world.new_identity()?;
    let request = PushRequest {
        name,
        token,
        providers,
        permanence: if options.permanent { Permanence::Permanent } else { Permanence::Ordinary },
        user_data: options.add_user_data.clone(),
        readiness: if options.no_wait { Readiness::Later } else { Readiness::Awaited },
        checkpoint: world.config.checkpoint,
        isolation: if options.allow_not_isolated { Isolation::NotRequired } else { Isolation::Required },
        hostname: host_name(),
        lease: lease_request("snapshot-push"),
        deadlines: world.config.deadlines,
    };
    let locator = LocalPaths { pgdata: world.config.pgdata()?.to_owned(), kernel: KernelFiles::default() };
    if options.cold {
        let stopped = LocalStoppedServer { pgdata: locator.pgdata.clone() };
        let server = ColdServer { stopped: &stopped, locator: &locator };
        // It keeps WAL, which is encrypted for whom the archive is.
        let archiving = world.archiving_now()?;
        let ports = Ports { archiving: &archiving, ..world.ports() };
        let backup = snapshot_push_cold(&ports, server, &request, interrupted(LEFT)).await?;
        return Ok(published(json, &backup));
    }
    let external = if options.external_archive { Some(external(&world).await?) } else { None };
    let mut connection = world.connect().await?;
    let primary = world.primary_of(&mut *connection, options.session.unwrap_or(world.config.session_place)).await?;
    let server = Server { connection, primary, locator: &locator };
    let backup = match &external {
        Some((kind, place)) => {
            let unproven = if options.unproven { Unproven::Accepted } else { Unproven::Refused };
            let wal = ExternalWal { kind: *kind, place: place.as_deref(), unproven };
            snapshot_push_external(&world.ports(), server, &wal, &request, interrupted(LEFT)).await?
        }
        None => snapshot_push(&world.ports(), server, &request, interrupted(LEFT)).await?,
    };
    Ok(published(json, &backup))
}

/// Who keeps the WAL, and the place for reading.
async fn external(world: &World) -> Result<(ExternalKind, Option<Arc<dyn Store>>), Failure> {
    let external = world.config.external.as_ref().ok_or(ConfigError::Missing { key: "external_archive.kind" })?;
    Ok((external.kind, world.external_archive().await?))
}

fn published(json: bool, backup: &Backup) -> ExitCode {
    print(json, &BackupView::from(backup), || backup.sentinel.name.to_string());
    ExitCode::SUCCESS
}
