//! `drill`, of a backup that an earlier drill has proven, with storage that restores elsewhere and with storage that copies.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use stillframe_core::catalog::{Catalog, DrillOutcome};
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::flows::{CheckChoice, DrillChecks, DrillError, DrillRequest, DrillScript, DrillTarget, drill};
use stillframe_core::provider::Token;

use crate::harness::{Flow, exhaust};
use crate::policy::proof;
use crate::seams::Seams;
use crate::world::{HOST, World, backup_name};

struct Drill {
    is_elsewhere: bool,
}

fn request(world: &World, attempt: u8) -> DrillRequest {
    DrillRequest {
        backup: None,
        target: DrillTarget::Given(RecoveryTarget::Immediate, Inclusion::Inclusive),
        timeline: TargetTimeline::Latest,
        directory: world.path("drill"),
        live: Vec::new(),
        snapshot_roots: Vec::new(),
        copying: BTreeSet::new(),
        restore_command: "fetch %f %p".to_owned(),
        unreachable_code: 205,
        token: Token(format!("{attempt:032}").chars().rev().collect()),
        hostname: HOST.to_owned(),
        checks: DrillChecks {
            user: "postgres".to_owned(),
            database: "app".to_owned(),
            preload: String::new(),
            scripts: vec![DrillScript { name: "1.sql".to_owned(), text: "SELECT true".to_owned() }],
            amcheck: CheckChoice::Wanted,
            checksums: CheckChoice::Wanted,
        },
        deadline: Duration::from_mins(1),
    }
}

fn rooms(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.path("drill")).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

async fn assert_nothing_is_left(world: &World, situation: &str) {
    assert!(world.servers.lock().unwrap().is_empty(), "no_server_is_left: {situation}");
    assert!(world.restores().await.is_empty(), "{situation}");
    assert!(world.providers.iter().all(|provider| provider.active_restores().is_empty()), "{situation}");
}

async fn is_proven(world: &World) -> bool {
    world.backup(2).await.unwrap().drill.is_some_and(|record| record.is_proof())
}

impl Flow for Drill {
    const AT_LEAST: usize = 60;
    /// What it makes is gone again; what it found is in the store.
    const IS_DURABLE: bool = false;

    async fn world(&self) -> World {
        let world = World::empty().await;
        world.take_backup(1).await;
        world.take_backup(2).await;
        if self.is_elsewhere {
            for (number, provider) in world.providers.iter().enumerate() {
                provider.restore_below(&world.path(&format!("mounts-{number}")));
            }
        }
        Catalog::new(&*world.store, &world.layout).record_drill(&backup_name(2), &proof()).await.unwrap();
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        let (ports, request) = (seams.ports(), request(world, attempt));
        let drilled = drill(&ports, seams.programs(), &request, std::future::pending()).await;
        match drilled.map(|report| report.record.outcome) {
            Ok(DrillOutcome::Proven) => Ok(()),
            Ok(DrillOutcome::Failed(reason)) => Err(format!("failed: {reason}")),
            Err(error @ DrillError::NotCleared { .. }) => Err(format!("left: {error:?}")),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert!(is_proven(world).await, "a_success_is_recorded: {situation}");
        assert_nothing_is_left(world, situation).await;
        assert_eq!(rooms(world), Vec::<PathBuf>::new(), "a_success_leaves_nothing: {situation}");
    }

    async fn assert_failed(&self, world: &World, _attempt: u8, error: &str, situation: &str) {
        if error.starts_with("left") {
            return;
        }
        assert_nothing_is_left(world, situation).await;
        // One that was made although it was said that it could not be is empty, and goes with the next drill.
        let is_used = |room: &PathBuf| std::fs::read_dir(room).unwrap().next().is_some();
        assert!(!rooms(world).iter().any(is_used), "an_error_takes_back_or_says_what_is_left: {situation}");
        assert!(error.starts_with("failed") || is_proven(world).await, "no_accident_takes_a_proof_away: {situation}");
    }

    /// What runs, or is restored, can be found by the mark of its room.
    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        for (data, socket) in &*world.servers.lock().unwrap() {
            assert!(data.is_dir(), "nothing_is_taken_from_under_a_server: {situation}");
            let room = socket.parent().unwrap();
            assert!(room.join("drill.json").is_file(), "no_server_without_a_mark: {situation}");
            assert!(data.starts_with(room) || room.join("data").is_symlink(), "the_mark_leads_to_the_server: {situation}");
        }
        let is_marked = rooms(world).iter().any(|room| room.join("drill.json").is_file());
        assert!(is_marked || world.restores().await.is_empty(), "no_restore_without_a_mark: {situation}");
        let original = std::fs::read_dir(world.path("original/data")).unwrap();
        assert_eq!(original.count(), 0, "the_living_cluster_is_not_touched: {situation}");
    }
}

#[tokio::test]
async fn drill_with_storage_that_restores_elsewhere() {
    exhaust(&Drill { is_elsewhere: true }).await;
}

#[tokio::test]
async fn drill_with_storage_that_copies() {
    exhaust(&Drill { is_elsewhere: false }).await;
}
