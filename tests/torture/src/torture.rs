//! The torture of one installation: rounds, now and then a settlement, and in the end the proof.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stillframe_tests::Random;

use crate::installation::{Combination, Installation};
use crate::ledger::Ledger;
use crate::proof::{recover_to_moments, refuse_what_is_lost, restore_every_backup};
use crate::round::Rounds;
use crate::settlement::{Patience, archive_everything, settle};
use crate::toll::{Toll, Victim};

/// Attempts to hit one victim: so many misses are no chance any more.
const ATTEMPTS: usize = 30;
/// Backups that nobody disturbs before the proof, so that there is a window to recover in whatever was deleted.
const CALM_BACKUPS: usize = 2;
/// Rows between them.
const CALM_ROWS: usize = 40;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// So many times ten rounds; after each but the last everything is settled.
    pub decks: usize,
    /// No further ten begin after so much time.
    pub longest: Duration,
    /// Targets of point-in-time recovery in the end.
    pub targets: usize,
    /// What is waited for in the end.
    pub patience: Patience,
}

/// Tortures one installation; panics with whatever is wrong.
#[track_caller]
pub fn torture(combination: Combination, random: Random, measure: &Measure) -> Toll {
    let began = Instant::now();
    let mut installation = Installation::start(combination);
    let mut ledger = Ledger::begin(&installation.site.cluster);
    // Until then a provider does not know its own place from that of a file system which is not mounted.
    installation.site.stillframe.succeed(["snapshot-push"]);
    let mut rounds = Rounds::new(random);
    eprintln!("{combination}: under way after {} s", began.elapsed().as_secs());
    for deck in 0..measure.decks {
        if deck > 0 {
            if began.elapsed() > measure.longest {
                break;
            }
            settle(&installation, &ledger, &mut rounds.toll, Patience::Records);
            eprintln!("{:4} s, settled", began.elapsed().as_secs());
        }
        for victim in Victim::deck(combination.store, &mut rounds.random) {
            eprintln!("{:4} s, {:3} killed: now the {victim}", began.elapsed().as_secs(), rounds.toll.kills());
            let hit = (0..ATTEMPTS).any(|_| rounds.play(&mut installation, victim));
            assert!(hit, "the {victim} was not hit in {ATTEMPTS} attempts");
        }
    }
    for _ in 0..CALM_BACKUPS {
        ledger.goes_on(CALM_ROWS);
        installation.site.stillframe.succeed(["snapshot-push"]);
    }
    ledger.goes_on(CALM_ROWS);
    settle(&installation, &ledger, &mut rounds.toll, measure.patience);
    installation.end_load();
    ledger.end();
    archive_everything(&installation);
    eprintln!("{:4} s, settled; now the proof", began.elapsed().as_secs());
    restore_every_backup(&installation, &ledger, &mut rounds.toll);
    refuse_what_is_lost(&installation, &ledger, &mut rounds.random, &mut rounds.toll, measure.targets.div_ceil(4));
    recover_to_moments(&installation, &ledger, &mut rounds.random, &mut rounds.toll, measure.targets);
    // Backups and restores have been made since the last kill.
    assert_eq!(installation.unfinished(), BTreeSet::new(), "nobody will finish or remove this");
    let mut toll = rounds.toll;
    (toll.rows, toll.unanswered) = ledger.counts();
    toll.elapsed = began.elapsed();
    toll
}
