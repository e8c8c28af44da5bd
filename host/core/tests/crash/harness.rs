//! Runs a flow once for each effect, each side of it and each way to fail there.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use stillframe_core::provider::MemberState;
use stillframe_core::testing::{Effect, Failure, Fault, Spot, When};

use crate::invariants;
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

/// After this every deadline of a run that was killed is over.
pub(crate) const LATER: Duration = Duration::from_hours(72);

/// Breaks the flow everywhere.
#[expect(clippy::print_stdout, reason = "how often a flow was broken is worth a line to whoever asks with --nocapture")]
pub(crate) async fn exhaust(flow: &impl Flow) {
    let world = flow.world().await;
    let seams = Seams::new(&world, None);
    let outcome = attempt(flow, &world, &seams, 1).await;
    assert!(matches!(outcome, Outcome::Done), "unharmed: {outcome:?}");
    judge(flow, &world, &seams, &outcome, "unharmed").await;
    converge(flow, &world, "unharmed").await;
    let effects = seams.fuse.effects();
    let changes = effects.iter().filter(|(_, effect)| *effect == Effect::Change).count();
    assert!(effects.len() >= flow_minimum(flow), "{} effects: {effects:#?}", effects.len());

    let mut cases = 0;
    for number in 0.. {
        let mut has_blown = false;
        for (when, failure) in [
            (When::Before, Failure::Error),
            (When::Before, Failure::Kill),
            (When::After, Failure::Error),
            (When::After, Failure::Kill),
        ] {
            // A look that fails or is the last one has no second side.
            if when == When::After && effects.get(number).is_some_and(|(_, effect)| *effect == Effect::Look) {
                continue;
            }
            cases += 1;
            has_blown |= break_at(flow, Fault { spot: Spot::Number(number), when, failure }).await;
        }
        if !has_blown && number >= effects.len() {
            break;
        }
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} effects, {changes} of them changes, {cases} cases", effects.len());
}

fn flow_minimum<F: Flow>(_: &F) -> usize {
    F::AT_LEAST
}

/// Breaks it once; false when it has no such effect.
async fn break_at(flow: &impl Flow, fault: Fault) -> bool {
    let world = flow.world().await;
    let seams = Seams::new(&world, Some(fault.clone()));
    let outcome = attempt(flow, &world, &seams, 1).await;
    let has_blown = seams.fuse.has_blown();
    let effect = seams.fuse.effects().get(number_of(&fault)).map(|(name, _)| name.clone()).unwrap_or_default();
    let situation = format!("{:?} {:?} at {:?} `{effect}`, {outcome:?}", fault.failure, fault.when, fault.spot);
    judge(flow, &world, &seams, &outcome, &situation).await;
    drop(seams);
    converge(flow, &world, &situation).await;
    has_blown
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
async fn converge(flow: &impl Flow, world: &World, situation: &str) {
    world.clock.advance(LATER);
    // By then the storage systems have completed what was cut.
    world.providers.iter().for_each(|provider| provider.set_states(vec![MemberState::Ready]));
    let seams = Seams::new(world, None);
    flow.before_repeating(world, &seams).await;
    let outcome = attempt(flow, world, &seams, 2).await;
    assert!(matches!(outcome, Outcome::Done), "{situation}: repeated: {outcome:?}");
    flow.assert_done(world, 2, &format!("{situation}: repeated")).await;
    invariants::assert_always(world, &format!("{situation}: repeated")).await;
    drop(seams);
    world.clock.advance(LATER);
    invariants::settle(world, situation).await;
    invariants::assert_settled(world, situation).await;
}
