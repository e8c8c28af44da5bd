//! `snapshot-push`: with one provider and two, with storage that takes its time, without waiting for it, and undone.

use stillframe_core::catalog::{BackupState, CatalogError};
use stillframe_core::flows::{ProviderChoice, PushError, PushRequest, Readiness, snapshot_push};
use stillframe_core::provider::{MemberState, ProviderFault};
use stillframe_core::testing::ProviderCall;

use crate::harness::{Flow, exhaust};
use crate::invariants::handles_of;
use crate::seams::Seams;
use crate::world::{World, backup_name};

struct SnapshotPush {
    is_alone: bool,
    readiness: Readiness,
    states: Vec<MemberState>,
}

/// Number of the backup of an attempt: a repetition is another backup.
fn seed(attempt: u8) -> u8 {
    4 + attempt
}

impl SnapshotPush {
    fn request(&self, world: &World, attempt: u8) -> PushRequest {
        let request = world.push_request(seed(attempt));
        let rules = if self.is_alone { Vec::new() } else { request.providers.rules.clone() };
        PushRequest { readiness: self.readiness, providers: ProviderChoice { rules, ..request.providers.clone() }, ..request }
    }
}

impl Flow for SnapshotPush {
    const AT_LEAST: usize = 35;

    async fn world(&self) -> World {
        let world = World::empty().await;
        world.take_backup(1).await;
        world.take_backup(2).await;
        world.move_on(4);
        for provider in &world.providers {
            provider.set_states(self.states.clone());
        }
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        let request = self.request(world, attempt);
        match snapshot_push(&seams.ports(), seams.server(), &request, std::future::pending()).await {
            Ok(_) => Ok(()),
            Err(error @ PushError::Catalog(CatalogError::PublicationUnknown { .. })) => Err(format!("unknown: {error:?}")),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, attempt: u8, situation: &str) {
        let backup = world.backup(seed(attempt)).await;
        let backup = backup.unwrap_or_else(|| panic!("a_success_is_published: {situation}"));
        assert!(!backup.is_condemned, "{situation}");
        assert_eq!(handles_of(&backup).count(), if self.is_alone { 1 } else { 2 });
        if self.readiness == Readiness::Awaited {
            assert_eq!(backup.state, BackupState::Ready, "a_success_is_ready: {situation}");
        }
    }

    async fn assert_failed(&self, world: &World, attempt: u8, error: &str, situation: &str) {
        let is_published = world.backup(seed(attempt)).await.is_some();
        assert!(!is_published || error.starts_with("unknown"), "an_error_hides_no_backup: {situation}");
    }
}

#[tokio::test]
async fn snapshot_push_with_one_provider() {
    exhaust(&SnapshotPush { is_alone: true, readiness: Readiness::Awaited, states: vec![MemberState::Ready] }).await;
}

#[tokio::test]
async fn snapshot_push_with_two_providers_that_take_their_time() {
    let states = [vec![MemberState::Cut; 9], vec![MemberState::Ready]].concat();
    exhaust(&SnapshotPush { is_alone: false, readiness: Readiness::Awaited, states }).await;
}

#[tokio::test]
async fn snapshot_push_that_does_not_wait() {
    let states = [vec![MemberState::Cut; 9], vec![MemberState::Ready]].concat();
    exhaust(&SnapshotPush { is_alone: false, readiness: Readiness::Later, states }).await;
}

/// The provider that cuts last cannot, so that what the other one has cut is undone.
struct UndonePush;

impl Flow for UndonePush {
    const AT_LEAST: usize = 30;

    async fn world(&self) -> World {
        let world = World::empty().await;
        world.take_backup(1).await;
        world.move_on(4);
        world.providers[0].refuse_next(ProviderCall::Create, ProviderFault::Exhausted("of room".to_owned()));
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        let request = world.push_request(seed(attempt));
        let pushed = snapshot_push(&seams.ports(), seams.server(), &request, std::future::pending()).await;
        match pushed {
            Ok(_) => Ok(()),
            Err(PushError::Provider(error)) if matches!(error.fault, ProviderFault::Exhausted(_)) => Ok(()),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, attempt: u8, situation: &str) {
        let contents = world.contents().await;
        if contents.find(&backup_name(seed(attempt))).is_none() {
            assert!(contents.intents.iter().all(|intent| intent.name != backup_name(seed(attempt))), "{situation}");
            let name = backup_name(seed(attempt)).to_string();
            let is_left = world.providers.iter().any(|provider| provider.handles().iter().any(|handle| handle.ends_with(&name)));
            assert!(!is_left, "what_is_undone_is_gone: {situation}");
        }
    }
}

#[tokio::test]
async fn snapshot_push_that_is_undone() {
    exhaust(&UndonePush).await;
}
