//! A fuse through which every effect of a run passes: it numbers them, and blows at one of them, or at several.
//!
//! Either the effect fails, and the run goes on with the error; or the process dies there: whatever passes the fuse afterwards never
//! happens, not even what destructors try. Effects on files pass it where they lie below a watched directory; of those it also
//! keeps in mind what a power cut could still undo.

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::When;
use crate::files::FileStep;

/// What happens at the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It fails, once.
    Error,
    /// The process is killed.
    Kill,
}

/// Where the fuse blows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// At this effect, counted from 0.
    Number(usize),
    /// At the first effect whose name begins so.
    Named(&'static str),
}

/// Where the fuse blows, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which effect.
    pub spot: Spot,
    /// Whether the effect has taken hold by then.
    pub when: When,
    /// What happens.
    pub failure: Failure,
}

/// Whether an effect changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Change,
    /// It only looks: that it failed after it took hold is the same as before.
    Look,
}

/// The fuse of one run.
#[derive(Debug)]
pub struct Fuse {
    state: Mutex<State>,
    died: Notify,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    effects: Vec<(String, Effect)>,
    /// The effects at which it has blown.
    blown: Vec<String>,
    is_dead: bool,
    /// Files whose content, and directories whose entries, are not on the disk yet.
    unflushed: BTreeSet<PathBuf>,
    violations: Vec<String>,
}

/// What to do at one side of an effect.
enum Verdict {
    Pass,
    Fail,
    Die,
}

impl Fuse {
    /// Makes one; without a fault it only counts.
    #[must_use]
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        let faults = faults.into_iter().collect();
        Arc::new(Self { state: Mutex::new(State { faults, ..State::default() }), died: Notify::new() })
    }

    /// The names of the effects so far.
    #[must_use]
    pub fn effects(&self) -> Vec<(String, Effect)> {
        self.state().effects.clone()
    }

    /// Whether it has blown.
    #[must_use]
    pub fn has_blown(&self) -> bool {
        !self.state().blown.is_empty()
    }

    /// The names of the effects at which it has blown.
    #[must_use]
    pub fn blown_at(&self) -> Vec<String> {
        self.state().blown.clone()
    }

    /// Whether the process is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Returns when the process dies.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Records that a rule was broken which no later state could show.
    pub fn accuse(&self, violation: String) {
        self.state().violations.push(violation);
    }

    /// The rules that were broken.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// What a power cut could still undo.
    #[must_use]
    pub fn unflushed(&self) -> Vec<PathBuf> {
        self.state().unflushed.iter().cloned().collect()
    }

    /// Lets one effect of a seam happen, unless it must not; `fault` makes its error.
    pub async fn pass<T, E>(
        &self,
        name: String,
        effect: Effect,
        work: impl Future<Output = Result<T, E>>,
        fault: impl FnOnce(When) -> E,
    ) -> Result<T, E> {
        let number = self.enter(name, effect);
        match self.judge(number, When::Before) {
            Verdict::Pass => {}
            Verdict::Fail => return Err(fault(When::Before)),
            Verdict::Die => return std::future::pending().await,
        }
        let done = work.await;
        match self.judge(number, When::After) {
            Verdict::Pass => done,
            Verdict::Fail => Err(fault(When::After)),
            Verdict::Die => std::future::pending().await,
        }
    }

    /// The same for an effect that nobody can wait for: a death unwinds.
    ///
    /// # Errors
    ///
    /// That of the effect, or of the fault.
    pub fn pass_at_once<T, E>(
        &self,
        name: String,
        effect: Effect,
        work: impl FnOnce() -> Result<T, E>,
        fault: impl FnOnce(When) -> E,
    ) -> Result<T, E> {
        let number = self.enter(name, effect);
        let die = || -> ! { resume_unwind(Box::new(Killed) as Box<dyn Any + Send>) };
        match self.judge(number, When::Before) {
            Verdict::Pass => {}
            // A destructor that runs because of the death must not unwind as well.
            Verdict::Die if !std::thread::panicking() && number.is_some() => die(),
            Verdict::Fail | Verdict::Die => return Err(fault(When::Before)),
        }
        let done = work();
        match self.judge(number, When::After) {
            Verdict::Pass => done,
            Verdict::Die if !std::thread::panicking() => die(),
            Verdict::Fail | Verdict::Die => Err(fault(When::After)),
        }
    }

    /// Numbers an effect; none when the process is dead.
    fn enter(&self, name: String, effect: Effect) -> Option<usize> {
        let mut state = self.state();
        if state.is_dead {
            return None;
        }
        state.effects.push((name, effect));
        Some(state.effects.len() - 1)
    }

    fn judge(&self, number: Option<usize>, when: When) -> Verdict {
        let mut state = self.state();
        let Some(number) = number.filter(|_| !state.is_dead) else { return Verdict::Die };
        let name = state.effects[number].0.clone();
        let is_meant = |fault: &Fault| match fault.spot {
            Spot::Number(meant) => meant == number,
            Spot::Named(meant) => name.starts_with(meant),
        };
        let Some(place) = state.faults.iter().position(|fault| fault.when == when && is_meant(fault)) else { return Verdict::Pass };
        let fault = state.faults.swap_remove(place);
        state.blown.push(name);
        if fault.failure == Failure::Error {
            return Verdict::Fail;
        }
        state.is_dead = true;
        drop(state);
        self.died.notify_one();
        Verdict::Die
    }

    /// Keeps in mind what is on the disk after a change of a file.
    fn remember(&self, step: FileStep, path: &Path) {
        let mut state = self.state();
        let parent = path.parent().unwrap_or(path).to_owned();
        match step {
            FileStep::Write | FileStep::Empty => _ = state.unflushed.insert(path.to_owned()),
            FileStep::Flush | FileStep::FlushDirectory => _ = state.unflushed.remove(path),
            FileStep::FlushFileSystem => state.unflushed.clear(),
            FileStep::Rename => {
                // After a power cut the name may lead to nothing.
                if state.unflushed.remove(path) {
                    state.violations.push(format!("`{}` got its name before its content was flushed", path.display()));
                }
                state.unflushed.insert(parent);
            }
            FileStep::Link | FileStep::Make | FileStep::Remove => _ = state.unflushed.insert(parent),
            // It need not survive.
            FileStep::PutInPlace => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What unwinds from a place that was killed.
#[derive(Debug)]
struct Killed;

/// The directories below which files are watched.
static WATCHED: Mutex<Vec<(PathBuf, Arc<Fuse>)>> = Mutex::new(Vec::new());

/// Ends when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct FileWatch {
    directory: PathBuf,
    fuse: Arc<Fuse>,
}

impl FileWatch {
    /// Lets the changes of all files below a directory pass the fuse. None of them is really flushed: a test has no power cuts.
    pub fn new(directory: &Path, fuse: &Arc<Fuse>) -> Self {
        watched().push((directory.to_owned(), fuse.clone()));
        Self { directory: directory.to_owned(), fuse: fuse.clone() }
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        watched().retain(|(directory, fuse)| *directory != self.directory || !Arc::ptr_eq(fuse, &self.fuse));
    }
}

fn watched() -> MutexGuard<'static, Vec<(PathBuf, Arc<Fuse>)>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does one step of a change of a file, unless a watcher keeps it from happening.
pub(crate) fn change_file<T: Default>(step: FileStep, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // The newest watch counts: an older one is of a run that has ended.
    let found = watched().iter().rev().find(|(directory, _)| path.starts_with(directory)).cloned();
    let Some((directory, fuse)) = found else { return work() };
    let name = format!("{step:?} {}", path.strip_prefix(&directory).unwrap_or(path).display());
    let is_flush = matches!(step, FileStep::Flush | FileStep::FlushDirectory | FileStep::FlushFileSystem);
    let done = || {
        let done = if is_flush { T::default() } else { work()? };
        fuse.remember(step, path);
        Ok(done)
    };
    fuse.pass_at_once(name, Effect::Change, done, |_| io::Error::other("injected fault"))
}
