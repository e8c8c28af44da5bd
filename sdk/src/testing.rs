//! A host in memory, to test a provider natively.
//!
//! [`FakeHost`] has every capability. Its directory trees keep the contract of `wit/capabilities.wit`, hard links and shared
//! extents included, so that a test sees whether a snapshot is isolated. It records every call, fails those that a test names,
//! moves its clock only when told, and can be killed at each effect: before it takes hold, or after.

mod glob;
mod services;
mod trees;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};

use crate::tree::TreeError;
use crate::{Host, Level};

use services::Services;
use trees::FakeTrees;

/// Where [`FakeHost`]'s clock begins: 2026-11-21, 00:00 UTC.
const BEGIN_MS: u64 = 1_795_219_200_000;

/// Time that a call has until a test says otherwise.
const DEADLINE_MS: u64 = 60_000;

/// A host in memory.
pub struct FakeHost {
    state: RefCell<State>,
}

/// When a kill happens, seen from the effect that it is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// The effect never takes hold.
    Before,
    /// The effect takes hold, and the provider never learns of it.
    After,
}

struct State {
    now_ms: u64,
    deadline_ms: u64,
    messages: Vec<(Level, String)>,
    progress: Vec<String>,
    calls: Vec<String>,
    effects: usize,
    kill: Option<(usize, Kill)>,
    tree_failures: Vec<TreeFailure>,
    trees: FakeTrees,
    services: Services,
}

struct TreeFailure {
    successes: usize,
    containing: String,
    error: TreeError,
}

/// What a killed provider unwinds with.
struct Killed;

impl FakeHost {
    /// A host without roots, that denies every program and request.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: RefCell::new(State {
                now_ms: BEGIN_MS,
                deadline_ms: BEGIN_MS + DEADLINE_MS,
                messages: Vec::new(),
                progress: Vec::new(),
                calls: Vec::new(),
                effects: 0,
                kill: None,
                tree_failures: Vec::new(),
                trees: FakeTrees::default(),
                services: Services::default(),
            }),
        }
    }

    /// Moves the clock.
    pub fn advance_ms(&self, duration_ms: u64) {
        self.state.borrow_mut().now_ms += duration_ms;
    }

    /// Gives the next calls this much time.
    pub fn set_remaining_ms(&self, remaining_ms: u64) {
        let mut state = self.state.borrow_mut();
        state.deadline_ms = state.now_ms + remaining_ms;
    }

    /// What was logged.
    #[must_use]
    pub fn messages(&self) -> Vec<(Level, String)> {
        self.state.borrow().messages.clone()
    }

    /// What was told as progress.
    #[must_use]
    pub fn progress_messages(&self) -> Vec<String> {
        self.state.borrow().progress.clone()
    }

    /// Every call of a capability but `host`, as text: `tree.clone-tree data: -> snapshots:b/data`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state.borrow().calls.clone()
    }

    /// Forgets the recorded calls.
    pub fn forget_calls(&self) {
        self.state.borrow_mut().calls.clear();
    }

    /// Makes the next tree call whose text contains this fail, once.
    pub fn fail_tree(&self, containing: &str, error: TreeError) {
        self.fail_tree_later(0, containing, error);
    }

    /// Lets so many tree calls whose text contains this succeed, and makes the next one fail, once.
    pub fn fail_tree_later(&self, successes: usize, containing: &str, error: TreeError) {
        self.state.borrow_mut().tree_failures.push(TreeFailure { successes, containing: containing.to_owned(), error });
    }

    /// Runs the provider and kills it at its effect of this number, counted from 0; none when it was killed.
    ///
    /// Effects are the calls that change something: clones, removals, writes, programs and requests.
    pub fn kill_at<T>(&self, effect: usize, kill: Kill, run: impl FnOnce(&Self) -> T) -> Option<T> {
        {
            let mut state = self.state.borrow_mut();
            state.effects = 0;
            state.kill = Some((effect, kill));
        }
        let result = panic::catch_unwind(AssertUnwindSafe(|| run(self)));
        self.state.borrow_mut().kill = None;
        match result {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// Records a call, and carries it out as an effect that a test may stop.
    fn effect<T, E>(&self, call: String, act: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let kill = {
            let mut state = self.state.borrow_mut();
            state.calls.push(call);
            let number = state.effects;
            state.effects += 1;
            state.kill.and_then(|(at, kill)| (at == number).then_some(kill))
        };
        if kill == Some(Kill::Before) {
            // Unlike a panic this prints nothing.
            panic::resume_unwind(Box::new(Killed));
        }
        let result = act(&mut self.state.borrow_mut());
        if kill == Some(Kill::After) {
            panic::resume_unwind(Box::new(Killed));
        }
        result
    }

    /// Records a call that changes nothing, and carries it out.
    fn query<T, E>(&self, call: String, act: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let mut state = self.state.borrow_mut();
        state.calls.push(call);
        act(&mut state)
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FakeHost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for call in &self.state.borrow().calls {
            writeln!(text, "{call}")?;
        }
        formatter.write_str(&text)
    }
}

impl Host for FakeHost {
    fn log(&self, level: Level, message: &str) {
        self.state.borrow_mut().messages.push((level, message.to_owned()));
    }

    fn progress(&self, _done: u64, _total: Option<u64>, message: &str) {
        self.state.borrow_mut().progress.push(message.to_owned());
    }

    fn now_ms(&self) -> u64 {
        self.state.borrow().now_ms
    }

    fn remaining_ms(&self) -> u64 {
        let state = self.state.borrow();
        state.deadline_ms.saturating_sub(state.now_ms)
    }

    fn sleep_ms(&self, duration_ms: u32) -> bool {
        let enough = self.remaining_ms() >= u64::from(duration_ms);
        if enough {
            self.advance_ms(u64::from(duration_ms));
        }
        enough
    }
}

#[cfg(test)]
mod tests;
