//! Increments with real servers: exactly to the point, on several versions and timelines, and what must not happen to them.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use stillframe_tests::{Cluster, Finished, Site, majors, tested_major};

/// A server with a table and small segments, which writes nothing by itself.
fn site(major: u32) -> Site {
    let site = Site::builder(major).cluster(|cluster| cluster.small_segments().setting("autovacuum", "off")).start();
    site.cluster.sql("CREATE TABLE t (what text)");
    site
}

fn note(server: &Cluster, what: &str) {
    server.sql(&format!("INSERT INTO t VALUES ('{what}')"));
}

fn notes(server: &Cluster) -> String {
    server.value("SELECT coalesce(string_agg(what, ' ' ORDER BY what), '') FROM t")
}

#[track_caller]
fn create(site: &Site, name: &str) -> Value {
    site.stillframe.succeed(["--json", "restore-point", "create", name]).json()
}

/// Names of the catalogued restore points.
fn listed(site: &Site) -> Vec<String> {
    let listing = site.stillframe.succeed(["--json", "restore-point", "list"]).json();
    listing["restore_points"].as_array().unwrap().iter().map(|point| point["name"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn restored(site: &Site, place: &str, name: &str) -> Cluster {
    site.restore(place, &[name, "--target-action", "promote", "--archiving", "off"])
}

fn object(site: &Site, file: &str) -> PathBuf {
    site.place("store/main/wal_005").join(format!("{file}.zst"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[track_caller]
fn assert_refused(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.code(), Some(4), "{finished}");
    for word in words {
        assert!(finished.stderr.contains(word), "`{word}`: {finished}");
    }
}

#[test]
fn an_increment_has_parent_positions_segments_and_bytes_and_the_list_shows_the_tree() {
    let site = site(tested_major());
    let parent = site.backup(&[]);
    note(&site.cluster, "one");
    let first = create(&site, "first");
    site.cluster.sql("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 3000)");
    let second = create(&site, "it's \"second\"");
    assert_eq!((text(&first["backup_name"]), text(&second["backup_name"])), (parent.as_str(), parent.as_str()));
    let shown = site.show(&parent);
    assert_eq!(text(&first["from_lsn"]), text(&shown["finish_lsn"]), "the first continues its parent");
    assert_eq!(text(&second["from_lsn"]), text(&first["to_lsn"]), "each continues the one before it");
    assert_eq!(first["timeline"].as_u64(), Some(1));
    assert!(second["segments"].as_u64().unwrap() >= 2, "{second}");
    let file = |position: &str| site.cluster.value(&format!("SELECT pg_walfile_name('{position}')"));
    let (from, to) = (file(text(&second["from_lsn"])), file(text(&second["to_lsn"])));
    let own = site.archived().into_iter().filter(|name| name.len() == 24 && *name >= from && *name <= to);
    let sizes: Vec<u64> = own.map(|name| fs::metadata(object(&site, &name)).unwrap().len()).collect();
    assert_eq!((second["segments"].as_u64(), second["size_bytes"].as_u64()), (Some(sizes.len() as u64), Some(sizes.iter().sum())));

    let tree = site.stillframe.succeed(["backup-list"]).stdout;
    let lines: Vec<&str> = tree.lines().collect();
    let place = lines.iter().position(|line| line.starts_with(&parent)).unwrap();
    assert!(lines[place + 1].starts_with("  first ") && lines[place + 2].starts_with("  it's \"second\" "), "{tree}");
    let json = site.stillframe.succeed(["--json", "backup-list"]).json();
    assert_eq!(json["backups"][0]["restore_points"][1]["name"], "it's \"second\"");
    assert_eq!(listed(&site), ["first", "it's \"second\""]);
    // The calculations agree with it.
    for name in ["first", "it's \"second\""] {
        let answer = site.stillframe.run(["--json", "can-restore", name]);
        assert_eq!((answer.code(), answer.json()["backup_name"].as_str()), (Some(0), Some(parent.as_str())), "{answer}");
    }
}

#[test]
fn restoring_an_increment_replays_exactly_to_it_on_every_kind_of_version() {
    for major in majors(&[10, 12, 15, 18]) {
        let site = site(major);
        let parent = site.backup(&[]);
        note(&site.cluster, "a");
        create(&site, "first");
        note(&site.cluster, "b");
        create(&site, "second");
        note(&site.cluster, "c");
        site.switch_wal();
        assert_eq!(notes(&restored(&site, "to-first", "first")), "a", "PostgreSQL {major}");
        assert_eq!(notes(&restored(&site, "to-second", "second")), "a b", "PostgreSQL {major}");
        let all = site.restore("to-the-end", &[&parent, "--archiving", "off"]);
        assert_eq!(notes(&all), "a b c", "PostgreSQL {major}");
    }
}

#[test]
fn what_was_committed_right_before_the_point_is_there_and_what_came_right_after_is_not() {
    let site = site(tested_major());
    site.backup(&[]);
    site.cluster.sql("CREATE TABLE u (i int, at pg_lsn)");
    let is_over = AtomicBool::new(false);
    let point = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let session = site.cluster.session();
            let mut count = 0;
            // Until a good deal came after the point.
            let mut left = 200;
            while left > 0 {
                session.sql(&format!("INSERT INTO u VALUES ({count}, pg_current_wal_insert_lsn())"));
                count += 1;
                left -= i32::from(is_over.load(Ordering::SeqCst));
            }
        });
        site.cluster.wait_until("SELECT count(*) > 50 FROM u");
        let point = create(&site, "under load");
        is_over.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        point
    });
    site.switch_wal();
    let to = text(&point["to_lsn"]);
    let copy = restored(&site, "copy", "under load");
    let last: u64 = copy.value("SELECT max(i) FROM u").parse().unwrap();
    assert_eq!(copy.value("SELECT count(*) FROM u"), (last + 1).to_string(), "none before it is missing");
    let position = |number: u64| site.cluster.value(&format!("SELECT at FROM u WHERE i = {number}"));
    let is_before = |one: &str, other: &str| site.cluster.value(&format!("SELECT '{one}'::pg_lsn < '{other}'::pg_lsn")) == "t";
    assert!(is_before(&position(last), to), "the last one had begun before the point");
    // A row's own commit lies before the position that the next one saw.
    assert!(!is_before(&position(last + 2), to), "and the next one had not ended before it");
    // What the copy says itself: nothing behind the point was replayed.
    let report = fs::read_to_string(site.place("copy/backup_label.old")).unwrap();
    assert!(report.contains("START WAL LOCATION"), "{report}");
}

#[test]
fn a_killed_run_leaves_nothing_in_the_catalog_and_the_same_name_again_means_the_new_point() {
    let mut site = site(tested_major());
    site.reconfigure(|config| config.value("backup", "archive_timeout_secs", 60));
    site.backup(&[]);
    let command = site.cluster.value("SHOW archive_command");
    site.cluster.sql("ALTER SYSTEM SET archive_command = 'false'");
    site.cluster.reload();
    note(&site.cluster, "a");
    let mut running = site.stillframe.spawn(["restore-point", "create", "twice"]);
    running.wait_for_stderr("waiting for the WAL");
    running.kill9();
    running.wait();
    assert_eq!(listed(&site), Vec::<String>::new(), "its WAL is not archived");
    note(&site.cluster, "b");
    site.cluster.sql(&format!("ALTER SYSTEM SET archive_command = '{}'", command.replace('\'', "''")));
    site.cluster.reload();
    create(&site, "twice");
    note(&site.cluster, "c");
    site.switch_wal();
    // By its name recovery would stop at the first of the two.
    assert_eq!(notes(&restored(&site, "copy", "twice")), "a b");
    let others = site.stillframe.succeed(["--json", "restore-point", "list", "--others"]).json();
    let names: Vec<&str> = others["others"].as_array().unwrap().iter().map(|other| text(&other["name"])).collect();
    assert_eq!(names.iter().filter(|name| **name == "twice").count(), 1, "the one of the killed run: {others}");
    assert_refused(&site.stillframe.run(["restore-point", "create", "twice"]), &["`twice` already"]);
}

#[test]
fn an_increment_whose_wal_is_not_archived_in_time_is_not_listed() {
    let mut site = site(tested_major());
    site.backup(&[]);
    site.reconfigure(|config| config.value("backup", "archive_timeout_secs", 1));
    site.cluster.sql("ALTER SYSTEM SET archive_command = 'false'");
    site.cluster.reload();
    let failed = site.stillframe.run(["restore-point", "create", "early"]);
    assert_eq!(failed.code(), Some(5), "{failed}");
    assert!(failed.stderr.contains("is not in the archive"), "{failed}");
    assert_eq!(listed(&site), Vec::<String>::new());
    assert_refused(&site.fetch("copy", &["early"]), &["neither a backup nor a restore point `early`"]);
    assert!(!site.place("copy").exists());
}

#[test]
fn deleting_a_parent_says_which_increments_go_and_takes_them_along() {
    let site = site(tested_major());
    let old = site.backup(&[]);
    create(&site, "going");
    let new = site.backup(&[]);
    create(&site, "staying");
    let before = site.everything();
    let dry = site.stillframe.succeed(["delete", "target", &old]).stdout;
    let line = dry.lines().find(|line| line.contains("restore point going")).unwrap_or_else(|| panic!("{dry}"));
    assert!(line.starts_with("delete") && line.contains("its backup goes"), "{dry}");
    assert!(dry.contains("1 restore point cannot be restored any more"), "{dry}");
    let kept = dry.lines().find(|line| line.contains("restore point staying")).unwrap();
    assert!(kept.starts_with("keep"), "{dry}");
    let json = site.stillframe.succeed(["--json", "delete", "target", &old]).json();
    assert_eq!((&json["restore_points"][0]["name"], &json["restore_points"][0]["is_deleted"]), (&"going".into(), &true.into()));
    assert_eq!(site.everything(), before, "a dry run changes nothing");
    let plan = text(&json["plan"]).to_owned();
    // A plan that was shown without an increment takes none along.
    site.stillframe.succeed(["restore-point", "create", "late", "--parent", &old]);
    let changed = site.stillframe.run(["delete", "target", &old, "--confirm", "--plan", &plan]);
    assert!(!changed.is_success() && site.backups().contains(&old), "{changed}");
    let done = site.stillframe.succeed(["--json", "delete", "target", &old, "--confirm"]).json();
    assert_eq!(done["deleted"]["restore_points"], serde_json::json!(["going", "late"]));
    assert_eq!((listed(&site), site.backups()), (vec!["staying".to_owned()], vec![new]));
    assert_refused(&site.fetch("copy", &["going"]), &["`going`"]);
    // Its name is free again.
    create(&site, "going");
}

#[test]
fn wal_up_to_the_increments_of_a_permanent_parent_survives_every_rule_and_is_verified() {
    let site = site(tested_major());
    let parent = site.backup(&["--permanent"]);
    note(&site.cluster, "a");
    let lost = site.switch_wal();
    note(&site.cluster, "b");
    let point = create(&site, "kept");
    note(&site.cluster, "c");
    let beyond = site.switch_wal();
    site.backup(&[]);
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    assert_eq!(site.backups(), std::slice::from_ref(&parent));
    let archived = site.archived();
    assert!(archived.contains(&lost) && !archived.contains(&beyond), "{archived:?}");
    site.stillframe.succeed(["wal-verify"]);
    assert_eq!(notes(&restored(&site, "copy", "kept")), "a b");
    // Recorded is what it needs: a segment that vanishes is an alarm.
    fs::rename(object(&site, &lost), site.place("aside")).unwrap();
    let alarm = site.stillframe.run(["wal-verify"]);
    assert_eq!(alarm.code(), Some(4), "{alarm}");
    assert!(alarm.stdout.contains("restore point kept: WAL up to it is missing") && alarm.stdout.contains(&lost), "{alarm}");
    assert_refused(&site.fetch("other", &["kept"]), &[&lost]);
    assert_eq!(site.stillframe.run(["can-restore", "kept"]).code(), Some(1));
    fs::rename(site.place("aside"), object(&site, &lost)).unwrap();
    // Who wants the WAL back says so.
    assert_refused(&site.stillframe.run(["restore-point", "delete", "kept", "--confirm"]), &["snapshot-release"]);
    site.release("copy");
    let dry = site.stillframe.succeed(["restore-point", "delete", "kept"]).stdout;
    assert!(dry.contains("would remove") && dry.contains(text(&point["to_lsn"])), "{dry}");
    assert_eq!(listed(&site), ["kept"]);
    site.stillframe.succeed(["restore-point", "delete", "kept", "--confirm"]);
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    assert!(!site.archived().contains(&lost), "{:?}", site.archived());
}

#[test]
fn a_record_of_an_increment_that_cannot_be_read_stops_every_deletion() {
    let site = site(tested_major());
    let old = site.backup(&[]);
    create(&site, "damaged");
    site.backup(&[]);
    let record = site.place("store/main/restore_points_001/damaged.json");
    let whole = fs::read(&record).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&record, &damaged).unwrap();
    for rule in [&["delete", "target", old.as_str()][..], &["delete", "retain", "1"], &["delete", "everything"]] {
        let refused = site.stillframe.run([rule, &["--confirm"]].concat());
        assert_eq!(refused.code(), Some(6), "{refused}");
        assert!(refused.stderr.contains("damaged.json"), "{refused}");
    }
    assert_refused(&site.stillframe.run(["restore-point", "create", "damaged"]), &["already"]);
    assert_eq!(site.stillframe.run(["restore-point", "list"]).code(), Some(6));
    fs::write(&record, whole).unwrap();
    site.stillframe.succeed(["delete", "target", &old, "--confirm"]);
}

#[test]
fn restore_points_of_others_are_listed_from_the_wal_with_name_place_and_time() {
    let site = site(tested_major());
    site.backup(&[]);
    let position = site.cluster.value("SELECT pg_create_restore_point('by hand')");
    create(&site, "ours");
    let json = site.stillframe.succeed(["--json", "restore-point", "list", "--others"]).json();
    let others = json["others"].as_array().unwrap();
    assert_eq!(others.len(), 1, "{json}");
    let found = &others[0];
    assert_eq!((text(&found["name"]), found["timeline"].as_u64(), &json["others_incomplete"]), ("by hand", Some(1), &Value::Null));
    let distance = site.cluster.value(&format!("SELECT '{position}'::pg_lsn - '{}'::pg_lsn", text(&found["lsn"])));
    assert_eq!(distance, "104", "the server names its end, the list its beginning");
    assert!(found["time"].is_string());
    let shown = site.stillframe.succeed(["restore-point", "list", "--others"]).stdout;
    assert!(shown.contains("only in the WAL") && shown.contains("by hand"), "{shown}");
    let limited = site.stillframe.succeed(["restore-point", "list", "--others", "--scan", "1"]).stdout;
    assert!(limited.contains("not all of the WAL was read"), "{limited}");
}

#[test]
fn on_a_standby_it_is_refused_with_a_hint_and_made_through_the_primary_where_that_is_known() {
    let site = site(tested_major());
    site.backup(&[]);
    let mut standby = Cluster::standby_of(&site.cluster);
    standby.start();
    let conninfo = standby.conninfo();
    let alone = site.configured(|config| config.value("cluster", "conninfo", conninfo.clone()));
    assert_refused(&alone.run(["restore-point", "create", "there"]), &["standby", "primary_conninfo"]);
    let primary = site.cluster.conninfo();
    let both =
        site.configured(|config| config.value("cluster", "conninfo", conninfo).value("cluster", "primary_conninfo", primary));
    note(&site.cluster, "a");
    both.succeed(["restore-point", "create", "there"]);
    note(&site.cluster, "b");
    site.switch_wal();
    assert_eq!(notes(&restored(&site, "copy", "there")), "a");
}

#[test]
fn a_point_on_a_later_timeline_is_reached_from_a_parent_before_the_fork_and_not_beyond() {
    let site = site(tested_major());
    let parent = site.backup(&[]);
    note(&site.cluster, "a");
    create(&site, "on one");
    note(&site.cluster, "lost");
    site.switch_wal();
    // Goes back to the point, and goes on from there on a timeline of its own, which it archives.
    let second = site.restore("second", &["on one", "--target-action", "promote"]);
    note(&second, "b");
    let conninfo = second.conninfo();
    let there = site.configured(|config| {
        config.value("cluster", "conninfo", conninfo).value("cluster", "pgdata", site.place("second").display().to_string())
    });
    let point = there.succeed(["--json", "restore-point", "create", "on two"]).json();
    assert_eq!((point["timeline"].as_u64(), text(&point["backup_name"])), (Some(2), parent.as_str()), "{point}");
    let replay = point["replay"].as_array().unwrap();
    assert_eq!(replay.iter().map(|range| range["timeline"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2], "{point}");
    note(&second, "c");
    let file = second.switch_wal();
    second.wait_until_archived(&file);
    assert_eq!(notes(&restored(&site, "third", "on two")), "a b");
    // The newest timeline does not lead through this one any more.
    assert_eq!(notes(&restored(&site, "fourth", "on one")), "a");
    site.stillframe.succeed(["wal-verify"]);
}

#[test]
fn refuses_a_parent_that_does_not_lead_there_and_a_target_beside_the_increment() {
    let site = site(tested_major());
    assert_refused(&site.stillframe.run(["restore-point", "create", "x"]), &["no backup", "snapshot-push"]);
    let parent = site.backup(&[]);
    let unknown = site.stillframe.run(["restore-point", "create", "x", "--parent", "sf-20261121T083214Z-9k3m2p7x"]);
    assert_refused(&unknown, &["sf-20261121T083214Z-9k3m2p7x"]);
    let lost = site.switch_wal();
    site.switch_wal();
    fs::rename(object(&site, &lost), site.place("aside")).unwrap();
    let gap = site.stillframe.run(["restore-point", "create", "x"]);
    assert_refused(&gap, &["cannot be reached", &lost]);
    assert_eq!(listed(&site), Vec::<String>::new());
    fs::rename(site.place("aside"), object(&site, &lost)).unwrap();
    create(&site, "x");
    let both = site.fetch("copy", &["x", "--target-immediate"]);
    assert_eq!(both.code(), Some(2), "{both}");
    assert_refused(&site.fetch("copy", &["y"]), &["neither a backup nor a restore point `y`"]);
    assert!(!site.place("copy").exists());
    for name in ["LATEST", &parent, "", &"x".repeat(64)] {
        assert_eq!(site.stillframe.run(["restore-point", "create", name]).code(), Some(2), "{name}");
    }
}
