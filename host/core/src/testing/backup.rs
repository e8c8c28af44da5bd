//! A published backup, made of nothing but its number.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Backup, BackupName, BackupPath, BackupSet, BackupVolume, Consistency, Permanence, Sentinel};
use crate::postgres::{BackupLabel, Lsn, PgVersion, SystemIdentifier, TablespaceMap, TimelineId, WalSegmentSize};
use crate::provider::{DataPathName, DataRole, Labels, Member, MemberState, ProviderName, SnapshotSet, Token};

/// The backup of this number: ready and ordinary, an hour younger than the one before, in the segment of its number.
///
/// # Panics
///
/// Never: what it writes is what it reads.
#[must_use]
pub fn published_backup(number: u32) -> Backup {
    let segment_size = WalSegmentSize::SMALLEST;
    let begin = u64::from(number) * segment_size.bytes();
    let started_at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(i64::from(number));
    let [a, b, c, d] = number.to_be_bytes();
    let name = BackupName::new(started_at, [0, a, b, c, d]);
    let start_lsn = Lsn(begin + 0x28);
    let label = format!(
        "START WAL LOCATION: {start_lsn} (file 00000001{:08X}{:08X})\nCHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\n\
         BACKUP FROM: primary\nSTART TIME: 2026-11-21 08:00:00 UTC\nLABEL: {name}\nSTART TIMELINE: 1\n",
        begin >> 32,
        (begin & 0xFFFF_FFFF) / segment_size.bytes(),
        Lsn(begin + 0x60),
    );
    let volume = "volume".to_owned();
    let member = Member {
        volume: volume.clone(),
        id: format!("snapshot-{number}"),
        state: MemberState::Ready,
        percent: Some(100),
        size_bytes: Some(1 << 30),
        attributes: Labels::new(),
    };
    let snapshot = SnapshotSet {
        handle: format!("fake:{name}"),
        token: Token(format!("token-{number}")),
        name: name.to_string(),
        atomic: true,
        isolated: true,
        cut_begin: started_at,
        cut_end: started_at,
        members: vec![member],
        labels: Labels::new(),
    };
    let volume = BackupVolume { id: volume, paths: vec![DataPathName::Data], cut_order: 1, attributes: Labels::new() };
    let provider = ProviderName::try_from("fake".to_owned()).expect("the name is legal");
    let data_directory = PathBuf::from("/var/lib/postgresql/15/main");
    let sentinel = Sentinel {
        name,
        start_lsn,
        stop_lsn: Lsn(begin + 0x100),
        timeline: TimelineId::FIRST,
        segment_size,
        version: PgVersion(150_018),
        system_identifier: SystemIdentifier(7_000_000_000_000_000_001),
        started_at,
        finished_at: started_at,
        hostname: "db1".to_owned(),
        data_directory: data_directory.clone(),
        backup_label: BackupLabel::parse(label.into_bytes()).expect("the label is whole"),
        tablespace_map: TablespaceMap::default(),
        permanence: Permanence::Ordinary,
        user_data: None,
        sets: vec![BackupSet { provider, snapshot, volumes: vec![volume] }],
        paths: vec![BackupPath { name: DataPathName::Data, role: DataRole::Data, path: data_directory }],
        consistency: Consistency::Atomic,
        from_standby: false,
        outside: None,
        is_cold: false,
        external_archive: None,
    };
    Backup::published(sentinel)
}
