//! Ends the lock-out of a restored server: its own `pg_hba.conf` counts again, at once and at every later start.
//!
//! Nothing is lost on the way, since that file was never touched. The link comes first and is proven by the server itself; the setting
//! goes next, and the reload comes last. Whatever interrupts this, the same command goes on, and until then the server is locked.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::data_directory::{InspectError, InstalledLockOut, Postmaster, read_control};
use crate::error::{Classify, ErrorClass};
use crate::files::{self, FileError};
use crate::postgres::{ConnectionError, PgControl, QuerySession};

/// Our parameter of the server, and every file that sets it, the last one first.
const WHERE_SET: &str = "SELECT pg_catalog.current_setting('hba_file'), pg_catalog.current_setting('data_directory'), \
     pg_catalog.current_setting('config_file')";
const SET_IN_FILES: &str = "SELECT setting FROM pg_catalog.pg_file_settings WHERE name OPERATOR(pg_catalog.=) 'hba_file' \
     AND error IS NULL ORDER BY seqno DESC";
const FAULTS: &str =
    "SELECT line_number, error FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL ORDER BY line_number LIMIT 1";
const RELOAD: &str = "SELECT pg_catalog.pg_reload_conf()";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptedRecovery {
    /// The server has read its own file again.
    Opened {
        /// That file.
        own: PathBuf,
    },
    /// No server runs; the next start reads its own file.
    AtNextStart,
    /// It was not locked.
    NotLocked,
}

/// Ends the lock-out of the server on `data_directory`; `session` is one of that server, if it runs. `own` is its own file, where the
/// server need not be asked for it.
pub async fn recovery_accept(
    data_directory: &Path,
    session: Option<&mut dyn QuerySession>,
    own: Option<&Path>,
) -> Result<AcceptedRecovery, RecoveryAcceptError> {
    let directory = data_directory.canonicalize().map_err(|source| FileError::new("read", data_directory, source))?;
    if read_control(&directory)?.is_none() {
        return Err(RecoveryAcceptError::NotACluster(directory));
    }
    let installed = InstalledLockOut::of(&directory);
    let Some(session) = session else { return at_next_start(&directory, &installed) };
    let [read, data, config] = names(session).await?;
    if Path::new(&data).canonicalize().ok().as_deref() != Some(&*directory) {
        return Err(RecoveryAcceptError::OtherServer { directory, found: data.into() });
    }
    // A server that was started without our setting reads another file, and one that was accepted has no setting of ours any more.
    if !is_ours(&read) {
        installed.unset()?;
        return Ok(AcceptedRecovery::NotLocked);
    }
    let own = match own {
        Some(own) => own.to_owned(),
        None => own_file(session, &directory, &config).await?,
    };
    if installed.is_closed() {
        open(session, &installed, &own).await?;
    }
    installed.unset()?;
    first_value(session, RELOAD).await?;
    Ok(AcceptedRecovery::Opened { own })
}

/// No server reads the file now, so that it can go; the setting goes first, for a server does not start without the file it names.
fn at_next_start(directory: &Path, installed: &InstalledLockOut) -> Result<AcceptedRecovery, RecoveryAcceptError> {
    if let Some(server) = Postmaster::of(directory)? {
        return Err(RecoveryAcceptError::Running { directory: directory.to_owned(), pid: server.pid });
    }
    let was_set = installed.is_set()?;
    installed.unset()?;
    let was_there = installed.remove()?;
    Ok(if was_set || was_there { AcceptedRecovery::AtNextStart } else { AcceptedRecovery::NotLocked })
}

/// Replaces our file by a link to the server's own, if the server can read that one.
async fn open(session: &mut dyn QuerySession, installed: &InstalledLockOut, own: &Path) -> Result<(), RecoveryAcceptError> {
    let locked = std::fs::read(installed.file()).map_err(|source| FileError::new("read", installed.file(), source))?;
    if files::read_if_present(own)?.is_none() {
        return Err(RecoveryAcceptError::NoOwnFile { path: own.to_owned() });
    }
    installed.open(own)?;
    // It reads the file anew for this, and would ignore one with a fault at its reload.
    match session.query(FAULTS).await {
        Ok(results) => match results.into_iter().flatten().next() {
            None => Ok(()),
            Some(fault) => {
                installed.close(&locked)?;
                let text = |place: usize| fault.get(place).cloned().flatten().unwrap_or_default();
                Err(RecoveryAcceptError::Faulty { path: own.to_owned(), line: text(0), error: text(1) })
            }
        },
        Err(error) => {
            installed.close(&locked)?;
            Err(error.into())
        }
    }
}

async fn names(session: &mut dyn QuerySession) -> Result<[String; 3], RecoveryAcceptError> {
    let row = session.query(WHERE_SET).await?.into_iter().flatten().next().unwrap_or_default();
    let mut values = row.into_iter().map(Option::unwrap_or_default);
    let mut next = || values.next().unwrap_or_default();
    Ok([next(), next(), next()])
}

/// The file that the server would read without our setting: what another configuration file names, or the one beside it.
async fn own_file(session: &mut dyn QuerySession, directory: &Path, config: &str) -> Result<PathBuf, RecoveryAcceptError> {
    let set = session.query(SET_IN_FILES).await?.into_iter().flatten();
    let named = set.filter_map(|row| row.into_iter().next().flatten()).find(|path| !is_ours(path));
    if let Some(named) = named {
        return Ok(directory.join(named));
    }
    let beside_config = Path::new(config).parent().map(|parent| parent.join("pg_hba.conf"));
    let usual = [Some(directory.join("pg_hba.conf")), beside_config].into_iter().flatten().find(|path| path.is_file());
    usual.ok_or_else(|| RecoveryAcceptError::NoOwnFile { path: directory.join("pg_hba.conf") })
}

fn is_ours(path: &str) -> bool {
    Path::new(path).file_name() == InstalledLockOut::of(Path::new("/")).file().file_name()
}

async fn first_value(session: &mut dyn QuerySession, statement: &str) -> Result<Option<String>, RecoveryAcceptError> {
    let results = session.query(statement).await?;
    Ok(results.into_iter().flatten().next().and_then(|row| row.into_iter().next().flatten()))
}

/// Why the lock-out stays.
#[derive(Debug, Error)]
pub enum RecoveryAcceptError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The server failed or refused.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// There is no cluster.
    #[error("`{}` is no data directory: it lacks `{}`", .0.display(), PgControl::PATH)]
    NotACluster(PathBuf),
    /// The session is one of another server.
    #[error("the server that answers has the data directory `{}`, and not `{}`", found.display(), directory.display())]
    OtherServer {
        /// The one that was named.
        directory: PathBuf,
        /// The server's.
        found: PathBuf,
    },
    /// It runs, and was not asked.
    #[error("a server runs on `{}` (process {pid}), and there is no session on it", directory.display())]
    Running {
        /// The data directory.
        directory: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// The server's own file is not where it should be.
    #[error("the server's own `{}` is not there", path.display())]
    NoOwnFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The server would not read its own file.
    #[error("`{}` is faulty in line {line}: {error}", path.display())]
    Faulty {
        /// The server's own file.
        path: PathBuf,
        /// The line.
        line: String,
        /// The server's words.
        error: String,
    },
}

impl Classify for RecoveryAcceptError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::Connection(error) => error.class(),
            Self::NotACluster(_)
            | Self::OtherServer { .. }
            | Self::Running { .. }
            | Self::NoOwnFile { .. }
            | Self::Faulty { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::File(error) => return error.hint(),
            Self::Inspect(error) => return error.hint(),
            Self::Connection(error) => {
                let stopped = "or stop the server and run it again: then it needs no connection";
                return Some(error.hint().map_or_else(|| stopped.to_owned(), |hint| format!("{hint}; {stopped}")));
            }
            Self::NotACluster(_) => "name the data directory that was restored",
            Self::OtherServer { .. } => "name the server with --conninfo",
            Self::Running { .. } => "wait until it answers, or stop it",
            Self::NoOwnFile { .. } => "name it with --hba-file; until then the server stays locked",
            Self::Faulty { .. } => "correct it and run this again; until then the server stays locked",
        };
        Some(advice.to_owned())
    }
}
