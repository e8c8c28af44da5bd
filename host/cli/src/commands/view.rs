//! A backup as the commands show it: stable names, system identifiers as text.

use serde::Serialize;
use serde_json::Value;
use stillframe_core::catalog::{Backup, Permanence};

/// One backup in JSON.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each under a name of its own in JSON")]
pub struct BackupView {
    backup_name: String,
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
    provider: String,
    size_bytes: Option<u64>,
    user_data: Option<Value>,
}

impl From<&Backup> for BackupView {
    fn from(backup: &Backup) -> Self {
        let sentinel = &backup.sentinel;
        let files: Vec<String> =
            sentinel.wal_range().segments().map(|segment| segment.file_name(sentinel.segment_size).to_string()).collect();
        Self {
            backup_name: sentinel.name.to_string(),
            start_time: sentinel.started_at.to_string(),
            finish_time: sentinel.finished_at.to_string(),
            start_lsn: sentinel.start_lsn.to_string(),
            finish_lsn: sentinel.stop_lsn.to_string(),
            timeline: sentinel.timeline.get(),
            first_wal_file: files.first().cloned().unwrap_or_default(),
            last_wal_file: files.last().cloned().unwrap_or_default(),
            pg_version: sentinel.version.0,
            system_identifier: sentinel.system_identifier.to_string(),
            hostname: sentinel.hostname.clone(),
            data_dir: sentinel.data_directory.display().to_string(),
            is_permanent: backup.permanence == Permanence::Permanent,
            is_condemned: backup.is_condemned,
            is_isolated: sentinel.snapshot.isolated,
            consistency: serde_json::to_value(sentinel.consistency).unwrap_or_default(),
            from_standby: sentinel.from_standby,
            provider: sentinel.provider.to_string(),
            size_bytes: sentinel.size_bytes(),
            user_data: sentinel.user_data.clone(),
        }
    }
}

/// What is special about a backup, in words.
pub fn remarks(backup: &Backup) -> String {
    let remarks = [
        (backup.permanence == Permanence::Permanent, "permanent"),
        (!backup.sentinel.snapshot.isolated, "not isolated"),
        (backup.sentinel.from_standby, "from a standby"),
        (backup.is_condemned, "being deleted"),
    ];
    remarks.iter().filter(|(applies, _)| *applies).map(|(_, remark)| *remark).collect::<Vec<_>>().join(", ")
}
