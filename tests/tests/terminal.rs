//! What a person sees on a terminal, and a file or a pipe does not.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use stillframe_tests::{Account, Site, Terminal, tested_major};

const PUSH: &str = "snapshot-push --provider hardlink";
/// The bar of the step at which the gate stops a backup; the log says it in other words.
const BAR: &str = "waiting for the archive";

/// Back to the first column, and nothing behind it.
const WIPE: &str = "\r\u{1b}[K";

/// A closed gate before the archive: a backup waits for its WAL until it is opened.
struct Gate(PathBuf);

impl Gate {
    fn close(site: &Site) -> Self {
        let gate = site.place("gate");
        Account::unprivileged().write(&gate, "");
        // It ends with the directory as well, should the test.
        let command =
            format!("while test -e {}; do sleep 0.05; done; {}", gate.display(), site.stillframe.command_line("wal-push %p"));
        site.cluster.append_setting("archive_command", &command);
        site.cluster.reload();
        site.cluster.wait_until("SELECT current_setting('archive_command') LIKE 'while test%'");
        Self(gate)
    }

    fn open(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// Takes a backup that has to wait for a second or two; gives what is on the screen then, and everything that was written.
#[track_caller]
fn backup_on_a_terminal(site: &Site, columns: usize, variables: &str, sign_of_waiting: &[&str]) -> (Vec<String>, String) {
    let gate = Gate::close(site);
    let mut terminal = Terminal::run(&site.stillframe, PUSH, columns, variables);
    for sign in sign_of_waiting {
        terminal.wait_for(sign);
    }
    gate.open();
    let (status, screen, written) = terminal.end();
    assert!(status.success(), "{written}");
    (screen, written)
}

/// The last rows are the name of the backup and the empty one below it, and nothing of a bar is left.
#[track_caller]
fn assert_clean(site: &Site, screen: &[String]) {
    let newest = site.backups().pop().unwrap();
    assert_eq!(screen[screen.len() - 2..], [newest, String::new()], "{screen:#?}");
    let left: Vec<_> = screen.iter().filter(|row| row.starts_with(BAR) || row.starts_with("cutting")).collect();
    assert!(left.is_empty(), "{left:?} in {screen:#?}");
}

#[test]
fn the_bar_goes_on_while_nothing_happens_and_leaves_nothing_behind() {
    let site = Site::start(tested_major());
    let (screen, written) = backup_on_a_terminal(&site, 100, "", &["cutting  hardlink", BAR, "  1 s", "  2 s"]);
    assert_clean(&site, &screen);
    assert!(screen.iter().any(|row| row.contains("INFO published")), "{screen:#?}");
    // The log has its colours.
    assert!(written.contains("\u{1b}[32m INFO\u{1b}[0m"), "{written}");
}

#[test]
fn a_bar_on_a_narrow_terminal_never_wraps() {
    let site = Site::start(tested_major());
    let (screen, written) = backup_on_a_terminal(&site, 40, "", &[BAR, "  1 s"]);
    assert_clean(&site, &screen);
    let bars: Vec<&str> = written.split(WIPE).filter(|drawn| drawn.starts_with(BAR)).collect();
    assert!(!bars.is_empty() && bars.iter().all(|drawn| drawn.chars().count() < 40), "{bars:?}");
}

#[test]
fn ctrl_c_wipes_the_bar_away_and_says_what_was_undone() {
    let site = Site::start(tested_major());
    let gate = Gate::close(&site);
    let mut terminal = Terminal::run(&site.stillframe, PUSH, 100, "");
    terminal.wait_for(BAR).interrupt();
    let (status, screen, written) = terminal.end();
    assert_eq!(status.code(), Some(5), "{written}");
    assert_eq!(screen[screen.len() - 2..], ["error: interrupted", ""], "{screen:#?}");
    assert!(screen.iter().any(|row| row.contains("WARN interrupted: undoing")), "{screen:#?}");
    assert!(!screen.iter().any(|row| row.contains(BAR) || row.starts_with("undoing")), "{screen:#?}");
    assert!(written.contains(&format!("{WIPE}undoing")), "what goes on then is shown as well: {written}");
    gate.open();
    assert!(site.backups().is_empty() && site.intents().is_empty() && site.snapshots().is_empty());
}

#[test]
fn a_terminal_that_understands_no_escapes_gets_plain_lines() {
    let site = Site::start(tested_major());
    let (screen, written) = backup_on_a_terminal(&site, 100, "TERM=dumb", &["in the archive"]);
    assert!(!written.contains('\u{1b}'), "{written}");
    assert!(screen.iter().any(|row| row.contains("INFO published")), "{screen:#?}");
    assert_clean(&site, &screen);
}

#[test]
fn without_colour_the_bar_stays() {
    let site = Site::start(tested_major());
    let (screen, written) = backup_on_a_terminal(&site, 100, "NO_COLOR=1", &[BAR, "  1 s"]);
    assert_clean(&site, &screen);
    assert!(!written.replace(WIPE, "").contains('\u{1b}'), "{written}");
}

#[test]
fn a_pipe_gets_plain_lines_and_no_bar() {
    let site = Site::start(tested_major());
    let piped = site.stillframe.succeed(PUSH.split(' '));
    assert!(piped.says("published") && !piped.says("\u{1b}") && !piped.says("\r"), "{piped}");
}

#[test]
fn progress_as_json_is_nothing_but_lines_of_json() {
    let site = Site::start(tested_major());
    let finished = site.stillframe.succeed(PUSH.split(' ').chain(["--progress", "json"]));
    let events: Vec<Value> = finished.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().all(|event| event["format_version"] == 1 && event["event"].is_string()), "{finished}");
    let phases: BTreeSet<&str> = events.iter().filter_map(|event| event["phase"].as_str()).collect();
    assert!(phases.is_superset(&BTreeSet::from(["cut", "archive"])), "{phases:?}");
    let cutting = events.iter().find(|event| event["message"] == "cutting").unwrap();
    assert_eq!((&cutting["event"], &cutting["fields"]["provider"]), (&Value::from("log"), &Value::from("hardlink")));
    assert!(events.iter().any(|event| event["event"] == "provider" && event["provider"] == "hardlink"), "{finished}");
    // A failure is the last line.
    let refused = site.stillframe.run(["snapshot-fetch", "/proc/1", "LATEST", "--progress", "json"]);
    let last: Value = serde_json::from_str(refused.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "error", "{refused}");
}
