//! Runs a flow once for each effect, each side of it and each way to fail there; then with two faults in one run, for some pairs.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use stillframe_core::testing::{Effect, Failure, Fault, Spot, When};

use crate::fingerprint::{self, Seen};
use crate::invariants;
use crate::reconcile;
use crate::seams::Seams;
use crate::world::World;

/// A flow to be broken.
pub(crate) trait Flow {
    /// At least so many effects it has: the harness must not test nothing.
    const AT_LEAST: usize;

    /// Whether the files that it makes must survive a power cut.
    const IS_DURABLE: bool = true;

    /// What is there before it runs.
    async fn world(&self) -> World;

    /// Runs it as a process of its own; `attempt` tells a repetition, which has tokens of its own. The error is for people.
    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String>;

    /// What a success promises.
    async fn assert_done(&self, world: &World, attempt: u8, situation: &str);

    /// What an error promises: nothing, unless the flow says more.
    async fn assert_failed(&self, _world: &World, _attempt: u8, _error: &str, _situation: &str) {}

    /// What holds even if the process was killed.
    async fn assert_whatever_happened(&self, _world: &World, _situation: &str) {}

    /// What the effects of a run may be.
    fn assert_effects(&self, _effects: &[(String, Effect)], _situation: &str) {}

    /// What the operator does before the flow is run again, after an interruption.
    async fn before_repeating(&self, _world: &World, _seams: &Seams<'_>) {}
}

/// What became of a run.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    Failed(String),
    Killed,
}

/// What settles that which was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settling {
    /// `delete garbage`.
    Garbage,
    /// `reconcile`.
    Reconcile,
}

/// After this every deadline of a run that was killed is over.
pub(crate) const LATER: Duration = Duration::from_hours(72);

/// Pairs of faults for each flow, unless the environment asks for more.
const PAIRS: usize = 12;
const PAIRS_VARIABLE: &str = "STILLFRAME_CRASH_PAIRS";

/// So near behind the first the second one is: where the flow undoes, or goes on without what failed.
const REACH: usize = 16;

/// Breaks the flow everywhere.
#[expect(clippy::print_stdout, reason = "`--nocapture` shows how many effects each flow has")]
pub(crate) async fn exhaust(flow: &impl Flow) {
    let effects = run_unharmed(flow).await;
    let changes = effects.iter().filter(|(_, effect)| *effect == Effect::Change).count();
    assert!(effects.len() >= flow_minimum(flow), "{} effects: {effects:#?}", effects.len());

    let settled = Seen::new();
    let mut cases = 0;
    for number in 0.. {
        let mut has_blown = false;
        for (when, failure) in [
            (When::Before, Failure::Error),
            (When::Before, Failure::Kill),
            (When::After, Failure::Error),
            (When::After, Failure::Kill),
        ] {
            let effect = effects.get(number).map(|(_, effect)| *effect);
            // A look that fails or is the last one has no second side; and who dies before an effect leaves what a death after the
            // last change before it leaves.
            let has_no_second_side = when == When::After && effect == Some(Effect::Look);
            let was_shown = (when, failure) == (When::Before, Failure::Kill) && 0 < number && number < effects.len();
            if has_no_second_side || was_shown {
                continue;
            }
            cases += 1;
            let fault = Fault { spot: Spot::Number(number), when, failure };
            // What is there after an effect is there before the next one: either is settled in another way.
            let settling = if number % 2 == 0 { Settling::Garbage } else { Settling::Reconcile };
            has_blown |= break_at(flow, &[fault], settling, &settled).await > 0;
        }
        if !has_blown && number >= effects.len() {
            break;
        }
    }
    let pairs = std::env::var(PAIRS_VARIABLE).map_or(PAIRS, |value| value.parse().unwrap());
    let mut both = 0;
    for (number, pair) in Pairs::new(effects.len()).take(pairs).enumerate() {
        let settling = if number % 2 == 0 { Settling::Reconcile } else { Settling::Garbage };
        both += usize::from(break_at(flow, &pair, settling, &settled).await == pair.len());
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let count = effects.len();
    println!("{name}: {count} effects, {changes} of them changes, {cases} cases, {pairs} pairs of which {both} blew twice");
}

/// What it is to do, and that it does; gives its effects.
async fn run_unharmed(flow: &impl Flow) -> Vec<(String, Effect)> {
    let world = flow.world().await;
    let seams = Seams::new(&world, None);
    let outcome = attempt(flow, &world, &seams, 1).await;
    assert!(matches!(outcome, Outcome::Done), "unharmed: {outcome:?}");
    judge(flow, &world, &seams, &outcome, "unharmed").await;
    let effects = seams.fuse.effects();
    drop(seams);
    converge(flow, &world, Settling::Garbage, "unharmed").await;
    effects
}

fn flow_minimum<F: Flow>(_: &F) -> usize {
    F::AT_LEAST
}

/// Pairs of faults in one run, the same ones each time.
struct Pairs {
    effects: usize,
    state: u64,
}

impl Pairs {
    fn new(effects: usize) -> Self {
        Self { effects, state: 0x5EED }
    }

    /// A number below this one.
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64: any sequence would do that is the same each time.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }
}

impl Iterator for Pairs {
    type Item = [Fault; 2];

    fn next(&mut self) -> Option<[Fault; 2]> {
        let sides = [When::Before, When::After];
        let first = self.below(self.effects);
        let second = first + 1 + self.below(REACH);
        let failure = [Failure::Error, Failure::Kill][self.below(2)];
        // After a kill there is no second one.
        Some([
            Fault { spot: Spot::Number(first), when: sides[self.below(2)], failure: Failure::Error },
            Fault { spot: Spot::Number(second), when: sides[self.below(2)], failure },
        ])
    }
}

/// Breaks it once; tells how many of the faults there were.
async fn break_at(flow: &impl Flow, faults: &[Fault], settling: Settling, settled: &Seen) -> usize {
    let world = flow.world().await;
    let seams = Seams::new(&world, faults.iter().cloned());
    let outcome = attempt(flow, &world, &seams, 1).await;
    let blown = seams.fuse.blown_at().len();
    let effects = seams.fuse.effects();
    let place = |fault: &Fault| {
        let effect = effects.get(number_of(fault)).map(|(name, _)| name.as_str()).unwrap_or_default();
        format!("{:?} {:?} at {:?} `{effect}`", fault.failure, fault.when, fault.spot)
    };
    let places: Vec<String> = faults.iter().map(place).collect();
    let situation = format!("{}, {outcome:?}", places.join(" and "));
    judge(flow, &world, &seams, &outcome, &situation).await;
    drop(seams);
    // From the same place it goes on in the same way.
    let place = fingerprint::of_everything(&world) ^ u64::from(settling == Settling::Reconcile);
    if settled.is_new(place) {
        converge(flow, &world, settling, &situation).await;
    }
    blown
}

fn number_of(fault: &Fault) -> usize {
    match fault.spot {
        Spot::Number(number) => number,
        Spot::Named(_) => usize::MAX,
    }
}

/// Runs the flow until it ends, or its process does: then nothing of it happens any more, but its sessions are closed.
pub(crate) async fn attempt(flow: &impl Flow, world: &World, seams: &Seams<'_>, number: u8) -> Outcome {
    let run = AssertUnwindSafe(flow.run(world, seams, number)).catch_unwind();
    let outcome = tokio::select! {
        biased;
        () = seams.fuse.died() => Outcome::Killed,
        ended = run => match ended {
            _ if seams.fuse.is_dead() => Outcome::Killed,
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => resume_unwind(panic),
        }
    };
    world.archive_histories().await;
    outcome
}

/// What must hold right after a run, whatever became of it.
async fn judge<F: Flow>(flow: &F, world: &World, seams: &Seams<'_>, outcome: &Outcome, situation: &str) {
    let violations = seams.fuse.violations();
    assert!(violations.is_empty(), "{situation}: {violations:#?}");
    flow.assert_effects(&seams.fuse.effects(), situation);
    invariants::assert_always(world, situation).await;
    flow.assert_whatever_happened(world, situation).await;
    match outcome {
        Outcome::Done => {
            let unflushed = if F::IS_DURABLE { seams.fuse.unflushed() } else { Vec::new() };
            assert!(unflushed.is_empty(), "success_is_durable: {situation}: {unflushed:?}");
            flow.assert_done(world, 1, situation).await;
        }
        Outcome::Failed(error) => flow.assert_failed(world, 1, error, situation).await,
        Outcome::Killed => {}
    }
}

/// Later, the flow is run again, and what was interrupted is settled: then all is as if nothing had happened.
async fn converge(flow: &impl Flow, world: &World, settling: Settling, situation: &str) {
    world.clock.advance(LATER);
    world.complete_snapshots();
    let seams = Seams::new(world, None);
    flow.before_repeating(world, &seams).await;
    let outcome = attempt(flow, world, &seams, 2).await;
    assert!(matches!(outcome, Outcome::Done), "{situation}: repeated: {outcome:?}");
    flow.assert_done(world, 2, &format!("{situation}: repeated")).await;
    invariants::assert_always(world, &format!("{situation}: repeated")).await;
    drop(seams);
    world.clock.advance(LATER);
    match settling {
        Settling::Garbage => invariants::settle(world, situation).await,
        Settling::Reconcile => reconcile::settle(world, situation).await,
    }
    invariants::assert_settled(world, situation).await;
}
