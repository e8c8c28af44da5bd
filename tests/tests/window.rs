//! What can be recovered, with real servers: intervals, a gap, a promotion, restore points in real WAL, and what is refused for it.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use stillframe_tests::{Cluster, Finished, Site, StopMode, majors};

/// Completes a segment with a transaction in it; gives its name.
fn segment(server: &Cluster) -> String {
    server.sql("INSERT INTO t SELECT generate_series(1, 100)");
    let file = server.switch_wal();
    server.wait_until_archived(&file);
    file
}

fn object(site: &Site, file: &str) -> PathBuf {
    site.place("store/main/wal_005").join(format!("{file}.zst"))
}

fn ask(site: &Site, arguments: &[&str]) -> Finished {
    site.stillframe.run([&["--json", "can-restore"], arguments].concat())
}

fn intervals(site: &Site) -> Vec<Value> {
    site.stillframe.succeed(["--json", "window"]).json()["intervals"].as_array().unwrap().clone()
}

#[test]
fn a_deleted_segment_is_a_gap_and_what_lies_behind_it_is_refused_before_anything_is_made() {
    let site = Site::with_small_segments().start();
    let cluster = &site.cluster;
    cluster.sql("CREATE TABLE t (i int)");
    let backup = site.backup(&[]);
    segment(cluster);
    let early = cluster.value("SELECT clock_timestamp()");
    cluster.sql("INSERT INTO t VALUES (1)");
    let lost = segment(cluster);
    segment(cluster);
    let (late, position) = (cluster.value("SELECT clock_timestamp()"), cluster.value("SELECT pg_current_wal_insert_lsn()"));
    segment(cluster);

    let whole = intervals(&site);
    assert_eq!((whole.len(), whole[0]["ends_because"].as_str()), (1, Some("archive-ends")), "{whole:?}");
    assert_eq!(whole[0]["backup_name"].as_str(), Some(backup.as_str()));
    assert!(whole[0]["to"]["time"].is_string(), "{whole:?}");
    for to in [&early, &late, &position] {
        let yes = ask(&site, &["--to", to]);
        assert_eq!((yes.code(), yes.json()["answer"].as_str()), (Some(0), Some("yes")), "{to}: {yes}");
        assert_eq!(yes.json()["backup_name"].as_str(), Some(backup.as_str()));
    }

    fs::rename(object(&site, &lost), site.place("aside")).unwrap();
    let with_gap = intervals(&site);
    assert_eq!((with_gap.len(), with_gap[0]["ends_because"].as_str()), (1, Some("missing")), "{with_gap:?}");
    assert_eq!(with_gap[0]["missing"][0]["first"].as_str(), Some(lost.as_str()));
    let text = site.stillframe.succeed(["window"]).stdout;
    assert!(text.contains("not recoverable") && text.contains(&lost), "{text}");

    assert_eq!(ask(&site, &["--to", &early]).code(), Some(1), "the transaction behind it is in the lost segment");
    for to in [&late, &position] {
        let no = ask(&site, &["--to", to]);
        assert_eq!((no.code(), no.json()["answer"].as_str()), (Some(1), Some("no")), "{to}: {no}");
        assert_eq!(no.json()["missing"][0]["first"].as_str(), Some(lost.as_str()), "{no}");
    }
    for target in [["--target-time", &late], ["--target-lsn", &position]] {
        let refused = site.fetch("restored", &target);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert!(refused.stderr.contains(&lost) && refused.stderr.contains("--allow-missing-wal"), "{refused}");
        assert!(!site.place("restored").exists());
    }

    // The operator has the segment: it lies in the copy before the server starts there.
    let arguments = ["--target-lsn", &position, "--target-action", "promote", "--archiving", "off", "--allow-missing-wal"];
    let accepted = site.fetch("restored", &arguments);
    assert!(accepted.is_success(), "{accepted}");
    fs::rename(site.place("aside"), object(&site, &lost)).unwrap();
    assert_eq!(site.recover("restored").value("SELECT count(*) FROM t"), "301");
}

#[test]
fn a_promotion_makes_two_timelines_of_which_the_first_ends_where_the_second_left_it() {
    let mut site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int)");
    let backup = site.backup(&[]);
    segment(&site.cluster);
    site.cluster.stop(StopMode::Fast);
    let copy = site.restore("copy", &[&backup]);
    let second: Vec<String> = (0..3).map(|_| segment(&copy)).collect();
    let position = copy.value("SELECT pg_current_wal_insert_lsn()");
    segment(&copy);

    let found = intervals(&site);
    let ends: Vec<_> = found.iter().map(|it| (it["timeline"].as_u64(), it["ends_because"].as_str())).collect();
    assert_eq!(ends.last(), Some(&(Some(2), Some("archive-ends"))), "{found:?}");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1]["backup_name"].as_str(), Some(backup.as_str()));
    let yes = ask(&site, &["--to", &position]);
    assert_eq!((yes.code(), yes.json()["timeline"].as_u64()), (Some(0), Some(2)), "{yes}");
    let replayed: Vec<_> = yes.json()["replay"].as_array().unwrap().iter().map(|range| range["timeline"].as_u64()).collect();
    assert_eq!(replayed, [Some(1), Some(2)], "{yes}");
    assert_eq!(ask(&site, &["--to", &position, "--target-timeline", "current"]).code(), Some(1));

    fs::remove_file(object(&site, &second[1])).unwrap();
    let no = ask(&site, &["--to", &position]);
    assert_eq!((no.code(), no.json()["missing"][0]["first"].as_str()), (Some(1), Some(second[1].as_str())), "{no}");
    let refused = site.fetch("other", &["--target-lsn", &position]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains(&second[1]), "{refused}");
}

/// What `pg_waldump` reads in the archived segments: lines of transactions and restore points.
fn dumped(site: &Site) -> Vec<String> {
    let directory = site.place("dump");
    fs::create_dir(&directory).unwrap();
    let segments: Vec<String> = site.archived().into_iter().filter(|name| name.len() == 24).collect();
    for name in &segments {
        let stored = fs::read(object(site, name)).unwrap();
        fs::write(directory.join(name), zstd::decode_all(&stored[..]).unwrap()).unwrap();
    }
    let (first, last) = (directory.join(&segments[0]), directory.join(segments.last().unwrap()));
    let output = Command::new(site.cluster.postgres().program("pg_waldump")).args([first, last]).env("TZ", "UTC").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.contains("desc: COMMIT") || line.contains("desc: RESTORE_POINT")).map(str::to_owned).collect()
}

/// The word behind another one in a line of `pg_waldump`.
fn behind<'a>(line: &'a str, word: &str) -> &'a str {
    line.split(word).nth(1).unwrap().split([',', ';']).next().unwrap().trim()
}

#[test]
fn restore_points_transactions_and_the_last_commit_are_those_that_pg_waldump_reads() {
    let site = Site::with_small_segments().start();
    let cluster = &site.cluster;
    cluster.sql("CREATE TABLE t (i int, text text)");
    site.backup(&[]);
    for number in 0..40 {
        // Long records, large transactions and subtransactions, so that records cross pages and segments.
        cluster.sql(&format!("INSERT INTO t SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, {}) i", number * 20));
        cluster.sql("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (1); SAVEPOINT b; INSERT INTO t VALUES (2); COMMIT");
        cluster.sql(&format!("SELECT pg_create_restore_point('point {number}')"));
    }
    cluster.sql("CREATE TABLE u AS SELECT * FROM t; DROP TABLE u");
    site.switch_wal();

    let lines = dumped(&site);
    let commits: Vec<&String> = lines.iter().filter(|line| line.contains("desc: COMMIT")).collect();
    assert!(commits.len() > 80, "{}", lines.len());
    let seconds = |text: &str| text.replace(' ', "T").replace("TUTC", "Z").parse::<jiff::Timestamp>().unwrap();
    let last = behind(commits.last().unwrap(), "COMMIT");
    assert_eq!(intervals(&site)[0]["to"]["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(), seconds(last));
    for number in [0, 1, 7, 19, 28, 39] {
        let name = format!("point {number}");
        let line = lines
            .iter()
            .find(|line| line.contains(&format!("RESTORE_POINT {name};")) || line.ends_with(&format!("RESTORE_POINT {name}")));
        let line = line.unwrap_or_else(|| panic!("{name}: {lines:?}"));
        let found = ask(&site, &["--to", &name]);
        assert_eq!(found.code(), Some(0), "{found}");
        assert_eq!(normal(found.json()["found_lsn"].as_str().unwrap()), normal(behind(line, "lsn: ")), "{line}");
    }
    for line in commits.iter().rev().step_by(25) {
        let transaction = behind(line, "tx:");
        let found = ask(&site, &["--target-xid", transaction]);
        assert_eq!(found.code(), Some(0), "{found}");
        assert_eq!(normal(found.json()["found_lsn"].as_str().unwrap()), normal(behind(line, "lsn: ")), "{line}");
        assert_eq!(
            found.json()["found_time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(),
            seconds(behind(line, "COMMIT"))
        );
    }
    let never = ask(&site, &["--to", "never"]);
    assert_eq!((never.code(), never.json()["answer"].as_str()), (Some(1), Some("no")), "{never}");
    assert_eq!(ask(&site, &["--to", "point 0", "--scan", "1"]).code(), Some(3));
    assert_eq!(ask(&site, &["sf-20000101T000000Z-00000000"]).code(), Some(4));
    assert_eq!(ask(&site, &["--to", "x", "--target-xid", "1"]).code(), Some(2), "one target");
}

/// A position without leading zeros, which `pg_waldump` writes.
fn normal(position: &str) -> String {
    let (high, low) = position.split_once('/').unwrap();
    format!("{high}/{}", low.trim_start_matches('0'))
}

#[test]
fn restore_points_and_prepared_transactions_are_found_in_the_wal_of_the_oldest_and_the_newest_version() {
    for major in majors(&[10, 15, 18]) {
        let site = Site::builder(major).cluster(|cluster| cluster.setting("max_prepared_transactions", "1")).start();
        site.cluster.sql("CREATE TABLE t (i int); CREATE TABLE gone (i int)");
        site.backup(&[]);
        // With subtransactions, dropped files, dropped statistics and invalidations before its number in the record.
        let session = site.cluster.session();
        let prepared = session.sql(
            "BEGIN; SELECT txid_current(); SAVEPOINT a; DROP TABLE gone; SAVEPOINT b; CREATE TABLE new (i int); PREPARE TRANSACTION 'p'",
        );
        session.sql("COMMIT PREPARED 'p'");
        let prepared = prepared[0][0].clone().unwrap();
        site.cluster.sql("SELECT pg_create_restore_point('here')");
        segment(&site.cluster);
        let found = ask(&site, &["--to", "here"]);
        assert_eq!(found.code(), Some(0), "PostgreSQL {major}: {found}");
        assert!(intervals(&site)[0]["to"]["time"].is_string(), "PostgreSQL {major}");
        let found = ask(&site, &["--target-xid", &prepared]);
        assert_eq!(found.code(), Some(0), "PostgreSQL {major}: {found}");
    }
}

#[test]
fn a_restore_point_is_reached_from_the_newest_backup_before_it_and_refused_from_one_behind_it() {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    let early = site.backup(&[]);
    site.cluster.sql("SELECT pg_create_restore_point('before the drop'); DROP TABLE t; CREATE TABLE t (i int)");
    let late = site.backup(&[]);
    segment(&site.cluster);
    for name in ["LATEST", &late] {
        let refused = site.fetch("restored", &[name, "--target-name", "before the drop"]);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert!(refused.stderr.contains(&late) && refused.stderr.contains("leave the name out"), "{refused}");
        assert!(!site.place("restored").exists());
    }
    let to_point = ["--target-name", "before the drop", "--target-action", "promote", "--archiving", "off"];
    let restored = site.fetch("restored", &to_point);
    assert!(restored.is_success() && restored.stdout.contains(&early), "{restored}");
    assert_eq!(site.recover("restored").value("SELECT count(*) FROM t"), "1");
}

#[test]
fn without_a_backup_nothing_can_be_recovered_and_the_exit_code_tells() {
    let site = Site::with_small_segments().start();
    site.switch_wal();
    let shown = site.stillframe.run(["window"]);
    assert_eq!(shown.code(), Some(1), "{shown}");
    assert!(shown.stdout.contains("nothing can be recovered"), "{shown}");
    assert_eq!(ask(&site, &[]).code(), Some(1));
}
