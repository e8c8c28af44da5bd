//! Makes a restored copy of PGDATA ready to recover from its backup label, or refuses to.
//!
//! The order is the contract. Every refusal comes before the first change. The seal comes first and the label last: whatever
//! interrupts the steps between, the copy cannot start, since a sealed `pg_control` without a label leads nowhere. Every step can
//! be repeated.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::asked::AskedRecovery;
use super::clean::{self, LABEL_FILE, MAP_FILE, OLD_RECOVERY_FILE, SIGNAL_FILE};
use super::lock_out::{InstalledLockOut, LOCK_OUT_FILE, LockOut, SETTINGS_FILE};
use super::occupation::{self, VERSION_FILE};
use super::old_wal::{self, SalvagedFile};
use super::recovery::FIRST_WITH_SIGNAL;
use super::tablespaces::{self, Tablespaces};
use super::wal::{self, WalPlace};
use super::{Archiving, PrepareError, RecoverySettings, settings};
use crate::files::{self, FileError};
use crate::postgres::{
    BackupLabel, Lsn, PgControl, PgVersion, ServerState, SystemIdentifier, TablespaceLink, TablespaceMap, WalFileName,
};

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
    /// The WAL that a cold backup keeps for itself; none of a backup whose WAL is in the archive.
    pub kept_wal: Option<KeptWal>,
    /// How to recover.
    pub recovery: RecoverySettings,
    /// Name of the backup, for those who ask later what this is.
    pub backup: String,
    /// What an old cluster had not archived, for `pg_wal`.
    pub salvaged: Vec<SalvagedFile>,
    /// The only role that may connect, if the others shall not.
    pub lock_out: Option<LockOut>,
}

/// A segment that lies in no archive, and without which the copy does not start.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptWal {
    /// Its name.
    pub name: WalFileName,
    /// Its content.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for KeptWal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeptWal").field("name", &self.name).finish_non_exhaustive()
    }
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

/// Takes away from a prepared copy what the original's operator has set with `ALTER SYSTEM`, for a server that is not to be like it.
pub(crate) fn keep_own_settings(directory: &Path) -> Result<(), FileError> {
    let path = directory.join(SETTINGS_FILE);
    let existing = files::read_if_present(&path)?.unwrap_or_default();
    files::write_atomically(&path, &settings::ours(&existing), 0o600)
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
    const STEPS: [Step<Self>; 14] = [
        // First: from here on, the copy cannot start without a label.
        Self::seal,
        // A run that is repeated finds the label of the first one. Without it the copy stands still while all else changes.
        Self::remove_label,
        // What others may write to, they may change until the server refuses to start on it, and in a tablespace even then.
        Self::close,
        Self::clean,
        Self::make_wal_ready,
        // Where the archive does not have it, the server looks here.
        Self::put_kept_wal,
        // Behind the emptying, and before anything says that the copy is ready.
        Self::place_salvaged,
        Self::link_tablespaces,
        // The lock before the settings that name it, and both before a server could start.
        Self::write_lock_out,
        Self::write_asked,
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
        // Before anything is read: it would be read through the link.
        if let Some(path) = occupation::linked_directory(directory) {
            return Err(PrepareError::LinkedDirectory { path });
        }
        let control = prove_cluster(preparation)?;
        if let Some(pid) = occupation::running_server(directory)? {
            return Err(PrepareError::Running { directory: directory.to_owned(), pid });
        }
        prove_moment(preparation, &control)?;
        Ok(Self {
            preparation,
            directory,
            tablespaces: tablespaces::find(preparation, control.catalog_version())?,
            control,
            wal: wal::find_place(directory, preparation.wal_directory.as_deref(), preparation.kept_wal.as_ref())?,
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
        let is_cold = self.preparation.kept_wal.is_some();
        let sealed = if is_cold { self.control.sealed_cold() } else { self.control.sealed() };
        files::write_atomically(&self.directory.join(PgControl::PATH), &sealed, self.file_mode)
    }

    fn close(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        files::narrow(self.directory, 0o750)?;
        self.tablespaces.links.iter().try_for_each(|link| files::narrow(&link.location, !0o022))
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

    fn put_kept_wal(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        let Some(KeptWal { name, content }) = &self.preparation.kept_wal else { return Ok(()) };
        files::write_atomically(&self.directory.join("pg_wal").join(name.to_string()), content, self.file_mode)
    }

    fn link_tablespaces(&self, report: &mut PreparationReport) -> Result<(), FileError> {
        let unknown = tablespaces::link(self.directory, &self.tablespaces.links, self.directory_mode)?;
        report.warnings.extend(unknown.into_iter().map(|oid| {
            format!(
                "removed the link of tablespace {oid}, which the backup does not know; if it was created later, replaying that \
                 uses the original location"
            )
        }));
        report.tablespaces.clone_from(&self.tablespaces.links);
        Ok(())
    }

    fn place_salvaged(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        old_wal::place(&self.preparation.salvaged, self.directory, self.file_mode, self.directory_mode)
    }

    fn write_lock_out(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        let installed = InstalledLockOut::of(self.directory);
        match &self.preparation.lock_out {
            Some(lock_out) => installed.close(lock_out.contents().as_bytes()),
            // The backup may be of a server that was locked itself.
            None => installed.remove().map(|_| ()),
        }
    }

    fn write_asked(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        AskedRecovery::of(self.preparation).write(self.directory, self.file_mode)
    }

    fn write_settings(&self, _: &mut PreparationReport) -> Result<(), FileError> {
        let mut ours = Vec::new();
        if self.preparation.version.major() >= FIRST_WITH_SIGNAL {
            ours.clone_from(&self.assignments);
        }
        if self.preparation.recovery.archiving == Archiving::Off {
            ours.push(("archive_mode", "off".to_owned()));
        }
        if self.preparation.lock_out.is_some() {
            let file = self.directory.join(LOCK_OUT_FILE);
            ours.push(("hba_file", file.to_string_lossy().into_owned()));
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
    if !occupation::has_databases(&directory) {
        return Err(PrepareError::NotACluster { directory, missing: occupation::DATABASES });
    }
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
/// hide what is replayed onto them. What the copy of the checkpoint tells is true in a sealed copy as well, which may have been
/// sealed for another backup. Two backups of a standby without a restartpoint between them tell the same; either label is right for
/// either copy then, since replay begins at one place, and ends no earlier than the minimum in the copy's own `pg_control`.
fn prove_moment(preparation: &Preparation, control: &PgControl) -> Result<(), PrepareError> {
    let label = &preparation.label;
    prove_between(preparation, "redo position", control.redo(), label.start())?;
    // A server that ended its recovery right behind the backup was promoted, and its files have a history of their own.
    if !control.is_on(label.timeline()) {
        return Err(PrepareError::OtherTimeline { directory: preparation.data_directory.clone(), expected: label.timeline() });
    }
    // What follows has been proven before the seal, and no server has run on the copy since: it would have written a true pointer.
    if control.is_sealed() {
        return Ok(());
    }
    prove_between(preparation, "checkpoint", control.checkpoint(), label.checkpoint())?;
    let directory = || preparation.data_directory.clone();
    match (&preparation.kept_wal, control.state()) {
        (None, ServerState::ShutDown | ServerState::ShutDownInRecovery) => Err(PrepareError::ShutDown { directory: directory() }),
        (None, ServerState::Other(_)) | (Some(_), ServerState::ShutDown) => Ok(()),
        (Some(_), ServerState::ShutDownInRecovery | ServerState::Other(_)) => {
            Err(PrepareError::NotShutDown { directory: directory() })
        }
    }
}

/// A checkpoint that ended during the backup is the one with which it began, or a later one. That of a standby which has replayed
/// nothing since may lie at the stop itself.
fn prove_between(preparation: &Preparation, what: &'static str, found: Lsn, start: Lsn) -> Result<(), PrepareError> {
    let stop = preparation.stop_lsn;
    if (start..=stop).contains(&found) {
        return Ok(());
    }
    Err(PrepareError::OtherMoment { directory: preparation.data_directory.clone(), what, found, start, stop })
}

#[cfg(test)]
mod tests;
