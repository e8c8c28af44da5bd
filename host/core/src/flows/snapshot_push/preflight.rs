//! What is proven before a backup begins: server, archiving, directories, and each provider.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::assign;
use super::cover::{Covered, cover};
use super::leftovers::Leftovers;
use super::standby::{self, Primary};
use super::{PushError, PushRequest, Server};
use crate::catalog::{Backup, BackupSet, CatalogContents, IntendedSet, Intent, IntentProcess};
use crate::flows::Ports;
use crate::flows::known_snapshots::KnownSnapshots;
use crate::paths::Locator;
use crate::postgres::{ArchiveMode, ServerFacts};
use crate::provider::{CreateRequest, DataPath, Provider, SetReference};

/// Steps besides the cuts that have the same deadline.
const STEPS_AROUND_THE_CUT: u32 = 4;

/// The same with backup mode on the primary: both servers enter and leave it, and the standby is waited for.
const STEPS_ON_TWO_SERVERS: u32 = 2 * STEPS_AROUND_THE_CUT + 2;

/// What the steps after the deadlines may need: writing and removing a few small objects.
const SLACK: Duration = Duration::from_hours(1);

/// A backup that can begin.
pub(in crate::flows) struct Prepared {
    /// Of the server whose files are cut.
    pub(in crate::flows) facts: ServerFacts,
    /// Of its primary, when it is a standby and its primary is known.
    pub(in crate::flows) primary: Option<ServerFacts>,
    pub(in crate::flows) paths: Vec<DataPath>,
    /// One for each provider, in cutting order.
    pub(in crate::flows) parts: Vec<Part>,
    pub(in crate::flows) intent: Intent,
    /// When its time is over, by a clock that nobody sets.
    pub(in crate::flows) ends_at: Duration,
    /// What earlier backups of this host left in the catalog.
    pub(in crate::flows) left: Leftovers,
    /// What other backups are made of.
    pub(in crate::flows) known: KnownSnapshots,
    /// Where its WAL will be.
    pub(in crate::flows) archive: Archive,
}

/// Where the WAL of a backup will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flows) enum Archive {
    /// In the archive.
    Ours,
    /// Kept with the backup, since the server does not run.
    NotNeeded,
}

/// What one provider cuts.
pub(in crate::flows) struct Part {
    pub(in crate::flows) provider: Arc<dyn Provider>,
    pub(in crate::flows) create: CreateRequest,
    /// Whether the provider was asked to cut: before that there is nothing to undo, and nothing to ask it about.
    pub(in crate::flows) create_was_called: AtomicBool,
    /// Handle of what it has cut, once it has said so.
    pub(in crate::flows) created: OnceLock<String>,
}

/// Proves everything that can be proven without a side effect.
pub(super) async fn prepare(ports: &Ports<'_>, server: &mut Server<'_>, request: &PushRequest) -> Result<Prepared, PushError> {
    let (facts, primary) = ask(server).await?;
    check_archiving(server, &facts, primary.as_ref()).await?;
    prepare_for(ports, server.locator, Asked { facts, primary, steps: steps(&server.primary) }, request, Archive::Ours).await
}

/// What is known of the server, and of its primary.
pub(super) struct Asked {
    pub(super) facts: ServerFacts,
    pub(super) primary: Option<ServerFacts>,
    /// Steps besides the cuts that may take as long as a cut.
    pub(super) steps: u32,
}

/// The same of a server of which this is known.
pub(super) async fn prepare_for(
    ports: &Ports<'_>,
    locator: &dyn Locator,
    asked: Asked,
    request: &PushRequest,
    archive: Archive,
) -> Result<Prepared, PushError> {
    let Asked { facts, primary, steps } = asked;
    let paths = locator.locate(&facts)?;
    for rule in assign::idle(&request.providers, &paths) {
        let (selector, provider) = (&rule.selector, &rule.provider);
        tracing::warn!(
            "no directory of the cluster is or lies below `{selector}`, links resolved: `{provider}` gets nothing by it"
        );
    }
    let contents = ports.catalog().contents().await?;
    let assigned = assign::assign(&request.providers, &paths)?;
    // One provider keeps the token of the request; several must not share it, since two of them may be one storage system.
    let is_alone = assigned.len() == 1;
    let left = Leftovers::of(&contents, request, ports.clock.now());
    let mut ordered = Vec::with_capacity(assigned.len());
    for (name, paths) in assigned {
        let Covered { provider, warnings, volumes } = cover(ports, &name, &paths).await?;
        for warning in warnings {
            tracing::warn!(provider = %name, "{warning}");
        }
        let token = if is_alone { request.token.clone() } else { request.token.for_provider(&name) };
        let create = CreateRequest {
            labels: BTreeMap::new(),
            token,
            name: request.name.clone(),
            volumes,
            previous: previous(&*provider, &contents, &facts).await?,
        };
        ordered.push(Part { provider, create, create_was_called: AtomicBool::new(false), created: OnceLock::new() });
    }
    let lifetime = lifetime(request, ordered.len(), steps);
    let ends_at = ports.clock.uptime().saturating_add(lifetime);
    let intent = intent(ports, request, &facts, &ordered, lifetime);
    Ok(Prepared { facts, primary, paths, parts: ordered, intent, ends_at, left, known: KnownSnapshots::of(&contents), archive })
}

/// Asks the server, and the primary of a standby; proves that they belong together.
pub(in crate::flows) async fn ask(server: &mut Server<'_>) -> Result<(ServerFacts, Option<ServerFacts>), PushError> {
    let facts = server.connection.facts().await?;
    let is_in_backup_mode = server.primary.is_in_backup_mode();
    let Some(primary) = server.primary.connection() else { return Ok((facts, None)) };
    let primary = primary.facts().await?;
    standby::prove(&facts, &primary)?;
    Ok((if is_in_backup_mode { standby::of_both(&facts, &primary) } else { facts }, Some(primary)))
}

pub(in crate::flows) async fn check_archiving(
    server: &mut Server<'_>,
    facts: &ServerFacts,
    primary: Option<&ServerFacts>,
) -> Result<(), PushError> {
    // Who archives the WAL of a standby cannot be told from its settings: its primary, it, or another standby. The archive is
    // watched in the end.
    if facts.in_recovery {
        if primary.is_none() {
            tracing::warn!("without `primary_conninfo` the WAL of this backup is archived only when the primary goes on writing");
        }
        if primary.is_some_and(|primary| !standby::must_archive(primary)) && facts.archive_mode != ArchiveMode::Always {
            tracing::warn!("neither the primary nor this standby archives WAL: another standby has to");
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

/// The newest set that storage can be shared with.
///
/// First the newest set of this provider at all is asked for, whatever it is: that proves, before backup mode and before the
/// provider may mark a directory as its own, that it reaches the storage that earlier backups are on.
async fn previous(provider: &dyn Provider, contents: &CatalogContents, facts: &ServerFacts) -> Result<Option<String>, PushError> {
    let of_provider = |backup: &'_ Backup| backup.sentinel.set_of(provider.name()).cloned();
    let mut earlier: Vec<(&Backup, BackupSet)> =
        contents.backups.iter().filter_map(|backup| Some((backup, of_provider(backup)?))).collect();
    earlier.sort_by_key(|(backup, _)| backup.sentinel.started_at);
    if let Some((_, newest)) = earlier.last() {
        provider.get(&handle_of(newest)).await?;
    }
    let is_usable = |(backup, set): &&(&Backup, BackupSet)| {
        let is_ours = backup.sentinel.system_identifier == facts.system_identifier;
        is_ours && set.snapshot.isolated && !backup.is_condemned && !backup.has_failed()
    };
    let Some((backup, newest)) = earlier.iter().rev().find(is_usable) else { return Ok(None) };
    if provider.get(&handle_of(newest)).await?.is_none() {
        tracing::warn!(backup = %backup.sentinel.name, "the snapshot of this backup is gone: it cannot be restored");
        return Ok(None);
    }
    Ok(Some(newest.snapshot.handle.clone()))
}

fn handle_of(set: &BackupSet) -> SetReference {
    SetReference::Handle(set.snapshot.handle.clone())
}

/// Steps besides the cuts that may take as long as a cut.
pub(in crate::flows) fn steps(primary: &Primary) -> u32 {
    if primary.is_in_backup_mode() { STEPS_ON_TWO_SERVERS } else { STEPS_AROUND_THE_CUT }
}

/// When every deadline has passed.
pub(in crate::flows) fn lifetime(request: &PushRequest, cuts: usize, steps: u32) -> Duration {
    let deadlines = request.deadlines;
    // Each provider's cut has the deadline for itself, as have the flush, the start of backup mode, its end, and the look afterwards.
    let cuts = deadlines.cut.saturating_mul(u32::try_from(cuts).unwrap_or(u32::MAX).saturating_add(steps));
    let waits = [request.lease.deadline, cuts, deadlines.archive, deadlines.ready];
    waits.into_iter().fold(SLACK, Duration::saturating_add)
}

pub(in crate::flows) fn intent(
    ports: &Ports<'_>,
    request: &PushRequest,
    facts: &ServerFacts,
    ordered: &[Part],
    lifetime: Duration,
) -> Intent {
    let begun_at = ports.clock.now();
    let requests =
        ordered.iter().map(|part| IntendedSet { provider: part.provider.name().clone(), token: part.create.token.clone() });
    let process = request.lease.process_space.clone();
    Intent {
        name: request.name.clone(),
        requests: requests.collect(),
        system_identifier: facts.system_identifier,
        timeline: facts.timeline,
        wal_position: facts.wal_position,
        segment_size: facts.segment_size,
        begun_at,
        expires_at: begun_at.saturating_add(lifetime).unwrap_or(begun_at),
        hostname: request.hostname.clone(),
        process: process.map(|space| IntentProcess { id: request.lease.process_id, space }),
        is_outside: ordered.is_empty(),
    }
}
