//! The long torture: all combinations of provider and store in turn, until the time is over.

#![expect(clippy::print_stdout, reason = "the report is for the person who typed the command")]

use std::panic;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use stillframe_tests::Random;
use stillframe_torture::{Combination, Measure, Patience, Provider, Toll, torture};

/// A run of this length kills `WANTED` on a machine with two cores.
const ENOUGH: Duration = Duration::from_hours(1);
/// What a long run must have killed.
const WANTED: usize = 500;

/// Kills everything again and again, and proves that nothing is lost and nothing is left.
#[derive(Debug, Parser)]
#[command(name = "stillframe-torture")]
struct Arguments {
    /// For so long; the installation that is under way is finished
    #[arg(long, value_name = "N")]
    minutes: u64,
    /// Draws as the run with this seed did; moments in time differ all the same
    #[arg(long)]
    seed: Option<u64>,
    /// Plays so many times ten rounds in one installation before the next one has its turn
    #[arg(long, value_name = "N", default_value_t = 6)]
    decks: usize,
    /// Tortures this one only: `hardlink-local`, `hardlink-s3`, `btrfs-local` or `btrfs-s3`
    #[arg(long)]
    only: Option<Combination>,
    /// Stays when something is wrong, with all files and servers, until it is interrupted
    #[arg(long)]
    stay: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut random = arguments.seed.map_or_else(|| Random::seeded("torture"), Random::from_seed);
    let longest = Duration::from_secs(arguments.minutes * 60);
    let began = Instant::now();
    let mut all = Toll::default();
    if arguments.stay {
        stay_when_something_is_wrong();
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("NOT RUN: btrfs, which only root can mount");
    }
    let chosen = |combination: &Combination| {
        arguments.only.is_none_or(|only| only == *combination) && (is_root || combination.provider != Provider::Btrfs)
    };
    let mut under_torture = |combination: Combination, measure: &Measure| {
        println!("\n{combination}");
        let toll = torture(combination, random.fork(), measure);
        println!("{combination}\n{toll}");
        all.add(&toll);
    };
    let measure = Measure { decks: arguments.decks, longest, targets: 20, patience: Patience::Records };
    for combination in Combination::ALL.into_iter().filter(chosen).cycle() {
        let left = longest.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        under_torture(combination, &Measure { longest: left, ..measure });
    }
    if longest >= ENOUGH {
        // Once all records of kills are waited for, which takes ten minutes.
        let combination = arguments.only.unwrap_or(Combination::ALL[0]);
        under_torture(combination, &Measure { decks: 1, patience: Patience::Nothing, ..measure });
    }
    println!("\nall together\n{all}");
    if all.kills() == 0 {
        println!("nothing was tortured");
        return ExitCode::FAILURE;
    }
    if longest >= ENOUGH && all.kills() < WANTED {
        println!("too few: {WANTED} had to be killed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What is wrong can be looked at.
fn stay_when_something_is_wrong() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |told| {
        usual(told);
        loop {
            thread::park();
        }
    }));
}
