//! The user that servers run as: ourselves, or under root `postgres`, since PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;

/// A user of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Its login name.
    pub(crate) name: String,
    /// Its user and group, when they are not ours.
    other: Option<(u32, u32)>,
}

impl Account {
    /// Finds the user.
    pub(crate) fn of_servers() -> Result<Self, Failure> {
        let passwd = fs::read_to_string("/etc/passwd").map_err(Failure::io("read `/etc/passwd`"))?;
        let entries: Vec<(&str, u32, u32)> = passwd.lines().filter_map(entry).collect();
        if !is_root() {
            let name = entries.iter().find(|(_, user, _)| Some(*user) == own_user()).map_or("you", |(name, ..)| name);
            return Ok(Self { name: name.to_owned(), other: None });
        }
        match entries.into_iter().find(|(name, ..)| *name == "postgres") {
            Some((name, user, group)) => Ok(Self { name: name.to_owned(), other: Some((user, group)) }),
            None => Err(Failure::new("there is no user `postgres`, which the package postgresql-common creates")),
        }
    }

    /// A command that runs as this user, with an environment of its own.
    ///
    /// What is exported around it (`PGHOST`, `PGDATA`, `STILLFRAME_CONFIG`) must not lead to a real server or archive.
    pub(crate) fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home).env("LC_ALL", "C.UTF-8");
        command.current_dir(home);
        if let Some((user, group)) = self.other {
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives a file or directory to this user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Failure> {
        let Some((user, group)) = self.other else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(Failure::io(format!("give `{}` to {}", path.display(), self.name)))
    }
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    own_user() == Some(0)
}

fn own_user() -> Option<u32> {
    // The standard library tells the owner of a file, not of a process.
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

fn entry(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}
