//! Sentinels: the committed records of backups, as they lie in a store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stillframe_core::catalog::{Backup, Catalog, IntendedSet, Intent, Sentinel};
use stillframe_core::postgres::TimelineId;
use stillframe_core::provider::Token;
use stillframe_core::testing::MemoryStore;
use stillframe_core::window::{self, Standing, TimelineOrigin, TimelineWal, WindowBackup, WindowInput};

use crate::Verdict;
use crate::store::{BACKUP, layout, put, settled};

/// A sentinel is read or told to be unreadable, never passed over; what was read is written and read again as it was.
pub fn target(data: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    put(&store, &format!("snapshots_001/{BACKUP}/sentinel.json"), data);
    let contents = settled(Catalog::new(&store, &layout).contents()).expect("a store in memory can be listed");
    assert_eq!(contents.backups.len() + contents.unreadable.len(), 1, "a sentinel was passed over");
    let Some(backup) = contents.backups.into_iter().next() else { return Verdict::Refused };
    let sentinel = &backup.sentinel;
    assert_eq!(sentinel.name.as_str(), BACKUP, "a sentinel of another backup was accepted");
    assert!(sentinel.stop_lsn >= sentinel.start_lsn);
    let range = sentinel.wal_range();
    assert!(range.first <= range.last && range.timeline == sentinel.timeline);
    let largest = sentinel.sets.iter().flat_map(|set| &set.snapshot.members).filter_map(|member| member.size_bytes).max();
    assert!(sentinel.size_bytes().is_none_or(|total| total >= largest.unwrap_or(0)), "the whole is smaller than a part");
    for set in &sentinel.sets {
        assert!(sentinel.set_of(&set.provider).is_some());
        assert!(sentinel.paths_in(set).count() <= sentinel.paths.len());
    }
    let _ = (backup.locked_until(Timestamp::MAX), backup.has_failed(), sentinel.is_isolated());
    look_through_the_window(&backup);
    write_and_read(sentinel);
    Verdict::Accepted
}

/// What is calculated from every backup that a catalog lists.
fn look_through_the_window(backup: &Backup) {
    let facts = WindowBackup { standing: Standing::Good, ..WindowBackup::from(backup) };
    let range = facts.wal_range();
    let numbers = vec![range.first, range.last.max(range.first.saturating_add(1))];
    let wal = TimelineWal { origin: TimelineOrigin::First, numbers };
    let segment_size = backup.sentinel.segment_size;
    for backups in [vec![facts.clone()], vec![facts.clone(), WindowBackup { standing: Standing::Standalone, ..facts.clone() }]] {
        let timelines = BTreeMap::from([(facts.timeline, wal.clone()), (TimelineId::FIRST, wal.clone())]);
        let window = window::calculate(&WindowInput { segment_size, backups, timelines });
        assert!(window.intervals.iter().all(|interval| interval.from.lsn <= interval.to.lsn), "an interval ends before it begins");
        assert!(window.gaps.iter().all(|gap| gap.from <= gap.to), "a gap ends before it begins");
    }
}

/// Adopting a backup writes what was read.
pub(crate) fn write_and_read(sentinel: &Sentinel) {
    let (store, layout) = (MemoryStore::default(), layout());
    let catalog = Catalog::new(&store, &layout);
    settled(catalog.begin(&intent(sentinel))).expect("the intent is new");
    settled(catalog.publish(sentinel)).expect("a backup that was read can be published");
    let read = settled(catalog.sentinel(&sentinel.name)).expect("what was published can be read");
    assert_eq!(read.as_ref(), Some(sentinel), "a sentinel that is written is read otherwise");
}

pub(crate) fn intent(sentinel: &Sentinel) -> Intent {
    let request = IntendedSet { provider: "fake".to_owned().try_into().expect("the name is legal"), token: Token("t".to_owned()) };
    Intent {
        name: sentinel.name.clone(),
        requests: vec![request],
        system_identifier: sentinel.system_identifier,
        timeline: sentinel.timeline,
        wal_position: sentinel.start_lsn,
        segment_size: sentinel.segment_size,
        begun_at: sentinel.started_at,
        expires_at: sentinel.started_at,
        hostname: sentinel.hostname.clone(),
        process: None,
        is_outside: false,
    }
}
