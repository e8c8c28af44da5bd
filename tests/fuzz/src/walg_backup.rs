//! WAL-G's base backups: a line with a backup's name, its sentinel, and behind a line `%%` its `metadata.json`.

use stillframe_core::catalog::{Catalog, WalGName};
use stillframe_core::postgres::WalSegmentSize;
use stillframe_core::testing::MemoryStore;

use crate::Verdict;
use crate::input::Input;
use crate::store::{layout, put, settled};

/// A backup of theirs is read or told to be unreadable, never passed over: its WAL would go.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let name = input.text();
    // What lies deeper is no sentinel of theirs either.
    if name.contains('/') {
        return Verdict::Refused;
    }
    let (sentinel, metadata) = input.parts();
    let (store, layout) = (MemoryStore::default(), layout());
    if !put(&store, &format!("basebackups_005/{name}_backup_stop_sentinel.json"), sentinel) {
        return Verdict::Refused;
    }
    if !metadata.is_empty() {
        put(&store, &format!("basebackups_005/{name}/metadata.json"), metadata);
    }
    let contents = settled(Catalog::new(&store, &layout).walg()).expect("a store in memory can be listed");
    assert!(!contents.backups.is_empty() || !contents.unreadable.is_empty(), "a backup of WAL-G was passed over");
    let Some(backup) = contents.backups.first() else { return Verdict::Refused };
    assert_eq!(backup.name.as_str().parse::<WalGName>().ok().as_ref(), Some(&backup.name));
    assert!(contents.find(&backup.name).is_some());
    if let (Some(start), Some(finish)) = (backup.start_lsn, backup.finish_lsn) {
        assert!(finish >= start, "it stops at {finish} before it starts at {start}");
    }
    assert!(backup.start_lsn.is_none() || !backup.segment_sizes().is_empty(), "no segment can hold its start");
    for size in WalSegmentSize::every() {
        let range = backup.wal_range(size);
        assert!(range.is_none_or(|range| range.first <= range.last && Some(range.first) == backup.first_segment(size)));
    }
    Verdict::Accepted
}
