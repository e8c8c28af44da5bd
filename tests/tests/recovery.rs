//! The manual's recovery procedure with real servers: what an old cluster had not archived, a server that admits the operator only, an
//! end that is what was asked for or not, and several recoveries in a row.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use stillframe_tests::{Account, Cluster, Finished, Session, Site, StopMode, copy_tree, file_name, files, majors, tested_major};

/// With recovery.conf, with both kinds of a silent end, and the newest.
const MAJORS: [u32; 4] = [10, 11, 12, 18];

/// An installation whose system user is a superuser of the database, so that the binary finds the server by itself.
fn site(major: u32) -> Site {
    let site = Site::builder(major).cluster(|cluster| cluster.setting("autovacuum", "off")).start();
    let operator = &Account::unprivileged().name;
    site.cluster.sql(&format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{operator}') THEN \
         EXECUTE 'CREATE ROLE \"{operator}\" SUPERUSER LOGIN'; END IF; END $$"
    ));
    site.cluster.sql("CREATE TABLE t (i int)");
    site
}

fn insert(cluster: &Cluster, count: u32) {
    cluster.sql(&format!("INSERT INTO t SELECT generate_series(1, {count})"));
}

fn count(cluster: &Cluster) -> String {
    cluster.value("SELECT count(*) FROM t")
}

/// From here on nothing reaches the archive.
fn stop_archiving(cluster: &Cluster) {
    cluster.sql("ALTER SYSTEM SET archive_command = 'false'");
    cluster.reload();
    cluster.wait_until("SELECT current_setting('archive_command') = 'false'");
}

/// Segments that are complete, and one that is being written, of which nothing is archived; then the server dies.
fn lose_the_server(site: &mut Site) -> PathBuf {
    stop_archiving(&site.cluster);
    for _ in 0..2 {
        insert(&site.cluster, 100);
        site.cluster.switch_wal();
    }
    site.cluster.sql("SELECT pg_create_restore_point('late')");
    insert(&site.cluster, 50);
    site.cluster.kill9();
    site.cluster.data_directory().to_owned()
}

fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(directory).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn json(finished: &Finished) -> Value {
    assert!(finished.is_success(), "{finished}");
    finished.json()
}

fn salvage(site: &Site, place: &str, from: &Path, arguments: &[&str]) -> Finished {
    let (place, from) = (site.place(place).display().to_string(), from.display().to_string());
    let mut all = vec!["--json", "snapshot-fetch", &place, "--salvage-wal", &from];
    all.extend(arguments);
    site.stillframe.run(all)
}

fn status(site: &Site, place: &str, arguments: &[&str]) -> Finished {
    let place = site.place(place).display().to_string();
    let mut all = vec!["--json", "recovery", "status", &place];
    all.extend(arguments);
    site.stillframe.run(all)
}

#[track_caller]
fn has_verdict(finished: &Finished, verdict: &str, code: i32) -> Value {
    assert_eq!(finished.code(), Some(code), "{finished}");
    let told = finished.json();
    assert_eq!(told["verdict"], verdict, "{finished}");
    told
}

#[test]
fn what_the_old_server_had_not_archived_is_replayed_up_to_its_last_commit_and_stays_where_it_was() {
    for major in majors(&MAJORS) {
        let mut site = site(major);
        let name = site.backup(&[]);
        insert(&site.cluster, 10);
        site.switch_wal();
        let old = lose_the_server(&mut site);
        let before = content(&old);
        // Without it, they are lost.
        let short = site.restore("short", &[&name, "--archiving", "off"]);
        assert_eq!(count(&short), "10", "PostgreSQL {major}: the test could not fail");
        drop(short);

        let told = json(&salvage(&site, "restored", &old, &[&name]));
        let salvaged = &told["salvaged"];
        assert_eq!((&salvaged["segments"], &salvaged["ends_in_partial"]), (&3.into(), &true.into()), "PostgreSQL {major}: {told}");
        assert!(salvaged["from_lsn"].is_string() && salvaged["last_record_lsn"].is_string(), "{told}");
        let restored = site.recover("restored");
        assert_eq!(count(&restored), "260", "PostgreSQL {major}");
        assert_eq!(content(&old), before, "PostgreSQL {major}: the old directory was changed");
        has_verdict(&status(&site, "restored", &[]), "promoted", 0);
        // What was complete is archived by the server that took over.
        let first = salvaged["files"][0].as_str().unwrap().to_owned();
        assert_eq!(salvaged["archived"], 2, "PostgreSQL {major}: {told}");
        restored.sql("INSERT INTO t VALUES (0); SELECT pg_switch_wal()");
        restored.wait_until(
            "SELECT last_archived_wal LIKE '00000002%' AND last_archived_wal NOT LIKE '%history' FROM pg_stat_archiver",
        );
        assert!(site.archived().contains(&first), "PostgreSQL {major}: {first} is not in {:?}", site.archived());
    }
}

#[test]
fn a_target_in_salvaged_wal_is_found_and_reached_and_the_bare_pg_wal_is_enough() {
    let mut site = site(tested_major());
    let name = site.backup(&[]);
    let old = lose_the_server(&mut site);
    let refused = site.fetch("refused", &[&name, "--target-name", "late"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    let wal = site.place("rescued");
    copy_tree(&old.join("pg_wal"), &wal);
    json(&salvage(&site, "restored", &wal, &[&name, "--target-name", "late", "--target-action", "promote", "--archiving", "off"]));
    let restored = site.recover("restored");
    assert_eq!(count(&restored), "200");
    has_verdict(&status(&site, "restored", &[]), "promoted", 0);
}

#[test]
fn a_restore_that_is_killed_or_repeated_loses_nothing_of_the_old_wal() {
    let mut site = site(tested_major());
    let name = site.backup(&[]);
    let old = lose_the_server(&mut site);
    let before = content(&old);
    for _ in 0..2 {
        json(&salvage(&site, "restored", &old, &[&name, "--archiving", "off"]));
    }
    // As a kill before the last step leaves it: no label, and the salvaged files half there.
    fs::remove_file(site.place("restored/backup_label")).unwrap();
    let wal = site.place("restored/pg_wal");
    let segment = files(&wal).into_iter().find(|path| file_name(path).len() == 24).unwrap();
    fs::write(&segment, "torn").unwrap();
    assert!(site.adopt("restored").try_start().is_err(), "half a restore must not start");
    json(&salvage(&site, "restored", &old, &[&name, "--archiving", "off"]));
    assert_eq!(content(&old), before);
    assert_eq!(count(&site.recover("restored")), "250");
}

#[test]
fn old_wal_that_is_not_of_this_history_is_refused_before_anything_is_made() {
    let mut site = site(tested_major());
    let name = site.backup(&[]);
    insert(&site.cluster, 10);
    let archived = site.archived_segment();
    let refused = salvage(&site, "restored", site.cluster.data_directory(), &[&name]);
    assert!(refused.code() == Some(4) && refused.stderr.contains("a server runs on"), "{refused}");
    let wal = site.cluster.data_directory().join("pg_wal");
    let refused = salvage(&site, "restored", &wal, &[&name]);
    assert!(refused.code() == Some(4) && refused.stderr.contains("a server runs on"), "{refused}");
    let old = lose_the_server(&mut site);

    let mut other = Cluster::builder(tested_major()).fresh_initdb().create();
    other.start();
    other.stop(StopMode::Fast);
    for from in [other.data_directory().to_owned(), other.data_directory().join("pg_wal")] {
        let refused = salvage(&site, "restored", &from, &[&name]);
        assert!(refused.code() == Some(4) && refused.stderr.contains("the cluster"), "{refused}");
    }

    // The same timeline with another past: as a server has it that was rolled back and went on.
    let conflicting = site.place("conflicting");
    copy_tree(&old.join("pg_wal"), &conflicting);
    let forged = site.forged(&archived);
    fs::copy(&forged, conflicting.join(file_name(&archived))).unwrap();
    let refused = salvage(&site, "restored", &conflicting, &[&name]);
    assert!(refused.code() == Some(4) && refused.stderr.contains("not of one history"), "{refused}");

    let inside = old.display().to_string();
    let refused = site.stillframe.run(["snapshot-fetch", &inside, &name, "--salvage-wal", &inside]);
    assert!(refused.code() == Some(4) && refused.stderr.contains("mv DIRECTORY DIRECTORY.old"), "{refused}");
    assert!(!site.place("restored").exists());
    // A stranger's segment among its own, and nothing of it is taken.
    let stray = files(&other.data_directory().join("pg_wal")).into_iter().find(|path| file_name(path).len() == 24).unwrap();
    let mixed = site.place("mixed");
    copy_tree(&old.join("pg_wal"), &mixed);
    let moved = mixed.join("0000000100000000000000F0");
    fs::copy(&stray, &moved).unwrap();
    Account::unprivileged().own(&moved);
    let unchanged = salvage(&site, "restored", &mixed, &[&name, "--archiving", "off"]);
    assert_eq!(json(&unchanged)["salvaged"]["segments"], 3, "under a name that is not its own it counts as kept for later");
}

#[test]
fn a_damaged_segment_ends_what_is_salvaged_and_is_told_of() {
    let mut site = site(tested_major());
    let name = site.backup(&[]);
    let old = lose_the_server(&mut site);
    let told = json(&salvage(&site, "whole", &old, &[&name, "--archiving", "off"]));
    let second = told["salvaged"]["files"][1].as_str().unwrap().to_owned();
    let damaged = site.place("damaged");
    copy_tree(&old.join("pg_wal"), &damaged);
    let mut bytes = fs::read(damaged.join(&second)).unwrap();
    bytes[..8].copy_from_slice(b"nonsense");
    fs::write(damaged.join(&second), bytes).unwrap();
    let finished = salvage(&site, "restored", &damaged, &[&name, "--archiving", "off"]);
    let told = json(&finished);
    assert!(finished.stderr.contains(&second), "{finished}");
    assert!(told["salvaged"]["left"].as_array().unwrap().contains(&second.into()), "{told}");
    assert_eq!(count(&site.recover("restored")), "100", "up to the damage and no further");
}

#[test]
fn a_locked_out_server_admits_the_operator_only_until_the_recovery_is_accepted() {
    for major in majors(&MAJORS) {
        let site = site(major);
        insert(&site.cluster, 10);
        let name = site.backup(&[]);
        let told = json(&salvage_free(&site, "restored", &[&name, "--lock-out", "--archiving", "off"]));
        assert_eq!(told["locked_out_for"], Account::unprivileged().name, "{told}");
        let own = fs::read(site.place("restored/pg_hba.conf")).unwrap();
        let mut restored = site.adopt("restored");
        restored.start();
        // The operator is admitted, and sees the end of the recovery; nobody else is, neither by the socket nor by the network.
        has_verdict(&status(&site, "restored", &["--wait", "60"]), "promoted", 0);
        for conninfo in [restored.conninfo(), restored.tcp_conninfo()] {
            let refused = Session::open(&conninfo).err();
            assert!(
                refused.is_some_and(|error| error.contains("pg_hba") || error.contains("eer")),
                "PostgreSQL {major}: {conninfo}"
            );
        }
        // A restart changes nothing of it.
        restored.restart();
        assert!(restored.try_sql("SELECT 1").is_err(), "PostgreSQL {major}");
        accept(&site, "restored", "opened");
        assert_eq!(count(&restored), "10", "PostgreSQL {major}: at once");
        // Again, and what changes in the server's own file counts.
        accept(&site, "restored", "opened");
        restored.write_hba("local all all reject\n");
        restored.reload();
        let is_refused = || restored.try_sql("SELECT 1").is_err();
        wait_until(is_refused);
        restored.write_hba(&String::from_utf8(own.clone()).unwrap());
        wait_until(|| !is_refused());
        restored.restart();
        assert_eq!(restored.value("SELECT current_setting('hba_file') LIKE '%/restored/pg_hba.conf'"), "t", "PostgreSQL {major}");
        accept(&site, "restored", "not-locked");
        assert_eq!(fs::read(site.place("restored/pg_hba.conf")).unwrap(), own);
    }
}

/// A condition of the test itself.
fn wait_until(is_met: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !is_met() {
        assert!(std::time::Instant::now() < deadline, "it did not become true");
        std::thread::yield_now();
    }
}

fn salvage_free(site: &Site, place: &str, arguments: &[&str]) -> Finished {
    let place = site.place(place).display().to_string();
    let mut all = vec!["--json", "snapshot-fetch", &place];
    all.extend(arguments);
    site.stillframe.run(all)
}

#[track_caller]
fn accept(site: &Site, place: &str, outcome: &str) {
    let place = site.place(place).display().to_string();
    let told = site.stillframe.succeed(["--json", "recovery", "accept", &place]).json();
    assert_eq!(told["outcome"], outcome, "{told}");
}

#[test]
fn a_lock_out_is_ended_where_the_servers_own_file_lies_elsewhere_is_faulty_or_the_server_is_down() {
    let site = site(tested_major());
    insert(&site.cluster, 10);
    // As on Debian: the file is named by the main configuration, outside the data directory.
    let elsewhere = site.place("etc/pg_hba.conf");
    Account::unprivileged().create_directory(elsewhere.parent().unwrap());
    Account::unprivileged().write(&elsewhere, "local all all trust\n");
    site.cluster.append_setting("hba_file", &elsewhere.display().to_string());
    let name = site.backup(&[]);
    json(&salvage_free(&site, "restored", &[&name, "--lock-out", "--archiving", "off"]));
    let mut restored = site.adopt("restored");
    restored.start();
    has_verdict(&status(&site, "restored", &["--wait", "60"]), "promoted", 0);
    Account::unprivileged().write(&elsewhere, "local all all nonsense\n");
    let place = site.place("restored").display().to_string();
    let refused = site.stillframe.run(["recovery", "accept", &place]);
    assert!(refused.code() == Some(4) && refused.stderr.contains("faulty in line 1"), "{refused}");
    restored.reload();
    assert!(restored.try_sql("SELECT 1").is_err(), "what cannot be read must not open the server, nor end the lock-out");
    Account::unprivileged().write(&elsewhere, "local all all trust\n");
    // As a kill between the link and the setting leaves it: the same command ends in the same place.
    let lock = site.place("restored/pg_hba.lock-out.conf");
    fs::remove_file(&lock).unwrap();
    symlink(&elsewhere, &lock).unwrap();
    assert!(restored.try_sql("SELECT 1").is_err(), "until it is read again");
    accept(&site, "restored", "opened");
    assert_eq!(count(&restored), "10");
    assert_eq!(fs::read(&elsewhere).unwrap(), b"local all all trust\n");
    restored.stop(StopMode::Fast);

    json(&salvage_free(&site, "down", &[&name, "--lock-out", "--archiving", "off"]));
    accept(&site, "down", "at-next-start");
    accept(&site, "down", "not-locked");
    assert_eq!(count(&site.recover("down")), "10");
    // A second restore without the lock leaves none of the first.
    json(&salvage_free(&site, "twice", &[&name, "--lock-out", "--archiving", "off"]));
    json(&salvage_free(&site, "twice", &[&name, "--archiving", "off"]));
    assert!(!site.place("twice/pg_hba.lock-out.conf").exists());
    assert_eq!(count(&site.recover("twice")), "10");
}

#[test]
fn a_recovery_is_called_complete_only_at_its_target() {
    for major in majors(&MAJORS) {
        let site = site(major);
        let name = site.backup(&[]);
        insert(&site.cluster, 10);
        site.cluster.sql("SELECT pg_create_restore_point('the target')");
        let moment = site.cluster.value("SELECT clock_timestamp()");
        insert(&site.cluster, 10);
        site.switch_wal();
        for (number, target) in [["--target-name", "the target"], ["--target-time", &moment]].iter().enumerate() {
            let place = format!("paused{number}");
            json(&salvage_free(&site, &place, &[&[&name as &str, "--archiving", "off"][..], &target[..]].concat()));
            has_verdict(&status(&site, &place, &[]), "not-started", 5);
            let mut restored = site.adopt(&place);
            restored.start();
            let told = has_verdict(&status(&site, &place, &["--wait", "60"]), "at-target", 0);
            assert!(told["position"].is_string() && told["backup_name"] == name.as_str(), "{told}");
            assert_eq!(count(&restored), "10", "PostgreSQL {major} {target:?}");
            restored.sql("SELECT pg_wal_replay_resume()");
            restored.wait_until_recovered();
            has_verdict(&status(&site, &place, &["--wait", "60"]), "promoted", 0);
            restored.stop(StopMode::Fast);
            has_verdict(&status(&site, &place, &[]), "promoted", 0);
        }
    }
}

#[test]
fn a_server_that_somebody_has_paused_before_its_target_is_not_called_complete() {
    for major in majors(&[12, 18]) {
        let site = site(major);
        let name = site.backup(&[]);
        insert(&site.cluster, 10);
        site.cluster.sql("SELECT pg_create_restore_point('the target')");
        insert(&site.cluster, 10);
        site.switch_wal();
        json(&salvage_free(&site, "paused", &[&name, "--target-name", "the target", "--archiving", "off"]));
        // It waits before the first commit, so that somebody can pause it there.
        let settings = site.place("paused").join(site.cluster.postgres().recovery_settings());
        let delay = |value: &str| {
            let text = fs::read_to_string(&settings).unwrap();
            Account::unprivileged().write(&settings, format!("{text}recovery_min_apply_delay = '{value}'\n"));
        };
        delay("1h");
        let mut restored = site.adopt("paused");
        restored.start();
        has_verdict(&status(&site, "paused", &[]), "replaying", 5);
        restored.sql("SELECT pg_wal_replay_pause()");
        delay("0");
        restored.reload();
        if major >= 14 {
            restored.wait_until("SELECT pg_get_wal_replay_pause_state() = 'paused'");
        }
        has_verdict(&status(&site, "paused", &["--wait", "60"]), "paused-elsewhere", 4);
        restored.sql("SELECT pg_wal_replay_resume()");
        has_verdict(&status(&site, "paused", &["--wait", "60"]), "at-target", 0);
        assert_eq!(count(&restored), "10");
    }
}

#[test]
fn a_server_that_ended_its_recovery_before_the_target_is_told_as_such() {
    for major in majors(&MAJORS) {
        let site = site(major);
        let name = site.backup(&[]);
        insert(&site.cluster, 10);
        site.switch_wal();
        // As if the WAL with the target had been there when the restore began.
        let arguments =
            [&name, "--target-name", "never", "--target-action", "promote", "--archiving", "off", "--allow-missing-wal"];
        json(&salvage_free(&site, "short", &arguments));
        let mut restored = site.adopt("short");
        if major < 13 {
            restored.start();
            restored.wait_until_recovered();
            let told = has_verdict(&status(&site, "short", &["--wait", "60"]), "ended-short", 4);
            assert!(told["reason"].as_str().unwrap().contains("ended before the target"), "{told}");
        } else {
            let _ended = restored.try_start();
            let finished = status(&site, "short", &["--wait", "60"]);
            has_verdict(&finished, "stopped", 5);
        }
    }
}

#[test]
fn after_three_recoveries_in_a_row_each_choice_of_a_timeline_leads_to_its_own_branch() {
    for major in majors(&MAJORS) {
        let site = site(major);
        let name = site.backup(&[]);
        insert(&site.cluster, 1);
        site.cluster.sql("SELECT pg_create_restore_point('fork')");
        site.switch_wal();
        insert(&site.cluster, 1000);
        site.switch_wal();
        // Each begins at the same restore point of the first timeline, and goes its own way.
        for (number, rows) in [(2_u32, 20), (3, 300), (4, 4000)] {
            let place = format!("branch{number}");
            let target = [&name as &str, "--target-name", "fork", "--target-timeline", "current", "--target-action", "promote"];
            let mut branch = site.restore(&place, &target);
            insert(&branch, rows);
            let file = branch.switch_wal();
            assert!(file.starts_with(&format!("{number:08X}")), "PostgreSQL {major}: {file}");
            branch.wait_until_archived(&file);
            branch.stop(StopMode::Fast);
        }
        for (choice, expected) in [("latest", "4001"), ("current", "1001"), ("2", "21"), ("3", "301"), ("4", "4001")] {
            let place = format!("along-{choice}");
            let mut restored = site.restore(&place, &[&name, "--target-timeline", choice, "--archiving", "off"]);
            assert_eq!(count(&restored), expected, "PostgreSQL {major} along {choice}");
            has_verdict(&status(&site, &place, &[]), "promoted", 0);
            restored.stop(StopMode::Fast);
        }
    }
}

#[test]
fn a_copy_without_what_the_manual_lets_a_copy_omit_is_restored_whole() {
    for major in majors(&[11, 18]) {
        let site = site(major);
        site.cluster.sql("CREATE UNLOGGED TABLE u AS SELECT generate_series(1, 100) AS i; CREATE INDEX ON u (i)");
        site.cluster.sql("SELECT pg_create_physical_replication_slot('kept', true)");
        insert(&site.cluster, 10);
        site.cluster.sql("CHECKPOINT");
        let data = site.cluster.data_directory();
        for (path, content) in [("base/pgsql_tmp/pgsql_tmp1.0", "x"), ("base/1/pg_internal.init.77", "x"), ("pg_stat_tmp/x", "x")] {
            Account::unprivileged().create_directory(data.join(path).parent().unwrap());
            Account::unprivileged().write(&data.join(path), content);
        }
        let name = site.backup(&[]);
        let copy = site.place("snapshots").join(&name).join("data");
        for directory in
            ["pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"]
        {
            assert_eq!(fs::read_dir(copy.join(directory)).unwrap().count(), 0, "PostgreSQL {major}: {directory} stays, empty");
        }
        let is_left_out = |path: &PathBuf| {
            let name = file_name(path);
            name.starts_with("pgsql_tmp") || name.starts_with("pg_internal.init") || name.starts_with("postmaster.")
        };
        assert_eq!(files(&copy).into_iter().filter(is_left_out).collect::<Vec<_>>(), Vec::<PathBuf>::new());
        let restored = site.restore("restored", &[&name, "--archiving", "off"]);
        assert_eq!(count(&restored), "10");
        // Reset by the recovery, and usable.
        assert_eq!(restored.value("SELECT count(*) FROM u"), "0");
        restored.sql("INSERT INTO u SELECT generate_series(1, 5)");
        assert_eq!(restored.value("SELECT count(*) FROM u WHERE i > 0"), "5");
        assert_eq!(restored.value("SELECT count(*) FROM pg_replication_slots"), "0");
        let mode = |path: &str| fs::metadata(site.place("restored").join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode(""), mode("pg_wal"), mode("pg_notify")), (0o700, 0o700, 0o700), "PostgreSQL {major}");
        let owner = fs::metadata(site.place("restored/PG_VERSION")).unwrap().uid();
        assert_eq!(owner, Account::unprivileged().uid);
    }
}
