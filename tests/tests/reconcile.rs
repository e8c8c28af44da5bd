//! `reconcile` on a real server: what a kill leaves is settled, what was lost is adopted, and what is not ours stays.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use stillframe_tests::{Account, Site, Stillframe, tested_major};

fn site() -> Site {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.setting("autovacuum", "off")).start();
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    site.switch_wal();
    site
}

#[track_caller]
fn reconcile(site: &Site, arguments: &[&str]) -> Value {
    site.stillframe.succeed(["--json", "reconcile"].iter().chain(arguments)).json()
}

/// Case and action of each finding.
fn summary(plan: &Value) -> Vec<(String, String)> {
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
    plan["findings"].as_array().unwrap().iter().map(|finding| (word(finding, "case"), word(finding, "action"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(case, action)| ((*case).to_owned(), (*action).to_owned())).collect()
}

fn records(site: &Site, name: &str) -> PathBuf {
    site.place("store/main/snapshots_001").join(name)
}

/// Kills a push when it says this; gives the name of the backup that it was to become.
fn killed_push(site: &Site, at: &str) -> String {
    let before: BTreeSet<String> = site.intents().into_iter().collect();
    let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
    running.wait_for_stderr(at);
    running.kill9();
    running.wait();
    let left: Vec<String> = site.intents().into_iter().filter(|name| !before.contains(name)).collect();
    let [name] = left.as_slice() else { panic!("one intent, not {left:?}") };
    name.clone()
}

/// Every snapshot is of a backup that is listed, and every listed backup has its snapshot.
#[track_caller]
fn assert_no_orphans(site: &Site) {
    let listed: BTreeSet<String> = site.backups().into_iter().collect();
    assert_eq!(site.snapshots(), listed, "0 orphans");
    assert!(site.intents().is_empty());
    assert_eq!(summary(&reconcile(site, &[])), []);
}

#[test]
fn a_killed_backup_that_is_whole_is_published_and_can_be_restored() {
    let site = site();
    // It waits for its WAL, which comes after its death: the server goes on.
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    let name = killed_push(&site, "waiting for the WAL");
    let before = site.everything();
    let plan = reconcile(&site, &[]);
    assert_eq!(summary(&plan), pairs(&[("interrupted", "undo")]), "{plan}");
    assert!(plan["findings"][0]["reason"].as_str().unwrap().contains("where it stopped"), "{plan}");
    assert_eq!(site.everything(), before, "dry_run_touches_nothing");

    site.cluster.append_setting("archive_command", &site.stillframe.command_line("wal-push %p"));
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting <> 'false' FROM pg_settings WHERE name = 'archive_command'");
    site.switch_wal();
    let archived = || site.archived().iter().any(|file| file.ends_with(".backup"));
    while !archived() {
        std::thread::yield_now();
    }
    let plan = reconcile(&site, &[]);
    assert_eq!(summary(&plan), pairs(&[("interrupted", "finish")]), "{plan}");
    let done = reconcile(&site, &["--confirm"]);
    assert_eq!(done["findings"][0]["outcome"], "done", "{done}");
    assert_eq!(site.backups(), [name.as_str()]);
    assert_no_orphans(&site);
    let restored = site.restore("restored", &[&name, "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "1000");
}

#[test]
fn a_backup_that_was_killed_before_it_stopped_is_undone() {
    let site = site();
    let kept = site.backup(&[]);
    // In backup mode: the copy is under way or done.
    let name = killed_push(&site, "cutting");
    site.wait_until_no_session_is_left();
    let text = site.stillframe.succeed(["reconcile"]).stdout;
    assert!(text.contains(&name), "{text}");
    let is_there = site.snapshots().contains(&name);
    let plan = reconcile(&site, &["--confirm"]);
    if is_there {
        assert_eq!(plan["findings"][0]["outcome"], "done", "{plan}");
        assert_no_orphans(&site);
    } else {
        // What it has asked for may still come; nothing of it is there.
        assert_eq!(summary(&plan), pairs(&[("interrupted", "-")]), "{plan}");
    }
    assert_eq!(site.backups(), std::slice::from_ref(&kept));
    assert_eq!(site.snapshots(), BTreeSet::from([kept]));
}

#[test]
fn after_kills_at_every_stage_no_snapshot_is_left_without_a_backup() {
    let site = site();
    for stage in ["entering backup mode", "cutting", "left backup mode", "waiting for the WAL"] {
        killed_push(&site, stage);
        site.wait_until_no_session_is_left();
    }
    site.switch_wal();
    let done = reconcile(&site, &["--confirm"]);
    let listed: BTreeSet<String> = site.backups().into_iter().collect();
    assert_eq!(site.snapshots(), listed, "0 orphans: {done}");
    // What is left is recorded, and nothing of it is there.
    let again = reconcile(&site, &["--confirm"]);
    assert!(summary(&again).iter().all(|pair| *pair == ("interrupted".to_owned(), "-".to_owned())), "{again}");
    for name in &listed {
        let restored = site.restore(&format!("restored-{name}"), &[name, "--archiving", "off"]);
        assert_eq!(restored.value("SELECT count(*) FROM t"), "1000");
    }
    site.backup(&[]);
}

#[test]
fn a_backup_whose_sentinel_was_lost_is_adopted_and_restored() {
    let site = site();
    let name = site.backup(&["--permanent", "--add-user-data", r#"{"ticket": 7}"#]);
    site.switch_wal();
    let before = site.show(&name);
    fs::remove_file(records(&site, &name).join("sentinel.json")).unwrap();
    assert!(site.backups().is_empty());
    let text = site.stillframe.succeed(["reconcile"]).stdout;
    assert!(text.contains("unpublished") && text.contains("adopt") && text.contains("add --confirm to do it"), "{text}");
    let done = reconcile(&site, &["--confirm"]);
    assert_eq!(summary(&done), pairs(&[("unpublished", "adopt")]), "{done}");
    assert_eq!(done["findings"][0]["outcome"], "done", "{done}");
    let after = site.show(&name);
    for key in
        ["start_lsn", "finish_lsn", "first_wal_file", "last_wal_file", "is_permanent", "user_data", "start_time", "consistency"]
    {
        assert_eq!(after[key], before[key], "{key}: {after}");
    }
    assert_no_orphans(&site);
    site.cluster.sql("DROP TABLE t");
    let restored = site.restore("restored", &[&name, "--target-immediate", "--target-action", "promote", "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) || ' ' || sum(i) FROM t"), "1000 500500");
}

#[test]
fn what_is_lost_is_reported_with_its_exit_code_and_what_is_unknown_as_well() {
    let site = site();
    let (lost, kept) = (site.backup(&[]), site.backup(&[]));
    fs::remove_dir_all(site.place("snapshots").join(&lost)).unwrap();
    let before = site.everything();
    let found = site.stillframe.run(["reconcile", "--confirm"]);
    assert_eq!(found.code(), Some(4), "{found}");
    assert!(found.stdout.contains("missing") && found.stdout.contains(&format!("delete target {lost}")), "{found}");
    assert_eq!(site.everything(), before, "the sentinel stays");
    assert!(site.backups().contains(&kept));
    site.stillframe.succeed(["delete", "target", &lost, "--confirm"]);
    assert_no_orphans(&site);

    let broken: Stillframe = site.configured(|config| {
        let digest = "0".repeat(64);
        config.value("provider.hardlink", "component", "/nonexistent/hardlink.wasm").value("provider.hardlink", "sha256", digest)
    });
    let unknown = broken.run(["reconcile", "--confirm"]);
    assert_eq!(unknown.code(), Some(3), "{unknown}");
    assert!(unknown.stdout.contains("not judged: provider `hardlink` cannot be loaded"), "{unknown}");
    assert!(unknown.stderr.contains("did not answer"), "{unknown}");
}

#[test]
fn a_snapshot_of_another_store_is_left_alone_until_it_is_claimed_and_old() {
    let site = site();
    let kept = site.backup(&[]);
    let foreign = site.backup(&[]);
    // As a second store with the same storage would have it.
    let set = site.place("snapshots").join(&foreign).join("set.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&set).unwrap()).unwrap();
    record["labels"]["stillframe-catalog"] = "another".into();
    fs::write(&set, record.to_string()).unwrap();
    fs::remove_dir_all(records(&site, &foreign)).unwrap();
    let plan = reconcile(&site, &["--confirm", "--min-age", "0"]);
    assert_eq!(summary(&plan), pairs(&[("unpublished", "-")]), "{plan}");
    assert!(site.snapshots().contains(&foreign));
    fs::remove_file(site.place("store/main/wal_005").join(history(&site))).unwrap();
    let young = reconcile(&site, &["--confirm", "--claim", &foreign]);
    assert_eq!(summary(&young), pairs(&[("unpublished", "-")]), "{young}");
    let done = reconcile(&site, &["--confirm", "--claim", &foreign, "--min-age", "0"]);
    assert_eq!(summary(&done), pairs(&[("unpublished", "delete")]), "{done}");
    assert_eq!(site.backups(), [kept]);
    assert_no_orphans(&site);
}

/// Kills a restore when it is announced and not done; gives the file of its record and its destination.
fn killed_fetch(site: &Site, name: &str) -> (PathBuf, PathBuf) {
    let records = || fs::read_dir(site.place("store/main/restores_001")).into_iter().flatten().map(|entry| entry.unwrap().path());
    for attempt in 0..50 {
        let place = site.place(&format!("killed-{attempt}"));
        let mut running = site.stillframe.spawn(["snapshot-fetch", &place.display().to_string(), name]);
        while !running.has_ended() && records().next().is_none() {
            std::thread::yield_now();
        }
        running.kill9();
        running.wait();
        if let Some(record) = records().find(|path| path.extension().is_some_and(|extension| extension == "json")) {
            return (record, place);
        }
    }
    panic!("every restore was over before it could be killed");
}

#[test]
fn a_restore_that_was_killed_is_told_with_age_and_bytes_and_only_its_release_ends_it() {
    let site = site();
    let name = site.backup(&[]);
    site.switch_wal();
    let (record, place) = killed_fetch(&site, &name);
    assert_eq!(summary(&reconcile(&site, &[])), [], "it may be under way");
    let mut content: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let token = content["restore"]["token"].as_str().unwrap().to_owned();
    content["restore"]["begun_at"] = "2026-01-01T00:00:00Z".into();
    content.as_object_mut().unwrap().remove("checksum");
    Account::unprivileged().write(&record, content.to_string());

    let plan = reconcile(&site, &["--confirm"]);
    assert_eq!(summary(&plan), pairs(&[("restore", "-")]), "{plan}");
    let found = &plan["findings"][0];
    assert_eq!((found["subject"].as_str(), found["reason"].as_str()), (place.to_str(), Some("it was interrupted")), "{plan}");
    assert!(found["age_secs"].as_u64().unwrap() > 86_400 && found["providers"][0] == "hardlink", "{plan}");
    assert_eq!(found["size_bytes"], site.show(&name)["size_bytes"], "{plan}");
    assert!(found["size_bytes"].as_u64().unwrap() > 1 << 20, "{plan}");
    let text = site.stillframe.succeed(["reconcile"]).stdout;
    assert!(text.contains(&format!("`stillframe snapshot-release {token}`")) && !text.contains("--confirm"), "{text}");
    assert!(record.is_file(), "--confirm takes nothing from anybody");
    let kept = site.stillframe.run(["delete", "everything", "--confirm"]);
    assert_eq!(site.backups(), std::slice::from_ref(&name), "its backup stays: {kept}");

    site.stillframe.succeed(["snapshot-release", &token]);
    assert_eq!(summary(&reconcile(&site, &[])), []);
    site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
    assert_no_orphans(&site);
}

/// The object with the end of the newest backup.
fn history(site: &Site) -> String {
    let directory = fs::read_dir(site.place("store/main/wal_005")).unwrap();
    let names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".backup")).max().unwrap()
}
