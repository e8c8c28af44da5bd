//! Who may archive where: the primary always, a clone never, a promoted standby at once, a server that was rolled back not unnoticed.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::mount_bind;
use stillframe_tests::{Account, Cluster, ClusterBuilder, Finished, Site, StopMode, copy_tree, majors, with_own_mounts};

/// What a command that is refused makes the archiver log.
const REFUSED: &str = "archive command failed with exit code 4";
/// Longest wait for a line of a log.
const PATIENCE: Duration = Duration::from_mins(1);

fn site() -> Site {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int)");
    archive_one(&site);
    site
}

/// Completes a segment, and waits until it is archived.
fn archive_one(site: &Site) {
    site.cluster.sql("INSERT INTO t SELECT generate_series(1, 100)");
    site.switch_wal();
}

/// Completes a segment that may stay where it is; gives its name.
fn complete_one(cluster: &Cluster, rows: usize) -> String {
    cluster.sql(&format!("INSERT INTO t SELECT generate_series(1, {rows})"));
    cluster.switch_wal()
}

/// Waits until the archiver has been told something.
#[track_caller]
fn wait_for_log(cluster: &Cluster, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !cluster.log().contains(text) {
        assert!(Instant::now() < deadline, "`{text}` is not in\n{}", cluster.log());
        // A new session wakes an idle server, which then looks after its archiver.
        let _any = cluster.try_sql("SELECT 1");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything in the archive, but for the claims: what clones must not change.
fn archived(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    site.everything().into_iter().filter(|(path, _)| path.parent().unwrap().ends_with("wal_005")).collect()
}

/// A push by hand, as the server in this directory makes it.
fn push(site: &Site, data_directory: &Path, segment: &str) -> Finished {
    let stillframe = site.stillframe.clone().env("STILLFRAME_CLUSTER_PGDATA", data_directory);
    stillframe.run(["wal-push", data_directory.join("pg_wal").join(segment).to_str().unwrap()])
}

#[track_caller]
fn assert_names_both(said: &str, clone: &Path, original: &Path) {
    for directory in [clone, original] {
        assert!(said.contains(directory.to_str().unwrap()), "{} is not named in\n{said}", directory.display());
    }
}

/// Stops the server, copies its data directory, and starts the original again; the copy is not started.
fn clone_of(site: &mut Site) -> Cluster {
    site.cluster.stop(StopMode::Fast);
    copy_tree(site.cluster.data_directory(), &site.place("clone"));
    site.cluster.start();
    site.adopt("clone")
}

#[test]
fn a_clone_that_archives_to_the_same_place_is_refused_and_the_original_goes_on() {
    let mut site = site();
    let mut clone = clone_of(&mut site);
    clone.start();
    // The statistics were copied, too.
    let count = "SELECT archived_count FROM pg_stat_archiver";
    let archived_before = clone.value(count);
    // The clone is first: nothing of this name is archived yet, so only the claim tells whose it is.
    let before = archived(&site);
    let segment = complete_one(&clone, 1000);
    wait_for_log(&clone, REFUSED);
    assert_names_both(&clone.log(), clone.data_directory(), site.cluster.data_directory());
    assert_eq!(archived(&site), before, "a clone changes nothing");
    let refused = push(&site, clone.data_directory(), &segment);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert_names_both(&refused.stderr, clone.data_directory(), site.cluster.data_directory());
    assert!(refused.stderr.contains("hint:"), "it says what to do: {refused}");

    for _ in 0..3 {
        archive_one(&site);
    }
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
    // Now the archive holds the segment of the original under the name of the clone's.
    let refused = push(&site, clone.data_directory(), &segment);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert_eq!(clone.value(count), archived_before, "{}", clone.log());
}

#[test]
fn the_original_is_not_blocked_by_a_clone_that_runs_while_it_does_not() {
    let mut site = site();
    let mut clone = clone_of(&mut site);
    // Without a farewell: the segment that it was in is not archived, and the clone comes first.
    site.cluster.kill9();
    let before = archived(&site);
    clone.start();
    for _ in 0..3 {
        complete_one(&clone, 1000);
    }
    wait_for_log(&clone, REFUSED);
    assert_eq!(archived(&site), before, "a clone changes nothing");
    site.cluster.start();
    archive_one(&site);
    clone.stop(StopMode::Fast);
    archive_one(&site);
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
}

#[test]
fn a_promoted_standby_archives_its_timeline_with_no_intervention() {
    let mut site = site();
    let mut standby = Cluster::standby_of(&site.cluster);
    standby.start();
    archive_one(&site);
    site.cluster.stop(StopMode::Fast);
    standby.promote();
    standby.wait_until_recovered();
    for _ in 0..3 {
        let segment = complete_one(&standby, 100);
        assert!(segment.starts_with("00000002"), "{segment}");
        standby.wait_until_archived(&segment);
        assert!(site.archived().iter().any(|name| name.starts_with(&segment)), "{segment}");
    }
    assert!(site.archived().iter().any(|name| name.starts_with("00000002.history")), "{:?}", site.archived());
    assert_eq!(standby.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", standby.log());
    // And back: the old primary follows the new one's history only as its standby, which is promoted in turn.
    let mut second = Cluster::standby_of(&standby);
    second.start();
    standby.stop(StopMode::Fast);
    second.promote();
    second.wait_until_recovered();
    let segment = complete_one(&second, 100);
    assert!(segment.starts_with("00000003"), "{segment}");
    second.wait_until_archived(&segment);
    assert_eq!(second.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", second.log());
}

#[test]
fn a_standby_that_archives_always_is_not_blocked_between_promotion_and_checkpoint() {
    // The control file differs between these.
    for major in majors(&[10, 11, 12, 15, 18]) {
        let site = Site::builder(major).cluster(|cluster| cluster.setting("checkpoint_timeout", "1h")).start();
        site.cluster.sql("CREATE TABLE t (i int)");
        archive_one(&site);
        let mut standby = Cluster::standby_of(&site.cluster);
        // It has something left to archive of the old timeline when it is promoted.
        let (flag, push) = (site.place("may-archive"), site.stillframe.command_line("wal-push %p"));
        standby.append_setting("archive_mode", "always");
        standby.append_setting("archive_command", &format!("test -e {} && {push}", flag.display()));
        standby.start();
        archive_one(&site);
        let position = site.cluster.value("SELECT pg_current_wal_lsn()");
        standby.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"));
        let waiting = site.cluster.value("SELECT last_archived_wal FROM pg_stat_archiver");
        fs::create_dir(&flag).unwrap();
        standby.promote();
        standby.wait_until_recovered();
        standby.wait_until(&format!("SELECT coalesce(last_archived_wal >= '{waiting}', false) FROM pg_stat_archiver"));
        let said = standby.log();
        assert!(!said.contains(REFUSED), "{major}: {said}");
    }
}

#[test]
fn both_sides_of_a_split_brain_archive_their_own_timeline() {
    let site = site();
    let mut standby = Cluster::standby_of(&site.cluster);
    standby.start();
    archive_one(&site);
    standby.promote();
    standby.wait_until_recovered();
    for _ in 0..3 {
        let segment = complete_one(&standby, 100);
        standby.wait_until_archived(&segment);
        archive_one(&site);
    }
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
    assert_eq!(standby.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", standby.log());
}

#[test]
fn a_primary_that_was_rolled_back_is_told_so() {
    let mut site = site();
    site.cluster.stop(StopMode::Fast);
    let (live, older) = (site.cluster.data_directory().to_owned(), site.place("older"));
    copy_tree(&live, &older);
    site.cluster.start();
    for _ in 0..3 {
        archive_one(&site);
    }
    site.cluster.stop(StopMode::Fast);
    fs::rename(&live, site.place("lost")).unwrap();
    copy_tree(&older, &live);
    let before = archived(&site);
    site.cluster.start();
    let segment = complete_one(&site.cluster, 1000);
    wait_for_log(&site.cluster, REFUSED);
    let refused = push(&site, &live, &segment);
    assert_eq!(refused.code(), Some(4), "{refused}");
    for said in [site.cluster.log(), refused.stderr] {
        // In the verdict itself: a hint may name it as one of several guesses.
        let is_told = said.lines().any(|line| line.starts_with("error:") && line.contains("rolled back"));
        assert!(is_told, "the verdict says what happened:\n{said}");
        assert!(said.contains(live.to_str().unwrap()) && said.contains("hint:"), "{said}");
    }
    assert_eq!(archived(&site), before, "nothing of the first life is overwritten");
}

#[test]
fn a_server_that_crashed_and_a_directory_that_was_moved_are_not_taken_for_a_clone() {
    let mut site = site();
    site.cluster.kill9();
    site.cluster.start();
    archive_one(&site);
    // Moved with everything it has, and back: nothing was lost, and the archive goes on where it ended.
    site.cluster.stop(StopMode::Fast);
    let (live, aside) = (site.cluster.data_directory().to_owned(), site.place("aside"));
    copy_tree(&live, &aside);
    fs::rename(&live, site.place("old")).unwrap();
    copy_tree(&aside, &live);
    site.cluster.start();
    archive_one(&site);
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
}

#[test]
fn a_server_behind_a_bind_mount_is_accepted_by_the_path_that_it_uses_itself() {
    with_own_mounts("a_server_behind_a_bind_mount_is_accepted_by_the_path_that_it_uses_itself", || {
        let mut site = site();
        site.cluster.stop(StopMode::Fast);
        // The server sees the directory where the configuration does not name it.
        let (live, configured) = (site.cluster.data_directory().to_owned(), site.place("configured"));
        Account::unprivileged().create_directory(&configured);
        mount_bind(&live, &configured).unwrap();
        site.reconfigure(|config| config.value("cluster", "pgdata", configured.display().to_string()));
        site.cluster.start();
        archive_one(&site);
        let accepted = site.stillframe.succeed(["--json", "archive", "accept"]).json();
        assert_eq!(accepted["data_directory"], live.canonicalize().unwrap().to_str().unwrap(), "{accepted}");
        let again = site.stillframe.succeed(["archive", "accept"]).stdout;
        assert!(again.contains("it did so before") && !again.contains("refused"), "{again}");
        archive_one(&site);
        assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
    });
}

#[test]
fn a_server_after_pg_upgrade_gets_a_name_of_its_own_and_never_the_old_archive() {
    let site = site();
    let upgraded = Site::with_small_segments().cluster(ClusterBuilder::fresh_initdb).start();
    upgraded.cluster.sql("CREATE TABLE t (i int)");
    let segment = complete_one(&upgraded.cluster, 1000);
    let path = upgraded.cluster.data_directory().join("pg_wal").join(&segment);
    let before = archived(&site);
    let in_the_old_place = site.stillframe.clone().env("STILLFRAME_CLUSTER_PGDATA", upgraded.cluster.data_directory());
    for arguments in [&["archive", "accept"][..], &["wal-push", path.to_str().unwrap()]] {
        let refused = in_the_old_place.run(arguments);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert!(refused.stderr.contains("`stillframe store create`") && refused.stderr.contains("`[cluster]`"), "{refused}");
    }
    assert_eq!(archived(&site), before);
    let named = in_the_old_place.env("STILLFRAME_CLUSTER_NAME", "main-18");
    named.succeed(["store", "create"]);
    named.succeed(["wal-push", path.to_str().unwrap()]);
    assert_eq!(archived(&site).iter().filter(|(path, _)| !path.starts_with(site.place("store/main-18"))).count(), before.len());
}
