//! `wal-verify` on fakes: every gap that matters is found and no other, and nothing is passed off as fine.

use bytes::Bytes;
use stillframe_core::catalog::{Backup, Catalog, Permanence};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{AnyBackupName, Depth, ServerPosition, VerifyError, VerifyReport, VerifyRequest, wal_verify};
use stillframe_core::postgres::{Lsn, SystemIdentifier, TimelineId, WalRange, WalSegmentSize};
use stillframe_core::store::{Key, Store};

use crate::cluster::telling;
use crate::hooked_store::unreadable;
use crate::house::{House, segment_key, start_of_time};
use crate::walg::walg_backup;

const DEEP: Depth = Depth::Contents { workers: 3 };

async fn verify(house: &House, request: &VerifyRequest) -> Result<VerifyReport, VerifyError> {
    wal_verify(&house.ports(&house.store), request, None, &|_| {}).await
}

async fn plainly(house: &House) -> VerifyReport {
    verify(house, &VerifyRequest::default()).await.unwrap()
}

async fn deeply(house: &House) -> VerifyReport {
    verify(house, &VerifyRequest { depth: DEEP, ..VerifyRequest::default() }).await.unwrap()
}

fn pairs(ranges: &[WalRange]) -> Vec<(u32, u64, u64)> {
    ranges.iter().map(|range| (range.timeline.get(), range.first, range.last)).collect()
}

fn class(report: &VerifyReport) -> Option<ErrorClass> {
    report.verdict().err().map(|error| error.class())
}

async fn remove(house: &House, number: u32) {
    house.store.delete(&segment_key(number)).await.unwrap();
}

/// WAL from 3 to 30, a permanent backup at 5, an ordinary one at 10 and one at 20.
async fn full_house() -> (House, Vec<Backup>) {
    let house = House::new().await;
    house.archive(&(3..=30).collect::<Vec<_>>()).await;
    let permanent = house.backup_at(1, 5, Permanence::Permanent).await;
    let backups =
        vec![permanent, house.backup_at(2, 10, Permanence::Ordinary).await, house.backup_at(3, 20, Permanence::Ordinary).await];
    (house, backups)
}

fn server(position: u64, allowed_lag: u64, house: &House) -> ServerPosition {
    let facts = house.server.facts();
    ServerPosition {
        system_identifier: facts.system_identifier,
        timeline: TimelineId::FIRST,
        position: Lsn(position << 20),
        segment_size: facts.segment_size,
        allowed_lag,
    }
}

#[tokio::test]
async fn an_archive_that_holds_everything_is_whole() {
    let (house, _) = full_house().await;
    let report = plainly(&house).await;
    assert_eq!(pairs(&report.needed), [(1, 10, 30)]);
    assert_eq!((report.present, report.missing_count()), (22, 0), "and the permanent one's own");
    report.verdict().unwrap();
}

#[tokio::test]
async fn every_single_missing_segment_that_is_needed_is_found_and_no_other() {
    for number in 3..=30 {
        let (house, _) = full_house().await;
        remove(&house, number).await;
        let report = plainly(&house).await;
        // Of what comes after the newest archived one nobody knows.
        let is_needed = number == 5 || (10..30).contains(&number);
        let expected = if is_needed { vec![(1, u64::from(number), u64::from(number))] } else { Vec::new() };
        assert_eq!(pairs(&report.missing), expected, "{number}");
        assert_eq!(class(&report), is_needed.then_some(ErrorClass::Refused), "{number}");
        let is_hole = (4..30).contains(&number) && !is_needed;
        assert_eq!(report.harmless.len(), usize::from(is_hole), "{number}: told, but no alarm");
    }
}

#[tokio::test]
async fn gaps_before_the_oldest_backup_are_no_alarm() {
    let (house, backups) = full_house().await;
    Catalog::new(&house.store, &house.layout).forget(&backups[0].sentinel.name).await.unwrap();
    for number in [4, 5, 6, 8] {
        remove(&house, number).await;
    }
    let report = plainly(&house).await;
    report.verdict().unwrap();
    assert_eq!(pairs(&report.harmless), [(1, 4, 6), (1, 8, 8)]);
}

#[tokio::test]
async fn a_condemned_backup_needs_nothing() {
    let (house, backups) = full_house().await;
    let _ = Catalog::new(&house.store, &house.layout).condemn(&backups[1].sentinel.name, start_of_time()).await.unwrap();
    remove(&house, 12).await;
    plainly(&house).await.verdict().unwrap();
}

#[tokio::test]
async fn a_permanent_backup_needs_only_its_own_segments() {
    let (house, backups) = full_house().await;
    let request =
        VerifyRequest { backup: Some(AnyBackupName::Snapshot(backups[0].sentinel.name.clone())), ..VerifyRequest::default() };
    remove(&house, 6).await;
    verify(&house, &request).await.unwrap().verdict().unwrap();
    remove(&house, 5).await;
    let report = verify(&house, &request).await.unwrap();
    assert_eq!(class(&report), Some(ErrorClass::Refused));
    assert_eq!(pairs(&report.backups[0].missing), [(1, 5, 5)]);
}

#[tokio::test]
async fn a_backup_that_stands_alone_needs_only_its_own_segments() {
    let (house, backups) = full_house().await;
    let catalog = Catalog::new(&house.store, &house.layout);
    catalog.make_standalone(&backups[1].sentinel.name, start_of_time()).await.unwrap();
    remove(&house, 15).await;
    let report = plainly(&house).await;
    assert_eq!((pairs(&report.needed), report.missing_count()), (vec![(1, 20, 30)], 0));
    report.verdict().unwrap();
    remove(&house, 10).await;
    assert_eq!(plainly(&house).await.missing_count(), 1);
}

#[tokio::test]
async fn backups_of_walg_are_verified_as_well() {
    let house = House::new().await;
    house.archive(&(3..=30).collect::<Vec<_>>()).await;
    let name = walg_backup(&house, 8, 12, true).await;
    remove(&house, 9).await;
    let report = plainly(&house).await;
    assert_eq!(pairs(&report.missing), [(1, 9, 9)]);
    assert_eq!((report.backups[0].name.as_str(), report.backups[0].kind.as_str()), (name.as_str(), "walg"));
    assert_eq!(class(&report), Some(ErrorClass::Refused));
    walg_backup(&house, 14, 15, false).await;
    remove(&house, 20).await;
    assert_eq!(pairs(&plainly(&house).await.missing), [(1, 9, 9), (1, 20, 20)]);
}

#[tokio::test]
async fn follows_the_history_to_the_newest_timeline_and_skips_what_it_left() {
    let (house, _) = full_house().await;
    // Timeline 2 left in segment 25; the old primary went on to 30 and lost 28.
    house.put_wal("00000002.history", "1\t0/1900100\tno recovery target\n").await;
    for name in ["000000020000000000000019", "00000002000000000000001A", "00000002000000000000001C"] {
        house.put_wal(name, "x").await;
    }
    let report = plainly(&house).await;
    assert_eq!(pairs(&report.needed), [(1, 10, 30), (2, 0x19, 0x1C)]);
    assert_eq!(pairs(&report.missing), [(2, 0x1B, 0x1B)], "timelines are not skipped, and none is taken for lost");

    remove(&house, 28).await;
    let request = VerifyRequest { timeline: TimelineId::new(2).ok(), ..VerifyRequest::default() };
    let report = verify(&house, &request).await.unwrap();
    assert_eq!(pairs(&report.needed), [(1, 10, 24), (2, 0x19, 0x1C)]);
    assert_eq!(pairs(&report.missing), [(2, 0x1B, 0x1B)]);
    let request = VerifyRequest { timeline: TimelineId::new(1).ok(), ..VerifyRequest::default() };
    assert_eq!(pairs(&verify(&house, &request).await.unwrap().missing), [(1, 28, 28)]);
}

#[tokio::test]
async fn a_segment_that_only_the_child_holds_completely_is_there() {
    let (house, _) = full_house().await;
    for number in 21..=30 {
        remove(&house, number).await;
    }
    // The backup at 20 ends in segment 20, in which timeline 2 left.
    remove(&house, 20).await;
    house.put_wal("000000010000000000000014.partial", "x").await;
    house.put_wal("00000002.history", "1\t0/14FFF00\tno recovery target\n").await;
    assert_eq!(class(&plainly(&house).await), Some(ErrorClass::Refused), "a `.partial` is no segment");
    house.put_wal("000000020000000000000014", "x").await;
    plainly(&house).await.verdict().unwrap();
}

#[tokio::test]
async fn a_timeline_without_its_history_is_an_alarm_and_a_damaged_history_is_damage() {
    let (house, _) = full_house().await;
    house.put_wal("000000020000000000000019", "x").await;
    assert_eq!(class(&plainly(&house).await), Some(ErrorClass::Refused));
    house.put_wal("00000002.history", "no history\n").await;
    assert_eq!(class(&plainly(&house).await), Some(ErrorClass::Corrupt));
}

#[tokio::test]
async fn deep_reading_proves_every_needed_object() {
    let (house, _) = full_house().await;
    let report = deeply(&house).await;
    let contents = report.contents.as_ref().unwrap();
    assert_eq!((contents.proven, contents.damaged, contents.not_verified), (22, 0, 0));
    report.verdict().unwrap();
}

#[tokio::test]
async fn deep_reading_finds_damage_wrong_positions_and_foreign_clusters() {
    let (house, _) = full_house().await;
    let mut damaged = house.store.get(&segment_key(12)).await.unwrap().unwrap().to_vec();
    let place = damaged.len() - 8;
    damaged[place] ^= 0x10;
    house.store.put(&segment_key(12), damaged.into()).await.unwrap();
    let other = house.store.get(&segment_key(14)).await.unwrap().unwrap();
    house.store.put(&segment_key(15), other).await.unwrap();
    house.server.change(|facts| facts.system_identifier.0 += 1);
    house.archive(&[18, 4]).await;
    let report = deeply(&house).await;
    let contents = report.contents.as_ref().unwrap();
    let files: Vec<String> = contents.problems.iter().map(|problem| problem.file.to_string()).collect();
    assert_eq!(files, ["00000001000000000000000C", "00000001000000000000000F", "000000010000000000000012"]);
    assert!(contents.problems.iter().all(|problem| problem.is_damaged), "{:?}", contents.problems);
    assert_eq!((contents.proven, contents.damaged), (19, 3), "what nothing needs is not read");
    assert_eq!(class(&report), Some(ErrorClass::Corrupt));
    assert_eq!(class(&plainly(&house).await), None, "names alone do not tell");
}

#[tokio::test]
async fn what_cannot_be_read_for_want_of_a_key_is_not_passed_off_as_fine() {
    let (house, _) = full_house().await;
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string().parse().unwrap();
    let encrypting = stillframe_core::catalog::ArchiveSettings { recipients: vec![recipient], ..Default::default() };
    let content = house.archived_content(12).await;
    remove(&house, 12).await;
    let ports = stillframe_core::flows::Ports { archiving: &encrypting, ..house.ports(&house.store) };
    let archive = stillframe_core::catalog::WalArchive::new(ports.store, ports.layout, ports.archiving);
    archive.push(crate::house::segment(12), content).await.unwrap();
    let report = deeply(&house).await;
    let contents = report.contents.as_ref().unwrap();
    assert_eq!((contents.proven, contents.not_verified, contents.damaged), (21, 1, 0));
    assert!(matches!(report.verdict(), Err(VerifyError::NotVerified { count: 1 })));
    assert_eq!(class(&report), Some(ErrorClass::Config));
    plainly(&house).await.verdict().unwrap();
}

#[tokio::test]
async fn deep_reading_asks_for_each_object_once_even_for_want_of_a_key() {
    let house = House::new().await;
    house.backup_at(1, 3, Permanence::Ordinary).await;
    let store = telling(&house.store);
    let request = VerifyRequest { depth: DEEP, ..VerifyRequest::default() };
    wal_verify(&house.ports(&store), &request, None, &|_| {}).await.unwrap().verdict().unwrap();
    let gets = |object: &str| store.files("get").iter().filter(|name| **name == object).count();
    assert_eq!(gets("000000010000000000000003"), 1);
    let by_age = include_bytes!("../../../../tests/vectors/stillframe/000000010000000000000003.zst.age");
    remove(&house, 3).await;
    house.put_wal("000000010000000000000003.zst.age", &by_age[..]).await;
    let report = wal_verify(&house.ports(&store), &request, None, &|_| {}).await.unwrap();
    assert!(matches!(report.verdict(), Err(VerifyError::NotVerified { count: 1 })), "{report:?}");
    assert_eq!(gets("000000010000000000000003.zst.age"), 1);
}

#[tokio::test]
async fn an_encrypted_object_without_anything_on_its_outside_is_not_verified_either() {
    let house = House::new().await;
    house.backup_at(1, 3, Permanence::Ordinary).await;
    remove(&house, 3).await;
    let by_age = include_bytes!("../../../../tests/vectors/age/000000010000000000000003.zst.age");
    house.put_wal("000000010000000000000003.zst.age", &by_age[..]).await;
    let report = deeply(&house).await;
    assert!(matches!(report.verdict(), Err(VerifyError::NotVerified { count: 1 })), "{report:?}");
}

#[tokio::test]
async fn a_timeline_that_left_before_every_backup_is_no_alarm() {
    let (house, _) = full_house().await;
    house.put_wal("00000002.history", "1\t0/800100\tno recovery target\n").await;
    for name in ["000000020000000000000008", "00000002000000000000000C"] {
        house.put_wal(name, "x").await;
    }
    let report = plainly(&house).await;
    report.verdict().unwrap();
    assert_eq!(pairs(&report.harmless), [(2, 9, 11)]);
}

#[tokio::test]
async fn a_store_that_fails_is_never_a_gap() {
    let (house, _) = full_house().await;
    let store = unreadable(&house.store, "00000000000F.zst");
    let request = VerifyRequest { depth: DEEP, ..VerifyRequest::default() };
    let report = wal_verify(&house.ports(&store), &request, None, &|_| {}).await.unwrap();
    assert_eq!(class(&report), Some(ErrorClass::Transient));
    let contents = report.contents.as_ref().unwrap();
    assert!(report.missing.is_empty() && contents.damaged == 0 && contents.vanished == 0 && contents.stopped_by.is_some());
    // And what was found for certain before outweighs it.
    remove(&house, 13).await;
    let report = wal_verify(&house.ports(&store), &request, None, &|_| {}).await.unwrap();
    assert_eq!(class(&report), Some(ErrorClass::Refused));
}

#[tokio::test]
async fn an_unreadable_record_of_a_backup_is_told_and_fails() {
    let (house, backups) = full_house().await;
    let key = Key::parse(&format!("main/snapshots_001/{}/sentinel.json", backups[1].sentinel.name)).unwrap();
    house.store.put(&key, Bytes::from_static(b"{")).await.unwrap();
    let report = plainly(&house).await;
    assert_eq!((report.unreadable.len(), class(&report)), (1, Some(ErrorClass::Corrupt)));
}

#[tokio::test]
async fn with_a_server_only_its_newest_segments_may_be_missing() {
    let (house, _) = full_house().await;
    let with = |position, lag| VerifyRequest { server: Some(server(position, lag, &house)), ..VerifyRequest::default() };
    // The server writes segment 31: all that it has finished is there.
    let report = verify(&house, &with(31, 0)).await.unwrap();
    report.verdict().unwrap();
    assert_eq!(report.lag, Some(0));
    // It writes 34: 31 to 33 are not archived yet.
    let report = verify(&house, &with(34, 2)).await.unwrap();
    assert_eq!((pairs(&report.missing), report.lag), (vec![(1, 31, 31)], Some(3)));
    verify(&house, &with(34, 3)).await.unwrap().verdict().unwrap();
    // A hole further back is no lag, however much is allowed among the newest.
    remove(&house, 25).await;
    assert_eq!(pairs(&verify(&house, &with(34, 3)).await.unwrap().missing), [(1, 25, 25)]);
    let foreign = ServerPosition { system_identifier: SystemIdentifier(1), ..server(34, 0, &house) };
    let error = verify(&house, &VerifyRequest { server: Some(foreign), ..VerifyRequest::default() }).await.unwrap_err();
    assert!(matches!(error, VerifyError::OtherCluster { .. }), "{error}");
}

#[tokio::test]
async fn a_server_on_a_timeline_of_which_nothing_is_archived_is_an_alarm() {
    let (house, _) = full_house().await;
    let promoted = ServerPosition { timeline: TimelineId::new(2).unwrap(), ..server(34, 0, &house) };
    let request = VerifyRequest { server: Some(promoted), ..VerifyRequest::default() };
    let report = verify(&house, &request).await.unwrap();
    assert_eq!((class(&report), report.lag), (Some(ErrorClass::Refused), Some(3)));
    house.put_wal("00000002.history", "1\t0/1F00000\tno recovery target\n").await;
    let report = verify(&house, &request).await.unwrap();
    assert_eq!(pairs(&report.missing), [(2, 31, 33)]);
}

#[tokio::test]
async fn an_archive_with_a_newer_timeline_than_the_servers_is_an_alarm() {
    let (house, _) = full_house().await;
    house.put_wal("00000002.history", "1\t0/1900100\tno recovery target\n").await;
    plainly(&house).await.verdict().unwrap();
    let request = VerifyRequest { server: Some(server(31, 0, &house)), ..VerifyRequest::default() };
    let report = verify(&house, &request).await.unwrap();
    assert!(matches!(report.verdict(), Err(VerifyError::NewerTimeline(timeline)) if timeline.get() == 2));
}

#[tokio::test]
async fn names_that_are_not_there_are_refused() {
    let (house, _) = full_house().await;
    let backup = Some(AnyBackupName::WalG("base_000000010000000000000009".parse().unwrap()));
    let error = verify(&house, &VerifyRequest { backup, ..VerifyRequest::default() }).await.unwrap_err();
    assert!(matches!(error, VerifyError::NoSuchBackup(_)) && error.class() == ErrorClass::Refused);
    let timeline = TimelineId::new(7).ok();
    let error = verify(&house, &VerifyRequest { timeline, ..VerifyRequest::default() }).await.unwrap_err();
    assert!(matches!(error, VerifyError::NoSuchTimeline(_)));
}

#[tokio::test]
async fn a_segment_size_that_is_merely_likely_is_not_verified_by() {
    let house = House::new().await;
    house.store.put(&segment_key(3), Bytes::from_static(b"damaged")).await.unwrap();
    put_walg_without_position(&house).await;
    let error = verify(&house, &VerifyRequest::default()).await.unwrap_err();
    assert!(matches!(error, VerifyError::UnknownSegmentSize) && error.hint().unwrap().contains("--segment-size"));
    let segment_size = WalSegmentSize::try_from(1 << 20).ok();
    verify(&house, &VerifyRequest { segment_size, ..VerifyRequest::default() }).await.unwrap();
}

async fn put_walg_without_position(house: &House) {
    let key = Key::parse("main/basebackups_005/base_000000010000000000000003_backup_stop_sentinel.json").unwrap();
    house.store.put(&key, Bytes::from_static(b"{\"LSN\": null}")).await.unwrap();
}

#[tokio::test]
async fn without_any_backup_nothing_is_needed_and_that_is_no_success() {
    let house = House::new().await;
    house.archive(&[3, 9]).await;
    for depth in [Depth::Names, DEEP] {
        let report = verify(&house, &VerifyRequest { depth, ..VerifyRequest::default() }).await.unwrap();
        let error = report.verdict().unwrap_err();
        assert!(matches!(error, VerifyError::NoBackups) && error.class() == ErrorClass::Refused, "{error}");
        assert!(error.hint().unwrap().contains("snapshot-push"));
        assert!(report.backups.is_empty() && report.needed.is_empty());
        assert_eq!(pairs(&report.harmless), [(1, 4, 8)]);
    }
    // One whose deletion has begun restores nothing either; one of WAL-G's does.
    let backup = house.backup_at(1, 9, Permanence::Ordinary).await;
    plainly(&house).await.verdict().unwrap();
    let _ = Catalog::new(&house.store, &house.layout).condemn(&backup.sentinel.name, start_of_time()).await.unwrap();
    assert!(matches!(plainly(&house).await.verdict(), Err(VerifyError::NoBackups)));
    walg_backup(&house, 9, 9, false).await;
    plainly(&house).await.verdict().unwrap();
}
