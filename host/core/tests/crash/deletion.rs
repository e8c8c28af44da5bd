//! `delete`, by each kind of rule, beside an interrupted push; and its dry run, which only looks.

use stillframe_core::flows::{DeleteError, apply_delete, plan_delete};
use stillframe_core::retention::{PlanError, RetentionRule};
use stillframe_core::testing::Effect;

use crate::harness::{Flow, exhaust};
use crate::seams::Seams;
use crate::world::{World, backup_name, lease_request};

struct Delete {
    rule: RetentionRule,
    /// Numbers of the backups that stay.
    kept: &'static [u8],
    /// Numbers of the segments that stay.
    wal: Vec<u32>,
    /// Whether the storage systems only accept the first deletion.
    is_slow: bool,
}

impl Delete {
    async fn once(&self, seams: &Seams<'_>) -> Result<bool, String> {
        let ports = seams.ports();
        let plan = match plan_delete(&ports, &self.rule).await {
            // It is gone with all that was to go with it, or the caller finds what is left: the same command has to finish.
            Err(DeleteError::Plan(PlanError::NoSuchBackup(_))) => return Ok(true),
            planned => planned.map_err(|error| format!("{error:?}"))?,
        };
        let report = apply_delete(&ports, &self.rule, &plan, &lease_request("delete")).await;
        match report.into_result() {
            Ok(report) => Ok(report.pending.is_empty()),
            // The next run goes on with it.
            Err((_, DeleteError::Partly { first, .. })) if matches!(*first, DeleteError::StillDeleting(_)) => Ok(false),
            Err((_, error)) => Err(format!("{error:?}")),
        }
    }
}

impl Flow for Delete {
    const AT_LEAST: usize = 40;

    async fn world(&self) -> World {
        let world = World::with_backups().await;
        if self.is_slow {
            world.providers.iter().for_each(|provider| provider.delete_slowly());
        }
        world
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        for _ in 0..3 {
            if self.once(seams).await? {
                return Ok(());
            }
        }
        Err("it is still deleted".to_owned())
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        let contents = world.contents().await;
        let names: Vec<_> = contents.backups.iter().map(|backup| backup.sentinel.name.clone()).collect();
        let kept: Vec<_> = self.kept.iter().map(|seed| backup_name(*seed)).collect();
        assert_eq!(names, kept, "a_success_has_deleted_just_that: {situation}");
        assert_eq!(world.archived().await, self.wal, "a_success_has_deleted_just_that: {situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        for seed in self.kept {
            let backup = world.backup(*seed).await;
            assert!(backup.is_some_and(|backup| !backup.is_condemned), "what_is_kept_is_not_touched: {situation}");
        }
        let archived = world.archived().await;
        assert!(self.wal.iter().all(|number| archived.contains(number)), "protected_wal_present: {situation}: {archived:?}");
    }
}

#[tokio::test]
async fn delete_retain() {
    let rule = RetentionRule::Retain { count: 1, after: None };
    exhaust(&Delete { rule, kept: &[2, 4], wal: vec![4, 8, 9, 10], is_slow: false }).await;
}

#[tokio::test]
async fn delete_target() {
    let rule = RetentionRule::Target(backup_name(1));
    exhaust(&Delete { rule, kept: &[2, 3, 4], wal: vec![4, 6, 7, 8, 9, 10], is_slow: false }).await;
}

#[tokio::test]
async fn delete_target_in_storage_that_takes_its_time() {
    let rule = RetentionRule::Target(backup_name(1));
    exhaust(&Delete { rule, kept: &[2, 3, 4], wal: vec![4, 6, 7, 8, 9, 10], is_slow: true }).await;
}

#[tokio::test]
async fn delete_everything() {
    exhaust(&Delete { rule: RetentionRule::Everything, kept: &[2], wal: vec![4], is_slow: false }).await;
}

#[tokio::test]
async fn delete_garbage() {
    let wal = (2..=10).collect();
    exhaust(&Delete { rule: RetentionRule::Garbage, kept: &[1, 2, 3, 4], wal, is_slow: false }).await;
}

#[tokio::test]
async fn delete_garbage_in_storage_that_takes_its_time() {
    let wal = (2..=10).collect();
    exhaust(&Delete { rule: RetentionRule::Garbage, kept: &[1, 2, 3, 4], wal, is_slow: true }).await;
}

/// Without `--confirm`.
struct DryRun;

impl Flow for DryRun {
    const AT_LEAST: usize = 10;

    async fn world(&self) -> World {
        World::with_backups().await
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let planned = plan_delete(&seams.ports(), &RetentionRule::Everything).await;
        let plan = planned.map_err(|error| format!("{error:?}"))?;
        assert_eq!(plan.removed_backups().count(), 3, "a plan on a partial view");
        assert!(!seams.fuse.has_blown(), "a plan on a partial view");
        Ok(())
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(world.contents().await.backups.len(), 4, "{situation}");
    }

    fn assert_effects(&self, effects: &[(String, Effect)], situation: &str) {
        for (name, effect) in effects {
            let is_of_provider = name.starts_with("fake") || name.starts_with("other");
            assert!(*effect == Effect::Look && !is_of_provider, "dry_run_touches_nothing: {situation}: {name}");
        }
    }
}

#[tokio::test]
async fn delete_as_a_dry_run() {
    exhaust(&DryRun).await;
}
