//! Backups whose WAL another tool keeps, on fakes: proven where it lies, never written there, and never counted as ours.
//!
//! What could go wrong: a backup whose WAL was never archived; a segment of another cluster taken for its own; a write or a deletion in
//! the other tool's place; a restore that looks for the WAL in our archive.

use async_trait::async_trait;
use stillframe_core::catalog::{Backup, ExternalKind, ExternalProof};
use stillframe_core::error::{Classify as _, ErrorClass};
use stillframe_core::flows::{
    Depth, ExternalWal, KeptState, PushError, Unproven, VerifyError, VerifyRequest, WindowTimes, snapshot_push_external,
    wal_verify, window,
};
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FaultyStore, InjectedFault, MemoryStore, Operation, WatchedStore, Watcher, wal_segment};
use stillframe_core::window::Unusable;

use crate::house::{House, segment, segment_key};

/// Nothing is answered.
struct Silent;

#[async_trait]
impl Watcher for Silent {
    async fn before(&self, _operation: Operation, _target: &str) -> Result<(), InjectedFault> {
        Err(InjectedFault)
    }
}

fn foreign_key(number: u32, suffix: &str) -> Key {
    Key::parse(&format!("external/wal_005/{}{suffix}", segment(number))).unwrap()
}

/// A house whose own archive holds nothing, and a place with the segment of its backups.
async fn house_with_a_foreign_place() -> (House, MemoryStore) {
    let (house, foreign) = (House::new().await, MemoryStore::default());
    let body = house.store.get(&segment_key(3)).await.unwrap().unwrap();
    house.store.delete(&segment_key(3)).await.unwrap();
    foreign.put(&foreign_key(3, ".zst"), body).await.unwrap();
    (house, foreign)
}

async fn push(house: &House, place: Option<&dyn Store>, unproven: Unproven) -> Result<Backup, PushError> {
    let kind = if place.is_some() { ExternalKind::WalG } else { ExternalKind::Other };
    let wal = ExternalWal { kind, place, unproven };
    snapshot_push_external(&house.ports(&house.store), house.server(), &wal, &house.request(1), std::future::pending()).await
}

async fn assert_nothing_is_left(house: &House) {
    house.assert_invariants("external").await;
    let contents = house.contents().await;
    assert!(house.handles().is_empty() && contents.intents.is_empty() && contents.backups.is_empty());
}

#[tokio::test]
async fn the_range_is_proven_in_the_foreign_place_which_is_only_read() {
    let (house, foreign) = house_with_a_foreign_place().await;
    let watched = FaultyStore::new(&foreign, None);
    let backup = push(&house, Some(&watched), Unproven::Refused).await.unwrap();
    let external = backup.sentinel.external_archive.clone().unwrap();
    assert_eq!((external.kind, external.proof), (ExternalKind::WalG, ExternalProof::Contents));
    assert_eq!(external.place, Some(foreign.url()));
    assert_eq!(house.contents().await.backups, [backup], "it is read as it was written");
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert_nothing_is_left(&house).await;
    assert_eq!(watched.writes(), 0);
    assert_eq!(foreign.snapshot().len(), 1);
}

#[tokio::test]
async fn a_range_that_is_not_there_is_refused_or_published_as_unproven() {
    let (house, foreign) = house_with_a_foreign_place().await;
    foreign.delete(&foreign_key(3, ".zst")).await.unwrap();
    let error = push(&house, Some(&foreign), Unproven::Refused).await.unwrap_err();
    assert!(matches!(error, PushError::NotArchived { .. } | PushError::Archive(_)), "{error:?}");
    assert_nothing_is_left(&house).await;
    let backup = push(&house, Some(&foreign), Unproven::Accepted).await.unwrap();
    assert_eq!(backup.sentinel.external_archive.unwrap().proof, ExternalProof::Unproven);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_a_doubt_and_one_of_another_cluster_is_none() {
    let (house, foreign) = house_with_a_foreign_place().await;
    let size = house.server.facts().segment_size;
    foreign.delete(&foreign_key(3, ".zst")).await.unwrap();
    foreign.put(&foreign_key(3, ".lz4"), vec![0x5A; 5000].into()).await.unwrap();
    push(&house, Some(&foreign), Unproven::Refused).await.unwrap_err();
    assert_nothing_is_left(&house).await;
    push(&house, Some(&foreign), Unproven::Accepted).await.unwrap();
    house.delete(&RetentionRule::Everything).await.unwrap();

    foreign.delete(&foreign_key(3, ".lz4")).await.unwrap();
    let other = stillframe_core::postgres::SystemIdentifier(8);
    foreign.put(&foreign_key(3, ""), wal_segment(3, other, size, 0).into()).await.unwrap();
    for unproven in [Unproven::Refused, Unproven::Accepted] {
        let error = push(&house, Some(&foreign), unproven).await.unwrap_err();
        assert!(matches!(error, PushError::Archive(_)), "{error:?}");
        assert_nothing_is_left(&house).await;
    }
}

#[tokio::test]
async fn without_a_place_the_archiver_of_the_server_has_to_have_come_as_far() {
    let (house, _) = house_with_a_foreign_place().await;
    house.server.change(|facts| facts.in_recovery = true);
    let error = push(&house, None, Unproven::Refused).await.unwrap_err();
    assert!(matches!(error, PushError::NobodyTells), "{error:?}");
    assert_nothing_is_left(&house).await;
    let backup = push(&house, None, Unproven::Accepted).await.unwrap();
    assert_eq!(backup.sentinel.external_archive.unwrap().proof, ExternalProof::Unproven);
}

#[tokio::test]
async fn nothing_here_tells_how_far_such_a_backup_is_recovered() {
    let (house, foreign) = house_with_a_foreign_place().await;
    push(&house, Some(&foreign), Unproven::Refused).await.unwrap();
    let ports = house.ports(&house.store);
    let report = window(&ports, None, WindowTimes::LeftOut).await.unwrap();
    assert!(report.window.intervals.is_empty(), "{:?}", report.window.intervals);
    assert!(matches!(&report.window.unusable[..], [only] if matches!(only.reason, Unusable::External(_))));
    let verified = wal_verify(&ports, &VerifyRequest::default(), None, &|_| {}).await.unwrap();
    assert_eq!(verified.missing_count(), 0, "nothing of it belongs here");
    assert!(verified.verdict().is_err(), "and nothing of it was verified");
}

#[tokio::test]
async fn its_wal_is_verified_in_the_foreign_place_and_only_there() {
    let (house, foreign) = house_with_a_foreign_place().await;
    push(&house, Some(&foreign), Unproven::Refused).await.unwrap();
    let ports = house.ports(&house.store);
    let names = VerifyRequest::default();
    let deep = VerifyRequest { depth: Depth::Contents { workers: 1 }, ..VerifyRequest::default() };
    for (request, expected) in [(&names, KeptState::Present), (&deep, KeptState::Proven)] {
        let report = wal_verify(&ports, request, Some(&foreign), &|_| {}).await.unwrap();
        assert_eq!(report.backups[0].external.as_ref().unwrap().state, Some(expected));
        report.verdict().unwrap();
    }
    let silent = WatchedStore::new(&foreign, Silent);
    for request in [&names, &deep] {
        let error = wal_verify(&ports, request, Some(&silent), &|_| {}).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient, "an outage is no gap: {error}");
    }
    // What lies in ours under the same name is not what it needs.
    let body = foreign.get(&foreign_key(3, ".zst")).await.unwrap().unwrap();
    foreign.delete(&foreign_key(3, ".zst")).await.unwrap();
    house.store.put(&segment_key(3), body.clone()).await.unwrap();
    foreign.put(&foreign_key(4, ".zst"), body).await.unwrap();
    for request in [&names, &deep] {
        let report = wal_verify(&ports, request, Some(&foreign), &|_| {}).await.unwrap();
        assert_eq!(report.missing_count(), 1);
        assert!(matches!(report.verdict(), Err(VerifyError::Missing { count: 1 })));
    }
}
