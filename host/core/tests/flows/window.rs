//! `window`, `can-restore` and what `snapshot-fetch` refuses by the same calculation, on WAL that holds real records.

use jiff::Timestamp;
use stillframe_core::catalog::{ArchiveSettings, Backup, Catalog, Permanence, WalArchive};
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::error::Classify;
use stillframe_core::flows::{
    BackupSelector, CanRestoreReport, CanRestoreRequest, FetchError, FetchRequest, MissingWal, Ports, RestoreAnswer, WindowTimes,
    can_restore, window,
};
use stillframe_core::postgres::{Lsn, TimelineId, WalSegmentSize};
use stillframe_core::store::Store;
use stillframe_core::testing::WalWriter;
use stillframe_core::window::IntervalEnd;

use crate::house::{House, handle_of, segment, segment_key, start_of_time};
use crate::snapshot_fetch::{chosen, request};

fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_second(start_of_time().as_second() + minutes * 60).unwrap()
}

async fn put(house: &House, archiving: &ArchiveSettings, number: u32, content: Vec<u8>) {
    house.store.delete(&segment_key(number)).await.unwrap();
    WalArchive::new(&house.store, &house.layout, archiving).push(segment(number), content).await.unwrap();
}

/// A segment with one commit, at the minute of its number, and restore points of these names.
fn content(number: u32, names: &[&str]) -> Vec<u8> {
    let mut writer = WalWriter::new(number.into(), House::cluster(), WalSegmentSize::SMALLEST);
    writer.commit(700 + number, minute(number.into()));
    for name in names {
        writer.restore_point(name, minute(number.into()));
    }
    writer.switch();
    writer.segments().remove(0)
}

/// Backups at 10 and 20, and WAL from there to 25 with a commit a minute.
async fn house() -> (House, Backup, Backup) {
    let house = House::new().await;
    let first = house.backup_at(10, 10, Permanence::Ordinary).await;
    let second = house.backup_at(20, 20, Permanence::Ordinary).await;
    for number in 10..=25 {
        let names: &[&str] = match number {
            13 => &["early", "twice"],
            16 => &["twice"],
            23 => &["late"],
            _ => &[],
        };
        put(&house, &ArchiveSettings::default(), number, content(number, names)).await;
    }
    house.clock.advance(std::time::Duration::from_hours(2));
    (house, first, second)
}

fn question(target: RecoveryTarget) -> CanRestoreRequest {
    CanRestoreRequest {
        target,
        inclusion: Inclusion::Inclusive,
        timeline: TargetTimeline::Latest,
        selector: BackupSelector::Automatic,
        scan: 1_000,
    }
}

async fn ask(house: &House, request: &CanRestoreRequest) -> CanRestoreReport {
    can_restore(&house.ports(&house.store), request).await.unwrap()
}

async fn answer(house: &House, target: RecoveryTarget) -> CanRestoreReport {
    ask(house, &question(target)).await
}

fn named(name: &str) -> RecoveryTarget {
    RecoveryTarget::Name(name.to_owned())
}

fn from(report: &CanRestoreReport) -> Option<&str> {
    report.route.as_ref().map(|route| route.backup.as_str())
}

#[tokio::test]
async fn an_interval_ends_in_time_with_the_last_transaction_in_its_wal() {
    let (house, first, second) = house().await;
    house.store.delete(&segment_key(18)).await.unwrap();
    let report = window(&house.ports(&house.store), None, WindowTimes::Read).await.unwrap();
    let [one, two] = &report.window.intervals[..] else { panic!("{:?}", report.window) };
    assert_eq!((&one.backup, one.to.lsn, one.to.time), (&first.sentinel.name, Lsn(18 << 20), Some(minute(17))));
    assert!(matches!(&one.ends_because, IntervalEnd::Missing(missing) if (missing[0].first, missing[0].last) == (18, 18)));
    assert_eq!(
        (&two.backup, two.from.time, two.to.time),
        (&second.sentinel.name, Some(second.sentinel.finished_at), Some(minute(25)))
    );
    let without = window(&house.ports(&house.store), None, WindowTimes::LeftOut).await.unwrap();
    assert_eq!(without.window.intervals[1].to.time, None);
}

#[tokio::test]
async fn a_moment_is_reached_exactly_while_a_later_transaction_is_in_the_wal() {
    let (house, first, second) = house().await;
    let reached = answer(&house, RecoveryTarget::Time(minute(24))).await;
    assert_eq!((&reached.answer, from(&reached)), (&RestoreAnswer::Yes, Some(second.sentinel.name.as_str())));
    assert_eq!(reached.replay_segments, 6);
    assert!(reached.replay_stored_bytes > 0);
    // The last transaction ended then: replay looks for a later one.
    let at_end = answer(&house, RecoveryTarget::Time(minute(25))).await;
    assert!(matches!(&at_end.answer, RestoreAnswer::No(why) if why.contains(&minute(25).to_string())), "{:?}", at_end.answer);
    let before_it = CanRestoreRequest { inclusion: Inclusion::Exclusive, ..question(RecoveryTarget::Time(minute(25))) };
    assert_eq!(ask(&house, &before_it).await.answer, RestoreAnswer::Yes);
    house.store.delete(&segment_key(18)).await.unwrap();
    let before = answer(&house, RecoveryTarget::Time(minute(16))).await;
    assert_eq!((&before.answer, from(&before)), (&RestoreAnswer::Yes, Some(first.sentinel.name.as_str())));
    let behind = answer(&house, RecoveryTarget::Time(minute(18))).await;
    assert!(matches!(behind.answer, RestoreAnswer::No(_)));
    assert_eq!((behind.missing[0].first, behind.missing[0].last), (18, 18));
}

#[tokio::test]
async fn a_position_is_reached_exactly_while_a_record_begins_there_or_later() {
    let (house, _, _) = house().await;
    for (position, expected) in [((24 << 20) + 100, true), (25 << 20, true), ((25 << 20) + 0x8_0000, false), (26 << 20, false)] {
        let report = answer(&house, RecoveryTarget::Lsn(Lsn(position))).await;
        assert_eq!(report.answer == RestoreAnswer::Yes, expected, "{position:x} {:?}", report.answer);
    }
}

#[tokio::test]
async fn a_restore_point_is_found_in_the_wal_and_the_newest_backup_before_it_is_named() {
    let (house, first, second) = house().await;
    for (name, backup, number) in [("late", &second, 23), ("early", &first, 13)] {
        let report = answer(&house, named(name)).await;
        assert_eq!((&report.answer, from(&report)), (&RestoreAnswer::Yes, Some(backup.sentinel.name.as_str())), "{name}");
        assert_eq!(report.found.unwrap().begin.0 >> 20, number);
    }
    // Replay from the first backup stops at the first of the two.
    let twice = answer(&house, named("twice")).await;
    assert_eq!(twice.found.unwrap().begin.0 >> 20, 13);
    assert!(matches!(answer(&house, named("never")).await.answer, RestoreAnswer::No(_)));
    let transaction = answer(&house, RecoveryTarget::Xid(722)).await;
    assert_eq!((transaction.answer, transaction.found.unwrap().begin.0 >> 20), (RestoreAnswer::Yes, 22));
    let from_the_second =
        CanRestoreRequest { selector: BackupSelector::Named(second.sentinel.name.clone()), ..question(named("early")) };
    assert!(matches!(ask(&house, &from_the_second).await.answer, RestoreAnswer::No(_)));
}

#[tokio::test]
async fn a_restore_to_a_restore_point_or_a_transaction_takes_the_newest_backup_before_it() {
    let (house, first, second) = house().await;
    let directory = tempfile::tempdir().unwrap();
    for (target, backup) in [
        (named("late"), &second),
        (named("early"), &first),
        (named("twice"), &first),
        (RecoveryTarget::Xid(722), &second),
        (RecoveryTarget::Xid(715), &first),
    ] {
        let fetch = request(&directory, BackupSelector::Automatic, target.clone());
        assert_eq!(chosen(&house, &fetch).await.unwrap(), handle_of(backup), "{target:?}");
    }
}

#[tokio::test]
async fn a_restore_to_a_restore_point_from_a_backup_behind_it_or_to_one_that_is_nowhere_is_refused_before_anything_is_made() {
    let (house, first, second) = house().await;
    let directory = tempfile::tempdir().unwrap();
    let name = second.sentinel.name.clone();
    for selector in [BackupSelector::Latest, BackupSelector::Named(name.clone())] {
        let error = chosen(&house, &request(&directory, selector, named("early"))).await.unwrap_err();
        assert!(matches!(&error, FetchError::NotInWal { name: Some(found), .. } if *found == name), "{error}");
        assert!(error.hint().unwrap().contains("leave the name out"));
    }
    let nowhere = chosen(&house, &request(&directory, BackupSelector::Automatic, named("never"))).await.unwrap_err();
    assert!(matches!(&nowhere, FetchError::NotInWal { name: None, .. }), "{nowhere}");
    assert!(nowhere.hint().unwrap().contains("00000001000000000000001A"), "{:?}", nowhere.hint());
    // The operator has the WAL that holds it.
    let accepted = FetchRequest {
        missing_wal: MissingWal::Accepted,
        ..request(&directory, BackupSelector::Named(first.sentinel.name.clone()), named("never"))
    };
    assert_eq!(chosen(&house, &accepted).await.unwrap(), handle_of(&first));
    // So little is read that nothing is known: who names a backup gets it.
    let short = FetchRequest { scan: 2, ..request(&directory, BackupSelector::Latest, named("early")) };
    assert_eq!(chosen(&house, &short).await.unwrap(), handle_of(&second));
    let short = FetchRequest { scan: 2, ..request(&directory, BackupSelector::Automatic, named("early")) };
    assert!(matches!(chosen(&house, &short).await.unwrap_err(), FetchError::Ambiguous { backups: 2 }));
}

#[tokio::test]
async fn wal_of_another_place_is_not_taken_for_that_of_its_name() {
    let (house, ..) = house().await;
    // As another tool may have written it, without a digest.
    let foreign = zstd::bulk::compress(&content(40, &["elsewhere"]), 1).unwrap();
    house.store.put(&segment_key(25), foreign.into()).await.unwrap();
    let told = can_restore(&house.ports(&house.store), &question(named("elsewhere"))).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn a_search_that_met_its_limit_proves_nothing() {
    let (house, _, _) = house().await;
    let short = CanRestoreRequest { scan: 3, ..question(named("early")) };
    assert!(matches!(ask(&house, &short).await.answer, RestoreAnswer::NotProven(_)));
}

#[tokio::test]
async fn without_the_private_key_names_and_positions_tell_and_the_rest_is_not_proven() {
    let (house, _, second) = house().await;
    let recipient = age::x25519::Identity::generate().to_public().to_string().parse().unwrap();
    let encrypting = ArchiveSettings { recipients: vec![recipient], ..ArchiveSettings::default() };
    put(&house, &encrypting, 25, content(25, &[])).await;
    let ports = Ports { archiving: &encrypting, ..house.ports(&house.store) };
    for target in [RecoveryTarget::Time(minute(24)), named("late"), RecoveryTarget::Lsn(Lsn((25 << 20) + 50))] {
        let report = can_restore(&ports, &question(target.clone())).await.unwrap();
        assert!(matches!(report.answer, RestoreAnswer::NotProven(_)), "{target:?} {:?}", report.answer);
    }
    let report = can_restore(&ports, &question(RecoveryTarget::Lsn(Lsn(24 << 20)))).await.unwrap();
    assert_eq!(report.answer, RestoreAnswer::Yes);
    let report = window(&ports, None, WindowTimes::Read).await.unwrap();
    assert_eq!(report.window.intervals[0].to.time, None);
    // What cannot be found out keeps nobody from restoring.
    let directory = tempfile::tempdir().unwrap();
    let fetch = request(&directory, BackupSelector::Automatic, RecoveryTarget::Time(minute(24)));
    assert_eq!(chosen(&house, &fetch).await.unwrap(), handle_of(&second));
}

#[tokio::test]
async fn a_restore_to_behind_a_gap_is_refused_before_anything_is_made_unless_the_operator_knows_better() {
    let (house, first, _) = house().await;
    house.store.delete(&segment_key(18)).await.unwrap();
    for target in [RecoveryTarget::Time(minute(18)), RecoveryTarget::Lsn(Lsn((19 << 20) + 50))] {
        let directory = tempfile::tempdir().unwrap();
        let mut fetch = request(&directory, BackupSelector::Automatic, target.clone());
        let error = chosen(&house, &fetch).await.unwrap_err();
        assert!(matches!(error, FetchError::WalMissing { .. } | FetchError::EndsBefore { .. }), "{error}");
        let hint = stillframe_core::error::Classify::hint(&error).unwrap();
        assert!(hint.contains("--allow-missing-wal"), "{hint}");
        assert!(format!("{error} {hint}").contains("000000010000000000000012"), "{error}");
        assert!(!directory.path().join("new").exists());
        fetch.missing_wal = MissingWal::Accepted;
        assert_eq!(chosen(&house, &fetch).await.unwrap(), handle_of(&first), "{target:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let fetch = request(&directory, BackupSelector::Automatic, RecoveryTarget::Time(minute(25)));
    let error = chosen(&house, &fetch).await.unwrap_err();
    assert!(matches!(&error, FetchError::EndsBefore { reason, .. } if reason.contains("archive ends")), "{error}");
}

/// A restore to this target along this timeline is refused, and nobody has noticed that it was asked for.
async fn refused(house: &House, selector: &BackupSelector, target: RecoveryTarget, timeline: TargetTimeline) -> FetchError {
    let directory = tempfile::tempdir().unwrap();
    let mut fetch = request(&directory, selector.clone(), target.clone());
    fetch.recovery.timeline = timeline;
    let before = (house.store.snapshot(), house.provider().calls());
    let error = chosen(house, &fetch).await.unwrap_err();
    assert_eq!((house.store.snapshot(), house.provider().calls()), before, "{target:?}: {error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{target:?}: {error}");
    error
}

#[tokio::test]
async fn every_kind_of_target_is_judged_before_a_provider_is_asked_or_anything_is_made() {
    let (house, _, second) = house().await;
    // Timeline 2 left before the second backup began.
    house.put_wal("00000002.history", "1\t0/1200000\tno recovery target\n").await;
    let number = |number| TargetTimeline::Number(TimelineId::new(number).unwrap());
    let (automatic, second) = (BackupSelector::Automatic, BackupSelector::Named(second.sentinel.name));
    let error = refused(&house, &automatic, RecoveryTarget::Time(minute(25)), TargetTimeline::Current).await;
    assert!(matches!(error, FetchError::EndsBefore { .. }), "{error}");
    let error = refused(&house, &automatic, RecoveryTarget::Lsn(Lsn((26 << 20) + 50)), TargetTimeline::Current).await;
    assert!(matches!(error, FetchError::WalMissing { .. }), "{error}");
    let targets = [RecoveryTarget::Xid(700), named("late"), RecoveryTarget::Immediate, RecoveryTarget::EndOfWal];
    for target in targets.clone() {
        for timeline in [TargetTimeline::Latest, number(2)] {
            let error = refused(&house, &second, target.clone(), timeline).await;
            assert!(matches!(error, FetchError::OtherTimeline { .. }), "{target:?}: {error}");
        }
        let error = refused(&house, &second, target.clone(), number(3)).await;
        assert!(matches!(error, FetchError::NoSuchTimeline(_)), "{target:?}: {error}");
    }
    house.store.delete(&segment_key(20)).await.unwrap();
    for target in targets {
        let error = refused(&house, &second, target.clone(), TargetTimeline::Current).await;
        assert!(matches!(error, FetchError::WalMissing { .. }), "{target:?}: {error}");
    }
}

#[tokio::test]
async fn a_backup_that_stands_alone_is_restored_to_its_own_end_only() {
    let (house, first, second) = house().await;
    let catalog = Catalog::new(&house.store, &house.layout);
    catalog.make_standalone(&first.sentinel.name, minute(60)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let named = BackupSelector::Named(first.sentinel.name.clone());
    let error = chosen(&house, &request(&directory, named.clone(), RecoveryTarget::EndOfWal)).await.unwrap_err();
    assert!(matches!(error, FetchError::Standalone(_)), "{error}");
    let immediate = request(&directory, named, RecoveryTarget::Immediate);
    assert_eq!(chosen(&house, &immediate).await.unwrap(), handle_of(&first));
    let report = answer(&house, RecoveryTarget::Time(minute(15))).await;
    assert!(matches!(report.answer, RestoreAnswer::No(_)));
    let shown = window(&house.ports(&house.store), None, WindowTimes::Read).await.unwrap().window;
    assert_eq!(shown.intervals[0].ends_because, IntervalEnd::Standalone);
    assert_eq!(shown.intervals[1].backup, second.sentinel.name);
}

#[tokio::test]
async fn a_no_is_no_proof_while_a_record_of_a_backup_cannot_be_read() {
    let (house, first, _) = house().await;
    let key = Catalog::new(&house.store, &house.layout).sentinel_key(&first.sentinel.name);
    house.store.put(&key, bytes::Bytes::from_static(b"damaged")).await.unwrap();
    let report = answer(&house, RecoveryTarget::Time(minute(15))).await;
    assert!(matches!(report.answer, RestoreAnswer::NotProven(_)), "{:?}", report.answer);
    assert_eq!(report.unreadable.len(), 1);
}
