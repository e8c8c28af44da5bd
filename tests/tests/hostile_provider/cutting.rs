//! A provider that lies about what it has cut.

use serde_json::Value;

use crate::guests::{Liars, assert_error, assert_printable, edit, json, patched, push_by};

#[test]
fn a_set_that_is_anothers_is_refused_and_the_other_one_stays() {
    let liars = Liars::start();
    let other = liars.backup();
    let handle = liars.handle(&other);
    let snapshot = liars.set(&other)["members"][0]["id"].as_str().unwrap().to_owned();
    liars.assert_push_fails("steals-a-handle", &handle, 7, &format!("a snapshot of the backup `{other}`"));
    liars.assert_push_fails("steals-a-snapshot", &snapshot, 7, &format!("a snapshot of the backup `{other}`"));
    liars.assert_restorable(&other);
}

#[test]
fn ids_that_no_record_may_hold_are_refused_and_what_was_cut_under_them_is_removed() {
    let liars = Liars::start();
    for (lie, words) in [
        ("bidi-handle", "contains control characters"),
        ("bidi-id", "contains control characters"),
        ("newline-id", "contains control characters"),
        ("nul-id", "contains control characters"),
        ("long-id", "the id of a member has 65536 bytes, and 2048 are allowed"),
        ("long-text", "too much data is being copied"),
        ("many-members", "too much data is being copied"),
    ] {
        liars.assert_push_fails(lie, "", 7, words);
    }
    // No compiler makes such a component: the interface's own rules for text are the engine's to keep.
    let bytes = patched("liar", b"liar:", b"\xff\xfe\xc0\xaf:");
    let finished = push_by(&liars.with_component(&bytes));
    assert_error(&finished, 7, "create the snapshot set: it was stopped");
    assert!(finished.stderr.contains("utf-8"), "{finished}");
    liars.site.wait_until_no_session_is_left();
    assert!(liars.site.backups().is_empty() && liars.site.intents().len() <= 1, "{finished}");
    // It cannot even tell what it has cut: an honest provider has to.
    liars.site.stillframe.succeed(["reconcile", "--confirm"]);
    liars.backup();
}

#[test]
fn ids_that_look_like_paths_and_commands_are_nothing_but_ids() {
    let liars = Liars::start();
    let finished = liars.push("tricky-ids", "");
    assert!(finished.is_success(), "{finished}");
    let [name] = &liars.site.backups()[..] else { panic!("{finished}") };
    assert!(liars.handle(name).contains("/etc/passwd;$(reboot)"), "it is kept as it is");
    for arguments in [&["backup-show", name][..], &["backup-list"], &["reconcile"]] {
        assert_printable(&liars.site.stillframe.succeed(arguments));
    }
    liars.assert_restorable(name);
    liars.site.stillframe.succeed(["delete", "target", name, "--confirm"]);
    assert!(liars.kept().is_empty() && liars.site.backups().is_empty());
}

#[test]
fn the_servers_clock_decides_about_a_backup_and_not_what_the_provider_says_of_its_cut() {
    let liars = Liars::start();
    let honest = liars.backup();
    for lie in ["from-the-future", "from-the-past"] {
        let finished = liars.push(lie, "");
        assert!(finished.is_success(), "{finished}");
    }
    let newest = liars.backup();
    let names = liars.site.backups();
    assert_eq!((&names[0], &names[3]), (&honest, &newest), "{names:?}");
    let day = |name: &str, key: &str| liars.site.show(name)[key].as_str().unwrap()[..4].to_owned();
    for name in &names {
        assert_eq!(day(name, "start_time"), day(&honest, "start_time"));
        assert_eq!(day(name, "finish_time"), day(&honest, "start_time"));
    }
    let plan = json(&liars.site.stillframe, &["delete", "retain", "FULL", "1"]).1;
    let kept: Vec<&Value> = plan["backups"].as_array().unwrap().iter().filter(|row| row["is_deleted"] == false).collect();
    assert!(matches!(&kept[..], [only] if only["backup_name"] == newest.as_str()), "{plan}");
    // Its age is the host's to tell: a snapshot that no record knows is not old because its provider says so.
    let past = &names[2];
    edit(&liars.directory(past), |record| {
        record["labels"].as_array_mut().unwrap().retain(|label| !label[0].as_str().unwrap().contains("passport"));
    });
    liars.forget(past);
    let plan = json(&liars.site.stillframe, &["reconcile", "--confirm"]).1;
    assert_eq!(plan["findings"][0]["case"], "unpublished", "{plan}");
    assert_eq!(plan["findings"][0]["action"], Value::Null, "it waits until it is old: {plan}");
    assert!(liars.kept().contains(past), "{plan}");
}

#[test]
fn sizes_that_cannot_be_true_are_counted_without_harm() {
    let liars = Liars::start();
    for _ in 0..2 {
        let finished = liars.push("huge-sizes", "");
        assert!(finished.is_success(), "{finished}");
    }
    let names = liars.site.backups();
    assert_eq!(liars.site.show(&names[0])["size_bytes"], u64::MAX);
    let (shown, plan) = json(&liars.site.stillframe, &["delete", "everything"]);
    assert!(shown.is_success(), "{shown}");
    assert_eq!(plan["totals"]["deleted_backup_bytes"], u64::MAX, "{plan}");
    for arguments in [&["backup-list"][..], &["delete", "everything"]] {
        liars.site.stillframe.succeed(arguments);
    }
    for name in &names {
        liars.forget(name);
    }
    let found = liars.site.stillframe.run(["reconcile", "--min-age", "0"]);
    assert!(found.is_success() && found.stdout.contains("16777215.9 TiB"), "{found}");
}
