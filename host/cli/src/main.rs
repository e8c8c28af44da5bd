//! `stillframe`: snapshot backups for PostgreSQL.
//!
//! This crate parses the command line, reads the configuration, wires the real ends of every seam together, runs one flow, and
//! says what came of it. One file per command; what is right or wrong is decided in `stillframe-core`.

#![expect(unreachable_pub, reason = "a program exports nothing: `pub` is for its other modules")]

mod args;
mod commands;
mod common;
mod config;
mod daemon;
mod exit;
mod output;
mod parse;
mod progress;
mod session;
mod wiring;

use std::process::ExitCode;

use clap::Parser;
use stillframe_core::error::ErrorClass;

use args::Args;
use daemon::client::Outcome;
use exit::Caller;

fn main() -> ExitCode {
    let caller = Caller::of_process();
    if caller != Caller::Anybody {
        exit::end_panics_as_errors(caller);
    }
    // A daemon saves this process from doing anything else, so it is asked before anything else is set up.
    if let Some(outcome) = daemon::client::try_daemon(std::env::args_os().skip(1)) {
        return match outcome {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::Missing => ExitCode::from(exit::ABSENT),
        };
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and the version go to standard output, and are a success.
            let _gone = error.print();
            return if error.use_stderr() { ExitCode::from(exit::code(ErrorClass::Usage, caller)) } else { ExitCode::SUCCESS };
        }
    };
    progress::choose(args.command.progress());
    output::start_log(args.verbose);
    match commands::run(args.command, &args.common, args.json) {
        Ok(code) => code,
        Err(failure) => {
            output::print_failure(&failure, args.json);
            ExitCode::from(exit::code(failure.class(), caller))
        }
    }
}
