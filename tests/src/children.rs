//! Starts processes that must not outlive the test process.
//!
//! The kernel sends the parent-death signal when the *thread* that forked ends, so a server started from a test's own thread, or
//! from a blocking thread of tokio, would die too early. One thread that never ends starts them all.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

type Order = (Command, Sender<io::Result<Child>>);

/// A command that gets the signal (`QUIT`, `KILL`, ...) when the test process dies, in whatever way.
pub fn bound_command(program: impl AsRef<OsStr>, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// Starts the command from the thread that never ends.
pub fn spawn(command: Command) -> Child {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _nobody_waits = answer.send(command.spawn());
            }
        });
        sender
    });
    let program = format!("{command:?}");
    let (answer, outcome) = mpsc::channel();
    starter.send((command, answer)).expect("the starting thread never ends");
    let child = outcome.recv().expect("the starting thread answers");
    child.unwrap_or_else(|error| panic!("cannot start {program}: {error} (setpriv comes with the package util-linux)"))
}
