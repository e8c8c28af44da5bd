//! Base backups of WAL-G beside ours: they are read as WAL-G wrote them, and no rule of ours takes their WAL or touches them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use stillframe_core::catalog::{Backup, Catalog, Permanence, WalGContents, WalGName};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::plan_delete;
use stillframe_core::postgres::{Lsn, TimelineHistory, TimelineId, WalFileName, WalSegment, WalSegmentSize};
use stillframe_core::retention::{Ancestry, Bystander, KeepRecovery, ProtectedWal, RetentionRule};
use stillframe_core::store::{Key, Store};

use crate::house::{House, segment};

const SIZE: u64 = 1 << 20;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

async fn put(house: &House, place: &str, body: impl Into<Bytes>) {
    house.store.put(&key(&format!("main/basebackups_005/{place}")), body.into()).await.unwrap();
}

fn walg_name(number: u64) -> String {
    format!("base_0000000100000000{number:08X}")
}

/// A base backup of WAL-G from this segment to that one.
pub(crate) async fn walg_backup(house: &House, first: u64, last: u64, permanent: bool) -> String {
    let name = walg_name(first);
    let (start, stop) = (first * SIZE + 0x28, last * SIZE + 0x100);
    let cluster = house.server.facts().system_identifier.0;
    let sentinel =
        json!({"LSN": start, "FinishLSN": stop, "PgVersion": 150_018, "SystemIdentifier": cluster, "IsPermanent": false});
    let metadata = json!({"start_lsn": start, "finish_lsn": stop, "is_permanent": permanent, "system_identifier": cluster});
    put(house, &format!("{name}/tar_partitions/part_001.tar.lz4"), "x").await;
    put(house, &format!("{name}/metadata.json"), metadata.to_string()).await;
    put(house, &format!("{name}_backup_stop_sentinel.json"), sentinel.to_string()).await;
    name
}

async fn walg(house: &House) -> WalGContents {
    Catalog::new(&house.store, &house.layout).walg().await.unwrap()
}

fn segments(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| segment(number).to_string()).collect()
}

/// WAL from 1 to 60, and our own ordinary backup at 50.
async fn house_with_backup_at_50() -> (House, Backup) {
    let house = House::new().await;
    house.archive(&(1..=60).collect::<Vec<_>>()).await;
    let backup = house.backup_at(1, 50, Permanence::Ordinary).await;
    (house, backup)
}

#[tokio::test]
async fn reads_what_walg_and_wal_e_wrote() {
    let house = House::new().await;
    let vectors: [(&str, &[u8]); 6] = [
        (
            "base_0000000100000002000000AB_backup_stop_sentinel.json",
            include_bytes!("../../../../tests/vectors/walg-backups/base_0000000100000002000000AB_backup_stop_sentinel.json"),
        ),
        (
            "base_0000000100000002000000AB/metadata.json",
            include_bytes!("../../../../tests/vectors/walg-backups/base_0000000100000002000000AB.metadata.json"),
        ),
        (
            "base_0000000100000002000000B0_D_0000000100000002000000AB_backup_stop_sentinel.json",
            include_bytes!(
                "../../../../tests/vectors/walg-backups/base_0000000100000002000000B0_D_0000000100000002000000AB_backup_stop_sentinel.json"
            ),
        ),
        (
            "base_0000000100000002000000B0_D_0000000100000002000000AB/metadata.json",
            include_bytes!(
                "../../../../tests/vectors/walg-backups/base_0000000100000002000000B0_D_0000000100000002000000AB.metadata.json"
            ),
        ),
        (
            "base_000000010000000200000090_backup_stop_sentinel.json",
            include_bytes!("../../../../tests/vectors/walg-backups/base_000000010000000200000090_backup_stop_sentinel.json"),
        ),
        (
            "base_000000010000000200000080_00000028_backup_stop_sentinel.json",
            include_bytes!(
                "../../../../tests/vectors/walg-backups/base_000000010000000200000080_00000028_backup_stop_sentinel.json"
            ),
        ),
    ];
    for (place, body) in vectors {
        put(&house, place, body).await;
    }
    let found = walg(&house).await;
    assert!(found.unreadable.is_empty() && found.unfinished.is_empty(), "{:?}", found.unreadable);
    let [wal_e, legacy, full, delta] = &found.backups[..] else { panic!("{:?}", found.backups) };

    assert_eq!((full.start_lsn, full.finish_lsn), (Some(Lsn(0x2_AB00_0028)), Some(Lsn(0x2_AB0B_5000))));
    assert_eq!(full.system_identifier.unwrap().0, 7_489_023_187_726_473_289, "beyond what a float can hold");
    assert_eq!(full.segment_sizes(), [WalSegmentSize::DEFAULT], "its name and its position allow no other size");
    assert_eq!(full.user_data, Some(json!({"ticket": "OPS-17"})));
    assert_eq!(full.finished_at.unwrap().to_string(), "2026-11-20T02:00:09.654321Z");
    let range = full.wal_range(WalSegmentSize::DEFAULT).unwrap();
    assert_eq!((range.first, range.last), (0x2AB, 0x2AB));

    assert!(delta.name.is_delta() && delta.permanence == Permanence::Permanent, "metadata.json decides, not the sentinel");
    assert_eq!(delta.delta_from.as_deref(), Some("base_0000000100000002000000AB"));
    assert!(!legacy.has_metadata && legacy.permanence == Permanence::Ordinary);
    assert_eq!(legacy.start_lsn, Some(Lsn(0x2_9000_0028)));
    assert_eq!((wal_e.start_lsn, wal_e.finish_lsn), (None, None));
}

#[tokio::test]
async fn wal_since_an_ordinary_walg_backup_stays_and_older_wal_goes() {
    let (house, _) = house_with_backup_at_50().await;
    walg_backup(&house, 30, 31, false).await;
    for rule in [RetentionRule::Garbage, RetentionRule::Retain { count: 1, after: None }, RetentionRule::Everything] {
        house.delete(&rule).await.unwrap();
        assert_eq!(house.archived().await, segments(30..=60), "{rule:?}: neither all of it nor less than it needs");
    }
}

#[tokio::test]
async fn a_permanent_walg_backup_keeps_its_own_wal() {
    let (house, _) = house_with_backup_at_50().await;
    walg_backup(&house, 30, 32, true).await;
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(house.archived().await, segments((30..=32).chain(50..=60)));
}

#[tokio::test]
async fn a_walg_backup_without_metadata_is_protected_like_an_ordinary_one() {
    let (house, _) = house_with_backup_at_50().await;
    let name = walg_backup(&house, 30, 32, true).await;
    house.store.delete(&key(&format!("main/basebackups_005/{name}/metadata.json"))).await.unwrap();
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(house.archived().await, segments(30..=60));
}

#[tokio::test]
async fn positions_that_are_null_or_zero_keep_everything_since_the_name() {
    for (start, finish) in [(Value::Null, Value::Null), (json!(0), json!(0)), (json!(30 * SIZE + 0x28), json!(0))] {
        let (house, _) = house_with_backup_at_50().await;
        let name = walg_name(30);
        put(&house, &format!("{name}_backup_stop_sentinel.json"), json!({"LSN": start, "FinishLSN": finish}).to_string()).await;
        put(&house, &format!("{name}/metadata.json"), json!({"is_permanent": true}).to_string()).await;
        house.delete(&RetentionRule::Everything).await.unwrap();
        assert_eq!(house.archived().await, segments(30..=60), "{start} {finish}: permanent, and nobody knows where it ends");
    }
}

#[tokio::test]
async fn one_unreadable_walg_record_stops_every_deletion_of_wal_and_says_why() {
    let start = 30 * SIZE + 0x28;
    let sentinel = |body: Value| ("base_00000001000000000000001E_backup_stop_sentinel.json".to_owned(), body.to_string());
    let cases = [
        ("base_00000001000000000000001E_backup_stop_sentinel.json".to_owned(), String::new()),
        ("base_00000001000000000000001E_backup_stop_sentinel.json".to_owned(), "{".to_owned()),
        sentinel(json!({"LSN": "0/1E00028"})),
        sentinel(json!({"LSN": -1})),
        sentinel(json!({"LSN": 99 * SIZE, "FinishLSN": 100 * SIZE})),
        sentinel(json!({"LSN": start, "FinishLSN": start - 1})),
        ("snapshot_00000001000000000000001E_backup_stop_sentinel.json".to_owned(), json!({"LSN": start}).to_string()),
        ("_backup_stop_sentinel.json".to_owned(), json!({"LSN": start}).to_string()),
        ("stream_20261121T080000Z/stream.br".to_owned(), String::new()),
        ("note.txt".to_owned(), String::new()),
    ];
    for (place, body) in cases {
        let (house, _) = house_with_backup_at_50().await;
        put(&house, &place, body.clone()).await;
        let ports = house.ports(&house.store);
        let plan = plan_delete(&ports, &RetentionRule::Everything).await.unwrap();
        assert_eq!(plan.removed_wal().count(), 0, "{place} {body}");
        let reasons: Vec<String> = plan.wal.iter().filter_map(|decision| Some(decision.kept_for.as_ref()?.to_string())).collect();
        assert!(reasons.iter().any(|reason| reason.contains(&place)), "the reason names `{place}`: {reasons:?}");
        house.delete(&RetentionRule::Everything).await.unwrap();
        assert_eq!(house.archived().await, segments(1..=60), "{place} {body}");
        let found = walg(&house).await;
        assert!(found.unreadable[0].class() == ErrorClass::Corrupt && found.unreadable[0].hint().is_some());
    }
}

#[tokio::test]
async fn damaged_metadata_is_not_taken_for_missing_metadata() {
    let (house, _) = house_with_backup_at_50().await;
    let name = walg_backup(&house, 30, 30, true).await;
    put(&house, &format!("{name}/metadata.json"), "{\"is_permanent\": tru").await;
    assert_eq!(walg(&house).await.unreadable.len(), 1);
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(house.archived().await, segments(1..=60));
}

#[tokio::test]
async fn a_walg_backup_that_has_no_sentinel_yet_keeps_its_wal() {
    let (house, _) = house_with_backup_at_50().await;
    put(&house, &format!("{}/tar_partitions/part_001.tar.lz4", walg_name(40)), "x").await;
    let found = walg(&house).await;
    assert_eq!(found.unfinished, [walg_name(40).parse::<WalGName>().unwrap()]);
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert_eq!(house.archived().await, segments(40..=60));
}

#[tokio::test]
async fn no_rule_deletes_what_is_walgs_or_counts_it_as_retained() {
    let (house, old) = house_with_backup_at_50().await;
    let new = house.backup_at(2, 55, Permanence::Ordinary).await;
    for number in [10, 52, 58] {
        walg_backup(&house, number, number, false).await;
    }
    let of_walg = |house: &House| -> BTreeMap<Key, Bytes> {
        house.store.snapshot().into_iter().filter(|(key, _)| key.as_str().contains("basebackups_005")).collect()
    };
    let before = of_walg(&house);
    let rule = RetentionRule::Retain { count: 1, after: None };
    let told = plan_delete(&house.ports(&house.store), &rule).await.unwrap().bystanders;
    assert_eq!(told.iter().map(Bystander::name).collect::<Vec<_>>(), [10, 52, 58].map(walg_name), "they are told of");
    house.delete(&rule).await.unwrap();
    let left = house.contents().await;
    assert!(left.find(&new.sentinel.name).is_some() && left.find(&old.sentinel.name).is_none(), "two of WAL-G's are newer");
    for rule in [RetentionRule::Garbage, RetentionRule::Everything] {
        house.delete(&rule).await.unwrap();
    }
    assert_eq!(of_walg(&house), before);
    assert_eq!(house.archived().await, segments(10..=60));
}

#[tokio::test]
async fn wal_of_a_timeline_that_was_left_while_walg_copied_stays() {
    let (house, _) = house_with_backup_at_50().await;
    // A standby changed over in segment 31, between start and stop.
    walg_backup(&house, 30, 33, false).await;
    house.put_wal("00000002.history", format!("1\t{}\tno recovery target\n", Lsn(31 * SIZE + 0x50))).await;
    house.put_wal("00000003.history", format!("1\t{}\tno recovery target\n", Lsn(20 * SIZE))).await;
    house.put_wal("00000002000000000000001F", String::new()).await;
    house.put_wal("000000030000000000000020", String::new()).await;
    house.delete(&RetentionRule::Garbage).await.unwrap();
    let archived = house.archived().await;
    assert!(archived.contains("00000002000000000000001F"));
    assert!(!archived.contains("000000030000000000000020"), "it left before the backup began");
}

#[tokio::test]
async fn a_backup_of_thousands_of_objects_does_not_cost_a_listing_of_all_of_them() {
    let house = House::new().await;
    let name = walg_backup(&house, 30, 30, false).await;
    for part in 0..3_500 {
        put(&house, &format!("{name}/tar_partitions/part_{part:06}.tar.lz4"), "").await;
    }
    walg_backup(&house, 40, 40, false).await;
    let found = walg(&house).await;
    let names: Vec<String> = found.backups.iter().map(|backup| backup.name.to_string()).collect();
    assert_eq!(names, [walg_name(30), walg_name(40)], "what lies behind the many is still seen");
    assert!(found.unfinished.is_empty() && found.unreadable.is_empty());
}

/// One of the fake server's backups, moved to other positions.
fn moved(template: &Backup, timeline: u32, first: u64, last: u64, permanent: bool) -> Backup {
    let mut backup = template.clone();
    backup.sentinel.timeline = TimelineId::new(timeline).unwrap();
    backup.sentinel.start_lsn = Lsn(first * SIZE + 0x28);
    backup.sentinel.stop_lsn = Lsn(last * SIZE + 0x100);
    backup.permanence = if permanent { Permanence::Permanent } else { Permanence::Ordinary };
    backup
}

fn contents_of_walg(backups: &[(u32, u64, u64, bool, u8)]) -> WalGContents {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let house = House::new().await;
        for (timeline, first, length, permanent, forgotten) in backups {
            let name = format!("base_{timeline:08X}00000000{first:08X}");
            let (start, stop) = (first * SIZE + 0x28, (first + length) * SIZE + 0x100);
            let start = if forgotten & 1 == 0 { json!(start) } else { Value::Null };
            let stop = if forgotten & 2 == 0 { json!(stop) } else { json!(0) };
            let sentinel = json!({"LSN": start, "FinishLSN": stop}).to_string();
            put(&house, &format!("{name}_backup_stop_sentinel.json"), sentinel).await;
            put(&house, &format!("{name}/metadata.json"), json!({"is_permanent": permanent}).to_string()).await;
        }
        walg(&house).await
    })
}

fn template() -> Backup {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { House::new().await.backup_at(1, 5, Permanence::Ordinary).await })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn wal_of_a_kept_backup_is_never_released(
        ours in proptest::collection::vec((1u32..4, 0u64..200, 0u64..20, any::<bool>()), 0..5),
        of_walg in proptest::collection::vec((1u32..4, 1u64..200, 0u64..20, any::<bool>(), 0u8..4), 0..5),
        forks in (0u64..200, 0u64..200),
    ) {
        // Two with one name are one: the second has replaced the first.
        let of_walg: BTreeMap<(u32, u64), (u64, bool, u8)> =
            of_walg.into_iter().map(|(on, first, length, permanent, forgotten)| ((on, first), (length, permanent, forgotten))).collect();
        let of_walg: Vec<(u32, u64, u64, bool, u8)> = of_walg
            .into_iter()
            .map(|((on, first), (length, permanent, forgotten))| (on, first, length, permanent, forgotten))
            .collect();
        let timeline = |number| TimelineId::new(number).unwrap();
        let (one, two) = (forks.0.min(forks.1) * SIZE, forks.0.max(forks.1) * SIZE);
        let text = format!("1\t{}\tx\n2\t{}\tx\n", Lsn(one), Lsn(two));
        let second = TimelineHistory::parse(timeline(2), &format!("1\t{}\tx\n", Lsn(one))).unwrap();
        let third = TimelineHistory::parse(timeline(3), &text).unwrap();
        let ancestry = Ancestry::new([
            (timeline(1), TimelineHistory::root(timeline(1))),
            (timeline(2), second),
            (timeline(3), third),
        ]);
        let template = template();
        let backups: Vec<Backup> =
            ours.iter().map(|(on, first, length, permanent)| moved(&template, *on, *first, first + length, *permanent)).collect();
        let kept: Vec<&Backup> = backups.iter().collect();
        let walg = contents_of_walg(&of_walg);
        prop_assert!(walg.unreadable.is_empty(), "{:?}", walg.unreadable);
        let size = WalSegmentSize::try_from(1 << 20).unwrap();
        let file = |on: u32, number: u64| WalSegment { timeline: timeline(on), number }.file_name(size);
        for recovery in [KeepRecovery::Yes, KeepRecovery::No] {
            let protected = ProtectedWal::new(&kept, &[], &walg, ancestry.clone(), recovery);
            let needs = |name: WalFileName| protected.reason_to_keep(name).is_some();
            let ranges = ours.iter().map(|(on, first, length, permanent)| (*on, *first, *length, *permanent));
            let ranges_of_walg = of_walg.iter().map(|(on, first, length, permanent, forgotten)| {
                (*on, *first, *length, *permanent && forgotten & 2 == 0)
            });
            for (on, first, length, permanent) in ranges.chain(ranges_of_walg) {
                for number in first..=first + length {
                    prop_assert!(needs(file(on, number)), "part of a kept backup");
                }
                if !permanent {
                    prop_assert!((first..400).all(|number| needs(file(on, number))), "recovery along its own timeline");
                    let forks_later = |from: u64| (first + length) * SIZE + 0x100 <= from;
                    if on == 1 && forks_later(one) {
                        prop_assert!((one / SIZE..400).all(|number| needs(file(2, number))), "recovery to the next timeline");
                    }
                    if on == 2 && first * SIZE >= one && forks_later(two) {
                        prop_assert!((two / SIZE..400).all(|number| needs(file(3, number))), "recovery to the next timeline");
                    }
                }
            }
        }
    }
}
