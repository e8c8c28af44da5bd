//! Following a page can fail: what would make the other tests worthless is found.

use std::collections::BTreeMap;
use std::fs;

use stillframe_tests::{Account, Page, Reader, Report, ScratchDirectory, Shell};

/// Follows a page with the shell of an ordinary user.
fn follow(text: &str) -> Result<Report, String> {
    let page = Page::parse("a page", text)?;
    let scratch = ScratchDirectory::create();
    let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    let shell = Shell::open(Some(Account::unprivileged()), scratch.path(), &variables, scratch.path());
    Reader::new(BTreeMap::from([('$', shell)]), scratch.path()).follow(&page)
}

#[track_caller]
fn assert_complains(text: &str, about: &str) {
    let error = follow(text).expect_err("it is wrong");
    assert!(error.contains(about), "{error}");
}

#[test]
fn a_page_that_is_true_is_followed() {
    let text = "# A\n\n```console\n$ A=1\n$ echo \"$A\" \\\n    2\n1 2\n$ printf 'a\\nb\\nc\\n'\n…\nc\n```\n\n```json\n{}\n```\n";
    assert_eq!(follow(text).unwrap(), Report { commands: 3, compared: 2, others: 1 });
}

#[test]
fn another_output_than_shown_is_found() {
    for shown in ["1\n", "2\n1\n", "2\n2\n", "…2 …\n"] {
        assert_complains(&format!("```console\n$ echo 2\n{shown}```\n"), "other than is shown");
    }
    follow("```console\n$ echo 2\n2\n```\n").unwrap();
}

#[test]
fn an_unknown_command_and_a_failure_are_found() {
    assert_complains("```console\n$ stilframe check\n```\n", "ended with 127");
    assert_complains("```console\n$ false\n$ true\n```\n", "ended with 1");
    assert_complains("```console,exit=1\n$ true\n```\n", "ended with 0, not 1");
    follow("```console,exit=1\n$ true\n$ false\n```\n").unwrap();
}

#[test]
fn a_fence_that_is_never_closed_is_found() {
    for text in ["```console\n$ true\n", "```console\n$ true\n``\n", "~~~console\n$ true\n```\n"] {
        assert_complains(text, "never closed");
    }
}

#[test]
fn what_nobody_would_check_is_found() {
    assert_complains("```sh\nfalse\n```\n", "no language");
    assert_complains("```\n$ false\n```\n", "no language");
    assert_complains("    $ false\n", "indented");
    assert_complains("```console\nfalse\n```\n", "begins with a prompt");
    assert_complains("```text\n$ false\n```\n", "a command in a block of text");
    assert_complains("```console\n```\n", "empty");
    assert_complains("```console,no-run\n$ false\n```\n", "says nothing");
    assert_complains("```console,not-run\n$ false\n```\n", "without `<!--");
    assert_complains("<!-- wrld: none -->\n", "unknown comment");
    assert_complains("```console\n# true\n```\n", "nobody has the prompt");
    assert_complains("```json\n{,}\n```\n", "key");
    assert_complains("```rust,source=tests/Cargo.toml\nfn nothing() {}\n```\n", "has not got these lines");
}

#[test]
fn what_stands_for_another_thing_stands_for_it_to_the_end() {
    let scratch = ScratchDirectory::create();
    let file = scratch.join("names");
    fs::write(&file, "sf-20200101T000000Z-aaaaaaaa\nsf-20200102T000000Z-bbbbbbbb\n").unwrap();
    Account::unprivileged().own(&file);
    let cat = format!("$ cat {}", file.display());
    let (one, two) = ("sf-20261121T083214Z-9k3m2p7x", "sf-20261122T083214Z-7k3m2p7x");
    follow(&format!("```console\n{cat}\n{one}\n{two}\n$ echo {two}\nsf-20200102T000000Z-bbbbbbbb\n```\n")).unwrap();
    follow(&format!("```console\n{cat}\n{one}\n{two}\n$ echo {one}\n{one}\n```\n")).unwrap();
    assert_complains(&format!("```console\n{cat}\n{one}\n{one}\n```\n"), "other than is shown");
    assert_complains(&format!("```console\n{cat}\n{one}\n{two}\n$ echo {one}\n{two}\n```\n"), "other than is shown");
}

#[test]
fn sizes_and_durations_are_compared_by_their_form() {
    follow("```console\n$ echo took 12.5 s for 3 MiB\ntook 0.8 s for 16.0 GiB\n```\n").unwrap();
    assert_complains("```console\n$ echo took 12.5 s\ntook 3 MiB\n```\n", "other than is shown");
    assert_complains("```console\n$ echo 12 backups\n13 backups\n```\n", "other than is shown");
}
