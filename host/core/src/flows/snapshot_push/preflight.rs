//! What is proven before a backup begins: server, archiving, directories, provider.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{PushError, PushRequest, Server};
use crate::catalog::{Backup, CatalogContents, Intent};
use crate::flows::Ports;
use crate::postgres::{ArchiveMode, ServerFacts};
use crate::provider::{
    CreateRequest, DataPath, OWNER_LABEL, Provider, ProviderError, ProviderFault, ProviderName, SetReference, Volume,
};

/// What the steps after the deadlines may need: writing and removing a few small objects.
const SLACK: Duration = Duration::from_hours(1);

/// A backup that can begin.
pub(super) struct Prepared {
    pub(super) facts: ServerFacts,
    pub(super) paths: Vec<DataPath>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) create: CreateRequest,
    pub(super) intent: Intent,
    /// Whether the provider was asked to cut: before that there is nothing to undo, and nothing to ask it about.
    pub(super) create_was_called: AtomicBool,
}

/// Proves everything that can be proven without a side effect.
pub(super) async fn prepare(ports: &Ports<'_>, server: &mut Server<'_>, request: &PushRequest) -> Result<Prepared, PushError> {
    let provider = ports.providers.open(&request.provider).await?;
    for warning in provider.check().await? {
        tracing::warn!(provider = %request.provider, "{warning}");
    }
    let facts = server.connection.facts().await?;
    check_archiving(server, &facts).await?;
    let paths = server.locator.locate(&facts)?;
    let volumes = in_cutting_order(provider.resolve(&paths).await?);
    check_covered(&request.provider, &paths, &volumes)?;
    let contents = ports.catalog().contents().await?;
    let labels = BTreeMap::from([
        (OWNER_LABEL.to_owned(), owner(ports, &facts)),
        ("stillframe-backup".to_owned(), request.name.to_string()),
        ("stillframe-token".to_owned(), request.token.0.clone()),
    ]);
    let create = CreateRequest {
        token: request.token.clone(),
        name: request.name.clone(),
        volumes,
        labels,
        previous: previous(&*provider, &contents, request, &facts).await?,
    };
    let intent = intent(ports, request, &facts);
    Ok(Prepared { facts, paths, provider, create, intent, create_was_called: AtomicBool::new(false) })
}

/// Whose snapshots they are: two clusters of one name must not take each other's for leftovers.
fn owner(ports: &Ports<'_>, facts: &ServerFacts) -> String {
    format!("{}/{}", ports.layout.cluster(), facts.system_identifier)
}

async fn check_archiving(server: &mut Server<'_>, facts: &ServerFacts) -> Result<(), PushError> {
    // A standby does not archive by itself; its primary does, and the archive is watched in the end.
    if facts.in_recovery {
        if server.primary.is_none() && facts.archive_mode != ArchiveMode::Always {
            tracing::warn!("without `primary_conninfo` the WAL of this backup is archived only when the primary goes on writing");
        }
        return Ok(());
    }
    if facts.archive_mode == ArchiveMode::Off {
        return Err(PushError::NotArchiving { setting: "archive_mode = off" });
    }
    if !facts.archiver_is_set {
        return Err(PushError::NotArchiving { setting: "archive_command = ''" });
    }
    let archiver = server.connection.archiver().await?;
    if archiver.is_failing {
        tracing::warn!(file = archiver.last_failed_wal, "the server's archiver fails at present");
    }
    Ok(())
}

/// A volume with files that must come last is cut last: on a standby the end of the backup is what `pg_control` says.
fn in_cutting_order(mut volumes: Vec<Volume>) -> Vec<Volume> {
    volumes.sort_by_key(|volume| volume.paths.iter().any(|path| !path.last.is_empty()));
    volumes
}

/// The provider's word is not taken for it: each path must lie on exactly one of its volumes.
fn check_covered(provider: &ProviderName, paths: &[DataPath], volumes: &[Volume]) -> Result<(), ProviderError> {
    let fault = |fault| ProviderError { provider: provider.clone(), operation: "map the directories to volumes", fault };
    for path in paths {
        let holders = volumes.iter().flat_map(|volume| &volume.paths).filter(|held| held.name == path.name).count();
        match holders {
            1 => {}
            0 => return Err(fault(ProviderFault::UnmanagedPath(path.path.display().to_string()))),
            _ => return Err(fault(ProviderFault::BadAnswer(format!("`{}` lies on {holders} volumes", path.path.display())))),
        }
    }
    Ok(())
}

/// The newest set that storage can be shared with.
///
/// First the newest set of this provider at all is asked for, whatever it is: that proves, before backup mode and before the
/// provider may mark a directory as its own, that it reaches the storage that earlier backups are on.
async fn previous(
    provider: &dyn Provider,
    contents: &CatalogContents,
    request: &PushRequest,
    facts: &ServerFacts,
) -> Result<Option<String>, PushError> {
    let mut earlier: Vec<&Backup> = contents.backups.iter().filter(|backup| backup.sentinel.provider == request.provider).collect();
    earlier.sort_by_key(|backup| backup.sentinel.started_at);
    if let Some(newest) = earlier.last() {
        provider.get(&handle_of(newest)).await?;
    }
    let is_usable = |backup: &&&Backup| {
        let sentinel = &backup.sentinel;
        sentinel.system_identifier == facts.system_identifier && sentinel.snapshot.isolated && !backup.is_condemned
    };
    let Some(newest) = earlier.iter().rev().find(is_usable) else { return Ok(None) };
    if provider.get(&handle_of(newest)).await?.is_none() {
        tracing::warn!(backup = %newest.sentinel.name, "the snapshot of this backup is gone: it cannot be restored");
        return Ok(None);
    }
    Ok(Some(newest.sentinel.snapshot.handle.clone()))
}

fn handle_of(backup: &Backup) -> SetReference {
    SetReference::Handle(backup.sentinel.snapshot.handle.clone())
}

fn intent(ports: &Ports<'_>, request: &PushRequest, facts: &ServerFacts) -> Intent {
    let begun_at = ports.clock.now();
    let deadlines = request.deadlines;
    let waits = [request.lease.deadline, deadlines.cut, deadlines.archive, deadlines.ready];
    let lifetime = waits.into_iter().fold(SLACK, Duration::saturating_add);
    Intent {
        name: request.name.clone(),
        token: request.token.clone(),
        provider: request.provider.clone(),
        system_identifier: facts.system_identifier,
        timeline: facts.timeline,
        wal_position: facts.wal_position,
        segment_size: facts.segment_size,
        begun_at,
        expires_at: begun_at.saturating_add(lifetime).unwrap_or(begun_at),
        hostname: request.hostname.clone(),
    }
}
