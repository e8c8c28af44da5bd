//! `reconcile`, of a push and a deletion that were both killed half-way.

use std::collections::BTreeSet;

use stillframe_core::flows::{ReconcileRequest, apply_delete, apply_reconcile, plan_delete, plan_reconcile};
use stillframe_core::provider::Provider;
use stillframe_core::retention::RetentionRule;
use stillframe_core::testing::{Failure, Fault, Spot, When};

use crate::harness::{Flow, LATER, exhaust};
use crate::invariants::handles_of;
use crate::seams::Seams;
use crate::world::{HOST, World, backup_name, lease_request};

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

struct Reconcile;

impl Flow for Reconcile {
    const AT_LEAST: usize = 60;

    async fn world(&self) -> World {
        let world = World::with_backups().await;
        let fault = Fault { spot: Spot::Named("other delete"), when: When::After, failure: Failure::Kill };
        let seams = Seams::new(&world, Some(fault));
        let (ports, rule) = (seams.ports(), RetentionRule::Target(backup_name(1)));
        let (plan, lease) = (plan_delete(&ports, &rule).await.unwrap(), lease_request("delete"));
        tokio::select! {
            biased;
            () = seams.fuse.died() => {}
            _ = apply_delete(&ports, &rule, &plan, &lease) => panic!("it was killed"),
        }
        drop(seams);
        world.clock.advance(LATER);
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let (ports, request) = (seams.ports(), request(world));
        let plan = plan_reconcile(&ports, &request).await.map_err(|error| format!("{error:?}"))?;
        let report = apply_reconcile(&ports, &request, &plan, &lease_request("reconcile")).await;
        // What an archive that failed leaves undecided is shown, and no failure of the run.
        if let Some(undecided) = plan.findings.iter().find(|finding| finding.action().is_none()) {
            return Err(format!("{undecided:?}"));
        }
        report.into_result().and_then(|()| plan.into_result()).map_err(|error| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        let contents = world.contents().await;
        assert!(contents.intents.is_empty() && contents.remnants.is_empty(), "a_success_leaves_nothing: {situation}");
        let names: Vec<_> = contents.backups.iter().map(|backup| backup.sentinel.name.clone()).collect();
        let kept: Vec<_> = (2..=4).map(backup_name).collect();
        assert!(kept.iter().all(|name| names.contains(name)), "{situation}: {names:?}");
        assert!(!names.contains(&backup_name(1)), "a_success_leaves_nothing: {situation}");
        let published: BTreeSet<String> = contents.backups.iter().flat_map(handles_of).collect();
        let there: BTreeSet<String> = world.providers.iter().flat_map(|provider| provider.handles()).collect();
        assert_eq!(there, published, "no_unaccounted_snapshot: {situation}");
    }
}

#[tokio::test]
async fn reconcile_after_a_killed_push_and_a_killed_deletion() {
    exhaust(&Reconcile).await;
}
