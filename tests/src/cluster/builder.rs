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
    own_initdb: bool,
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
            own_initdb: false,
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

    /// Chooses a segment size in MiB; from PostgreSQL 11.
    pub fn wal_segment_size(mut self, mib: u32) -> Self {
        assert!(self.major >= 11, "PostgreSQL {} has its segment size built in", self.major);
        self.segment_size_mib = Some(mib);
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
            template::initdb(&postgres, &data_directory, self.segment_size_mib, &self.initdb_arguments);
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
    let account = Account::unprivileged();
    let moved = fs::remove_dir_all(&inside)
        .and_then(|()| symlink(wal_directory, &inside))
        .and_then(|()| lchown(&inside, Some(account.uid), Some(account.gid)));
    moved.unwrap_or_else(|error| panic!("cannot move {} to {}: {error}", inside.display(), wal_directory.display()));
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
