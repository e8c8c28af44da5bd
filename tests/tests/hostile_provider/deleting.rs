//! A provider that lies about deletions.

use std::fs;

use crate::guests::{Liars, assert_error, assert_printable, json};

/// What the listing says of a backup; none when it is not there.
fn condemned(liars: &Liars, name: &str) -> Option<bool> {
    let listing = json(&liars.site.stillframe, &["backup-list"]).1;
    let backups = listing["backups"].as_array().unwrap().iter();
    backups.clone().find(|backup| backup["backup_name"] == name).map(|backup| backup["is_condemned"] == true)
}

#[test]
fn what_is_said_to_be_deleted_and_is_still_there_stays_recorded_until_it_goes() {
    let liars = Liars::start();
    let (kept, name) = (liars.backup(), liars.backup());
    let finished = liars.telling("keeps", "").run(["delete", "target", &name, "--confirm"]);
    assert_error(&finished, 5, "it says that the set is deleted, and still tells of it");
    assert_eq!(condemned(&liars, &name), Some(true), "{finished}");
    assert!(liars.kept().contains(&name));
    let pending = liars.telling("never-done", "").run(["delete", "target", &name, "--confirm"]);
    assert_printable(&pending);
    assert_eq!(condemned(&liars, &name), Some(true), "{pending}");
    liars.site.stillframe.succeed(["reconcile", "--confirm"]);
    assert_eq!(condemned(&liars, &name), None);
    assert_eq!(liars.kept(), [kept.clone()].into());
    liars.assert_restorable(&kept);
}

#[test]
fn an_error_for_what_is_not_there_does_not_keep_a_backup_for_ever() {
    let liars = Liars::start();
    let (name, kept) = (liars.backup(), liars.backup());
    fs::remove_dir_all(liars.directory(&name)).unwrap();
    let finished = liars.telling("absence-is-an-error", "").run(["delete", "target", &name, "--confirm"]);
    assert!(finished.is_success(), "{finished}");
    assert_eq!(liars.site.backups(), [kept]);
}

#[test]
fn what_a_provider_refuses_to_delete_stays_a_backup() {
    let liars = Liars::start();
    let (name, _newest) = (liars.backup(), liars.backup());
    for (lie, words) in [("locked-for-ever", "locked until 9999-01-01"), ("in-use", "in use by `\\u{1b}[2J")] {
        let finished = liars.telling(lie, "").run(["delete", "target", &name, "--confirm"]);
        assert_error(&finished, 4, words);
        assert_eq!(condemned(&liars, &name), Some(false), "{lie}: {finished}");
    }
    liars.assert_restorable(&name);
}

#[test]
fn what_was_deleted_besides_is_found_missing_and_never_hidden() {
    let liars = Liars::start();
    let (name, victim, kept) = (liars.backup(), liars.backup(), liars.backup());
    let finished = liars.telling("takes-another", &liars.handle(&victim)).run(["delete", "target", &name, "--confirm"]);
    assert!(finished.is_success(), "nobody can know yet: {finished}");
    let found = liars.site.stillframe.run(["reconcile", "--confirm"]);
    assert_eq!(found.code(), Some(4), "{found}");
    assert!(found.stdout.contains("missing") && found.stdout.contains(&victim), "{found}");
    assert!(liars.site.backups().contains(&victim), "its record stays for people to see");
    let fetched = liars.fetch(&liars.site.stillframe, &victim, "new", "new-ts");
    assert_error(&fetched, 4, &victim);
    liars.assert_restorable(&kept);
}

#[test]
fn a_lock_that_the_storage_does_not_keep_is_kept_by_the_host() {
    let liars = Liars::start();
    let (name, _newest) = (liars.backup(), liars.backup());
    liars.site.stillframe.succeed(["backup-lock", &name, "--until", "2099-01-01T00:00:00Z"]);
    let finished = liars.site.stillframe.run(["delete", "target", &name, "--confirm"]);
    assert!(!finished.is_success(), "{finished}");
    assert!(liars.kept().contains(&name) && condemned(&liars, &name) == Some(false), "{finished}");
}
