//! A `zfs` in memory: datasets, snapshots, properties with their sources, holds, clones, mounts and delegation.
//!
//! It takes what the real one takes from the provider and answers in its words (of OpenZFS 2.1). Whatever else is asked of it is a
//! panic, and so is an argument list of a kind that the table of allowed ones does not have.

mod argv;
mod change;
mod query;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use stillframe_sdk::command::{CommandError, ExitStatus, Invocation, Output};
use stillframe_sdk::testing::FakeHost;

pub(super) use argv::{SHAPES_OF_ALLOWED, allowed, refused, shape};

/// The fake, shared by the test and the host.
#[derive(Clone)]
pub(super) struct Fake(Rc<RefCell<State>>);

/// A dataset.
#[derive(Debug, Clone, Default)]
pub(super) struct Dataset {
    pub(super) guid: u64,
    pub(super) local: BTreeMap<String, String>,
    pub(super) origin: Option<String>,
    pub(super) is_mounted: bool,
    /// A process has its working directory there.
    pub(super) is_used: bool,
    pub(super) is_locked_away: bool,
}

/// A snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) guid: u64,
    pub(super) txg: u64,
    pub(super) creation_secs: u64,
    pub(super) local: BTreeMap<String, String>,
    pub(super) received: BTreeMap<String, String>,
    pub(super) holds: BTreeSet<String>,
}

pub(super) struct State {
    pub(super) datasets: BTreeMap<String, Dataset>,
    /// By full name.
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    pub(super) now_secs: u64,
    next_guid: u64,
    next_txg: u64,
    /// None for root; otherwise what the user may do on each dataset and below.
    pub(super) rights: Option<BTreeMap<String, BTreeSet<String>>>,
    faults: Vec<Fault>,
    pub(super) seen: Vec<Vec<String>>,
}

/// What a test lets go wrong, once.
struct Fault {
    /// Words that the arguments hold, joined by spaces.
    containing: String,
    /// So many such calls go well before.
    successes: usize,
    takes_hold: bool,
    answer: Result<Output, CommandError>,
}

pub(super) fn output(code: i32, stdout: &str, stderr: &str) -> Output {
    Output { status: ExitStatus::Code(code), stdout: stdout.to_owned(), stderr: stderr.to_owned(), truncated: false }
}

pub(super) fn success() -> Output {
    output(0, "", "")
}

pub(super) fn failure(stderr: &str) -> Output {
    output(1, "", &format!("{stderr}\n"))
}

impl Fake {
    /// Pools with these datasets, behind a host.
    pub(super) fn new(datasets: &[&str]) -> (Self, FakeHost) {
        let host = FakeHost::new();
        let fake = Self(Rc::new(RefCell::new(State {
            datasets: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            now_secs: stillframe_sdk::Host::now_ms(&host) / 1_000,
            next_guid: 1_000,
            next_txg: 100,
            rights: None,
            faults: Vec::new(),
            seen: Vec::new(),
        })));
        for dataset in datasets {
            fake.state(|state| state.add(dataset));
        }
        let answering = fake.clone();
        host.on_command(move |invocation| answering.answer(invocation));
        (fake, host)
    }

    /// Looks at, or changes, what there is.
    pub(super) fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    /// Makes the next call whose arguments hold these words fail, before or after it takes hold.
    pub(super) fn fail(&self, containing: &str, takes_hold: bool, answer: Result<Output, CommandError>) {
        self.fail_later(0, containing, takes_hold, answer);
    }

    /// Lets so many such calls go well first.
    pub(super) fn fail_later(&self, successes: usize, containing: &str, takes_hold: bool, answer: Result<Output, CommandError>) {
        self.state(|state| state.faults.push(Fault { containing: containing.to_owned(), successes, takes_hold, answer }));
    }

    /// Names of all snapshots.
    pub(super) fn snapshots(&self) -> Vec<String> {
        self.state(|state| state.snapshots.keys().cloned().collect())
    }

    /// The tags on a snapshot.
    pub(super) fn holds(&self, snapshot: &str) -> Vec<String> {
        self.state(|state| state.snapshots[snapshot].holds.iter().cloned().collect())
    }

    /// Names of all datasets below this one.
    pub(super) fn below(&self, parent: &str) -> Vec<String> {
        let prefix = format!("{parent}/");
        self.state(|state| state.datasets.keys().filter(|name| name.starts_with(&prefix)).cloned().collect())
    }

    /// Somebody works without Stillframe.
    pub(super) fn by_hand(&self, args: &str) {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let answer = self.state(|state| state.run(&args));
        assert_eq!(answer.status, ExitStatus::Code(0), "{args:?}: {}", answer.stderr);
    }

    fn answer(&self, invocation: &Invocation) -> Result<Output, CommandError> {
        assert_eq!((invocation.program.as_str(), &invocation.stdin), ("zfs", &None));
        let args = &invocation.args;
        assert!(SHAPES_OF_ALLOWED.with(|shapes| shapes.contains(&shape(args))), "not in the table of allowed ones: {args:?}");
        self.state(|state| {
            state.seen.push(args.clone());
            match state.fault(&args.join(" ")) {
                Some(fault) => {
                    if fault.takes_hold {
                        state.run(args);
                    }
                    fault.answer
                }
                None => Ok(state.run(args)),
            }
        })
    }
}

impl State {
    /// Adds a dataset with its parents, mounted.
    pub(super) fn add(&mut self, name: &str) {
        for (end, _) in name.match_indices('/').chain([(name.len(), "")]) {
            if !self.datasets.contains_key(&name[..end]) {
                let guid = self.guid();
                self.datasets.insert(name[..end].to_owned(), Dataset { guid, is_mounted: true, ..Dataset::default() });
            }
        }
    }

    /// Names of the clones of a snapshot.
    pub(super) fn clones_of(&self, snapshot: &str) -> Vec<String> {
        let is_clone = |(_, dataset): &(&String, &Dataset)| dataset.origin.as_deref() == Some(snapshot);
        self.datasets.iter().filter(is_clone).map(|(name, _)| name.clone()).collect()
    }

    /// Whether the user may do this there.
    pub(super) fn may(&self, dataset: &str, right: &str) -> bool {
        let Some(rights) = &self.rights else { return true };
        rights.iter().any(|(root, rights)| crate::name::is_under(dataset, root) && rights.contains(right))
    }

    pub(super) fn guid(&mut self) -> u64 {
        self.next_guid += 1;
        self.next_guid
    }

    pub(super) fn txg(&mut self) -> u64 {
        self.next_txg += 1;
        self.next_txg
    }

    fn fault(&mut self, args: &str) -> Option<Fault> {
        let index = self.faults.iter().position(|fault| args.contains(&fault.containing))?;
        if self.faults[index].successes == 0 {
            return Some(self.faults.remove(index));
        }
        self.faults[index].successes -= 1;
        None
    }

    /// Does what a real `zfs` would.
    pub(super) fn run(&mut self, args: &[String]) -> Output {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match args[..] {
            ["snapshot", ref rest @ ..] => self.snapshot(rest),
            ["hold", tag, ref snapshots @ ..] => self.hold(tag, snapshots),
            ["release", tag, snapshot] => self.release(tag, snapshot),
            ["destroy", name] => self.destroy(name),
            ["clone", ref options @ .., snapshot, clone] => self.clone(options, snapshot, clone),
            ["mount", name] => self.mount(name),
            ["unmount", name] => self.unmount(name),
            ["promote", name] => self.promote(name),
            ["rename", from, to] => self.rename(from, to),
            ["get", "-H", "-p", "-o", "value", "userused@0", _] => {
                output(0, if self.rights.is_none() { "4096\n" } else { "-\n" }, "")
            }
            ["get", ref rest @ ..] => self.get(rest),
            ["list", ref rest @ ..] => self.list(rest),
            ["holds", "-H", ref snapshots @ ..] => self.print_holds(snapshots),
            ["allow", dataset] => self.print_rights(dataset),
            _ => panic!("the fake does not know {args:?}"),
        }
    }
}
