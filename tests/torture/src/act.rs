//! What an operator, a timer or a monitor does to the installation, with arguments drawn at random; and what may come of it.

use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use stillframe_tests::{Finished, Random, Running};

use crate::installation::Installation;
use crate::toll::Victim;

/// Longest time for one command, whatever was killed beside it: longer than every wait within one but that of a lease.
const PATIENCE: Duration = Duration::from_mins(4);
/// So many backups stay at least when single ones are deleted.
const FEW: usize = 3;
/// Different places of restores. Few, so that some is begun where another one was killed.
const PLACES: usize = 3;

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// `snapshot-push`
    Push,
    /// `snapshot-fetch`, to a place of its own
    Fetch,
    /// `snapshot-release`
    Release,
    /// `delete retain`
    Retain,
    /// `delete policy`, with a second tier
    Policy,
    /// `delete target`
    Target,
    /// `delete garbage`
    Garbage,
    /// `reconcile`
    Reconcile,
    /// `backup-mark`
    Mark,
    /// `drill`
    Drill,
}

impl Act {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Push,
        Self::Fetch,
        Self::Release,
        Self::Retain,
        Self::Policy,
        Self::Target,
        Self::Garbage,
        Self::Reconcile,
        Self::Mark,
        Self::Drill,
    ];
    /// What is done at random, the frequent ones several times.
    const USUAL: [Self; 20] = [
        Self::Push,
        Self::Push,
        Self::Push,
        Self::Push,
        Self::Push,
        Self::Push,
        Self::Fetch,
        Self::Fetch,
        Self::Fetch,
        Self::Release,
        Self::Retain,
        Self::Retain,
        Self::Retain,
        Self::Policy,
        Self::Target,
        Self::Garbage,
        Self::Reconcile,
        Self::Reconcile,
        Self::Mark,
        Self::Drill,
    ];
    /// What lets a provider change something.
    const OF_PROVIDERS: [Self; 8] =
        [Self::Push, Self::Push, Self::Push, Self::Fetch, Self::Fetch, Self::Retain, Self::Target, Self::Target];

    /// Any of them.
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self::USUAL[random.below(Self::USUAL.len())]
    }

    /// One that lets a provider change something.
    pub(crate) fn draw_of_providers(random: &mut Random) -> Self {
        Self::OF_PROVIDERS[random.below(Self::OF_PROVIDERS.len())]
    }

    /// Its command line; none when there is nothing to do it with.
    #[track_caller]
    pub(crate) fn arguments(self, installation: &Installation, random: &mut Random) -> Option<Vec<String>> {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let backups = || names(&installation.listing()["backups"]);
        match self {
            Self::Push if random.below(6) == 0 => words(&["snapshot-push", "--permanent"]),
            Self::Push => words(&["snapshot-push"]),
            Self::Fetch => {
                let backups = backups();
                let name = &backups.get(random.below(backups.len().max(1)))?;
                words(&["snapshot-fetch", &place(installation, random), name, "--archiving", "off"])
            }
            Self::Release => words(&["snapshot-release", &place(installation, random)]),
            Self::Retain => words(&["delete", "retain", &(2 + random.below(3)).to_string(), "--confirm"]),
            Self::Policy => words(&["delete", "policy", "--confirm"]),
            Self::Target => {
                let backups = backups();
                let name = (backups.len() > FEW).then(|| &backups[random.below(backups.len())])?;
                words(&["delete", "target", name, "--confirm"])
            }
            Self::Garbage => words(&["delete", "garbage", "--confirm"]),
            Self::Reconcile => words(&["reconcile", "--confirm"]),
            Self::Mark => {
                let backups = backups();
                let name = backups.get(random.below(backups.len().max(1)))?;
                if random.below(3) == 0 {
                    return words(&["backup-mark", name]);
                }
                installation.lift(name);
                words(&["backup-mark", name, "--impermanent"])
            }
            Self::Drill => backups().last().and_then(|_| words(&["drill"])),
        }
    }

    /// Looks at the end of a command that nobody has killed. It may fail, for something else was killed, but only in a way that tells
    /// the operator to try again, that it was refused, or that there is no store: nothing is damaged, and the program has no fault.
    #[track_caller]
    pub(crate) fn judge(self, finished: &Finished, victim: Victim) {
        let is_in_order = match finished.code() {
            Some(0 | 4 | 5) => true,
            // An empty directory in place of the store is what a wrong configuration looks like.
            Some(3) => victim == Victim::Mount,
            _ => false,
        };
        assert!(is_in_order && !finished.says("panicked"), "{self}, while the {victim} was killed: {finished}");
    }
}

/// Waits for a command that must succeed, for nobody is killed beside it.
#[track_caller]
pub(crate) fn succeed(running: Running, what: impl fmt::Display) -> Finished {
    let finished = wait(running, &what);
    assert!(finished.is_success(), "{what}: {finished}");
    finished
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Push => "snapshot-push",
            Self::Fetch => "snapshot-fetch",
            Self::Release => "snapshot-release",
            Self::Retain => "delete retain",
            Self::Policy => "delete policy",
            Self::Target => "delete target",
            Self::Garbage => "delete garbage",
            Self::Reconcile => "reconcile",
            Self::Mark => "backup-mark",
            Self::Drill => "drill",
        })
    }
}

/// Waits for the end of a process that must come.
#[track_caller]
pub(crate) fn wait(mut running: Running, what: impl fmt::Display) -> Finished {
    let deadline = Instant::now() + PATIENCE;
    while !running.has_ended() {
        if Instant::now() > deadline {
            running.kill9();
            panic!("{what} did not end within {} s: {}", PATIENCE.as_secs(), running.wait());
        }
        thread::sleep(Duration::from_millis(2));
    }
    running.wait()
}

/// Names of listed backups, oldest first.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| entry["backup_name"].as_str().expect("a name").to_owned()).collect()
}

/// A place for a restore. What an operator finds there that is no restore under way, he takes away first.
fn place(installation: &Installation, random: &mut Random) -> String {
    let path = installation.restores.join(format!("copy{}", random.below(PLACES)));
    let is_whole = path.join("backup_label").exists();
    if is_whole && !path.is_symlink() {
        let _another_time = fs::remove_dir_all(&path);
    }
    path.display().to_string()
}
