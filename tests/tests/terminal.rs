//! What a person sees on a terminal, and a file or a pipe does not.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::process::{Command, Stdio};

use stillframe_tests::{Account, Site};

/// What the program shows on a terminal of its own.
#[track_caller]
fn on_a_terminal(site: &Site, arguments: &str) -> String {
    let line = site.stillframe.command_line(arguments);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null()).current_dir("/");
    // As the server's user, whose connection needs no password.
    let output = Account::unprivileged().run_as(&mut script).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run script: {error}: it comes with the package bsdutils"));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {}\n{shown}", output.status);
    shown
}

#[test]
fn the_log_of_a_backup_is_coloured_on_a_terminal_and_plain_in_a_pipe() {
    let site = Site::start(15);
    let shown = on_a_terminal(&site, "snapshot-push --provider hardlink");
    assert!(shown.contains("\u{1b}[") && shown.contains("published"), "{shown}");
    assert!(!shown.contains("panicked") && !shown.contains("feature"), "{shown}");
    let piped = site.stillframe.succeed(["snapshot-push", "--provider", "hardlink"]);
    assert!(piped.says("published") && !piped.says("\u{1b}["), "{piped}");
}
