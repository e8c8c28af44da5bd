//! `snapshot-push --cold`: no session, and WAL that the backup keeps for itself; and one that somebody undoes by starting the server.

use stillframe_core::flows::{ColdError, PushError, snapshot_push_cold};
use stillframe_core::testing::FakeStoppedServer;

use crate::harness::{Flow, exhaust};
use crate::seams::Seams;
use crate::world::{World, backup_name};

/// The segment in which the server was shut down.
const NUMBER: u32 = 8;

struct ColdPush {
    /// Whether somebody starts the server while the last provider cuts, the first time.
    is_started: bool,
}

/// Number of the backup of an attempt: a repetition is another backup.
fn seed(attempt: u8) -> u8 {
    4 + attempt
}

impl Flow for ColdPush {
    const AT_LEAST: usize = 35;

    async fn world(&self) -> World {
        let mut world = World::empty().await;
        world.take_backup(1).await;
        world.take_backup(2).await;
        world.move_on(4);
        let stopped = FakeStoppedServer::new(&world.server.facts(), NUMBER);
        if self.is_started {
            let started = stopped.clone();
            world.providers[0].on_create(move || started.start_and_stop());
        }
        world.stopped = Some(stopped);
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        let request = world.push_request(seed(attempt));
        world.remember_shutdown(&request.name);
        match snapshot_push_cold(&seams.ports(), seams.cold_server(), &request, std::future::pending()).await {
            Ok(_) => Ok(()),
            Err(PushError::Cold(ColdError::Changed)) if self.is_started => Ok(()),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, attempt: u8, situation: &str) {
        match world.backup(seed(attempt)).await {
            Some(backup) => assert!(backup.sentinel.is_cold && !backup.is_condemned, "{situation}"),
            None => assert!(self.is_started, "a_success_is_published: {situation}"),
        }
        if self.is_started && attempt == 1 {
            assert!(world.backup(1 + 4).await.is_none(), "what_was_started_is_no_backup: {situation}");
            let name = backup_name(seed(attempt)).to_string();
            let is_left = world.store.snapshot().into_keys().any(|key| key.as_str().contains(&name));
            assert!(!is_left, "what_is_undone_is_gone: {situation}");
        }
    }
}

#[tokio::test]
async fn cold_push() {
    exhaust(&ColdPush { is_started: false }).await;
}

#[tokio::test]
async fn cold_push_of_a_server_that_somebody_starts() {
    exhaust(&ColdPush { is_started: true }).await;
}
