//! `snapshot-push` on fakes: every write, every call and every moment fails once.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::catalog::{ArchiveError, Catalog, CatalogError};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{Isolation, Ports, PushError, PushRequest, Server, apply_delete, plan_delete, snapshot_push};
use stillframe_core::paths::{Locator, PathError};
use stillframe_core::postgres::{
    ArchiveMode, ArchiverStatus, CheckpointMode, Connection, ConnectionError, Lsn, ServerFacts, StoppedBackup, Tablespace,
    TimelineId,
};
use stillframe_core::provider::{DataPath, MemberState};
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FakeLocator, FaultyStore, ManualClock, ProviderCall, ProviderFailure, ServerCall, When};

use crate::hooked_store::{Operation, hooked, unreadable};
use crate::house::{self, House, lease_request, segment_key};

#[tokio::test]
async fn publishes_a_backup_and_removes_its_intent() {
    let house = House::new().await;
    let backup = house.push(&house.request(1)).await.unwrap();
    let contents = house.contents().await;
    assert_eq!(contents.backups, std::slice::from_ref(&backup));
    assert!(contents.intents.is_empty());
    assert!(backup.sentinel.backup_label.as_bytes().starts_with(b"START WAL LOCATION: 0/300028"));
    house.assert_invariants("a success").await;
}

#[tokio::test]
async fn a_failed_write_of_the_catalog_leaves_no_snapshot_without_a_record() {
    let count = {
        let house = House::new().await;
        let store = FaultyStore::new(&house.store, None);
        snapshot_push(&house.ports(&store), house.server(), &house.request(1), std::future::pending()).await.unwrap();
        store.writes()
    };
    assert!(count >= 3, "intent, sentinel and removal of the intent are writes");
    for number in 0..count {
        for when in [When::Before, When::After] {
            let house = House::new().await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let result = snapshot_push(&house.ports(&store), house.server(), &house.request(1), std::future::pending()).await;
            house.assert_invariants(&format!("write {number} failed {when:?}")).await;
            let published = !house.contents().await.backups.is_empty();
            assert_eq!(result.is_ok(), published, "lies about success: write {number} failed {when:?}: {result:?}");
        }
    }
}

#[tokio::test]
async fn a_lost_connection_leaves_no_backup_mode_no_sentinel_and_no_snapshot() {
    let calls = {
        let house = House::new().await;
        house.push(&house.request(1)).await.unwrap();
        house.server.calls()
    };
    for call in 0..calls {
        let house = House::new().await;
        house.server.lose_at(call);
        let result = house.push(&house.request(1)).await;
        house.assert_invariants(&format!("the connection was lost at call {call}")).await;
        let contents = house.contents().await;
        assert_eq!(result.is_ok(), !contents.backups.is_empty(), "call {call}: {result:?}");
        if result.is_err() {
            assert!(contents.intents.is_empty() && house.provider().handles().is_empty(), "call {call} left something behind");
        }
    }
}

#[tokio::test]
async fn a_failing_provider_leaves_no_backup_mode_no_sentinel_and_no_unknown_snapshot() {
    let kinds = [ProviderCall::Check, ProviderCall::Resolve, ProviderCall::Create];
    let failures = [
        ProviderFailure::Error(When::Before),
        ProviderFailure::Error(When::After),
        ProviderFailure::Hang(When::Before),
        ProviderFailure::Hang(When::After),
    ];
    for call in kinds {
        for failure in failures {
            // Before backup mode a hanging provider is ended by its own deadline, in the sandbox.
            if call != ProviderCall::Create && matches!(failure, ProviderFailure::Hang(_)) {
                continue;
            }
            let house = House::new().await;
            house.provider().fail_next(call, failure);
            let error = house.push(&house.request(1)).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Transient, "{error}");
            house.assert_invariants(&format!("{call:?} failed: {failure:?}")).await;
            let contents = house.contents().await;
            assert!(contents.backups.is_empty() && contents.intents.is_empty());
            assert!(house.provider().handles().is_empty(), "{call:?} {failure:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_deleted_stays_under_its_intent() {
    for call in [ProviderCall::Get, ProviderCall::Delete] {
        let house = House::new().await;
        house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::After));
        house.provider().fail_next(call, ProviderFailure::Error(When::Before));
        let error = house.push(&house.request(1)).await.unwrap_err();
        assert!(matches!(error, PushError::LeftUnderIntent { .. }), "{error}");
        house.assert_invariants(&format!("{call:?} of the undo failed")).await;
        assert_eq!(house.contents().await.intents.len(), 1);
        assert_eq!(house.provider().handles().len(), 1);
    }
}

/// Resolves when it is polled for the n-th time: an interruption at the n-th moment at which the flow lets go.
pub(crate) struct AtPoll(pub(crate) usize);

impl Future for AtPoll {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[tokio::test]
async fn an_interruption_at_any_moment_leaves_nothing_behind() {
    let mut interruptions = 0;
    for moment in 0..2_000 {
        let house = House::new().await;
        house.provider().set_states(vec![MemberState::Cut, MemberState::Cut, MemberState::Ready]);
        let result = snapshot_push(&house.ports(&house.store), house.server(), &house.request(1), AtPoll(moment)).await;
        house.assert_invariants(&format!("interrupted at moment {moment}")).await;
        let contents = house.contents().await;
        assert!(contents.intents.is_empty());
        match result {
            Err(PushError::Interrupted) => {
                interruptions += 1;
                assert!(contents.backups.is_empty() && house.provider().handles().is_empty(), "moment {moment}");
            }
            Ok(_) => {
                assert!(interruptions > 10, "only {interruptions} moments were tried");
                return;
            }
            Err(error) => panic!("moment {moment}: {error}"),
        }
    }
    panic!("the flow never came to its end");
}

#[tokio::test]
async fn refuses_a_snapshot_that_changes_with_the_live_cluster() {
    let house = House::new().await;
    house.provider().share_with_source();
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::NotIsolated));
    assert!(house.provider().handles().is_empty(), "it is deleted again");
    let accepted = PushRequest { isolation: Isolation::NotRequired, ..house.request(2) };
    assert!(!house.push(&accepted).await.unwrap().sentinel.is_isolated());
}

#[tokio::test]
async fn a_snapshot_that_fails_after_the_cut_is_not_published() {
    let house = House::new().await;
    house.provider().set_states(vec![MemberState::Cut, MemberState::Failed("the pool is full".to_owned())]);
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::SnapshotFailed { .. }), "{error}");
    let looks = house.provider().calls().into_iter().filter(|call| *call == ProviderCall::Get).count();
    // One for the state, and one by the token to undo it: a failure is not waited out.
    assert!(looks <= 2, "{looks}");
    house.assert_invariants("the snapshot failed").await;
    assert!(house.provider().handles().is_empty());
}

#[tokio::test]
async fn a_backup_whose_wal_is_not_archived_is_not_published() {
    let house = House::new().await;
    house.server.change(|facts| facts.wal_position = Lsn(0x50_0028));
    let error = house.push(&house.request(1)).await.unwrap_err();
    let PushError::NotArchived { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing.to_string(), "000000010000000000000005");
    house.assert_invariants("the WAL was not archived").await;
    assert!(house.provider().handles().is_empty());
}

#[tokio::test]
async fn refuses_a_server_that_does_not_archive() {
    let house = House::new().await;
    house.server.change(|facts| facts.archive_mode = ArchiveMode::Off);
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.hint().unwrap().contains("archive_mode"));
    assert!(!house.provider().calls().contains(&ProviderCall::Create));
}

#[tokio::test]
async fn a_promotion_in_the_middle_voids_the_backup() {
    let house = House::new().await;
    house.server.change(|facts| facts.in_recovery = true);
    let server = house.server();
    // Promoted between the first and the second question.
    let fake = house.server.clone();
    let provider = house.providers.0[0].clone();
    provider.on_create(move || {
        fake.change(|facts| {
            facts.in_recovery = false;
            facts.timeline = TimelineId::new(2).unwrap();
        });
    });
    let ports = house.ports(&house.store);
    let error = snapshot_push(&ports, server, &house.request(1), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::Promoted { .. }), "{error}");
    house.assert_invariants("a promotion").await;
    assert!(house.provider().handles().is_empty());
}

#[tokio::test]
async fn a_tablespace_that_is_not_in_the_snapshot_voids_the_backup() {
    let house = House::new().await;
    house.server.set_tablespace_map(b"16384 /ts1\n16385 /ts2\n");
    let tablespace = |oid, location| Tablespace { oid, name: format!("t{oid}"), location: PathBuf::from(location) };
    house.server.change(|facts| facts.tablespaces = vec![tablespace(16384, "/ts1")]);
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::NewTablespace { oid: 16385 }), "{error}");
    house.server.change(|facts| facts.tablespaces.push(tablespace(16385, "/ts2")));
    let backup = house.push(&house.request(2)).await.unwrap();
    assert_eq!(backup.sentinel.tablespace_map.as_bytes(), b"16384 /ts1\n16385 /ts2\n");
    assert_eq!(backup.sentinel.sets[0].snapshot.members.last().unwrap().volume, "data", "the volume with pg_control is cut last");
}

#[tokio::test]
async fn a_second_backup_of_one_name_touches_nothing_of_the_first() {
    let house = House::new().await;
    house.push(&house.request(1)).await.unwrap();
    let before = house.store.snapshot();
    house.push(&PushRequest { token: stillframe_core::provider::Token("other".to_owned()), ..house.request(1) }).await.unwrap_err();
    let after = house.store.snapshot();
    let of_backups = |key: &&Key| !key.as_str().contains("/lease_001/");
    assert_eq!(before.keys().filter(of_backups).collect::<Vec<_>>(), after.keys().filter(of_backups).collect::<Vec<_>>());
    house.assert_invariants("a second backup of one name").await;
}

#[tokio::test]
async fn wal_of_another_cluster_under_the_right_name_makes_no_backup() {
    let house = House::new().await;
    // After an `initdb` with the same configuration: the archive holds the segments of the cluster before.
    house.server.change(|facts| facts.system_identifier.0 += 1);
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::Archive(ArchiveError::ForeignCluster { .. })), "{error}");
    house.assert_invariants("foreign WAL").await;
    assert!(house.contents().await.backups.is_empty() && house.provider().handles().is_empty());
}

#[tokio::test]
async fn wal_that_the_archiver_is_refused_makes_no_backup() {
    let house = House::new().await;
    // After a roll-back of the server's storage: the right names and cluster, and other content than the server has.
    house.server.fail_archiving("000000010000000000000003");
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::NotArchivedByServer { last_failed: Some(_), .. }), "{error}");
    house.assert_invariants("the archiver fails").await;
}

#[tokio::test]
async fn a_damaged_segment_makes_no_backup() {
    let house = House::new().await;
    house.store.put(&segment_key(3), bytes::Bytes::from_static(b"damaged")).await.unwrap();
    assert_eq!(house.push(&house.request(1)).await.unwrap_err().class(), ErrorClass::Corrupt);
    house.assert_invariants("a damaged segment").await;
}

#[tokio::test]
async fn a_backup_that_was_settled_behind_its_back_is_not_published() {
    let house = House::new().await;
    let garbage = async {
        // The host that deletes has a clock that is a day ahead, or this one was suspended for so long.
        let ahead = ManualClock::new(house::start_of_time() + Duration::from_hours(48));
        let ports = Ports { clock: &ahead, ..house.ports(&house.store) };
        let plan = plan_delete(&ports, &RetentionRule::Garbage).await.unwrap();
        let report = apply_delete(&ports, &RetentionRule::Garbage, &plan, &lease_request("delete")).await;
        assert_eq!(report.settled.len(), 1);
    };
    let store = hooked(&house.store, Operation::PutIfAbsent, "sentinel.json", garbage);
    let result = snapshot_push(&house.ports(&store), house.server(), &house.request(1), std::future::pending()).await;
    assert!(matches!(result, Err(PushError::Catalog(CatalogError::GivenUp { .. }))), "{result:?}");
    drop(store);
    house.assert_invariants("settled before the publication").await;
    assert!(house.contents().await.backups.is_empty());
}

#[tokio::test]
async fn a_published_backup_is_not_settled() {
    let house = House::new().await;
    let request = house.request(1);
    // Settling has begun, and the backup is published in the very moment before it is condemned.
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::After));
    house.provider().fail_next(ProviderCall::Get, ProviderFailure::Error(When::Before));
    house.push(&request).await.unwrap_err();
    let sentinel = {
        let other = House::new().await;
        other.push(&request).await.unwrap();
        let key = Key::parse(&format!("main/snapshots_001/{}/sentinel.json", request.name)).unwrap();
        (key.clone(), other.store.get(&key).await.unwrap().unwrap())
    };
    house.clock.advance(Duration::from_hours(48));
    let publish = async {
        house.store.put(&sentinel.0, sentinel.1.clone()).await.unwrap();
    };
    let store = hooked(&house.store, Operation::PutIfAbsent, "condemned.json", publish);
    let ports = house.ports(&store);
    let plan = plan_delete(&ports, &RetentionRule::Garbage).await.unwrap();
    apply_delete(&ports, &RetentionRule::Garbage, &plan, &lease_request("delete"))
        .await
        .into_result()
        .map_err(|(_, error)| error)
        .unwrap();
    drop(store);
    house.assert_invariants("published while it was settled").await;
    let contents = house.contents().await;
    assert!(contents.backups.len() == 1 && !contents.backups[0].is_condemned, "the condemnation is taken back");
}

#[tokio::test]
async fn a_backup_that_is_published_while_the_catalog_is_read_is_seen() {
    let house = House::new().await;
    let backup = house.push(&house.request(1)).await.unwrap();
    let key = |record: &str| Key::parse(&format!("main/snapshots_001/{}/{record}.json", backup.sentinel.name)).unwrap();
    let sentinel = house.store.get(&key("sentinel")).await.unwrap().unwrap();
    house.store.delete(&key("sentinel")).await.unwrap();
    house.store.put(&key("intent"), bytes::Bytes::from_static(b"{}")).await.unwrap();
    let publish = async {
        house.store.put(&key("sentinel"), sentinel.clone()).await.unwrap();
        house.store.delete(&key("intent")).await.unwrap();
    };
    let store = hooked(&house.store, Operation::Get, "intent.json", publish);
    let contents = Catalog::new(&store, &house.layout).contents().await.unwrap();
    assert_eq!(contents.backups, std::slice::from_ref(&backup));
}

#[tokio::test]
async fn a_sentinel_that_may_be_there_keeps_its_snapshot() {
    let house = House::new().await;
    let inner = unreadable(&house.store, "sentinel.json");
    for number in 0..3 {
        let request = house.request(number);
        // Before it come the lease, at first the catalog's name and later the removal of the older lease, the intent, the release.
        let faulty = FaultyStore::new(&inner, Some((4, When::After)));
        let result = snapshot_push(&house.ports(&faulty), house.server(), &request, std::future::pending()).await;
        assert!(matches!(result, Err(PushError::Catalog(CatalogError::PublicationUnknown { .. }))), "{result:?}");
        house.assert_invariants("nobody knows whether the sentinel was written").await;
        assert!(house.provider().handles().contains(&format!("fake:{}", request.name)));
    }
}

#[tokio::test]
async fn a_backup_that_outlived_its_intent_is_not_published() {
    let house = House::new().await;
    let clock = house.clock.clone();
    // The host was suspended for days between the cut and the publication.
    house.provider().on_create(move || clock.advance(Duration::from_hours(100)));
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::Expired { .. }), "{error}");
    house.assert_invariants("expired").await;
    assert!(house.provider().handles().is_empty());
}

/// A connection that answers nothing any more.
struct Silent(Box<dyn Connection>);

#[async_trait]
impl Connection for Silent {
    async fn facts(&mut self) -> Result<ServerFacts, ConnectionError> {
        self.0.facts().await
    }

    async fn start_backup(&mut self, _label: &str, _checkpoint: CheckpointMode) -> Result<Lsn, ConnectionError> {
        std::future::pending().await
    }

    async fn stop_backup(&mut self) -> Result<StoppedBackup, ConnectionError> {
        std::future::pending().await
    }

    async fn ping(&mut self) -> Result<(), ConnectionError> {
        std::future::pending().await
    }

    async fn missing_grants(&mut self) -> Result<Vec<String>, ConnectionError> {
        std::future::pending().await
    }

    async fn archiver(&mut self) -> Result<ArchiverStatus, ConnectionError> {
        self.0.archiver().await
    }

    async fn create_restore_point_and_switch(&mut self, _name: &str) -> Result<Lsn, ConnectionError> {
        std::future::pending().await
    }
}

/// On disks of which one hangs, which it tells.
#[derive(Default)]
struct Hanging(tokio::sync::Notify);

#[async_trait]
impl Locator for Hanging {
    fn locate(&self, facts: &ServerFacts) -> Result<Vec<DataPath>, PathError> {
        FakeLocator.locate(facts)
    }

    async fn flush(&self, _paths: &[DataPath]) -> Result<(), PathError> {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_disk_that_hangs_keeps_nobody_from_stopping_and_does_not_hold_a_push_for_ever() {
    let house = House::new().await;
    let disks = Hanging::default();
    let server = || Server { locator: &disks, ..house.server() };
    let hangs = disks.0.notified();
    let error = snapshot_push(&house.ports(&house.store), server(), &house.request(1), hangs).await.unwrap_err();
    assert!(matches!(error, PushError::Interrupted), "{error}");
    let error = snapshot_push(&house.ports(&house.store), server(), &house.request(2), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::FlushDeadline(_)), "{error}");
    house.assert_invariants("a disk that hangs").await;
    assert!(house.contents().await.intents.is_empty() && house.provider().handles().is_empty());
}

#[tokio::test]
async fn a_server_that_falls_silent_does_not_hold_a_push_for_ever() {
    let house = House::new().await;
    let server = Server { connection: Box::new(Silent(house.server.connect())), ..house.server() };
    let error = snapshot_push(&house.ports(&house.store), server, &house.request(1), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::CutDeadline(_)), "{error}");
    house.assert_invariants("a silent server").await;
    assert!(house.contents().await.intents.is_empty());
}

#[tokio::test]
async fn a_backup_that_starts_before_what_its_intent_protects_is_void() {
    let house = House::new().await;
    let server = house.server.clone();
    // As a standby would that told its replay position and starts at an older restartpoint.
    house.server.change(|facts| facts.wal_position = Lsn(0x50_0028));
    house.archive(&[3, 4, 5]).await;
    house.server.at_start(move || server.change(|facts| facts.wal_position = Lsn(0x30_0028)));
    let error = house.push(&house.request(1)).await.unwrap_err();
    assert!(matches!(error, PushError::Label(_)), "{error}");
    house.assert_invariants("it starts too early").await;
}

#[tokio::test]
async fn what_fails_in_backup_mode_archives_no_history_file_by_which_a_late_cut_would_look_like_a_backup() {
    for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Error(When::After), ProviderFailure::Hang(When::After)] {
        let house = House::new().await;
        house.provider().fail_next(ProviderCall::Create, failure);
        let ports = house.ports(&house.store);
        let error = snapshot_push(&ports, house.server(), &house.request(1), std::future::pending()).await.unwrap_err();
        assert!(matches!(error, PushError::Provider(_) | PushError::CutDeadline(_)), "{error}");
        assert_eq!(house.server.done(), [ServerCall::Start], "backup mode ends with its connection: {error}");
        house.assert_invariants("a cut that fails").await;
    }
}
