//! A provider that dies, never ends, or answers what the interface forbids: one clear error, no backup mode left behind, nothing
//! published.

use stillframe_tests::{Finished, Site, tested_major};

use crate::guests::{provider_that, push};

/// One error that names the provider and says these words, with this code; no backup mode, no sentinel, no snapshot.
#[track_caller]
pub(crate) fn assert_failed(site: &Site, finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code(), Some(code), "{words:?}: {finished}");
    let errors: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{finished}");
    assert!(errors[0].contains("provider `hostile` cannot "), "{finished}");
    for word in words {
        assert!(errors[0].contains(word), "`{word}` is missing: {finished}");
    }
    let noise = ["RUST_BACKTRACE", "stillframe::", "note: run with", "\u{1b}"];
    let found = noise.iter().find(|noise| finished.stderr.contains(**noise));
    assert_eq!(found, None, "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
    site.wait_until_no_session_is_left();
    assert!(site.backups().is_empty(), "there is a sentinel after {finished}");
    assert!(site.snapshots().is_empty(), "there is a snapshot after {finished}");
}

/// The same for misbehaviour in `create`, where backup mode had begun; what the provider had cut is undone by its token.
#[track_caller]
fn assert_cut_fails(site: &Site, behaviour: &str, code: i32, words: &[&str]) {
    let finished = push(&provider_that(site, behaviour, "create"));
    assert!(finished.stderr.contains("entering backup mode"), "{behaviour}: {finished}");
    let mut all = vec!["create the snapshot set"];
    all.extend(words);
    assert_failed(site, &finished, code, &all);
    assert!(site.intents().is_empty(), "{behaviour}: the provider said that it deleted the set, so the intent goes: {finished}");
}

#[test]
fn a_provider_that_does_not_return_is_stopped_at_its_deadline_and_backup_mode_ends() {
    let site = Site::start(tested_major());
    for behaviour in ["loop", "host-call-loop", "short-sleep-loop", "sleep"] {
        assert_cut_fails(&site, behaviour, 5, &["it exceeded its deadline of 3 s and was stopped"]);
    }
    site.backup(&[]);
}

#[test]
fn a_provider_that_dies_is_reported_with_its_last_words_and_backup_mode_ends() {
    let site = Site::start(tested_major());
    for (behaviour, words) in [
        ("memory-bomb", "after it wanted more than its memory limit"),
        ("trap", "it was stopped: wasm trap"),
        ("recursion", "it was stopped: wasm trap"),
        ("panic", "no luck\\u{1b}[31m today"),
        ("exit", "it tried to exit the process"),
    ] {
        assert_cut_fails(&site, behaviour, 7, &[words]);
    }
    site.backup(&[]);
}

#[test]
fn an_answer_that_is_too_large_or_breaks_the_interface_is_refused_and_backup_mode_ends() {
    let site = Site::start(tested_major());
    for (behaviour, words) in [
        ("huge-handle", "too much data is being copied"),
        ("long-handle", "the handle has 1025 bytes, and 1024 are allowed"),
        ("control-handle", "contains control characters"),
        ("other-token", "with the token `other`"),
        ("not-cut", "before the point in time of `vol-data` was fixed"),
        ("forgets-a-member", "no member is the snapshot of the volume `vol-data`"),
        ("loses-a-label", "does not keep the label `stillframe-"),
        ("backwards", "the cut ends before it begins"),
    ] {
        assert_cut_fails(&site, behaviour, 7, &[words]);
    }
    for (behaviour, code, words) in
        [("fail-exhausted", 5, "no room is left: the pool `tank`"), ("fail-invalid", 3, "`key` is invalid")]
    {
        assert_cut_fails(&site, behaviour, code, &[words]);
    }
    site.backup(&[]);
}

#[test]
fn misbehaviour_before_the_cut_never_enters_backup_mode() {
    let site = Site::start(tested_major());
    for (behaviour, function, code, words) in [
        ("loop", "check", 5, "check its configuration: it exceeded its deadline of 3 s"),
        ("panic", "check", 7, "check its configuration: it was stopped"),
        ("many-values", "check", 7, "too much data is being copied"),
        ("trap", "resolve", 7, "map the data paths to volumes: it was stopped"),
        ("forgets-a-path", "resolve", 7, "map the data paths to volumes"),
        ("invents-a-path", "resolve", 7, "the path `tablespace-666`"),
    ] {
        let finished = push(&provider_that(&site, behaviour, function));
        assert!(!finished.stderr.contains("entering backup mode"), "{behaviour}: {finished}");
        assert_failed(&site, &finished, code, &[words]);
        assert!(site.intents().is_empty(), "{behaviour}: {finished}");
    }
}
