//! Takes a backup of a server that was shut down: no session, no backup mode, and no WAL in the archive.
//!
//! What else a session would prove, files prove. A clean shutdown stands in `pg_control`; that nobody starts the server is looked at
//! before and after each cut and once more before the publication. The one segment that a restore needs is kept with the backup: it
//! is not archived, and when the server goes on in it, the archive holds more under its name.

use std::time::Duration;

use thiserror::Error;

use super::cut::{self, Cut};
use super::preflight::{self, Archive, Asked, Prepared};
use super::{Primary, PushError, PushRequest, publish, sentinel, stoppable, wait};
use crate::catalog::{Backup, Sentinel};
use crate::data_directory::{StoppedError, StoppedFiles, StoppedServer};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::paths::Locator;
use crate::postgres::{
    ArchiveMode, InvalidTablespaceMap, ServerFacts, Shutdown, ShutdownError, TablespaceLink, TablespaceMap, WalFileName,
};

/// The server to back up, which does not run.
pub struct ColdServer<'a> {
    /// Its files.
    pub stopped: &'a dyn StoppedServer,
    /// Finds the server's directories on this machine.
    pub locator: &'a dyn Locator,
}

/// Takes a backup of a server that was shut down, and publishes it.
///
/// `interrupted` resolves when the operator wants to stop; it is heeded until the sentinel is about to be written.
pub async fn snapshot_push_cold(
    ports: &Ports<'_>,
    server: ColdServer<'_>,
    request: &PushRequest,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<Backup, PushError> {
    let mut interrupted = std::pin::pin!(interrupted);
    // Everything that can be wrong is found here, while nothing has happened yet.
    let quiet = Quiet::prove(server.stopped)?;
    let asked = Asked { facts: quiet.facts(ports), primary: None, steps: preflight::steps(&Primary::Unknown) };
    let preparing = preflight::prepare_for(ports, server.locator, asked, request, Archive::NotNeeded);
    let prepared = stoppable(preparing, interrupted.as_mut()).await?;
    let prepared = super::announced(ports, request, prepared, interrupted.as_mut()).await?;
    let taken = stoppable(take(ports, &server, request, &prepared, &quiet), interrupted).await;
    publish(ports, request, &prepared, taken).await
}

/// Everything from the kept segment to a restorable snapshot.
async fn take(
    ports: &Ports<'_>,
    server: &ColdServer<'_>,
    request: &PushRequest,
    prepared: &Prepared,
    quiet: &Quiet<'_>,
) -> Result<Sentinel, PushError> {
    // Beside the intent, which accounts for it: from here on nothing of the server's own `pg_wal` is needed.
    let body = ports.archive().wrap(quiet.shutdown.segment(), quiet.segment.clone()).await?;
    ports.catalog().keep_wal(&request.name, body).await?;
    super::flush(ports, server.locator, request, prepared).await?;
    let mut sets = Vec::with_capacity(prepared.parts.len());
    for part in &prepared.parts {
        quiet.check()?;
        let deadline = request.deadlines.cut;
        let set = tokio::select! {
            set = cut::cut_part(ports, quiet.shutdown.checkpoint, part, prepared) => set?,
            () = ports.clock.sleep(deadline) => return Err(ColdError::CutDeadline(deadline).into()),
        };
        // Before the next one: the sooner it is known, the less is cut in vain.
        quiet.check()?;
        cut::check_set(&set, part, prepared, request.isolation)?;
        sets.push(set);
    }
    let checkpoint = quiet.shutdown.checkpoint;
    let label = quiet.shutdown.label(request.name.as_str(), prepared.facts.now);
    let label = label.map_err(|error| PushError::Label(error.to_string()))?;
    let tablespace_map = quiet.tablespace_map().map_err(|error| PushError::Label(error.to_string()))?;
    let finished_at = ports.clock.now();
    let mut cut = Cut { sets, start_lsn: checkpoint, stop_lsn: checkpoint, label, tablespace_map, finished_at };
    wait::until_ready(ports, &mut cut, request, prepared).await?;
    quiet.check()?;
    super::check_time(ports, prepared)?;
    Ok(Sentinel { is_cold: true, ..sentinel(request, prepared, cut) })
}

/// A server that was shut down, as it was first seen.
struct Quiet<'a> {
    stopped: &'a dyn StoppedServer,
    first: StoppedFiles,
    shutdown: Shutdown,
    segment: Vec<u8>,
}

impl<'a> Quiet<'a> {
    fn prove(stopped: &'a dyn StoppedServer) -> Result<Self, ColdError> {
        let first = stopped.look()?;
        if let Some(pid) = first.running {
            return Err(ColdError::Running { pid });
        }
        let shutdown = Shutdown::of(&first.control)?;
        // Behind `pg_control`, which says more of a server that crashed than the file that it left.
        if let Some(file) = first.obstacle {
            return Err(ColdError::Obstacle { file });
        }
        let name = shutdown.segment();
        let segment = stopped.segment(name)?.ok_or(ColdError::NoSegment { name })?;
        shutdown.prove_segment(&segment)?;
        Ok(Self { stopped, first, shutdown, segment })
    }

    /// Fails if anything is not as it was first seen: who starts a server changes `pg_control`.
    fn check(&self) -> Result<(), ColdError> {
        let now = self.stopped.look()?;
        if now == self.first { Ok(()) } else { Err(ColdError::Changed) }
    }

    /// What a session would tell.
    fn facts(&self, ports: &Ports<'_>) -> ServerFacts {
        ServerFacts {
            version: self.first.version,
            system_identifier: self.shutdown.system_identifier,
            data_directory: self.first.data_directory.clone(),
            segment_size: self.shutdown.segment_size,
            in_recovery: false,
            timeline: self.shutdown.timeline,
            wal_position: self.shutdown.checkpoint,
            replayed: None,
            // Neither is looked at.
            archive_mode: ArchiveMode::Off,
            archiver_is_set: false,
            tablespaces: self.first.tablespaces.clone(),
            now: ports.clock.now(),
        }
    }

    fn tablespace_map(&self) -> Result<TablespaceMap, InvalidTablespaceMap> {
        let link = |tablespace: &crate::postgres::Tablespace| TablespaceLink {
            oid: tablespace.oid,
            location: tablespace.location.clone(),
        };
        let links: Vec<TablespaceLink> = self.first.tablespaces.iter().map(link).collect();
        let map = TablespaceMap::of(&links);
        // It is read again at the restore: what cannot be read then is found now.
        map.links().map(|_| map.clone())
    }
}

/// Why a server that should not run was not backed up.
#[derive(Debug, Error)]
pub enum ColdError {
    /// Its files cannot be read.
    #[error(transparent)]
    Files(#[from] StoppedError),
    /// It was not shut down cleanly, or its checkpoint cannot be found.
    #[error(transparent)]
    Shutdown(#[from] ShutdownError),
    /// It runs.
    #[error("the server runs: process {pid}")]
    Running {
        /// Its process.
        pid: u32,
    },
    /// Something in its directory says that it runs, or that it waits for a recovery.
    #[error("the data directory holds `{file}`, which no server leaves that was shut down")]
    Obstacle {
        /// The file.
        file: &'static str,
    },
    /// The WAL with the checkpoint is gone.
    #[error("`{name}`, which holds the shutdown checkpoint, is not in pg_wal")]
    NoSegment {
        /// The segment.
        name: WalFileName,
    },
    /// The server was started, or something else changed its files.
    #[error("the server was started during the backup, or its files changed: what was cut is no backup")]
    Changed,
    /// The cut took too long.
    #[error("the cut took longer than {} s", .0.as_secs())]
    CutDeadline(Duration),
}

impl Classify for ColdError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Files(error) => error.class(),
            Self::Shutdown(error) => error.class(),
            Self::Running { .. } | Self::Obstacle { .. } => ErrorClass::Refused,
            Self::NoSegment { .. } => ErrorClass::Corrupt,
            Self::Changed | Self::CutDeadline(_) => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Files(error) => return error.hint(),
            Self::Shutdown(error) => return error.hint(),
            Self::Running { .. } => "stop it with `pg_ctl stop -m fast`, or take a backup without --cold",
            Self::Obstacle { file: "postmaster.pid" } => {
                "does a server run there on another host or in a container? If none does, start the server and stop it cleanly"
            }
            Self::Obstacle { .. } => "start the server, so that it acts on the file, and stop it cleanly",
            Self::NoSegment { .. } => "without it the server does not start either: restore an earlier backup",
            Self::Changed => "stop the server cleanly, see that nobody starts it, and run it again",
            Self::CutDeadline(_) => "raise `cut_timeout_secs` under `[backup]`",
        };
        Some(hint.to_owned())
    }
}
