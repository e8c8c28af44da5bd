//! `stillframe`: snapshot backups for PostgreSQL.
//!
//! This crate parses the command line, reads the configuration, wires the real ends of every seam together, runs one flow, and
//! says what came of it. One file per command; what is right or wrong is decided in `stillframe-core`.

#![expect(unreachable_pub, reason = "a program exports nothing: `pub` is for its other modules")]

mod args;
mod commands;
mod config;
mod exit;
mod output;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    output::start_log(args.verbose);
    let (command, json) = (args.command, args.json);
    let common = args.common;
    match commands::run(command, &common, json) {
        Ok(code) => code,
        Err(failure) => {
            output::print_failure(&failure, json);
            ExitCode::from(failure.exit_code())
        }
    }
}
