//! A backup of a real server with a provider that misbehaves: one clear error, no backup mode left behind, nothing published.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stillframe_tests::{Account, ConfigFile, Finished, Site, Stillframe};

/// What an attack gets that would never end: enough for the calls before it on a busy machine.
const DEADLINE_SECS: i64 = 3;
/// Any digest but the right one.
const WRONG_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hostile component: one of the components that are built already, or else built now.
fn hostile() -> PathBuf {
    const FILE: &str = "stillframe_guest_hostile.wasm";
    if let Some(built) = std::env::var_os("STILLFRAME_COMPONENTS") {
        return Path::new(&built).join(FILE);
    }
    // A target directory of its own: the build of this test may hold the lock of the other one.
    let guests = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("guests");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2", "-p", "stillframe-guest-hostile"])
        .arg("--target-dir")
        .arg(&guests)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the hostile component cannot be built: {built}");
    guests.join("wasm32-wasip2/plugin").join(FILE)
}

/// A component's file where the unprivileged user can read it.
fn installed(site: &Site, bytes: &[u8]) -> PathBuf {
    let file = site.place("provider.wasm");
    Account::unprivileged().write(&file, bytes);
    file
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// The section of the provider `hostile` with a component, its digest and the grant that it wants.
fn section(config: ConfigFile, component: &Path) -> ConfigFile {
    config
        .value("provider.hostile", "component", component.display().to_string())
        .value("provider.hostile", "sha256", sha256(component))
        .value("provider.hostile", "deadline_secs", DEADLINE_SECS)
        .value("provider.hostile.grants.tree", "read_data", false)
}

/// The binary with a provider that does this in that function.
fn provider_that(site: &Site, behaviour: &str, function: &str) -> Stillframe {
    let component = installed(site, &fs::read(hostile()).unwrap());
    site.configured(|config| {
        section(config, &component).value("provider.hostile", "do", behaviour).value("provider.hostile", "in", function)
    })
}

fn push(stillframe: &Stillframe) -> Finished {
    stillframe.run(["snapshot-push", "--provider", "hostile"])
}

/// One error that names the provider and says these words, with this code; no backup mode, no sentinel, no snapshot.
#[track_caller]
fn assert_failed(site: &Site, finished: &Finished, code: i32, words: &[&str]) {
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
    let site = Site::start(15);
    for behaviour in ["loop", "host-call-loop", "short-sleep-loop", "sleep"] {
        assert_cut_fails(&site, behaviour, 5, &["it exceeded its deadline of 3 s and was stopped"]);
    }
    site.backup(&[]);
}

#[test]
fn a_provider_that_dies_is_reported_with_its_last_words_and_backup_mode_ends() {
    let site = Site::start(15);
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
    let site = Site::start(15);
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
    let site = Site::start(15);
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

/// The archive is away, so that a push whose cut was good fails after it; then its provider fails to undo it.
#[test]
fn a_provider_that_fails_to_undo_leaves_the_intent_and_the_error_says_so() {
    let site = Site::builder(15).value("backup", "archive_timeout_secs", 1).start();
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
    let site = Site::builder(15).value("backup", "archive_timeout_secs", 1).start();
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

#[test]
fn what_cannot_be_loaded_is_refused_before_anything_begins() {
    let site = Site::start(15);
    let component = fs::read(hostile()).unwrap();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let export =
        |version: &str| format!(r#"(instance $provider) (export "stillframe:provider/provider@{version}" (instance $provider))"#);
    let cases = [
        ("no component", b"#!/bin/sh\nexit 0\n".to_vec(), "it is not a WebAssembly component"),
        ("a core module", wat("(module)"), "it is a core module; build it for `wasm32-wasip2`"),
        ("half of a component", component[..component.len() / 2].to_vec(), "it cannot be compiled"),
        (
            "no export",
            wat(r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#),
            "but not `stillframe:provider/provider@1`",
        ),
        ("an empty export", wat(&format!("(component {})", export("1.0.0"))), "it does not fit the interface"),
        ("another major version", wat(&format!("(component {})", export("2.0.0"))), "this host speaks version 1"),
        (
            "a foreign import",
            wat(&format!(r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)) {})"#, export("1.0.0"))),
            "it imports `wasi:http/outgoing-handler@0.2.0`, which this host does not provide",
        ),
        (
            "a capability of a later version",
            wat(&format!(r#"(component (import "stillframe:provider/aws@1.0.0" (instance)) {})"#, export("1.0.0"))),
            "it needs the capability `aws`",
        ),
    ];
    for (what, bytes, words) in cases {
        let file = installed(&site, &bytes);
        let stillframe = site.configured(|config| section(config, &file));
        assert_refused(&site, what, &stillframe, words);
    }
}

#[test]
fn a_component_without_its_grant_or_with_another_digest_is_refused_before_anything_begins() {
    let site = Site::start(15);
    let file = installed(&site, &fs::read(hostile()).unwrap());
    let path = file.display().to_string();
    let own = |config: ConfigFile, sha256: &str| {
        config.value("provider.hostile", "component", path.as_str()).value("provider.hostile", "sha256", sha256)
    };
    let ungranted = site.configured(|config| own(config, &sha256(&file)));
    assert_refused(&site, "no grants", &ungranted, "it needs the capability `tree`, which the configuration does not grant");
    let other = site.configured(|config| section(config, &file).value("provider.hostile", "sha256", WRONG_SHA256));
    assert_refused(&site, "another digest", &other, &format!("has the SHA-256 `{}`, but the configuration pins", sha256(&file)));
    let unpinned = site.configured(|config| {
        config.value("provider.hostile", "component", path.as_str()).value("provider.hostile.grants.tree", "read_data", false)
    });
    assert_refused(&site, "no digest", &unpinned, "pins none");
    let absent = site.configured(|config| section(config, &file).value("provider.hostile", "component", "/nonexistent.wasm"));
    assert_refused(&site, "no file", &absent, "`/nonexistent.wasm` cannot be read");
}

#[track_caller]
fn assert_refused(site: &Site, what: &str, stillframe: &Stillframe, words: &str) {
    let before = site.everything();
    let finished = push(stillframe);
    assert!(!finished.stderr.contains("entering backup mode"), "{what}: {finished}");
    assert_failed(site, &finished, 3, &["be loaded", words]);
    assert_eq!(site.everything(), before, "{what}: not even an intent");
}
