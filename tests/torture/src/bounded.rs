//! The torture as a test: few rounds, and the same proof.

use std::time::Duration;

use stillframe_tests::Random;

use crate::installation::{Combination, Provider, StoreKind};
use crate::settlement::Patience;
use crate::toll::Victim;
use crate::torture::{Measure, torture};

/// Targets of point-in-time recovery: one or two of each kind.
const TARGETS: usize = 5;

/// Tortures an installation for so many times ten rounds, in each of which somebody must have been hit; prints the report.
#[track_caller]
pub fn survives(provider: Provider, store: StoreKind, decks: usize) {
    let combination = Combination { provider, store };
    let random = Random::seeded(&combination.to_string());
    // However busy the machine is, all rounds are played.
    let measure = Measure { decks, longest: Duration::MAX, targets: TARGETS, patience: Patience::Records };
    let toll = torture(combination, random, &measure);
    eprintln!("{combination}\n{toll}");
    for victim in Victim::ALL {
        assert_eq!(toll.kills_of(victim), victim.share(store) * decks, "kills of the {victim}");
    }
}
