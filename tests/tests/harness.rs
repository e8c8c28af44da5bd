//! The harness itself: what every other test takes for granted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use stillframe_tests::{
    Account, Cluster, ClusterBuilder, ConfigFile, Postgres, ScratchDirectory, Stillframe, StopMode, copy_tree, is_alive, majors,
    tested_major,
};

#[test]
fn every_major_version_starts_and_says_its_version() {
    for major in Postgres::available_majors() {
        let cluster = Cluster::builder(major).start();
        let number: u32 = cluster.value("SHOW server_version_num").parse().unwrap();
        assert_eq!(number / 10_000, major);
    }
}

#[test]
fn the_version_under_test_starts_and_says_its_version() {
    let cluster = Cluster::builder(tested_major()).start();
    let number: u32 = cluster.value("SHOW server_version_num").parse().unwrap();
    assert_eq!(number / 10_000, tested_major());
}

#[test]
fn a_dropped_cluster_leaves_neither_a_process_nor_a_file() {
    let mut cluster = Cluster::builder(tested_major()).tablespaces(2).create();
    let scratch = cluster.scratch().path().to_owned();
    assert_eq!(fs::metadata(cluster.data_directory()).unwrap().uid(), Account::unprivileged().uid);
    cluster.start();
    let pid = cluster.pid();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(cluster.value("SELECT count(*) FROM pg_tablespace WHERE spcname IN ('ts1', 'ts2')"), "2");
    drop(cluster);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!scratch.exists());
}

#[test]
fn a_killed_cluster_recovers_on_its_next_start() {
    let mut cluster = Cluster::builder(tested_major()).start();
    cluster.sql("CREATE TABLE survivors AS SELECT 1 AS number");
    cluster.kill9();
    cluster.start();
    assert_eq!(cluster.value("SELECT number FROM survivors"), "1");
    assert!(cluster.log().contains("automatic recovery in progress"), "{}", cluster.log());
    cluster.stop(StopMode::Immediate);
    assert!(cluster.try_sql("SELECT 1").is_err());
}

#[test]
fn a_copy_can_be_adopted_on_another_port() {
    let mut original = Cluster::builder(tested_major()).start();
    original.sql("CREATE TABLE kept AS SELECT 7 AS number");
    original.stop(StopMode::Fast);
    let scratch = ScratchDirectory::create();
    let copy = scratch.join("copy");
    copy_tree(original.data_directory(), &copy);
    original.start();
    let mut adopted = Cluster::adopt(&copy, tested_major());
    adopted.start();
    assert_ne!(adopted.port(), original.port());
    assert_eq!(adopted.value("SELECT number FROM kept"), "7");
    drop(adopted);
    assert!(copy.is_dir(), "an adopted directory is not the harness's to remove");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let mut cluster = Cluster::builder(tested_major()).setting("shared_buffers", "many").create();
    let log = cluster.try_start().unwrap_err();
    assert!(log.contains("shared_buffers"), "{log}");
}

#[test]
fn standbys_of_old_and_new_versions_follow_their_primary() {
    for major in majors(&[10, 12, 15]) {
        let primary = Cluster::builder(major).start();
        let mut standby = Cluster::standby_of(&primary);
        standby.start();
        primary.sql("CREATE TABLE streamed AS SELECT 1 AS number");
        standby.wait_until("SELECT to_regclass('streamed') IS NOT NULL");
        assert_eq!(standby.value("SELECT pg_is_in_recovery()"), "t");
    }
}

#[test]
fn segment_sizes_are_as_asked_for() {
    let small = Cluster::builder(tested_major()).wal_segment_size(1).start();
    assert_eq!(small.value("SHOW wal_segment_size"), "1MB");
}

#[test]
fn checksums_are_as_asked_for() {
    let checksums = |builder: ClusterBuilder| builder.create().start().value("SHOW data_checksums");
    assert_eq!(checksums(Cluster::builder(tested_major())), "on");
    assert_eq!(checksums(Cluster::builder(tested_major()).without_checksums()), "off");
}

#[test]
fn system_identifiers_are_as_asked_for() {
    let identifier = "SELECT system_identifier FROM pg_control_system()";
    let (one, other) = (Cluster::builder(tested_major()).start(), Cluster::builder(tested_major()).start());
    assert_eq!(one.value(identifier), other.value(identifier));
    let distinct = Cluster::builder(tested_major()).fresh_initdb().start();
    assert_ne!(one.value(identifier), distinct.value(identifier));
}

#[test]
fn a_server_dies_with_its_test_process() {
    // The test executable runs itself: the child starts a server, says its process, and is killed.
    if let Ok(answer) = std::env::var("STILLFRAME_HARNESS_CHILD") {
        let cluster = Cluster::builder(tested_major()).start();
        // Complete or absent, so that the reader sees no half of it.
        let unfinished = format!("{answer}.unfinished");
        fs::write(&unfinished, format!("{}\n{}", cluster.pid(), cluster.scratch().path().display())).unwrap();
        fs::rename(&unfinished, &answer).unwrap();
        loop {
            std::thread::park();
        }
    }
    let scratch = ScratchDirectory::create();
    let answer = scratch.join("pid");
    let name = "a_server_dies_with_its_test_process";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("STILLFRAME_HARNESS_CHILD", &answer)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let said = until(|| fs::read_to_string(&answer).ok());
    let (pid, left_behind) = said.split_once('\n').unwrap();
    let pid = pid.parse().unwrap();
    assert!(is_alive(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| (!is_alive(pid)).then_some(()));
    // The next test process would sweep it away.
    fs::remove_dir_all(left_behind).unwrap();
}

#[test]
fn the_binary_runs_as_the_unprivileged_user_with_a_configuration_that_it_can_read() {
    let cluster = Cluster::builder(tested_major()).create();
    let scratch = ScratchDirectory::create();
    let config = ConfigFile::new()
        .cluster("main", &cluster)
        .store_directory(&scratch.join("store"))
        .hardlink_provider(&scratch.join("snapshots"));
    let text = config.text();
    for line in ["[cluster]", "name = \"main\"", "[store]", "[provider.hardlink]"] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
    let path = config.write(scratch.path());
    assert_eq!(fs::metadata(&path).unwrap().uid(), Account::unprivileged().uid);
    let finished = Stillframe::without_config().run(["--version"]);
    assert_eq!(finished.signal(), None, "{finished}");
    assert!(Stillframe::new(&path).command_line("wal-push %p").ends_with("stillframe.toml' wal-push %p"));
}

/// Looks at a condition until it holds; a minute is more than any slow machine needs.
fn until<Found>(look: impl Fn() -> Option<Found>) -> Found {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "the condition never held");
        std::thread::yield_now();
    }
}
