//! Proves a backup: restores it beside the living server, lets a server of its own recover it, checks what came of it, and releases all.
//!
//! The copy is a stranger to the living cluster: it archives nothing, listens nowhere but on a socket in a directory of its own, follows
//! nobody, and is never promoted. What it found is recorded only when it was about the backup: an interruption, a full disk or a missing
//! program takes no earlier proof away. Whatever happens, the server is stopped first, then the storage released, then the directory
//! removed; what a kill has left is found by its mark and cleared by the next drill.

mod attempt;
mod checks;
mod error;
mod isolation;
mod recovery;
mod target;
mod workplace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

pub use error::DrillError;

use crate::catalog::age::oldest_first;
use crate::catalog::{Backup, BackupName, BackupState, CatalogContents, DrillOutcome, DrillRecord};
use crate::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use crate::files;
use crate::flows::{FetchError, Ports, ReleaseHosts, ReleaseRequest, RestoreSelector, snapshot_release};
use crate::postgres::ServerPrograms;
use crate::provider::{ProviderName, Token};

use attempt::Attempt;
use workplace::{Leftover, Mark, Room, Workplace};

/// Room for WAL and for what a server writes as it recovers, beside the data itself.
const SPARE_BYTES: u64 = 256 << 20;

/// What to prove, where, and how.
#[derive(Debug, Clone)]
pub struct DrillRequest {
    /// Which backup; none for the newest.
    pub backup: Option<BackupName>,
    /// How far it recovers.
    pub target: DrillTarget,
    /// Which timeline it follows.
    pub timeline: TargetTimeline,
    /// Where drills take place: an absolute path.
    pub directory: PathBuf,
    /// Data directories of living servers, beside those that the backup names.
    pub live: Vec<PathBuf>,
    /// Directories of providers: nobody may start a server inside a snapshot.
    pub snapshot_roots: Vec<PathBuf>,
    /// Providers that restore by copying, for which there must be room.
    pub copying: BTreeSet<ProviderName>,
    /// How the copy gets its WAL.
    pub restore_command: String,
    /// The exit code of that command when the archive cannot be reached, which ends the server and says nothing about the backup.
    pub unreachable_code: u8,
    /// Token of the restore.
    pub token: Token,
    /// This host.
    pub hostname: String,
    /// How it is checked.
    pub checks: DrillChecks,
    /// Longest time for the recovery, and for each check.
    pub deadline: Duration,
}

/// How far a drill recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillTarget {
    /// To the end of the archive as it is when the drill begins.
    EndOfArchive,
    /// To a target.
    Given(RecoveryTarget, Inclusion),
}

/// How a recovered copy is checked.
#[derive(Debug, Clone)]
pub struct DrillChecks {
    /// A superuser of the cluster.
    pub user: String,
    /// The database of the operator's files.
    pub database: String,
    /// `shared_preload_libraries`: what the cluster's WAL or its data cannot be read without.
    pub preload: String,
    /// The operator's files, in order.
    pub scripts: Vec<DrillScript>,
    /// Whether `pg_amcheck` looks at it.
    pub amcheck: CheckChoice,
    /// Whether the checksums of all pages are compared.
    pub checksums: CheckChoice,
}

/// Whether a check is made where it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckChoice {
    /// It is.
    #[default]
    Wanted,
    /// The operator does not want it.
    SwitchedOff,
}

/// One of the operator's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillScript {
    /// Its name, for the record.
    pub name: String,
    /// Its statements.
    pub text: String,
}

/// What a drill came to.
#[derive(Debug)]
pub struct DrillReport {
    /// The backup.
    pub backup: Backup,
    /// What was recorded with it.
    pub record: DrillRecord,
    /// Directories of earlier drills that were cleared.
    pub cleared: Vec<PathBuf>,
    /// What the operator should know.
    pub remarks: Vec<String>,
}

/// Drills. A backup that fails is a report and no error; an error says nothing about the backup.
pub async fn drill(
    ports: &Ports<'_>,
    programs: &dyn ServerPrograms,
    request: &DrillRequest,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<DrillReport, DrillError> {
    let backup = choose(ports, request).await?;
    refuse_living(request, &backup)?;
    let binaries = programs.find(backup.sentinel.version.major()).await?;
    // From here on nobody else drills in this directory, so whatever lies there was left.
    let workplace = Workplace::enter(&request.directory, ports.clock).await?;
    let cleared = clear(ports, programs, &workplace, &request.hostname).await?;
    refuse_without_room(request, &backup, workplace.directory())?;

    // Looked at once before anything is made: from here on, a signal ends the drill and not the process.
    let mut interrupted = std::pin::pin!(interrupted);
    tokio::select! {
        biased;
        () = &mut interrupted => return Err(DrillError::Interrupted),
        () = std::future::ready(()) => {}
    }
    let mark = Mark::new(ports, request, &backup, workplace.directory());
    let room = workplace.make(&mark)?;
    let mut attempt = Attempt::new(ports, programs, request, &backup, room, binaries);
    let (tell, told) = watch::channel(false);
    let verdict = {
        let mut run = std::pin::pin!(attempt.run(told));
        tokio::select! {
            biased;
            // Each step knows how to end; none is left in the middle.
            () = interrupted => {
                tell.send_replace(true);
                run.await
            }
            verdict = &mut run => verdict,
        }
    };
    // The server first: nothing may be taken from under it, and a record that cannot be written must not keep it alive.
    let stopped = attempt.stop().await;
    let recorded = match verdict {
        Ok(outcome) => record(ports, request, &backup, &attempt, outcome).await,
        Err(error) => Err(error),
    };
    let (room, remarks) = (attempt.room().clone(), std::mem::take(&mut attempt.remarks));
    drop(attempt);
    let cleared_up = match stopped {
        Ok(()) => give_back(ports, &room, &request.hostname).await,
        Err(error) => Err(error),
    };
    match (recorded, cleared_up) {
        (Ok(record), Ok(())) => Ok(DrillReport { backup, record, cleared, remarks }),
        (Err(error), Ok(())) => Err(error),
        (recorded, Err(removal)) => Err(DrillError::NotCleared {
            directory: room.directory,
            removal: Box::new(removal),
            cause: recorded.err().map(Box::new),
        }),
    }
}

/// Clears what killed drills have left in the directory; gives the directories that are gone.
pub async fn clear_drills(
    ports: &Ports<'_>,
    programs: &dyn ServerPrograms,
    directory: &Path,
    hostname: &str,
) -> Result<Vec<PathBuf>, DrillError> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    clear(ports, programs, &Workplace::enter(directory, ports.clock).await?, hostname).await
}

/// The backup that is named, or the newest that can be restored.
async fn choose(ports: &Ports<'_>, request: &DrillRequest) -> Result<Backup, DrillError> {
    let mut contents = ports.catalog().contents().await?;
    super::settle_states(ports, &mut contents).await;
    match &request.backup {
        Some(name) => {
            let backup = contents.find(name).cloned().ok_or_else(|| FetchError::NoSuchBackup(name.clone()))?;
            match &backup.sentinel.outside {
                // Nothing is wrong with it: it must not be recorded as failed.
                Some(copy) => Err(FetchError::Outside { name: name.clone(), snapshot_ids: copy.snapshot_ids.join("`, `") }.into()),
                None => Ok(backup),
            }
        }
        None => newest(&contents, ports.clock.now()).cloned().ok_or_else(|| FetchError::NoBackups.into()),
    }
}

/// The newest of the newest cluster in this place that is ready and stays, and that a provider can restore.
fn newest(contents: &CatalogContents, now: Timestamp) -> Option<&Backup> {
    let is_ours = |backup: &&Backup| backup.sentinel.outside.is_none();
    let stay = contents.backups.iter().filter(|backup| !backup.is_condemned && backup.state == BackupState::Ready);
    oldest_first(stay.filter(is_ours), |backup| backup.sentinel.age(), now).pop()
}

/// A drill within a living cluster's directories would be part of its next backup, or worse.
fn refuse_living(request: &DrillRequest, backup: &Backup) -> Result<(), DrillError> {
    if !request.directory.is_absolute() {
        return Err(FetchError::RelativeDestination(request.directory.clone()).into());
    }
    let directory = resolved(&request.directory);
    let known = backup.sentinel.paths.iter().map(|path| &path.path).chain(&request.live);
    let around = known.chain(&request.snapshot_roots).find(|living| directory.starts_with(resolved(living)));
    match around {
        Some(living) => Err(DrillError::InsideCluster { directory: request.directory.clone(), living: living.clone() }),
        None => Ok(()),
    }
}

/// Resolves the links of the part of a path that exists.
fn resolved(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|part| Some((part.canonicalize().ok()?, path.strip_prefix(part).ok()?)));
    existing.map_or_else(|| path.to_owned(), |(real, rest)| real.join(rest))
}

/// What is restored by copying must fit beside what is there, or the living server might run out of room.
fn refuse_without_room(request: &DrillRequest, backup: &Backup, directory: &Path) -> Result<(), DrillError> {
    let copied = backup.sentinel.sets.iter().filter(|set| request.copying.contains(&set.provider));
    let sizes: Vec<Option<u64>> = copied.flat_map(|set| &set.snapshot.members).map(|member| member.size_bytes).collect();
    let data = sizes.iter().flatten().fold(0u64, |total, size| total.saturating_add(*size));
    let needed = if sizes.is_empty() { SPARE_BYTES } else { data.saturating_add(data / 20).saturating_add(SPARE_BYTES) };
    let available = files::space(directory)?.free_bytes;
    if needed > available {
        return Err(DrillError::NoRoom { directory: directory.to_owned(), needed, available });
    }
    Ok(())
}

/// Records with the backup what was found.
async fn record(
    ports: &Ports<'_>,
    request: &DrillRequest,
    backup: &Backup,
    attempt: &Attempt<'_>,
    outcome: DrillOutcome,
) -> Result<DrillRecord, DrillError> {
    let record = DrillRecord {
        outcome,
        at: ports.clock.now(),
        hostname: request.hostname.clone(),
        target: attempt.target.clone(),
        reached: attempt.reached,
        restore_time: attempt.restore_time,
        recovery_time: attempt.recovery_time,
        checks: attempt.checks.clone(),
    };
    ports.catalog().record_drill(&backup.sentinel.name, &record).await?;
    Ok(record)
}

/// Releases what the provider made, then removes the directory. Nothing runs there any more.
async fn give_back(ports: &Ports<'_>, room: &Room, hostname: &str) -> Result<(), DrillError> {
    let restore = RestoreSelector::Token(room.token.clone());
    let request = ReleaseRequest { restore, hostname: hostname.to_owned(), hosts: ReleaseHosts::This };
    snapshot_release(ports, &request).await?;
    Ok(room.remove()?)
}

/// Stops, releases and removes what drills that were killed have left; what is not proven to be theirs stays.
async fn clear(
    ports: &Ports<'_>,
    programs: &dyn ServerPrograms,
    workplace: &Workplace,
    hostname: &str,
) -> Result<Vec<PathBuf>, DrillError> {
    let mut cleared = Vec::new();
    for leftover in workplace.leftovers(ports.layout, hostname)? {
        let room = match leftover {
            Leftover::Ours(room) => room,
            Leftover::Foreign { directory, reason } => {
                tracing::warn!(directory = %directory.display(), "not touched: {reason}");
                continue;
            }
        };
        tracing::warn!(directory = %room.directory.display(), "clearing what a killed drill has left");
        // Even where the data cannot be seen any more, the server may still be there.
        let data = room.data().canonicalize().unwrap_or_else(|_| room.data());
        programs.stop_abandoned(&data, &room.socket()).await?;
        give_back(ports, &room, hostname).await?;
        cleared.push(room.directory);
    }
    Ok(cleared)
}
