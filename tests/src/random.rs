//! Chance that can be had again: a test prints its seed, and a failure can be looked at with the same draws.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Numbers that look random and follow from a seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A new seed for each run, or the one that `STILLFRAME_SEED` holds; it is printed.
    pub fn seeded(test: &str) -> Self {
        let named = std::env::var("STILLFRAME_SEED").ok().map(|seed| seed.parse().expect("STILLFRAME_SEED is a number"));
        let seed = named.unwrap_or_else(|| RandomState::new().hash_one(test));
        eprintln!("{test}: STILLFRAME_SEED={seed}");
        Self { state: seed }
    }

    /// The sequence of this seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An independent sequence, for another thread.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self { state: self.next() }
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// A moment between now and the longest time.
    pub fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.next() % u64::try_from(longest.as_nanos()).unwrap().max(1))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
