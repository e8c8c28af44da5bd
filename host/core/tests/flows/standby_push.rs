//! `snapshot-push` of a standby on fakes: with the session on it, and with the session on its primary.

use std::sync::{Arc, Mutex};

use stillframe_core::catalog::Backup;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{Primary, PushError, Server, StandbyError, snapshot_push};
use stillframe_core::postgres::{ArchiveMode, Lsn, TimelineId};
use stillframe_core::testing::{FakeLocator, FakeServer, ProviderCall, ServerCall};

use crate::house::{House, segment_key, start_of_time};

/// Where the primary's backup begins, and where the standby's last restartpoint lies before it.
const START: Lsn = Lsn(0x30_0028);
const EARLIER: Lsn = Lsn(0x20_0028);

/// A primary, and a standby whose files are cut by the house's provider.
struct Pair {
    house: House,
    primary: FakeServer,
}

#[derive(Clone, Copy)]
enum Session {
    /// On the standby, whose primary nobody has named.
    Alone,
    /// On the standby.
    OnStandby,
    /// On the primary.
    OnPrimary,
}

impl Pair {
    /// The standby has replayed all that the primary has written, and its last restartpoint is older.
    async fn new() -> Self {
        let house = House::new().await;
        house.archive(&[2]).await;
        house.server.change(|facts| {
            facts.in_recovery = true;
            facts.wal_position = EARLIER;
            facts.replayed = Some(START);
        });
        Self { house, primary: FakeServer::new(start_of_time()) }
    }

    fn standby(&self) -> &FakeServer {
        &self.house.server
    }

    /// Lets the standby have a restartpoint at the start of the primary's backup as soon as it begins.
    fn let_it_follow(&self) {
        let standby = self.standby().clone();
        self.primary.at_start(move || standby.change(|facts| facts.wal_position = START));
    }

    /// Lets the primary write, and the standby replay what it has written, while the files are cut.
    fn write_during_the_cut(&self, written: Lsn, replayed: Lsn) {
        let (primary, standby) = (self.primary.clone(), self.standby().clone());
        self.house.provider().on_create(move || {
            primary.change(|facts| facts.wal_position = written);
            standby.change(|facts| facts.replayed = Some(replayed));
        });
    }

    fn server(&self, session: Session) -> Server<'static> {
        let primary = match session {
            Session::Alone => Primary::Unknown,
            Session::OnStandby => Primary::EndsSegment(self.primary.connect()),
            Session::OnPrimary => Primary::InBackupMode(self.primary.connect()),
        };
        Server { connection: self.standby().connect(), primary, locator: &FakeLocator }
    }

    async fn push(&self, seed: u8, session: Session) -> Result<Backup, PushError> {
        let ports = self.house.ports(&self.house.store);
        snapshot_push(&ports, self.server(session), &self.house.request(seed), std::future::pending()).await
    }

    fn is_cut(&self) -> bool {
        self.house.provider().calls().contains(&ProviderCall::Create)
    }

    /// Nothing is left of a backup that failed, on no server.
    async fn assert_undone(&self, situation: &str) {
        self.house.assert_invariants(situation).await;
        assert_eq!(self.primary.in_backup_mode(), 0, "never_left_in_backup_mode: {situation}");
        let contents = self.house.contents().await;
        assert!(contents.backups.is_empty() && contents.intents.is_empty(), "{situation}");
        assert!(self.house.provider().handles().is_empty(), "{situation}");
    }
}

#[tokio::test]
async fn a_session_on_the_standby_lets_the_primary_end_the_segment_after_the_cut() {
    let pair = Pair::new().await;
    let at_the_cut = Arc::new(Mutex::new(None));
    let (primary, seen) = (pair.primary.clone(), at_the_cut.clone());
    pair.house.provider().on_create(move || *seen.lock().unwrap() = Some(primary.done()));
    let backup = pair.push(1, Session::OnStandby).await.unwrap();
    assert_eq!(at_the_cut.lock().unwrap().take(), Some(Vec::new()));
    assert_eq!(pair.primary.done(), [ServerCall::Switch], "and nothing else is done there");
    assert_eq!(pair.standby().done(), [ServerCall::Start, ServerCall::Stop]);
    assert!(backup.sentinel.from_standby && backup.sentinel.backup_label.is_from_standby());
    pair.house.assert_invariants("a backup of a standby").await;
}

#[tokio::test]
async fn a_session_on_the_primary_cuts_when_the_standby_has_reached_its_start_and_stops_after_it() {
    let pair = Pair::new().await;
    pair.let_it_follow();
    pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x180));
    let backup = pair.push(1, Session::OnPrimary).await.unwrap();
    let sentinel = &backup.sentinel;
    assert_eq!((sentinel.start_lsn, sentinel.stop_lsn), (START, Lsn(START.0 + 0x200)));
    assert!(sentinel.from_standby, "its files are a standby's");
    assert!(!sentinel.backup_label.is_from_standby(), "and its label is the primary's");
    for server in [&pair.primary, pair.standby()] {
        assert_eq!(server.done(), [ServerCall::Start, ServerCall::Stop]);
        assert_eq!(server.in_backup_mode(), 0);
    }
    pair.house.assert_invariants("a backup with the session on the primary").await;
}

#[tokio::test]
async fn nothing_is_cut_before_the_standby_has_a_restartpoint_at_the_start() {
    // It has replayed the start, and never the checkpoint behind it; or it stands still before the start.
    for replayed in [START, EARLIER] {
        let pair = Pair::new().await;
        pair.standby().change(|facts| facts.replayed = Some(replayed));
        let error = pair.push(1, Session::OnPrimary).await.unwrap_err();
        let PushError::Standby(StandbyError::Behind { start, replayed: told, restartpoint, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!((*start, *told, *restartpoint), (START, replayed, EARLIER));
        assert_eq!(error.class(), ErrorClass::Transient);
        assert!(error.hint().unwrap().contains("cut_timeout_secs"));
        assert!(!pair.is_cut());
        assert_eq!(pair.primary.done(), [ServerCall::Start], "no history file is archived of what is no backup");
        pair.assert_undone("the standby never gets there").await;
    }
}

#[tokio::test]
async fn a_standby_that_lags_is_waited_for() {
    let pair = Pair::new().await;
    pair.standby().change(|facts| facts.replayed = Some(EARLIER));
    let nothing = || Box::new(|| ()) as Box<dyn FnOnce() + Send>;
    let standby = pair.standby().clone();
    let arrives = Box::new(move || {
        standby.change(|facts| {
            facts.replayed = Some(Lsn(START.0 + 0x100));
            facts.wal_position = START;
        });
    });
    pair.standby().before_facts([nothing(), nothing(), nothing(), arrives]);
    pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x100));
    let backup = pair.push(1, Session::OnPrimary).await.unwrap();
    assert_eq!(backup.sentinel.start_lsn, START);
    assert_eq!(pair.standby().done(), [ServerCall::Start, ServerCall::Stop], "it is asked for a restartpoint once it is there");
}

#[tokio::test]
async fn a_promotion_or_another_timeline_in_the_middle_aborts_and_undoes_wherever_the_session_is() {
    let second = TimelineId::new(2).unwrap();
    for session in [Session::Alone, Session::OnStandby, Session::OnPrimary] {
        for is_promoted in [true, false] {
            let pair = Pair::new().await;
            pair.let_it_follow();
            let standby = pair.standby().clone();
            pair.house.provider().on_create(move || {
                standby.change(|facts| {
                    facts.in_recovery = !is_promoted;
                    facts.timeline = second;
                });
            });
            let error = pair.push(1, session).await.unwrap_err();
            assert!(matches!(error, PushError::Promoted { after, .. } if after == second), "{error}");
            assert!(pair.is_cut());
            assert!(!pair.primary.done().contains(&ServerCall::Stop), "no history file is archived of what is no backup");
            assert!(!pair.primary.done().contains(&ServerCall::Switch));
            pair.assert_undone("a promotion at the cut").await;
        }
    }
}

#[tokio::test]
async fn a_promotion_while_the_standby_is_waited_for_ends_the_wait() {
    let pair = Pair::new().await;
    let standby = pair.standby().clone();
    pair.primary.at_start(move || standby.change(|facts| facts.in_recovery = false));
    let error = pair.push(1, Session::OnPrimary).await.unwrap_err();
    assert!(matches!(error, PushError::Promoted { .. }), "{error}");
    assert!(!pair.is_cut());
    pair.assert_undone("a promotion in the wait").await;
}

#[tokio::test]
async fn a_primary_that_changes_its_timeline_in_the_middle_aborts_and_undoes() {
    let pair = Pair::new().await;
    pair.let_it_follow();
    let primary = pair.primary.clone();
    pair.house.provider().on_create(move || primary.change(|facts| facts.timeline = TimelineId::new(2).unwrap()));
    let error = pair.push(1, Session::OnPrimary).await.unwrap_err();
    assert!(matches!(error, PushError::Promoted { .. }), "{error}");
    assert_eq!(pair.primary.done(), [ServerCall::Start]);
    pair.assert_undone("the primary has become another").await;
}

#[tokio::test]
async fn files_that_may_hold_more_than_the_primary_has_written_are_no_backup() {
    let pair = Pair::new().await;
    pair.let_it_follow();
    // The standby replays what another server has sent it.
    pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x300));
    let error = pair.push(1, Session::OnPrimary).await.unwrap_err();
    assert!(matches!(error, PushError::Standby(StandbyError::Ahead { .. })), "{error}");
    assert_eq!(pair.primary.done(), [ServerCall::Start], "no history file is archived of what is no backup");
    pair.assert_undone("the standby is ahead").await;
}

#[tokio::test]
async fn servers_that_do_not_belong_together_are_refused_before_anything_is_done() {
    type Change = fn(&Pair);
    let wrong: [(Change, &str); 5] = [
        (|pair| pair.primary.change(|facts| facts.system_identifier.0 += 1), "of the cluster"),
        (|pair| pair.primary.change(|facts| facts.in_recovery = true), "itself a standby"),
        (|pair| pair.primary.change(|facts| facts.timeline = TimelineId::new(2).unwrap()), "timeline 2"),
        (|pair| pair.standby().change(|facts| facts.replayed = Some(Lsn(START.0 + 1))), "does not follow"),
        (|pair| pair.standby().change(|facts| facts.in_recovery = false), "not a standby"),
    ];
    for session in [Session::OnStandby, Session::OnPrimary] {
        for (change, words) in &wrong {
            let pair = Pair::new().await;
            change(&pair);
            let error = pair.push(1, session).await.unwrap_err();
            assert!(matches!(error, PushError::Standby(_)), "{error}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.hint().is_some());
            assert!(pair.primary.done().is_empty() && pair.standby().done().is_empty() && !pair.is_cut());
            pair.assert_undone(words).await;
        }
    }
}

#[tokio::test]
async fn a_session_that_is_lost_at_any_call_leaves_no_backup_mode_no_sentinel_and_no_snapshot() {
    for session in [Session::OnStandby, Session::OnPrimary] {
        let calls = {
            let pair = Pair::new().await;
            pair.let_it_follow();
            pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x100));
            pair.push(1, session).await.unwrap();
            [pair.standby().calls(), pair.primary.calls()]
        };
        for (of_primary, calls) in [(false, calls[0]), (true, calls[1])] {
            assert!(calls >= 3, "{calls}");
            for call in 0..calls {
                let pair = Pair::new().await;
                pair.let_it_follow();
                pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x100));
                if of_primary { &pair.primary } else { pair.standby() }.lose_at(call);
                let situation = format!("call {call}, of the primary: {of_primary}");
                // Once the backup is over, a session only explains why its WAL is not there yet.
                if pair.push(1, session).await.is_err() {
                    pair.assert_undone(&situation).await;
                }
                pair.house.assert_invariants(&situation).await;
                assert_eq!(pair.primary.in_backup_mode(), 0, "{situation}");
            }
        }
    }
}

#[tokio::test]
async fn wal_that_an_idle_primary_keeps_is_missed_by_name_and_the_setting_is_named() {
    let pair = Pair::new().await;
    pair.standby().change(|facts| facts.replayed = Some(START));
    stillframe_core::store::Store::delete(&pair.house.store, &segment_key(3)).await.unwrap();
    let error = pair.push(1, Session::Alone).await.unwrap_err();
    assert!(matches!(error, PushError::NotEnded { .. }), "{error}");
    assert!(error.to_string().contains("000000010000000000000003"), "{error}");
    assert!(error.hint().unwrap().contains("primary_conninfo"));
    pair.assert_undone("an idle primary").await;
}

#[tokio::test]
async fn whatever_archive_mode_a_standby_has_the_archive_decides() {
    for session in [Session::Alone, Session::OnStandby, Session::OnPrimary] {
        for mode in [ArchiveMode::Off, ArchiveMode::On, ArchiveMode::Always] {
            // Of the primary as well: a standby may archive for it.
            for of_primary in [ArchiveMode::On, ArchiveMode::Off] {
                let pair = Pair::new().await;
                pair.let_it_follow();
                pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x100));
                pair.standby().change(|facts| facts.archive_mode = mode);
                pair.primary.change(|facts| facts.archive_mode = of_primary);
                pair.push(1, session).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn wal_that_the_archiver_of_the_primary_is_refused_makes_no_backup_of_its_standby() {
    for session in [Session::OnStandby, Session::OnPrimary] {
        let pair = Pair::new().await;
        pair.let_it_follow();
        pair.write_during_the_cut(Lsn(START.0 + 0x200), Lsn(START.0 + 0x100));
        // After a roll-back of both: the right names, and other content than the servers have.
        pair.primary.fail_archiving("000000010000000000000003");
        let error = pair.push(1, session).await.unwrap_err();
        assert!(matches!(error, PushError::NotArchivedByServer { last_failed: Some(_), .. }), "{error}");
        pair.assert_undone("the primary's archiver fails").await;
    }
}

#[tokio::test]
async fn two_backups_from_one_restartpoint_are_two_backups() {
    let pair = Pair::new().await;
    let first = pair.push(1, Session::OnStandby).await.unwrap();
    let second = pair.push(2, Session::OnStandby).await.unwrap();
    assert_eq!(first.sentinel.start_lsn, second.sentinel.start_lsn);
    assert_eq!(pair.house.contents().await.backups.len(), 2);
    assert_eq!(pair.house.handles().len(), 2);
    pair.house.assert_invariants("two of one restartpoint").await;
}
