//! `snapshot-push` with real servers: lost sessions, signals, kills and missing rights.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use stillframe_tests::{Cluster, ClusterBuilder, Session, Site, StopMode, majors, tested_major};

/// What must hold after a push ended in whatever way.
#[track_caller]
fn assert_clean(site: &Site) {
    site.wait_until_no_session_is_left();
    assert!(site.backups().is_empty(), "there is a sentinel");
    assert!(site.intents().is_empty(), "there is an intent");
    assert!(site.snapshots().is_empty(), "there is a snapshot: {:?}", site.snapshots());
}

#[test]
fn backups_with_every_option_are_listed() {
    for major in majors(&[12, 15, 18]) {
        let site = Site::start(major);
        let plain = site.backup(&[]);
        let marked = site.backup(&["--permanent", "--add-user-data", r#"{"ticket": 7}"#]);
        assert_eq!(site.backups(), [plain.clone(), marked.clone()]);
        let shown = site.show(&marked);
        assert_eq!(shown["is_permanent"], true);
        assert_eq!(shown["user_data"]["ticket"], 7);
        assert_eq!(shown["pg_version"].as_u64().unwrap() / 10_000, u64::from(major));
        let identifier = site.cluster.value("SELECT system_identifier FROM pg_control_system()");
        assert_eq!(shown["system_identifier"], identifier.as_str(), "text, since it exceeds what a number can hold");
    }
}

#[test]
fn a_later_backup_shares_the_files_that_have_not_changed() {
    let site = Site::start(tested_major());
    // Files younger than the safety margin are copied: after some backups the oldest ones are old enough.
    let shares = (0..50).any(|_| {
        let version = site.place("snapshots").join(site.backup(&[])).join("data/PG_VERSION");
        fs::metadata(version).unwrap().nlink() >= 2
    });
    assert!(shares);
    assert_eq!(fs::metadata(site.cluster.data_directory().join("PG_VERSION")).unwrap().nlink(), 1, "never with the live file");
}

#[test]
fn an_interrupted_push_leaves_no_backup_mode_no_sentinel_and_no_snapshot() {
    for terminate in [false, true] {
        let site = Site::start(tested_major());
        // The archive is away, so that the push waits after the cut for as long as it takes.
        site.cluster.append_setting("archive_command", "false");
        site.cluster.reload();
        site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
        let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
        running.wait_for_stderr("waiting for the WAL");
        assert_eq!(site.snapshots().len(), 1, "it is cut");
        if terminate {
            running.terminate();
        } else {
            running.interrupt();
        }
        let finished = running.wait();
        assert_eq!(finished.code(), Some(5), "{finished}");
        assert!(finished.stderr.contains("interrupted"), "{finished}");
        assert_clean(&site);
    }
}

#[test]
fn a_push_that_is_interrupted_at_the_cut_leaves_nothing_or_a_backup() {
    for line in ["entering backup mode", "cutting", "left backup mode"] {
        let site = Site::start(tested_major());
        // The provider marks its directory with its first set, and cannot tell an unmarked one from one that is not mounted.
        let first = site.backup(&[]);
        let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
        running.wait_for_stderr(line);
        running.terminate();
        let finished = running.wait();
        site.wait_until_no_session_is_left();
        assert!(site.intents().is_empty(), "{line}: {finished}");
        let expected = if finished.is_success() { 2 } else { 1 };
        assert_eq!((site.backups().len(), site.snapshots().len()), (expected, expected), "{line}: {finished}");
        assert_eq!(site.backups()[0], first);
    }
}

#[test]
fn a_killed_push_leaves_no_backup_mode_and_no_snapshot_without_an_intent() {
    let site = Site::start(tested_major());
    let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
    running.wait_for_stderr("left backup mode");
    running.kill9();
    running.wait();
    site.wait_until_no_session_is_left();
    let accounted: Vec<String> = site.intents().into_iter().chain(site.backups()).collect();
    for snapshot in site.snapshots() {
        assert!(accounted.contains(&snapshot), "{snapshot} is unaccounted: {accounted:?}");
    }
    assert!(!accounted.is_empty());
    // Nothing of it stands in the way of the next one.
    site.backup(&[]);
}

#[test]
fn a_push_whose_connection_dies_leaves_no_backup_mode_no_sentinel_and_no_snapshot() {
    let site = Site::builder(tested_major()).value("backup", "checkpoint", "spread").start();
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 100000) AS i");
    let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
    running.wait_for_stderr("entering backup mode");
    // The spread checkpoint takes its time: the session dies in the middle of it.
    let kill = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE application_name = 'stillframe' AND state = 'active'";
    site.cluster.wait_until(kill);
    let finished = running.wait();
    assert_eq!(finished.code(), Some(5), "{finished}");
    assert_clean(&site);
}

#[test]
fn a_server_that_stops_in_the_middle_ends_the_push_with_an_error() {
    let mut site = Site::start(tested_major());
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
    running.wait_for_stderr("entering backup mode");
    site.cluster.stop(StopMode::Immediate);
    running.interrupt();
    let finished = running.wait();
    assert!(!finished.is_success(), "{finished}");
    assert!(site.backups().is_empty() && site.snapshots().is_empty());
}

#[test]
fn a_push_whose_wal_is_not_archived_fails_with_the_reason_and_leaves_nothing() {
    let site = Site::builder(tested_major()).value("backup", "archive_timeout_secs", 2).start();
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    let finished = site.stillframe.run(["snapshot-push", "--provider", "hardlink"]);
    assert_eq!(finished.code(), Some(5), "{finished}");
    assert!(finished.stderr.contains("is not in the archive after 2 s"), "{finished}");
    assert!(finished.stderr.contains("archiver fails on"), "{finished}");
    assert_clean(&site);
}

#[test]
fn a_server_that_does_not_archive_is_refused_with_what_to_set() {
    let mut site = Site::start(tested_major());
    site.cluster.append_setting("archive_mode", "off");
    site.cluster.restart();
    let finished = site.stillframe.run(["snapshot-push", "--provider", "hardlink"]);
    assert_eq!(finished.code(), Some(3), "{finished}");
    assert!(finished.stderr.contains("archive_mode = off") && finished.stderr.contains("hint:"), "{finished}");
    assert_clean(&site);
}

#[test]
fn a_role_without_rights_is_told_which_grants_it_needs_and_they_suffice() {
    for major in majors(&[12, 15, 18]) {
        let site = Site::start(major);
        site.cluster.sql("CREATE ROLE backup LOGIN");
        let conninfo = site.cluster.conninfo().replace("user=postgres", "user=backup");
        assert!(conninfo.contains("user=backup"), "{conninfo}");
        let as_backup = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &conninfo);
        let refused = as_backup.run(["snapshot-push", "--provider", "hardlink"]);
        assert_eq!(refused.code(), Some(3), "PostgreSQL {major}: {refused}");
        let hint = refused.stderr.lines().find_map(|line| line.strip_prefix("hint: run as a superuser: ")).expect("a hint");
        site.cluster.sql(hint);
        let finished = as_backup.run(["snapshot-push", "--provider", "hardlink"]);
        assert!(finished.is_success(), "PostgreSQL {major}: the grants of the hint suffice: {finished}");
    }
}

#[test]
fn a_data_directory_of_another_cluster_is_refused() {
    let site = Site::start(tested_major());
    let other = Cluster::builder(tested_major()).fresh_initdb().create();
    let finished = site.stillframe.clone().env("STILLFRAME_CLUSTER_PGDATA", other.data_directory()).run([
        "snapshot-push",
        "--provider",
        "hardlink",
    ]);
    assert!(matches!(finished.code(), Some(3 | 4)), "{finished}");
    assert!(finished.stderr.contains("hint:"), "{finished}");
    assert_clean(&site);
}

#[test]
fn a_standby_is_backed_up_when_its_primary_can_be_asked_to_switch() {
    let site = Site::start(tested_major());
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let mut standby = Cluster::standby_of(&site.cluster);
    standby.start();
    site.cluster.sql("CHECKPOINT");
    let lsn = site.cluster.value("SELECT pg_current_wal_lsn()");
    standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'"));
    let on_standby = site
        .stillframe
        .clone()
        .env("STILLFRAME_CLUSTER_PGDATA", standby.data_directory())
        .env("STILLFRAME_CLUSTER_CONNINFO", standby.conninfo())
        .env("STILLFRAME_CLUSTER_PRIMARY_CONNINFO", site.cluster.conninfo());
    // Two of them, with no restartpoint between: their start is the same, and their names are not.
    let names: Vec<String> = (0..2)
        .map(|_| {
            on_standby.succeed(["--json", "snapshot-push", "--provider", "hardlink"]).json()["backup_name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let shown = site.show(&names[0]);
    assert_eq!(shown["from_standby"], true);
    assert_eq!(shown["start_lsn"], site.show(&names[1])["start_lsn"]);
    let restored = site.restore("restored", &[&names[1], "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "1000");
}

#[test]
fn a_backup_under_load_spans_segments_and_is_restored() {
    let site =
        Site::builder(tested_major()).cluster(ClusterBuilder::small_segments).value("backup", "archive_timeout_secs", 60).start();
    site.cluster.sql("CREATE TABLE t (i int, filling text)");
    let (conninfo, is_over) = (site.cluster.conninfo(), AtomicBool::new(false));
    let name = std::thread::scope(|scope| {
        scope.spawn(|| {
            let session = Session::open(&conninfo).unwrap();
            while !is_over.load(Ordering::SeqCst) {
                session.sql("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 500) AS i");
            }
        });
        let spanning = (0..20).find_map(|_| {
            let name = site.backup(&[]);
            let shown = site.show(&name);
            (shown["first_wal_file"] != shown["last_wal_file"]).then_some(name)
        });
        is_over.store(true, Ordering::SeqCst);
        spanning
    });
    let name = name.expect("a backup that takes longer than a segment");
    site.switch_wal();
    let restored = site.restore("restored", &[&name, "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), site.cluster.value("SELECT count(*) FROM t"));
}

#[test]
fn a_backup_that_spans_segments_ends_on_a_server_that_falls_idle() {
    let site =
        Site::builder(tested_major()).cluster(ClusterBuilder::small_segments).value("backup", "archive_timeout_secs", 60).start();
    site.cluster.sql("CREATE TABLE t (i int)");
    let session = site.cluster.session();
    let spans = (0..20).any(|_| {
        let mut running = site.stillframe.spawn(["--json", "snapshot-push", "--provider", "hardlink"]);
        running.wait_for_stderr("cutting");
        // Segments end in the middle of the backup; afterwards nothing is written any more, and the history file may be the newest.
        for _ in 0..3 {
            session.sql("INSERT INTO t VALUES (1); SELECT pg_switch_wal()");
        }
        let finished = running.wait();
        assert!(finished.is_success(), "{finished}");
        let shown = finished.json();
        shown["first_wal_file"] != shown["last_wal_file"]
    });
    assert!(spans);
}
