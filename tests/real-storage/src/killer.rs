//! Kills the binary at a moment that the test chooses: when its provider runs a certain program as root.
//!
//! A script stands in the place of `sudo`. Whoever called it is killed before the program runs, which then runs on its own as the
//! orphan of a killed host does, or when it has run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use stillframe_tests::{Account, Finished, Stillframe, set_mode};

use crate::is_guest;

const SCRIPT: &str = "/usr/sbin/sudo-and-kill";
const DIRECTORY: &str = "/run/sudo-and-kill";

/// Longest wait for a program that was left alone.
const DEADLINE: Duration = Duration::from_mins(1);

/// When the binary is killed; the program is told by a pattern of the shell that its command line contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As the program begins, which goes on alone.
    Within(&'static str),
    /// As soon as the program has ended.
    After(&'static str),
}

/// The script; a provider's `command_prefix` has to name it.
#[derive(Debug)]
pub struct Killer;

impl Killer {
    /// Writes the script.
    pub fn install() -> Self {
        assert!(is_guest(), "this machine's own programs stay as they are");
        Account::unprivileged().create_directory(Path::new(DIRECTORY));
        fs::write(SCRIPT, script()).unwrap();
        set_mode(Path::new(SCRIPT), 0o755);
        Self
    }

    /// What runs the provider's programs.
    pub fn prefix(&self) -> Vec<&'static str> {
        vec![SCRIPT]
    }

    /// Runs the binary until it is killed, and waits for the program that was left alone.
    #[track_caller]
    pub fn kill(&self, moment: Moment, stillframe: &Stillframe, arguments: &[&str]) -> Finished {
        let (word, pattern) = match moment {
            Moment::Within(pattern) => ("within", pattern),
            Moment::After(pattern) => ("after", pattern),
        };
        let done = Path::new(DIRECTORY).join("done");
        let _none_yet = fs::remove_file(&done);
        Account::unprivileged().write(&Path::new(DIRECTORY).join("moment"), format!("{word} {pattern}"));
        eprintln!("killing at {moment:?}");
        let killed = stillframe.run(arguments);
        assert_eq!(killed.code(), None, "{moment:?}: it was not killed: {killed}");
        let begun = Instant::now();
        while !done.exists() {
            assert!(begun.elapsed() < DEADLINE, "{moment:?}: the program goes on and on");
            std::thread::sleep(Duration::from_millis(10));
        }
        killed
    }

    /// Every command line so far that contains the text.
    pub fn seen(&self, text: &str) -> Vec<String> {
        let log = fs::read_to_string(Path::new(DIRECTORY).join("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

fn script() -> String {
    format!(
        "#!/bin/sh
cd {DIRECTORY}
echo \"$*\" >>log
moment=$(cat moment 2>/dev/null)
case \"$*\" in
*${{moment#* }}*) [ -n \"$moment\" ] || exec /usr/bin/sudo -n \"$@\" ;;
*) exec /usr/bin/sudo -n \"$@\" ;;
esac
rm moment
case $moment in
within*) kill -KILL $PPID && /usr/bin/sudo -n \"$@\" ;;
after*) /usr/bin/sudo -n \"$@\"; kill -KILL $PPID ;;
esac
echo >done
"
    )
}
