//! `delete policy` on a real server: what the configuration promises stays and can be restored, and the rest goes.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;

use serde_json::Value;
use stillframe_tests::{Site, tested_major};

/// A server with a table that grows by a thousand rows before each backup.
fn site(backups: usize) -> (Site, Vec<String>) {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.setting("autovacuum", "off")).start();
    site.cluster.sql("CREATE TABLE t (i int)");
    let names = (0..backups).map(|number| backup(&site, if number == 1 { &["--permanent"] } else { &[] })).collect();
    (site, names)
}

fn backup(site: &Site, arguments: &[&str]) -> String {
    site.cluster.sql("INSERT INTO t SELECT generate_series(1, 1000)");
    let name = site.backup(arguments);
    // A segment that belongs to no backup.
    site.switch_wal();
    name
}

fn set<'a>(names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    names.into_iter().cloned().collect()
}

fn retention(site: &mut Site, keys: &[(&str, toml::Value)]) {
    for (key, value) in keys {
        site.reconfigure(|config| config.value("retention", key, value.clone()));
    }
}

fn reason<'a>(plan: &'a Value, name: &str) -> &'a str {
    let backups = plan["backups"].as_array().unwrap();
    backups.iter().find(|backup| backup["backup_name"] == name).unwrap()["reason"].as_str().unwrap()
}

#[test]
fn a_policy_takes_what_it_has_shown_and_leaves_what_it_promises() {
    let (mut site, names) = site(5);
    retention(&mut site, &[("count", 2.into())]);
    let before = site.everything();
    // A provider that cannot even be loaded shows that none is called.
    let broken = site.configured(|config| {
        let digest = "0".repeat(64);
        config.value("provider.hardlink", "component", "/nonexistent.wasm").value("provider.hardlink", "sha256", digest)
    });
    let plan = broken.succeed(["--json", "delete", "policy"]).json();
    assert_eq!(site.everything(), before, "dry_run_touches_nothing");
    assert_eq!(plan["is_dry_run"], true);
    let reasons: Vec<&str> = names.iter().map(|name| reason(&plan, name)).collect();
    let [old, newest] = ["older than the rule keeps", "among the newest 2"];
    assert_eq!(reasons, [old, "permanent", old, newest, newest], "{plan}");
    let needed = site.wal_needed_by(&[&names[3], &names[4]], &[&names[1]]);
    let files = plan["wal"].as_array().unwrap();
    let told: BTreeSet<String> = files.iter().map(|file| file["file"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, site.archived(), "every file is told of");
    assert!(files.iter().all(|file| file["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
    assert_eq!(plan["totals"]["deleted_backups"], 2);
    assert_ne!(plan["recoverable"]["before"], plan["recoverable"]["after"], "the plan tells what it costs");
    let text = site.stillframe.succeed(["delete", "policy"]).stdout;
    assert!(text.contains("recoverable afterwards:") && text.contains("to delete: 2 backups"), "{text}");
    let shown = plan["plan"].as_str().unwrap();
    assert!(text.contains(&format!("`--plan {shown}`")), "{text}");

    // What was shown goes, or nothing.
    site.stillframe.succeed(["backup-mark", &names[0]]);
    let marked = site.everything();
    let refused = site.stillframe.run(["delete", "policy", "--confirm", "--plan", shown]);
    assert_eq!(refused.code(), Some(5), "{refused}");
    assert!(refused.says("has changed since the plan was made, and nothing was deleted"), "{refused}");
    assert_eq!(site.everything(), marked);
    site.stillframe.succeed(["backup-mark", &names[0], "--impermanent"]);
    let done = site.stillframe.succeed(["--json", "delete", "policy", "--confirm", "--plan", shown]).json();
    assert_eq!(done["deleted"]["backups"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(set(&site.backups()), set([&names[1], &names[3], &names[4]]), "permanent_survives");
    assert_eq!(site.snapshots(), set([&names[1], &names[3], &names[4]]));
    assert_eq!(site.archived(), needed, "protected_wal_present, and nothing else");
    for (place, name, rows) in [("permanent", &names[1], "2000"), ("older", &names[3], "4000")] {
        let arguments = [name.as_str(), "--target-immediate", "--target-action", "promote", "--archiving", "off"];
        let restored = site.restore(place, &arguments);
        assert_eq!(restored.value("SELECT count(*) FROM t"), rows, "published_backup_is_restorable");
    }
    let again = site.stillframe.succeed(["delete", "policy"]).stdout;
    assert!(again.ends_with("nothing to delete\n") && again.contains("recoverable, before and after"), "{again}");
}

#[test]
fn beyond_the_first_tier_a_backup_is_restored_to_its_own_end_and_no_further() {
    let (mut site, names) = site(4);
    retention(&mut site, &[("count", 1.into()), ("standalone", "1 hour".into())]);
    let plan = site.stillframe.succeed(["--json", "delete", "policy"]).json();
    let becomes: Vec<bool> =
        plan["backups"].as_array().unwrap().iter().map(|backup| backup["becomes_standalone"].as_bool().unwrap()).collect();
    assert_eq!(becomes, [true, false, true, false], "{plan}");
    assert_eq!(reason(&plan, &names[0]), "in the second tier");
    let needed = site.wal_needed_by(&[&names[3]], &[&names[0], &names[1], &names[2]]);
    assert!(needed.len() < site.archived().len(), "there is WAL between them");
    let text = site.stillframe.succeed(["delete", "policy", "--confirm"]).stdout;
    assert!(text.contains(&format!("kept: {}: stands alone from now on", names[0])), "{text}");
    assert_eq!(site.backups().len(), 4);
    assert_eq!(site.archived(), needed);
    let restored = site.restore("alone", &[&names[0], "--target-immediate", "--target-action", "promote", "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "1000");
    assert!(site.stillframe.succeed(["delete", "policy"]).stdout.ends_with("nothing to delete\n"));

    // Without the second tier they go, and the first is untouched by that.
    let without = site.configured(|config| config.value("retention", "standalone", "2 hours").value("retention", "count", 2));
    assert!(without.succeed(["delete", "policy"]).stdout.contains("nothing to delete"), "two can be rolled forward: none less");
}

#[test]
fn a_policy_that_is_missing_or_contradicts_itself_deletes_nothing() {
    let (mut site, _) = site(2);
    let before = site.everything();
    let missing = site.stillframe.run(["delete", "policy", "--confirm"]);
    assert_eq!(missing.code(), Some(3), "{missing}");
    assert!(missing.stderr.contains("hint: say under `[retention]` what to keep"), "{missing}");
    for (key, value, message) in [
        ("windows", toml::Value::from("7 days"), "did you mean `retention.window`?"),
        ("window", "6m".into(), "`m` are minutes"),
        ("standalone", "30 days".into(), "hint: set `window`"),
        ("count", 0.into(), "from 1 to"),
    ] {
        let wrong = site.configured(|config| config.value("retention", key, value.clone()));
        let refused = wrong.run(["delete", "policy", "--confirm"]);
        assert_eq!(refused.code(), Some(3), "{key}: {refused}");
        assert!(refused.stderr.contains(message), "{key}: {refused}");
    }
    assert_eq!(site.everything(), before);
    retention(&mut site, &[("window", "7 days".into())]);
    let shown = site.stillframe.succeed(["config", "show"]).stdout;
    assert!(shown.lines().any(|line| line.contains("retention.window") && line.contains("7 days")), "{shown}");
    let plan = site.stillframe.succeed(["--json", "delete", "policy"]).json();
    assert!(plan["backups"].as_array().unwrap().iter().all(|backup| backup["is_deleted"] == false), "{plan}");
}
