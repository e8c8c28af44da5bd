//! A made-up restored data directory for the tests of this module.

use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use super::preparation::{OriginalLocations, Preparation};
use super::recovery::{Archiving, Inclusion, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use crate::postgres::{BackupLabel, Lsn, PgControl, PgVersion, SystemIdentifier, TablespaceMap};

/// Of the made-up cluster.
pub(super) const SYSTEM_IDENTIFIER: SystemIdentifier = SystemIdentifier(42);

/// Object identifier of the one tablespace.
pub(super) const TABLESPACE: u32 = 16384;

/// A copy of a cluster with one tablespace, in a directory of its own.
pub(super) struct Fixture {
    root: tempfile::TempDir,
    /// The copy.
    pub(super) directory: PathBuf,
    /// The copy of the tablespace.
    pub(super) tablespace: PathBuf,
    major: u32,
}

impl Fixture {
    /// Makes what a cut in backup mode leaves, with everything in it that a preparation has to remove.
    pub(super) fn new(major: u32) -> Self {
        let root = tempfile::tempdir().unwrap();
        let fixture = Self { directory: root.path().join("data"), tablespace: root.path().join("restored space"), root, major };
        let directories =
            ["global", "base/1", "base/pgsql_tmp", "pg_wal/archive_status", "pg_tblspc", "pg_replslot/slot", "pg_notify"];
        for name in directories {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(fixture.directory.join(name)).unwrap();
        }
        fixture.write("PG_VERSION", &format!("{major}\n"));
        std::fs::write(fixture.directory.join(PgControl::PATH), crate::postgres::control_image(SYSTEM_IDENTIFIER.0, 288)).unwrap();
        let stale = [
            "postmaster.opts",
            "standby.signal",
            "backup_label.old",
            "global/pg_internal.init",
            "global/.pg_control.1-0.stillframe",
            "base/1/pg_internal.init.77",
            "base/pgsql_tmp/pgsql_tmp77.0",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status/000000010000000000000001.done",
            "pg_replslot/slot/state",
            "pg_notify/0000",
        ];
        for name in stale {
            fixture.write(name, "stale");
        }
        for name in ["base/1/1259", "postgresql.conf", "pg_hba.conf"] {
            fixture.write(name, "data");
        }
        fixture.write("postgresql.auto.conf", "work_mem = '4MB'\nrestore_command = 'old'\n");
        let version_directory = fixture.tablespace.join(format!("PG_{major}_202209061/1/pgsql_tmp"));
        std::fs::create_dir_all(version_directory).unwrap();
        symlink(fixture.original_tablespace(), fixture.directory.join(format!("pg_tblspc/{TABLESPACE}"))).unwrap();
        fixture
    }

    /// Where the original cluster has the tablespace; does not exist.
    pub(super) fn original_tablespace(&self) -> PathBuf {
        self.root.path().join("original space")
    }

    /// A place beside the copy.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.directory.join(name), contents).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Option<String> {
        std::fs::read(self.directory.join(name)).ok().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The preparation that fits the copy.
    pub(super) fn preparation(&self) -> Preparation {
        let label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n\
            BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-21 10:00:00 UTC\nLABEL: x\nSTART TIMELINE: 1\n";
        let map = format!("{TABLESPACE} {}\n", self.original_tablespace().display());
        Preparation {
            data_directory: self.directory.clone(),
            original_data_directory: self.root.path().join("original data"),
            system_identifier: SYSTEM_IDENTIFIER,
            version: PgVersion(self.major * 10_000 + 4),
            label: BackupLabel::parse(label.into()).unwrap(),
            stop_lsn: Lsn(0x0300_0000),
            tablespace_map: TablespaceMap::new(map.into()),
            tablespace_mapping: vec![(self.original_tablespace(), self.tablespace.clone())],
            original_locations: OriginalLocations::Foreign,
            wal_directory: None,
            kept_wal: None,
            recovery: RecoverySettings {
                restore_command: "stillframe wal-fetch %f %p".to_owned(),
                target: RecoveryTarget::Name("it's here".to_owned()),
                inclusive: Inclusion::Inclusive,
                timeline: TargetTimeline::Latest,
                action: TargetAction::Promote,
                archiving: Archiving::Off,
            },
            backup: "sf-20261121T083214Z-9k3m2p7x".to_owned(),
            salvaged: Vec::new(),
            lock_out: None,
        }
    }

    /// Every file and link of the copy with its contents, and every directory, in order.
    pub(super) fn tree(&self) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        collect(&self.directory, &self.directory, &mut entries);
        entries.sort();
        entries
    }
}

fn collect(root: &Path, directory: &Path, entries: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_symlink() {
            entries.push((name, format!("-> {}", std::fs::read_link(&path).unwrap().display())));
        } else if path.is_dir() {
            entries.push((name, "directory".to_owned()));
            collect(root, &path, entries);
        } else {
            entries.push((name, std::fs::read(&path).unwrap().escape_ascii().to_string()));
        }
    }
}
