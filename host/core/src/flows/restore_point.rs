//! Makes a restore point and catalogues it as an increment of a backup; removes such a record; finds those that others made.
//!
//! Name and parent are judged first, then the server writes the point, its WAL is waited for, and what all of it needs is looked at
//! and recorded under the lease, so that nobody deletes meanwhile. The record is the only effect on the store and the last one: who
//! is killed before it has left a record in the WAL that nobody needs, and makes another one under the same name when he repeats the
//! command. Only the position that is recorded counts.

mod error;
mod others;
mod parent;

use std::time::Duration;

pub use error::RestorePointError;
pub(super) use others::ends_at;
pub use others::{ForeignRestorePoint, ForeignRestorePoints, list_foreign_restore_points};

use crate::catalog::{
    ArchivedFile, Backup, BackupName, CatalogContents, Increment, Increments, Lease, LeaseRequest, RestorePointName,
};
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::flows::snapshot_push::archiver::ArchiverRole;
use crate::flows::snapshot_push::wait::{Awaited, until_archived};
use crate::flows::{Ports, PushError, archive_map, settle_states};
use crate::postgres::{ArchiveMode, Connection, Lsn, ServerFacts, WalRange, WalSegment};
use crate::store::PutOutcome;
use crate::window::{Question, Route, WantedBackup, can_restore, ranges};

/// What to make.
#[derive(Debug, Clone)]
pub struct RestorePointRequest {
    /// Its name.
    pub name: RestorePointName,
    /// The backup that it continues; the newest that can be if none is named.
    pub parent: Option<BackupName>,
    /// How long the archive may take.
    pub deadline: Duration,
    /// Who records it, and how long it waits for those that delete.
    pub lease: LeaseRequest,
}

/// Makes a restore point on the server, or on its primary, and catalogues it once everything that it needs is archived.
pub async fn create_restore_point(
    ports: &Ports<'_>,
    server: Box<dyn Connection>,
    primary: Option<Box<dyn Connection>>,
    request: &RestorePointRequest,
) -> Result<Increment, RestorePointError> {
    let (mut connection, facts) = writable(server, primary).await?;
    let contents = contents(ports).await?;
    check_name(ports, &contents, &request.name)?;
    let parent = parent::choose(ports, &contents, &facts, request.parent.as_ref(), request.deadline).await?;
    let to = connection.create_restore_point_and_switch(request.name.as_str()).await?;
    tracing::info!(name = %request.name, lsn = %to, %parent, "the restore point is written");
    let awaited = Awaited::of(&facts, facts.wal_position, to, ArchiverRole::Archives, request.deadline);
    until_archived(ports, &awaited, Some(&mut *connection)).await?;
    let point = Point { to, parent, facts };
    // WAL behind a permanent parent may be deleted until the increment is recorded. Under the lease nobody deletes.
    let lease = ports.lease(&request.lease).await?;
    let recorded = lease.during(record(ports, &lease, request, &point)).await;
    lease.release().await;
    recorded?
}

/// A point that the server has written.
struct Point {
    /// Right behind its record.
    to: Lsn,
    parent: BackupName,
    /// From before it was written, in the same session: a server that changes its timeline ends all of them.
    facts: ServerFacts,
}

/// A session where a restore point can be written, and what the server says there.
async fn writable(
    mut server: Box<dyn Connection>,
    primary: Option<Box<dyn Connection>>,
) -> Result<(Box<dyn Connection>, ServerFacts), RestorePointError> {
    let mut facts = server.facts().await?;
    if facts.in_recovery {
        let Some(mut primary) = primary else { return Err(RestorePointError::Standby) };
        let standby = std::mem::replace(&mut facts, primary.facts().await?);
        if facts.in_recovery || facts.system_identifier != standby.system_identifier {
            return Err(RestorePointError::Standby);
        }
        server = primary;
    }
    if facts.archive_mode == ArchiveMode::Off {
        return Err(PushError::NotArchiving { setting: "archive_mode = off" }.into());
    }
    if !facts.archiver_is_set {
        return Err(PushError::NotArchiving { setting: "archive_command = ''" }.into());
    }
    Ok((server, facts))
}

/// The catalog, with what its backups are known to be good for now.
async fn contents(ports: &Ports<'_>) -> Result<CatalogContents, RestorePointError> {
    let mut contents = ports.catalog().contents().await?;
    for error in &contents.unreadable {
        tracing::warn!(%error, "left out");
    }
    settle_states(ports, &mut contents).await;
    Ok(contents)
}

/// A name is given once, also if its record cannot be read or its parent is gone.
fn check_name(ports: &Ports<'_>, contents: &CatalogContents, name: &RestorePointName) -> Result<(), RestorePointError> {
    let key = Increments::new(ports.store, ports.layout).key(name);
    let is_taken = contents.find_increment(name).is_some()
        || contents.stray_increments.iter().any(|stray| stray.name == *name)
        || contents.unreadable.iter().any(|error| error.key() == Some(&key));
    if is_taken { Err(RestorePointError::NameTaken(name.clone())) } else { Ok(()) }
}

/// Proves under the lease that the parent reaches the point, and records it.
async fn record(
    ports: &Ports<'_>,
    lease: &Lease<'_>,
    request: &RestorePointRequest,
    point: &Point,
) -> Result<Increment, RestorePointError> {
    let contents = contents(ports).await?;
    check_name(ports, &contents, &request.name)?;
    let files = ports.archive().list().await?;
    let route = route(ports, &contents, &files, point).await?;
    let parent = contents.find(&point.parent).ok_or_else(|| RestorePointError::NoSuchBackup(point.parent.clone()))?;
    let increment = increment(ports, &request.name, point, parent, &route, &files).await?;
    let increments = Increments::new(ports.store, ports.layout);
    match increments.add(&increment).await? {
        PutOutcome::Created => {}
        PutOutcome::AlreadyExists => return Err(RestorePointError::NameTaken(request.name.clone())),
    }
    // Still held after the write, it was held at the write: whoever deletes now reads the record.
    if let Err(lost) = lease.prove().await {
        increments.remove(&request.name).await?;
        return Err(lost.into());
    }
    Ok(increment)
}

/// How recovery from the parent reaches the point.
async fn route(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    files: &[ArchivedFile],
    point: &Point,
) -> Result<Route, RestorePointError> {
    let input = archive_map::window_input(ports, contents, files, point.facts.segment_size).await?;
    // The last byte of its record: the one behind it may lie in a segment that nobody has begun.
    let last = RecoveryTarget::Lsn(Lsn(point.to.0.saturating_sub(1)));
    let question = Question {
        target: &last,
        timeline: TargetTimeline::Number(point.facts.timeline),
        backup: WantedBackup::Named(&point.parent),
        now: ports.clock.now(),
    };
    can_restore(&input, &question).map_err(|refusal| RestorePointError::refused(refusal, point.facts.segment_size))
}

async fn increment(
    ports: &Ports<'_>,
    name: &RestorePointName,
    point: &Point,
    parent: &Backup,
    route: &Route,
    files: &[ArchivedFile],
) -> Result<Increment, RestorePointError> {
    let (facts, to) = (&point.facts, point.to);
    let from = parent::end_before(ports, parent, facts.timeline, to).await?;
    // Its first segment holds the end of what lies before it as well.
    let first = WalSegment::containing(facts.timeline, from, facts.segment_size).number;
    let own: Vec<WalRange> = route
        .replay
        .iter()
        .filter(|range| range.last >= first)
        .map(|range| WalRange { first: range.first.max(first), ..*range })
        .collect();
    let sizes = files.iter().filter(|file| archive_map::is_of(file, &own, facts.segment_size)).map(|file| file.size_bytes);
    Ok(Increment {
        name: name.clone(),
        parent: point.parent.clone(),
        timeline: facts.timeline,
        from,
        to,
        segments: ranges::count(&own),
        size_bytes: sizes.sum(),
        replay: route.replay.clone(),
        segment_size: facts.segment_size,
        system_identifier: facts.system_identifier,
        created_at: facts.now,
    })
}

/// Finds the increment that would be deleted.
pub async fn find_restore_point(ports: &Ports<'_>, name: &RestorePointName) -> Result<Increment, RestorePointError> {
    let mut contents = ports.catalog().contents().await?;
    let found = contents.find_increment(name).map(|(_, increment)| increment.clone());
    let stray = || contents.stray_increments.iter().find(|stray| stray.name == *name).cloned();
    if let Some(increment) = found.or_else(stray) {
        return Ok(increment);
    }
    let key = Increments::new(ports.store, ports.layout).key(name);
    let unreadable = contents.unreadable.iter().position(|error| error.key() == Some(&key));
    Err(match unreadable {
        Some(place) => contents.unreadable.swap_remove(place).into(),
        None => RestorePointError::NoSuchRestorePoint(name.clone()),
    })
}

/// Removes the record of an increment. Its WAL is kept for it no longer, and goes with the next deletion if nothing else needs it.
pub async fn delete_restore_point(
    ports: &Ports<'_>,
    name: &RestorePointName,
    request: &LeaseRequest,
) -> Result<Increment, RestorePointError> {
    let lease = ports.lease(request).await?;
    let removed = lease.during(remove(ports, &lease, name)).await;
    lease.release().await;
    removed?
}

async fn remove(ports: &Ports<'_>, lease: &Lease<'_>, name: &RestorePointName) -> Result<Increment, RestorePointError> {
    let increment = find_restore_point(ports, name).await?;
    // A copy may be on its way to the point, and nothing says that it is not.
    let (mut restores, _) = ports.restores().all().await?;
    let (copies, _) = ports.restores().recoveries().await?;
    let now = ports.clock.now();
    restores.extend(copies.into_iter().filter(|copy| now < copy.recovers_until()));
    if let Some(restore) = restores.into_iter().find(|record| record.backup == increment.parent) {
        return Err(RestorePointError::Restored {
            name: name.clone(),
            destination: restore.destination,
            hostname: restore.hostname,
        });
    }
    lease.prove().await?;
    Increments::new(ports.store, ports.layout).remove(name).await?;
    Ok(increment)
}
