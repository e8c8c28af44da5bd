//! Sessions for outside tools on fakes: what is held, what is lost, what is published, and what others make of it.

use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::catalog::{BackupName, Catalog, CatalogError, OutsideCopy, Permanence};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    HeldSession, LONGEST_SESSION, LockAction, LockError, PushError, Server, SessionEnd, SessionError, SessionRequest,
    StoppedSession, backup_lock, begin_session, forget_session,
};
use stillframe_core::postgres::{
    ArchiverStatus, BackupSession, CheckpointMode, Connection, ConnectionError, Lsn, ServerFacts, StoppedBackup, TimelineId,
};
use stillframe_core::provider::Token;
use stillframe_core::retention::RetentionRule;
use stillframe_core::testing::{FaultyStore, ProviderCall, When, published_backup};

use crate::house::{House, lease_request, start_of_time};
use crate::snapshot_push::AtPoll;

const ARCHIVE: Duration = Duration::from_mins(10);

fn request(seed: u8, timeout: Option<Duration>) -> SessionRequest {
    SessionRequest {
        name: BackupName::new(start_of_time() - Duration::from_hours(2), [seed; 5]),
        token: Token(format!("token-{seed}")),
        permanence: Permanence::Ordinary,
        user_data: None,
        checkpoint: CheckpointMode::Fast,
        hostname: "db1".to_owned(),
        lease: lease_request("session begin"),
        timeout,
        step_deadline: Duration::from_mins(10),
    }
}

async fn begin(house: &House, request: &SessionRequest) -> Result<HeldSession, PushError> {
    begin_session(&house.ports(&house.store), house.server(), request, std::future::pending()).await
}

/// Holds a session until it is asked to end, some pings later, and stops it.
async fn stopped(house: &House, request: &SessionRequest) -> StoppedSession {
    let ports = house.ports(&house.store);
    let mut held = begin(house, request).await.unwrap();
    held.hold(&ports, AtPoll(300)).await.unwrap();
    held.stop(&ports).await.unwrap()
}

fn ids(ids: &[&str]) -> OutsideCopy {
    OutsideCopy { snapshot_ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

#[tokio::test]
async fn publishes_what_the_outside_tool_has_copied_without_asking_any_provider() {
    let house = House::new().await;
    let mut stopped = stopped(&house, &request(1, None)).await;
    assert_eq!(house.server.in_backup_mode(), 0, "the label leaves after backup mode has ended");
    stopped.name_copy(ids(&["restic:4bba301e", "vol-7"]));
    let backup = stopped.publish(&house.ports(&house.store), None, ARCHIVE).await.unwrap();
    assert_eq!(backup.sentinel.outside, Some(ids(&["restic:4bba301e", "vol-7"])));
    let contents = house.contents().await;
    assert_eq!(contents.backups, [backup]);
    assert!(contents.intents.is_empty());
    assert_eq!(house.provider().calls(), []);
    house.assert_invariants("a success").await;
}

#[tokio::test]
async fn the_intent_keeps_the_wal_of_a_session_from_being_deleted() {
    let house = House::new().await;
    house.archive(&[1, 2, 4]).await;
    let held = begin(&house, &request(1, None)).await.unwrap();
    let intent = house.contents().await.intents.pop().unwrap();
    assert!(intent.is_outside && intent.requests.is_empty());
    assert!(intent.expires_at >= start_of_time() + LONGEST_SESSION, "without a timeout it lasts");
    house.delete(&RetentionRule::Everything).await.unwrap();
    let kept = ["000000010000000000000003", "000000010000000000000004"].map(str::to_owned);
    assert_eq!(house.archived().await, kept.into());
    held.give_up(&house.ports(&house.store)).await.unwrap();
    assert!(house.contents().await.intents.is_empty());
    house.assert_invariants("given up").await;
}

#[tokio::test]
async fn a_lost_connection_at_any_call_leaves_no_backup_mode_and_no_backup() {
    let mut ends = (0, 0, 0);
    for call in 0..30 {
        let house = House::new().await;
        house.server.lose_at(call);
        let ports = house.ports(&house.store);
        let Ok(mut held) = begin(&house, &request(1, None)).await else {
            ends.0 += 1;
            house.assert_invariants(&format!("begin lost call {call}")).await;
            assert!(house.contents().await.intents.is_empty());
            continue;
        };
        match held.hold(&ports, AtPoll(500)).await {
            Err(SessionEnd::Lost(_)) => {
                ends.1 += 1;
                assert_eq!(house.server.in_backup_mode(), 0, "call {call}");
                drop(held);
            }
            Err(SessionEnd::TimedOut) => panic!("there is no timeout"),
            Ok(()) => match held.stop(&ports).await {
                Ok(mut stopped) => {
                    stopped.publish(&ports, None, ARCHIVE).await.unwrap();
                    assert!(ends.0 > 2 && ends.1 > 2 && ends.2 > 1, "{ends:?}");
                    return;
                }
                Err(error) => {
                    ends.2 += 1;
                    assert!(matches!(error, PushError::Connection(_)), "{error}");
                    assert!(house.contents().await.intents.is_empty());
                }
            },
        }
        house.assert_invariants(&format!("call {call} was lost")).await;
        assert!(house.contents().await.backups.is_empty());
    }
    panic!("the session never came to its end: {ends:?}");
}

#[tokio::test]
async fn a_timeout_ends_the_session_and_none_does_not() {
    let house = House::new().await;
    let ports = house.ports(&house.store);
    let mut held = begin(&house, &request(1, Some(Duration::from_mins(5)))).await.unwrap();
    let end = held.hold(&ports, std::future::pending::<()>()).await.unwrap_err();
    assert!(matches!(end, SessionEnd::TimedOut), "{end:?}");
    held.give_up(&ports).await.unwrap();
    house.assert_invariants("timed out").await;
    assert!(house.contents().await.intents.is_empty());

    let mut held = begin(&house, &request(2, None)).await.unwrap();
    house.clock.advance(Duration::from_hours(24 * 30));
    held.hold(&ports, AtPoll(300)).await.unwrap();
    held.stop(&ports).await.unwrap().publish(&ports, None, ARCHIVE).await.unwrap();
}

/// A connection as they really are: one that nobody waits for any more in the middle of a ping is good for nothing.
struct SlowPing {
    inner: Box<dyn Connection>,
    is_waiting: bool,
}

#[async_trait]
impl Connection for SlowPing {
    async fn facts(&mut self) -> Result<ServerFacts, ConnectionError> {
        self.inner.facts().await
    }

    async fn start_backup(&mut self, label: &str, checkpoint: CheckpointMode) -> Result<Lsn, ConnectionError> {
        self.inner.start_backup(label, checkpoint).await
    }

    async fn stop_backup(&mut self) -> Result<StoppedBackup, ConnectionError> {
        assert!(!self.is_waiting, "a ping was given up");
        self.inner.stop_backup().await
    }

    async fn ping(&mut self) -> Result<(), ConnectionError> {
        self.is_waiting = true;
        AtPoll(1_000).await;
        self.is_waiting = false;
        self.inner.ping().await
    }

    async fn missing_grants(&mut self) -> Result<Vec<String>, ConnectionError> {
        self.inner.missing_grants().await
    }

    async fn archiver(&mut self) -> Result<ArchiverStatus, ConnectionError> {
        self.inner.archiver().await
    }

    async fn create_restore_point_and_switch(&mut self, name: &str) -> Result<Lsn, ConnectionError> {
        self.inner.create_restore_point_and_switch(name).await
    }
}

#[tokio::test]
async fn an_order_in_the_middle_of_a_ping_does_not_cost_the_session() {
    for moment in [50, 300, 700, 1_500] {
        let house = House::new().await;
        let ports = house.ports(&house.store);
        let slow = || Box::new(SlowPing { inner: house.server.connect(), is_waiting: false });
        let server = Server { connection: slow(), ..house.server() };
        let mut held = begin_session(&ports, server, &request(1, None), std::future::pending()).await.unwrap();
        held.hold(&ports, AtPoll(moment)).await.unwrap();
        held.stop(&ports).await.unwrap().publish(&ports, None, ARCHIVE).await.unwrap();
        // The cut of a provider as well.
        let mut session = BackupSession::start(slow(), "label", CheckpointMode::Fast).await.unwrap();
        session.alive_during(&house.clock, AtPoll(moment)).await.unwrap();
        session.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_is_set_neither_ends_nor_prolongs_a_session() {
    let house = House::new().await;
    let ports = house.ports(&house.store);
    let mut held = begin(&house, &request(1, Some(Duration::from_hours(1)))).await.unwrap();
    house.clock.set(start_of_time() + Duration::from_hours(12));
    held.hold(&ports, AtPoll(50)).await.unwrap();
    house.clock.set(start_of_time() - Duration::from_hours(12));
    house.clock.advance(Duration::from_hours(1));
    assert!(matches!(held.hold(&ports, std::future::pending::<()>()).await, Err(SessionEnd::TimedOut)));
}

#[tokio::test]
async fn an_interruption_of_begin_at_any_moment_leaves_nothing_behind() {
    let mut interruptions = 0;
    for moment in 0..2_000 {
        let house = House::new().await;
        let begun = begin_session(&house.ports(&house.store), house.server(), &request(1, None), AtPoll(moment)).await;
        match begun {
            Err(PushError::Interrupted) => interruptions += 1,
            Ok(held) => {
                drop(held);
                assert!(interruptions >= 4, "only {interruptions} moments were tried: one for each step");
                return;
            }
            Err(error) => panic!("moment {moment}: {error}"),
        }
        house.assert_invariants(&format!("interrupted at moment {moment}")).await;
        assert!(house.contents().await.intents.is_empty());
    }
    panic!("begin never came to its end");
}

#[tokio::test]
async fn a_backup_whose_wal_is_missing_is_published_by_another_try_with_the_same_label() {
    let house = House::new().await;
    house.server.change(|facts| facts.wal_position = Lsn(0x50_0028));
    let ports = house.ports(&house.store);
    let mut first = stopped(&house, &request(1, None)).await;
    first.name_copy(ids(&["vol-7"]));
    let kept = first.render(&ports).unwrap();
    let label = first.sentinel().backup_label.clone();
    let error = first.publish(&ports, None, ARCHIVE).await.unwrap_err();
    assert!(matches!(error, PushError::NotArchived { .. }), "{error}");
    drop(first);
    assert_eq!(house.contents().await.intents.len(), 1, "its WAL is kept for another try");

    house.archive(&[5]).await;
    // In another process, which has no session on the server.
    let mut second = StoppedSession::resume(&ports, &request(1, None).name, &kept, None).await.unwrap();
    let backup = second.publish(&ports, None, ARCHIVE).await.unwrap();
    assert_eq!(backup.sentinel.backup_label, label);
    assert_eq!(backup.sentinel.outside, Some(ids(&["vol-7"])));
    house.assert_invariants("published at the second try").await;
}

#[tokio::test]
async fn what_was_settled_meanwhile_is_not_published() {
    let house = House::new().await;
    let ports = house.ports(&house.store);
    let mut stopped = stopped(&house, &request(1, None)).await;
    let kept = stopped.render(&ports).unwrap();
    forget_session(&ports, &request(1, None).name).await.unwrap();
    let error = stopped.publish(&ports, None, ARCHIVE).await.unwrap_err();
    assert!(matches!(error, PushError::Catalog(CatalogError::GivenUp { .. })), "{error}");
    let again = StoppedSession::resume(&ports, &request(1, None).name, &kept, None).await.err().unwrap();
    assert!(matches!(again, PushError::Catalog(CatalogError::GivenUp { .. })), "{again}");
    let told = SessionError::NotPublished { name: request(1, None).name, cause: Box::new(again) };
    assert_eq!(told.class(), ErrorClass::Refused, "no other try can succeed");
    assert!(house.contents().await.backups.is_empty());
}

#[tokio::test]
async fn what_is_stopped_after_its_intent_has_expired_is_not_published() {
    let house = House::new().await;
    let ports = house.ports(&house.store);
    let mut stopped = stopped(&house, &request(1, Some(Duration::from_hours(1)))).await;
    let kept = stopped.render(&ports).unwrap();
    house.clock.advance(Duration::from_hours(72));
    let error = stopped.publish(&ports, None, ARCHIVE).await.unwrap_err();
    assert!(matches!(error, PushError::Expired { .. }), "{error}");
    let again = StoppedSession::resume(&ports, &request(1, None).name, &kept, None).await.err().unwrap();
    assert!(matches!(again, PushError::Expired { .. }), "{again}");
}

#[tokio::test]
async fn a_promotion_in_the_middle_voids_the_session() {
    let house = House::new().await;
    house.server.change(|facts| facts.in_recovery = true);
    let ports = house.ports(&house.store);
    let held = begin(&house, &request(1, None)).await.unwrap();
    house.server.change(|facts| {
        facts.in_recovery = false;
        facts.timeline = TimelineId::new(2).unwrap();
    });
    let error = held.stop(&ports).await.err().unwrap();
    assert!(matches!(error, PushError::Promoted { .. }), "{error}");
    house.assert_invariants("promoted").await;
    assert!(house.contents().await.intents.is_empty());
}

#[tokio::test]
async fn a_failed_write_of_the_catalog_never_makes_a_lie() {
    let mut published = 0;
    for number in 0..12 {
        for when in [When::Before, When::After] {
            let house = House::new().await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let ports = house.ports(&store);
            let result = match begin_session(&ports, house.server(), &request(1, None), std::future::pending()).await {
                Ok(held) => match held.stop(&ports).await {
                    Ok(mut stopped) => stopped.publish(&ports, None, ARCHIVE).await.map(drop),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            let is_there = !house.contents().await.backups.is_empty();
            assert!(result.is_err() || is_there, "write {number} failed {when:?}: success, and no backup");
            house.assert_invariants(&format!("write {number} failed {when:?}")).await;
            published += usize::from(result.is_ok());
        }
    }
    assert!(published >= 4, "some writes do not matter, and beyond the last none fails: {published}");
}

#[tokio::test]
async fn several_sessions_at_once_are_several_backups() {
    let house = House::new().await;
    let ports = house.ports(&house.store);
    let one = begin(&house, &request(1, None)).await.unwrap();
    let other = begin(&house, &request(2, None)).await.unwrap();
    assert_eq!(house.server.in_backup_mode(), 2);
    one.give_up(&ports).await.unwrap();
    assert_eq!(house.server.in_backup_mode(), 1, "the other one goes on");
    other.stop(&ports).await.unwrap().publish(&ports, None, ARCHIVE).await.unwrap();
    let contents = house.contents().await;
    assert_eq!((contents.backups.len(), contents.intents.len()), (1, 0));
    assert_eq!(contents.backups[0].sentinel.name, request(2, None).name);
}

#[tokio::test]
async fn what_an_outside_tool_has_is_deleted_in_the_catalog_only_and_not_locked() {
    let house = House::new().await;
    let ports = house.ports(&house.store);
    let name = request(1, None).name;
    stopped(&house, &request(1, None)).await.publish(&ports, None, ARCHIVE).await.unwrap();
    let lock = stillframe_core::catalog::BackupLock {
        mode: stillframe_core::provider::LockMode::Governance,
        until: start_of_time() + Duration::from_hours(1_000),
    };
    let error = backup_lock(&ports, &name, LockAction::Lock(lock), &lease_request("backup-lock")).await.unwrap_err();
    assert!(matches!(error, LockError::Outside(_)), "{error}");
    house.delete(&RetentionRule::Target(name)).await.unwrap();
    assert!(house.contents().await.backups.is_empty());
    assert!(!house.provider().calls().contains(&ProviderCall::Delete));
}

#[tokio::test]
async fn a_record_of_a_provider_says_nothing_of_outside_tools() {
    let house = House::new().await;
    let rendered = Catalog::new(&house.store, &house.layout).render(&published_backup(1).sentinel).unwrap();
    assert!(!String::from_utf8(rendered.to_vec()).unwrap().contains("utside"), "old sentinels stay byte for byte");
    house.push(&house.request(1)).await.unwrap();
}
