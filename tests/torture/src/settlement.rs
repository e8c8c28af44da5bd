//! After the kills: an operator settles what is left, and then nothing must be left. No orphan, no gap, no session, no restore.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::act::{Act, names, succeed};
use crate::installation::Installation;
use crate::ledger::Ledger;
use crate::toll::Toll;

/// Longest wait for the archiver: it comes back within ten seconds, or a minute when nothing is written.
const ARCHIVER_PATIENCE: Duration = Duration::from_mins(3);
/// Longer than a storage system is given to do late what it was asked for: until then the record of a kill stays.
const QUIET: Duration = Duration::from_mins(11);

/// Whether the records of the last kills are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// They may stay, as long as nothing is there that they are about.
    Records,
    /// Until nothing at all is left to find, ten minutes at most.
    Nothing,
}

/// Settles everything, and proves it.
#[track_caller]
pub(crate) fn settle(installation: &Installation, ledger: &Ledger, toll: &mut Toll, patience: Patience) {
    ledger.goes_on(3);
    archive_everything(installation);
    installation.site.wait_until_no_session_is_left();
    installation.site.stillframe.succeed(["drill", "--clean-up"]);
    release_restores(installation);
    note(&reconcile(installation, true), toll);
    installation.site.stillframe.succeed(["delete", "garbage", "--confirm"]);
    let deadline = Instant::now() + QUIET;
    let mut left = reconcile(installation, patience == Patience::Nothing);
    while patience == Patience::Nothing && !findings(&left).is_empty() {
        assert!(Instant::now() < deadline, "not settled: {left}");
        thread::sleep(Duration::from_secs(5));
        left = reconcile(installation, true);
    }
    assert_no_orphans(installation, &left);
    assert_whole(installation);
    toll.settlements += 1;
}

/// Ends the segment and waits until all is archived, whatever was killed.
#[track_caller]
pub(crate) fn archive_everything(installation: &Installation) {
    let cluster = &installation.site.cluster;
    let last = cluster.switch_wal();
    let archived = format!("SELECT coalesce(last_archived_wal >= '{last}', false) FROM pg_stat_archiver");
    let deadline = Instant::now() + ARCHIVER_PATIENCE;
    // A new session each time: an idle postmaster looks only once a minute whether its archiver may start again.
    while cluster.value(&archived) != "t" {
        assert!(Instant::now() < deadline, "{last} is not archived:\n{}", cluster.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Gives back what was restored, by the records alone: a killed restore has left nothing else.
#[track_caller]
fn release_restores(installation: &Installation) {
    let listing = installation.listing();
    for restore in ["restores", "recoveries"].iter().flat_map(|kind| listing[kind].as_array().into_iter().flatten()) {
        let token = restore["token"].as_str().expect("a token");
        installation.site.stillframe.succeed(["snapshot-release", token]);
    }
    let left = installation.listing();
    assert_eq!(left["restores"].as_array().map(Vec::len), Some(0), "a restore that is not released: {left}");
    installation.clear_restores();
}

#[track_caller]
fn reconcile(installation: &Installation, confirm: bool) -> Value {
    let arguments = ["--json", "reconcile"].into_iter().chain(confirm.then_some("--confirm"));
    succeed(installation.site.stillframe.spawn(arguments), Act::Reconcile).json()
}

fn findings(plan: &Value) -> &[Value] {
    plan["findings"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What a kill may leave, and what never.
#[track_caller]
fn note(plan: &Value, toll: &mut Toll) {
    for finding in findings(plan) {
        let word = |key: &str| finding[key].as_str().unwrap_or("-").to_owned();
        toll.found(format!("{}: {}", word("case"), word("action")));
        let may_be = ["interrupted", "condemned", "remnant", "stale-intent"].contains(&word("case").as_str());
        assert!(may_be, "no kill may lead to this: {finding}");
        assert!(finding["error"].is_null(), "it could not be settled: {finding}");
    }
}

/// Whatever the storage holds is of a backup that is listed, and whatever is listed is there.
#[track_caller]
fn assert_no_orphans(installation: &Installation, plan: &Value) {
    for finding in findings(plan) {
        let waits = finding["case"] == "interrupted" && finding["action"].is_null();
        assert!(waits, "it was settled, and is found again: {finding}");
    }
    let listing = installation.listing();
    let listed: BTreeSet<String> = names(&listing["backups"]).into_iter().collect();
    let stored = installation.stored();
    let of: BTreeSet<String> = stored.iter().map(|stored| Installation::backup_of(stored).to_owned()).collect();
    assert_eq!(of, listed, "orphans, or backups without a snapshot; the storage holds {stored:?}; {plan}; {listing}");
    assert_eq!(installation.drills(), BTreeSet::new(), "left of a drill");
}

/// All WAL that any backup needs is there and undamaged, and no moment is lost that was not given up.
#[track_caller]
fn assert_whole(installation: &Installation) {
    let verified = installation.site.stillframe.run(["--json", "wal-verify", "--deep"]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let window = installation.site.stillframe.succeed(["--json", "window"]).json();
    assert_eq!(window["unusable_backups"], serde_json::json!([]), "{window}");
    // A permanent backup keeps its own WAL only, and what went then does not come back with the mark.
    let permanent = installation.permanent();
    let intervals = window["intervals"].as_array().expect("a list");
    let is_gap = |interval: &&Value| {
        interval["ends_because"] == "missing" && !permanent.iter().any(|name| interval["backup_name"] == **name)
    };
    assert_eq!(intervals.iter().find(is_gap), None, "a gap: {window}");
    let ends = intervals.last().map(|interval| &interval["ends_because"]);
    assert_eq!(ends, Some(&Value::from("archive-ends")), "the present is not recoverable: {window}");
}
