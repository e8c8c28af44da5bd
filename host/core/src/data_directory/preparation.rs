//! Makes a restored copy of PGDATA ready to recover from its backup label, or refuses to.
//!
//! The order is the contract. Every refusal comes before the first change. The seal comes first and the label last: whatever
//! interrupts the steps between, the copy cannot start, since a sealed `pg_control` without a label leads nowhere. Every step can be
//! repeated.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::clean::{self, LABEL_FILE, MAP_FILE, OLD_RECOVERY_FILE, SIGNAL_FILE};
use super::occupation::{self, VERSION_FILE};
use super::recovery::FIRST_WITH_SIGNAL;
use super::tablespaces::{self, Tablespaces};
use super::wal::{self, WalPlace};
use super::{Archiving, PrepareError, RecoverySettings, settings};
use crate::files::{self, FileError};
use crate::postgres::{BackupLabel, Lsn, PgControl, PgVersion, SystemIdentifier, TablespaceLink, TablespaceMap};

/// The file that `ALTER SYSTEM` writes.
const SETTINGS_FILE: &str = "postgresql.auto.conf";

/// A copy, the backup that it was cut by, and what shall become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// The copy.
    pub data_directory: PathBuf,
    /// Where the original server had its data directory.
    pub original_data_directory: PathBuf,
    /// Of the cluster.
    pub system_identifier: SystemIdentifier,
    /// Version of the server that was backed up.
    pub version: PgVersion,
    /// The backup's label.
    pub label: BackupLabel,
    /// Where the backup stopped.
    pub stop_lsn: Lsn,
    /// The backup's tablespaces.
    pub tablespace_map: TablespaceMap,
    /// Pairs of the original and the new location of a tablespace.
    pub tablespace_mapping: Vec<(PathBuf, PathBuf)>,
    /// What lies at original locations that are not mapped.
    pub original_locations: OriginalLocations,
    /// An empty directory for the WAL, made when missing; none leaves `pg_wal` where it is.
    pub wal_directory: Option<PathBuf>,
    /// How to recover.
    pub recovery: RecoverySettings,
}

/// What lies at the original locations of tablespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalLocations {
    /// What the caller restored there.
    Ours,
    /// Perhaps the living cluster's: they are used only when the copy is in the original's data directory itself.
    Foreign,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreparationReport {
    /// Files and contents of directories that were removed, within the data directory.
    pub removed: Vec<String>,
    /// Where the tablespaces are.
    pub tablespaces: Vec<TablespaceLink>,
    /// Where the WAL will be, when not in the data directory.
    pub wal_directory: Option<PathBuf>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Prepares a copy. When this returns, its first start recovers as the settings say.
pub fn prepare(preparation: &Preparation) -> Result<PreparationReport, PrepareError> {
    let copy = ProvenCopy::prove(preparation)?;
    let mut report = PreparationReport::default();
    for step in ProvenCopy::STEPS {
        step(&copy, &mut report)?;
    }
    Ok(report)
}

type Step<Subject> = fn(&Subject, &mut PreparationReport) -> Result<(), FileError>;

/// A copy that has passed every check.
struct ProvenCopy<'preparation> {
    preparation: &'preparation Preparation,
    directory: &'preparation Path,
    control: PgControl,
    tablespaces: Tablespaces,
    wal: WalPlace,
    assignments: Vec<(&'static str, String)>,
    file_mode: u32,
    directory_mode: u32,
}

impl<'preparation> ProvenCopy<'preparation> {
    const STEPS: [Step<Self>; 9] = [
        // First: from here on, the copy cannot start without a label.
        Self::seal,
        // A run that is repeated finds the label of the first one. Without it the copy stands still while all else changes.
        Self::remove_label,
        Self::clean,
        Self::make_wal_ready,
        Self::link_tablespaces,
        // The settings before the signal: a recovery that is asked for must know where to stop.
        Self::write_settings,
        Self::write_signal,
        // Everything that the label needs is in place.
        Self::write_map,
        Self::write_label,
    ];

    fn prove(preparation: &'preparation Preparation) -> Result<Self, PrepareError> {
        let directory = preparation.data_directory.as_path();
        let found = std::fs::metadata(directory).map_err(|source| FileError::new("read", directory, source))?;
        let control = prove_cluster(preparation)?;
        if let Some(pid) = occupation::running_server(directory)? {
            return Err(PrepareError::Running { directory: directory.to_owned(), pid });
        }
        prove_moment(preparation, &control)?;
        if let Some(path) = occupation::linked_directory(directory) {
            return Err(PrepareError::LinkedDirectory { path });
        }
        Ok(Self {
            preparation,
            directory,
            tablespaces: tablespaces::find(preparation, control.catalog_version())?,
            control,
            wal: wal::find_place(directory, preparation.wal_directory.as_deref())?,
            assignments: preparation.recovery.assignments(preparation.version.major())?,
            // The group may read the cluster's files where it may enter its directory (`initdb --allow-group-access`).
            file_mode: 0o600 | found.mode() & 0o040,
            directory_mode: 0o700 | found.mode() & 0o050,
        })
    }

    fn seal(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        if self.control.is_sealed() {
            return Ok(());
        }
        files::write_atomically(&self.directory.join(PgControl::PATH), &self.control.sealed(), self.file_mode)
    }

    fn remove_label(&self, report: &mut PreparationReport) -> Result<(), FileError> {
        if clean::remove_label(self.directory)? {
            report.removed.push(LABEL_FILE.to_owned());
        }
        Ok(())
    }

    fn clean(&self, report: &mut PreparationReport) -> Result<(), FileError> {
        let removed = clean::clean(self.directory, &self.tablespaces.version_directories, self.directory_mode)?;
        report.removed.extend(removed);
        Ok(())
    }

    fn make_wal_ready(&self, report: &mut PreparationReport) -> Result<(), FileError> {
        wal::make_ready(self.directory, &self.wal, self.directory_mode)?;
        report.wal_directory = match &self.wal {
            WalPlace::Inside => None,
            WalPlace::Linked(target) => Some(target.clone()),
        };
        Ok(())
    }

    fn link_tablespaces(&self, report: &mut PreparationReport) -> Result<(), FileError> {
        let unknown = tablespaces::link(self.directory, &self.tablespaces.links, self.directory_mode)?;
        report.warnings.extend(unknown.into_iter().map(|oid| {
            format!("removed the link of tablespace {oid}, which the backup does not know; if it was created later, recovery needs its directory")
        }));
        report.tablespaces.clone_from(&self.tablespaces.links);
        Ok(())
    }

    fn write_settings(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        let mut ours = Vec::new();
        if self.preparation.version.major() >= FIRST_WITH_SIGNAL {
            ours.clone_from(&self.assignments);
        }
        if self.preparation.recovery.archiving == Archiving::Off {
            ours.push(("archive_mode", "off".to_owned()));
        }
        let path = self.directory.join(SETTINGS_FILE);
        let existing = files::read_if_present(&path)?.unwrap_or_default();
        files::write_atomically(&path, &settings::replace(&existing, &ours), self.file_mode)
    }

    fn write_signal(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        if self.preparation.version.major() >= FIRST_WITH_SIGNAL {
            return files::write_atomically(&self.directory.join(SIGNAL_FILE), b"", self.file_mode);
        }
        let contents = settings::render(&self.assignments);
        files::write_atomically(&self.directory.join(OLD_RECOVERY_FILE), contents.as_bytes(), self.file_mode)
    }

    fn write_map(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        if self.tablespaces.map.is_empty() {
            return Ok(());
        }
        files::write_atomically(&self.directory.join(MAP_FILE), self.tablespaces.map.as_bytes(), self.file_mode)
    }

    fn write_label(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        files::write_atomically(&self.directory.join(LABEL_FILE), self.preparation.label.as_bytes(), self.file_mode)
    }
}

/// Proves that the directory holds this cluster in this major version.
fn prove_cluster(preparation: &Preparation) -> Result<PgControl, PrepareError> {
    let directory = preparation.data_directory.clone();
    let Some(version) = occupation::major_version(&directory)? else {
        return Err(PrepareError::NotACluster { directory, missing: VERSION_FILE });
    };
    let Some(control) = occupation::read_control(&directory)? else {
        return Err(PrepareError::NotACluster { directory, missing: PgControl::PATH });
    };
    let (found, expected) = (control.system_identifier(), preparation.system_identifier);
    if found != expected {
        return Err(PrepareError::OtherCluster { directory, found, expected });
    }
    if version != preparation.version.major().to_string() {
        return Err(PrepareError::OtherVersion { directory, found: version, expected: preparation.version.major() });
    }
    Ok(control)
}

/// Proves that the copy was cut between start and stop of this backup.
///
/// The same cluster at another time would recover to something that looks healthy and is not: pages that are newer than the label
/// hide what is replayed onto them. A sealed copy has passed here before, and no server has run on it since.
fn prove_moment(preparation: &Preparation, control: &PgControl) -> Result<(), PrepareError> {
    if control.is_sealed() {
        return Ok(());
    }
    let directory = preparation.data_directory.clone();
    let (start, stop, checkpoint) = (preparation.label.checkpoint(), preparation.stop_lsn, control.checkpoint());
    if !(start..=stop).contains(&checkpoint) {
        return Err(PrepareError::OtherMoment { directory, checkpoint, start, stop });
    }
    if control.is_shut_down() {
        return Err(PrepareError::ShutDown { directory });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fixture::Fixture;
    use super::super::{RecoveryTarget, TargetTimeline};
    use super::*;

    /// The tree with the fixture's own path taken out, so that two fixtures can be compared.
    fn comparable_tree(fixture: &Fixture) -> Vec<(String, String)> {
        let root = fixture.beside("");
        let neutral = |text: String| text.replace(root.to_str().unwrap(), "ROOT/");
        fixture.tree().into_iter().map(|(name, contents)| (name, neutral(contents))).collect()
    }

    fn is_sealed(fixture: &Fixture) -> bool {
        occupation::read_control(&fixture.directory).unwrap().unwrap().is_sealed()
    }

    fn refuses_without_a_change(fixture: &Fixture, preparation: &Preparation) -> PrepareError {
        let before = fixture.tree();
        let error = prepare(preparation).unwrap_err();
        assert_eq!(fixture.tree(), before, "{error}");
        error
    }

    #[test]
    fn writes_label_and_map_byte_for_byte_and_seals() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.label = BackupLabel::parse([preparation.label.as_bytes(), b"LABEL: \xFF \r\n"].concat()).unwrap();
        let report = prepare(&preparation).unwrap();
        assert_eq!(std::fs::read(fixture.directory.join(LABEL_FILE)).unwrap(), preparation.label.as_bytes());
        assert_eq!(fixture.read(MAP_FILE).unwrap(), format!("16384 {}\n", fixture.tablespace.display()));
        assert!(is_sealed(&fixture));
        assert_eq!(fixture.read(SIGNAL_FILE).unwrap(), "");
        assert_eq!(fixture.read("standby.signal"), None);
        let settings = fixture.read(SETTINGS_FILE).unwrap();
        assert!(settings.starts_with("work_mem = '4MB'\n# Written by") && !settings.contains("'old'"), "{settings}");
        assert!(settings.contains("recovery_target_name = 'it''s here'\n") && settings.contains("archive_mode = 'off'\n"));
        assert_eq!(report.tablespaces[0].location, fixture.tablespace);
        assert!(report.removed.contains(&"standby.signal".to_owned()), "{:?}", report.removed);
    }

    #[test]
    fn interrupted_after_any_step_it_cannot_start_and_a_second_run_completes_it() {
        for major in [11, 15] {
            let whole = Fixture::new(major);
            prepare(&whole.preparation()).unwrap();
            let expected = comparable_tree(&whole);
            for steps in 0..=ProvenCopy::STEPS.len() {
                let fixture = Fixture::new(major);
                let preparation = fixture.preparation();
                // A label that an operator, or an earlier run, had put there.
                fixture.write(LABEL_FILE, "stale");
                let copy = ProvenCopy::prove(&preparation).unwrap();
                for step in &ProvenCopy::STEPS[..steps] {
                    step(&copy, &mut PreparationReport::default()).unwrap();
                }
                if steps >= 2 {
                    let has_label = fixture.read(LABEL_FILE).is_some();
                    assert!(is_sealed(&fixture));
                    assert_eq!(has_label, steps == ProvenCopy::STEPS.len(), "{steps} steps");
                }
                prepare(&preparation).unwrap();
                assert_eq!(comparable_tree(&fixture), expected, "{steps} steps");
                prepare(&preparation).unwrap();
                assert_eq!(comparable_tree(&fixture), expected, "again after {steps} steps");
            }
        }
    }

    #[test]
    fn a_step_that_fails_leaves_a_copy_that_cannot_start() {
        let fixture = Fixture::new(15);
        fixture.write(LABEL_FILE, "stale");
        std::fs::create_dir_all(fixture.directory.join("recovery.signal/in the way")).unwrap();
        let error = prepare(&fixture.preparation()).unwrap_err();
        assert!(matches!(error, PrepareError::File(_)), "{error}");
        assert!(is_sealed(&fixture) && fixture.read(LABEL_FILE).is_none());
    }

    #[test]
    fn a_second_run_with_another_target_leaves_nothing_of_the_first() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        prepare(&preparation).unwrap();
        preparation.recovery.target = RecoveryTarget::Xid(77);
        preparation.recovery.archiving = Archiving::Keep;
        prepare(&preparation).unwrap();
        let settings = fixture.read(SETTINGS_FILE).unwrap();
        assert_eq!(settings.matches("restore_command").count(), 1);
        assert!(settings.contains("recovery_target_xid = '77'") && settings.contains("recovery_target_name = ''"));
        assert!(!settings.contains("archive_mode"), "{settings}");
    }

    #[test]
    fn before_12_the_settings_are_in_recovery_conf() {
        let fixture = Fixture::new(11);
        let mut preparation = fixture.preparation();
        preparation.recovery.timeline = TargetTimeline::Current;
        prepare(&preparation).unwrap();
        let expected = "restore_command = 'stillframe wal-fetch %f %p'\nrecovery_target_name = 'it''s here'\n\
            recovery_target_action = 'promote'\n";
        assert_eq!(fixture.read(OLD_RECOVERY_FILE).unwrap(), expected);
        assert_eq!(fixture.read(SIGNAL_FILE), None);
        let settings = fixture.read(SETTINGS_FILE).unwrap();
        assert!(settings.contains("archive_mode = 'off'") && !settings.contains("restore_command"), "{settings}");
    }

    #[test]
    fn without_tablespaces_there_is_no_map() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        std::fs::remove_file(fixture.directory.join("pg_tblspc/16384")).unwrap();
        (preparation.tablespace_map, preparation.tablespace_mapping) = (TablespaceMap::default(), Vec::new());
        let report = prepare(&preparation).unwrap();
        assert_eq!((fixture.read(MAP_FILE), report.warnings), (None, Vec::new()));
    }

    #[test]
    fn refuses_another_cluster_another_version_and_no_cluster() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.system_identifier = SystemIdentifier(43);
        assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherCluster { .. }));
        let mut preparation = fixture.preparation();
        preparation.version = PgVersion(140_004);
        assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherVersion { .. }));
        for missing in [PgControl::PATH, VERSION_FILE] {
            std::fs::remove_file(fixture.directory.join(missing)).unwrap();
            let error = refuses_without_a_change(&fixture, &fixture.preparation());
            assert!(matches!(error, PrepareError::NotACluster { missing: found, .. } if found == missing));
        }
    }

    #[test]
    fn refuses_a_live_server() {
        let fixture = Fixture::new(15);
        let mut process = std::process::Command::new("/bin/cat")
            .current_dir(&fixture.directory)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        fixture.write("postmaster.pid", &format!("{}\n{}\n", process.id(), fixture.directory.display()));
        let error = refuses_without_a_change(&fixture, &fixture.preparation());
        assert!(matches!(error, PrepareError::Running { pid, .. } if pid == process.id()));
        drop(process.stdin.take());
        process.wait().unwrap();
        prepare(&fixture.preparation()).unwrap();
        assert_eq!(fixture.read("postmaster.pid"), None);
    }

    #[test]
    fn refuses_the_same_cluster_at_another_time() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.stop_lsn = Lsn(0x0200_005F);
        assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherMoment { .. }));
        let mut preparation = fixture.preparation();
        let later = String::from_utf8(preparation.label.as_bytes().to_vec()).unwrap().replace("0/2000060", "0/2000061");
        preparation.label = BackupLabel::parse(later.into_bytes()).unwrap();
        assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherMoment { .. }));
    }

    #[test]
    fn refuses_a_copy_on_which_a_server_has_been_shut_down() {
        let fixture = Fixture::new(15);
        let path = fixture.directory.join(PgControl::PATH);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[16] = 1;
        let checksum = crc32c::crc32c(&bytes[..288]);
        bytes[288..292].copy_from_slice(&checksum.to_ne_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(refuses_without_a_change(&fixture, &fixture.preparation()), PrepareError::ShutDown { .. }));
    }

    #[test]
    fn refuses_links_into_what_may_be_the_living_cluster() {
        let fixture = Fixture::new(15);
        let live = fixture.beside("live");
        std::fs::create_dir(&live).unwrap();
        symlink(&live, fixture.directory.join("pg_xact")).unwrap();
        let error = refuses_without_a_change(&fixture, &fixture.preparation());
        assert!(matches!(error, PrepareError::LinkedDirectory { path } if path.ends_with("pg_xact")));
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.tablespace_mapping.clear();
        std::fs::create_dir_all(fixture.original_tablespace().join("PG_15_202209061")).unwrap();
        assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::TablespaceAtOriginal { .. }));
    }

    #[test]
    fn refuses_a_target_that_no_server_could_reach() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.recovery.target = RecoveryTarget::Name(String::new());
        assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::Target(_)));
    }
}
