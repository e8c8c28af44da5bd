//! Hosts whose clocks are wrong by days, as the real program sees them: its system's time is shifted by libfaketime.
//!
//! What must hold: what was backed up last is the newest whatever the clocks said; no rule takes WAL of a backup that it keeps; a backup
//! that runs is not given up by a host that thinks that its time is over; and a clock that is far ahead leaves something to restore.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

use std::path::Path;

use jiff::{Timestamp, ToSpan};
use stillframe_tests::{Site, Stillframe, StopMode};

/// Where Debian's package has it.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

/// The program of a host whose clock is off: `+3d`, `-3d`.
#[track_caller]
fn at(program: &Stillframe, offset: &str) -> Stillframe {
    let library = LIBRARIES.into_iter().find(|path| Path::new(path).exists()).expect("the package `faketime` is installed");
    program.clone().env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// Takes a backup of as many rows as there are by then, by this program; gives its name.
#[track_caller]
fn backup(site: &Site, program: &Stillframe) -> String {
    site.cluster.sql("INSERT INTO t SELECT count(*) + 1 FROM t");
    let pushed = program.succeed(["--json", "snapshot-push", "--provider", "hardlink"]).json();
    pushed["backup_name"].as_str().expect("a name").to_owned()
}

fn started() -> Site {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (n bigint)");
    site
}

/// Restores a backup to its own end; gives the rows in it.
#[track_caller]
fn rows_in(site: &Site, place: &str, arguments: &[&str]) -> String {
    let all = [arguments, &["--target-immediate", "--target-action", "promote", "--archiving", "off"]].concat();
    let mut restored = site.restore(place, &all);
    let rows = restored.value("SELECT count(*) FROM t");
    restored.stop(StopMode::Fast);
    site.release(place);
    rows
}

#[test]
fn the_time_that_the_program_sees_is_the_shifted_one() {
    let site = started();
    let name = backup(&site, &at(&site.stillframe, "+3d"));
    // The server tells when a backup began; its name is of the host.
    let day = (Timestamp::now() + 72.hours()).strftime("sf-%Y%m%dT").to_string();
    assert!(name.starts_with(&day), "otherwise nothing here is tested: {name}");
}

#[test]
fn among_backups_of_hosts_with_clocks_days_apart_the_newest_is_the_last_that_was_taken() {
    let site = started();
    let names = ["+0", "+3d", "-3d", "-10d"].map(|offset| backup(&site, &at(&site.stillframe, offset)));
    assert_eq!(rows_in(&site, "latest", &["LATEST"]), "4");
    for judge in ["+0", "+3d", "-10d"] {
        let plan = at(&site.stillframe, judge).succeed(["--json", "delete", "retain", "2"]).json();
        let backups = plan["backups"].as_array().expect("a list").iter();
        let kept =
            backups.filter(|backup| backup["is_deleted"] == false).map(|backup| backup["backup_name"].as_str().expect("a name"));
        let kept: Vec<&str> = kept.collect();
        assert_eq!(kept, names[2..], "{judge}: {plan}");
    }
    at(&site.stillframe, "-10d").succeed(["delete", "retain", "2", "--confirm"]);
    assert_eq!(site.snapshots(), names[2..].iter().cloned().collect());
    site.stillframe.succeed(["wal-verify"]);
    for (name, rows) in names[2..].iter().zip(["3", "4"]) {
        assert_eq!(rows_in(&site, &format!("of-{rows}"), &[name]), rows, "protected_wal_present");
    }
}

#[test]
fn a_clock_that_is_a_year_ahead_leaves_what_later_moments_are_reached_from() {
    let site = started();
    let names = [backup(&site, &site.stillframe), backup(&site, &site.stillframe)];
    let judge = site.configured(|config| config.value("retention", "window", "7 days"));
    at(&judge, "+365d").succeed(["delete", "policy", "--confirm"]);
    assert!(site.backups().contains(&names[1]), "the last one never goes: {:?}", site.backups());
    site.cluster.sql("INSERT INTO t VALUES (3)");
    site.switch_wal();
    site.stillframe.succeed(["wal-verify"]);
    let mut restored = site.restore("restored", &["--target-action", "promote", "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "3");
    restored.stop(StopMode::Fast);
}

#[test]
fn a_backup_that_runs_is_not_given_up_by_a_host_whose_clock_is_days_ahead() {
    let site = started();
    let kept = backup(&site, &site.stillframe);
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    let mut running = site.stillframe.spawn(["--json", "snapshot-push", "--provider", "hardlink"]);
    running.wait_for_stderr("waiting for the WAL");
    let ahead = at(&site.stillframe, "+30d");
    for arguments in
        [vec!["reconcile", "--confirm"], vec!["delete", "garbage", "--confirm"], vec!["delete", "retain", "1", "--confirm"]]
    {
        let finished = ahead.run(&arguments);
        assert!(finished.code().is_some_and(|code| code < 7), "{arguments:?}: {finished}");
        assert_eq!(site.snapshots().len(), 2, "{arguments:?}: {finished}");
    }
    site.cluster.append_setting("archive_command", &site.stillframe.command_line("wal-push %p"));
    site.cluster.reload();
    let pushed = running.wait();
    assert!(pushed.is_success(), "{pushed}");
    let name = pushed.json()["backup_name"].as_str().expect("a name").to_owned();
    assert_eq!(site.snapshots(), [kept, name.clone()].into());
    assert_eq!(rows_in(&site, "restored", &[&name]), "1");
}

#[test]
fn moments_are_reached_by_the_time_of_the_server_whatever_the_clock_of_the_host_was() {
    let site = started();
    let name = backup(&site, &at(&site.stillframe, "-3d"));
    site.cluster.sql("INSERT INTO t VALUES (2)");
    let moment = site.cluster.value("SELECT clock_timestamp()");
    site.cluster.sql("INSERT INTO t VALUES (3)");
    site.switch_wal();
    let arguments = ["--target-time", moment.as_str(), "--target-action", "promote", "--archiving", "off"];
    let mut restored = site.restore("restored", &[&[name.as_str()], &arguments[..]].concat());
    assert_eq!(restored.value("SELECT count(*) FROM t"), "2");
    restored.stop(StopMode::Fast);
    // A time before the backup, by the server: nothing is made.
    let before = Timestamp::now().checked_sub(2.hours()).expect("a time").to_string();
    let refused = site.fetch("refused", &[&name, "--target-time", &before, "--archiving", "off"]);
    assert!(!refused.is_success() && !site.place("refused").join("PG_VERSION").exists(), "{refused}");
}
