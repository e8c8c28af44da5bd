//! Keeps everybody but the operator out of a restored server until he has looked at what was recovered.
//!
//! The server's own `pg_hba.conf` is not touched, wherever it lies: `postgresql.auto.conf`, which is read last, names a file of ours
//! in its place. That setting takes hold at a start only. So, while the server runs, our file is replaced by a link to its own: what
//! it reads from then on is what it would have read all the time, later changes included.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use super::settings;
use crate::files::{self, FileError};

/// The file that admits the operator only.
pub(super) const LOCK_OUT_FILE: &str = "pg_hba.lock-out.conf";

/// The file that `ALTER SYSTEM` writes.
pub(super) const SETTINGS_FILE: &str = "postgresql.auto.conf";

/// Mode of both files: they belong to the server's user.
const FILE_MODE: u32 = 0o600;

/// The only role that may connect: through the local socket, as the user of the operating system who has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOut {
    role: String,
}

impl LockOut {
    /// The role.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    pub(super) fn contents(&self) -> String {
        format!(
            "# Written by stillframe snapshot-fetch --lock-out: `stillframe recovery accept` lets the server's own file count again.\n\
             local all \"{}\" peer\n",
            self.role
        )
    }
}

impl FromStr for LockOut {
    type Err = InvalidRole;

    /// Refuses what `pg_hba.conf` would read as something else than one role.
    fn from_str(role: &str) -> Result<Self, InvalidRole> {
        let is_special = role.is_empty() || role.starts_with(['+', '/', '@']);
        if is_special || role.chars().any(|letter| letter == '"' || letter == '\\' || letter.is_control()) {
            return Err(InvalidRole(role.to_owned()));
        }
        Ok(Self { role: role.to_owned() })
    }
}

impl fmt::Display for LockOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.role.fmt(formatter)
    }
}

/// A name that would not mean one role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` cannot stand for one role in pg_hba.conf")]
pub struct InvalidRole(pub String);

/// The lock-out of a data directory, whether its server runs or not.
#[derive(Debug, Clone)]
pub struct InstalledLockOut {
    directory: PathBuf,
}

impl InstalledLockOut {
    /// That of the data directory; there need be none.
    #[must_use]
    pub fn of(data_directory: &Path) -> Self {
        Self { directory: data_directory.to_owned() }
    }

    /// The file that locks out.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.join(LOCK_OUT_FILE)
    }

    /// Whether the next start of the server locks out.
    pub fn is_set(&self) -> Result<bool, FileError> {
        let existing = files::read_if_present(&self.directory.join(SETTINGS_FILE))?.unwrap_or_default();
        Ok(settings::has_lock_out(&existing))
    }

    /// Whether our file still is what locks out, and not a link to the server's own.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.file().symlink_metadata().is_ok_and(|found| !found.is_symlink())
    }

    /// Makes our file a link to the server's own; a server that runs reads it at its next reload.
    pub fn open(&self, own: &Path) -> Result<(), FileError> {
        files::link_atomically(own, &self.file())
    }

    /// Takes [`Self::open`] back.
    pub fn close(&self, contents: &[u8]) -> Result<(), FileError> {
        files::write_atomically(&self.file(), contents, FILE_MODE)
    }

    /// Lets the next start of the server read its own file.
    pub fn unset(&self) -> Result<(), FileError> {
        let path = self.directory.join(SETTINGS_FILE);
        let existing = files::read_if_present(&path)?.unwrap_or_default();
        if !settings::has_lock_out(&existing) {
            return Ok(());
        }
        files::write_atomically(&path, &settings::without_lock_out(&existing), FILE_MODE)
    }

    /// Removes our file, once no server can be reading it.
    pub fn remove(&self) -> Result<bool, FileError> {
        let was_there = files::remove_file_if_present(&self.file())?;
        files::sync_directory(&self.directory)?;
        Ok(was_there)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::prepare;
    use super::*;

    #[test]
    fn a_role_is_one_role_and_nothing_else() {
        for role in ["", "+admins", "/^a", "@file", "a\"b", "a\nlocal all all trust"] {
            assert!(role.parse::<LockOut>().is_err(), "{role:?}");
        }
        let all: LockOut = "all".parse().unwrap();
        assert!(all.contents().ends_with("\nlocal all \"all\" peer\n"), "in quotes it is a name: {}", all.contents());
    }

    #[test]
    fn a_locked_copy_keeps_its_own_file_and_the_next_restore_without_a_lock_leaves_none() {
        let fixture = Fixture::new(15);
        let own = fixture.read("pg_hba.conf");
        let mut preparation = fixture.preparation();
        preparation.lock_out = Some("dba".parse().unwrap());
        prepare(&preparation).unwrap();
        let installed = InstalledLockOut::of(&fixture.directory);
        assert!(installed.is_set().unwrap() && installed.is_closed());
        assert_eq!(fixture.read("pg_hba.conf"), own);
        // A backup of the locked server, whose `ALTER SYSTEM` has dropped our comments, holds the line as well.
        let line = fixture.read(SETTINGS_FILE).unwrap().lines().find(|line| line.starts_with("hba_file")).unwrap().to_owned();
        fixture.write(SETTINGS_FILE, &format!("work_mem = '4MB'\n{line}\n"));
        preparation.lock_out = None;
        prepare(&preparation).unwrap();
        assert!(!installed.is_set().unwrap() && !installed.file().exists());
        assert!(fixture.read(SETTINGS_FILE).unwrap().starts_with("work_mem = '4MB'\n"));
    }

    #[test]
    fn unsetting_takes_our_line_and_nothing_else_and_can_be_repeated() {
        let fixture = Fixture::new(15);
        fixture.write(SETTINGS_FILE, "hba_file = '/etc/pg_hba.conf'\nhba_file = '/data/pg_hba.lock-out.conf'\nwork_mem = '4MB'\n");
        let installed = InstalledLockOut::of(&fixture.directory);
        for _ in 0..2 {
            installed.unset().unwrap();
            assert_eq!(fixture.read(SETTINGS_FILE).unwrap(), "hba_file = '/etc/pg_hba.conf'\nwork_mem = '4MB'\n");
        }
    }
}
