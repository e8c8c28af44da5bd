//! The ten test cases of WAL-G's pull request for snapshot backups, each so that it can fail.
//!
//! There, WAL never enters the archive under test, snapshots share their files with the live server, and the checks of the
//! permanent backup and of the metadata are left out. Here the server archives through `wal-push`, sets are compared exactly,
//! and the original lives on and writes while its copies are looked at.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};
use stillframe_tests::{Cluster, Site, tested_major};

/// A server with a table, and nothing that writes by itself.
fn site() -> Site {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.setting("autovacuum", "off")).start();
    site.cluster.sql("CREATE TABLE items AS SELECT i, 'item ' || i AS name FROM generate_series(1, 5000) AS i");
    site.cluster.sql("CREATE INDEX ON items (i)");
    site
}

/// Sizes by path of the files below a directory.
fn sizes(directory: &Path) -> BTreeMap<String, u64> {
    let files = files(directory).into_iter();
    files.map(|(path, metadata)| (path.strip_prefix(directory).unwrap().display().to_string(), metadata.len())).collect()
}

fn inodes(directory: &Path) -> BTreeSet<u64> {
    files(directory).into_iter().map(|(_, metadata)| metadata.ino()).collect()
}

fn files(directory: &Path) -> Vec<(std::path::PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path, metadata));
        }
    }
    found
}

/// Every object of the schema, and the number and a digest of the rows of every table.
fn dump(cluster: &Cluster) -> Vec<Vec<Option<String>>> {
    let mut rows =
        cluster.sql("SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname");
    for table in cluster.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename") {
        let table = table[0].as_deref().unwrap();
        let digest = "count(*), md5(string_agg(t::text, ' ' ORDER BY t::text))";
        rows.extend(cluster.sql(&format!("SELECT '{table}', {digest} FROM {table} AS t")));
    }
    rows
}

/// The backups that are listed, in whatever order.
fn listed(site: &Site) -> BTreeSet<String> {
    site.backups().into_iter().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn deletes(site: &Site, arguments: &[&str]) {
    let mut all = vec!["delete", "--confirm"];
    all.extend(arguments);
    site.stillframe.succeed(all);
}

#[test]
fn case_1_a_push_makes_a_complete_snapshot_that_shares_nothing_with_the_live_server() {
    let site = site();
    site.cluster.sql("CHECKPOINT");
    let name = site.backup(&[]);
    assert_eq!(site.snapshots(), set(&[&name]));
    let snapshot = site.place("snapshots").join(&name).join("data");
    let database = site.cluster.value("SELECT 'base/' || oid FROM pg_database WHERE datname = current_database()");
    let (cut, mut live) = (sizes(&snapshot.join(&database)), sizes(&site.cluster.data_directory().join(&database)));
    // A cache that every server makes anew.
    live.remove("pg_internal.init");
    assert_eq!(cut, live);
    let table = site.cluster.value("SELECT pg_relation_filepath('items')");
    let bytes = site.cluster.value("SELECT pg_relation_size('items')");
    assert_eq!(fs::metadata(snapshot.join(&table)).unwrap().len().to_string(), bytes);
    assert!(inodes(&snapshot).is_disjoint(&inodes(site.cluster.data_directory())), "a file of the snapshot is the live one");
    // What the server does next does not show in it.
    let before = fs::read(snapshot.join(&table)).unwrap();
    site.cluster.sql("UPDATE items SET name = 'changed'; CHECKPOINT");
    assert_ne!(fs::read(site.cluster.data_directory().join(&table)).unwrap(), before);
    assert_eq!(fs::read(snapshot.join(&table)).unwrap(), before);
}

#[test]
fn case_2_a_second_push_keeps_its_user_data() {
    let site = site();
    let first = site.backup(&[]);
    let data = json!({"ticket": 7, "by": ["a", "b"]});
    let second = site.backup(&["--add-user-data", &data.to_string()]);
    assert_eq!(listed(&site), set(&[&first, &second]));
    assert_eq!(site.snapshots(), set(&[&first, &second]));
    assert_eq!(site.show(&first)["user_data"], Value::Null);
    assert_eq!(site.show(&second)["user_data"], data);
}

#[test]
fn case_3_a_permanent_push_is_permanent_from_its_publication_on() {
    let site = site();
    let (ordinary, permanent) = (site.backup(&[]), site.backup(&["--permanent"]));
    assert_eq!(site.show(&ordinary)["is_permanent"], false);
    assert_eq!(site.show(&permanent)["is_permanent"], true);
    let refused = site.stillframe.run(["delete", "target", &permanent, "--confirm"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("is permanent") && refused.stderr.contains("--impermanent"), "{refused}");
    assert_eq!(listed(&site), set(&[&ordinary, &permanent]));
}

#[test]
fn case_4_the_list_shows_all_three_with_their_remarks() {
    let site = site();
    let names = [site.backup(&[]), site.backup(&["--add-user-data", "1"]), site.backup(&["--permanent"])];
    let text = site.stillframe.succeed(["backup-list"]).stdout;
    assert_eq!(text.lines().count(), 4, "a header and three backups:\n{text}");
    for name in &names {
        let line = text.lines().find(|line| line.starts_with(name.as_str())).unwrap_or_else(|| panic!("no {name} in:\n{text}"));
        assert_eq!(line.ends_with("permanent"), *name == names[2], "{text}");
        let stop = site.show(name)["finish_lsn"].as_str().unwrap().to_owned();
        assert!(line.contains(&stop) && line.contains("hardlink"), "{text}");
    }
    assert_eq!(listed(&site), set(&names.each_ref().map(String::as_str)));
}

#[test]
fn case_5_a_restored_server_holds_what_the_primary_held() {
    let site = site();
    site.backup(&[]);
    site.cluster.sql("DELETE FROM items WHERE i % 2 = 0");
    let second = site.backup(&[]);
    site.cluster.sql("CREATE TABLE later AS SELECT generate_series(1, 100) AS i");
    site.switch_wal();
    let expected = dump(&site.cluster);
    let finished = site.fetch("restored", &[&second, "--archiving", "off"]);
    assert!(finished.is_success(), "{finished}");
    // What the operator of the original test wrote by hand is there.
    let label = site.show(&second)["backup_label"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(site.place("restored/backup_label")).unwrap(), label);
    assert!(site.place("restored").join(site.cluster.postgres().recovery_request()).is_file());
    let copy = inodes(&site.place("restored"));
    assert!(copy.is_disjoint(&inodes(site.cluster.data_directory())), "the copy shares a file with the primary");
    assert!(copy.is_disjoint(&inodes(&site.place("snapshots"))), "the copy shares a file with a snapshot");
    // The primary goes on; none of that may appear.
    site.cluster.sql("DELETE FROM items; DELETE FROM later; CHECKPOINT");
    assert_eq!(dump(&site.recover("restored")), expected);
}

#[test]
fn case_6_delete_target_removes_that_snapshot_and_keeps_the_other() {
    let site = site();
    let (first, second) = (site.backup(&[]), site.backup(&[]));
    site.switch_wal();
    let others = site.wal_needed_by(&[&second], &[]);
    assert_ne!(site.archived(), others, "there is WAL that goes with the first");
    deletes(&site, &["target", &first]);
    assert_eq!(listed(&site), set(&[&second]));
    assert_eq!(site.snapshots(), set(&[&second]));
    assert_eq!(site.archived(), others);
    let restored = site.restore("restored", &[&second, "--archiving", "off"]);
    assert_eq!(dump(&restored), dump(&site.cluster));
}

#[test]
fn case_7_retain_keeps_the_permanent_backup_besides_the_newest() {
    let site = site();
    let old = site.backup(&[]);
    let permanent = site.backup(&["--permanent"]);
    let newest: Vec<String> = (0..3).map(|_| site.backup(&[])).collect();
    site.switch_wal();
    let ordinary: Vec<&str> = newest.iter().map(String::as_str).collect();
    let needed = site.wal_needed_by(&ordinary, &[&permanent]);
    deletes(&site, &["retain", "3"]);
    let mut kept = vec![permanent.as_str()];
    kept.extend(&ordinary);
    assert_eq!(listed(&site), set(&kept));
    assert_eq!(site.snapshots(), set(&kept));
    assert!(!site.snapshots().contains(&old));
    assert_eq!(site.archived(), needed);
    let restored =
        site.restore("restored", &[&permanent, "--target-immediate", "--target-action", "promote", "--archiving", "off"]);
    assert_eq!(dump(&restored), dump(&site.cluster));
}

#[test]
fn case_8_recovery_to_a_moment_shows_exactly_the_one_row_from_before_it() {
    let site = site();
    site.cluster.sql("CREATE TABLE history (what text)");
    let name = site.backup(&[]);
    site.cluster.sql("INSERT INTO history VALUES ('before')");
    let moment = site.cluster.value("SELECT clock_timestamp()");
    for _ in 0..20 {
        // Transaction numbers beyond what the backup and the target knew of.
        site.cluster.sql("SELECT txid_current()");
    }
    site.cluster.sql("INSERT INTO history SELECT 'after' FROM generate_series(1, 1000); CHECKPOINT");
    site.cluster.sql("UPDATE history SET what = 'changed'");
    site.cluster.sql("VACUUM FREEZE history");
    site.cluster.sql("CHECKPOINT");
    site.switch_wal();
    let arguments = [name.as_str(), "--target-time", &moment, "--target-action", "promote", "--archiving", "off"];
    let restored = site.restore("restored", &arguments);
    assert_eq!(restored.sql("SELECT what FROM history"), [[Some("before".to_owned())]]);
    assert_eq!(site.cluster.value("SELECT count(*) FROM history WHERE what = 'changed'"), "1001");
}

#[test]
fn case_9_the_metadata_is_what_the_server_itself_says() {
    let site = site();
    let before = site.cluster.value("SELECT clock_timestamp()");
    let name = site.backup(&["--add-user-data", r#""nightly""#]);
    let after = site.cluster.value("SELECT clock_timestamp()");
    site.switch_wal();
    let shown = site.show(&name);
    let text = |key: &str| shown[key].as_str().unwrap_or_else(|| panic!("`{key}` is no text: {shown}")).to_owned();
    let number = |query: &str| site.cluster.value(query).parse::<u64>().unwrap();

    // The server's own record of the backup, which it archived.
    let history = site.archived().into_iter().find(|file| file.ends_with(".backup")).expect("the server archives it");
    let target = site.place("history");
    site.stillframe.succeed(["wal-fetch", &history, target.to_str().unwrap()]);
    let history = fs::read_to_string(target).unwrap();
    let recorded = |line: &str| history.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_default().to_owned();
    assert_eq!(recorded("START WAL LOCATION: "), format!("{} (file {})", text("start_lsn"), text("first_wal_file")));
    assert_eq!(recorded("STOP WAL LOCATION: "), format!("{} (file {})", text("finish_lsn"), text("last_wal_file")));
    assert_eq!(recorded("LABEL: "), name);
    // Before 11, the file has no such line.
    let has_timeline = site.cluster.postgres().major >= 11;
    assert_eq!(recorded("START TIMELINE: "), if has_timeline { shown["timeline"].to_string() } else { String::new() });
    for line in text("backup_label").lines() {
        assert!(history.contains(line), "`{line}` is not in\n{history}");
    }

    assert_eq!(text("backup_name"), name);
    for key in ["start_time", "finish_time"] {
        let between = format!("SELECT '{}'::timestamptz BETWEEN '{before}' AND '{after}'", text(key));
        assert_eq!(site.cluster.value(&between), "t", "{key}: {shown}");
    }
    assert_eq!(site.cluster.value(&format!("SELECT '{}'::timestamptz < '{}'", text("start_time"), text("finish_time"))), "t");
    assert_eq!(shown["pg_version"], number("SHOW server_version_num"));
    assert_eq!(text("system_identifier"), site.cluster.value("SELECT system_identifier FROM pg_control_system()"));
    assert_eq!(text("hostname"), fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    assert_eq!(text("data_dir"), site.cluster.data_directory().display().to_string());
    let flags = ["is_permanent", "is_condemned", "from_standby", "is_isolated"].map(|key| shown[key].clone());
    assert_eq!(flags, [json!(false), json!(false), json!(false), json!(true)]);
    assert_eq!(shown["consistency"], "covered-by-backup-mode");
    assert_eq!(text("provider"), "hardlink");
    let bytes: u64 = sizes(&site.place("snapshots").join(&name).join("data")).values().sum();
    assert_eq!(shown["size_bytes"], bytes);
    assert_eq!(shown["user_data"], "nightly");
    assert_eq!(shown["tablespace_map"], "");
    assert_eq!(shown["paths"], json!([{"name": "data", "role": "data", "path": text("data_dir")}]));
    assert_eq!(shown["snapshot"]["members"].as_array().unwrap().len(), 1);
    assert_eq!(shown["format_version"], 1);
}

#[test]
fn case_10_the_wal_of_kept_backups_stays_the_other_goes_and_a_restore_works() {
    let site = site();
    let names: Vec<String> = (0..4)
        .map(|round| {
            site.cluster.sql(&format!("INSERT INTO items VALUES ({round}, 'of round {round}')"));
            let name = site.backup(&[]);
            // WAL between the backups, which belongs to none of them.
            site.switch_wal();
            name
        })
        .collect();
    let before = site.archived();
    let needed = site.wal_needed_by(&[&names[2], &names[3]], &[]);
    assert!(needed.len() < before.len() && needed.is_subset(&before));
    deletes(&site, &["retain", "2"]);
    assert_eq!(site.archived(), needed, "before: {before:?}");
    assert_eq!(site.snapshots(), set(&[&names[2], &names[3]]));
    let expected = dump(&site.cluster);
    for (place, name) in [("older", &names[2]), ("newer", &names[3])] {
        assert_eq!(dump(&site.restore(place, &[name, "--archiving", "off"])), expected);
    }
}
