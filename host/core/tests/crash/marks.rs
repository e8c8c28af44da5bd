//! `backup-lock` and `backup-mark`.

use std::time::Duration;

use jiff::Timestamp;
use stillframe_core::catalog::{BackupLock, Permanence};
use stillframe_core::flows::{LockAction, backup_lock, backup_mark};
use stillframe_core::provider::LockMode;

use crate::harness::{Flow, exhaust};
use crate::invariants::handles_of;
use crate::seams::Seams;
use crate::world::{World, backup_name, lease_request, start_of_time};

fn until() -> Timestamp {
    start_of_time() + Duration::from_hours(24 * 365)
}

fn lock() -> BackupLock {
    BackupLock { until: until(), mode: LockMode::Governance }
}

/// How many sets of the first backup are locked.
async fn locked_sets(world: &World) -> usize {
    let backup = world.backup(1).await.unwrap();
    let is_locked = |handle: &String| world.providers.iter().any(|provider| provider.locked_until(handle) == Some(until()));
    handles_of(&backup).filter(is_locked).count()
}

async fn two_backups() -> World {
    let world = World::empty().await;
    world.take_backup(1).await;
    world.take_backup(2).await;
    world
}

struct Lock;

impl Flow for Lock {
    const AT_LEAST: usize = 15;

    async fn world(&self) -> World {
        two_backups().await
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let locked = backup_lock(&seams.ports(), &backup_name(1), LockAction::Lock(lock()), &lease_request("backup-lock")).await;
        locked.map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(locked_sets(world).await, 2, "a_success_is_locked: {situation}");
        assert_eq!(world.backup(1).await.unwrap().lock, Some(lock()), "a_success_is_recorded: {situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        let is_recorded = world.backup(1).await.unwrap().lock.is_some();
        assert!(!is_recorded || locked_sets(world).await == 2, "what_is_called_locked_is_locked: {situation}");
    }
}

#[tokio::test]
async fn backup_lock_locks() {
    exhaust(&Lock).await;
}

struct Unlock;

impl Flow for Unlock {
    const AT_LEAST: usize = 15;

    async fn world(&self) -> World {
        let world = two_backups().await;
        let seams = Seams::new(&world, None);
        Lock.run(&world, &seams, 1).await.unwrap();
        drop(seams);
        world
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let request = lease_request("backup-lock");
        let released = backup_lock(&seams.ports(), &backup_name(1), LockAction::Release, &request).await;
        released.map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(locked_sets(world).await, 0, "a_success_is_unlocked: {situation}");
        assert_eq!(world.backup(1).await.unwrap().lock, None, "{situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        let is_recorded = world.backup(1).await.unwrap().lock.is_some();
        assert!(is_recorded || locked_sets(world).await == 0, "no_lock_is_forgotten: {situation}");
    }
}

#[tokio::test]
async fn backup_lock_releases() {
    exhaust(&Unlock).await;
}

struct Mark(Permanence);

impl Flow for Mark {
    const AT_LEAST: usize = 8;

    async fn world(&self) -> World {
        let world = two_backups().await;
        world.permanent.lock().unwrap().clear();
        world
    }

    async fn run(&self, _world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let seed = if self.0 == Permanence::Permanent { 1 } else { 2 };
        let marked = backup_mark(&seams.ports(), &backup_name(seed), self.0).await;
        marked.map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        let expected = match self.0 {
            Permanence::Permanent => [Permanence::Permanent; 2],
            Permanence::Ordinary => [Permanence::Ordinary; 2],
        };
        let found: Vec<Permanence> = world.contents().await.backups.iter().map(|backup| backup.permanence).collect();
        assert_eq!(found, expected, "a_success_is_marked: {situation}");
    }
}

#[tokio::test]
async fn backup_mark_as_permanent() {
    exhaust(&Mark(Permanence::Permanent)).await;
}

#[tokio::test]
async fn backup_mark_as_ordinary() {
    exhaust(&Mark(Permanence::Ordinary)).await;
}
