//! `delete` on a real server: what a dry run must not do, what must be left, and what an interruption must not cost.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use stillframe_tests::{Account, Site, Stillframe, copy_tree, set_mode, tested_major};

/// Attempts to kill a process at one moment.
const MAX_ATTEMPTS: usize = 50;

/// A server with a table, and nothing that writes by itself.
fn site() -> Site {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.setting("autovacuum", "off")).start();
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    site.switch_wal();
    site
}

/// Takes a backup, and completes a segment that belongs to none.
fn backup(site: &Site, arguments: &[&str]) -> String {
    let name = site.backup(arguments);
    site.switch_wal();
    name
}

fn backups(site: &Site, count: usize) -> Vec<String> {
    (0..count).map(|_| backup(site, &[])).collect()
}

#[track_caller]
fn confirm(site: &Site, arguments: &[&str]) {
    let mut all = vec!["delete", "--confirm"];
    all.extend(arguments);
    site.stillframe.succeed(all);
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The same installation with a provider that cannot even be loaded.
fn without_provider(site: &Site) -> Stillframe {
    let digest = "0".repeat(64);
    site.configured(|config| {
        config.value("provider.hardlink", "component", "/nonexistent/hardlink.wasm").value("provider.hardlink", "sha256", digest)
    })
}

/// The same installation, whose provider works and fails to delete: the storage is read-only for it.
struct ReadOnlySnapshots<'a>(&'a Site);

impl<'a> ReadOnlySnapshots<'a> {
    fn begin(site: &'a Site) -> Self {
        Self::set_mode(site, 0o500);
        Self(site)
    }

    fn set_mode(site: &Site, mode: u32) {
        let directories = site.snapshots().into_iter().map(|name| site.place("snapshots").join(name));
        for directory in directories.chain([site.place("snapshots")]) {
            set_mode(&directory, mode);
        }
    }
}

impl Drop for ReadOnlySnapshots<'_> {
    fn drop(&mut self) {
        Self::set_mode(self.0, 0o700);
    }
}

/// Whatever is listed and not condemned has its snapshot and its WAL.
#[track_caller]
fn assert_published_is_restorable(site: &Site, when: &str) {
    let (snapshots, archived) = (site.snapshots(), site.archived());
    for name in site.backups() {
        let shown = site.show(&name);
        if shown["is_condemned"] == true {
            continue;
        }
        assert!(snapshots.contains(&name), "{when}: {name} is listed and its snapshot is gone");
        for key in ["first_wal_file", "last_wal_file"] {
            let file = shown[key].as_str().unwrap();
            assert!(archived.contains(file), "{when}: {name} is listed and its WAL {file} is gone");
        }
    }
    // What the provider has taken out of sight and not removed yet is no snapshot any more.
    for snapshot in snapshots.iter().filter(|name| !name.starts_with(".stillframe-trash-")) {
        let known = site.backups().contains(snapshot) || site.intents().contains(snapshot);
        assert!(known, "{when}: nobody knows the snapshot {snapshot}");
    }
}

/// Two plans of the same are made at different moments.
fn without_moment(mut plan: serde_json::Value) -> serde_json::Value {
    plan.as_object_mut().unwrap().remove("made_at").expect("the moment that ages are counted from");
    plan
}

#[test]
fn without_confirm_nothing_changes_and_no_provider_is_called() {
    let site = site();
    let names = backups(&site, 3);
    backup(&site, &["--permanent"]);
    let moment = site.cluster.value("SELECT clock_timestamp()");
    let newest = backup(&site, &[]);
    let before = site.everything();
    let broken = without_provider(&site);
    let rules: [&[&str]; 7] = [
        &["retain", "1"],
        &["retain", "FULL", "2", "--after", &names[1]],
        &["before", &newest],
        &["before", &moment],
        &["target", &names[1]],
        &["everything"],
        &["garbage"],
    ];
    for rule in rules {
        let arguments = ["--json", "delete"].iter().chain(rule);
        let plan = without_moment(broken.succeed(arguments.clone()).json());
        assert_eq!(plan["is_dry_run"], true, "{rule:?}: {plan}");
        assert_eq!(plan["deleted"], serde_json::Value::Null);
        let planned = |list: &str| plan[list].as_array().unwrap().iter().any(|entry| entry["is_deleted"] == true);
        assert_eq!(planned("backups"), rule[0] != "garbage", "{rule:?}: {plan}");
        assert!(planned("wal") || rule[0] == "target", "{rule:?}: {plan}");
        let again = without_moment(site.stillframe.succeed(arguments).json());
        assert_eq!(plan, again, "a provider changes nothing in the plan");
        let text = broken.succeed(["delete"].iter().chain(rule)).stdout;
        assert!(text.contains("add --confirm to do it"), "{rule:?}: {text}");
        assert_eq!(site.everything(), before, "dry_run_touches_nothing: {rule:?}");
    }
    // The proof that it could not have been called.
    let called = broken.run(["delete", "retain", "1", "--confirm"]);
    assert_eq!(called.code(), Some(3), "{called}");
    assert!(called.stderr.contains("provider `hardlink` cannot be loaded"), "{called}");
}

#[test]
fn a_permanent_backup_survives_every_rule_and_can_be_restored_afterwards() {
    let site = site();
    let old = backup(&site, &[]);
    let permanent = backup(&site, &["--permanent"]);
    site.cluster.sql("INSERT INTO t SELECT generate_series(1, 1000)");
    let others = backups(&site, 3);
    for rule in [vec!["target", &old], vec!["before", &others[1]], vec!["retain", "1"], vec!["garbage"], vec!["everything"]] {
        confirm(&site, &rule);
        assert!(site.backups().contains(&permanent), "{rule:?}");
        assert!(site.snapshots().contains(&permanent), "{rule:?}");
        assert_published_is_restorable(&site, &format!("{rule:?}"));
        let place = format!("after-{}", rule[0]);
        let restored =
            site.restore(&place, &[&permanent, "--target-immediate", "--target-action", "promote", "--archiving", "off"]);
        assert_eq!(restored.value("SELECT count(*) FROM t"), "1000", "{rule:?}");
    }
    assert_eq!(site.backups(), [permanent.as_str()]);
    assert_eq!(site.snapshots(), set(&[&permanent]));
    let refused = site.stillframe.run(["delete", "target", &permanent, "--confirm"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("--impermanent"), "{refused}");
    assert_eq!(site.backups(), [permanent]);
}

#[test]
fn after_every_rule_exactly_the_wal_is_left_that_a_kept_backup_needs() {
    let site = site();
    let names = backups(&site, 3);
    let permanent = backup(&site, &["--permanent"]);
    let newest = backups(&site, 3);
    let ordinary: Vec<&str> = names.iter().chain(&newest).map(String::as_str).collect();
    let third = ordinary[2];
    let steps: [(&[&str], &[&str]); 6] = [
        (&["garbage"], &ordinary),
        (&["retain", "5"], &ordinary[1..]),
        (&["before", third], &ordinary[2..]),
        (&["target", third], &ordinary[3..]),
        (&["retain", "1"], &ordinary[5..]),
        (&["everything"], &[]),
    ];
    for (rule, kept) in steps {
        let before = site.archived();
        let needed = site.wal_needed_by(kept, &[&permanent]);
        assert!(needed.len() < before.len(), "{rule:?} has something to delete");
        let planned = site.stillframe.succeed(["--json", "delete"].iter().chain(rule)).json();
        confirm(&site, rule);
        assert_eq!(site.archived(), needed, "protected_wal_present: {rule:?}, before: {before:?}");
        let promised = planned["wal"].as_array().unwrap().iter().filter(|file| file["is_deleted"] == false);
        let promised: BTreeSet<String> = promised.map(|file| file["file"].as_str().unwrap().to_owned()).collect();
        assert_eq!(promised, needed, "the plan of {rule:?} said so");
        let mut all = vec![permanent.as_str()];
        all.extend(kept);
        assert_eq!(site.snapshots(), set(&all), "{rule:?}");
        assert_eq!(site.backups().into_iter().collect::<BTreeSet<_>>(), set(&all), "{rule:?}");
    }
    let again = site.everything();
    confirm(&site, &["garbage"]);
    assert_eq!(site.everything(), again, "nothing is left to delete");
}

#[test]
fn a_mark_protects_a_backup_and_its_removal_gives_it_back_to_the_rules() {
    let site = site();
    let names = backups(&site, 3);
    let sentinel = site.place("store/main/snapshots_001").join(&names[0]).join("sentinel.json");
    let written = fs::read(&sentinel).unwrap();
    let marked = site.stillframe.succeed(["--json", "backup-mark", &names[0]]).json();
    assert_eq!((marked["backup_name"].as_str(), marked["is_permanent"].as_bool()), (Some(names[0].as_str()), Some(true)));
    assert_eq!(fs::read(&sentinel).unwrap(), written, "a sentinel never changes");
    let needed = site.wal_needed_by(&[&names[2]], &[&names[0]]);
    confirm(&site, &["retain", "1"]);
    assert_eq!(site.backups().into_iter().collect::<BTreeSet<_>>(), set(&[&names[0], &names[2]]));
    assert_eq!(site.archived(), needed);
    let refused = site.stillframe.run(["delete", "target", &names[0], "--confirm"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    site.stillframe.succeed(["backup-mark", &names[0], "--impermanent"]);
    assert_eq!(site.show(&names[0])["is_permanent"], false);
    // Marking it as what it is changes nothing.
    let before = site.everything();
    site.stillframe.succeed(["backup-mark", &names[0], "--impermanent"]);
    assert_eq!(site.everything(), before);
    confirm(&site, &["retain", "1"]);
    assert_eq!(site.backups(), [names[2].clone()]);
    assert!(!sentinel.parent().unwrap().exists() || fs::read_dir(sentinel.parent().unwrap()).unwrap().next().is_none());
}

#[test]
fn a_failing_provider_leaves_the_backup_condemned_and_a_later_run_finishes() {
    let site = site();
    let names = backups(&site, 2);
    let needed = site.wal_needed_by(&[&names[1]], &[]);
    {
        let _read_only = ReadOnlySnapshots::begin(&site);
        let failed = site.stillframe.run(["delete", "retain", "1", "--confirm"]);
        assert!(!failed.is_success(), "{failed}");
        assert!(failed.stderr.contains("provider `hardlink` cannot delete the snapshot set"), "{failed}");
        assert!(failed.stderr.contains("tried again by the next run"), "{failed}");
    }
    assert_eq!(site.show(&names[0])["is_condemned"], true);
    assert_eq!(site.show(&names[1])["is_condemned"], false);
    let listed = site.stillframe.succeed(["backup-list"]).stdout;
    let line = listed.lines().find(|line| line.starts_with(&names[0])).unwrap();
    assert!(line.ends_with("being deleted"), "{listed}");
    let refused = site.fetch("restored", &[&names[0]]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("deletion") && !site.place("restored").exists(), "{refused}");
    let refused = site.stillframe.run(["backup-mark", &names[0]]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert_published_is_restorable(&site, "after the failure");

    // Any rule finishes it, one that names no backup as well.
    confirm(&site, &["garbage"]);
    assert_eq!(site.backups(), [names[1].clone()]);
    assert_eq!(site.snapshots(), set(&[&names[1]]));
    assert_eq!(site.archived(), needed);
}

/// Names have seconds only: two backups within one second must not change places.
#[test]
fn backups_are_listed_oldest_first_even_within_one_second() {
    let site = site();
    let names: Vec<String> = (0..8).map(|_| site.backup(&[])).collect();
    assert_eq!(site.backups(), names);
}

#[test]
fn a_condemned_backup_is_not_chosen_as_the_latest() {
    let site = site();
    let names = backups(&site, 2);
    {
        let _read_only = ReadOnlySnapshots::begin(&site);
        let failed = site.stillframe.run(["delete", "target", &names[1], "--confirm"]);
        assert!(!failed.is_success(), "{failed}");
    }
    assert_eq!(site.show(&names[1])["is_condemned"], true);
    let fetched = site.stillframe.succeed(["--json", "snapshot-fetch", site.place("restored").to_str().unwrap(), "LATEST"]);
    assert!(fetched.stdout.contains(&names[0]) && !fetched.stdout.contains(&names[1]), "{fetched}");
}

#[test]
fn a_provider_that_cannot_be_loaded_costs_neither_a_backup_nor_its_wal() {
    let site = site();
    let names = backups(&site, 3);
    confirm(&site, &["garbage"]);
    let before = site.everything();
    let broken = without_provider(&site);
    for rule in [vec!["retain", "1"], vec!["before", &names[2]], vec!["target", &names[0]], vec!["everything"]] {
        let failed = broken.run(["delete", "--confirm"].iter().copied().chain(rule.iter().copied()));
        assert_eq!(failed.code(), Some(3), "{rule:?}: {failed}");
        assert!(failed.stderr.contains("provider `hardlink` cannot be loaded"), "{rule:?}: {failed}");
        assert_published_is_restorable(&site, &format!("{rule:?} with a provider that cannot be loaded"));
        assert_eq!(paths(&site.everything()), paths(&before), "{rule:?}");
        assert!(names.iter().all(|name| site.show(name)["is_condemned"] == false), "{rule:?}");
    }
    site.restore("restored", &[&names[0], "--archiving", "off"]);
}

fn paths(files: &[(std::path::PathBuf, Vec<u8>)]) -> Vec<&Path> {
    files.iter().map(|(path, _)| path.as_path()).collect()
}

/// Copies a tree with its hard links, for several attempts at the same deletion.
fn copy(from: &Path, to: &Path) {
    let _absent = fs::remove_dir_all(to);
    copy_tree(from, to);
}

#[test]
fn a_deletion_that_is_killed_at_any_moment_is_finished_by_the_next_run() {
    let site = site();
    let names = backups(&site, 4);
    let kept = &names[3];
    let needed = site.wal_needed_by(&[kept], &[]);
    let released: Vec<String> = site.archived().difference(&needed).cloned().collect();
    for tree in ["store", "snapshots"] {
        copy(&site.place(tree), &site.place(&format!("{tree}.saved")));
    }
    let record = |name: &str, file: &str| site.place("store/main/snapshots_001").join(name).join(file);
    let wal = |file: &String| site.place("store/main/wal_005").join(format!("{file}.zst"));
    let is_gone = |path: &Path| !path.exists();
    let moments: [(&str, &dyn Fn() -> bool); 6] = [
        ("the first is condemned", &|| record(&names[0], "condemned.json").exists()),
        ("the first snapshot is gone", &|| is_gone(&site.place("snapshots").join(&names[0]))),
        ("the first sentinel is gone", &|| is_gone(&record(&names[0], "sentinel.json"))),
        ("the second is condemned", &|| record(&names[1], "condemned.json").exists()),
        ("the last sentinel is gone", &|| is_gone(&record(&names[2], "sentinel.json"))),
        ("the first WAL file is gone", &|| is_gone(&wal(&released[0]))),
    ];
    for (moment, has_come) in moments {
        // The kill can come too late, when this process is not scheduled in time: then the same once more.
        let is_killed_in_time = || {
            for tree in ["store", "snapshots"] {
                copy(&site.place(&format!("{tree}.saved")), &site.place(tree));
            }
            assert!(!has_come(), "{moment}: it begins before");
            let mut running = site.stillframe.spawn(["delete", "retain", "1", "--confirm"]);
            while !has_come() && !running.has_ended() {
                std::thread::yield_now();
            }
            running.kill9();
            running.wait().signal() == Some(9)
        };
        assert!((0..MAX_ATTEMPTS).any(|_| is_killed_in_time()), "{moment}: no kill came in time");
        assert_published_is_restorable(&site, moment);
        confirm(&site, &["retain", "1"]);
        assert_same_end(&site, moment, kept, &needed);
    }
}

/// The line of the first deletion tells a reader of the log the moment as well.
#[test]
fn a_deletion_that_is_killed_after_its_first_backup_is_finished_by_another_rule() {
    let site = site();
    let names = backups(&site, 4);
    let needed = site.wal_needed_by(&[&names[3]], &[]);
    let mut running = site.stillframe.spawn(["delete", "retain", "1", "--confirm"]);
    running.wait_for_stderr("snapshot deleted");
    running.kill9();
    running.wait();
    assert!(!site.snapshots().contains(&names[0]), "the line is true");
    assert_published_is_restorable(&site, "after the first");
    confirm(&site, &["garbage"]);
    confirm(&site, &["before", &names[3]]);
    assert_same_end(&site, "after the first", &names[3], &needed);
}

#[track_caller]
fn assert_same_end(site: &Site, when: &str, kept: &str, needed: &BTreeSet<String>) {
    assert_eq!(site.backups(), [kept], "{when}");
    assert_eq!(site.snapshots(), set(&[kept]), "{when}");
    assert_eq!(&site.archived(), needed, "{when}");
    let records = fs::read_dir(site.place("store/main/snapshots_001")).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = records.filter(|path| fs::read_dir(path).unwrap().next().is_some()).collect();
    assert_eq!(left, [site.place("store/main/snapshots_001").join(kept)], "{when}: a record is left");
}

#[test]
fn an_interrupted_push_is_settled_only_after_it_has_expired() {
    let site = site();
    let published = backup(&site, &[]);
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "hardlink"]);
    running.wait_for_stderr("waiting for the WAL");
    running.kill9();
    running.wait();
    let intents = site.intents();
    let [name] = intents.as_slice() else { panic!("one intent, not {intents:?}") };
    assert_eq!(site.snapshots(), set(&[&published, name]));

    // It may still run, on another host: no rule touches it, its snapshot or the WAL since it began.
    for rule in [vec!["garbage"], vec!["retain", "1"], vec!["everything"]] {
        let plan = site.stillframe.succeed(["--json", "delete"].iter().chain(&rule)).json();
        assert_eq!(plan["leftovers"], serde_json::json!([]), "{rule:?}: {plan}");
    }
    confirm(&site, &["garbage"]);
    assert_eq!(site.intents(), [name.as_str()]);
    assert_eq!(site.snapshots(), set(&[&published, name]));

    // No clock can be moved from here, so the record is: it is the one thing that tells a running backup from a killed one.
    let record = site.place("store/main/snapshots_001").join(name).join("intent.json");
    let mut intent: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert!(intent["expires_at"].as_str().unwrap() > intent["begun_at"].as_str().unwrap());
    intent["expires_at"] = intent["begun_at"].clone();
    intent.as_object_mut().unwrap().remove("checksum");
    Account::unprivileged().write(&record, intent.to_string());
    confirm(&site, &["retain", "1"]);
    assert_eq!(site.intents(), [name.as_str()], "only `garbage` and `everything` settle");
    let plan = site.stillframe.succeed(["delete", "garbage"]).stdout;
    assert!(plan.contains(&format!("interrupted backup {name}")), "{plan}");
    let failed = without_provider(&site).run(["delete", "garbage", "--confirm"]);
    assert_eq!(failed.code(), Some(3), "{failed}");
    assert_eq!(site.intents(), [name.as_str()], "the snapshot is there, so its record is");
    confirm(&site, &["garbage"]);
    assert!(site.intents().is_empty());
    assert_eq!(site.snapshots(), set(&[&published]));
    assert_eq!(site.backups(), [published]);
}
