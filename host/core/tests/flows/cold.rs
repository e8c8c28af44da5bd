//! Backups of a server that was shut down, on fakes: only a clean shutdown is one, nobody may start the server meanwhile, and the WAL
//! that a restore needs comes with the backup.
//!
//! What could go wrong: a server that runs or crashed is cut; it starts between two looks; the segment with the checkpoint is taken for
//! archived; it stays behind when the backup goes; a restore without it looks whole.

use std::sync::Arc;

use stillframe_core::catalog::{Backup, Catalog, Consistency, Sentinel, WalArchive};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    ColdError, ColdServer, Depth, KeptState, PushError, PushRequest, Readiness, VerifyRequest, WindowTimes, snapshot_push_cold,
    wal_verify, window,
};
use stillframe_core::postgres::{Lsn, ShutdownError, SystemIdentifier};
use stillframe_core::provider::MemberState;
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FakeLocator, FakeProvider, FakeStoppedServer, FaultyStore, When, shutdown_segment};

use crate::house::{House, segment};
use crate::several_providers;

/// The segment in which the server was shut down; it is not archived.
const NUMBER: u32 = 5;

fn stopped(house: &House) -> FakeStoppedServer {
    FakeStoppedServer::new(&house.server.facts(), NUMBER)
}

async fn push(house: &House, server: &FakeStoppedServer, seed: u8) -> Result<Backup, PushError> {
    let cold = ColdServer { stopped: server, locator: &FakeLocator };
    snapshot_push_cold(&house.ports(&house.store), cold, &house.request(seed), std::future::pending()).await
}

async fn refused(house: &House, server: &FakeStoppedServer, situation: &str) -> ColdError {
    let error = push(house, server, 1).await.unwrap_err();
    assert_nothing_is_left(house, situation).await;
    match error {
        PushError::Cold(error) => error,
        other => panic!("{situation}: {other:?}"),
    }
}

async fn assert_nothing_is_left(house: &House, situation: &str) {
    house.assert_invariants(situation).await;
    assert!(house.handles().is_empty(), "{situation}: {:?}", house.handles());
    let left: Vec<Key> = house.store.snapshot().into_keys().filter(|key| key.as_str().contains("/snapshots_001/")).collect();
    assert!(left.is_empty(), "{situation}: {left:?}");
}

fn kept_key(sentinel: &Sentinel) -> Key {
    Key::parse(&format!("main/snapshots_001/{}/shutdown-wal", sentinel.name)).unwrap()
}

#[tokio::test]
async fn a_cold_backup_needs_no_session_and_no_archive_and_keeps_the_segment_with_the_checkpoint() {
    let house = House::new().await;
    let server = stopped(&house);
    let before = house.archived().await;
    let backup = push(&house, &server, 1).await.unwrap();
    let sentinel = &backup.sentinel;
    let checkpoint = server.files().control.checkpoint();
    assert!(sentinel.is_cold && !sentinel.from_standby);
    assert_eq!((sentinel.start_lsn, sentinel.stop_lsn), (checkpoint, checkpoint));
    assert_eq!(sentinel.version.major(), 15);
    assert_eq!(sentinel.consistency, Consistency::CoveredByBackupMode);
    assert_eq!(sentinel.kept_segment(), Some(segment(NUMBER)));
    let label = String::from_utf8(sentinel.backup_label.as_bytes().to_vec()).unwrap();
    assert!(label.contains("BACKUP METHOD: pg_rewind\nBACKUP FROM: standby\n"), "no end of a backup is waited for: {label}");
    assert_eq!(house.archived().await, before, "the server will archive more under that name");
    let ports = house.ports(&house.store);
    let archive = WalArchive::new(&house.store, &house.layout, &house.archiving);
    let kept = Catalog::new(&house.store, &house.layout).kept_wal(sentinel, &archive).await.unwrap().unwrap();
    assert_eq!(kept.write_to(Vec::new()).await.unwrap().1, server.segment_content());
    assert_eq!(house.contents().await.backups, std::slice::from_ref(&backup), "it is read as it was written");
    assert!(!kept_key(sentinel).as_str().split(|letter: char| !letter.is_ascii_hexdigit()).any(|run| run.len() >= 24));
    // Its own end, and no more: the archive has nothing of it.
    let report = window(&ports, None, WindowTimes::LeftOut).await.unwrap();
    let interval = &report.window.intervals[0];
    assert_eq!((interval.from.lsn, interval.to.lsn), (checkpoint, checkpoint), "{interval:?}");
    assert!(report.window.unusable.is_empty(), "{:?}", report.window.unusable);
    house.assert_invariants("cold").await;
}

#[tokio::test]
async fn a_server_that_runs_or_was_not_shut_down_cleanly_is_refused() {
    let house = House::new().await;
    for (state, words) in
        [(0, "starting up"), (3, "shutting down"), (4, "in crash recovery"), (5, "in archive recovery"), (6, "in production")]
    {
        let server = stopped(&house);
        server.set_state(state);
        match refused(&house, &server, words).await {
            ColdError::Shutdown(error @ ShutdownError::NotShutDown { state }) => {
                assert_eq!(state, words);
                assert_eq!(error.class(), ErrorClass::Refused);
                assert!(error.hint().unwrap().contains("pg_ctl stop"), "{error:?}");
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    let server = stopped(&house);
    server.change(|files| files.running = Some(77));
    assert!(matches!(refused(&house, &server, "running").await, ColdError::Running { pid: 77 }));
    for file in ["postmaster.pid", "backup_label"] {
        let server = stopped(&house);
        server.change(|files| files.obstacle = Some(file));
        assert!(matches!(refused(&house, &server, file).await, ColdError::Obstacle { file: found } if found == file));
    }
}

#[tokio::test]
async fn a_standby_that_was_shut_down_is_refused_since_it_needs_more_than_one_record() {
    let house = House::new().await;
    let server = stopped(&house);
    server.set_state(2);
    assert!(matches!(refused(&house, &server, "standby").await, ColdError::Shutdown(ShutdownError::OfStandby)));
}

#[tokio::test]
async fn without_the_segment_that_holds_the_shutdown_checkpoint_there_is_no_backup() {
    let house = House::new().await;
    let size = house.server.facts().segment_size;
    let intact = stopped(&house).segment_content();
    let checkpoint = usize::try_from(stopped(&house).files().control.checkpoint().0 % size.bytes()).unwrap();
    let changed = |at: usize| {
        let mut content = intact.clone();
        content[at] ^= 1;
        content
    };
    let other = SystemIdentifier(8);
    let contents = [
        None,
        Some(changed(checkpoint + 30)),
        Some(changed(8)),
        Some(intact[..intact.len() / 2].to_vec()),
        Some(shutdown_segment(NUMBER, other, size).0),
        Some(shutdown_segment(NUMBER + 1, House::cluster(), size).0),
    ];
    for (number, content) in contents.into_iter().enumerate() {
        let server = stopped(&house);
        server.set_segment(content);
        let error = refused(&house, &server, &format!("content {number}")).await;
        assert!(matches!(error, ColdError::NoSegment { .. } | ColdError::Shutdown(_)), "{number}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_started_at_any_moment_before_the_publication_undoes_the_backup() {
    let house = House::new().await;
    let looks = {
        let server = stopped(&house);
        push(&house, &server, 9).await.unwrap();
        server.looks()
    };
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert!(looks >= 4, "before and after the cut, and before the publication: {looks}");
    for look in 1..looks {
        let server = stopped(&house);
        server.start_at_look(look);
        let error = refused(&house, &server, &format!("started at look {look}")).await;
        assert!(matches!(error, ColdError::Changed), "{look}: {error:?}");
    }
    // While the provider cuts, and even if it was stopped again by then.
    let server = stopped(&house);
    let started = server.clone();
    house.provider().on_create(move || started.start_and_stop());
    assert!(matches!(refused(&house, &server, "started during the cut").await, ColdError::Changed));
    let server = stopped(&house);
    let locked = server.clone();
    house.provider().on_create(move || locked.change(|files| files.obstacle = Some("postmaster.pid")));
    assert!(matches!(refused(&house, &server, "about to start").await, ColdError::Changed));
}

#[tokio::test]
async fn with_two_providers_a_start_between_the_cuts_undoes_both() {
    let (house, other) = several_providers::two_providers().await;
    let server = stopped(&house);
    let started = server.clone();
    on_create(&other, move || started.start_and_stop());
    let cold = ColdServer { stopped: &server, locator: &FakeLocator };
    let request = several_providers::request(&house, 1);
    let pushed = snapshot_push_cold(&house.ports(&house.store), cold, &request, std::future::pending()).await;
    assert!(matches!(pushed, Err(PushError::Cold(ColdError::Changed))), "{pushed:?}");
    assert_nothing_is_left(&house, "two providers").await;
}

fn on_create(provider: &Arc<FakeProvider>, act: impl FnOnce() + Send + 'static) {
    provider.on_create(act);
}

#[tokio::test]
async fn no_backup_is_published_without_the_segment_whichever_write_fails() {
    for number in 0.. {
        let mut was_hit = false;
        for when in [When::Before, When::After] {
            let house = House::new().await;
            let server = stopped(&house);
            let cold = ColdServer { stopped: &server, locator: &FakeLocator };
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let pushed = snapshot_push_cold(&house.ports(&store), cold, &house.request(1), std::future::pending()).await;
            was_hit |= store.writes() > number;
            let situation = format!("write {number} failed {when:?}: {pushed:?}");
            house.assert_invariants(&situation).await;
            for backup in house.contents().await.backups {
                assert!(house.store.get(&kept_key(&backup.sentinel)).await.unwrap().is_some(), "{situation}");
            }
        }
        if !was_hit {
            assert!(number > 5, "{number} writes");
            return;
        }
    }
}

#[tokio::test]
async fn what_is_published_without_waiting_was_proven_at_the_cut() {
    let house = House::new().await;
    house.provider().set_states(vec![MemberState::Cut; 4]);
    let server = stopped(&house);
    let request = PushRequest { readiness: Readiness::Later, ..house.request(1) };
    let cold = ColdServer { stopped: &server, locator: &FakeLocator };
    let backup = snapshot_push_cold(&house.ports(&house.store), cold, &request, std::future::pending()).await.unwrap();
    assert!(backup.sentinel.is_cold);
    assert_eq!(server.looks(), 4, "before all, before and after the cut, and before the publication");
}

#[tokio::test]
async fn deleting_a_cold_backup_takes_what_it_has_kept() {
    let house = House::new().await;
    let backup = push(&house, &stopped(&house), 1).await.unwrap();
    assert!(house.store.get(&kept_key(&backup.sentinel)).await.unwrap().is_some());
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert_nothing_is_left(&house, "deleted").await;
}

#[tokio::test]
async fn wal_verify_looks_for_what_a_cold_backup_keeps_and_misses_nothing_in_the_archive() {
    let house = House::new().await;
    let backup = push(&house, &stopped(&house), 1).await.unwrap();
    let key = kept_key(&backup.sentinel);
    let verify = async |depth| {
        let request = VerifyRequest { depth, ..VerifyRequest::default() };
        let report = wal_verify(&house.ports(&house.store), &request, None, &|_| {}).await.unwrap();
        let verdict = report.verdict().map_err(|error| error.class());
        (report.backups[0].kept.clone(), report.missing_count(), verdict)
    };
    let deep = Depth::Contents { workers: 1 };
    assert_eq!(verify(Depth::Names).await, (Some(KeptState::Present), 0, Ok(())));
    assert_eq!(verify(deep).await, (Some(KeptState::Proven), 0, Ok(())));
    let body = house.store.get(&key).await.unwrap().unwrap();
    let mut damaged = body.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    house.store.put(&key, damaged.into()).await.unwrap();
    let (kept, _, verdict) = verify(deep).await;
    assert!(matches!(kept, Some(KeptState::Damaged(_))), "{kept:?}");
    assert_eq!(verdict, Err(ErrorClass::Corrupt));
    house.store.delete(&key).await.unwrap();
    for depth in [Depth::Names, deep] {
        let (kept, _, verdict) = verify(depth).await;
        assert_eq!(kept, Some(KeptState::Missing));
        assert_eq!(verdict, Err(ErrorClass::Refused));
    }
}

#[tokio::test]
async fn once_the_server_has_gone_on_and_archived_the_window_reaches_further() {
    let house = House::new().await;
    let backup = push(&house, &stopped(&house), 1).await.unwrap();
    house.archive(&[NUMBER + 1]).await;
    let intervals = async || {
        let report = window(&house.ports(&house.store), None, WindowTimes::LeftOut).await.unwrap();
        report.window.intervals.into_iter().map(|interval| (interval.from.lsn, interval.to.lsn)).collect::<Vec<_>>()
    };
    let stop = backup.sentinel.stop_lsn;
    assert_eq!(intervals().await, [(stop, stop)], "what it keeps ends with the shutdown, and the way on is missing");
    house.archive(&[NUMBER]).await;
    let end = Lsn(u64::from(NUMBER + 2) << 20);
    assert_eq!(intervals().await, [(stop, end)]);
}
