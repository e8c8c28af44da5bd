//! Undoing a backup that failed, with a provider that does not help.

use stillframe_tests::{Site, tested_major};

use crate::guests::{Liars, assert_error, provider_that, push, push_by};

/// The archive is away, so that a push whose cut was good fails after it; then its provider fails to undo it.
#[test]
fn a_provider_that_fails_to_undo_leaves_the_intent_and_the_error_says_so() {
    let site = Site::builder(tested_major()).value("backup", "archive_timeout_secs", 1).start();
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    for (behaviour, function, words) in [("loop", "delete", "exceeded its deadline"), ("panic", "delete", "it was stopped")] {
        let before = site.intents();
        let finished = push(&provider_that(&site, behaviour, function));
        assert_eq!(finished.code(), Some(5), "{behaviour}: {finished}");
        let added: Vec<String> = site.intents().into_iter().filter(|name| !before.contains(name)).collect();
        let [name] = added.as_slice() else { panic!("{behaviour}: one intent stays, not {added:?}: {finished}") };
        let error = finished.stderr.lines().find(|line| line.starts_with("error:")).unwrap();
        assert!(error.contains(&format!("it stays recorded as the intent `{name}`")), "{finished}");
        assert!(error.contains("is not in the archive after 1 s"), "{finished}");
        let hint = finished.stderr.lines().find(|line| line.starts_with("hint:")).unwrap();
        assert!(hint.contains("provider `hostile` cannot") && hint.contains("stillframe delete garbage"), "{finished}");
        assert!(hint.contains(words), "the hint tells the cause `{words}`: {finished}");
        site.wait_until_no_session_is_left();
        assert!(site.backups().is_empty(), "{finished}");
    }
}

#[test]
fn what_was_cut_is_undone_by_the_handle_that_the_provider_gave_whatever_it_tells_afterwards() {
    let site = Site::builder(tested_major()).value("backup", "archive_timeout_secs", 1).start();
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    for (behaviour, function) in [("loop", "get"), ("finds-another", "get")] {
        let finished = push(&provider_that(&site, behaviour, function));
        assert_eq!(finished.code(), Some(5), "{behaviour}: {finished}");
        assert!(site.intents().is_empty() && site.backups().is_empty(), "{behaviour}: {finished}");
        site.wait_until_no_session_is_left();
    }
}

/// The archive is away, so that a push fails after its cut.
fn without_archive() -> Liars {
    let liars = Liars::start_as(|builder| builder.value("backup", "archive_timeout_secs", 1));
    liars.site.cluster.append_setting("archive_command", "false");
    liars.site.cluster.reload();
    liars.site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    liars
}

#[test]
fn what_was_to_be_undone_and_is_still_there_stays_under_its_intent() {
    let liars = without_archive();
    let finished = push_by(&liars.telling("keeps", ""));
    assert_error(&finished, 5, "it stays recorded as the intent");
    assert!(finished.stderr.contains("still tells of it") && finished.stderr.contains("stillframe reconcile"), "{finished}");
    let intents = liars.site.intents();
    assert_eq!(liars.kept(), intents.iter().cloned().collect(), "{finished}");
    assert_eq!(intents.len(), 1, "{finished}");
    liars.site.stillframe.succeed(["reconcile", "--confirm"]);
    assert!(liars.kept().is_empty() && liars.site.intents().is_empty());
}

#[test]
fn what_an_interrupted_backup_is_said_to_have_cut_does_not_go_when_it_is_another_backups() {
    let liars = Liars::start();
    let other = liars.backup();
    liars.site.cluster.append_setting("archive_command", "false");
    liars.site.cluster.reload();
    liars.site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    let mut running = liars.site.stillframe.spawn(["snapshot-push", "--provider", "liar"]);
    running.wait_for_stderr("waiting for the WAL");
    running.kill9();
    running.wait();
    let finished = liars.telling("answers-with-another", &liars.handle(&other)).run(["reconcile", "--confirm"]);
    assert_error(&finished, 7, "1 of 1");
    assert!(finished.says(&format!("a snapshot of the backup `{other}`")), "{finished}");
    assert!(liars.kept().contains(&other) && liars.site.intents().len() == 1, "{finished}");
    liars.site.stillframe.succeed(["reconcile", "--confirm"]);
    assert_eq!(liars.kept(), [other.clone()].into());
    liars.assert_restorable(&other);
}
