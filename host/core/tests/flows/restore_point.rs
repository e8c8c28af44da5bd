//! Increments on fakes: what is recorded, what is refused, and what two at once may not break.

use std::time::Duration;

use jiff::Timestamp;
use stillframe_core::catalog::{Backup, BackupName, Increment, Increments, LeaseRequest, Permanence, RestorePointName, WalArchive};
use stillframe_core::clock::Clock;
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::flows::{
    BackupSelector, CanRestoreRequest, Depth, FetchError, IncrementError, Ports, RestoreAnswer, RestorePointError,
    RestorePointRequest, VerifyRequest, WindowTimes, apply_delete, can_restore, create_restore_point, delete_restore_point,
    plan_delete, wal_verify, window,
};
use stillframe_core::postgres::{Lsn, WalSegmentSize};
use stillframe_core::retention::{Cutoff, Leftover, Reason, RetentionRule};
use stillframe_core::store::Store;
use stillframe_core::testing::WalWriter;
use stillframe_core::window::IntervalEnd;

use crate::hooked_store::{Operation, hooked, hooked_at};
use crate::house::{House, lease_request, segment, segment_key, start_of_time};
use crate::snapshot_fetch::{chosen, request as fetch_request};

fn name(text: &str) -> RestorePointName {
    text.parse().unwrap()
}

fn request(text: &str) -> RestorePointRequest {
    RestorePointRequest { name: name(text), parent: None, deadline: Duration::from_mins(10), lease: lease() }
}

fn lease() -> LeaseRequest {
    lease_request("restore-point")
}

/// Lets the server write up to here, and archive it.
async fn write_to(house: &House, number: u32) {
    let last = u32::try_from(house.server.facts().wal_position.0 >> 20).unwrap();
    house.archive(&((last + 1)..=number).collect::<Vec<_>>()).await;
    house.server.change(|facts| facts.wal_position = Lsn((u64::from(number) << 20) + 0x800));
}

async fn make(house: &House, text: &str) -> Result<Increment, RestorePointError> {
    create_restore_point(&house.ports(&house.store), house.server.connect(), None, &request(text)).await
}

async fn all(house: &House) -> Vec<String> {
    let (found, unreadable) = Increments::new(&house.store, &house.layout).all().await.unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    found.into_iter().map(|increment| increment.name.to_string()).collect()
}

/// A backup at 10, and a server that has gone on to 13.
async fn house(permanence: Permanence) -> (House, Backup) {
    let house = House::new().await;
    let parent = house.backup_at(10, 10, permanence).await;
    write_to(&house, 13).await;
    house.clock.advance(Duration::from_hours(1));
    (house, parent)
}

#[tokio::test]
async fn an_increment_goes_from_the_end_of_the_one_before_it_or_of_its_parent_to_the_point() {
    let (house, parent) = house(Permanence::Ordinary).await;
    let first = make(&house, "first").await.unwrap();
    write_to(&house, 15).await;
    let second = make(&house, "second").await.unwrap();
    assert_eq!((first.from, first.to, first.segments), (parent.sentinel.stop_lsn, Lsn((13 << 20) + 0x800), 4));
    assert_eq!((second.from, second.to, second.segments), (first.to, Lsn((15 << 20) + 0x800), 3), "13 holds a part of both");
    assert_eq!(second.replay.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>(), [(10, 15)]);
    let sizes = house.store.snapshot();
    let stored: u64 = (13..=15).map(|number| sizes[&segment_key(number)].len() as u64).sum();
    assert_eq!((second.size_bytes, &second.parent), (stored, &parent.sentinel.name));
    // A younger backup is the parent of what follows it.
    let younger = house.backup_at(20, 20, Permanence::Ordinary).await;
    write_to(&house, 21).await;
    assert_eq!(make(&house, "third").await.unwrap().parent, younger.sentinel.name);
    let contents = house.contents().await;
    let counts: Vec<usize> = contents.backups.iter().map(|backup| backup.increments.len()).collect();
    assert_eq!(counts, [2, 1]);
}

#[tokio::test]
async fn an_increment_is_not_recorded_when_its_wal_is_missing_or_the_archive_is_too_slow() {
    let (house, _) = house(Permanence::Ordinary).await;
    house.store.delete(&segment_key(12)).await.unwrap();
    let error = make(&house, "gap").await.unwrap_err();
    assert!(
        matches!(&error, RestorePointError::Unreachable { missing, .. } if missing.contains("00000001000000000000000C")),
        "{error}"
    );
    house.archive(&[12]).await;
    house.store.delete(&segment_key(13)).await.unwrap();
    let error = make(&house, "slow").await.unwrap_err();
    assert!(matches!(error, RestorePointError::Wait(_)), "{error}");
    house.archive(&[13]).await;
    house.server.fail_archiving("000000010000000000000009");
    let error = make(&house, "failing").await.unwrap_err();
    assert!(matches!(error, RestorePointError::Wait(_)), "the segments there are another server's: {error}");
    assert_eq!(all(&house).await, Vec::<String>::new());
}

#[tokio::test]
async fn wal_that_goes_behind_a_permanent_parent_before_the_record_is_there_is_noticed() {
    let (house, _) = house(Permanence::Permanent).await;
    // Just before the lease is taken: when it is held, nobody deletes.
    let store = hooked(&house.store, Operation::PutIfAbsent, "00000000000000000002.json", async {
        house.store.delete(&segment_key(11)).await.unwrap();
    });
    let made = create_restore_point(&house.ports(&store), house.server.connect(), None, &request("late")).await;
    assert!(matches!(made, Err(RestorePointError::Unreachable { .. })), "{made:?}");
    assert_eq!(all(&house).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_parent_that_goes_while_the_point_is_written_gets_no_increment() {
    let (house, parent) = house(Permanence::Ordinary).await;
    let store = hooked(&house.store, Operation::PutIfAbsent, "00000000000000000002.json", async {
        house.delete(&RetentionRule::Target(parent.sentinel.name.clone())).await.unwrap();
    });
    let made = create_restore_point(&house.ports(&store), house.server.connect(), None, &request("late")).await;
    assert!(made.is_err(), "{made:?}");
    assert_eq!(all(&house).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_two_with_one_name_one_is_recorded_and_the_other_is_told() {
    let (house, _) = house(Permanence::Ordinary).await;
    let store = hooked(&house.store, Operation::PutIfAbsent, "restore_points_001/same.json", async {
        let other = Increments::new(&house.store, &house.layout);
        let (house, _) = self::house(Permanence::Ordinary).await;
        let increment = make(&house, "same").await.unwrap();
        let _created = other.add(&increment).await.unwrap();
    });
    let made = create_restore_point(&house.ports(&store), house.server.connect(), None, &request("same")).await;
    assert!(matches!(made, Err(RestorePointError::NameTaken(_))), "{made:?}");
    assert_eq!(all(&house).await, ["same"]);
    assert!(matches!(make(&house, "same").await, Err(RestorePointError::NameTaken(_))));
}

#[tokio::test]
async fn a_standby_is_refused_unless_its_own_primary_is_known() {
    let (house, _) = house(Permanence::Ordinary).await;
    let standby = stillframe_core::testing::FakeServer::new(start_of_time());
    standby.change(|facts| facts.in_recovery = true);
    let ports = house.ports(&house.store);
    let alone = create_restore_point(&ports, standby.connect(), None, &request("there")).await;
    assert!(matches!(alone, Err(RestorePointError::Standby)), "{alone:?}");
    let cascade = create_restore_point(&ports, standby.connect(), Some(standby.connect()), &request("there")).await;
    assert!(matches!(cascade, Err(RestorePointError::Standby)), "{cascade:?}");
    create_restore_point(&ports, standby.connect(), Some(house.server.connect()), &request("there")).await.unwrap();
    assert_eq!(all(&house).await, ["there"]);
}

#[tokio::test]
async fn a_parent_that_cannot_be_restored_or_is_of_another_cluster_is_refused_and_passed_over() {
    let (house, first) = house(Permanence::Ordinary).await;
    let second = house.backup_at(20, 20, Permanence::Ordinary).await;
    write_to(&house, 21).await;
    house.store.delete(&segment_key(20)).await.unwrap();
    let named = |name: &BackupName| RestorePointRequest { parent: Some(name.clone()), ..request("x") };
    let ports = house.ports(&house.store);
    let refused = create_restore_point(&ports, house.server.connect(), None, &named(&second.sentinel.name)).await;
    assert!(matches!(refused, Err(RestorePointError::Unreachable { .. })), "{refused:?}");
    // The first one lacks what lies between as well.
    assert!(matches!(make(&house, "x").await, Err(RestorePointError::Unreachable { .. })));
    house.archive(&[14, 15, 16, 17, 18, 19, 20]).await;
    house.server.change(|facts| facts.wal_position = first.sentinel.start_lsn);
    let behind = create_restore_point(&ports, house.server.connect(), None, &named(&second.sentinel.name)).await;
    assert!(matches!(behind, Err(RestorePointError::ServerIsBehind { .. })), "{behind:?}");
    house.server.change(|facts| facts.system_identifier.0 += 1);
    let other = create_restore_point(&ports, house.server.connect(), None, &named(&first.sentinel.name)).await;
    assert!(matches!(other, Err(RestorePointError::OtherCluster { .. })), "{other:?}");
    assert!(matches!(make(&house, "x").await, Err(RestorePointError::NoParent { .. })));
    assert_eq!(all(&house).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_an_increment_needs_survives_every_rule_as_long_as_its_parent_does() {
    let (house, parent) = house(Permanence::Permanent).await;
    make(&house, "kept").await.unwrap();
    write_to(&house, 16).await;
    let report = house.delete(&RetentionRule::Everything).await.unwrap();
    let gone: Vec<String> = report.wal.iter().map(ToString::to_string).collect();
    assert_eq!(
        gone,
        ["000000010000000000000003", "00000001000000000000000E", "00000001000000000000000F", "000000010000000000000010"]
    );
    assert_eq!(house.contents().await.backups[0].sentinel.name, parent.sentinel.name);
    let verified = wal_verify(&house.ports(&house.store), &VerifyRequest::default(), None, &|_| ()).await.unwrap();
    assert!(verified.verdict().is_ok(), "{verified:?}");
    house.store.delete(&segment_key(12)).await.unwrap();
    for depth in [Depth::Names, Depth::Contents { workers: 1 }] {
        let request = VerifyRequest { depth, ..VerifyRequest::default() };
        let alarmed = wal_verify(&house.ports(&house.store), &request, None, &|_| ()).await.unwrap();
        assert_eq!((alarmed.missing_count(), alarmed.increments[0].missing.len()), (1, 1));
        assert!(alarmed.verdict().is_err());
    }
}

#[tokio::test]
async fn a_parent_that_stands_alone_is_recovered_as_far_as_its_increments_and_no_further() {
    let (house, parent) = house(Permanence::Ordinary).await;
    let increment = make(&house, "kept").await.unwrap();
    write_to(&house, 15).await;
    house.backup_at(20, 20, Permanence::Ordinary).await;
    let contents = stillframe_core::catalog::Catalog::new(&house.store, &house.layout);
    contents.make_standalone(&parent.sentinel.name, house.clock.now()).await.unwrap();
    let ports = house.ports(&house.store);
    let report = window(&ports, None, WindowTimes::LeftOut).await.unwrap();
    let first = &report.window.intervals[0];
    assert_eq!(
        (first.from.lsn, first.to.lsn, &first.ends_because),
        (parent.sentinel.stop_lsn, increment.to, &IntervalEnd::Standalone)
    );
    for (position, is_reached) in [(increment.to.0 - 1, true), (increment.to.0 + 1, false)] {
        let question = CanRestoreRequest {
            target: RecoveryTarget::Lsn(Lsn(position)),
            inclusion: Inclusion::Inclusive,
            timeline: TargetTimeline::Latest,
            selector: BackupSelector::Named(parent.sentinel.name.clone()),
            scan: 10,
        };
        let report = can_restore(&ports, &question).await.unwrap();
        assert_eq!(!matches!(report.answer, RestoreAnswer::No(_)), is_reached, "{position:x}: {:?}", report.answer);
    }
    // Nobody begins another one behind what was given up.
    let named = RestorePointRequest { parent: Some(parent.sentinel.name), ..request("further") };
    let refused = create_restore_point(&ports, house.server.connect(), None, &named).await;
    assert!(matches!(refused, Err(RestorePointError::Standalone(_))), "{refused:?}");
}

#[tokio::test]
async fn an_increment_that_nobody_was_shown_keeps_its_parent() {
    let (house, parent) = house(Permanence::Ordinary).await;
    make(&house, "shown").await.unwrap();
    house.backup_at(20, 20, Permanence::Ordinary).await;
    let rule = RetentionRule::Target(parent.sentinel.name.clone());
    let ports = house.ports(&house.store);
    let plan = plan_delete(&ports, &rule).await.unwrap();
    assert_eq!(plan.removed_increments().map(|increment| increment.name.to_string()).collect::<Vec<_>>(), ["shown"]);
    let seen = plan.fingerprint();
    house.server.change(|facts| facts.wal_position = Lsn((20 << 20) + 0x900));
    let late = RestorePointRequest { parent: Some(parent.sentinel.name.clone()), ..request("late") };
    house.archive(&[14, 15, 16, 17, 18, 19]).await;
    create_restore_point(&ports, house.server.connect(), None, &late).await.unwrap();
    let report = apply_delete(&ports, &rule, &plan, &lease_request("delete")).await;
    assert_eq!((report.spared.len(), report.backups.len()), (1, 0), "{report:?}");
    assert_eq!(all(&house).await, ["shown", "late"]);
    let again = plan_delete(&ports, &rule).await.unwrap();
    assert_ne!(again.fingerprint(), seen, "another plan has another name");
    assert!(!again.takes_the_same(&plan));
    let report = house.delete(&rule).await.unwrap();
    assert_eq!((report.increments.len(), report.backups.len()), (2, 1));
    assert_eq!(all(&house).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_rule_that_keeps_the_parent_keeps_its_increments_and_one_that_does_not_says_so() {
    let (house, parent) = house(Permanence::Ordinary).await;
    make(&house, "x").await.unwrap();
    let younger = house.backup_at(20, 20, Permanence::Ordinary).await;
    let ports = house.ports(&house.store);
    let rules = [
        (RetentionRule::Retain { count: 2, after: None }, true),
        (RetentionRule::Garbage, true),
        (RetentionRule::Retain { count: 1, after: None }, false),
        (RetentionRule::Before(Cutoff::Backup(younger.sentinel.name.clone())), false),
        (RetentionRule::Everything, false),
    ];
    for (rule, stays) in rules {
        let plan = plan_delete(&ports, &rule).await.unwrap();
        let decision = plan.backups.iter().find(|decision| decision.backup.sentinel.name == parent.sentinel.name).unwrap();
        assert_eq!(matches!(decision.reason, Reason::Keep(_)), stays, "{rule:?}");
        assert_eq!(plan.removed_increments().count(), usize::from(!stays), "{rule:?}");
    }
}

#[tokio::test]
async fn an_increment_whose_parent_is_gone_is_never_restored_and_goes_with_the_garbage() {
    let (house, parent) = house(Permanence::Ordinary).await;
    let increment = make(&house, "stray").await.unwrap();
    house.delete(&RetentionRule::Target(parent.sentinel.name.clone())).await.unwrap();
    let _created = Increments::new(&house.store, &house.layout).add(&increment).await.unwrap();
    house.backup_at(20, 20, Permanence::Ordinary).await;
    let directory = tempfile::tempdir().unwrap();
    let wanted = fetch_request(&directory, BackupSelector::Increment(name("stray")), RecoveryTarget::EndOfWal);
    let error = chosen(&house, &wanted).await.unwrap_err();
    assert!(matches!(error, FetchError::Increment(IncrementError::Stray { .. })), "{error}");
    assert!(matches!(make(&house, "stray").await, Err(RestorePointError::NameTaken(_))));
    let ports = house.ports(&house.store);
    let plan = plan_delete(&ports, &RetentionRule::Retain { count: 1, after: None }).await.unwrap();
    assert!(plan.leftovers.is_empty() && plan.bystanders.iter().any(|other| other.name() == "stray"), "{plan:?}");
    let plan = plan_delete(&ports, &RetentionRule::Garbage).await.unwrap();
    assert_eq!(plan.leftovers, [Leftover::Increment(increment)]);
    let report = house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!((report.increments, all(&house).await), (vec![name("stray")], Vec::new()));
}

#[tokio::test]
async fn a_lease_that_is_lost_at_the_write_takes_the_record_back() {
    let (house, _) = house(Permanence::Ordinary).await;
    // The second proof is the one behind the record.
    let store = hooked_at(&house.store, Operation::PutIfAbsent, 1, "restore_points_001/lost.json", async {
        house.clock.advance(Duration::from_hours(2));
    });
    let made = create_restore_point(&house.ports(&store), house.server.connect(), None, &request("lost")).await;
    assert!(matches!(made, Err(RestorePointError::Lease(_))), "{made:?}");
    assert_eq!(all(&house).await, Vec::<String>::new());
}

/// The house, with WAL in which points stand at known places: one name twice, the catalogued one the second.
async fn with_records() -> (House, Backup, Increment, Lsn) {
    let (house, parent) = house(Permanence::Ordinary).await;
    let at: Timestamp = start_of_time();
    let mut writer = WalWriter::new(13, House::cluster(), WalSegmentSize::SMALLEST);
    writer.commit(1, at);
    writer.restore_point("twice", at);
    writer.commit(2, at);
    let begin = writer.restore_point("twice", at);
    let end = writer.commit(3, at);
    writer.switch();
    house.store.delete(&segment_key(13)).await.unwrap();
    let archive = WalArchive::new(&house.store, &house.layout, &house.archiving);
    archive.push(segment(13), writer.segments().remove(0)).await.unwrap();
    house.server.change(|facts| facts.wal_position = end);
    let increment = make(&house, "twice").await.unwrap();
    (house, parent, increment, begin)
}

#[tokio::test]
async fn a_restore_stops_at_the_record_that_the_catalog_means_and_not_at_the_first_of_that_name() {
    let (house, parent, increment, begin) = with_records().await;
    assert!(begin < increment.to);
    let directory = tempfile::tempdir().unwrap();
    let wanted = fetch_request(&directory, BackupSelector::Increment(name("twice")), RecoveryTarget::EndOfWal);
    assert_eq!(chosen(&house, &wanted).await.unwrap(), crate::house::handle_of(&parent));
    let question = |selector| CanRestoreRequest {
        target: RecoveryTarget::EndOfWal,
        inclusion: Inclusion::Inclusive,
        timeline: TargetTimeline::Latest,
        selector,
        scan: 10,
    };
    let ports: Ports<'_> = house.ports(&house.store);
    let answer = can_restore(&ports, &question(BackupSelector::Increment(name("twice")))).await.unwrap();
    assert_eq!((&answer.answer, answer.route.unwrap().backup), (&RestoreAnswer::Yes, parent.sentinel.name));
}

#[tokio::test]
async fn a_restore_is_refused_where_no_record_of_that_name_ends_at_the_recorded_place() {
    let (house, _, increment, _) = with_records().await;
    let increments = Increments::new(&house.store, &house.layout);
    let directory = tempfile::tempdir().unwrap();
    let wrong = [
        Increment { name: name("other-name"), ..increment.clone() },
        Increment { name: name("other-place"), to: Lsn(increment.to.0 + 0x400), ..increment },
    ];
    for wrong in wrong {
        let _created = increments.add(&wrong).await.unwrap();
        let wanted = fetch_request(&directory, BackupSelector::Increment(wrong.name.clone()), RecoveryTarget::EndOfWal);
        let error = chosen(&house, &wanted).await.unwrap_err();
        assert!(matches!(error, FetchError::Increment(IncrementError::Unread { .. })), "{error}");
    }
    assert!(!directory.path().join("new").exists());
    for target in [RecoveryTarget::Immediate, RecoveryTarget::Lsn(Lsn(1))] {
        let both = fetch_request(&directory, BackupSelector::Increment(name("twice")), target);
        let error = chosen(&house, &both).await.unwrap_err();
        assert!(matches!(error, FetchError::Increment(IncrementError::HasTarget(_))), "{error}");
    }
}

#[tokio::test]
async fn the_record_goes_on_request_and_not_while_a_copy_of_its_parent_may_recover() {
    let (house, parent, _, _) = with_records().await;
    let ports = house.ports(&house.store);
    let unknown = delete_restore_point(&ports, &name("unknown"), &lease()).await;
    assert!(matches!(unknown, Err(RestorePointError::NoSuchRestorePoint(_))), "{unknown:?}");
    let copy = stillframe_core::catalog::RestoreRecord {
        token: stillframe_core::provider::Token("copy".to_owned()),
        backup: parent.sentinel.name.clone(),
        hostname: "db2".to_owned(),
        destination: "/copy".into(),
        begun_at: house.clock.now(),
        parts: Vec::new(),
    };
    let restores = stillframe_core::catalog::Restores::new(&house.store, &house.layout);
    restores.await_recovery(&copy).await.unwrap();
    let refused = delete_restore_point(&ports, &name("twice"), &lease()).await;
    assert!(matches!(refused, Err(RestorePointError::Restored { .. })), "{refused:?}");
    restores.forget_recovery(&copy).await.unwrap();
    delete_restore_point(&ports, &name("twice"), &lease()).await.unwrap();
    assert_eq!(all(&house).await, Vec::<String>::new());
    assert_eq!(house.contents().await.backups.len(), 1, "its parent stays");
}
