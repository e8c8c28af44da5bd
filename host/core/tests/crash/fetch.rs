//! `snapshot-fetch`, where it was asked and elsewhere, and `snapshot-release`.

use stillframe_core::flows::{
    FetchError, FetchRequest, ReleaseHosts, ReleaseReport, ReleaseRequest, RestoreSelector, snapshot_fetch, snapshot_release,
};
use stillframe_core::provider::{ProviderFault, Token};
use stillframe_core::testing::ProviderCall;

use crate::harness::{Flow, exhaust};
use crate::invariants::{assert_ready, fetch_request};
use crate::seams::Seams;
use crate::world::{HOST, World};

struct SnapshotFetch {
    is_elsewhere: bool,
}

async fn world(is_elsewhere: bool) -> World {
    let world = World::empty().await;
    world.take_backup(1).await;
    world.take_backup(2).await;
    if is_elsewhere {
        for (number, provider) in world.providers.iter().enumerate() {
            provider.restore_below(&world.path(&format!("mounts-{number}")));
        }
    }
    world
}

fn request(world: &World, token: &str) -> FetchRequest {
    FetchRequest {
        destination: world.path("new"),
        tablespace_mapping: vec![(world.path("original/space"), world.path("new space"))],
        token: Token(token.to_owned()),
        ..fetch_request()
    }
}

async fn fetch(world: &World, seams: &Seams<'_>, token: &str) -> Result<(), FetchError> {
    snapshot_fetch(&seams.ports(), &request(world, token), std::future::pending()).await.map(|_| ())
}

async fn release(world: &World, seams: &Seams<'_>) -> Result<ReleaseReport, String> {
    let restore = RestoreSelector::Destination(world.path("new"));
    let request = ReleaseRequest { restore, hostname: HOST.to_owned(), hosts: ReleaseHosts::This };
    snapshot_release(&seams.ports(), &request).await.map_err(|error| format!("{error:?}"))
}

fn is_active(world: &World) -> bool {
    world.providers.iter().any(|provider| !provider.active_restores().is_empty())
}

fn is_linked(world: &World) -> bool {
    ["new", "new space"].iter().any(|place| world.path(place).is_symlink())
}

fn assert_whole(world: &World, situation: &str) {
    assert_ready(&world.path("new"), situation);
    assert!(world.path("new space/PG_15_202209061").is_dir(), "a_success_has_every_tablespace: {situation}");
}

impl Flow for SnapshotFetch {
    const AT_LEAST: usize = 80;

    async fn world(&self) -> World {
        world(self.is_elsewhere).await
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        fetch(world, seams, &format!("restore-{attempt}")).await.map_err(|error| match error {
            FetchError::NotReleased { .. } => format!("left: {error:?}"),
            error => format!("{error:?}"),
        })
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_whole(world, situation);
        assert_eq!(is_active(world), self.is_elsewhere, "{situation}");
    }

    async fn assert_failed(&self, world: &World, _attempt: u8, error: &str, situation: &str) {
        let is_left = is_active(world) || is_linked(world) || !world.restores().await.is_empty();
        assert!(!is_left || error.starts_with("left"), "an_error_takes_back_or_says_what_is_left: {situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        let is_recorded = !world.restores().await.is_empty();
        assert!(!is_linked(world) || is_recorded, "no_link_without_a_record: {situation}");
    }

    async fn before_repeating(&self, world: &World, seams: &Seams<'_>) {
        release(world, seams).await.unwrap();
        assert!(!is_active(world) && !is_linked(world) && world.restores().await.is_empty(), "a_release_leaves_nothing");
        if fetch(world, seams, "probe").await.is_ok() {
            assert_whole(world, "repeated at once");
            release(world, seams).await.unwrap();
            return;
        }
        // What is only there in part is refused; the operator removes it.
        for place in ["new", "new space"] {
            let _ = std::fs::remove_dir_all(world.path(place));
        }
    }
}

#[tokio::test]
async fn snapshot_fetch_where_it_was_asked() {
    exhaust(&SnapshotFetch { is_elsewhere: false }).await;
}

#[tokio::test]
async fn snapshot_fetch_elsewhere() {
    exhaust(&SnapshotFetch { is_elsewhere: true }).await;
}

struct SnapshotRelease;

impl Flow for SnapshotRelease {
    const AT_LEAST: usize = 9;

    async fn world(&self) -> World {
        let world = world(true).await;
        let seams = Seams::new(&world, None);
        fetch(&world, &seams, "restore-1").await.unwrap();
        drop(seams);
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        release(world, seams).await.map(|_| ())
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert!(!is_active(world) && !is_linked(world), "a_success_leaves_nothing: {situation}");
        assert!(world.restores().await.is_empty(), "{situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        let is_recorded = !world.restores().await.is_empty();
        assert!(is_recorded || !(is_active(world) || is_linked(world)), "the_record_goes_last: {situation}");
    }
}

#[tokio::test]
async fn snapshot_release_of_a_restore() {
    exhaust(&SnapshotRelease).await;
}

/// The provider that restores last cannot, so that what the other one has restored is taken back.
struct UndoneFetch;

impl Flow for UndoneFetch {
    const AT_LEAST: usize = 30;
    /// Nothing is promised of what was taken back.
    const IS_DURABLE: bool = false;

    async fn world(&self) -> World {
        let world = world(true).await;
        world.providers[0].refuse_next(ProviderCall::Restore, ProviderFault::Exhausted("of room".to_owned()));
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        match fetch(world, seams, &format!("restore-{attempt}")).await {
            Err(FetchError::Provider(error)) if matches!(error.fault, ProviderFault::Exhausted(_)) => Ok(()),
            fetched => fetched.map_err(|error| format!("{error:?}")),
        }
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        if is_active(world) {
            assert_whole(world, situation);
        } else {
            assert!(!is_linked(world) && world.restores().await.is_empty(), "what_is_undone_is_gone: {situation}");
        }
    }

    async fn before_repeating(&self, world: &World, seams: &Seams<'_>) {
        SnapshotFetch { is_elsewhere: true }.before_repeating(world, seams).await;
    }
}

#[tokio::test]
async fn snapshot_fetch_that_is_undone() {
    exhaust(&UndoneFetch).await;
}
