use std::time::{Duration, Instant};

use super::{Ended, Finished, Run, Status};
use crate::tree::StopFlag;

/// Longer than any of these programs needs.
const LONG: Duration = Duration::from_mins(1);

fn shell(script: &str) -> Run {
    Run {
        words: ["/bin/sh", "-c", script].map(ToOwned::to_owned).into(),
        stdin: None,
        max_output_bytes: 1 << 10,
        deadline: Instant::now() + LONG,
    }
}

#[track_caller]
fn finished(run: Run) -> Finished {
    match run.complete(&StopFlag::default()) {
        Ended::Finished(finished) => finished,
        other => panic!("{other:?}"),
    }
}

/// Whether a process of this id lives; one that was killed and belongs to nobody is not waited for.
fn is_alive(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn tells_code_and_output() {
    let finished = finished(shell("echo out; echo err >&2; exit 3"));
    assert_eq!(finished.status, Status::Code(3));
    assert_eq!((finished.stdout.text().as_str(), finished.stderr.text().as_str()), ("out\n", "err\n"));
    assert!(!finished.stdout.is_cut() && !finished.stderr.is_cut());
}

#[test]
fn tells_a_signal() {
    assert_eq!(finished(shell("kill -9 $$")).status, Status::Signal(9));
}

#[test]
fn sees_nothing_of_our_environment_and_stands_at_the_root_in_a_group_of_its_own() {
    let mut run = shell("");
    run.words = vec!["/usr/bin/env".to_owned()];
    assert_eq!(finished(run).stdout.text(), "LC_ALL=C\n");
    let finished = finished(shell(
        "pwd; echo $$; read -r a b c d group rest < /proc/$$/stat; echo $group; cat; ls -l /proc/$$/fd | grep -c tmp",
    ));
    let text = finished.stdout.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "/");
    assert_eq!(lines[1], lines[2], "it leads its group");
    assert_eq!(lines[3], "0", "nothing of ours is open: {text}");
}

#[test]
fn reads_what_it_is_given_and_nothing_else() {
    let mut run = shell("cat");
    run.stdin = Some("words ".repeat(100));
    assert_eq!(finished(run).stdout.text(), "words ".repeat(100));
    assert_eq!(finished(shell("cat")).stdout.text(), "");
    // More than a pipe holds, to a program that does not read it.
    let mut run = shell("exit 0");
    run.stdin = Some("x".repeat(4 << 20));
    assert_eq!(finished(run).status, Status::Code(0));
}

#[test]
fn cuts_a_long_output_and_lets_the_program_end() {
    let finished = finished(shell("head -c 100000000 /dev/zero | tr '\\0' x; echo done >&2"));
    assert_eq!(finished.status, Status::Code(0));
    assert_eq!((finished.stdout.text().len(), finished.stderr.text().as_str()), (1 << 10, "done\n"));
    assert!(finished.stdout.is_cut() && !finished.stderr.is_cut());
}

#[test]
fn replaces_what_is_not_text() {
    assert_eq!(finished(shell("printf 'a\\377b'")).stdout.text(), "a\u{fffd}b");
}

#[test]
fn does_not_wait_for_a_child_that_keeps_the_output_open() {
    let begin = Instant::now();
    let finished = finished(shell("sleep 300 & echo $!"));
    assert!(begin.elapsed() < LONG / 2);
    let child = finished.stdout.text();
    assert!(is_alive(&child), "it may be a daemon, and is left alone");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn a_program_without_end_is_ended_at_its_deadline() {
    let place = tempfile::tempdir().unwrap();
    let told = place.path().join("told");
    let script = format!("trap 'echo ended > {}; exit 0' TERM; while :; do echo x; done", told.display());
    let run = Run { deadline: Instant::now() + Duration::from_millis(300), ..shell(&script) };
    assert!(matches!(run.complete(&StopFlag::default()), Ended::TimedOut));
    assert_eq!(std::fs::read_to_string(told).unwrap(), "ended\n", "it was asked, and could tidy up");
}

#[test]
fn a_program_can_speak_while_it_tidies_up() {
    let place = tempfile::tempdir().unwrap();
    let tidied = place.path().join("tidied");
    let script = format!("trap 'head -c 1000000 /dev/zero; echo > {}; exit' TERM; while :; do sleep 0.1; done", tidied.display());
    let run = Run { deadline: Instant::now() + Duration::from_millis(300), ..shell(&script) };
    assert!(matches!(run.complete(&StopFlag::default()), Ended::TimedOut));
    assert!(tidied.exists(), "neither a closed nor a full pipe has stopped it");
}

#[test]
fn a_program_that_has_stopped_is_continued_so_that_it_can_tidy_up() {
    let place = tempfile::tempdir().unwrap();
    let tidied = place.path().join("tidied");
    let script = format!("trap 'echo > {}; exit' TERM; kill -STOP $$; sleep 300", tidied.display());
    let run = Run { deadline: Instant::now() + Duration::from_millis(300), ..shell(&script) };
    assert!(matches!(run.complete(&StopFlag::default()), Ended::TimedOut));
    assert!(tidied.exists(), "it was killed without having been asked");
}

#[test]
fn a_program_that_ignores_the_signal_is_killed_with_its_children() {
    let place = tempfile::tempdir().unwrap();
    let ids = place.path().join("ids");
    let script = format!("trap '' TERM; sleep 300 & echo $$ $! > {}; while :; do sleep 1; done", ids.display());
    let run = Run { deadline: Instant::now() + Duration::from_millis(500), ..shell(&script) };
    let begin = Instant::now();
    assert!(matches!(run.complete(&StopFlag::default()), Ended::TimedOut));
    assert!(begin.elapsed() >= super::GRACE, "not at once");
    let ids = std::fs::read_to_string(ids).unwrap();
    assert!(ids.split_whitespace().all(|id| !is_alive(id)), "{ids}");
}

#[test]
fn what_is_left_of_the_group_is_ended_too() {
    let place = tempfile::tempdir().unwrap();
    let ids = place.path().join("ids");
    let script = format!("sleep 300 & echo $! > {}; wait", ids.display());
    let run = Run { deadline: Instant::now() + Duration::from_millis(300), ..shell(&script) };
    assert!(matches!(run.complete(&StopFlag::default()), Ended::TimedOut));
    assert!(!is_alive(&std::fs::read_to_string(ids).unwrap()));
}

#[test]
fn a_call_that_was_dropped_ends_its_program() {
    let stop = StopFlag::default();
    let running = std::thread::spawn({
        let stop = stop.clone();
        move || shell("while :; do sleep 1; done").complete(&stop)
    });
    stop.stop();
    assert!(matches!(running.join().unwrap(), Ended::TimedOut));
}

#[test]
fn nothing_is_started_when_no_time_is_left() {
    let place = tempfile::tempdir().unwrap();
    let touched = place.path().join("touched");
    let run = Run { deadline: Instant::now(), ..shell(&format!("touch {}", touched.display())) };
    assert!(matches!(run.complete(&StopFlag::default()), Ended::TimedOut));
    assert!(!touched.exists());
}

#[test]
fn what_cannot_be_started_is_a_failure() {
    let run = Run { words: vec!["/nonexistent".to_owned()], ..shell("") };
    assert!(matches!(run.complete(&StopFlag::default()), Ended::Failed(_)));
}
