//! Runs the tools of a storage system, whose word the tests take for what exists.

use std::process::{Command, Output, Stdio};

/// Runs a program that must succeed; gives its standard output.
#[track_caller]
pub fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "`{program} {}`: {}", arguments.join(" "), said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program that must fail; gives what it said.
#[track_caller]
pub fn refuse(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(!output.status.success(), "`{program} {}` succeeded: {}", arguments.join(" "), said(&output));
    said(&output)
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    // The administrators' programs are not on everybody's path.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").args(arguments).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("cannot run {program}: {error}; `cargo xtask test --real-storage` installs it"))
}

fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
