//! The directory in which one host keeps its sessions: what each is, who holds it, and what became of it.
//!
//! It lies outside the database, so that a session works on a standby too, and is readable for its user only. Each session has
//! files under its id: a record, a lock that its owner holds as long as it lives, the socket that the owner answers at, its log,
//! and from the end of backup mode on the sentinel that waits for its publication. Who may take a lock knows that the owner is
//! dead, whatever the record says: no process number and no clock decides that. The catalog has the last word on what is published.

mod error;
mod record;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

pub use error::SessionDirectoryError;
pub use record::{InvalidSessionId, SessionHome, SessionId, SessionRecord, SessionState};

use crate::files::{self, FileError};

/// Only the user who runs the server may look into it or change it.
const DIRECTORY_MODE: u32 = 0o700;
/// The same for every file in it.
const FILE_MODE: u32 = 0o600;
/// Any right of group and others.
const RIGHTS_OF_OTHERS: u32 = 0o077;

/// How long the outcome of a session can be read.
const REMEMBERED: Duration = Duration::from_hours(24 * 90);

/// The sessions of a host.
#[derive(Debug, Clone)]
pub struct SessionDirectory {
    path: PathBuf,
}

/// The lock of a session: whoever has it is its owner, or acts for one that is dead.
#[derive(Debug)]
#[must_use = "dropping it says that the owner is dead"]
pub struct SessionLock {
    _file: File,
}

impl SessionDirectory {
    /// Opens the directory, and makes it when it is missing. One that others may look into is refused.
    pub fn open(path: &Path) -> Result<Self, SessionDirectoryError> {
        let failed = |source| FileError::new("make the directory", path, source);
        DirBuilder::new().mode(DIRECTORY_MODE).recursive(true).create(path).map_err(failed)?;
        let found = path.symlink_metadata().map_err(|source| FileError::new("read", path, source))?;
        let us = rustix::process::geteuid();
        let is_ours = found.is_dir() && (us.is_root() || found.uid() == us.as_raw());
        if !is_ours || found.mode() & RIGHTS_OF_OTHERS != 0 {
            return Err(SessionDirectoryError::NotPrivate { path: path.to_owned(), mode: found.mode() & 0o7777 });
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Makes a session known. Nobody else has its id.
    pub fn create(&self, record: &SessionRecord) -> Result<SessionLock, SessionDirectoryError> {
        let lock = self.lock(&record.id)?.ok_or_else(|| SessionDirectoryError::Taken(record.id.clone()))?;
        if self.read(&record.id)?.is_some() {
            return Err(SessionDirectoryError::Taken(record.id.clone()));
        }
        self.write(record)?;
        Ok(lock)
    }

    /// Replaces the record of a session, durably. Only who has its lock does so.
    pub fn write(&self, record: &SessionRecord) -> Result<(), SessionDirectoryError> {
        let path = self.file(&record.id, "json");
        Ok(files::write_atomically(&path, &record.to_bytes(), FILE_MODE)?)
    }

    /// What is known of a session; none when there never was one of this id, or it is forgotten.
    pub fn read(&self, id: &SessionId) -> Result<Option<SessionRecord>, SessionDirectoryError> {
        let path = self.file(id, "json");
        let Some(body) = files::read_if_present(&path)? else { return Ok(None) };
        SessionRecord::from_bytes(&body, id).map(Some).map_err(|reason| SessionDirectoryError::Unreadable { path, reason })
    }

    /// All sessions, oldest first, and what could not be read.
    pub fn all(&self) -> Result<(Vec<SessionRecord>, Vec<SessionDirectoryError>), SessionDirectoryError> {
        let failed = |source| FileError::new("list", &self.path, source);
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok()) else { continue };
            match self.read(&id) {
                Ok(record) => records.extend(record),
                Err(error) => unreadable.push(error),
            }
        }
        records.sort_by(|one: &SessionRecord, other| (one.begun_at, &one.id).cmp(&(other.begun_at, &other.id)));
        Ok((records, unreadable))
    }

    /// Takes the lock of a session; none as long as its owner lives.
    pub fn lock(&self, id: &SessionId) -> Result<Option<SessionLock>, SessionDirectoryError> {
        let path = self.file(id, "lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
        let file = opened.map_err(|source| FileError::new("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(SessionLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(FileError::new("lock", path, source).into()),
        }
    }

    /// Whether the owner of a session lives.
    pub fn is_held(&self, id: &SessionId) -> Result<bool, SessionDirectoryError> {
        Ok(self.lock(id)?.is_none())
    }

    /// Keeps what waits for its publication, durably, should the owner be killed meanwhile.
    pub fn keep_sentinel(&self, id: &SessionId, rendered: &[u8]) -> Result<(), SessionDirectoryError> {
        Ok(files::write_atomically(&self.file(id, "sentinel"), rendered, FILE_MODE)?)
    }

    /// What [`Self::keep_sentinel`] kept.
    pub fn sentinel(&self, id: &SessionId) -> Result<Option<Vec<u8>>, SessionDirectoryError> {
        Ok(files::read_if_present(&self.file(id, "sentinel"))?)
    }

    /// Where the owner of a session answers.
    #[must_use]
    pub fn socket(&self, id: &SessionId) -> PathBuf {
        self.file(id, "sock")
    }

    /// Where the owner of a session writes what it has to say.
    #[must_use]
    pub fn log(&self, id: &SessionId) -> PathBuf {
        self.file(id, "log")
    }

    /// Removes everything about sessions that have ended long ago.
    pub fn forget_old(&self, now: Timestamp) -> Result<(), SessionDirectoryError> {
        let is_old = |record: &SessionRecord| {
            let age = now.duration_since(record.changed_at);
            record.state.is_over() && Duration::try_from(age).is_ok_and(|age| age >= REMEMBERED)
        };
        for record in self.all()?.0.iter().filter(|record| is_old(record)) {
            let Some(_lock) = self.lock(&record.id)? else { continue };
            // The record last: as long as it is there, the next one tries again.
            for kind in ["sock", "log", "sentinel", "lock", "json"] {
                files::remove_file_if_present(&self.file(&record.id, kind))?;
            }
        }
        Ok(())
    }

    fn file(&self, id: &SessionId, kind: &str) -> PathBuf {
        self.path.join(format!("{id}.{kind}"))
    }
}

/// Writes a file of the operator's, with a session's label or id, as one that survives a crash.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    files::write_atomically(path, bytes, FILE_MODE)
}

/// Reads the id that a file of the operator's holds; none when there is no such file.
pub fn read_id(path: &Path) -> Result<Option<SessionId>, SessionDirectoryError> {
    let Some(bytes) = files::read_if_present(path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let invalid = |error: InvalidSessionId| SessionDirectoryError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    text.trim().parse().map(Some).map_err(invalid)
}

/// Makes the directory for the files of a label.
pub fn make_output(directory: &Path) -> Result<(), FileError> {
    let failed = |source: io::Error| FileError::new("make the directory", directory, source);
    DirBuilder::new().mode(DIRECTORY_MODE).recursive(true).create(directory).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::catalog::BackupName;

    fn record(seed: u8, now: Timestamp) -> SessionRecord {
        let home = SessionHome { store: "file:///s".to_owned(), cluster: "main".to_owned() };
        SessionRecord::starting(SessionId::new([seed; 16]), BackupName::new(now, [seed; 5]), home, "db1", Some(60), now)
    }

    fn now() -> Timestamp {
        "2026-11-21T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        SessionDirectory::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
        for mode in [0o710, 0o701, 0o777, 0o1777] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = SessionDirectory::open(&path).unwrap_err();
            assert!(matches!(error, SessionDirectoryError::NotPrivate { mode: found, .. } if found == mode), "{error}");
        }
    }

    #[test]
    fn files_of_a_session_are_for_their_user_only() {
        let base = tempfile::tempdir().unwrap();
        let directory = SessionDirectory::open(&base.path().join("s")).unwrap();
        let record = record(1, now());
        let _lock = directory.create(&record).unwrap();
        directory.keep_sentinel(&record.id, b"x").unwrap();
        let modes: Vec<u32> = std::fs::read_dir(base.path().join("s"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().mode() & 0o7777)
            .collect();
        assert_eq!(modes, [0o600; 3]);
    }

    #[test]
    fn a_session_is_held_as_long_as_its_owner_lives_and_no_longer() {
        let base = tempfile::tempdir().unwrap();
        let directory = SessionDirectory::open(&base.path().join("s")).unwrap();
        let record = record(1, now());
        let lock = directory.create(&record).unwrap();
        assert!(directory.is_held(&record.id).unwrap());
        assert!(matches!(directory.create(&record), Err(SessionDirectoryError::Taken(_))));
        drop(lock);
        assert!(!directory.is_held(&record.id).unwrap());
        assert!(matches!(directory.create(&record), Err(SessionDirectoryError::Taken(_))), "its record is there");
    }

    #[test]
    fn only_what_ended_long_ago_is_forgotten() {
        let base = tempfile::tempdir().unwrap();
        let directory = SessionDirectory::open(&base.path().join("s")).unwrap();
        let long_ago = now() - REMEMBERED;
        let ended = |seed, at| record(seed, at).ended(SessionState::TimedOut, None, at);
        for record in [ended(1, long_ago), ended(2, now()), record(3, long_ago)] {
            drop(directory.create(&record).unwrap());
        }
        let held = directory.create(&ended(4, long_ago)).unwrap();
        directory.forget_old(now()).unwrap();
        let left: Vec<SessionId> = directory.all().unwrap().0.into_iter().map(|record| record.id).collect();
        let mut expected = [2, 3, 4].map(|seed| SessionId::new([seed; 16])).to_vec();
        expected.sort_by_key(|id| (*id != SessionId::new([3; 16]), *id != SessionId::new([4; 16])));
        assert_eq!(left, expected);
        drop(held);
    }
}
