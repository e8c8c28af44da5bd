//! `reconcile`: of a push and a deletion that were both killed half-way, and of records that the store has lost.

use std::collections::BTreeSet;

use stillframe_core::catalog::Catalog;
use stillframe_core::flows::{Outcome, ReconcileRequest, apply_delete, apply_reconcile, plan_delete, plan_reconcile};
use stillframe_core::provider::Provider;
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, PutOutcome, Store};
use stillframe_core::testing::{Failure, Fault, Spot, When};

use crate::harness::{Flow, LATER, exhaust};
use crate::invariants::handles_of;
use crate::seams::Seams;
use crate::world::{HOST, World, backup_name, lease_request, segment, start_of_time};

pub(crate) fn request(world: &World) -> ReconcileRequest {
    ReconcileRequest {
        providers: world.providers.iter().map(|provider| provider.name().clone()).collect(),
        clusters: BTreeSet::from([world.server.facts().system_identifier]),
        hostname: HOST.to_owned(),
        process_space: None,
        min_age: ReconcileRequest::MIN_AGE,
        claimed: BTreeSet::new(),
    }
}

/// Settles what was interrupted, by `reconcile`.
pub(crate) async fn settle(world: &World, situation: &str) {
    let seams = Seams::new(world, None);
    let (ports, request) = (seams.ports(), request(world));
    // A storage system that only accepts a deletion finishes it until the next run.
    for _ in 0..3 {
        let plan = plan_reconcile(&ports, &request).await.unwrap();
        if plan.actions().next().is_none() {
            return;
        }
        let report = apply_reconcile(&ports, &request, &plan, &lease_request("reconcile")).await;
        report.into_result().unwrap_or_else(|error| panic!("{situation}: {error:?}"));
    }
    panic!("{situation}: there is no end of it");
}

/// What it is to settle.
enum Leftovers {
    /// A push and a deletion, both killed half-way.
    Interrupted,
    /// The store has lost records.
    LostRecords,
}

struct Reconcile {
    leftovers: Leftovers,
    /// Numbers of the backups that are there in the end.
    left: &'static [u8],
}

/// Kills a deletion half-way.
async fn kill_delete(world: &World, seed: u8) {
    let fault = Fault { spot: Spot::Named("other delete"), when: When::After, failure: Failure::Kill };
    let seams = Seams::new(world, Some(fault));
    let (ports, rule) = (seams.ports(), RetentionRule::Target(backup_name(seed)));
    let (plan, lease) = (plan_delete(&ports, &rule).await.unwrap(), lease_request("delete"));
    tokio::select! {
        biased;
        () = seams.fuse.died() => {}
        _ = apply_delete(&ports, &rule, &plan, &lease) => panic!("it was killed"),
    }
}

/// Backup 1 stays; 2 has lost its records and 3 as well, of which nothing tells where it stopped; 4 is beside its intent; of 5 only
/// the condemnation is left.
async fn lost_records() -> World {
    let world = World::empty().await;
    for seed in [1, 2, 3] {
        world.take_backup(seed).await;
    }
    world.lose_records(2).await;
    world.lose_records(3).await;
    let is_end_of_3 = |key: &Key| key.as_str().contains(&format!("{}.00", segment(6)));
    let history = world.store.snapshot().into_keys().find(is_end_of_3);
    world.store.delete(&history.unwrap()).await.unwrap();
    // It was killed just before the intent went.
    let fault = Fault { spot: Spot::Named("delete main/snapshots_001"), when: When::Before, failure: Failure::Kill };
    world.kill_push_at(4, fault).await;
    let catalog = Catalog::new(&*world.store, &world.layout);
    let _: PutOutcome = catalog.condemn(&backup_name(5), start_of_time()).await.unwrap();
    world.permanent.lock().unwrap().clear();
    world
}

impl Flow for Reconcile {
    const AT_LEAST: usize = 60;

    async fn world(&self) -> World {
        let world = match self.leftovers {
            Leftovers::Interrupted => {
                let world = World::with_backups().await;
                kill_delete(&world, 1).await;
                world
            }
            Leftovers::LostRecords => lost_records().await,
        };
        world.clock.advance(LATER);
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let (ports, request) = (seams.ports(), request(world));
        let plan = plan_reconcile(&ports, &request).await.map_err(|error| format!("{error:?}"))?;
        let report = apply_reconcile(&ports, &request, &plan, &lease_request("reconcile")).await;
        // What an archive that failed leaves undecided is shown, before or under the lease, and no failure of the run.
        let is_undecided = plan.findings.iter().any(|finding| finding.action().is_none());
        let has_changed = report.deeds.iter().any(|deed| matches!(deed.outcome, Ok(Outcome::Changed)));
        let has_archive_failed = seams.fuse.blown_at().iter().any(|name| name.contains("/wal_005/"));
        if (is_undecided || has_changed) && has_archive_failed {
            return Err(format!("undecided: {report:?}"));
        }
        report.into_result().and_then(|()| plan.into_result()).map_err(|error| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        let contents = world.contents().await;
        let is_clean = contents.intents.is_empty() && contents.stale_intents.is_empty() && contents.remnants.is_empty();
        assert!(is_clean, "a_success_leaves_nothing: {situation}: {contents:?}");
        let names: Vec<_> = contents.backups.iter().map(|backup| backup.sentinel.name.clone()).collect();
        let left: Vec<_> = self.left.iter().map(|seed| backup_name(*seed)).collect();
        assert_eq!(names, left, "a_success_leaves_nothing: {situation}");
        let published: BTreeSet<String> = contents.backups.iter().flat_map(handles_of).collect();
        let there: BTreeSet<String> = world.providers.iter().flat_map(|provider| provider.handles()).collect();
        assert_eq!(there, published, "no_unaccounted_snapshot: {situation}");
    }

    /// What is to be adopted is never deleted, and what stays is not touched.
    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        let there: BTreeSet<String> = world.providers.iter().flat_map(|provider| provider.handles()).collect();
        for seed in self.left {
            let sets = there.iter().filter(|handle| handle.ends_with(backup_name(*seed).as_str())).count();
            assert_eq!(sets, 2, "what_is_whole_is_kept: {situation}: {seed}");
        }
    }
}

#[tokio::test]
async fn reconcile_after_a_killed_push_and_a_killed_deletion() {
    exhaust(&Reconcile { leftovers: Leftovers::Interrupted, left: &[2, 3, 4] }).await;
}

#[tokio::test]
async fn reconcile_after_records_were_lost() {
    exhaust(&Reconcile { leftovers: Leftovers::LostRecords, left: &[1, 2, 4] }).await;
}
