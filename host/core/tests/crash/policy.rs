//! `delete policy`: the newest backup with all WAL since, and the last one that a drill proved, which keeps its own WAL only from now on.

use std::time::Duration;

use stillframe_core::catalog::{Catalog, DrillOutcome, DrillRecord};
use stillframe_core::flows::{apply_delete, plan_delete};
use stillframe_core::retention::{RetentionPolicy, RetentionRule};

use crate::harness::{Flow, exhaust};
use crate::seams::Seams;
use crate::world::{HOST, World, backup_name, lease_request, start_of_time};

struct Policy;

fn rule() -> RetentionRule {
    RetentionRule::Policy(RetentionPolicy { count: Some(1), ..RetentionPolicy::default() })
}

pub(crate) fn proof() -> DrillRecord {
    DrillRecord {
        outcome: DrillOutcome::Proven,
        at: start_of_time(),
        hostname: HOST.to_owned(),
        target: "the end of the backup".to_owned(),
        reached: None,
        restore_time: Duration::ZERO,
        recovery_time: Duration::ZERO,
        checks: Vec::new(),
    }
}

/// Numbers of the segments that stay: those of the permanent backup, of the proven one, and all since the newest.
const WAL: [u32; 5] = [4, 6, 8, 9, 10];

impl Flow for Policy {
    const AT_LEAST: usize = 60;

    async fn world(&self) -> World {
        let world = World::with_backups().await;
        Catalog::new(&*world.store, &world.layout).record_drill(&backup_name(3), &proof()).await.unwrap();
        world
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let (ports, rule) = (seams.ports(), rule());
        let plan = plan_delete(&ports, &rule).await.map_err(|error| format!("{error:?}"))?;
        let report = apply_delete(&ports, &rule, &plan, &lease_request("delete")).await;
        report.into_result().map(|_| ()).map_err(|(_, error)| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        let backups = world.contents().await.backups;
        let names: Vec<_> = backups.iter().map(|backup| backup.sentinel.name.clone()).collect();
        assert_eq!(names, (2..=4).map(backup_name).collect::<Vec<_>>(), "a_success_has_deleted_just_that: {situation}");
        let standalone: Vec<bool> = backups.iter().map(|backup| backup.is_standalone).collect();
        assert_eq!(standalone[1..], [true, false], "what_keeps_its_own_wal_only_says_so: {situation}");
        assert_eq!(world.archived().await, WAL, "a_success_has_deleted_just_that: {situation}");
        let seams = Seams::new(world, None);
        assert!(plan_delete(&seams.ports(), &rule()).await.unwrap().is_empty(), "nothing is left to do: {situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        for seed in 2..=4 {
            let backup = world.backup(seed).await;
            assert!(backup.is_some_and(|backup| !backup.is_condemned), "what_is_kept_is_not_touched: {situation}");
        }
        let archived = world.archived().await;
        assert!(WAL.iter().all(|number| archived.contains(number)), "protected_wal_present: {situation}: {archived:?}");
    }
}

#[tokio::test]
async fn delete_by_a_policy_in_two_tiers() {
    exhaust(&Policy).await;
}
