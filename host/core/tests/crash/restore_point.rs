//! `restore-point create` and `delete`, and `delete` of backups that have increments.

use std::time::Duration;

use stillframe_core::catalog::RestorePointName;
use stillframe_core::flows::{
    RestorePointError, RestorePointRequest, apply_delete, create_restore_point, delete_restore_point, plan_delete,
};
use stillframe_core::retention::{PlanError, RetentionRule};

use crate::harness::{Flow, exhaust};
use crate::seams::Seams;
use crate::world::{World, backup_name, lease_request};

fn named(seed: u8) -> RestorePointName {
    format!("point-{seed}").parse().unwrap()
}

async fn create(seams: &Seams<'_>, seed: u8) -> Result<(), RestorePointError> {
    let request = RestorePointRequest {
        name: named(seed),
        parent: Some(backup_name(seed)),
        deadline: Duration::from_mins(10),
        lease: lease_request("restore-point"),
    };
    create_restore_point(&seams.ports(), seams.server().connection, None, &request).await.map(drop)
}

/// Backups with these numbers have an increment each; the second is permanent.
async fn with_increments(seeds: &[u8]) -> World {
    let world = World::with_backups().await;
    let seams = Seams::new(&world, None);
    for seed in seeds {
        create(&seams, *seed).await.unwrap();
    }
    drop(seams);
    world
}

async fn increments(world: &World) -> Vec<String> {
    let contents = world.contents().await;
    contents.backups.iter().flat_map(|backup| &backup.increments).map(|increment| increment.name.to_string()).collect()
}

struct Create;

impl Flow for Create {
    const AT_LEAST: usize = 20;

    async fn world(&self) -> World {
        World::with_backups().await
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        match create(seams, 1).await {
            // Its record is the last effect: who is told that it is there has nothing left to do.
            Err(RestorePointError::NameTaken(_)) if attempt > 1 => Ok(()),
            made => made.map_err(|error| format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(increments(world).await, ["point-1"], "a_success_is_catalogued: {situation}");
    }
}

#[tokio::test]
async fn restore_point_create() {
    exhaust(&Create).await;
}

struct Remove;

impl Flow for Remove {
    const AT_LEAST: usize = 10;

    async fn world(&self) -> World {
        with_increments(&[1, 2]).await
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        match delete_restore_point(&seams.ports(), &named(1), &lease_request("restore-point")).await {
            Err(RestorePointError::NoSuchRestorePoint(_)) if attempt > 1 => Ok(()),
            removed => removed.map(drop).map_err(|error| format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(increments(world).await, ["point-2"], "a_success_has_removed_just_that: {situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        assert!(increments(world).await.contains(&"point-2".to_owned()), "{situation}");
        assert_eq!(world.contents().await.backups.len(), 4, "no_backup_goes_with_its_increment: {situation}");
    }
}

#[tokio::test]
async fn restore_point_delete() {
    exhaust(&Remove).await;
}

struct DeleteParent {
    rule: RetentionRule,
    kept: &'static [&'static str],
}

impl Flow for DeleteParent {
    const AT_LEAST: usize = 40;

    async fn world(&self) -> World {
        with_increments(&[1, 2]).await
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let ports = seams.ports();
        let plan = match plan_delete(&ports, &self.rule).await {
            Err(stillframe_core::flows::DeleteError::Plan(PlanError::NoSuchBackup(_))) => return Ok(()),
            planned => planned.map_err(|error| format!("{error:?}"))?,
        };
        let report = apply_delete(&ports, &self.rule, &plan, &lease_request("delete")).await;
        report.into_result().map(drop).map_err(|(_, error)| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(increments(world).await, self.kept, "increments_go_with_their_parents_and_no_others: {situation}");
        assert!(world.backup(1).await.is_none(), "{situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        let found = increments(world).await;
        assert!(self.kept.iter().all(|kept| found.iter().any(|name| name == kept)), "{situation}: {found:?}");
        // As long as its parent is not condemned, it is there.
        if world.backup(1).await.is_some_and(|backup| !backup.is_condemned) {
            assert!(found.contains(&"point-1".to_owned()), "{situation}");
        }
    }
}

#[tokio::test]
async fn delete_target_with_increments() {
    exhaust(&DeleteParent { rule: RetentionRule::Target(backup_name(1)), kept: &["point-2"] }).await;
}

#[tokio::test]
async fn delete_everything_but_a_permanent_backup_with_increments() {
    exhaust(&DeleteParent { rule: RetentionRule::Everything, kept: &["point-2"] }).await;
}
