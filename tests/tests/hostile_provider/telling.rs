//! A provider that lies about the state of a set: while it is waited for, and when it is to be restored.

use std::fs;

use crate::guests::{Liars, assert_error};

#[test]
fn a_set_that_is_never_ready_or_does_not_stay_so_is_given_up_and_removed() {
    let liars = Liars::start_as(|builder| builder.value("backup", "ready_timeout_secs", 1));
    for lie in ["never-ready", "falls-back"] {
        liars.assert_push_fails(lie, "", 5, "the snapshot set is not ready after 1 s");
    }
    liars.assert_restorable(&liars.backup());
}

#[test]
fn a_set_that_is_not_the_same_any_more_is_not_published() {
    let liars = Liars::start();
    for (lie, code, words) in [
        ("vanishes", 5, "it is gone"),
        ("says-it-is-gone", 5, "it is being deleted"),
        ("fails-in-colour", 5, "failed in the storage system: \\u{1b}[2J"),
        ("changes-the-token", 5, "it is not the set that was cut"),
        ("changes-the-name", 5, "it is not the set that was cut"),
        ("changes-an-id", 5, "it is not the set that was cut"),
        ("changes-a-volume", 5, "it is not the set that was cut"),
        ("changes-its-mind", 5, "it is not the set that was cut"),
    ] {
        liars.assert_push_fails(lie, "", code, words);
    }
    liars.assert_restorable(&liars.backup());
}

#[test]
fn what_is_published_is_what_was_said_at_the_cut() {
    let liars = Liars::start();
    let (honest, finished) = (liars.backup(), liars.push("improves", ""));
    assert!(finished.is_success(), "{finished}");
    let (honest, improved) = (liars.set(&honest), liars.set(&liars.site.backups()[1]));
    for key in ["atomic", "isolated"] {
        assert_eq!(improved[key], honest[key], "{key}: {improved}");
    }
    assert_eq!(improved["labels"]["stillframe-catalog"], honest["labels"]["stillframe-catalog"], "{improved}");
    assert!(improved["cut_begin"].as_str() > honest["cut_begin"].as_str(), "{improved}");
}

#[test]
fn what_does_not_tell_of_its_set_is_not_restored_and_costs_nothing() {
    let liars = Liars::start();
    let name = liars.backup();
    for (lie, code, words) in [
        ("vanishes", 4, "`liar`"),
        ("says-it-is-gone", 4, "`liar`"),
        ("changes-the-token", 4, "`liar`"),
        ("fails-in-colour", 4, "\\u{1b}[2J"),
        ("never-ready", 5, "ready"),
    ] {
        let finished = liars.fetch(&liars.telling(lie, ""), &name, "new", "new-ts");
        assert_error(&finished, code, words);
        assert!(finished.stderr.contains("hint:"), "{finished}");
        assert!(!liars.site.place("new").exists() && !liars.site.place("new-ts").exists(), "{lie}");
    }
    let restores = fs::read_dir(liars.site.place("store/main/restores_001")).map_or(0, Iterator::count);
    assert_eq!(restores, 0, "no restore is recorded");
    assert_eq!(liars.site.backups(), [name.as_str()]);
    liars.assert_restorable(&name);
}
