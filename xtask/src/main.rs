//! Developer chores: `cargo xtask demo | test | lint | plugins | bench`.
//!
//! Each command installs what it needs where it may, and otherwise says exactly what to install.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these commands talk to the person who typed them")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod account;
mod bench;
mod demo;
mod failure;
mod lint;
mod plugins;
mod prerequisites;
mod run;
mod server;
mod sweep;
mod test;
mod workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer chores of Stillframe")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows a backup and a point-in-time restore on a throw-away PostgreSQL server
    Demo,
    /// Builds everything and runs all tests
    Test {
        /// Runs only the tests whose names contain this text
        #[arg(long)]
        filter: Option<String>,
    },
    /// Checks format, lints and documentation
    Lint,
    /// Builds the provider components and prints their sizes and digests
    Plugins,
    /// Measures archiving and recovery beside pgBackRest, `zstd`, `cp` and `/bin/true`
    ///
    /// Builds the release, measures in turns on throw-away servers, prints medians and extremes as a table, says of each target whether
    /// it holds, and writes `bench.json` into the target directory. The machine should have nothing else to do, and several gigabytes
    /// for temporary files; for a first look, `--only start --runs 1` is enough. Needs a PostgreSQL server and the Debian packages
    /// pgbackrest, zstd and time: root gets what is missing, everybody else is told what to install.
    Bench {
        /// Measurements of a segment; starts are measured ten times as often, bursts a quarter
        #[arg(long, default_value_t = 10)]
        runs: usize,
        /// Measures one part only
        #[arg(long)]
        only: Option<bench::Part>,
    },
    /// Waits for the end of its standard input, and then removes a demo and its processes
    #[command(hide = true)]
    Sweep {
        /// The directory of the demo
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo => demo::demo(),
        Command::Test { filter } => test::test(filter.as_deref()),
        Command::Lint => lint::lint(),
        Command::Plugins => plugins::plugins(),
        Command::Bench { runs, only } => bench::bench(runs.max(1), only),
        Command::Sweep { directory } => sweep::sweep(&directory),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}
