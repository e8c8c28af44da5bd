//! `check` on a real server: what is well is called well, each thing that is broken is named, and monitors get their codes.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use stillframe_tests::{Finished, Site};

/// Verdict of each subject, the worst of those that have several.
fn verdicts(finished: &Finished) -> BTreeMap<String, String> {
    let order = ["ok", "skipped", "warning", "critical"];
    let rank = |verdict: &str| order.iter().position(|known| *known == verdict).unwrap();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for finding in finished.json()["findings"].as_array().unwrap() {
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        let worst = found.entry(text("subject")).or_insert_with(|| "ok".to_owned());
        if rank(&text("verdict")) > rank(worst) {
            *worst = text("verdict");
        }
    }
    found
}

fn message(finished: &Finished, subject: &str) -> String {
    let findings = finished.json();
    let of_subject = |finding: &&Value| finding["subject"].as_str() == Some(subject);
    findings["findings"].as_array().unwrap().iter().find(of_subject).unwrap()["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_cluster_with_a_backup_is_well_in_every_part_and_a_segment_makes_the_round_trip() {
    let site = Site::with_small_segments().start();
    site.backup(&[]);
    let before = site.archived();
    let checked = site.stillframe.run(["--json", "check", "--max-backup-age", "1h"]);
    let verdicts = verdicts(&checked);
    // How full the disk of this machine is, and whether it can share extents, is not the point.
    let is_of_machine = |subject: &str| subject.ends_with("-space") || subject == "provider";
    let bad = verdicts.iter().filter(|(subject, verdict)| *verdict != "ok" && !is_of_machine(subject)).collect::<Vec<_>>();
    assert_ne!(verdicts["provider"], "critical", "{}", checked.stdout);
    assert!(bad.is_empty(), "{}", checked.stdout);
    let subjects = ["rights", "clock", "archiving", "round-trip", "paths", "provider", "backups", "wal", "store-promises"];
    assert!(subjects.iter().all(|subject| verdicts.contains_key(*subject)), "{verdicts:?}");
    assert!(message(&checked, "round-trip").ends_with("is what the server wrote"), "{}", checked.stdout);
    assert!(site.archived().len() > before.len(), "a segment was finished for it");
}

#[test]
fn without_the_round_trip_nothing_is_written_anywhere() {
    let site = Site::with_small_segments().start();
    site.backup(&[]);
    let position = || site.cluster.value("SELECT pg_current_wal_lsn()");
    let (before, store) = (position(), site.everything());
    site.stillframe.run(["check", "--no-round-trip"]);
    assert_eq!(position(), before);
    assert_eq!(site.everything(), store);
}

#[test]
fn an_archiver_that_does_nothing_is_found_by_the_round_trip_and_ends_with_the_code_for_critical() {
    let site = Site::with_small_segments().start();
    site.backup(&[]);
    site.cluster.sql("ALTER SYSTEM SET archive_command = '/bin/true'");
    site.cluster.reload();
    site.cluster.wait_until("SELECT current_setting('archive_command') = '/bin/true'");
    let checked = site.stillframe.run(["--json", "check", "--archive-timeout", "2"]);
    assert_eq!(checked.code(), Some(2));
    assert_eq!(verdicts(&checked)["round-trip"], "critical");
    assert_eq!(verdicts(&checked)["archiving"], "ok", "the server believes it");
    assert!(message(&checked, "round-trip").contains("is not in the archive 2 s after"), "{}", checked.stdout);

    let line = site.stillframe.run(["check", "--nagios", "--archive-timeout", "1"]);
    assert_eq!((line.code(), line.stdout.lines().count()), (Some(2), 1), "{}", line.stdout);
    assert!(line.stdout.starts_with("STILLFRAME CRITICAL - ") && line.stdout.contains("round-trip: "), "{}", line.stdout);
}

#[test]
fn a_role_without_rights_is_told_the_grants_that_it_lacks() {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE ROLE watcher LOGIN");
    site.cluster.sql("GRANT pg_read_all_settings TO watcher");
    let conninfo = format!("{} user=watcher", site.cluster.conninfo().replace("user=postgres", ""));
    let limited = site.configured(|config| config.value("cluster", "conninfo", conninfo.as_str()));
    let checked = limited.run(["--json", "check", "--no-round-trip"]);
    let found = checked.json();
    let rights = found["findings"].as_array().unwrap().iter().find(|finding| finding["subject"] == "rights").unwrap();
    assert_eq!(rights["verdict"], "critical", "{}", checked.stdout);
    let hint = rights["hint"].as_str().unwrap();
    let is_new = site.cluster.postgres().major >= 15;
    let start = if is_new { "pg_backup_start(text, boolean)" } else { "pg_start_backup(text, boolean, boolean)" };
    assert!(hint.contains(&format!("{start} TO \"watcher\"")) && hint.contains("pg_switch_wal()"), "{hint}");
    assert!(!hint.contains("pg_read_all_settings"), "it has that: {hint}");

    for grant in hint.strip_prefix("run as a superuser: ").unwrap().split_inclusive(';') {
        site.cluster.sql(grant);
    }
    assert_eq!(verdicts(&limited.run(["--json", "check", "--no-round-trip"]))["rights"], "ok", "the grants are enough");
}

#[test]
fn missing_wal_and_a_stopped_server_are_alarms_and_an_unusable_store_is_one_and_an_unusable_configuration_is_unknown() {
    let mut site = Site::with_small_segments().start();
    let name = site.backup(&[]);
    let first = site.show(&name)["first_wal_file"].as_str().unwrap().to_owned();
    fs::remove_file(site.place("store/main/wal_005").join(format!("{first}.zst"))).unwrap();
    let checked = site.stillframe.run(["--json", "check", "--no-round-trip"]);
    assert_eq!((checked.code(), verdicts(&checked)["wal"].as_str()), (Some(2), "critical"), "{}", checked.stdout);

    site.cluster.kill9();
    let checked = site.stillframe.run(["--json", "check"]);
    assert_eq!((checked.code(), verdicts(&checked)["server"].as_str()), (Some(2), "critical"), "{}", checked.stdout);
    assert_eq!(verdicts(&checked)["store"], "ok", "the rest is looked at");

    fs::rename(site.place("store"), site.place("store-away")).unwrap();
    let line = site.stillframe.run(["check", "--nagios"]);
    assert!(line.code() == Some(2) && line.stdout.starts_with("STILLFRAME CRITICAL - store: "), "{line}");
    assert_eq!(site.stillframe.run(["check"]).code(), Some(2));
    let unreadable = site.configured(|config| config.value("store", "no_such_key", 1));
    let line = unreadable.run(["check", "--nagios"]);
    assert!(line.code() == Some(3) && line.stdout.starts_with("STILLFRAME UNKNOWN - "), "{line}");
    assert_eq!(unreadable.run(["check"]).code(), Some(3));
}
