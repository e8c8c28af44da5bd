//! `drill` with real servers: what it proves, what it does not take for proven, and that nothing of it is left anywhere.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use stillframe_tests::{Account, Finished, Site, SmallDisk, StopMode, files, is_alive, majors, tested_major, with_own_mounts};

/// Exit code when the backup failed its drill.
const FAILED: i32 = 6;

/// An installation with a place for drills and one file of statements.
fn site(change: impl FnOnce(stillframe_tests::ClusterBuilder) -> stillframe_tests::ClusterBuilder) -> Site {
    site_of(tested_major(), change)
}

fn site_of(major: u32, change: impl FnOnce(stillframe_tests::ClusterBuilder) -> stillframe_tests::ClusterBuilder) -> Site {
    let mut site = Site::builder(major).cluster(change).start();
    let scripts = site.place("checks");
    Account::unprivileged().create_directory(&scripts);
    site.name_programs_of_drills();
    let (directory, pattern) = (site.place("d").display().to_string(), scripts.join("*.sql").display().to_string());
    site.reconfigure(|config| {
        config.value("drill", "directory", directory).value("drill", "sql", toml::Value::Array(vec![pattern.into()]))
    });
    script(&site, "SELECT true");
    site
}

fn script(site: &Site, statements: &str) {
    Account::unprivileged().write(&site.place("checks").join("1.sql"), statements);
}

fn drill(site: &Site, arguments: &[&str]) -> Finished {
    site.stillframe.run([&["--json", "drill"], arguments].concat())
}

#[track_caller]
fn proven(site: &Site, arguments: &[&str]) -> Value {
    let finished = drill(site, arguments);
    assert!(finished.is_success(), "{finished}");
    let report = finished.json();
    assert_eq!(report["outcome"], "proven", "{finished}");
    assert_nothing_is_left(site);
    report
}

#[track_caller]
fn failed(site: &Site, arguments: &[&str]) -> Value {
    let finished = drill(site, arguments);
    assert_eq!(finished.code(), Some(FAILED), "{finished}");
    let report = finished.json();
    assert_eq!(report["outcome"], "failed", "{finished}");
    assert_nothing_is_left(site);
    report
}

fn finding(report: &Value, check: &str) -> String {
    let checks = report["checks"].as_array().unwrap().iter();
    let found = checks.into_iter().find(|found| found["check"].as_str().unwrap().contains(check));
    found.unwrap_or_else(|| panic!("no check `{check}`: {report}"))["finding"].as_str().unwrap().to_owned()
}

/// Processes that work anywhere below this directory, or have it on their command line.
fn processes_of(place: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let uses = |pid: &u32| {
        let works = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(place));
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        works || String::from_utf8_lossy(&line).contains(&format!("{}/drill-", place.display()))
    };
    pids.filter(uses).filter(|pid| is_alive(*pid)).collect()
}

#[track_caller]
fn assert_nothing_is_left(site: &Site) {
    let place = site.place("d");
    let entries = fs::read_dir(&place).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = entries.filter(|name| name != ".stillframe-drill.lock").collect();
    assert_eq!(left, [""; 0], "in the place for drills");
    assert_eq!(processes_of(&place), Vec::<u32>::new(), "no process is left");
    let listed = site.stillframe.succeed(["--json", "backup-list"]).json();
    assert_eq!(listed["restores"], serde_json::json!([]), "no restore is left");
}

/// What of the living cluster and its archive must be the same before and after.
fn living(site: &Site) -> (BTreeSet<String>, Vec<PathBuf>, String, u32) {
    let timeline =
        site.cluster.value("SELECT timeline_id || ' ' || (SELECT failed_count FROM pg_stat_archiver) FROM pg_control_checkpoint()");
    (site.archived(), files(&site.place("store/main/guard_001")), timeline, site.cluster.pid())
}

#[test]
fn a_drill_proves_the_backup_up_to_the_end_of_the_archive_beside_the_untouched_server() {
    let pid_file = tempfile::Builder::new().prefix("pid-").tempdir().unwrap();
    Account::unprivileged().own(pid_file.path());
    let pid_file = pid_file.path().join("postmaster");
    let site = site(|cluster| {
        let cluster = cluster.tablespaces(1).setting("max_connections", "150");
        cluster.setting("external_pid_file", &pid_file.display().to_string())
    });
    // Whatever of these the copy obeyed would reach the living server.
    let live = site.cluster.data_directory().display().to_string();
    site.cluster.append_setting("data_directory", &live);
    site.cluster.sql("ALTER SYSTEM SET log_directory = '/nowhere/of/the/living'");
    site.cluster.sql("CREATE EXTENSION amcheck");
    site.cluster.sql(
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i; CREATE INDEX ON t (i); CREATE TABLE u (i int) TABLESPACE ts1",
    );
    let name = site.backup(&[]);
    site.cluster.sql("INSERT INTO t SELECT generate_series(1001, 3000); INSERT INTO u SELECT generate_series(1, 500)");
    site.switch_wal();
    script(
        &site,
        "SELECT count(*) = 3000 FROM t; SELECT count(*) = 500 FROM u; SELECT NOT pg_is_in_recovery() OR current_setting('archive_mode') = 'off'",
    );

    let before = living(&site);
    let report = proven(&site, &[]);
    assert_eq!(living(&site), before, "archive, claims, timeline and process are the same");
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), site.cluster.pid().to_string(), "its own file of its process");
    assert_eq!(report["backup_name"], name.as_str());
    // Programs that only a distribution's servers bring.
    let has_tools = site.cluster.postgres().program("pg_amcheck").is_file();
    let of_tools = if has_tools { "passed" } else { "skipped" };
    for (check, expected) in [("1.sql", "passed"), ("pg_amcheck", of_tools), ("checksums", of_tools)] {
        assert_eq!(finding(&report, check), expected, "{report}");
    }
    assert!(report["recovery_seconds"].as_f64().unwrap() > 0.0 && report["restore_seconds"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(site.show(&name)["drill"]["outcome"], "proven");
    let listed = site.stillframe.succeed(["backup-list"]).stdout;
    assert!(listed.contains("proven 20"), "{listed}");
    let shown = site.stillframe.succeed(["backup-show", &name]).stdout;
    let checksums = format!("check              checksums {of_tools}");
    for words in ["drill              proven", "recovery time", &checksums] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    site.cluster.sql("INSERT INTO t VALUES (0); INSERT INTO u VALUES (0); CHECKPOINT");
    site.switch_wal();

    // To the end of the backup there is less.
    script(&site, "SELECT count(*) = 1000 FROM t");
    proven(&site, &[&name, "--target-immediate"]);
    // Somebody drills already.
    script(&site, "SELECT pg_sleep(600)");
    let mut first = site.stillframe.spawn(["drill"]);
    first.wait_for_stderr("recovered; checking");
    let second = drill(&site, &[]);
    assert_eq!(second.code(), Some(5), "{second}");
    assert!(second.says("another drill is under way"), "{second}");
    first.terminate();
    assert_eq!(first.wait().code(), Some(5));
    assert_nothing_is_left(&site);
}

/// Settings of recovery in a file of their own, an end of WAL before the target that is an error, and the newest.
#[test]
fn backups_of_old_and_new_versions_are_proven_by_servers_of_their_own() {
    for major in majors(&[10, 13, 17, 18]) {
        let mut site = site_of(major, |cluster| cluster);
        let programs = site.cluster.postgres().binaries.display().to_string();
        site.reconfigure(|config| config.value("drill", "bindir", programs));
        site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
        let name = site.backup(&[]);
        site.cluster.sql("INSERT INTO t SELECT generate_series(1001, 3000)");
        site.switch_wal();
        script(&site, "SELECT count(*) = 3000 FROM t; SELECT pg_is_in_recovery()");
        let before = living(&site);
        let report = proven(&site, &[]);
        assert_eq!(living(&site), before, "{major}: archive, claims, timeline and process are the same");
        assert_eq!(
            (report["backup_name"].as_str(), finding(&report, "1.sql").as_str()),
            (Some(name.as_str()), "passed"),
            "{major}"
        );
        script(&site, "SELECT count(*) = 1000 FROM t");
        proven(&site, &[&name, "--target-immediate"]);
        script(&site, "SELECT count(*) = 3000 FROM t");
        let report = failed(&site, &[&name, "--target-immediate"]);
        assert!(report["reason"].as_str().unwrap().contains("1.sql"), "{major}: {report}");
    }
}

#[test]
fn a_primary_that_was_given_more_room_after_the_backup_is_replayed_with_as_much() {
    let mut site = site(|cluster| cluster);
    site.backup(&[]);
    site.cluster.append_setting("max_connections", "200");
    site.cluster.restart();
    site.switch_wal();
    script(&site, "SELECT current_setting('max_connections')::int >= 200");
    proven(&site, &[]);
}

#[test]
fn a_broken_page_in_the_snapshot_fails_the_drill_by_name_and_takes_the_proof_away() {
    let site = site(|cluster| cluster.setting("autovacuum", "off"));
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 100000) AS i; CHECKPOINT");
    let path = site.cluster.value("SELECT pg_relation_filepath('t')");
    let name = site.backup(&[]);
    site.switch_wal();
    proven(&site, &[]);
    let broken = files(&site.place("snapshots")).into_iter().find(|file| file.ends_with(&path)).unwrap();
    let mut content = fs::read(&broken).unwrap();
    content[3 * 8192 + 4000] ^= 0xFF;
    fs::write(&broken, content).unwrap();
    let report = failed(&site, &[]);
    assert_eq!(finding(&report, "checksums"), "failed");
    assert!(report["reason"].as_str().unwrap().contains("`checksums`"), "{report}");
    assert_eq!(site.show(&name)["drill"]["outcome"], "failed");
    let listed = site.stillframe.succeed(["backup-list"]).stdout;
    assert!(listed.contains("failed its drill 20"), "{listed}");
}

#[test]
fn wal_that_is_missing_fails_the_drill() {
    let site = site(|cluster| cluster);
    let name = site.backup(&[]);
    let behind = site.switch_wal();
    let own = site.show(&name)["first_wal_file"].as_str().unwrap().to_owned();
    let object = site.place(&format!("store/main/wal_005/{own}.zst"));
    let kept = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    let report = failed(&site, &[]);
    assert!(report["reason"].as_str().unwrap().contains(&own), "{report}");
    Account::unprivileged().write(&object, kept);
    proven(&site, &[]);
    let object = site.place(&format!("store/main/wal_005/{behind}.zst"));
    let mut damaged = fs::read(&object).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xFF;
    fs::write(&object, damaged).unwrap();
    let report = failed(&site, &[]);
    assert!(report["reason"].as_str().unwrap().contains(&behind), "{report}");
}

#[test]
fn statements_that_fail_or_say_false_fail_the_drill_and_a_pattern_without_files_is_refused() {
    let mut site = site(|cluster| cluster);
    site.backup(&[]);
    site.switch_wal();
    for (statements, words) in [
        ("SELECT true; SELECT 1 = 2; SELECT true", "result 2 of 3 is false"),
        ("SELECT * FROM nothing_of_this_name", "nothing_of_this_name"),
        ("CREATE TABLE t (i int)", "read-only"),
    ] {
        script(&site, statements);
        let report = failed(&site, &[]);
        let reason = report["checks"][0]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(words), "{statements}: {reason}");
    }
    let nothing = site.place("checks/*.psql").display().to_string();
    site.reconfigure(|config| config.value("drill", "sql", toml::Value::Array(vec![nothing.into()])));
    let refused = drill(&site, &[]);
    assert_eq!(refused.code(), Some(3), "{refused}");
    assert!(refused.says("no file is meant by"), "{refused}");
}

#[test]
fn an_interruption_leaves_nothing() {
    let site = site(|cluster| cluster);
    let name = site.backup(&[]);
    site.switch_wal();
    script(&site, "SELECT pg_sleep(600)");
    for (number, words) in ["reading the WAL", "the provider restores", "recovering", "recovered; checking"].into_iter().enumerate()
    {
        let mut running = site.stillframe.spawn(["drill"]);
        running.wait_for_stderr(words);
        if number % 2 == 0 {
            running.interrupt();
        } else {
            running.terminate();
        }
        let finished = running.wait();
        assert_eq!(finished.code(), Some(5), "{words}: {finished}");
        assert_nothing_is_left(&site);
        assert_eq!(site.show(&name)["drill"], Value::Null, "{words}: nothing was found");
    }
}

#[test]
fn what_a_killed_drill_has_left_is_cleared_and_nothing_else() {
    let site = site(|cluster| cluster);
    site.backup(&[]);
    site.switch_wal();
    script(&site, "SELECT pg_sleep(600)");
    let place = site.place("d");
    for words in ["recovering", "recovered; checking"] {
        let mut running = site.stillframe.spawn(["drill"]);
        running.wait_for_stderr(words);
        running.kill9();
        running.wait();
        let foreign = place.join("drill-0000000000000000");
        Account::unprivileged().create_directory(&foreign);
        Account::unprivileged().write(&foreign.join("thesis.tex"), "dear");
        let before = site.cluster.pid();
        let finished = site.stillframe.succeed(["--json", "drill", "--clean-up"]);
        assert_eq!(finished.json()["cleared"].as_array().unwrap().len(), 1, "{finished}");
        assert!(foreign.join("thesis.tex").is_file() && finished.says("not touched"), "{finished}");
        assert_eq!(site.cluster.pid(), before);
        assert_eq!(site.cluster.value("SELECT 1"), "1", "the living server lives");
        fs::remove_dir_all(foreign).unwrap();
        assert_nothing_is_left(&site);
    }
    // The next drill does it as well.
    let mut running = site.stillframe.spawn(["drill"]);
    running.wait_for_stderr("recovered; checking");
    running.kill9();
    running.wait();
    wait_until(|| !processes_of(&place).is_empty());
    script(&site, "SELECT true");
    let report = proven(&site, &[]);
    assert_eq!(report["cleared"].as_array().unwrap().len(), 1, "{report}");
}

/// Device, inode and content of every file below a directory.
fn contents(directory: &Path) -> Vec<(PathBuf, u64, Vec<u8>)> {
    files(directory).into_iter().map(|path| (path.clone(), fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_tablespace_that_was_made_after_the_backup_is_not_written_to() {
    let mut site = site(|cluster| cluster.setting("autovacuum", "off"));
    site.backup(&[]);
    let location = site.place("new space");
    Account::unprivileged().create_directory(&location);
    site.cluster.sql("CREATE TABLE before AS SELECT 1 AS i");
    site.cluster.sql(&format!("CREATE TABLESPACE late LOCATION '{}'", location.display()));
    site.cluster.sql("CREATE TABLE t TABLESPACE late AS SELECT generate_series(1, 1000) AS i");
    site.cluster.sql("SELECT pg_create_restore_point('behind')");
    site.switch_wal();
    site.cluster.sql("UPDATE t SET i = i + 1; CHECKPOINT");
    // With its server stopped, nobody but the drill could write to it.
    site.cluster.stop(StopMode::Fast);
    let before = contents(&location);
    assert!(!before.is_empty());
    script(&site, "SELECT count(*) = 1 FROM before");
    let report = proven(&site, &[]);
    assert!(report["remarks"][0].as_str().unwrap().contains("new space"), "{report}");
    for target in [["--target-name", "behind"], ["--target-lsn", "0/FF000000"]] {
        let refused = drill(&site, &target);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert!(refused.says("a tablespace is made in"), "{refused}");
        assert_nothing_is_left(&site);
    }
    assert_eq!(contents(&location), before, "the living tablespace is as it was");
}

#[test]
fn no_drill_is_held_where_it_could_do_harm() {
    let site = site(|cluster| cluster);
    site.backup(&[]);
    site.switch_wal();
    let inside = site.cluster.data_directory().join("drill").display().to_string();
    let snapshots = site.place("snapshots/drill").display().to_string();
    for directory in [inside, snapshots] {
        let refused = drill(&site, &["--directory", &directory]);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert!(!Path::new(&directory).exists(), "{directory}");
    }
    let open = site.place("open");
    Account::unprivileged().create_directory(&open);
    stillframe_tests::set_mode(&open, 0o777);
    let refused = drill(&site, &["--directory", &open.display().to_string()]);
    assert_eq!(refused.code(), Some(3), "{refused}");
}

#[test]
fn a_copy_that_does_not_fit_is_not_begun() {
    with_own_mounts("a_copy_that_does_not_fit_is_not_begun", || {
        let site = site(|cluster| cluster);
        site.backup(&[]);
        site.switch_wal();
        let disk = SmallDisk::mount(&site.place("small"), 4 << 10);
        let refused = drill(&site, &["--directory", &disk.path().join("d").display().to_string()]);
        assert_eq!(refused.code(), Some(5), "{refused}");
        assert!(refused.says("has room for"), "{refused}");
        assert_eq!(files(disk.path()).len(), 1, "the lock and nothing else");
    });
}

fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not become so");
        std::thread::yield_now();
    }
}
