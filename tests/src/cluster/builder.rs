//! Describes a new cluster, and makes its data directory.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use super::{Cluster, template};
use crate::{Account, Postgres, ScratchDirectory};

/// Small and fast, and nothing here must survive a power cut.
const QUICK_SETTINGS: [(&str, &str); 7] = [
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    ("max_connections", "30"),
    ("max_wal_senders", "5"),
    ("log_line_prefix", "%m [%p] %q%u@%d %a "),
    ("max_wal_size", "1GB"),
    ("log_error_verbosity", "default"),
];

/// The size of a segment of servers before 11, as their packages are compiled.
pub(crate) const BUILT_IN_SEGMENT_MIB: u32 = 16;

/// What a new cluster shall be.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClusterBuilder {
    major: u32,
    settings: Vec<(String, String)>,
    segment_size_mib: Option<u32>,
    tablespaces: usize,
    data_directory: Option<PathBuf>,
    wal_directory: Option<PathBuf>,
    tablespace_locations: Vec<PathBuf>,
    initdb_arguments: Vec<String>,
    has_checksums: bool,
    own_initdb: bool,
    socket_directory: Option<PathBuf>,
}

impl ClusterBuilder {
    pub(super) fn new(major: u32) -> Self {
        let settings = QUICK_SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self {
            major,
            settings,
            segment_size_mib: None,
            tablespaces: 0,
            data_directory: None,
            wal_directory: None,
            tablespace_locations: Vec::new(),
            initdb_arguments: Vec::new(),
            has_checksums: true,
            own_initdb: false,
            socket_directory: None,
        }
    }

    /// Sets a parameter in `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Archives with this command.
    pub fn archive_command(self, command: &str) -> Self {
        self.setting("archive_mode", "on").setting("archive_command", command)
    }

    /// Chooses a segment size in MiB; before PostgreSQL 11 it must be the one that is built in.
    pub fn wal_segment_size(mut self, mib: u32) -> Self {
        let is_option = self.major >= 11;
        assert!(is_option || mib == BUILT_IN_SEGMENT_MIB, "PostgreSQL {} has its segment size built in", self.major);
        self.segment_size_mib = is_option.then_some(mib);
        self
    }

    /// Chooses the smallest segments that the version has: 1 MiB, or before 11 the 16 MiB that are built in.
    pub fn small_segments(mut self) -> Self {
        self.segment_size_mib = (self.major >= 11).then_some(1);
        self
    }

    /// Creates tablespaces `ts1`, `ts2`, ... outside of the data directory, at the first start.
    pub fn tablespaces(mut self, number: usize) -> Self {
        self.tablespaces = number;
        self
    }

    /// Puts the data at this place, which stays when the cluster is dropped.
    pub fn data_at(mut self, data_directory: impl Into<PathBuf>) -> Self {
        self.data_directory = Some(data_directory.into());
        self
    }

    /// Puts `pg_wal` at this place, behind a symbolic link; it stays when the cluster is dropped.
    pub fn wal_at(mut self, wal_directory: impl Into<PathBuf>) -> Self {
        self.wal_directory = Some(wal_directory.into());
        self
    }

    /// Creates one more tablespace at the first start, at this place; it stays when the cluster is dropped.
    pub fn tablespace_at(mut self, location: impl Into<PathBuf>) -> Self {
        self.tablespace_locations.push(location.into());
        self
    }

    /// Gives `initdb` an argument; implies an `initdb` of its own.
    pub fn initdb_argument(mut self, argument: &str) -> Self {
        self.initdb_arguments.push(argument.to_owned());
        self.fresh_initdb()
    }

    /// Leaves the checksums of data pages out, which every other cluster has; implies an `initdb` of its own.
    pub fn without_checksums(mut self) -> Self {
        self.has_checksums = false;
        self.fresh_initdb()
    }

    /// Puts the server's socket into this directory, which stays when the cluster is dropped.
    pub fn socket_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.socket_directory = Some(directory.into());
        self
    }

    /// Runs `initdb` instead of copying the template, for a system identifier of its own.
    pub fn fresh_initdb(mut self) -> Self {
        self.own_initdb = true;
        self
    }

    /// Makes the data directory; the server is not started.
    #[track_caller]
    pub fn create(self) -> Cluster {
        let postgres = Postgres::of(self.major);
        let scratch = ScratchDirectory::create();
        let data_directory = self.data_directory.unwrap_or_else(|| scratch.join("data"));
        if self.own_initdb {
            let mut arguments = self.initdb_arguments;
            if arguments.is_empty() {
                arguments.extend(template::USUAL_LOCALE.map(str::to_owned));
            }
            arguments.extend(template::checksums(self.major, self.has_checksums));
            template::initdb(&postgres, &data_directory, self.segment_size_mib, &arguments);
        } else {
            template::copy_to(&postgres, &data_directory, self.segment_size_mib);
        }
        append_settings(&data_directory, &self.settings);
        if let Some(wal_directory) = &self.wal_directory {
            move_wal(&data_directory, wal_directory);
        }
        let own = (1..=self.tablespaces).map(|number| scratch.join(format!("ts{number}")));
        let tablespaces: Vec<_> = own.chain(self.tablespace_locations).collect();
        for location in &tablespaces {
            Account::unprivileged().create_directory(location);
        }
        let mut cluster = Cluster::with_directory(scratch, data_directory, postgres);
        cluster.planned_tablespaces = tablespaces;
        if let Some(directory) = self.socket_directory {
            Account::unprivileged().create_directory(&directory);
            cluster.socket_directory = directory;
        }
        cluster
    }

    /// Makes the data directory and starts the server.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let mut cluster = self.create();
        cluster.start();
        cluster
    }
}

/// Two file systems perhaps, so that renaming will not do.
fn move_wal(data_directory: &Path, wal_directory: &Path) {
    let inside = data_directory.join("pg_wal");
    template::copy_tree(&inside, wal_directory);
    fs::remove_dir_all(&inside).unwrap_or_else(|error| panic!("cannot move {}: {error}", inside.display()));
    link(wal_directory, &inside);
}

/// Makes a link that belongs to the servers' user.
pub(super) fn link(target: &Path, path: &Path) {
    let account = Account::unprivileged();
    let made = symlink(target, path).and_then(|()| lchown(path, Some(account.uid), Some(account.gid)));
    made.unwrap_or_else(|error| panic!("cannot link {} to {}: {error}", path.display(), target.display()));
}

pub(super) fn append_settings(data_directory: &Path, settings: &[(String, String)]) {
    let mut lines = String::new();
    for (name, value) in settings {
        writeln!(lines, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''")).expect("a string takes everything");
    }
    let path = data_directory.join("postgresql.conf");
    let appended = OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(lines.as_bytes()));
    appended.unwrap_or_else(|error| panic!("cannot append to {}: {error}", path.display()));
}
