//! Clocks that are set, on fakes: back by hours or to 1970, ahead by a day, between backups and within one, here and on other hosts.
//!
//! What could go wrong: a wait that never ends, or ends at once; a living backup that is taken for a dead one, and published
//! without its WAL; a holder that slept and does not know; the newest backup taken for an old one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stillframe_core::catalog::{Lease, LeaseError, LeaseRequest, Permanence, process_space};
use stillframe_core::clock::Clock as _;
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::flows::check::{CheckRequest, CheckedServer, RoundTrip, Subject, Verdict, check};
use stillframe_core::flows::{
    BackupSelector, CanRestoreRequest, DeleteError, DeleteReport, Ports, ProviderChoice, PushError, PushRequest, apply_delete,
    can_restore, plan_delete, snapshot_push,
};
use stillframe_core::postgres::Lsn;
use stillframe_core::retention::RetentionRule;
use stillframe_core::testing::{FakeLocator, ManualClock, ProviderCall, ProviderFailure, When};

use crate::hooked_store::{Operation, hooked};
use crate::house::{House, lease_request, start_of_time};

/// To 1970, back by two hours, ahead by a day.
fn jumps() -> [Timestamp; 3] {
    let by = |hours| start_of_time() + SignedDuration::from_hours(hours);
    [Timestamp::UNIX_EPOCH, by(-2), by(24)]
}

/// Lets the clock of the pushing host be set while the snapshot is cut.
fn set_at_the_cut(house: &House, to: Timestamp) {
    let clock = house.clock.clone();
    house.provider().on_create(move || clock.set(to));
}

fn server_at(house: &House, number: u32) {
    house.server.change(|facts| facts.wal_position = Lsn((u64::from(number) << 20) + 0x28));
}

#[tokio::test]
async fn a_clock_that_is_set_within_a_backup_does_not_cost_it() {
    for to in jumps() {
        let house = House::new().await;
        set_at_the_cut(&house, to);
        let backup = house.push(&house.request(1)).await.unwrap();
        house.assert_invariants(&to.to_string()).await;
        assert_eq!(house.contents().await.latest(house.clock.now()).unwrap().sentinel.name, backup.sentinel.name, "{to}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_neither_ends_a_wait_nor_prolongs_it() {
    for to in jumps() {
        let house = House::new().await;
        server_at(&house, 9);
        set_at_the_cut(&house, to);
        let request = house.request(1);
        let error = house.push(&request).await.unwrap_err();
        assert!(matches!(error, PushError::NotArchived { .. }), "{to}: {error}");
        let waited = house.clock.uptime();
        let deadline = request.deadlines.archive;
        assert!(waited >= deadline && waited < deadline * 2, "{to}: {waited:?}");
        house.assert_invariants(&to.to_string()).await;
        assert!(house.contents().await.intents.is_empty() && house.handles().is_empty(), "{to}");
    }
}

/// A deletion of everything on another host, whose clock is two days ahead; the first question to its provider fails.
async fn delete_everything_ahead(house: &House, lease: LeaseRequest) -> DeleteReport {
    let ahead = ManualClock::new(start_of_time() + Duration::from_hours(48));
    let ports = Ports { clock: &ahead, ..house.ports(&house.store) };
    let plan = plan_delete(&ports, &RetentionRule::Everything).await.unwrap();
    house.provider().fail_next(ProviderCall::Get, ProviderFailure::Error(When::Before));
    apply_delete(&ports, &RetentionRule::Everything, &plan, &lease).await
}

#[tokio::test]
async fn a_backup_whose_wal_went_behind_another_clock_is_not_published() {
    let house = House::new().await;
    house.archive(&(1..=9).collect::<Vec<_>>()).await;
    server_at(&house, 9);
    // Its WAL was seen in the archive, and the sentinel is about to be written.
    let deletion = async {
        let report = delete_everything_ahead(&house, lease_request("delete")).await;
        assert!(!report.wal.is_empty() && !report.failures.is_empty(), "{report:?}");
    };
    let store = hooked(&house.store, Operation::Head, "condemned.json", deletion);
    let result = snapshot_push(&house.ports(&store), house.server(), &house.request(1), std::future::pending()).await;
    drop(store);
    assert!(house.contents().await.backups.is_empty(), "its WAL is gone: {result:?}");
    assert!(result.unwrap_err().to_string().contains("was given up"), "the loser is told so");
    house.assert_invariants("given up behind another clock").await;
    assert!(house.handles().is_empty());
}

/// A backup by this very process.
fn request_of_this_process(house: &House) -> PushRequest {
    let mut request = house.request(1);
    request.lease = of_this_process("snapshot-push");
    request
}

fn of_this_process(command: &str) -> LeaseRequest {
    LeaseRequest { process_id: std::process::id(), process_space: process_space(), ..lease_request(command) }
}

#[tokio::test]
async fn a_backup_whose_process_is_seen_to_run_is_over_by_no_clock() {
    let house = House::new().await;
    house.archive(&(1..=9).collect::<Vec<_>>()).await;
    server_at(&house, 9);
    let deletion = async {
        let report = delete_everything_ahead(&house, of_this_process("delete")).await;
        assert!(report.settled.is_empty(), "{report:?}");
        assert!(matches!(report.failures[0].1, DeleteError::StillRunning(_)), "{report:?}");
    };
    let store = hooked(&house.store, Operation::Head, "condemned.json", deletion);
    let request = request_of_this_process(&house);
    let backup = snapshot_push(&house.ports(&store), house.server(), &request, std::future::pending()).await.unwrap();
    drop(store);
    let archived = house.archived().await;
    let range = backup.sentinel.wal_range();
    assert!((range.first..=range.last).all(|number| archived.contains(&format!("0000000100000000{number:08X}"))), "{archived:?}");
    house.assert_invariants("seen to run").await;
}

#[tokio::test]
async fn a_deletion_whose_clock_is_set_back_goes_on_and_one_whose_clock_is_set_ahead_is_finished_by_the_next_run() {
    for to in jumps() {
        let house = House::new().await;
        house.archive(&(1..=30).collect::<Vec<_>>()).await;
        house.backup_at(1, 10, Permanence::Ordinary).await;
        house.backup_at(2, 20, Permanence::Ordinary).await;
        let rule = RetentionRule::Retain { count: 1, after: None };
        let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
        let store = hooked(&house.store, Operation::Delete, "0000000000000005.zst", async { house.clock.set(to) });
        let report = apply_delete(&house.ports(&store), &rule, &plan, &lease_request("delete")).await;
        drop(store);
        house.assert_invariants(&to.to_string()).await;
        let is_behind = to < start_of_time();
        let is_expired = |error: &DeleteError| matches!(error, DeleteError::Lease(LeaseError::Expired { .. }));
        assert_eq!(report.failures.is_empty(), is_behind, "{to}: {report:?}");
        assert!(report.failures.iter().all(|(_, error)| is_expired(error)), "{to}: {report:?}");
        house.delete(&rule).await.unwrap();
        let left = house.archived().await;
        assert_eq!((left.len(), house.handles().len()), (11, 1), "{to}: {left:?}");
    }
}

#[tokio::test]
async fn a_holder_that_slept_through_its_term_knows_it_although_its_clock_was_set_back() {
    let house = House::new().await;
    let lease = Lease::acquire(&house.store, &house.layout, &house.clock, &lease_request("delete")).await.unwrap();
    house.clock.advance(Duration::from_mins(1));
    house.clock.set(start_of_time());
    assert!(matches!(lease.check_age().await, Err(LeaseError::Expired { .. })));
}

/// Three backups, of which the second was taken while the server's clock was set to this; and its time now.
async fn with_a_jump(to: Timestamp) -> (House, Vec<String>) {
    let house = House::new().await;
    let mut names = Vec::new();
    for (seed, now) in [(1, start_of_time()), (2, to), (3, start_of_time() + Duration::from_hours(1))] {
        house.archive(&[u32::from(seed) * 10]).await;
        server_at(&house, u32::from(seed) * 10);
        house.server.change(|facts| facts.now = now);
        // The names are made of the host's clock, and the first one has the highest.
        let backup = house.push(&house.request(9 - seed)).await.unwrap();
        names.push(backup.sentinel.name.to_string());
    }
    house.archive(&(10..=31).collect::<Vec<_>>()).await;
    house.clock.advance(Duration::from_hours(2));
    (house, names)
}

#[tokio::test]
async fn the_latest_backup_is_the_one_that_is_furthest_in_the_wal_whatever_the_clock_said() {
    for to in jumps() {
        let (house, names) = with_a_jump(to).await;
        let now = house.clock.now();
        assert_eq!(house.contents().await.latest(now).unwrap().sentinel.name.as_str(), names[2], "{to}");
        let request = CanRestoreRequest {
            target: RecoveryTarget::Immediate,
            inclusion: Inclusion::Inclusive,
            timeline: TargetTimeline::Latest,
            selector: BackupSelector::Latest,
            scan: 10,
        };
        for selector in [BackupSelector::Latest, BackupSelector::Automatic] {
            let request = CanRestoreRequest { selector, ..request.clone() };
            let report = can_restore(&house.ports(&house.store), &request).await.unwrap();
            assert_eq!(report.route.unwrap().backup.as_str(), names[2], "{to}");
        }
        // Without it, it is the one whose clock was wrong.
        house.delete(&RetentionRule::Target(names[2].parse().unwrap())).await.unwrap();
        assert_eq!(house.contents().await.latest(now).unwrap().sentinel.name.as_str(), names[1], "{to}");
    }
}

#[tokio::test]
async fn check_judges_the_age_of_the_newest_backup_and_does_not_guess_where_a_clock_was_wrong() {
    let newest = async |house: &House| {
        let server = CheckedServer { connection: Ok(house.server.connect()), primary: None, locator: Some(&FakeLocator) };
        let request = CheckRequest {
            providers: ProviderChoice { default: None, rules: Vec::new() },
            round_trip: RoundTrip::LeftOut,
            max_backup_age: Some(Duration::from_hours(3)),
            retention: None,
        };
        let findings = check(&house.ports(&house.store), server, None, &request).await;
        let of_backups = findings.into_iter().find(|finding| finding.subject == Subject::Backups).unwrap();
        (of_backups.verdict, of_backups.message)
    };
    for to in jumps() {
        let (house, names) = with_a_jump(to).await;
        let (verdict, message) = newest(&house).await;
        assert!(verdict == Verdict::Ok && message.contains(&names[2]), "{to}: {message}");
    }
    let (house, names) = with_a_jump(jumps()[2]).await;
    house.delete(&RetentionRule::Target(names[2].parse().unwrap())).await.unwrap();
    let (verdict, message) = newest(&house).await;
    assert!(verdict == Verdict::Warning && message.contains("from now"), "{message}");
}
