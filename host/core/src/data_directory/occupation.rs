//! What lies in a directory that a cluster is, or shall be, in.
//!
//! Whether a server runs there is asked of the kernel, not only of `postmaster.pid`: a snapshot carries the file of the original
//! server, whose process may well live, in another directory. Every process of a server has its data directory as its working
//! directory, which also finds what is left of a server whose first process was killed.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::InspectError;
use crate::files::{FileError, LOST_AND_FOUND, read_if_present};
use crate::postgres::{ControlFileError, PgControl, SystemIdentifier};

/// The file that names the major version.
pub(super) const VERSION_FILE: &str = "PG_VERSION";

/// The directory of all databases.
pub(super) const DATABASES: &str = "base";

/// Directories that a server never has outside its data directory by its own means, and that a backup would miss there.
const HOLDS_DATA: [&str; 9] =
    ["base", "global", "pg_commit_ts", "pg_logical", "pg_multixact", "pg_stat", "pg_tblspc", "pg_twophase", "pg_xact"];

/// How often `pg_control` is read while its checksum is wrong: a server may be writing it.
const CONTROL_READS: usize = 10;

/// What lies in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupation {
    /// There is no such directory.
    Missing,
    /// Nothing, or no more than `lost+found`.
    Empty,
    /// A cluster.
    Cluster {
        /// In its `pg_control`.
        system_identifier: SystemIdentifier,
        /// In its `PG_VERSION`: `15`.
        major: u32,
        /// A copy that has been prepared, perhaps in part, and never started since.
        sealed: bool,
        /// Process of the server that runs on it.
        running: Option<u32>,
    },
    /// A part of a cluster: a restore was interrupted.
    Incomplete {
        /// The file that it lacks.
        missing: &'static str,
    },
    /// Something else.
    Foreign {
        /// Name of the first entry.
        example: String,
    },
}

/// Looks at a directory and changes nothing.
pub fn inspect(directory: &Path) -> Result<Occupation, InspectError> {
    let mut entries = match entry_names(directory) {
        Ok(entries) => entries,
        Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(Occupation::Missing),
        Err(error) => return Err(error.into()),
    };
    entries.retain(|name| name != LOST_AND_FOUND);
    let Some(example) = entries.into_iter().next() else {
        return Ok(Occupation::Empty);
    };
    match (major_version(directory)?, read_control(directory)?) {
        (Some(major), Some(control)) => Ok(Occupation::Cluster {
            system_identifier: control.system_identifier(),
            major: major.parse().unwrap_or(0),
            sealed: control.is_sealed(),
            running: running_server(directory)?,
        }),
        (Some(_), None) => Ok(Occupation::Incomplete { missing: PgControl::PATH }),
        (None, Some(_)) => Ok(Occupation::Incomplete { missing: VERSION_FILE }),
        (None, None) => Ok(Occupation::Foreign { example }),
    }
}

/// The names in a directory, in order.
pub(super) fn entry_names(directory: &Path) -> Result<Vec<String>, FileError> {
    let failed = |source| FileError::new("list", directory, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// What `PG_VERSION` says: `15`, or `9.6`.
pub(super) fn major_version(directory: &Path) -> Result<Option<String>, FileError> {
    let contents = read_if_present(&directory.join(VERSION_FILE))?;
    Ok(contents.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// Reads `pg_control`, again while it seems torn.
pub(crate) fn read_control(directory: &Path) -> Result<Option<PgControl>, InspectError> {
    let path = directory.join(PgControl::PATH);
    let mut reads = 0;
    loop {
        let Some(bytes) = read_if_present(&path)? else {
            return Ok(None);
        };
        reads += 1;
        match PgControl::parse(&bytes) {
            Ok(control) => return Ok(Some(control)),
            Err(ControlFileError::Torn) if reads < CONTROL_READS => {}
            Err(source) => return Err(InspectError::Control { path, source }),
        }
    }
}

/// A directory of data that somebody has moved away and replaced by a symbolic link.
pub(crate) fn linked_directory(directory: &Path) -> Option<PathBuf> {
    let linked = HOLDS_DATA.iter().map(|name| directory.join(name)).find(|path| path.is_symlink());
    linked.or_else(|| linked_database(&directory.join("base")))
}

/// Whether there are databases at all: a restore of a part may have brought `pg_control` with it.
pub(super) fn has_databases(directory: &Path) -> bool {
    directory.join(DATABASES).is_dir()
}

/// A database that somebody has moved away and replaced by a symbolic link, or the directory of all of them.
pub(crate) fn linked_database(databases: &Path) -> Option<PathBuf> {
    if databases.is_symlink() {
        return Some(databases.to_owned());
    }
    let entries = std::fs::read_dir(databases).into_iter().flatten().flatten();
    // Files of queries are no data, and no copy keeps the link.
    let holds_data = |name: &OsStr| !name.as_encoded_bytes().starts_with(b"pgsql_tmp");
    entries.filter(|entry| holds_data(&entry.file_name())).map(|entry| entry.path()).find(|path| path.is_symlink())
}

/// The process of a server that runs on the directory.
pub(crate) fn running_server(directory: &Path) -> Result<Option<u32>, FileError> {
    let here = std::fs::metadata(directory).map_err(|source| FileError::new("read", directory, source))?;
    let contents = read_if_present(&directory.join("postmaster.pid"))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&contents);
    let mut lines = text.lines();
    // A single-user server writes its number with a minus sign.
    let pid = lines.next().and_then(|line| line.trim().trim_start_matches('-').parse().ok()).filter(|pid| *pid != 0);
    let named = pid.filter(|pid| runs_in(*pid, lines.next().map(Path::new), &here));
    Ok(named.or_else(|| leftover_process(&here)))
}

fn runs_in(pid: u32, claimed: Option<&Path>, here: &Metadata) -> bool {
    if let Ok(working_directory) = std::fs::metadata(proc_entry(pid, "cwd")) {
        return is_same(&working_directory, here);
    }
    // Gone, or not ours to look at. In doubt it runs here, unless the file itself names another directory.
    is_alive(pid) && claimed.is_none_or(|path| std::fs::metadata(path).map_or(true, |claimed| is_same(&claimed, here)))
}

/// A process of a server whose first process is gone: its memory may still be written to the directory.
fn leftover_process(here: &Metadata) -> Option<u32> {
    server_process(|pid| std::fs::metadata(proc_entry(pid, "cwd")).is_ok_and(|found| is_same(&found, here)))
}

/// The first process of any server of which this is true.
fn server_process(is_sought: impl Fn(u32) -> bool) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_server = |pid: &u32| std::fs::read(proc_entry(*pid, "comm")).is_ok_and(|name| name.starts_with(b"postgres"));
    pids.filter(is_server).find(|pid| is_sought(*pid))
}

/// The process of a server whose `pg_wal` this directory is, wherever its data directory lies.
pub(super) fn server_with_wal(wal: &Path) -> Result<Option<u32>, FileError> {
    let here = std::fs::metadata(wal).map_err(|source| FileError::new("read", wal, source))?;
    Ok(server_process(|pid| std::fs::metadata(proc_entry(pid, "cwd/pg_wal")).is_ok_and(|found| is_same(&found, &here))))
}

fn proc_entry(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::super::fixture::{Fixture, SYSTEM_IDENTIFIER};
    use super::*;

    /// A process that stays until it is dropped.
    struct Process(Child);

    impl Process {
        /// Starts `cat` under some name; when this returns, it runs under that name.
        fn start(program: &Path, working_directory: &Path) -> Self {
            let mut command = Command::new(program);
            let started = command.current_dir(working_directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut process = Self(started.unwrap());
            process.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
            process.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            process
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn running(directory: &Path) -> Option<u32> {
        match inspect(directory).unwrap() {
            Occupation::Cluster { running, .. } => running,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tells_missing_empty_foreign_and_incomplete_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        assert_eq!(inspect(&path).unwrap(), Occupation::Missing);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(inspect(&path).unwrap(), Occupation::Empty);
        std::fs::create_dir(path.join("lost+found")).unwrap();
        assert_eq!(inspect(&path).unwrap(), Occupation::Empty);
        std::fs::write(path.join("thesis.tex"), "").unwrap();
        assert_eq!(inspect(&path).unwrap(), Occupation::Foreign { example: "thesis.tex".into() });
        std::fs::write(path.join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(inspect(&path).unwrap(), Occupation::Incomplete { missing: "global/pg_control" });
        assert!(inspect(&path.join("PG_VERSION")).is_err());
    }

    #[test]
    fn reads_a_cluster_and_its_seal() {
        let fixture = Fixture::new(15);
        let system_identifier = SYSTEM_IDENTIFIER;
        let cluster = |sealed| Occupation::Cluster { system_identifier, major: 15, sealed, running: None };
        assert_eq!(inspect(&fixture.directory).unwrap(), cluster(false));
        let sealed = read_control(&fixture.directory).unwrap().unwrap().sealed();
        std::fs::write(fixture.directory.join(PgControl::PATH), sealed).unwrap();
        assert_eq!(inspect(&fixture.directory).unwrap(), cluster(true));
    }

    #[test]
    fn a_damaged_pg_control_is_an_error_and_not_an_empty_directory() {
        let fixture = Fixture::new(15);
        std::fs::write(fixture.directory.join(PgControl::PATH), [1; 8192]).unwrap();
        assert!(matches!(inspect(&fixture.directory), Err(InspectError::Control { source: ControlFileError::Torn, .. })));
    }

    #[test]
    fn a_live_process_of_this_directory_runs_and_that_of_another_does_not() {
        let (fixture, other) = (Fixture::new(15), tempfile::tempdir().unwrap());
        let process = Process::start(Path::new("/bin/cat"), &fixture.directory);
        let pid = process.0.id();
        fixture.write("postmaster.pid", &format!("{pid}\n{}\n1700000000\n5432\n", fixture.directory.display()));
        assert_eq!(running(&fixture.directory), Some(pid));
        drop(process);
        assert_eq!(running(&fixture.directory), None, "a stale file");
        let process = Process::start(Path::new("/bin/cat"), other.path());
        fixture.write("postmaster.pid", &format!("{}\n{}\n1700000000\n5432\n", process.0.id(), other.path().display()));
        assert_eq!(running(&fixture.directory), None, "the file of the original server");
    }

    #[test]
    fn finds_what_is_left_of_a_server_whose_first_process_was_killed() {
        let (fixture, programs) = (Fixture::new(15), tempfile::tempdir().unwrap());
        let program = programs.path().join("postgres");
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        let process = Process::start(&program, &fixture.directory);
        assert_eq!(running(&fixture.directory), Some(process.0.id()));
    }
}
