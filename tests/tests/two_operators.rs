//! Two operators at once: real processes, of which one is held up at a request to its store while the other one goes all the way.
//!
//! What must hold whatever comes first: no snapshot in no record, no backup without its snapshot, exactly one winner or both well,
//! and for the loser a reason and an exit code. `two_operators` among the flows of the core does the same before every operation.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;

use stillframe_tests::{Dialect, FaultProxy, Finished, Loss, OwnServer, Precondition, Running, Site, Stillframe};

/// Exit codes of who came too late: refused, or to be tried again.
const LOSER: [i32; 2] = [4, 5];

struct Place {
    site: Site,
    proxy: FaultProxy,
    /// Who is held up.
    first: Stillframe,
    /// Who is not.
    other: Stillframe,
    _server: OwnServer,
}

impl Place {
    fn start() -> Self {
        let server = OwnServer::start(Dialect::S3, Precondition::Honoured);
        let site = Site::with_small_segments().own_s3(&server).value("backup", "archive_timeout_secs", 20).start();
        let proxy = FaultProxy::before(server.endpoint());
        let first = site.configured(|config| {
            config.value("store", "endpoint", proxy.endpoint()).value("archive", "fetch_ahead", 0).value(
                "store",
                "timeout_secs",
                60,
            )
        });
        let other = site.stillframe.clone();
        Self { site, proxy, first, other, _server: server }
    }

    /// Starts a command, and gives it once its request of this kind is held up.
    #[track_caller]
    fn held(&self, arguments: &[&str], method: &str, part: &str) -> Running {
        self.proxy.hold_next(method, part);
        let running = self.first.spawn(arguments);
        self.proxy.wait_until_held();
        running
    }

    /// Lets it go on, to its end.
    #[track_caller]
    fn end(&self, running: Running) -> Finished {
        self.proxy.let_go();
        running.wait()
    }

    #[track_caller]
    fn assert_accounted(&self, what: &str) {
        self.site.wait_until_no_session_is_left();
        let (backups, intents) = (self.site.backups(), self.site.intents());
        let snapshots = self.site.snapshots();
        assert!(backups.iter().all(|name| snapshots.contains(name)), "{what}: sentinel_names_existing_snapshots: {backups:?}");
        let known: BTreeSet<String> = backups.into_iter().chain(intents).collect();
        assert!(snapshots.is_subset(&known), "{what}: no_unaccounted_snapshot: {snapshots:?} {known:?}");
    }

    /// Nothing is left that nobody knows, and what is listed has its WAL.
    #[track_caller]
    fn assert_settled(&self, what: &str) {
        self.other.succeed(["reconcile", "--confirm"]);
        self.assert_accounted(what);
        assert_eq!(self.site.snapshots(), self.site.backups().into_iter().collect(), "{what}: 0 orphans");
        if !self.site.backups().is_empty() {
            self.other.succeed(["wal-verify"]);
        }
    }
}

#[track_caller]
fn assert_lost(what: &str, finished: &Finished, words: &[&str]) {
    assert!(finished.code().is_some_and(|code| LOSER.contains(&code)), "{what}: {finished}");
    assert!(words.iter().any(|word| finished.stderr.contains(word)), "{what}: {words:?}: {finished}");
}

const PUSH: [&str; 3] = ["snapshot-push", "--provider", "hardlink"];

#[test]
fn whatever_runs_beside_a_push_the_push_is_a_backup_or_nothing() {
    let place = Place::start();
    let kept = place.site.backup(&[]);
    for (method, part) in [("PUT", "intent.json"), ("PUT", "sentinel.json"), ("DELETE", "intent.json")] {
        for others in [
            vec!["delete", "garbage", "--confirm"],
            vec!["delete", "retain", "1", "--confirm"],
            vec!["reconcile", "--confirm"],
            PUSH.to_vec(),
        ] {
            // Before its intent is there it holds the lease: the others wait, and are not tried here.
            if part == "intent.json" && method == "PUT" && others[0] != "reconcile" {
                continue;
            }
            let what = format!("{others:?} while {method} {part} is under way");
            let push = place.held(&PUSH, method, part);
            let finished = place.other.run(&others);
            assert!(finished.is_success(), "{what}: {finished}");
            let pushed = place.end(push);
            assert!(pushed.is_success(), "{what}: {pushed}");
            place.assert_accounted(&what);
        }
    }
    place.assert_settled("beside a push");
    assert!(place.site.backups().len() > 2, "{kept}");
}

#[test]
fn a_deletion_of_everything_beside_a_push_leaves_the_push_with_its_wal() {
    let place = Place::start();
    place.site.backup(&[]);
    let push = place.held(&PUSH, "PUT", "sentinel.json");
    place.other.succeed(["delete", "everything", "--confirm"]);
    let pushed = place.end(push);
    assert!(pushed.is_success(), "{pushed}");
    assert_eq!(place.site.backups().len(), 1);
    place.assert_settled("everything");
    place.site.restore("restored", &["LATEST", "--archiving", "off"]);
}

#[test]
fn of_two_pushes_at_the_same_time_both_are_backups() {
    let place = Place::start();
    for round in 0..3 {
        let running: Vec<Running> = (0..2).map(|_| place.other.spawn(PUSH)).collect();
        for finished in running.into_iter().map(Running::wait) {
            assert!(finished.is_success(), "{round}: {finished}");
        }
        place.assert_accounted("two pushes");
    }
    assert_eq!(place.site.backups().len(), 6);
    place.assert_settled("two pushes");
}

#[test]
fn of_two_deletions_of_one_backup_one_deletes_it_and_the_other_finds_it_gone() {
    let place = Place::start();
    // Held up with the lease: before the backup is condemned, before its snapshot goes, and in the middle of its records.
    for (method, part) in [("PUT", "condemned.json"), ("DELETE", "sentinel.json"), ("DELETE", "condemned.json")] {
        let (name, kept) = (place.site.backup(&[]), place.site.backup(&[]));
        let what = format!("{method} {part}");
        let deletion = place.held(&["delete", "target", &name, "--confirm"], method, part);
        let mut second = place.other.spawn(["delete", "target", &name, "--confirm"]);
        if part != "condemned.json" || method == "PUT" {
            second.wait_for_stderr("waiting for the lease");
        }
        let first = place.end(deletion);
        let second = second.wait();
        assert!(first.is_success(), "{what}: {first}");
        if !second.is_success() {
            assert_lost(&what, &second, &["there is no backup"]);
        }
        assert!(!place.site.backups().contains(&name) && place.site.backups().contains(&kept), "{what}");
        place.assert_settled(&what);
    }
}

#[test]
fn a_backup_is_restored_as_a_whole_or_refused_when_it_is_deleted_meanwhile() {
    let place = Place::start();
    let (one, other) = (place.site.backup(&[]), place.site.backup(&[]));
    let restored = place.site.place("restored").display().to_string();
    // The restore is chosen, and is about to be announced.
    let fetch = place.held(&["snapshot-fetch", &restored, &one, "--archiving", "off"], "PUT", "restores_001");
    place.other.succeed(["delete", "target", &one, "--confirm"]);
    let fetched = place.end(fetch);
    assert_lost("it is gone", &fetched, &["the deletion of the backup"]);
    assert!(!place.site.place("restored").join("PG_VERSION").exists(), "{fetched}");

    // The deletion has decided, and is about to condemn.
    place.site.backup(&[]);
    let deletion = place.held(&["delete", "target", &other, "--confirm"], "PUT", "condemned.json");
    let fetched = place.other.run(["snapshot-fetch", &restored, &other, "--archiving", "off"]);
    assert!(fetched.is_success(), "{fetched}");
    let deleted = place.end(deletion);
    // A copy needs its snapshot no more, and has yet to replay its WAL.
    assert!(deleted.says(&other) && place.site.backups().contains(&other), "it stays, and that is said: {deleted}");
    place.assert_accounted("restored");
    place.site.recover("restored");
    place.other.succeed(["snapshot-release", &restored]);
    place.other.succeed(["delete", "target", &other, "--confirm"]);
    assert!(!place.site.backups().contains(&other));
}

#[test]
fn a_mark_that_was_confirmed_beside_a_deletion_holds() {
    let place = Place::start();
    let (one, other) = (place.site.backup(&[]), place.site.backup(&[]));
    let deletion = place.held(&["delete", "target", &one, "--confirm"], "PUT", "condemned.json");
    place.other.succeed(["backup-mark", &one]);
    let deleted = place.end(deletion);
    assert!(deleted.says(&one), "it stays, and that is said: {deleted}");
    assert!(place.site.backups().contains(&one), "permanent_survives: {deleted}");
    assert_eq!(place.site.show(&one)["is_permanent"], true);

    let mark = place.held(&["backup-mark", &other], "PUT", "mark.json");
    place.other.succeed(["delete", "target", &other, "--confirm"]);
    let marked = place.end(mark);
    assert_lost("too late", &marked, &["the deletion of the backup", "there is no backup"]);
    assert!(!place.site.backups().contains(&other));
    place.assert_settled("marks");
    assert_eq!(place.site.backups(), [one]);
}

#[test]
fn of_two_reconciliations_at_the_same_time_one_settles_and_the_other_finds_it_settled() {
    let place = Place::start();
    for (method, part) in [("PUT", "sentinel.json"), ("DELETE", "intent.json")] {
        // A push whose sentinel the store has lost: all of it is there.
        place.proxy.lose_next("PUT", "sentinel.json", Loss::Swallow);
        assert!(!place.first.run(PUSH).is_success());
        let intents = place.site.intents();
        assert_eq!(intents.len(), 1, "{intents:?}");
        let what = format!("{method} {part}");
        let first = place.held(&["reconcile", "--confirm"], method, part);
        let mut second = place.other.spawn(["reconcile", "--confirm"]);
        if method == "PUT" {
            second.wait_for_stderr("waiting for the lease");
        }
        let (first, second) = (place.end(first), second.wait());
        assert!(first.is_success() && second.is_success(), "{what}: {first}\n{second}");
        assert!(place.site.intents().is_empty() && place.site.backups().contains(&intents[0]), "{what}");
        place.assert_settled(&what);
    }
}

#[test]
fn of_two_releases_of_one_restore_both_succeed_and_nothing_is_left() {
    let place = Place::start();
    let name = place.site.backup(&[]);
    let restored = place.site.place("restored").display().to_string();
    place.other.succeed(["snapshot-fetch", &restored, &name, "--archiving", "off"]);
    for _ in 0..3 {
        let running: Vec<Running> = (0..2).map(|_| place.other.spawn(["snapshot-release", &restored])).collect();
        for finished in running.into_iter().map(Running::wait) {
            assert!(finished.is_success(), "{finished}");
        }
    }
    place.assert_settled("released");
}

#[test]
fn of_two_drills_in_one_directory_one_is_held_and_the_other_says_whose_it_is() {
    let mut place = Place::start();
    place.site.name_programs_of_drills();
    place.site.backup(&[]);
    place.site.switch_wal();
    let directory = place.site.place("drills").display().to_string();
    let other = place.site.configured(|config| config.value("drill", "directory", directory.as_str()));
    let endpoint = place.proxy.endpoint();
    let held =
        place.site.configured(|config| config.value("drill", "directory", directory.as_str()).value("store", "endpoint", endpoint));
    place.proxy.hold_next("PUT", "restores_001");
    let first = held.spawn(["drill"]);
    place.proxy.wait_until_held();
    let second = other.run(["drill"]);
    assert_lost("the directory is taken", &second, &["another drill is under way"]);
    let first = place.end(first);
    assert!(first.is_success(), "{first}");
    place.assert_settled("drills");
    assert!(
        !stillframe_tests::files(&place.site.place("drills")).iter().any(|file| file.ends_with("PG_VERSION")),
        "nothing is left"
    );
}
