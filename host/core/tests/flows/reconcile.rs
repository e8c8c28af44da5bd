//! `reconcile` on fakes: every case, every race, and a failure or a kill at every effect.
//!
//! What could go wrong: a snapshot of a running backup, of another store or of a second section of the configuration is taken for a
//! leftover and deleted; a backup is published that is not whole; an adoption that was killed loses what it adopted; silence counts
//! as absence; a finding that was shown is acted on when it no longer holds; a restore is taken from whoever uses it.

mod kills;
mod races;
mod restores;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::catalog::{Backup, BackupName, Consistency, Permanence, WalArchive};
use stillframe_core::clock::Clock;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    Action, Case, Outcome, PushRequest, Readiness, ReconcileError, ReconcilePlan, ReconcileReport, ReconcileRequest, Remedy,
    apply_reconcile, plan_reconcile, snapshot_push,
};
use stillframe_core::postgres::{Lsn, WalFileName};
use stillframe_core::provider::{MemberState, Provider, ProviderFault, SnapshotSet, Token};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{
    FakeProvider, FakeProviders, InjectedFault, ProviderCall, ProviderFailure, WatchedStore, Watcher, When,
};

use crate::hooked_store::{Operation, unreadable};
use crate::house::{House, handle_of, handles_of, lease_request, unsealed};
use crate::snapshot_push::AtPoll;

fn request(house: &House) -> ReconcileRequest {
    ReconcileRequest {
        providers: house.providers.0.iter().map(|provider| provider.name().clone()).collect(),
        clusters: BTreeSet::from([house.server.facts().system_identifier]),
        hostname: "db1".to_owned(),
        process_space: None,
        min_age: ReconcileRequest::MIN_AGE,
        claimed: BTreeSet::new(),
    }
}

async fn plan(house: &House) -> ReconcilePlan {
    plan_reconcile(&house.ports(&house.store), &request(house)).await.unwrap()
}

/// Plans and applies at once; whatever was to be done succeeds.
async fn reconcile(house: &House) -> ReconcileReport {
    let plan = plan(house).await;
    let report = apply(house, &house.store, &plan).await;
    assert!(report.stopped.is_none(), "{report:?}");
    assert!(report.deeds.iter().all(|deed| deed.outcome.is_ok()), "{report:?}");
    report
}

async fn apply(house: &House, store: &dyn Store, plan: &ReconcilePlan) -> ReconcileReport {
    apply_reconcile(&house.ports(store), &request(house), plan, &lease_request("reconcile")).await
}

/// Case and action of each finding.
fn summary(plan: &ReconcilePlan) -> Vec<(Case, Option<&'static str>)> {
    plan.findings.iter().map(|finding| (finding.case, finding.action().map(Action::as_str))).collect()
}

/// What the server archives when the backup of this name stops.
async fn archive_history(house: &House, name: &BackupName, number: u32) {
    let text = format!(
        "START WAL LOCATION: 0/{number}00028 (file 0000000100000000{number:08X})\n\
         STOP WAL LOCATION: 0/{number}00128 (file 0000000100000000{number:08X})\n\
         CHECKPOINT LOCATION: 0/{number}00060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
         START TIME: 2026-11-21 08:00:00 UTC\nLABEL: {name}\nSTART TIMELINE: 1\n\
         STOP TIME: 2026-11-21 08:00:05 UTC\nSTOP TIMELINE: 1\n"
    );
    let file: WalFileName = format!("0000000100000000{number:08X}.00000028.backup").parse().unwrap();
    let archive = WalArchive::new(&house.store, &house.layout, &house.archiving);
    archive.push(file, text.into_bytes()).await.unwrap();
}

fn record(name: &BackupName, record: &str) -> Key {
    Key::parse(&format!("main/snapshots_001/{name}/{record}.json")).unwrap()
}

/// Takes a backup whose end the server has archived as well.
async fn backup(house: &House, seed: u8, number: u32) -> Backup {
    archive_history(house, &house.request(seed).name, number).await;
    house.backup_at(seed, number, Permanence::Ordinary).await
}

/// Lets the catalog lose all records of a backup.
async fn lose_records(house: &House, name: &BackupName) {
    for kind in ["sentinel", "intent", "mark", "state"] {
        house.store.delete(&record(name, kind)).await.unwrap();
    }
}

/// Moves the server on, with the segment archived.
async fn server_at(house: &House, number: u32) {
    house.archive(&[number]).await;
    house.server.change(|facts| facts.wal_position = Lsn((u64::from(number) << 20) + 0x28));
}

/// Kills a push just after the cut; without its end in the archive, it is no backup.
async fn killed_push(house: &House, seed: u8) -> BackupName {
    let request = house.request(seed);
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Hang(When::After));
    let (ports, before) = (house.ports(&house.store), house.handles().len());
    tokio::select! {
        biased;
        // Long before any deadline.
        () = AtPoll(50) => {}
        result = snapshot_push(&ports, house.server(), &request, std::future::pending()) => panic!("{result:?}"),
    }
    assert_eq!(house.handles().len(), before + 1);
    request.name
}

/// Drops a push at this moment, as a kill does: nothing is undone. True if it came to its end.
async fn kill_push(house: &House, request: &PushRequest, moment: usize) -> bool {
    let store = WatchedStore::new(&house.store, Pausing);
    let ports = house.ports(&store);
    tokio::select! {
        biased;
        () = AtPoll(moment) => false,
        result = snapshot_push(&ports, house.server(), request, std::future::pending()) => result.is_ok(),
    }
}

/// Lets a kill come between any two operations on the store.
struct Pausing;

#[async_trait]
impl Watcher for Pausing {
    async fn before(&self, _: Operation, _: &str) -> Result<(), InjectedFault> {
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Long after every deadline.
fn later(house: &House) {
    house.clock.advance(Duration::from_hours(48));
}

#[tokio::test]
async fn where_catalog_and_storage_agree_nothing_is_found() {
    let house = House::new().await;
    backup(&house, 1, 3).await;
    backup(&house, 2, 4).await;
    let plan = plan(&house).await;
    assert_eq!((summary(&plan), plan.listed), (vec![], 2));
    assert!(plan.into_result().is_ok());
}

fn now(house: &House) -> jiff::Timestamp {
    house.clock.now()
}

#[tokio::test]
async fn an_adopted_backup_is_what_it_was() {
    let house = House::new().await;
    let push =
        PushRequest { permanence: Permanence::Permanent, user_data: Some(serde_json::json!({"ticket": "ä"})), ..house.request(1) };
    archive_history(&house, &push.name, 3).await;
    let taken = house.push(&push).await.unwrap();
    lose_records(&house, &push.name).await;
    let report = reconcile(&house).await;
    assert!(matches!(report.deeds[0].finding.remedy, Remedy::Act(Action::Adopt(_))), "{report:?}");
    let [adopted] = house.contents().await.backups.try_into().unwrap();
    let mut expected = taken.sentinel.clone();
    // The one in the history file has the name of the backup, which the fake server's label has not.
    expected.backup_label = adopted.sentinel.backup_label.clone();
    expected.finished_at = "2026-11-21T08:00:06Z".parse().unwrap();
    assert_eq!(adopted.sentinel, expected);
    assert_eq!(adopted.permanence, Permanence::Permanent);
    assert!(adopted.sentinel.finished_at >= taken.sentinel.finished_at, "nobody is promised a target before its end");
    house.assert_invariants("adopted").await;
}

#[tokio::test]
async fn what_is_not_proven_to_be_whole_is_not_adopted() {
    type Change = Box<dyn Fn(&mut SnapshotSet)>;
    let state = |state: MemberState| -> Change { Box::new(move |set| set.members[0].state = state.clone()) };
    let cases: Vec<(&str, Change, Option<&str>)> = vec![
        ("still written", state(MemberState::Cut), None),
        ("failed", state(MemberState::Failed("full".to_owned())), Some("delete")),
        ("not cut", state(MemberState::Cutting), Some("delete")),
        ("going", state(MemberState::Deleting), Some("delete")),
        ("not isolated", Box::new(|set| set.isolated = false), Some("delete")),
        ("of other volumes", Box::new(|set| set.members[0].volume = "other".to_owned()), Some("delete")),
        ("without a member", Box::new(|set| set.members.clear()), Some("delete")),
    ];
    for (situation, change, action) in cases {
        let house = House::new().await;
        let taken = backup(&house, 1, 3).await;
        lose_records(&house, &taken.sentinel.name).await;
        let mut set = house.provider().sets().remove(0);
        change(&mut set);
        house.provider().put(set);
        assert_eq!(summary(&plan(&house).await), [(Case::Unpublished, action)], "{situation}");
    }
    // Nor without all of its WAL, nor without its end.
    for missing in ["000000010000000000000003.zst", "000000010000000000000003.00000028.backup.zst"] {
        let house = House::new().await;
        let taken = backup(&house, 1, 3).await;
        lose_records(&house, &taken.sentinel.name).await;
        house.store.delete(&crate::house::wal_key(missing)).await.unwrap();
        assert_eq!(summary(&plan(&house).await), [(Case::Unpublished, Some("delete"))], "{missing}");
    }
    // What cannot be read is not absent.
    let house = House::new().await;
    let taken = backup(&house, 1, 3).await;
    lose_records(&house, &taken.sentinel.name).await;
    let store = unreadable(&house.store, "000000010000000000000003.zst");
    let plan = plan_reconcile(&house.ports(&store), &request(&house)).await.unwrap();
    assert_eq!(summary(&plan), [(Case::Unpublished, None)]);
}

#[tokio::test]
async fn snapshots_of_another_catalog_or_of_none_are_never_touched_unless_claimed() {
    for label in [Some("0123"), None] {
        let house = House::new().await;
        let taken = house.backup_at(1, 3, Permanence::Ordinary).await;
        lose_records(&house, &taken.sentinel.name).await;
        let mut set = house.provider().sets().remove(0);
        set.labels.remove("stillframe-catalog");
        set.labels.extend(label.map(|label| ("stillframe-catalog".to_owned(), label.to_owned())));
        house.provider().put(set);
        let shown = plan(&house).await;
        assert_eq!(summary(&shown), [(Case::Unpublished, None)], "{label:?}");
        let Remedy::Decide(advice) = &shown.findings[0].remedy else { panic!("{shown:?}") };
        assert!(advice.contains(&format!("--claim {}", taken.sentinel.name)), "{advice}");
        assert!(reconcile(&house).await.deeds.is_empty());
        let claimed = ReconcileRequest { claimed: BTreeSet::from([taken.sentinel.name.clone()]), ..request(&house) };
        let plan = plan_reconcile(&house.ports(&house.store), &claimed).await.unwrap();
        assert_eq!(summary(&plan), [(Case::Unpublished, Some("delete"))]);
        let report = apply_reconcile(&house.ports(&house.store), &claimed, &plan, &lease_request("reconcile")).await;
        assert_eq!(report.deeds[0].outcome.as_ref().unwrap(), &Outcome::Done);
        assert!(house.handles().is_empty());
    }
}

/// One store may have been made anew, or be that of the standby: its name is not all that tells catalogs apart.
#[tokio::test]
async fn two_stores_with_one_storage_system_do_not_take_each_others_snapshots_for_leftovers() {
    let (ours, theirs) = (House::new().await, House::new().await);
    backup(&ours, 1, 3).await;
    let mut other = theirs.request(2);
    other.token = Token("another-token".to_owned());
    theirs.push(&other).await.unwrap();
    for set in theirs.provider().sets() {
        ours.provider().put(set);
    }
    let plan = plan(&ours).await;
    assert_eq!(summary(&plan), [(Case::Unpublished, None)]);
    assert!(plan.findings[0].reason.contains("another store"), "{plan:?}");
}

#[tokio::test]
async fn a_second_section_about_the_same_storage_finds_no_orphans() {
    let mut house = House::new().await;
    let taken = backup(&house, 1, 3).await;
    let running = killed_push(&house, 2).await;
    let twin = house.add_provider("twin");
    for set in house.provider().sets() {
        twin.put(set);
    }
    assert_eq!(summary(&plan(&house).await), [(Case::Running, None)]);
    // Nor when the section has been renamed, as long as the snapshots are listed.
    let renamed = Arc::new(FakeProvider::new("renamed".to_owned().try_into().unwrap()));
    for set in house.provider().sets() {
        renamed.put(set);
    }
    house.providers = FakeProviders(vec![renamed]);
    later(&house);
    let plan = plan(&house).await;
    assert_eq!(plan.actions().count(), 0, "{plan:?}");
    assert_eq!(plan.unknown.len(), 1, "the old name is configured no longer");
    assert!(house.contents().await.find(&taken.sentinel.name).is_some() && running != taken.sentinel.name);
}

#[tokio::test]
async fn a_young_snapshot_and_one_from_the_future_wait() {
    for (age, is_old) in [(Duration::from_mins(59), false), (Duration::from_mins(61), true)] {
        let house = House::new().await;
        let taken = house.backup_at(1, 3, Permanence::Ordinary).await;
        lose_records(&house, &taken.sentinel.name).await;
        let mut set = house.provider().sets().remove(0);
        set.cut_end = now(&house) - age;
        house.provider().put(set.clone());
        assert_eq!(plan(&house).await.actions().count(), usize::from(is_old), "{age:?}");
        set.cut_end = now(&house) + age;
        house.provider().put(set);
        assert_eq!(plan(&house).await.actions().count(), 0, "a clock that is off makes nothing old");
    }
}

#[tokio::test]
async fn a_backup_whose_snapshot_is_gone_is_reported_and_its_sentinel_stays() {
    let house = House::new().await;
    let (lost, damaged) = (backup(&house, 1, 3).await, backup(&house, 2, 4).await);
    house.provider().lose(&handle_of(&lost));
    let mut set = house.provider().sets().remove(0);
    set.members[0].state = MemberState::Failed("full".to_owned());
    house.provider().put(set);
    let before = house.store.snapshot();
    let shown = plan(&house).await;
    assert_eq!(summary(&shown), [(Case::Missing, None), (Case::Damaged, None)]);
    let Remedy::Decide(advice) = &shown.findings[0].remedy else { panic!("{shown:?}") };
    assert!(advice.contains(&format!("delete target {}", lost.sentinel.name)), "{advice}");
    assert_eq!(shown.findings[1].subject, damaged.sentinel.name.as_str());
    assert!(reconcile(&house).await.deeds.is_empty());
    assert_eq!(house.store.snapshot(), before);
    let error = shown.into_result().unwrap_err();
    assert!(matches!(error, ReconcileError::Lost { count: 2 }) && error.class() == ErrorClass::Refused, "{error}");
}

#[tokio::test]
async fn a_listing_that_lags_behind_is_no_absence() {
    let house = House::new().await;
    backup(&house, 1, 3).await;
    // What a provider lists is what bears the label; `get` finds it by its handle.
    let mut set = house.provider().sets().remove(0);
    set.labels = BTreeMap::new();
    house.provider().put(set);
    let plan = plan(&house).await;
    assert_eq!((summary(&plan), plan.listed), (vec![], 0));
}

#[tokio::test]
async fn what_a_provider_does_not_answer_decides_nothing() {
    for call in [ProviderCall::List, ProviderCall::Get] {
        let house = House::new().await;
        let taken = backup(&house, 1, 3).await;
        if call == ProviderCall::Get {
            house.provider().lose(&handle_of(&taken));
        }
        let orphan = house.backup_at(2, 4, Permanence::Ordinary).await.sentinel.name;
        lose_records(&house, &orphan).await;
        killed_push(&house, 3).await;
        later(&house);
        house.provider().refuse_next(call, ProviderFault::Unauthenticated("expired".to_owned()));
        let plan = plan(&house).await;
        assert_eq!(plan.actions().count(), 0, "{call:?}: {plan:?}");
        assert!(plan.findings.iter().all(|finding| finding.case != Case::Missing), "{plan:?}");
        let error = plan.into_result().unwrap_err();
        assert!(matches!(error, ReconcileError::Unknown { count: 1, .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Config);
    }
}

#[tokio::test]
async fn as_long_as_a_record_cannot_be_read_no_snapshot_counts_as_unknown_to_the_catalog() {
    let house = House::new().await;
    let orphan = house.backup_at(1, 3, Permanence::Ordinary).await.sentinel.name;
    house.store.put(&record(&orphan, "sentinel"), Bytes::from_static(b"{\"format_version\": 2,")).await.unwrap();
    let plan = plan(&house).await;
    assert_eq!(summary(&plan), [(Case::Unreadable, None), (Case::Unpublished, None)]);
    assert!(matches!(plan.into_result().unwrap_err(), ReconcileError::Unreadable { .. }));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_settled_by_token() {
    let house = House::new().await;
    let orphan = house.backup_at(1, 3, Permanence::Ordinary).await.sentinel.name;
    lose_records(&house, &orphan).await;
    house.provider().fail_next(ProviderCall::Delete, ProviderFailure::Error(When::After));
    let report = reconcile(&house).await;
    assert_eq!(report.deeds[0].outcome.as_ref().unwrap(), &Outcome::Done);
    assert!(house.handles().is_empty());
}

#[tokio::test]
async fn what_was_published_before_it_was_ready_is_settled() {
    let house = House::new().await;
    house.provider().set_states(vec![MemberState::Cut]);
    let push = PushRequest { readiness: Readiness::Later, ..house.request(1) };
    house.push(&push).await.unwrap();
    assert_eq!(summary(&plan(&house).await), [(Case::Unready, None)]);
    let mut set = house.provider().sets().remove(0);
    set.members[0].state = MemberState::Ready;
    house.provider().put(set);
    house.provider().set_states(vec![MemberState::Ready]);
    assert_eq!(summary(&plan(&house).await), [(Case::Unready, Some("record-state"))]);
    reconcile(&house).await;
    assert!(plan(&house).await.findings.is_empty());
}

#[tokio::test]
async fn a_name_of_another_form_or_of_a_recorded_backup_is_reported_and_never_touched() {
    let house = House::new().await;
    let taken = backup(&house, 1, 3).await;
    let set = house.provider().sets().remove(0);
    let other = |handle: &str, name: &str| SnapshotSet {
        handle: handle.to_owned(),
        token: Token(handle.to_owned()),
        name: name.to_owned(),
        ..set.clone()
    };
    house.provider().put(other("one", "nightly"));
    house.provider().put(other("two", taken.sentinel.name.as_str()));
    let shown = plan(&house).await;
    assert_eq!(summary(&shown), [(Case::Unpublished, None), (Case::Unpublished, None)], "{shown:?}");
    assert!(reconcile(&house).await.deeds.is_empty());
    assert_eq!(house.handles().len(), 3);
}

#[tokio::test]
async fn a_backup_of_several_providers_is_adopted_as_a_whole_or_not_at_all() {
    for is_whole in [true, false] {
        let (house, other) = crate::several_providers::two_providers().await;
        let push = crate::several_providers::request(&house, 1);
        archive_history(&house, &push.name, 3).await;
        let taken = house.push(&push).await.unwrap();
        lose_records(&house, &push.name).await;
        if !is_whole {
            other.lose(&handles_of(&taken)[0]);
        }
        reconcile(&house).await;
        let contents = house.contents().await;
        if is_whole {
            let adopted = &contents.backups[0].sentinel;
            assert_eq!((&adopted.sets, &adopted.paths), (&taken.sentinel.sets, &taken.sentinel.paths));
            assert_eq!(adopted.tablespace_map, taken.sentinel.tablespace_map);
            assert_eq!(adopted.consistency, Consistency::CoveredByBackupMode);
        } else {
            assert!(contents.backups.is_empty() && house.handles().is_empty(), "{contents:?}");
        }
        house.assert_invariants("several").await;
    }
}

#[tokio::test]
async fn the_next_backup_removes_records_of_which_nothing_is_left_and_no_snapshot() {
    let house = House::new().await;
    let cut = killed_push(&house, 1).await;
    let nothing = house.request(2).name;
    let intent = house.store.get(&record(&cut, "intent")).await.unwrap().unwrap();
    let text = unsealed(&intent);
    let forged = text.replace(cut.as_str(), nothing.as_str()).replace("token-1", "token-2");
    let elsewhere = forged.replace(nothing.as_str(), house.request(3).name.as_str()).replace("db1", "db2");
    house.store.put(&record(&nothing, "intent"), Bytes::from(forged)).await.unwrap();
    house.store.put(&record(&house.request(3).name, "intent"), Bytes::from(elsewhere)).await.unwrap();
    house.push(&house.request(4)).await.unwrap();
    assert_eq!(house.contents().await.intents.len(), 3, "they may still run");
    later(&house);
    house.push(&house.request(5)).await.unwrap();
    let left: Vec<BackupName> = house.contents().await.intents.into_iter().map(|intent| intent.name).collect();
    assert_eq!(left.len(), 2, "what another host left is its own to see to");
    assert!(left.contains(&cut) && !left.contains(&nothing));
    assert_eq!(house.handles().len(), 3, "no snapshot goes without an operator's word");
}

#[tokio::test]
async fn no_backup_fails_or_waits_because_of_what_an_earlier_one_left() {
    for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Hang(When::Before)] {
        let house = House::new().await;
        killed_push(&house, 1).await;
        later(&house);
        let began = now(&house);
        house.provider().fail_next(ProviderCall::Get, failure);
        house.push(&house.request(2)).await.unwrap();
        let waited = now(&house).duration_since(began);
        assert!(waited.as_secs() < 60, "{failure:?}: {waited}");
        house.assert_invariants(&format!("{failure:?}")).await;
    }
}
