//! The unprivileged user that runs servers and the binary under test: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Name of the user that the harness creates where there is no `postgres`.
const OWN_USER: &str = "stillframe-tests";

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its login name.
    pub name: String,
    /// Its numeric user identifier.
    pub uid: u32,
    /// The identifier of its group.
    pub gid: u32,
}

impl Account {
    /// The unprivileged user: ourselves, or under root `postgres`, or else one that is created now.
    pub fn unprivileged() -> &'static Self {
        static FOUND: OnceLock<Account> = OnceLock::new();
        FOUND.get_or_init(|| {
            let own_uid = rustix::process::geteuid().as_raw();
            if own_uid != 0 {
                let name = name_of(own_uid).unwrap_or_else(|| own_uid.to_string());
                return Self { name, uid: own_uid, gid: rustix::process::getegid().as_raw() };
            }
            by_name("postgres").or_else(|| by_name(OWN_USER)).unwrap_or_else(create)
        })
    }

    /// Whether commands must change to it.
    pub fn differs_from_ours(&self) -> bool {
        rustix::process::geteuid().as_raw() != self.uid
    }

    /// Makes the command run as this user, without root's home.
    pub fn run_as<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if self.differs_from_ours() {
            command.uid(self.uid).gid(self.gid).env("HOME", "/nonexistent").env("USER", &self.name).env("LOGNAME", &self.name);
        }
        command
    }

    /// Gives one file or directory to this user.
    pub fn own(&self, path: &Path) {
        if self.differs_from_ours() {
            chown(path, Some(self.uid), Some(self.gid))
                .unwrap_or_else(|error| panic!("cannot give {} away: {error}", path.display()));
        }
    }

    /// Writes a file that belongs to this user.
    pub fn write(&self, path: &Path, contents: impl AsRef<[u8]>) {
        fs::write(path, contents).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        self.own(path);
    }

    /// Creates a directory, and its missing parents, that belong to this user.
    pub fn create_directory(&self, path: &Path) {
        if path.is_dir() {
            return;
        }
        if let Some(parent) = path.parent() {
            self.create_directory(parent);
        }
        if let Err(error) = fs::create_dir(path) {
            assert!(path.is_dir(), "cannot create {}: {error}", path.display());
        }
        self.own(path);
    }
}

fn by_name(name: &str) -> Option<Account> {
    passwd().into_iter().find(|account| account.name == name)
}

fn name_of(uid: u32) -> Option<String> {
    passwd().into_iter().find(|account| account.uid == uid).map(|account| account.name)
}

fn passwd() -> Vec<Account> {
    let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some(Account { name, uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    };
    file.lines().filter_map(account).collect()
}

fn create() -> Account {
    let created = Command::new("useradd").args(["--system", "--no-create-home", "--user-group", OWN_USER]).status();
    // Another test process may have been quicker: what counts is that the user exists now.
    by_name(OWN_USER).unwrap_or_else(|| {
        panic!("there is no user `postgres`, and `useradd {OWN_USER}` failed ({created:?}): install postgresql-15 or passwd")
    })
}
