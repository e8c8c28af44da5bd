//! `snapshot-push --cold` with real servers: what is backed up, what is refused, and what a restore shows.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::PathBuf;

use stillframe_tests::{AgeKey, Cluster, Finished, Site, StopMode, majors, tested_major};

/// The versions whose control files, labels and recovery settings differ.
const MAJORS: [u32; 4] = [10, 11, 15, 18];

/// Rows that are there when the server is shut down.
const ROWS: &str = "CREATE TABLE history AS SELECT 'before the shutdown' AS what FROM generate_series(1, 1000)";

fn counts(cluster: &Cluster) -> Vec<String> {
    let rows = cluster.sql("SELECT what || ': ' || count(*) FROM history GROUP BY what ORDER BY what");
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn push(site: &Site) -> Finished {
    site.stillframe.run(["--json", "snapshot-push", "--provider", "hardlink", "--cold"])
}

fn records(site: &Site, name: &str) -> PathBuf {
    site.place("store/main/snapshots_001").join(name)
}

#[track_caller]
fn assert_nothing_is_left(site: &Site) {
    assert!(site.snapshots().is_empty() && site.backups().is_empty() && site.intents().is_empty());
}

#[test]
fn the_very_state_of_the_shutdown_is_restored_without_any_archive() {
    for major in majors(&MAJORS) {
        let mut site = Site::builder(major).cluster(|cluster| cluster.tablespaces(1)).start();
        site.cluster.sql(ROWS);
        site.cluster.sql("CREATE TABLE spaced TABLESPACE ts1 AS SELECT generate_series(1, 100) AS i");
        site.cluster.stop(StopMode::Fast);
        let name = site.backup(&["--cold"]);
        // Neither what the server goes on to write, nor any archive, has a part in it.
        site.cluster.start();
        site.cluster.sql("INSERT INTO history SELECT 'after the shutdown' FROM generate_series(1, 50)");
        site.switch_wal();
        for (place, is_archived) in [("beside an archive", true), ("without one", false)] {
            if !is_archived {
                fs::remove_dir_all(site.place("store/main/wal_005")).unwrap();
            }
            let space = site.cluster.scratch().join("ts1").display().to_string();
            let mapping = format!("{space}={}", site.place(&format!("space {place}")).display());
            let arguments = [&name, "--target-immediate", "--archiving", "off", "--tablespace-mapping", &mapping];
            let restored = site.restore(place, &arguments);
            assert_eq!(counts(&restored), ["before the shutdown: 1000"], "PostgreSQL {major} {place}");
            assert_eq!(restored.value("SELECT count(*) FROM spaced"), "100");
            assert_eq!(restored.value("SELECT timeline_id FROM pg_control_checkpoint()"), "2", "it is a copy of its own");
        }
        assert_eq!(counts(&site.cluster).len(), 2, "the original is untouched");
    }
}

#[test]
fn a_copy_is_recovered_forward_to_any_later_point() {
    for major in majors(&MAJORS) {
        let mut site = Site::start(major);
        site.cluster.sql(ROWS);
        site.cluster.stop(StopMode::Fast);
        let name = site.backup(&["--cold"]);
        site.cluster.start();
        let cluster = &site.cluster;
        cluster.sql("INSERT INTO history SELECT 'before the target' FROM generate_series(1, 50)");
        cluster.sql("SELECT pg_create_restore_point('the target')");
        let position = cluster.value("SELECT pg_current_wal_insert_lsn()");
        let moment = cluster.value("SELECT clock_timestamp()");
        cluster.sql("INSERT INTO history SELECT 'after the target' FROM generate_series(1, 5)");
        site.switch_wal();
        let both = ["before the shutdown: 1000", "before the target: 50"];
        for (number, target) in
            [["--target-name", "the target"], ["--target-lsn", &position], ["--target-time", &moment]].into_iter().enumerate()
        {
            let arguments = [&name, target[0], target[1], "--target-action", "promote", "--archiving", "off"];
            let restored = site.restore(&format!("restored{number}"), &arguments);
            assert_eq!(counts(&restored), both, "PostgreSQL {major}, {target:?}");
        }
        let restored = site.restore("to the end", &[&name, "--archiving", "off"]);
        assert_eq!(counts(&restored), ["after the target: 5", both[0], both[1]], "PostgreSQL {major}");
        assert!(site.stillframe.run(["wal-verify", "--deep"]).is_success());
    }
}

#[test]
fn a_copy_without_its_label_does_not_start() {
    for major in majors(&MAJORS) {
        let mut site = Site::start(major);
        site.cluster.stop(StopMode::Fast);
        let name = site.backup(&["--cold"]);
        let finished = site.fetch("restored", &[&name, "--target-immediate", "--archiving", "off"]);
        assert!(finished.is_success(), "{finished}");
        fs::rename(site.place("restored/backup_label"), site.place("label")).unwrap();
        let log = site.adopt("restored").try_start().unwrap_err();
        assert!(log.contains("could not locate a valid checkpoint record"), "PostgreSQL {major}: {log}");
        fs::rename(site.place("label"), site.place("restored/backup_label")).unwrap();
        site.recover("restored");
    }
}

#[test]
fn a_running_a_crashed_and_a_standby_server_are_refused_and_nothing_is_left() {
    let mut site = Site::start(tested_major());
    let refused = push(&site);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("the server runs: process") && refused.stderr.contains("without --cold"), "{refused}");
    assert_nothing_is_left(&site);

    for mode in ["killed", "stopped at once"] {
        match mode {
            "killed" => site.cluster.kill9(),
            _ => site.cluster.stop(StopMode::Immediate),
        }
        let refused = push(&site);
        assert_eq!(refused.code(), Some(4), "{mode}: {refused}");
        assert!(refused.stderr.contains("not shut down cleanly: pg_control says `in production`"), "{mode}: {refused}");
        assert!(refused.stderr.contains("hint: start it"), "{mode}: {refused}");
        assert_nothing_is_left(&site);
        site.cluster.start();
    }

    let mut standby = Cluster::standby_of(&site.cluster);
    standby.start();
    standby.stop(StopMode::Fast);
    let pgdata = standby.data_directory().display().to_string();
    let of_standby = site.configured(|config| config.value("cluster", "pgdata", pgdata));
    let refused = of_standby.run(["snapshot-push", "--provider", "hardlink", "--cold"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("a standby was shut down here"), "{refused}");
    assert_nothing_is_left(&site);
}

#[test]
fn a_lock_file_stops_the_backup_even_when_its_process_cannot_be_seen() {
    let mut site = Site::start(tested_major());
    site.cluster.stop(StopMode::Fast);
    let lock = site.cluster.data_directory().join("postmaster.pid");
    // As one that a server on another host, or in a container, has left.
    fs::write(&lock, "4000000\n/elsewhere\n").unwrap();
    let refused = push(&site);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("postmaster.pid"), "{refused}");
    fs::remove_file(lock).unwrap();
    assert!(push(&site).is_success());
}

#[test]
fn what_is_shown_and_verified_of_a_cold_backup_is_true() {
    let mut site = Site::start(tested_major());
    site.cluster.stop(StopMode::Fast);
    let name = site.backup(&["--cold"]);
    let shown = site.show(&name);
    assert_eq!((&shown["is_cold"], &shown["start_lsn"]), (&true.into(), &shown["finish_lsn"]));
    let text = site.stillframe.succeed(["backup-show", &name]);
    assert!(text.stdout.contains("kept with the backup") && text.stdout.contains("the server was shut down"), "{text}");
    assert!(site.stillframe.succeed(["backup-list"]).stdout.contains("cold"));

    let window = site.stillframe.succeed(["--json", "window"]).json();
    let interval = &window["intervals"][0];
    assert_eq!((&interval["from"]["lsn"], &interval["to"]["lsn"]), (&shown["start_lsn"], &shown["start_lsn"]), "{window}");
    assert_eq!(window["gaps"][0]["reasons"][0]["reason"], "no-backup", "nothing is missing before it: {window}");
    assert!(site.stillframe.run(["can-restore", "--target-immediate"]).is_success());
    let later = site.stillframe.run(["can-restore", "--target-lsn", "7F/0"]);
    assert_eq!(later.code(), Some(1), "{later}");

    let verified = site.stillframe.succeed(["--json", "wal-verify", "--deep"]).json();
    assert_eq!(verified["backups"][0]["kept_wal"], "proven", "{verified}");
    assert_eq!(verified["missing_segments"], 0, "{verified}");
    let kept = records(&site, &name).join("shutdown-wal");
    let content = fs::read(&kept).unwrap();
    fs::write(&kept, &content[..content.len() - 9]).unwrap();
    let damaged = site.stillframe.run(["wal-verify", "--deep"]);
    assert_eq!(damaged.code(), Some(6), "{damaged}");
    let refused = site.fetch("restored", &[&name, "--target-immediate"]);
    assert_eq!(refused.code(), Some(6), "{refused}");
    fs::remove_file(&kept).unwrap();
    let missing = site.stillframe.run(["wal-verify"]);
    assert_eq!(missing.code(), Some(4), "{missing}");
    let refused = site.fetch("restored", &[&name, "--target-immediate"]);
    assert_eq!(refused.code(), Some(6), "{refused}");
    assert!(refused.stderr.contains("has lost the WAL"), "{refused}");
    assert!(!site.place("restored").exists(), "it is refused before anything is made");
    fs::write(&kept, content).unwrap();
    site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
    assert!(!records(&site, &name).exists() || fs::read_dir(records(&site, &name)).unwrap().next().is_none());
    assert_nothing_is_left(&site);
}

#[test]
fn a_drill_of_a_cold_backup_is_held_once_the_server_has_gone_on() {
    let mut site = Site::start(tested_major());
    let directory = site.place("d").display().to_string();
    site.reconfigure(|config| config.value("drill", "directory", directory));
    site.name_programs_of_drills();
    site.cluster.sql(ROWS);
    site.cluster.stop(StopMode::Fast);
    let name = site.backup(&["--cold"]);
    let refused = site.stillframe.run(["drill", &name]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("nothing is archived behind"), "{refused}");
    assert!(site.show(&name)["drill"].is_null(), "it is no verdict");
    site.cluster.start();
    site.switch_wal();
    let held = site.stillframe.succeed(["--json", "drill", &name]).json();
    assert_eq!(held["outcome"], "proven", "{held}");
}

#[test]
fn what_a_cold_backup_keeps_is_encrypted_as_its_archive_is() {
    let key = AgeKey::generate();
    let mut site = Site::builder(tested_major()).value("archive", "recipients", vec![key.recipient.clone()]).start();
    site.cluster.sql(ROWS);
    site.cluster.sql("SELECT pg_switch_wal(); CREATE TABLE words AS SELECT 'a word that nobody may read'::text AS word");
    site.cluster.stop(StopMode::Fast);
    let name = site.backup(&["--cold"]);
    let kept = fs::read(records(&site, &name).join("shutdown-wal")).unwrap();
    assert!(kept.starts_with(b"age-encryption.org/v1\n"));
    let unverified = site.stillframe.run(["wal-verify", "--deep"]);
    assert_eq!(unverified.code(), Some(3), "{unverified}");
    let refused = site.fetch("restored", &[&name, "--target-immediate"]);
    assert_eq!(refused.code(), Some(3), "{refused}");
    let identity = site.place("identity");
    AgeKey::write_identities(&identity, &[&key]);
    site.reconfigure(|config| config.value("archive", "identity_file", identity.display().to_string()));
    let restored = site.restore("restored", &[&name, "--target-immediate", "--archiving", "off"]);
    assert_eq!(counts(&restored), ["before the shutdown: 1000"]);
}
