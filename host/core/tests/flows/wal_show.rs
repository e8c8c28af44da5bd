//! `wal-show` on fakes: timelines, stretches and gaps, told from names alone, however many there are.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::catalog::Permanence;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{BackupKind, SizeSource, VerifyRequest, WalInventory, wal_show, wal_verify};
use stillframe_core::postgres::{WalRange, WalSegmentSize};
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};
use stillframe_core::window::TimelineOrigin;

use crate::hooked_store::unreadable;
use crate::house::{House, wal_key};
use crate::walg::walg_backup;

async fn put(house: &House, names: &[&str]) {
    for name in names {
        house.put_wal(name, "x").await;
    }
}

async fn history(house: &House, timeline: u32, text: &str) {
    house.put_wal(&format!("{timeline:08X}.history"), text.to_owned()).await;
}

async fn show(house: &House) -> WalInventory {
    wal_show(&house.ports(&house.store), None).await.unwrap()
}

fn pairs(ranges: &[WalRange]) -> Vec<(u64, u64)> {
    ranges.iter().map(|range| (range.first, range.last)).collect()
}

#[tokio::test]
async fn shows_stretches_gaps_and_the_backups_of_both_tools() {
    let house = House::new().await;
    house.archive(&[4, 5, 9, 12]).await;
    let ours = house.backup_at(1, 9, Permanence::Ordinary).await;
    let of_walg = walg_backup(&house, 4, 4, false).await;
    let inventory = show(&house).await;
    assert_eq!(inventory.segment_size.source, SizeSource::Backup);
    let [timeline] = &inventory.timelines[..] else { panic!("{inventory:?}") };
    assert_eq!(timeline.origin, TimelineOrigin::First);
    assert_eq!(pairs(&timeline.ranges), [(3, 5), (9, 9), (12, 12)]);
    assert_eq!(pairs(&timeline.gaps), [(6, 8), (10, 11)]);
    assert_eq!(timeline.segments, 5);
    assert!(timeline.stored_bytes > 0);
    let backups: Vec<(&str, BackupKind)> = timeline.backups.iter().map(|backup| (&*backup.name, backup.kind)).collect();
    assert_eq!(backups, [(ours.sentinel.name.as_str(), BackupKind::Snapshot), (of_walg.as_str(), BackupKind::WalG)]);
}

#[tokio::test]
async fn the_last_partial_segment_of_a_timeline_is_no_gap() {
    let house = House::new().await;
    house.archive(&[4, 5]).await;
    put(&house, &["000000010000000000000006.partial.zst", "000000020000000000000006", "000000020000000000000007"]).await;
    history(&house, 2, "1\t0/600100\tno recovery target\n").await;
    let inventory = show(&house).await;
    assert!(inventory.timelines.iter().all(|timeline| timeline.gaps.is_empty()), "{inventory:?}");
    assert_eq!(inventory.timelines[0].partials.len(), 1);
    let parent = inventory.timelines[1].origin.parent().unwrap();
    assert_eq!((parent.timeline.get(), parent.position.to_string().as_str()), (1, "0/600100"));
}

#[tokio::test]
async fn a_gap_at_the_switch_to_another_timeline_is_seen_on_both_sides() {
    let house = House::new().await;
    house.archive(&[4]).await;
    put(&house, &["000000020000000000000009"]).await;
    history(&house, 2, "1\t0/700100\tno recovery target\n").await;
    let inventory = show(&house).await;
    assert_eq!(pairs(&inventory.timelines[0].gaps), [(5, 6)]);
    assert_eq!(pairs(&inventory.timelines[1].gaps), [(7, 8)]);
}

#[tokio::test]
async fn a_history_that_is_missing_or_damaged_is_said_to_be_so() {
    let house = House::new().await;
    put(&house, &["000000020000000000000009", "000000030000000000000009"]).await;
    history(&house, 3, "no history\n").await;
    let inventory = show(&house).await;
    assert_eq!(inventory.timelines[1].origin, TimelineOrigin::Missing);
    assert!(matches!(inventory.timelines[2].origin, TimelineOrigin::Damaged(_)));
}

#[tokio::test]
async fn tells_how_it_knows_the_segment_size() {
    let house = House::new().await;
    let inventory = show(&house).await;
    assert!(matches!(inventory.segment_size.source, SizeSource::Header(_)));
    assert_eq!(inventory.segment_size.size.bytes(), 1 << 20);

    let given = WalSegmentSize::try_from(4 << 20).unwrap();
    let inventory = wal_show(&house.ports(&house.store), Some(given)).await.unwrap();
    assert_eq!((inventory.segment_size.size, inventory.segment_size.source), (given, SizeSource::Given));

    // What cannot be read tells nothing: names of WAL-G's backups do, and without them the size is an assumption.
    house.store.put(&crate::house::segment_key(3), Bytes::from_static(b"damaged")).await.unwrap();
    assert_eq!(show(&house).await.segment_size.source, SizeSource::Assumed);
    walg_backup(&house, 30, 31, false).await;
    let inventory = show(&house).await;
    assert_eq!((inventory.segment_size.size.bytes(), inventory.segment_size.source), (1 << 20, SizeSource::WalGBackups));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_no_empty_archive() {
    let house = House::new().await;
    let store = unreadable(&house.store, ".zst");
    let error = wal_show(&house.ports(&store), None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
}

/// A store that holds nothing but names, in order, and finds its pages without going through all of them.
struct Names(Vec<ObjectEntry>);

#[async_trait]
impl Store for Names {
    fn url(&self) -> String {
        "names:".to_owned()
    }

    async fn get(&self, _: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    async fn put(&self, key: &Key, _: Bytes) -> Result<(), StoreError> {
        panic!("writes {key}")
    }

    async fn put_if_absent(&self, key: &Key, _: Bytes) -> Result<PutOutcome, StoreError> {
        panic!("writes {key}")
    }

    async fn head(&self, _: &Key) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        panic!("deletes {key}")
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let begin = self.0.partition_point(|entry| after.is_some_and(|after| entry.key <= *after));
        let matching = self.0[begin..].iter().filter(|entry| entry.key.as_str().starts_with(prefix));
        Ok(matching.take(limit).cloned().collect())
    }

    async fn prove(&self) -> Result<(), StoreError> {
        panic!("probes")
    }
}

#[tokio::test]
async fn a_million_names_take_no_quadratic_time() {
    const NAMES: u64 = 1_000_000;
    /// Far more than the seconds that it takes, and far less than the hours of a quadratic step.
    const BOUND: Duration = Duration::from_mins(5);
    // Every second one is missing, which is the worst case for everything that walks over gaps.
    let key = |number: u64| wal_key(&format!("00000001{:08X}{:08X}.zst", number / 4096, number % 4096));
    let store = Names((0..NAMES).map(|number| ObjectEntry { key: key(number * 2), size_bytes: 1 }).collect());
    let (house, size) = (House::new().await, WalSegmentSize::try_from(1 << 20).ok());
    let begun = Instant::now();
    let inventory = wal_show(&house.ports(&store), size).await.unwrap();
    assert_eq!((inventory.timelines[0].segments, inventory.timelines[0].gaps.len() as u64), (NAMES, NAMES - 1));
    let request = VerifyRequest { segment_size: size, ..VerifyRequest::default() };
    let report = wal_verify(&house.ports(&store), &request, None, &|_| {}).await.unwrap();
    assert_eq!(report.harmless.len() as u64, NAMES - 1);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}
