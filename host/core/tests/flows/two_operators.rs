//! Two operators at once, on fakes: each command, stopped before each of its operations on the store while another one runs whole.
//!
//! The other one is on another host, with a clock of its own. In a hurry it is refused while the first holds the lease; patient, it
//! takes the first for dead, which then must not go on. What could go wrong: a snapshot in no record, a published backup without its
//! snapshot or its WAL, a mark that was confirmed and does not hold.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::catalog::{Backup, LeaseRequest, Permanence};
use stillframe_core::flows::{
    Ports, ReconcileRequest, apply_delete, apply_reconcile, backup_mark, plan_delete, plan_reconcile, snapshot_push,
};
use stillframe_core::provider::Provider as _;
use stillframe_core::retention::{RetentionPolicy, RetentionRule};
use stillframe_core::testing::{InjectedFault, ManualClock, ProviderCall, ProviderFailure, WatchedStore, Watcher, When};

use crate::hooked_store::Operation;
use crate::house::{House, lease_request, start_of_time};

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Push,
    DeleteTarget,
    DeleteEverything,
    DeleteGarbage,
    DeletePolicy,
    Reconcile,
    MarkPermanent,
}

const DEEDS: [Deed; 7] = [
    Deed::Push,
    Deed::DeleteTarget,
    Deed::DeleteEverything,
    Deed::DeleteGarbage,
    Deed::DeletePolicy,
    Deed::Reconcile,
    Deed::MarkPermanent,
];

impl Deed {
    /// Does it; gives what the operator was told when it was refused or failed.
    async fn run(self, house: &House, ports: &Ports<'_>, backups: &[Backup], patience: Duration) -> Result<(), String> {
        let lease = LeaseRequest { deadline: patience, ..lease_request("another") };
        let oldest = backups[0].sentinel.name.clone();
        let rule = match self {
            Self::Push => {
                let request = stillframe_core::flows::PushRequest { lease, ..house.request(9) };
                let pushed = snapshot_push(ports, house.server(), &request, std::future::pending()).await;
                return pushed.map(drop).map_err(|error| told(&error));
            }
            Self::MarkPermanent => {
                let marked = backup_mark(ports, &oldest, Permanence::Permanent).await;
                return marked.map(drop).map_err(|error| told(&error));
            }
            Self::Reconcile => {
                let request = reconcile_request(house);
                let plan = plan_reconcile(ports, &request).await.map_err(|error| told(&error))?;
                let report = apply_reconcile(ports, &request, &plan, &lease).await;
                return report.into_result().map_err(|error| told(&error));
            }
            Self::DeleteTarget => RetentionRule::Target(oldest),
            Self::DeleteEverything => RetentionRule::Everything,
            Self::DeleteGarbage => RetentionRule::Garbage,
            Self::DeletePolicy => RetentionRule::Policy(RetentionPolicy { count: Some(1), ..RetentionPolicy::default() }),
        };
        let plan = plan_delete(ports, &rule).await.map_err(|error| told(&error))?;
        let report = apply_delete(ports, &rule, &plan, &lease).await;
        report.into_result().map(drop).map_err(|(_, error)| told(&error))
    }
}

fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn reconcile_request(house: &House) -> ReconcileRequest {
    ReconcileRequest {
        providers: vec![house.provider().name().clone()],
        clusters: [House::cluster()].into(),
        hostname: "db1".to_owned(),
        process_space: None,
        min_age: Duration::ZERO,
        claimed: BTreeSet::new(),
    }
}

/// Runs this once, before the n-th operation.
struct Before<'a> {
    left: Mutex<Option<(usize, Act<'a>)>>,
}

type Act<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

#[async_trait]
impl Watcher for Before<'_> {
    async fn before(&self, _: Operation, _: &str) -> Result<(), InjectedFault> {
        let act = {
            let mut left = self.left.lock().unwrap();
            match left.as_mut() {
                Some((0, _)) => left.take().map(|(_, act)| act),
                Some((number, _)) => {
                    *number -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some(act) = act {
            act.await;
        }
        Ok(())
    }
}

/// Two backups, one that was interrupted long ago and has left a snapshot, and WAL from 1 to 30.
async fn house() -> (House, Vec<Backup>) {
    let house = House::new().await;
    house.archive(&(1..=30).collect::<Vec<_>>()).await;
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::After));
    house.provider().fail_next(ProviderCall::Delete, ProviderFailure::Error(When::Before));
    house.push(&house.request(1)).await.unwrap_err();
    house.clock.advance(Duration::from_hours(48));
    let backups = vec![house.backup_at(2, 10, Permanence::Ordinary).await, house.backup_at(3, 20, Permanence::Ordinary).await];
    house.server.change(|facts| facts.wal_position = stillframe_core::postgres::Lsn((30 << 20) + 0x28));
    (house, backups)
}

#[derive(Debug)]
struct Situation {
    first: Deed,
    other: Deed,
    number: usize,
    patience: Duration,
}

impl fmt::Display for Situation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Runs one beside the other; false when the first had no such operation.
async fn beside(situation: &Situation) -> bool {
    let (house, backups) = house().await;
    let clock = ManualClock::new(start_of_time() + Duration::from_hours(48));
    let mut others = None;
    let other = async {
        let ports = Ports { clock: &clock, ..house.ports(&house.store) };
        others = Some(situation.other.run(&house, &ports, &backups, situation.patience).await);
    };
    let store = WatchedStore::new(&house.store, Before { left: Mutex::new(Some((situation.number, Box::pin(other)))) });
    let firsts = situation.first.run(&house, &house.ports(&store), &backups, Duration::from_mins(10)).await;
    drop(store);
    let Some(others) = others else { return false };
    house.assert_invariants(&situation.to_string()).await;
    assert_kept(&house, situation, &backups, [(situation.first, &firsts), (situation.other, &others)]).await;
    assert_converges(&house, situation, &backups).await;
    true
}

/// What was confirmed holds, and what was not has a reason that people understand.
async fn assert_kept(house: &House, situation: &Situation, backups: &[Backup], outcomes: [(Deed, &Result<(), String>); 2]) {
    let (contents, archived) = (house.contents().await, house.archived().await);
    for backup in contents.backups.iter().filter(|backup| !backup.is_condemned) {
        let range = backup.sentinel.wal_range();
        let is_there = |number| archived.contains(&format!("0000000100000000{number:08X}"));
        assert!((range.first..=range.last).all(is_there), "protected_wal_present: {situation}: {}", backup.sentinel.name);
    }
    for (deed, outcome) in outcomes {
        match (deed, outcome) {
            (Deed::MarkPermanent, Ok(())) => {
                let marked = contents.find(&backups[0].sentinel.name);
                let kept = marked.is_some_and(|backup| !backup.is_condemned && backup.permanence == Permanence::Permanent);
                // Deleted by name afterwards it is only when it was ordinary again.
                assert!(kept, "permanent_survives: {situation}: {outcomes:?}");
            }
            (_, Ok(())) => {}
            (_, Err(told)) => {
                let words = [
                    "lease",
                    "given up",
                    "deletion of the backup",
                    "there is no backup",
                    "exists already",
                    "is not in the archive",
                    "has changed since the plan",
                    "permanent",
                    "cannot be deleted",
                    "would leave",
                    "is no backup",
                    "deletions failed",
                ];
                assert!(words.iter().any(|word| told.contains(word)), "{situation}: {deed:?} was told `{told}`");
            }
        }
    }
}

/// One more run of each settles what was left.
async fn assert_converges(house: &House, situation: &Situation, backups: &[Backup]) {
    house.clock.advance(Duration::from_hours(48));
    let ports = house.ports(&house.store);
    for deed in [Deed::Reconcile, Deed::DeleteGarbage, Deed::Reconcile] {
        let outcome = deed.run(house, &ports, backups, Duration::from_mins(10)).await;
        outcome.unwrap_or_else(|told| panic!("{situation}: {deed:?}: {told}"));
    }
    let contents = house.contents().await;
    assert!(contents.intents.is_empty() && contents.remnants.is_empty(), "{situation}: {contents:?}");
    let published: BTreeSet<String> = contents.backups.iter().flat_map(crate::house::handles_of).collect();
    assert_eq!(house.handles(), published, "0 orphans: {situation}");
    assert!(contents.backups.iter().all(|backup| !backup.is_condemned), "{situation}");
}

/// So many operations lie between two that one other deed stops: the deeds that follow stop those between.
const STRIDE: usize = 9;

/// The others beside every operation of the first.
async fn everywhere(first: Deed) {
    let patiences = [Duration::ZERO, Duration::from_mins(10)];
    let others = DEEDS.iter().flat_map(|other| patiences.map(|patience| (*other, patience)));
    let mut stopped = 0;
    for (turn, (other, patience)) in others.enumerate() {
        let mut number = turn % STRIDE;
        while beside(&Situation { first, other, number, patience }).await {
            number += STRIDE;
            stopped += 1;
        }
    }
    assert!(stopped > DEEDS.len(), "{first:?} has too few operations: {stopped}");
}

#[tokio::test]
async fn everything_beside_a_push_loses_nothing() {
    everywhere(Deed::Push).await;
}

#[tokio::test]
async fn everything_beside_a_deletion_by_name_loses_nothing() {
    everywhere(Deed::DeleteTarget).await;
}

#[tokio::test]
async fn everything_beside_a_deletion_of_everything_loses_nothing() {
    everywhere(Deed::DeleteEverything).await;
}

#[tokio::test]
async fn everything_beside_a_removal_of_garbage_loses_nothing() {
    everywhere(Deed::DeleteGarbage).await;
}

#[tokio::test]
async fn everything_beside_a_policy_loses_nothing() {
    everywhere(Deed::DeletePolicy).await;
}

#[tokio::test]
async fn everything_beside_a_reconciliation_loses_nothing() {
    everywhere(Deed::Reconcile).await;
}

#[tokio::test]
async fn everything_beside_a_mark_loses_nothing() {
    everywhere(Deed::MarkPermanent).await;
}
