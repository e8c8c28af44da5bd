//! What a provider says to people: never more than words, wherever it says them.

use stillframe_tests::Stillframe;

use crate::guests::{Liars, assert_error, assert_printable, json, patched, push_by};

/// As long as `summary-of-the-liar`: clears the screen, writes to the clipboard, and turns the direction.
const SUMMARY: &[u8] = b"\x1b[2J\x1b]52;c;\x07\xe2\x80\xae\xc2\x9b1m";

#[test]
fn words_of_a_call_that_succeeds_are_written_out_and_never_reach_the_result() {
    let liars = Liars::start();
    for lie in ["talks", "warns", "decorates"] {
        for arguments in [&["snapshot-push", "--provider", "liar"][..], &["--json", "snapshot-push", "--provider", "liar"]] {
            let finished = liars.telling(lie, "").run(arguments);
            assert!(finished.is_success(), "{lie}: {finished}");
            assert_printable(&finished);
            let result =
                if arguments[0] == "--json" { finished.json()["backup_name"].clone() } else { finished.stdout.trim().into() };
            assert_eq!(result.as_str(), liars.site.backups().last().map(String::as_str), "{lie}: {finished}");
            assert!(lie == "decorates" || finished.stderr.contains("\\u{1b}[2J"), "{lie}: {finished}");
        }
    }
    let newest = liars.site.backups().pop().unwrap();
    for arguments in [&["backup-show", &newest][..], &["--json", "backup-show", &newest]] {
        assert_printable(&liars.site.stillframe.succeed(arguments));
    }
    let finished = liars.telling("talks", "").run(["snapshot-push", "--provider", "liar", "--progress", "json"]);
    assert!(finished.is_success(), "{finished}");
    assert_printable(&finished);
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(finished.stderr.lines().all(is_json), "each event is one document: {finished}");
}

#[test]
fn a_flood_of_words_is_cut_and_the_backup_is_taken() {
    let liars = Liars::start();
    let finished = liars.push("floods", "");
    assert!(finished.is_success(), "{finished}");
    assert_printable(&finished);
    assert!(finished.stderr.len() < 1 << 20 && finished.stderr.contains("the rest is dropped"), "{} bytes", finished.stderr.len());
}

#[test]
fn the_words_of_an_error_are_written_out_and_hold_nothing_that_is_the_hosts() {
    let liars = Liars::start();
    let secret = "an-operators-secret";
    let stillframe = liars.telling("fails-with-words", "none").env("PGPASSWORD", secret);
    for arguments in [&["snapshot-push", "--provider", "liar"][..], &["--json", "snapshot-push", "--provider", "liar"]] {
        let finished = stillframe.run(arguments);
        assert_error(&finished, 7, "internal error of the provider: \\u{1b}[2J");
        assert!(finished.stderr.contains("hint:") && !finished.says(secret), "{finished}");
        if arguments[0] == "--json" {
            assert_eq!(finished.json()["error"]["class"], "internal", "{finished}");
        }
    }
    liars.assert_push_fails("fails-with-words", "none", 7, "the password is none");
}

#[test]
fn what_a_component_says_about_itself_is_shown_without_harm() {
    let liars = Liars::start();
    let inspected = |bytes: &[u8]| -> Vec<String> {
        let stillframe: Stillframe = liars.with_component(bytes);
        [&["provider", "inspect", "liar"][..], &["--json", "provider", "inspect", "liar"]]
            .iter()
            .map(|arguments| {
                let finished = stillframe.succeed(*arguments);
                assert_printable(&finished);
                if arguments[0] == "--json" {
                    json(&stillframe, &arguments[1..]);
                }
                finished.stdout
            })
            .collect()
    };
    let shown = inspected(&patched("liar", b"summary-of-the-liar", SUMMARY));
    assert!(shown.iter().all(|text| text.contains("u{1b}[2J") && text.contains("u{202e}")), "{shown:?}");
    for (text, replacement, words) in [
        (&b"6.6.6-version"[..], &b"6.6.6\x1b[2Jsion"[..], "its version"),
        (b"title-of-a-lie", b"title\xc2\x9b31m\xe2\x80\xaee", "its schema contains control characters"),
        (b"\"properties\":{\"lie\":{", b"\"properties\":[[[[[[[[", "its schema is not a JSON object"),
        (b"summary-of-the-liar", b"summary\xff\xfe\xfd-the-liar", "utf-8"),
    ] {
        let shown = inspected(&patched("liar", text, replacement));
        assert!(shown.iter().all(|shown| shown.contains(words)), "`{words}`: {shown:?}");
    }
    // And it goes on to work, whatever it says.
    let finished = push_by(&liars.with_component(&patched("liar", b"summary-of-the-liar", SUMMARY)));
    assert!(finished.is_success(), "{finished}");
    assert_printable(&finished);
}
