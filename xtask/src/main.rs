//! Developer chores: `cargo xtask demo | test | fuzz | mutants | torture | lint | plugins | bench`.
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
mod fuzz;
mod lint;
mod matrix;
mod mutants;
mod plugins;
mod prerequisites;
mod real_storage;
mod run;
mod server;
mod sweep;
mod test;
mod torture;
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
    /// Builds everything and runs all tests but those on real storage, or these
    Test {
        /// Runs only the tests whose names contain this text
        #[arg(long)]
        filter: Option<String>,
        /// Runs the end-to-end tests on these versions of PostgreSQL instead: `all`, or a list such as `10,14`
        ///
        /// The closing lines say of each version how many tests passed, failed, and cannot mean anything on it. A version whose
        /// server binaries cannot be had, and one on which nothing ran, is a failure.
        #[arg(long, value_name = "VERSIONS", conflicts_with = "real_storage")]
        pg: Option<matrix::Versions>,
        /// Runs only the short ones of them, some twenty on each version
        #[arg(long, requires = "pg")]
        short: bool,
        /// Runs the tests on real storage instead: LVM, OpenZFS, btrfs and XFS, in guests where the machine has no such kernel
        ///
        /// Needs root on Debian 12, which gets the packages that are missing. What the machine cannot run is skipped and named in the
        /// closing lines. The first run compiles the kernel module of OpenZFS and keeps it in the user's cache directory.
        #[arg(long)]
        real_storage: bool,
        /// Fails when this part of the tests on real storage is skipped
        #[arg(long, requires = "real_storage", value_delimiter = ',')]
        expect: Vec<real_storage::Expected>,
    },
    /// Makes each mistake of a list in a copy of the tree, and shows that the test named for it fails
    Mutants {
        /// Tries only those whose names contain this text
        #[arg(long)]
        only: Option<String>,
    },
    /// Searches for input that makes a parser panic, hang or lie, with libFuzzer
    ///
    /// Compiles the fuzz targets with the stable toolchain, which takes minutes at the first time, and runs one after the other. Needs a
    /// C++ compiler and cargo-fuzz; what is missing is installed as far as may be. Seeds and earlier finds are replayed by `test` too.
    Fuzz {
        /// Runs only these targets
        targets: Vec<String>,
        /// How long to search with each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Kills the program, its provider, the server and the store again and again, and proves that nothing is lost and nothing left
    ///
    /// A short form of this is among the tests. It runs on throw-away servers under pgbench, with hardlink and btrfs and with stores in a
    /// directory and on S3, one installation after the other, and ends with a report. From 60 minutes on at least 500 processes must
    /// have been killed. btrfs needs root, and loop devices; what is not run is said.
    Torture(torture::Options),
    /// Checks format, lints and documentation
    Lint,
    /// Builds the provider components and prints their sizes and digests
    Plugins,
    /// Measures archiving, recovery and snapshots beside pgBackRest, `zstd`, `cp`, `rsync`, a script and `/bin/true`
    ///
    /// Builds the release, measures in turns on throw-away servers, prints medians and extremes as a table, says of each target whether
    /// it holds, and writes `bench.json` into the target directory. The machine should have nothing else to do, and several gigabytes
    /// for temporary files; for a first look, `--only start --runs 1` is enough. Needs a PostgreSQL server and the Debian packages
    /// pgbackrest, zstd, time, rsync, btrfs-progs and xfsprogs: root gets what is missing, everybody else is told what to install.
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
        Command::Test { filter, real_storage: true, expect, .. } => real_storage::test_real_storage(filter.as_deref(), &expect),
        Command::Test { filter, pg: Some(versions), short, .. } => {
            let extent = if short { matrix::Extent::Short } else { matrix::Extent::All };
            matrix::test_on(&versions, extent, filter.as_deref())
        }
        Command::Test { filter, .. } => test::test(filter.as_deref()),
        Command::Mutants { only } => mutants::mutants(only.as_deref()),
        Command::Fuzz { targets, seconds } => fuzz::fuzz(&targets, seconds.max(1)),
        Command::Torture(options) => torture::torture(&options),
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
