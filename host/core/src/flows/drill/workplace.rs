//! Where drills take place: one at a time in a directory, each in a room of its own that its mark tells of.
//!
//! Only what has such a mark, for this cluster, this host and this very directory, is ever removed. The room is removed without following
//! a link, since the data may lie behind one.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DrillError, DrillRequest};
use crate::catalog::{Backup, BackupName, Layout};
use crate::clock::Clock;
use crate::files::{self, FileError, FileStep};
use crate::flows::Ports;
use crate::provider::Token;

/// Only who drills may look in.
const MODE: u32 = 0o700;

/// With what the name of a room begins, and how much of its token follows: a socket's path is short.
const PREFIX: &str = "drill-";
const TOKEN_LEN: usize = 16;

/// The file that keeps others out, and the mark of a room.
const LOCK: &str = ".stillframe-drill.lock";
const MARK: &str = "drill.json";

/// How often the lock is asked for.
const LOCK_LOOKS: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Version of the mark.
const FORMAT_VERSION: u32 = 1;

/// The longest path of a socket, without the zero behind it, and the longest that follows the name of its directory.
const MAX_SOCKET_PATH: usize = 107;
const SOCKET_NAME: usize = "/.s.PGSQL.65535.lock".len();

/// A directory in which nobody else drills now.
#[derive(Debug)]
pub(super) struct Workplace {
    directory: PathBuf,
    /// Held as long as it is open.
    _lock: File,
}

/// The place of one drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) directory: PathBuf,
    pub(super) token: Token,
}

/// What a room is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    format_version: u32,
    token: Token,
    cluster: String,
    hostname: String,
    directory: PathBuf,
    backup: BackupName,
    begun_at: Timestamp,
}

/// What lies in a workplace that nobody works in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// A room.
    Ours(Room),
    /// What only looks like one.
    Foreign { directory: PathBuf, reason: String },
}

impl Mark {
    pub(super) fn new(ports: &Ports<'_>, request: &DrillRequest, backup: &Backup, workplace: &Path) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            token: request.token.clone(),
            cluster: ports.layout.cluster().to_string(),
            hostname: request.hostname.clone(),
            directory: workplace.join(room_name(&request.token)),
            backup: backup.sentinel.name.clone(),
            begun_at: ports.clock.now(),
        }
    }
}

fn room_name(token: &Token) -> String {
    format!("{PREFIX}{}", token.0.chars().take(TOKEN_LEN).collect::<String>())
}

impl Workplace {
    /// Makes the directory when it is missing, and keeps everybody else from drilling in it.
    pub(super) async fn enter(directory: &Path, clock: &dyn Clock) -> Result<Self, DrillError> {
        let failed = |operation, source| FileError::new(operation, directory, source);
        let made = DirBuilder::new().mode(MODE).recursive(true).create(directory);
        made.map_err(|source| failed("make the directory", source))?;
        let directory = directory.canonicalize().map_err(|source| failed("find", source))?;
        let found = fs::metadata(&directory).map_err(|source| failed("read", source))?;
        // Whoever may rename what is in it could put another directory in the place of ours.
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(DrillError::OpenDirectory(directory));
        }
        let longest = directory.as_os_str().as_bytes().len() + 1 + PREFIX.len() + TOKEN_LEN + "/s".len() + SOCKET_NAME;
        if longest > MAX_SOCKET_PATH {
            return Err(DrillError::LongPath { directory, excess: longest - MAX_SOCKET_PATH });
        }
        let path = directory.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|source| FileError::new("open", &path, source))?;
        for look in 1.. {
            match lock.try_lock() {
                Ok(()) => break,
                // A process that a killed drill was just starting has the lock until it runs its program.
                Err(TryLockError::WouldBlock) if look < LOCK_LOOKS => clock.sleep(LOCK_PAUSE).await,
                Err(TryLockError::WouldBlock) => return Err(DrillError::Busy(directory)),
                Err(TryLockError::Error(source)) => return Err(FileError::new("lock", &path, source).into()),
            }
        }
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a room, its mark before anything else is in it.
    pub(super) fn make(&self, mark: &Mark) -> Result<Room, DrillError> {
        let room = Room { directory: mark.directory.clone(), token: mark.token.clone() };
        let failed = |source| FileError::new("make the directory", &room.directory, source);
        let make = || DirBuilder::new().mode(MODE).create(&room.directory);
        files::change(FileStep::Make, &room.directory, make).map_err(failed)?;
        let body = serde_json::to_vec_pretty(mark).map_err(|error| failed(error.into()))?;
        let furnished = files::write_atomically(&room.directory.join(MARK), &body, 0o600)
            .and_then(|()| files::create_directory(&room.socket(), MODE))
            .and_then(|()| files::create_directory(&room.tablespaces(), MODE))
            .and_then(|()| files::sync_directory(&self.directory));
        match furnished {
            Ok(()) => Ok(room),
            Err(error) => {
                // Nothing is in it yet but what was made here.
                let _ = room.remove();
                Err(error.into())
            }
        }
    }

    /// What is there, though nobody drills.
    pub(super) fn leftovers(&self, layout: &Layout, hostname: &str) -> Result<Vec<Leftover>, FileError> {
        let failed = |source| FileError::new("list", &self.directory, source);
        let mut leftovers = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
                leftovers.extend(examine(&entry.path(), layout, hostname)?);
            }
        }
        Ok(leftovers)
    }
}

/// Finds out whether this is a room of ours; one that was not furnished when its maker was killed goes at once.
fn examine(directory: &Path, layout: &Layout, hostname: &str) -> Result<Option<Leftover>, FileError> {
    let foreign = |reason: String| Ok(Some(Leftover::Foreign { directory: directory.to_owned(), reason }));
    let found = fs::symlink_metadata(directory).map_err(|source| FileError::new("read", directory, source))?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return foreign("it is no directory of this user".to_owned());
    }
    let Some(body) = files::read_if_present(&directory.join(MARK))? else {
        return if remove_unfurnished(directory)? { Ok(None) } else { foreign(format!("it has no `{MARK}`")) };
    };
    let mark: Mark = match serde_json::from_slice(&body) {
        Ok(mark) => mark,
        Err(error) => return foreign(format!("its `{MARK}` cannot be read: {error}")),
    };
    if mark.format_version != FORMAT_VERSION {
        return foreign(format!("its `{MARK}` is of version {}", mark.format_version));
    }
    if mark.directory != directory || directory.file_name().is_none_or(|name| name != room_name(&mark.token).as_str()) {
        return foreign(format!("its `{MARK}` tells of `{}`", mark.directory.display()));
    }
    if mark.hostname != hostname {
        return foreign(format!("it is of the host `{}`", mark.hostname));
    }
    if mark.cluster != layout.cluster().to_string() {
        return foreign(format!("it is of the cluster `{}`", mark.cluster));
    }
    Ok(Some(Leftover::Ours(Room { directory: directory.to_owned(), token: mark.token })))
}

/// Removes a directory that holds nothing but a mark that was never finished.
fn remove_unfurnished(directory: &Path) -> Result<bool, FileError> {
    let failed = |source| FileError::new("remove", directory, source);
    let names = fs::read_dir(directory).map_err(failed)?.map(|entry| entry.map(|entry| entry.file_name()));
    let names: Vec<_> = names.collect::<Result<_, _>>().map_err(failed)?;
    if !names.iter().all(|name| files::is_temporary(name)) {
        return Ok(false);
    }
    files::remove_tree_contents(directory)?;
    files::change(FileStep::Remove, directory, || fs::remove_dir(directory)).map_err(failed)?;
    Ok(true)
}

impl Room {
    /// The data directory, or the link to it.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the server keeps its WAL in.
    pub(super) fn wal(&self) -> PathBuf {
        self.directory.join("wal")
    }

    pub(super) fn tablespaces(&self) -> PathBuf {
        self.directory.join("tablespaces")
    }

    /// Where the tablespace of this number goes.
    pub(super) fn tablespace(&self, oid: u32) -> PathBuf {
        self.tablespaces().join(oid.to_string())
    }

    /// The directory of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// What the server has to say.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Removes the room, its mark last: as long as anything is left, it is known whose it is.
    pub(super) fn remove(&self) -> Result<(), FileError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(FileError::new("list", &self.directory, source)),
        };
        for entry in entries {
            let entry = entry.map_err(|source| FileError::new("list", &self.directory, source))?;
            if entry.file_name() != MARK {
                remove(&entry.path())?;
            }
        }
        // What a power failure brings back must be marked as ours.
        files::sync_directory(&self.directory)?;
        files::remove_file_if_present(&self.directory.join(MARK))?;
        remove(&self.directory)
    }
}

/// Removes a file, a link or a whole directory; a link is never followed.
fn remove(path: &Path) -> Result<(), FileError> {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        files::remove_tree_contents(path)?;
        let removed = files::change(FileStep::Remove, path, || fs::remove_dir(path));
        return removed.map_err(|source| FileError::new("remove", path, source));
    }
    files::remove_file_if_present(path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::catalog::ClusterName;
    use crate::testing::ManualClock;

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp::UNIX_EPOCH)
    }

    fn layout(cluster: &str) -> Layout {
        Layout::new(ClusterName::try_from(cluster.to_owned()).unwrap())
    }

    fn mark(workplace: &Workplace) -> Mark {
        let token = Token("0123456789abcdef0123456789abcdef".to_owned());
        Mark {
            format_version: FORMAT_VERSION,
            cluster: "main".to_owned(),
            hostname: "db1".to_owned(),
            directory: workplace.directory().join(room_name(&token)),
            backup: BackupName::new(Timestamp::UNIX_EPOCH, [1; 5]),
            begun_at: Timestamp::UNIX_EPOCH,
            token,
        }
    }

    fn reason(workplace: &Workplace, cluster: &str, hostname: &str) -> String {
        match workplace.leftovers(&layout(cluster), hostname).unwrap().as_slice() {
            [Leftover::Foreign { reason, .. }] => reason.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_one_drill_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let first = Workplace::enter(&place.path().join("d"), &clock()).await.unwrap();
        assert!(matches!(Workplace::enter(&place.path().join("d"), &clock()).await, Err(DrillError::Busy(_))));
        drop(first);
        Workplace::enter(&place.path().join("d"), &clock()).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_to_is_refused() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Workplace::enter(place.path(), &clock()).await, Err(DrillError::OpenDirectory(_))));
    }

    #[tokio::test]
    async fn a_directory_whose_socket_would_have_too_long_a_name_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let long = place.path().join("x".repeat(100));
        assert!(matches!(Workplace::enter(&long, &clock()).await, Err(DrillError::LongPath { .. })));
    }

    #[tokio::test]
    async fn a_room_is_known_by_its_mark_and_removed_without_following_a_link() {
        let place = tempfile::tempdir().unwrap();
        let living = place.path().join("living");
        fs::create_dir_all(living.join("base")).unwrap();
        let workplace = Workplace::enter(&place.path().join("d"), &clock()).await.unwrap();
        let room = workplace.make(&mark(&workplace)).unwrap();
        assert_eq!(fs::metadata(room.socket()).unwrap().mode() & 0o777, 0o700);
        symlink(&living, room.data()).unwrap();
        symlink(&living, room.tablespace(16384)).unwrap();
        assert_eq!(workplace.leftovers(&layout("main"), "db1").unwrap(), [Leftover::Ours(room.clone())]);
        room.remove().unwrap();
        assert!(!room.directory.exists() && living.join("base").is_dir());
    }

    #[tokio::test]
    async fn what_is_not_proven_to_be_a_room_is_never_taken_for_one() {
        let place = tempfile::tempdir().unwrap();
        let workplace = Workplace::enter(&place.path().join("d"), &clock()).await.unwrap();
        let room = workplace.make(&mark(&workplace)).unwrap();
        assert!(reason(&workplace, "other", "db1").contains("`main`"));
        assert!(reason(&workplace, "main", "db2").contains("`db1`"));
        let moved = workplace.directory().join("drill-fedcba9876543210");
        fs::rename(&room.directory, &moved).unwrap();
        assert!(reason(&workplace, "main", "db1").contains("tells of"), "it was moved or copied");
        fs::write(moved.join(MARK), "{}").unwrap();
        assert!(reason(&workplace, "main", "db1").contains("cannot be read"));
        fs::remove_file(moved.join(MARK)).unwrap();
        assert!(reason(&workplace, "main", "db1").contains("no `drill.json`"), "and it is not empty");
        fs::remove_dir_all(&moved).unwrap();
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &moved).unwrap();
        assert!(reason(&workplace, "main", "db1").contains("no directory"));
        fs::remove_file(&moved).unwrap();
        fs::create_dir(&moved).unwrap();
        assert_eq!(workplace.leftovers(&layout("main"), "db1").unwrap(), [], "its maker was killed at once");
        assert!(!moved.exists());
    }
}
