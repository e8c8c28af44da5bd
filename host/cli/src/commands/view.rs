//! Backups and stretches of WAL as the commands show them: stable names, system identifiers as text.

pub mod drill;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use stillframe_core::catalog::{
    Backup, BackupState, Consistency, Increment, OutsideCopy, Permanence, RestoreRecord, Sentinel, WalGBackup,
};
use stillframe_core::flows::BackupKind;
use stillframe_core::postgres::{WalRange, WalSegment, WalSegmentSize};

use crate::output::{applying, count};

/// One backup in JSON.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each under a name of its own in JSON")]
pub struct BackupView {
    backup_name: String,
    kind: &'static str,
    start_time: String,
    finish_time: String,
    start_lsn: String,
    finish_lsn: String,
    timeline: u32,
    first_wal_file: String,
    last_wal_file: String,
    pg_version: u32,
    system_identifier: String,
    hostname: String,
    data_dir: String,
    is_permanent: bool,
    is_condemned: bool,
    is_isolated: bool,
    consistency: Value,
    from_standby: bool,
    is_cold: bool,
    /// Where its WAL is, when another tool keeps it; null otherwise.
    external_archive: Value,
    /// Whether the files are those of a standby and the label is its primary's.
    session_on_primary: bool,
    /// Of PGDATA; `providers` has all.
    provider: String,
    providers: Vec<String>,
    /// What an outside tool has copied; null when a provider has cut.
    outside: Option<OutsideCopy>,
    state: &'static str,
    failure: Option<String>,
    locked_until: Option<String>,
    /// What the last drill found; null when there was none.
    drill: Option<drill::DrillView>,
    size_bytes: Option<u64>,
    user_data: Option<Value>,
    /// Its increments, in the order of their places.
    restore_points: Vec<IncrementView>,
}

impl From<&Backup> for BackupView {
    fn from(backup: &Backup) -> Self {
        let sentinel = &backup.sentinel;
        let wal = RangeView::new(sentinel.wal_range(), sentinel.segment_size);
        Self {
            backup_name: sentinel.name.to_string(),
            kind: BackupKind::Snapshot.as_str(),
            start_time: sentinel.started_at.to_string(),
            finish_time: sentinel.finished_at.to_string(),
            start_lsn: sentinel.start_lsn.to_string(),
            finish_lsn: sentinel.stop_lsn.to_string(),
            timeline: sentinel.timeline.get(),
            first_wal_file: wal.first,
            last_wal_file: wal.last,
            pg_version: sentinel.version.0,
            system_identifier: sentinel.system_identifier.to_string(),
            hostname: sentinel.hostname.clone(),
            data_dir: sentinel.data_directory.display().to_string(),
            is_permanent: backup.permanence == Permanence::Permanent,
            is_condemned: backup.is_condemned,
            is_isolated: sentinel.is_isolated(),
            consistency: serde_json::to_value(sentinel.consistency).unwrap_or_default(),
            from_standby: sentinel.from_standby,
            is_cold: sentinel.is_cold,
            external_archive: serde_json::to_value(&sentinel.external_archive).unwrap_or_default(),
            session_on_primary: sentinel.session_on_primary(),
            provider: sentinel.sets.last().map(|set| set.provider.to_string()).unwrap_or_default(),
            providers: sentinel.sets.iter().map(|set| set.provider.to_string()).collect(),
            outside: sentinel.outside.clone(),
            state: backup.state.as_str(),
            failure: match &backup.state {
                BackupState::Failed(reason) => Some(reason.clone()),
                BackupState::Cut | BackupState::Ready => None,
            },
            locked_until: backup.lock.map(|lock| lock.until.to_string()),
            drill: backup.drill.as_ref().map(drill::DrillView::from),
            size_bytes: sentinel.size_bytes(),
            user_data: sentinel.user_data.clone(),
            restore_points: backup.increments.iter().map(IncrementView::from).collect(),
        }
    }
}

/// An increment in JSON.
#[derive(Serialize)]
pub struct IncrementView {
    name: String,
    backup_name: String,
    timeline: u32,
    from_lsn: String,
    to_lsn: String,
    segments: u64,
    size_bytes: u64,
    created_at: String,
    /// All that recovery to it replays.
    replay: Vec<RangeView>,
}

impl From<&Increment> for IncrementView {
    fn from(increment: &Increment) -> Self {
        Self {
            name: increment.name.to_string(),
            backup_name: increment.parent.to_string(),
            timeline: increment.timeline.get(),
            from_lsn: increment.from.to_string(),
            to_lsn: increment.to.to_string(),
            segments: increment.segments,
            size_bytes: increment.size_bytes,
            created_at: increment.created_at.to_string(),
            replay: increment.replay.iter().map(|range| RangeView::new(*range, increment.segment_size)).collect(),
        }
    }
}

/// What is special about a backup, in words.
pub fn remarks(backup: &Backup, restores: &[RestoreRecord]) -> String {
    let locked = backup.locked_until(Timestamp::now()).map(|until| format!("locked until {until}")).unwrap_or_default();
    let copies = restores.iter().filter(|record| record.backup == backup.sentinel.name).count();
    let in_use = count(copies, "restore");
    let drilled = backup.drill.as_ref().map(drill::remark).unwrap_or_default();
    applying(&[
        (backup.permanence == Permanence::Permanent, "permanent"),
        (!drilled.is_empty(), &drilled),
        (!locked.is_empty(), &locked),
        (backup.state == BackupState::Cut, "not ready yet"),
        (backup.has_failed(), "failed"),
        (!backup.sentinel.is_isolated(), "not isolated"),
        (backup.sentinel.from_standby, "from a standby"),
        (backup.sentinel.is_cold, "cold"),
        (backup.sentinel.external_archive.is_some(), "WAL elsewhere"),
        (backup.sentinel.session_on_primary(), "session on its primary"),
        (backup.is_condemned, "being deleted"),
        (copies > 0, &in_use),
    ])
}

/// What stands in the place of a provider where an outside tool has copied.
pub const OUTSIDE: &str = "(outside)";

/// All providers of a backup, in cutting order.
pub fn providers(backup: &Backup) -> String {
    if backup.sentinel.outside.is_some() {
        return OUTSIDE.to_owned();
    }
    backup.sentinel.sets.iter().map(|set| set.provider.to_string()).collect::<Vec<_>>().join(", ")
}

/// Why the parts of a backup fit together, in words.
pub fn consistency(sentinel: &Sentinel) -> &'static str {
    match sentinel.consistency {
        Consistency::CoveredByBackupMode if sentinel.is_cold => "the server was shut down: no cut saw it write",
        Consistency::Atomic => "atomic: all volumes were cut at one instant",
        Consistency::CoveredByBackupMode => "covered by backup mode: replaying the WAL of the backup makes the cuts one",
        Consistency::NotIsolated => "none: it changes with the live cluster",
    }
}

/// A restore that has not been released, in JSON.
#[derive(Serialize)]
pub struct RestoreView {
    token: String,
    backup_name: String,
    hostname: String,
    destination: String,
    begun_at: String,
    providers: Vec<String>,
}

impl From<&RestoreRecord> for RestoreView {
    fn from(record: &RestoreRecord) -> Self {
        Self {
            token: record.token.0.clone(),
            backup_name: record.backup.to_string(),
            hostname: record.hostname.clone(),
            destination: record.destination.display().to_string(),
            begun_at: record.begun_at.to_string(),
            providers: record.parts.iter().map(|part| part.provider.to_string()).collect(),
        }
    }
}

/// One base backup of WAL-G in JSON. What its records do not say is null.
#[derive(Serialize)]
pub struct WalGView {
    backup_name: String,
    kind: &'static str,
    start_time: Option<String>,
    finish_time: Option<String>,
    start_lsn: Option<String>,
    finish_lsn: Option<String>,
    timeline: u32,
    first_wal_file: String,
    pg_version: Option<u32>,
    system_identifier: Option<String>,
    hostname: Option<String>,
    data_dir: Option<String>,
    is_permanent: bool,
    is_delta: bool,
    delta_from: Option<String>,
    has_metadata: bool,
    size_bytes: Option<u64>,
    compressed_size_bytes: Option<u64>,
    user_data: Option<Value>,
}

impl From<&WalGBackup> for WalGView {
    fn from(backup: &WalGBackup) -> Self {
        Self {
            backup_name: backup.name.to_string(),
            kind: BackupKind::WalG.as_str(),
            start_time: backup.started_at.map(|moment| moment.to_string()),
            finish_time: backup.finished_at.map(|moment| moment.to_string()),
            start_lsn: backup.start_lsn.map(|position| position.to_string()),
            finish_lsn: backup.finish_lsn.map(|position| position.to_string()),
            timeline: backup.name.timeline().get(),
            first_wal_file: backup.name.start_file().to_string(),
            pg_version: backup.version.map(|version| version.0),
            system_identifier: backup.system_identifier.map(|identifier| identifier.to_string()),
            hostname: backup.hostname.clone(),
            data_dir: backup.data_directory.as_ref().map(|path| path.display().to_string()),
            is_permanent: backup.permanence == Permanence::Permanent,
            is_delta: backup.name.is_delta(),
            delta_from: backup.delta_from.clone(),
            has_metadata: backup.has_metadata,
            size_bytes: backup.uncompressed_bytes,
            compressed_size_bytes: backup.compressed_bytes,
            user_data: backup.user_data.clone(),
        }
    }
}

/// What is special about a base backup of WAL-G, in words.
pub fn walg_remarks(backup: &WalGBackup) -> String {
    applying(&[
        (backup.permanence == Permanence::Permanent, "permanent"),
        (backup.name.is_delta(), "delta"),
        (!backup.has_metadata, "no metadata.json"),
    ])
}

/// Files and stretches that are listed of one kind; all are counted.
pub const MAX_LISTED: usize = 1_000;

/// A stretch of segments in JSON.
#[derive(Serialize)]
pub struct RangeView {
    pub timeline: u32,
    pub first: String,
    pub last: String,
    pub segments: u64,
}

impl RangeView {
    /// Names the stretch under a segment size.
    pub fn new(range: WalRange, size: WalSegmentSize) -> Self {
        let name = |number| WalSegment { timeline: range.timeline, number }.file_name(size).to_string();
        Self {
            timeline: range.timeline.get(),
            first: name(range.first),
            last: name(range.last),
            segments: range.last - range.first + 1,
        }
    }

    /// Names the first of these stretches, and counts those that are left out: an archive with holes can have a million.
    pub fn listed(ranges: &[WalRange], size: WalSegmentSize) -> (Vec<Self>, usize) {
        let views = ranges.iter().take(MAX_LISTED).map(|range| Self::new(*range, size)).collect();
        (views, ranges.len().saturating_sub(MAX_LISTED))
    }

    /// The stretch in words.
    pub fn describe(&self) -> String {
        if self.segments == 1 { self.first.clone() } else { format!("{} … {} ({})", self.first, self.last, self.segments) }
    }
}
