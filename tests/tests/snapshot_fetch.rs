//! `snapshot-fetch` with real servers: what a restore shows, what it must not show, and what it refuses.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::os::unix::fs::symlink;

use stillframe_tests::{Account, Cluster, Postgres, Site, StopMode, copy_tree, majors, tested_major};

/// The versions on which every claim is tested; the seal is tested on all.
const MAJORS: [u32; 3] = [12, 15, 18];

/// Commits transactions, so that their numbers pass whatever a backup knew of.
fn burn_transactions(cluster: &Cluster, count: usize) {
    let session = cluster.session();
    for _ in 0..count {
        session.sql("SELECT txid_current()");
    }
}

/// Rows before the backup, after it, and after the target; gives the target's arguments for each kind.
fn write_history(site: &Site) -> Vec<Vec<String>> {
    let cluster = &site.cluster;
    cluster.sql("INSERT INTO history SELECT 'before the target' FROM generate_series(1, 50)");
    cluster.sql("SELECT pg_create_restore_point('the target')");
    let position = cluster.value("SELECT pg_current_wal_insert_lsn()");
    let moment = cluster.value("SELECT clock_timestamp()");
    cluster.sql("INSERT INTO history SELECT 'after the target' FROM generate_series(1, 500)");
    cluster.sql("UPDATE history SET what = 'changed after the target' WHERE what LIKE 'before%'");
    burn_transactions(cluster, 20);
    cluster.sql("CHECKPOINT");
    cluster.sql("INSERT INTO history SELECT 'long after the target' FROM generate_series(1, 500)");
    cluster.sql("VACUUM history");
    cluster.sql("CHECKPOINT");
    site.switch_wal();
    let target = |flag: &str, value: &str| vec![flag.to_owned(), value.to_owned()];
    vec![target("--target-name", "the target"), target("--target-lsn", &position), target("--target-time", &moment)]
}

fn counts(cluster: &Cluster) -> Vec<String> {
    let rows = cluster.sql("SELECT what || ': ' || count(*) FROM history GROUP BY what ORDER BY what");
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

#[test]
fn after_a_point_in_time_recovery_no_row_from_after_the_target_appears() {
    for major in majors(&MAJORS) {
        let site = Site::start(major);
        site.cluster.sql("CREATE TABLE history AS SELECT 'before the backup' AS what FROM generate_series(1, 1000)");
        let name = site.backup(&[]);
        let targets = write_history(&site);
        assert!(!table_in_snapshot_holds(&site, &name, "after the target"), "the snapshot is isolated");
        for (number, target) in targets.iter().enumerate() {
            let place = format!("restored{number}");
            let mut arguments = vec![name.as_str(), "--target-action", "promote", "--archiving", "off"];
            arguments.extend(target.iter().map(String::as_str));
            let restored = site.restore(&place, &arguments);
            let expected = ["before the backup: 1000", "before the target: 50"];
            assert_eq!(counts(&restored), expected, "PostgreSQL {major}, {target:?}");
            // The copy must be its own: writing to it changes nothing of the original, and the reverse.
            restored.sql("DELETE FROM history");
            burn_transactions(&site.cluster, 3);
        }
        assert_eq!(site.cluster.value("SELECT count(*) FROM history"), "2050");
    }
}

/// The test above must be able to fail: with hard links to the live files it does.
#[test]
fn a_tree_of_hard_links_to_the_live_files_holds_data_from_the_future() {
    let site = Site::builder(tested_major())
        .value("provider.hardlink", "method", "cp-al")
        .value("provider.hardlink", "allow_not_isolated", true)
        .start();
    site.cluster.sql("CREATE TABLE history AS SELECT 'before the backup' AS what FROM generate_series(1, 1000)");
    let refused = site.stillframe.run(["snapshot-push", "--provider", "hardlink"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("not isolated") && refused.stderr.contains("--allow-not-isolated"), "{refused}");
    assert!(site.snapshots().is_empty() && site.backups().is_empty() && site.intents().is_empty());

    let name = site.backup(&["--allow-not-isolated"]);
    assert_eq!(site.show(&name)["is_isolated"], false);
    write_history(&site);
    assert!(table_in_snapshot_holds(&site, &name, "long after the target"), "the trap did not snap");
    let refused = site.fetch("restored", &[&name, "--target-name", "the target"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("is not isolated"), "{refused}");
    // With the operator's word it is restored, and shows what must not be: rows that were written after the target.
    let finished = site.fetch(
        "restored",
        &[&name, "--target-name", "the target", "--target-action", "promote", "--archiving", "off", "--allow-not-isolated"],
    );
    assert!(finished.is_success(), "{finished}");
    let mut restored = site.adopt("restored");
    if restored.try_start().is_ok() {
        restored.wait_until_recovered();
        let counted = restored.try_sql("SELECT what || ': ' || count(*) FROM history GROUP BY what ORDER BY what");
        let expected = ["before the backup: 1000", "before the target: 50"].map(|row| vec![Some(row.to_owned())]);
        assert!(counted.is_err() || counted.unwrap() != expected, "the test of isolated snapshots could not fail");
    }
}

/// Whether the stored file of the table `history` holds these words.
fn table_in_snapshot_holds(site: &Site, name: &str, words: &str) -> bool {
    let file = site.cluster.value("SELECT pg_relation_filepath('history')");
    let bytes = fs::read(site.place("snapshots").join(name).join("data").join(file)).unwrap();
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

#[test]
fn label_and_map_are_restored_byte_for_byte_and_two_tablespaces_survive() {
    for major in majors(&MAJORS) {
        let mut site = Site::builder(major).cluster(|cluster| cluster.tablespaces(2)).start();
        site.cluster.sql("CREATE TABLE one (i int) TABLESPACE ts1; CREATE TABLE two (i int) TABLESPACE ts2");
        site.cluster.sql("INSERT INTO one SELECT generate_series(1, 100); INSERT INTO two SELECT generate_series(1, 200)");
        let name = site.backup(&[]);
        let backup = site.show(&name);
        let label = backup["backup_label"].as_str().unwrap();
        let map = backup["tablespace_map"].as_str().unwrap();
        assert_eq!(map.lines().count(), 2, "{map}");
        // The server wrote the same lines into the history file that it archived.
        let history = archived_backup_history(&site);
        for line in label.lines() {
            assert!(history.contains(line), "PostgreSQL {major}: `{line}` is not in\n{history}");
        }

        // Remapped, beside the living original.
        let locations: Vec<String> =
            (1..=2).map(|number| site.cluster.scratch().join(format!("ts{number}")).display().to_string()).collect();
        let mapping = |number: usize| format!("{}={}", locations[number - 1], site.place(&format!("new{number}")).display());
        let (first, second) = (mapping(1), mapping(2));
        let refused = site.fetch("restored", &[&name]);
        assert_eq!(refused.code(), Some(4), "the original locations are in use: {refused}");
        assert!(refused.stderr.contains("--tablespace-mapping"), "{refused}");
        assert!(!site.place("restored").exists());
        let arguments = [&name, "--tablespace-mapping", &first, "--tablespace-mapping", &second, "--archiving", "off"];
        let finished = site.fetch("restored", &arguments);
        assert!(finished.is_success(), "{finished}");
        assert_eq!(fs::read(site.place("restored/backup_label")).unwrap(), label.as_bytes());
        let mut restored = site.recover("restored");
        assert_eq!(restored.value("SELECT (SELECT count(*) FROM one) || ' ' || (SELECT count(*) FROM two)"), "100 200");
        restored.sql("INSERT INTO one VALUES (0); INSERT INTO two VALUES (0); CHECKPOINT");
        assert_eq!(site.cluster.value("SELECT count(*) FROM one"), "100", "the original is untouched");
        let moved = "SELECT count(*) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '%/new_'";
        assert_eq!(restored.value(moved), "2");
        restored.stop(StopMode::Fast);

        // To the original places, once the original is gone: then the map is the server's, byte for byte.
        site.switch_wal();
        site.cluster.stop(StopMode::Fast);
        for location in &locations {
            for entry in fs::read_dir(location).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
        }
        let finished = site.fetch("again", &[&name, "--archiving", "off"]);
        assert!(finished.is_success(), "{finished}");
        assert_eq!(fs::read(site.place("again/tablespace_map")).unwrap(), map.as_bytes());
        let again = site.recover("again");
        assert_eq!(again.value("SELECT (SELECT count(*) FROM one) || ' ' || (SELECT count(*) FROM two)"), "100 200");
    }
}

fn archived_backup_history(site: &Site) -> String {
    let name = site.archived().into_iter().rfind(|name| name.ends_with(".backup")).expect("the server archived one");
    // Its own start and stop name the segment: the archive gives it like any other file.
    let copy = site.place("history");
    site.stillframe.succeed(["wal-fetch", &name, copy.to_str().unwrap()]);
    fs::read_to_string(copy).unwrap()
}

#[test]
fn a_restored_copy_without_its_label_cannot_start() {
    for major in majors(&Postgres::available_majors()) {
        let site = Site::start(major);
        site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS i");
        let name = site.backup(&[]);
        let finished = site.fetch("restored", &[&name, "--archiving", "off"]);
        assert!(finished.is_success(), "PostgreSQL {major}: {finished}");
        let (label, aside) = (site.place("restored/backup_label"), site.place("label"));
        let request = site.place("restored").join(site.cluster.postgres().recovery_request());
        let request_aside = site.place("request");
        fs::rename(&label, &aside).unwrap();
        // Neither with the request for recovery nor without it, nor with WAL in place.
        let mut copy = site.adopt("restored");
        assert!(copy.try_start().is_err(), "PostgreSQL {major} started without a label");
        fs::rename(&request, &request_aside).unwrap();
        for file in fs::read_dir(site.cluster.data_directory().join("pg_wal")).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                let copy = site.place("restored/pg_wal").join(file.file_name());
                fs::copy(file.path(), &copy).unwrap();
                Account::unprivileged().own(&copy);
            }
        }
        let mut copy = site.adopt("restored");
        let log = copy.try_start().expect_err("it started as if it were whole");
        assert!(log.contains("could not locate a valid checkpoint record"), "PostgreSQL {major}: {log}");
        // And with it, it recovers.
        fs::rename(&aside, &label).unwrap();
        fs::rename(&request_aside, &request).unwrap();
        let copy = site.recover("restored");
        assert_eq!(copy.value("SELECT count(*) FROM t"), "10", "PostgreSQL {major}");
    }
}

#[test]
fn a_restore_into_a_live_or_a_foreign_directory_is_refused_and_changes_nothing() {
    let site = Site::start(tested_major());
    site.cluster.sql("CREATE TABLE t AS SELECT 1 AS i");
    let name = site.backup(&[]);
    let live = site.cluster.data_directory().to_str().unwrap().to_owned();
    let refused = site.stillframe.run(["snapshot-fetch", &live, &name]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("a server runs on"), "{refused}");
    assert_eq!(site.cluster.value("SELECT count(*) FROM t"), "1");

    let other = Cluster::builder(tested_major()).fresh_initdb().create();
    let refused = site.stillframe.run(["snapshot-fetch", other.data_directory().to_str().unwrap(), &name]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("holds the cluster"), "{refused}");

    fs::create_dir(site.place("foreign")).unwrap();
    fs::write(site.place("foreign/letters"), "of great value").unwrap();
    let refused = site.fetch("foreign", &[&name]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("`letters`"), "{refused}");
    assert_eq!(fs::read(site.place("foreign/letters")).unwrap(), b"of great value");

    let inside = format!("snapshots/{name}/data");
    let refused = site.fetch(&inside, &[&name]);
    assert_eq!(refused.code(), Some(4), "a snapshot is no place to start a server: {refused}");
}

#[test]
fn what_the_operator_mounted_is_prepared_in_place() {
    for major in majors(&MAJORS) {
        let site = Site::start(major);
        site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS i");
        let name = site.backup(&[]);
        // As a mounted volume would be: everything that lay in the directory at the cut.
        copy_tree(&site.place("snapshots").join(&name).join("data"), &site.place("mounted"));
        // The living original's own lock file, as a snapshot of its volume would hold it.
        let lock = fs::read_to_string(site.cluster.data_directory().join("postmaster.pid")).unwrap();
        for (file, content) in [("postmaster.pid", lock.as_str()), ("standby.signal", ""), ("pg_replslot/old/state", "x")] {
            let path = site.place("mounted").join(file);
            Account::unprivileged().create_directory(path.parent().unwrap());
            Account::unprivileged().write(&path, content);
        }
        // Twice: settings do not pile up.
        for _ in 0..2 {
            let finished = site.fetch("mounted", &[&name, "--archiving", "off"]);
            assert!(finished.is_success(), "PostgreSQL {major}: {finished}");
        }
        let settings = site.place("mounted").join(site.cluster.postgres().recovery_settings());
        let settings = fs::read_to_string(settings).unwrap();
        assert_eq!(settings.matches("restore_command").count(), 1, "{settings}");
        assert!(!site.place("mounted/standby.signal").exists() && !site.place("mounted/pg_replslot/old").exists());
        let restored = site.recover("mounted");
        assert_eq!(restored.value("SELECT count(*) FROM t"), "10");
    }
}

#[test]
fn a_wal_directory_elsewhere_is_never_emptied() {
    let mut site = Site::start(tested_major());
    site.cluster.stop(StopMode::Fast);
    let (inside, outside) = (site.cluster.data_directory().join("pg_wal"), site.place("wal"));
    fs::rename(&inside, &outside).unwrap();
    symlink(&outside, &inside).unwrap();
    site.cluster.start();
    site.cluster.sql("CREATE TABLE t AS SELECT 1 AS i");
    let name = site.backup(&[]);
    let before = fs::read_dir(&outside).unwrap().count();
    let refused = site.fetch("restored", &[&name]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("--wal-directory"), "{refused}");
    assert!(fs::read_dir(&outside).unwrap().count() >= before, "the living server's WAL is untouched");
    fs::remove_dir_all(site.place("restored")).unwrap();
    let elsewhere = site.place("new-wal").display().to_string();
    let restored = site.restore("restored", &[&name, "--wal-directory", &elsewhere, "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "1");
    assert_eq!(fs::read_link(site.place("restored/pg_wal")).unwrap(), site.place("new-wal"));
}

#[test]
fn the_restored_server_archives_on_a_timeline_of_its_own() {
    let site = Site::start(tested_major());
    site.cluster.sql("CREATE TABLE t AS SELECT 1 AS i");
    let name = site.backup(&[]);
    site.switch_wal();
    let restored = site.restore("restored", &[&name]);
    restored.sql("INSERT INTO t VALUES (2)");
    restored.sql("SELECT pg_switch_wal()");
    restored
        .wait_until("SELECT last_archived_wal LIKE '00000002%' AND last_archived_wal NOT LIKE '%history' FROM pg_stat_archiver");
    assert_eq!(restored.value("SELECT failed_count FROM pg_stat_archiver"), "0");
    // The original goes on beside it, undisturbed.
    site.cluster.sql("INSERT INTO t VALUES (3)");
    site.switch_wal();
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0");
    assert!(site.archived().contains("00000002.history"));
}

#[test]
fn a_cluster_with_small_segments_is_restored() {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.wal_segment_size(1)).start();
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 100000) AS i");
    let name = site.backup(&[]);
    site.cluster.sql("INSERT INTO t SELECT generate_series(1, 100000)");
    site.switch_wal();
    let restored = site.restore("restored", &[&name, "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "200000");
}
