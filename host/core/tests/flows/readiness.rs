//! Backups that are published before their snapshots are ready, on fakes.
//!
//! What could go wrong: a snapshot that failed while the WAL was waited for is published; a rule counts on a backup that can never be
//! restored, and deletes the last good one; a provider that knows nothing makes a good backup a failed one; a restore begins from a
//! snapshot that is not there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::catalog::{Backup, BackupState, Permanence};
use stillframe_core::data_directory::RecoveryTarget;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    BackupSelector, FetchError, PathRule, PathSelector, Phase, Ports, Progress, ProviderChoice, PushError, PushRequest, Readiness,
    Server, Step, settle_states, snapshot_push,
};
use stillframe_core::paths::{Locator, PathError};
use stillframe_core::postgres::ServerFacts;
use stillframe_core::provider::{DataPath, DataPathName, DataRole, MemberState, Provider};
use stillframe_core::retention::{Cutoff, KeepReason, PlanError, Reason, RemoveReason, RetentionRule};
use stillframe_core::testing::{FakeLocator, FaultyStore, ProviderCall, ProviderFailure, When};

use crate::house::{House, handle_of, provider_name, segment, start_of_time};
use crate::restore_elsewhere::fill;
use crate::snapshot_fetch::{chosen, request};

const FULL: &str = "the snapshot ran full";

fn failed() -> MemberState {
    MemberState::Failed(FULL.to_owned())
}

fn without_waiting(house: &House, seed: u8) -> PushRequest {
    PushRequest { readiness: Readiness::Later, ..house.request(seed) }
}

/// A good backup, and one that was not waited for and whose snapshot is in this state by now.
async fn good_and(state: MemberState) -> (House, Backup, Backup) {
    let house = House::new().await;
    let good = house.backup_at(1, 10, Permanence::Ordinary).await;
    house.archive(&[20]).await;
    house.server.change(|facts| {
        facts.wal_position = stillframe_core::postgres::Lsn((20 << 20) + 0x28);
        facts.now = start_of_time() + Duration::from_mins(2);
    });
    house.provider().set_states(vec![MemberState::Cut]);
    let later = house.push(&without_waiting(&house, 2)).await.unwrap();
    house.provider().set_states(vec![state]);
    (house, good, later)
}

/// What `backup-list` sees.
async fn listed(house: &House, name: &Backup) -> BackupState {
    let mut contents = house.contents().await;
    settle_states(&house.ports(&house.store), &mut contents).await;
    contents.find(&name.sentinel.name).unwrap().state.clone()
}

#[tokio::test]
async fn a_snapshot_that_was_ready_at_the_cut_and_failed_since_is_not_published() {
    let house = House::new().await;
    house.provider().set_states(vec![MemberState::Ready, failed()]);
    for request in [house.request(1), without_waiting(&house, 2)] {
        let error = house.push(&request).await.unwrap_err();
        assert!(matches!(&error, PushError::SnapshotFailed { reason, .. } if reason == FULL), "{error}");
        house.assert_invariants("it ran full while the WAL was waited for").await;
        assert!(house.handles().is_empty() && house.contents().await.backups.is_empty());
    }
}

#[tokio::test]
async fn a_backup_that_is_not_waited_for_is_published_as_cut_once_its_wal_is_archived() {
    let house = House::new().await;
    house.provider().set_states(vec![MemberState::Cut]);
    let backup = house.push(&without_waiting(&house, 1)).await.unwrap();
    assert_eq!(backup.state, BackupState::Cut);
    assert_eq!(house.contents().await.backups, [backup]);
    house.assert_invariants("not waited for").await;
    house.server.change(|facts| facts.wal_position = stillframe_core::postgres::Lsn(0x50_0028));
    let error = house.push(&without_waiting(&house, 2)).await.unwrap_err();
    assert!(matches!(error, PushError::NotArchived { .. }), "{error}");
}

#[tokio::test]
async fn the_outcome_is_recorded_once_and_for_all() {
    for (state, expected) in [(MemberState::Ready, BackupState::Ready), (failed(), BackupState::Failed(FULL.to_owned()))] {
        let (house, _, later) = good_and(MemberState::Cut).await;
        assert_eq!(listed(&house, &later).await, BackupState::Cut);
        house.provider().set_states(vec![state]);
        assert_eq!(listed(&house, &later).await, expected);
        house.provider().set_states(vec![failed(), failed()]);
        let calls = house.provider().calls().len();
        assert_eq!(listed(&house, &later).await, expected);
        assert_eq!(house.provider().calls().len(), calls, "nobody is asked again");
        // It goes with the backup.
        house.provider().set_states(vec![MemberState::Ready]);
        house.delete(&RetentionRule::Everything).await.unwrap();
        let contents = house.contents().await;
        assert!(contents.backups.is_empty() && contents.remnants.is_empty());
        assert!(house.store.snapshot().keys().all(|key| !key.as_str().ends_with("state.json")));
    }
}

#[tokio::test]
async fn nothing_is_concluded_from_a_provider_that_does_not_answer_or_has_no_trace() {
    let (house, _, later) = good_and(MemberState::Ready).await;
    house.provider().fail_next(ProviderCall::Get, ProviderFailure::Error(When::Before));
    assert_eq!(listed(&house, &later).await, BackupState::Cut);
    house.provider().delete(&handle_of(&later)).await.unwrap();
    assert_eq!(listed(&house, &later).await, BackupState::Cut);
    assert!(house.store.snapshot().keys().all(|key| !key.as_str().ends_with("state.json")));
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_is_still_told() {
    let (house, _, later) = good_and(MemberState::Ready).await;
    let store = FaultyStore::new(&house.store, Some((0, When::Before)));
    let mut contents = house.contents().await;
    settle_states(&house.ports(&store), &mut contents).await;
    assert_eq!(contents.find(&later.sentinel.name).unwrap().state, BackupState::Ready);
    assert_eq!(house.contents().await.find(&later.sentinel.name).unwrap().state, BackupState::Cut);
}

#[tokio::test]
async fn a_failed_backup_is_restored_by_nobody_and_passed_over_unless_it_is_named() {
    let (house, good, later) = good_and(failed()).await;
    let directory = tempfile::tempdir().unwrap();
    for selector in [BackupSelector::Automatic, BackupSelector::Latest] {
        let request = request(&directory, selector, RecoveryTarget::EndOfWal);
        // Both have the same fate in this storage; what the catalog knows is that the older one was ready.
        let error = chosen(&house, &request).await.unwrap_err();
        assert!(matches!(&error, FetchError::SetFailed { name, .. } if *name == good.sentinel.name), "{error}");
    }
    let named = request(&directory, BackupSelector::Named(later.sentinel.name.clone()), RecoveryTarget::EndOfWal);
    let error = chosen(&house, &named).await.unwrap_err();
    assert!(matches!(&error, FetchError::SetFailed { name, .. } if *name == later.sentinel.name), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    let (mounted, cluster) = (tempfile::tempdir().unwrap(), house.server.facts().system_identifier);
    fill(&DataPathName::Data, &mounted.path().join("new"), cluster);
    let error = chosen(&house, &request_of(&mounted, &later)).await.unwrap_err();
    assert!(matches!(&error, FetchError::SetFailed { .. }), "mounted by hand: {error}");
    house.provider().delete(&handle_of(&good)).await.unwrap();
    let named = request_of(&directory, &good);
    assert!(matches!(chosen(&house, &named).await.unwrap_err(), FetchError::SetGone { .. }));
    assert!(!directory.path().join("new").exists(), "a refusal makes nothing");
}

fn request_of(directory: &tempfile::TempDir, backup: &Backup) -> stillframe_core::flows::FetchRequest {
    request(directory, BackupSelector::Named(backup.sentinel.name.clone()), RecoveryTarget::EndOfWal)
}

#[tokio::test]
async fn a_backup_that_is_not_ready_is_an_error_when_it_is_meant_and_passed_over_when_nobody_named_one() {
    let (house, good, later) = good_and(MemberState::Cut).await;
    let directory = tempfile::tempdir().unwrap();
    for request in [request_of(&directory, &later), request(&directory, BackupSelector::Latest, RecoveryTarget::EndOfWal)] {
        let error = chosen(&house, &request).await.unwrap_err();
        assert!(matches!(&error, FetchError::NotReady { name, percent: 0 } if *name == later.sentinel.name), "{error}");
        assert_eq!(error.class(), ErrorClass::Transient);
    }
    let automatic = request(&directory, BackupSelector::Automatic, RecoveryTarget::EndOfWal);
    let error = chosen(&house, &automatic).await.unwrap_err();
    assert!(
        matches!(&error, FetchError::NotReady { name, .. } if *name == good.sentinel.name),
        "the older one was chosen: {error}"
    );
    house.provider().set_states(vec![MemberState::Ready]);
    assert_eq!(chosen(&house, &automatic).await.unwrap(), handle_of(&later));
}

#[tokio::test]
async fn a_rule_never_counts_on_a_backup_that_is_not_known_to_be_good() {
    let retain = RetentionRule::Retain { count: 1, after: None };
    let reasons = |plan: stillframe_core::retention::DeletePlan| -> Vec<Reason> {
        plan.backups.into_iter().map(|decision| decision.reason).collect()
    };
    let (house, good, later) = good_and(failed()).await;
    let plan = |rule: RetentionRule| {
        let house = &house;
        async move { stillframe_core::flows::plan_delete(&house.ports(&house.store), &rule).await }
    };
    let kept = Reason::Keep(KeepReason::AmongNewest(1));
    assert_eq!(reasons(plan(retain.clone()).await.unwrap()), [kept.clone(), Reason::Keep(KeepReason::NotReady)]);
    let error = plan(RetentionRule::Before(Cutoff::Backup(later.sentinel.name.clone()))).await.unwrap_err();
    assert!(matches!(error, stillframe_core::flows::DeleteError::Plan(PlanError::NothingAsNew(_))), "{error}");
    listed(&house, &later).await;
    for rule in [retain, RetentionRule::Garbage] {
        let found = reasons(plan(rule).await.unwrap());
        assert_eq!(found[1], Reason::Remove(RemoveReason::Failed));
        assert!(matches!(found[0], Reason::Keep(_)));
    }
    // What is recovered from the good one stays; a failed one that is kept protects no more than its own.
    house.archive(&(9..=25).collect::<Vec<_>>()).await;
    house.provider().set_states(vec![MemberState::Ready]);
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert!(house.contents().await.find(&good.sentinel.name).is_some());
    assert_eq!(house.archived().await, (10..=25).map(|number| segment(number).to_string()).collect());
}

#[tokio::test]
async fn when_only_a_failed_backup_stays_no_wal_is_judged_by_it() {
    let (house, good, later) = good_and(failed()).await;
    house.archive(&(9..=25).collect::<Vec<_>>()).await;
    listed(&house, &later).await;
    house.provider().set_states(vec![MemberState::Ready]);
    stillframe_core::flows::backup_mark(&house.ports(&house.store), &later.sentinel.name, Permanence::Permanent).await.unwrap();
    house.delete(&RetentionRule::Target(good.sentinel.name)).await.unwrap();
    assert!(house.archived().await.contains(&segment(9).to_string()), "nothing tells what is needed");
}

/// Keeps what it is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<Step>>);

impl Progress for Recorder {
    fn report(&self, step: &Step) {
        self.0.lock().unwrap().push(step.clone());
    }
}

#[tokio::test]
async fn each_wait_tells_how_far_it_is() {
    let house = House::new().await;
    house.provider().set_states(vec![MemberState::Cut, MemberState::Cut, MemberState::Ready]);
    let recorder = Arc::new(Recorder::default());
    let ports = Ports { progress: &*recorder, ..house.ports(&house.store) };
    snapshot_push(&ports, house.server(), &house.request(1), std::future::pending()).await.unwrap();
    let steps = recorder.0.lock().unwrap();
    let waits: Vec<&Step> = steps.iter().filter(|step| step.phase == Phase::Ready).collect();
    assert!(!waits.is_empty() && waits.iter().all(|step| step.total == Some(1) && step.size_bytes == Some(1)), "{waits:?}");
}

#[tokio::test]
async fn a_snapshot_that_is_not_told_of_is_neither_ready_nor_restored() {
    let (house, _, later) = good_and(MemberState::Ready).await;
    house.provider().hide_volume("data");
    assert_eq!(listed(&house, &later).await, BackupState::Cut, "no word of the snapshot is no evidence");
    let directory = tempfile::tempdir().unwrap();
    let error = chosen(&house, &request_of(&directory, &later)).await.unwrap_err();
    assert!(matches!(error, FetchError::SetGone { .. }), "{error}");
    assert!(!house.provider().calls().contains(&ProviderCall::Restore));
}

/// `pg_wal` on a volume of its own.
struct WithWal;

#[async_trait]
impl Locator for WithWal {
    fn locate(&self, facts: &ServerFacts) -> Result<Vec<DataPath>, PathError> {
        let mut paths = FakeLocator.locate(facts)?;
        let wal =
            DataPath { role: DataRole::Wal, name: DataPathName::Wal, path: "/wal".into(), last: Vec::new(), ..paths[0].clone() };
        paths.push(wal);
        Ok(paths)
    }

    async fn flush(&self, paths: &[DataPath]) -> Result<(), PathError> {
        FakeLocator.flush(paths).await
    }
}

#[tokio::test]
async fn a_set_of_which_nothing_is_restored_keeps_nobody_from_restoring() {
    let mut house = House::new().await;
    house.add_provider("other");
    let rule = PathRule { selector: PathSelector::Name(DataPathName::Wal), provider: "other".to_owned().try_into().unwrap() };
    let providers = ProviderChoice { default: Some(provider_name()), rules: vec![rule] };
    let server = Server { locator: &WithWal, ..house.server() };
    let request = PushRequest { providers, ..house.request(1) };
    let backup = snapshot_push(&house.ports(&house.store), server, &request, std::future::pending()).await.unwrap();
    assert_eq!(backup.sentinel.sets.len(), 2);
    // The storage of the WAL is lost, with all that was configured for it.
    house.providers.0.truncate(1);
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(chosen(&house, &request_of(&directory, &backup)).await.unwrap(), backup.sentinel.sets[1].snapshot.handle);
}
