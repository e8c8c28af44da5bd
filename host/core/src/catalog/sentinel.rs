//! The sentinel: the committed record of a backup.
//!
//! Where WAL-G's `BackupSentinelDto` has a field, its key name is used, so that people and scripts recognise it; what a snapshot
//! needs beyond it is added. The object is written once and never changed.

use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupName, CatalogError, ExternalArchive, codec};
use crate::postgres::{BackupLabel, Lsn, PgVersion, SystemIdentifier, TablespaceMap, TimelineId, WalRange, WalSegmentSize};
use crate::provider::{DataPathName, DataRole, Labels, Member, ProviderName, SnapshotSet, total_bytes};
use crate::store::Key;

/// Version of the record: version 1 had one set, and did not say what lies on which volume.
const SENTINEL_VERSION: u32 = 2;

/// Whether retention may delete a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permanence {
    /// Retention decides.
    Ordinary,
    /// No rule deletes it.
    Permanent,
}

/// Why the parts of a set fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// All volumes were cut at one instant.
    Atomic,
    /// The cuts are from different instants inside backup mode: replaying the WAL of the backup makes them one.
    CoveredByBackupMode,
    /// Not a snapshot at all: the set changes with the live cluster. For tests only.
    NotIsolated,
}

/// One directory of the cluster, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupPath {
    /// Its name within the backup.
    pub name: DataPathName,
    /// What it holds.
    pub role: DataRole,
    /// Where it was, links resolved.
    pub path: PathBuf,
}

/// What a tool other than ours holds of a backup: the host held backup mode while that tool cut or copied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideCopy {
    /// What the operator says by which the tool knows it; may be empty.
    pub snapshot_ids: Vec<String>,
}

/// What one provider holds of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSet {
    /// The provider.
    pub provider: ProviderName,
    /// What it made.
    pub snapshot: SnapshotSet,
    /// What was cut, in cutting order; empty in a backup of an older version, which does not say.
    pub volumes: Vec<BackupVolume>,
}

/// One volume of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupVolume {
    /// The provider's id, which the member of the set repeats.
    pub id: String,
    /// The directories that lie on it.
    pub paths: Vec<DataPathName>,
    /// Its place in the cutting order of the whole backup, from 1.
    pub cut_order: u32,
    /// Facts for people.
    pub attributes: Labels,
}

impl BackupSet {
    /// What this set holds of one volume; none when the set does not say.
    #[must_use]
    pub fn volume(&self, id: &str) -> Option<&BackupVolume> {
        self.volumes.iter().find(|volume| volume.id == id)
    }

    /// What the provider tells now of each snapshot of this set; none of one that it does not even name. What it tells of the set
    /// of another request, it does not tell of this one.
    pub fn members_in<'a>(&'a self, found: &'a SnapshotSet) -> impl Iterator<Item = Option<&'a Member>> {
        let is_this = found.token == self.snapshot.token;
        let told = move |cut: &Member| found.members.iter().find(|member| is_this && member.volume == cut.volume);
        self.snapshot.members.iter().map(told)
    }
}

/// The committed record of a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentinel {
    /// Name of the backup.
    pub name: BackupName,
    /// Where replay must begin.
    pub start_lsn: Lsn,
    /// Before this position a restore is not consistent.
    pub stop_lsn: Lsn,
    /// The timeline of both.
    pub timeline: TimelineId,
    /// Segment size of the cluster.
    pub segment_size: WalSegmentSize,
    /// Version of the server.
    pub version: PgVersion,
    /// Identifier of the cluster.
    pub system_identifier: SystemIdentifier,
    /// When backup mode began, by the server's clock.
    pub started_at: Timestamp,
    /// When backup mode had ended, by the server's clock.
    pub finished_at: Timestamp,
    /// Host that took it.
    pub hostname: String,
    /// The server's `data_directory`.
    pub data_directory: PathBuf,
    /// Contents of `backup_label`.
    pub backup_label: BackupLabel,
    /// Contents of `tablespace_map`.
    pub tablespace_map: TablespaceMap,
    /// Permanence at the time of the backup; a later mark overrides it.
    pub permanence: Permanence,
    /// What the operator added.
    pub user_data: Option<serde_json::Value>,
    /// One for each provider, in cutting order: the last one holds PGDATA.
    pub sets: Vec<BackupSet>,
    /// The directories of the cluster.
    pub paths: Vec<BackupPath>,
    /// Why the parts fit together.
    pub consistency: Consistency,
    /// Whether the server whose files were cut was a standby.
    pub from_standby: bool,
    /// The copy is not ours: then there are no sets, and nobody here can restore or delete it.
    pub outside: Option<OutsideCopy>,
    /// Whether the server was shut down: then the backup keeps all the WAL that it needs for itself.
    pub is_cold: bool,
    /// Where its WAL is, when another tool keeps it; none when it is in our archive, or with the backup.
    pub external_archive: Option<ExternalArchive>,
}

impl Sentinel {
    /// The segments without which the backup cannot be restored.
    #[must_use]
    pub fn wal_range(&self) -> WalRange {
        WalRange::of_backup(self.timeline, self.start_lsn, self.stop_lsn, self.segment_size)
    }

    /// Bytes of data in all snapshots, where the providers know all of them.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        if self.outside.is_some() {
            return None;
        }
        total_bytes(self.sets.iter().flat_map(|set| &set.snapshot.members).map(|member| member.size_bytes))
    }

    /// Whether nothing of it changes with the live cluster.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.sets.iter().all(|set| set.snapshot.isolated)
    }

    /// The set of this provider.
    #[must_use]
    pub fn set_of(&self, provider: &ProviderName) -> Option<&BackupSet> {
        self.sets.iter().find(|set| &set.provider == provider)
    }

    /// The directories that a set of this backup holds.
    pub fn paths_in<'a>(&'a self, set: &'a BackupSet) -> impl Iterator<Item = &'a BackupPath> {
        let is_held =
            move |path: &&BackupPath| set.volumes.is_empty() || set.volumes.iter().any(|volume| volume.paths.contains(&path.name));
        self.paths.iter().filter(is_held)
    }

    /// Whether the files of a standby were cut while backup mode was on its primary: then the label is the primary's.
    #[must_use]
    pub fn session_on_primary(&self) -> bool {
        self.from_standby && !self.backup_label.is_from_standby()
    }

    /// Says what contradicts itself in it, as a reader of the catalog would.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.stop_lsn < self.start_lsn {
            return Err(format!("it stops at {} before it starts at {}", self.stop_lsn, self.start_lsn));
        }
        if !self.paths.iter().any(|path| path.name == DataPathName::Data) {
            return Err("it names no data directory".to_owned());
        }
        check_sets(&self.sets, &self.paths, self.outside.as_ref())
    }

    pub(super) fn to_bytes(&self, key: &Key) -> Result<Bytes, CatalogError> {
        codec::to_bytes(key, &Stored::from(self))
    }

    pub(super) fn from_bytes(key: &Key, name: &BackupName, body: &[u8]) -> Result<Self, CatalogError> {
        let stored: Stored = codec::from_older_bytes(key, body, SENTINEL_VERSION, |_, record| {
            let parts = [("Provider", "provider"), ("Snapshot", "snapshot")];
            let set = parts.into_iter().filter_map(|(old, new)| Some((new.to_owned(), record.remove(old)?)));
            let set: serde_json::Map<_, _> = set.chain([("volumes".to_owned(), Vec::<u8>::new().into())]).collect();
            record.insert("Sets".to_owned(), vec![serde_json::Value::Object(set)].into());
        })?;
        let inconsistent = |reason: String| CatalogError::Inconsistent { key: key.clone(), reason };
        if &stored.name != name {
            return Err(inconsistent(format!("it is about `{}`", stored.name)));
        }
        if stored.finish_lsn < stored.lsn {
            return Err(inconsistent(format!("it stops at {} before it starts at {}", stored.finish_lsn, stored.lsn)));
        }
        if !stored.paths.iter().any(|path| path.name == DataPathName::Data) {
            return Err(inconsistent("it names no data directory".to_owned()));
        }
        check_sets(&stored.sets, &stored.paths, stored.outside.as_ref()).map_err(inconsistent)?;
        Ok(stored.into())
    }
}

/// A restore takes each directory from the volume that holds it: none may be missing, and none be there twice.
fn check_sets(sets: &[BackupSet], paths: &[BackupPath], outside: Option<&OutsideCopy>) -> Result<(), String> {
    match (outside, sets.len()) {
        (Some(_), 0) => return Ok(()),
        (Some(_), count) => return Err(format!("an outside tool has its copy, and {count} providers have it as well")),
        (None, _) => {}
    }
    // Of an older version, which had one set and did not say more.
    if let [only] = sets
        && only.volumes.is_empty()
    {
        return Ok(());
    }
    for path in paths {
        let volumes = sets.iter().flat_map(|set| &set.volumes).filter(|volume| volume.paths.contains(&path.name)).count();
        if volumes != 1 {
            return Err(format!("`{}` lies on {volumes} of its volumes", path.name));
        }
    }
    for (number, set) in sets.iter().enumerate() {
        if sets[..number].iter().any(|other| other.provider == set.provider) {
            return Err(format!("the provider `{}` has two sets", set.provider));
        }
        if let Some(volume) = set.volumes.iter().find(|volume| set.snapshot.members.iter().all(|held| held.volume != volume.id)) {
            return Err(format!("the volume `{}` has no snapshot", volume.id));
        }
    }
    Ok(())
}

/// The form in the store. Keys in WAL-G's spelling first, ours after them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each under a name of its own in JSON")]
struct Stored {
    format_version: u32,
    #[serde(rename = "Name")]
    name: BackupName,
    #[serde(rename = "LSN")]
    lsn: Lsn,
    #[serde(rename = "FinishLSN")]
    finish_lsn: Lsn,
    #[serde(rename = "PgVersion")]
    pg_version: PgVersion,
    #[serde(rename = "SystemIdentifier")]
    system_identifier: SystemIdentifier,
    #[serde(rename = "UncompressedSize")]
    uncompressed_size: u64,
    #[serde(rename = "CompressedSize")]
    compressed_size: u64,
    #[serde(rename = "FilesMetadataDisabled")]
    files_metadata_disabled: bool,
    #[serde(rename = "StartTime")]
    start_time: Timestamp,
    #[serde(rename = "FinishTime")]
    finish_time: Timestamp,
    #[serde(rename = "Hostname")]
    hostname: String,
    #[serde(rename = "DataDir")]
    data_dir: PathBuf,
    #[serde(rename = "IsPermanent")]
    is_permanent: bool,
    #[serde(rename = "UserData", skip_serializing_if = "Option::is_none")]
    user_data: Option<serde_json::Value>,
    #[serde(rename = "BackupLabel")]
    backup_label: BackupLabel,
    #[serde(rename = "TablespaceMap")]
    tablespace_map: TablespaceMap,
    #[serde(rename = "Timeline")]
    timeline: TimelineId,
    #[serde(rename = "WalSegmentSize")]
    wal_segment_size: WalSegmentSize,
    #[serde(rename = "Sets")]
    sets: Vec<BackupSet>,
    #[serde(rename = "Paths")]
    paths: Vec<BackupPath>,
    #[serde(rename = "Consistency")]
    consistency: Consistency,
    #[serde(rename = "FromStandby")]
    from_standby: bool,
    #[serde(rename = "Outside", default, skip_serializing_if = "Option::is_none")]
    outside: Option<OutsideCopy>,
    #[serde(rename = "Cold", default, skip_serializing_if = "is_false")]
    is_cold: bool,
    #[serde(rename = "ExternalArchive", default, skip_serializing_if = "Option::is_none")]
    external_archive: Option<ExternalArchive>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl From<&Sentinel> for Stored {
    fn from(sentinel: &Sentinel) -> Self {
        Self {
            format_version: SENTINEL_VERSION,
            name: sentinel.name.clone(),
            lsn: sentinel.start_lsn,
            finish_lsn: sentinel.stop_lsn,
            pg_version: sentinel.version,
            system_identifier: sentinel.system_identifier,
            uncompressed_size: sentinel.size_bytes().unwrap_or(0),
            // The data stays in the storage system: nothing of it is in this store.
            compressed_size: 0,
            files_metadata_disabled: true,
            start_time: sentinel.started_at,
            finish_time: sentinel.finished_at,
            hostname: sentinel.hostname.clone(),
            data_dir: sentinel.data_directory.clone(),
            is_permanent: sentinel.permanence == Permanence::Permanent,
            user_data: sentinel.user_data.clone(),
            backup_label: sentinel.backup_label.clone(),
            tablespace_map: sentinel.tablespace_map.clone(),
            timeline: sentinel.timeline,
            wal_segment_size: sentinel.segment_size,
            sets: sentinel.sets.clone(),
            paths: sentinel.paths.clone(),
            consistency: sentinel.consistency,
            from_standby: sentinel.from_standby,
            outside: sentinel.outside.clone(),
            is_cold: sentinel.is_cold,
            external_archive: sentinel.external_archive.clone(),
        }
    }
}

impl From<Stored> for Sentinel {
    fn from(stored: Stored) -> Self {
        Self {
            name: stored.name,
            start_lsn: stored.lsn,
            stop_lsn: stored.finish_lsn,
            timeline: stored.timeline,
            segment_size: stored.wal_segment_size,
            version: stored.pg_version,
            system_identifier: stored.system_identifier,
            started_at: stored.start_time,
            finished_at: stored.finish_time,
            hostname: stored.hostname,
            data_directory: stored.data_dir,
            backup_label: stored.backup_label,
            tablespace_map: stored.tablespace_map,
            permanence: if stored.is_permanent { Permanence::Permanent } else { Permanence::Ordinary },
            user_data: stored.user_data,
            sets: stored.sets,
            paths: stored.paths,
            consistency: stored.consistency,
            from_standby: stored.from_standby,
            outside: stored.outside,
            is_cold: stored.is_cold,
            external_archive: stored.external_archive,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::Member;
    use crate::testing::published_backup;

    #[test]
    fn sizes_beyond_all_numbers_are_not_small() {
        let mut sentinel = published_backup(1).sentinel;
        let members = &mut sentinel.sets[0].snapshot.members;
        members[0].size_bytes = Some(u64::MAX);
        members.push(Member { volume: "other".to_owned(), ..members[0].clone() });
        assert_eq!(sentinel.size_bytes(), Some(u64::MAX));
        sentinel.sets[0].snapshot.members[1].size_bytes = None;
        assert_eq!(sentinel.size_bytes(), None, "one that is not known makes the whole unknown");
    }
}
