//! Choosing a backup, on fakes. What is done to files is tested with real ones, and with real servers elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use stillframe_core::catalog::{Backup, Catalog, Permanence};
use stillframe_core::data_directory::{Archiving, Inclusion, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use stillframe_core::error::Classify;
use stillframe_core::flows::{
    Announcement, BackupSelector, FetchError, FetchRequest, Isolation, MissingWal, Precautions, PushRequest, snapshot_fetch,
};
use stillframe_core::postgres::{Lsn, TimelineId};
use stillframe_core::provider::{ProviderFault, Token};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::ProviderCall;

use crate::house::{House, handle_of, segment_key, start_of_time};

pub(crate) fn request(directory: &tempfile::TempDir, selector: BackupSelector, target: RecoveryTarget) -> FetchRequest {
    FetchRequest {
        destination: directory.path().join("new"),
        selector,
        recovery: RecoverySettings {
            restore_command: "true".to_owned(),
            target,
            inclusive: Inclusion::Inclusive,
            timeline: TargetTimeline::Latest,
            action: TargetAction::Pause,
            archiving: Archiving::Keep,
        },
        tablespace_mapping: Vec::new(),
        wal_directory: None,
        precautions: Precautions::default(),
        isolation: Isolation::Required,
        missing_wal: MissingWal::Refused,
        scan: 100,
        token: Token("restore".to_owned()),
        announcement: Announcement::Required,
        snapshot_roots: Vec::new(),
        hostname: "db2".to_owned(),
    }
}

/// Which backup is chosen: the fake provider restores an empty directory, so that the preparation refuses afterwards.
pub(crate) async fn chosen(house: &House, request: &FetchRequest) -> Result<String, FetchError> {
    let before = house.provider().calls().len();
    let error = snapshot_fetch(&house.ports(&house.store), request, std::future::pending()).await.unwrap_err();
    if house.provider().calls()[before..].contains(&ProviderCall::Restore) {
        Ok(house.provider().last_restored())
    } else {
        Err(error)
    }
}

async fn two_backups() -> (House, Backup, Backup) {
    let house = House::new().await;
    let first = house.backup_at(10, 10, Permanence::Ordinary).await;
    let second = house.backup_at(20, 20, Permanence::Ordinary).await;
    house.clock.advance(Duration::from_hours(1));
    (house, first, second)
}

fn at(minutes: u64) -> Timestamp {
    start_of_time() + Duration::from_mins(minutes)
}

#[tokio::test]
async fn chooses_the_newest_backup_that_had_stopped_before_the_target() {
    let (house, first, second) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (RecoveryTarget::EndOfWal, &second),
        (RecoveryTarget::Time(at(25)), &second),
        (RecoveryTarget::Time(at(20)), &second),
        (RecoveryTarget::Time(at(19)), &first),
        (RecoveryTarget::Lsn(second.sentinel.stop_lsn), &second),
        (RecoveryTarget::Lsn(first.sentinel.stop_lsn), &first),
    ];
    for (target, expected) in cases {
        let request = request(&directory, BackupSelector::Automatic, target.clone());
        assert_eq!(chosen(&house, &request).await.unwrap(), handle_of(expected), "{target:?}");
    }
}

#[tokio::test]
async fn refuses_a_target_that_no_backup_reaches() {
    let (house, first, second) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    let before_stop = RecoveryTarget::Lsn(Lsn(first.sentinel.stop_lsn.0 - 1));
    for target in [RecoveryTarget::Time(at(9)), before_stop] {
        let error = chosen(&house, &request(&directory, BackupSelector::Automatic, target)).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
    }
    let named = BackupSelector::Named(second.sentinel.name.clone());
    for selector in [named, BackupSelector::Latest] {
        let error = chosen(&house, &request(&directory, selector, RecoveryTarget::Time(at(15)))).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
    }
    let future = request(&directory, BackupSelector::Latest, RecoveryTarget::Time(at(100_000)));
    assert!(matches!(chosen(&house, &future).await.unwrap_err(), FetchError::Future { .. }));
    assert!(!directory.path().join("new").exists(), "a refusal makes nothing");
}

#[tokio::test]
async fn a_restore_point_or_a_transaction_needs_the_name_of_a_backup_where_the_wal_cannot_be_read() {
    let (house, first, _) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    for target in [RecoveryTarget::Name("x".to_owned()), RecoveryTarget::Xid(700)] {
        let automatic = request(&directory, BackupSelector::Automatic, target.clone());
        assert!(matches!(chosen(&house, &automatic).await.unwrap_err(), FetchError::Ambiguous { backups: 2 }));
        let named = request(&directory, BackupSelector::Named(first.sentinel.name.clone()), target);
        assert_eq!(chosen(&house, &named).await.unwrap(), handle_of(&first));
    }
}

/// A copy of the cluster that was promoted and archives beside it must not make the original's newest data unreachable in silence.
#[tokio::test]
async fn a_newer_timeline_that_left_the_newest_backup_behind_is_followed_only_when_it_is_named() {
    let (house, first, second) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    let key = Key::parse("main/wal_005/00000002.history").unwrap();
    house.store.put(&key, Bytes::from_static(b"1\t0/F00000\tno recovery target\n")).await.unwrap();
    for selector in [BackupSelector::Automatic, BackupSelector::Latest] {
        let error = chosen(&house, &request(&directory, selector, RecoveryTarget::EndOfWal)).await.unwrap_err();
        assert!(matches!(error, FetchError::OtherTimeline { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--target-timeline current"));
    }
    let mut named = request(&directory, BackupSelector::Automatic, RecoveryTarget::EndOfWal);
    named.recovery.timeline = TargetTimeline::Current;
    assert_eq!(chosen(&house, &named).await.unwrap(), handle_of(&second));
    named.recovery.timeline = TargetTimeline::Number(TimelineId::new(2).unwrap());
    assert_eq!(chosen(&house, &named).await.unwrap(), handle_of(&first));
}

#[tokio::test]
async fn after_a_major_upgrade_the_old_cluster_is_restored_by_name_only() {
    let house = House::new().await;
    let old = house.backup_at(10, 10, Permanence::Ordinary).await;
    let key = Key::parse("main/wal_005/00000002.history").unwrap();
    house.store.put(&key, Bytes::from_static(b"1\t0/1400000\tfailover\n")).await.unwrap();
    house.server.change(|facts| facts.system_identifier.0 += 1);
    let new = house.backup_at(30, 30, Permanence::Ordinary).await;
    house.clock.advance(Duration::from_hours(2));
    let directory = tempfile::tempdir().unwrap();
    let mut request = request(&directory, BackupSelector::Automatic, RecoveryTarget::EndOfWal);
    assert!(matches!(chosen(&house, &request).await.unwrap_err(), FetchError::OtherTimeline { .. }));
    request.recovery.timeline = TargetTimeline::Current;
    assert_eq!(chosen(&house, &request).await.unwrap(), handle_of(&new));
    let before = RecoveryTarget::Time(at(15));
    request.recovery.target = before;
    assert!(chosen(&house, &request).await.is_err(), "the old cluster is not taken because the new one does not reach back");
    request.selector = BackupSelector::Named(old.sentinel.name.clone());
    assert_eq!(chosen(&house, &request).await.unwrap(), handle_of(&old));
}

#[tokio::test]
async fn refuses_to_restore_a_backup_whose_deletion_has_begun() {
    let (house, first, second) = two_backups().await;
    let _ = Catalog::new(&house.store, &house.layout).condemn(&second.sentinel.name, at(60)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let named = BackupSelector::Named(second.sentinel.name.clone());
    let error = chosen(&house, &request(&directory, named, RecoveryTarget::EndOfWal)).await.unwrap_err();
    assert!(matches!(error, FetchError::Condemned(_)), "{error}");
    let latest = request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal);
    assert_eq!(chosen(&house, &latest).await.unwrap(), handle_of(&first));
}

#[tokio::test]
async fn the_history_file_of_a_backup_is_not_taken_for_its_segment() {
    let (house, _, _) = two_backups().await;
    house.store.delete(&segment_key(20)).await.unwrap();
    let key = Key::parse("main/wal_005/000000010000000000000014.00000028.backup.zst").unwrap();
    house.store.put(&key, Bytes::from_static(b"x")).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let error = chosen(&house, &request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal)).await.unwrap_err();
    assert!(matches!(error, FetchError::WalMissing { .. }), "{error}");
}

#[tokio::test]
async fn refuses_to_restore_when_wal_is_missing() {
    let (house, _, second) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    // On the way from segment 20 to a position in segment 22.
    let far = request(&directory, BackupSelector::Latest, RecoveryTarget::Lsn(Lsn(22 << 20)));
    let error = chosen(&house, &far).await.unwrap_err();
    assert!(error.to_string().contains("000000010000000000000015"), "{error}");
    let key = Key::parse("main/wal_005/000000010000000000000014.zst").unwrap();
    house.store.delete(&key).await.unwrap();
    let error = chosen(&house, &request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal)).await.unwrap_err();
    let FetchError::WalMissing { name, missing } = error else { panic!("{error}") };
    assert_eq!((name, missing.to_string()), (second.sentinel.name, "`000000010000000000000014`".to_owned()));
}

#[tokio::test]
async fn refuses_destinations_that_hold_something_else() {
    let (house, _, _) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    let mut request = request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal);
    std::fs::create_dir(directory.path().join("new")).unwrap();
    std::fs::write(directory.path().join("new/important"), b"do not touch").unwrap();
    let error = chosen(&house, &request).await.unwrap_err();
    assert!(matches!(&error, FetchError::Foreign { example, .. } if example == "important"), "{error}");
    assert!(directory.path().join("new/important").exists());
    request.destination = PathBuf::from("relative");
    assert!(matches!(chosen(&house, &request).await.unwrap_err(), FetchError::RelativeDestination(_)));
    request.destination = directory.path().join("roots/backup/data");
    request.snapshot_roots = vec![directory.path().join("roots")];
    assert!(matches!(chosen(&house, &request).await.unwrap_err(), FetchError::InsideSnapshots { .. }));
}

#[tokio::test]
async fn refuses_a_set_that_is_not_isolated() {
    let house = House::new().await;
    house.provider().share_with_source();
    let push = PushRequest { isolation: Isolation::NotRequired, ..house.request(1) };
    house.push(&push).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let error = chosen(&house, &request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal)).await.unwrap_err();
    assert!(matches!(error, FetchError::NotIsolated(_)), "{error}");
}

#[tokio::test]
async fn a_failed_restore_removes_the_directories_that_it_made() {
    use stillframe_core::testing::{ProviderFailure, When};
    let (house, _, _) = two_backups().await;
    let directory = tempfile::tempdir().unwrap();
    let request = request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal);
    house.provider().fail_next(ProviderCall::Restore, ProviderFailure::Error(When::Before));
    let error = snapshot_fetch(&house.ports(&house.store), &request, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, FetchError::Provider(ref error) if matches!(error.fault, ProviderFault::Transient(_))), "{error}");
    assert!(!request.destination.exists());
}

#[tokio::test]
async fn a_base_backup_of_walg_is_refused_and_the_hint_says_who_restores_it() {
    let (house, _, second) = two_backups().await;
    let name = crate::walg::walg_backup(&house, 30, 30, false).await;
    let directory = tempfile::tempdir().unwrap();
    let named = request(&directory, BackupSelector::WalG(name.parse().unwrap()), RecoveryTarget::EndOfWal);
    let error = chosen(&house, &named).await.unwrap_err();
    assert!(matches!(error, FetchError::OfWalG(_)) && error.class() == stillframe_core::error::ErrorClass::Refused);
    assert!(error.hint().unwrap().contains(&format!("wal-g backup-fetch DIRECTORY {name}")));
    let latest = request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal);
    assert_eq!(chosen(&house, &latest).await.unwrap(), handle_of(&second), "WAL-G's is newer, and not ours");
}
