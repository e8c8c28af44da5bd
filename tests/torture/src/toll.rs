//! Who was killed, how often, and what else has happened: the report.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use stillframe_tests::Random;

use crate::act::Act;
use crate::installation::StoreKind;

/// Whom a kill is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The program, at any moment of its run.
    Host,
    /// The program while its provider is changing the storage, or what the provider runs.
    Provider,
    /// `wal-push`, where the server has called it.
    Archiver,
    /// The server as a whole.
    Server,
    /// One process of the server, upon which all of them end.
    Backend,
    /// The server of the store.
    Store,
    /// The directory of the store is taken away for a while: no kill, and not counted as one.
    Mount,
}

impl Victim {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Host, Self::Provider, Self::Archiver, Self::Server, Self::Backend, Self::Store, Self::Mount];

    /// How many of ten are meant for it.
    pub fn share(self, store: StoreKind) -> usize {
        match self {
            Self::Host => 4,
            Self::Provider => 2,
            Self::Archiver | Self::Server | Self::Backend => 1,
            Self::Store => usize::from(store == StoreKind::S3),
            Self::Mount => usize::from(store == StoreKind::Local),
        }
    }

    /// Ten victims, shuffled: everybody has his share whatever chance says.
    pub(crate) fn deck(store: StoreKind, random: &mut Random) -> Vec<Self> {
        let mut deck: Vec<Self> =
            Self::ALL.into_iter().flat_map(|victim| std::iter::repeat_n(victim, victim.share(store))).collect();
        for index in (1..deck.len()).rev() {
            deck.swap(index, random.below(index + 1));
        }
        deck
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Host => "host",
            Self::Provider => "provider, in a call",
            Self::Archiver => "wal-push of the server",
            Self::Server => "server",
            Self::Backend => "one backend",
            Self::Store => "server of the store",
            Self::Mount => "directory of the store",
        })
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Done,
    Refused,
    TryAgain,
    Killed,
}

/// What has happened in one installation, or in several.
#[derive(Debug, Default, Clone)]
pub struct Toll {
    kills: BTreeMap<Victim, usize>,
    endings: BTreeMap<(Act, Ending), usize>,
    /// What `reconcile` found when everything had settled, and what it did about it.
    findings: BTreeMap<String, usize>,
    /// Attempts after which nobody was dead.
    pub(crate) spared: usize,
    pub(crate) settlements: usize,
    pub(crate) restores: usize,
    pub(crate) targets: usize,
    pub(crate) refused: usize,
    pub(crate) rows: usize,
    pub(crate) unanswered: (usize, usize),
    pub(crate) elapsed: Duration,
}

impl Toll {
    pub(crate) fn killed(&mut self, victim: Victim) {
        *self.kills.entry(victim).or_default() += 1;
    }

    pub(crate) fn ended(&mut self, act: Act, ending: Ending) {
        *self.endings.entry((act, ending)).or_default() += 1;
    }

    pub(crate) fn found(&mut self, what: String) {
        *self.findings.entry(what).or_default() += 1;
    }

    /// Processes that were killed; without the outages that are none.
    pub fn kills(&self) -> usize {
        self.kills.iter().filter(|(victim, _)| **victim != Victim::Mount).map(|(_, count)| count).sum()
    }

    /// How often this one was hit.
    pub fn kills_of(&self, victim: Victim) -> usize {
        self.kills.get(&victim).copied().unwrap_or_default()
    }

    /// Adds what has happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (victim, count) in &other.kills {
            *self.kills.entry(*victim).or_default() += count;
        }
        for (key, count) in &other.endings {
            *self.endings.entry(*key).or_default() += count;
        }
        for (key, count) in &other.findings {
            *self.findings.entry(key.clone()).or_default() += count;
        }
        self.spared += other.spared;
        self.settlements += other.settlements;
        self.restores += other.restores;
        self.targets += other.targets;
        self.refused += other.refused;
        self.rows += other.rows;
        self.unanswered.0 += other.unanswered.0;
        self.unanswered.1 += other.unanswered.1;
        self.elapsed += other.elapsed;
    }

    fn ending(&self, act: Act, ending: Ending) -> usize {
        self.endings.get(&(act, ending)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Toll {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("killed with SIGKILL: {} processes in {} s", self.kills(), self.elapsed.as_secs());
        let _infallible = writeln!(text, " ({} more attempts came too early or too late)", self.spared);
        for victim in Victim::ALL.into_iter().filter(|victim| self.kills_of(*victim) > 0) {
            let remark = if victim == Victim::Mount { "  taken away for a while; not counted as a kill" } else { "" };
            let _infallible = writeln!(text, "  {victim:24} {:5}{remark}", self.kills_of(victim));
        }
        let _infallible = writeln!(text, "commands                   done  refused  try again  killed");
        for act in Act::ALL {
            let [done, refused, again, killed] =
                [Ending::Done, Ending::Refused, Ending::TryAgain, Ending::Killed].map(|ending| self.ending(act, ending));
            let _infallible = writeln!(text, "  {act:24} {done:4} {refused:8} {again:10} {killed:7}");
        }
        let _infallible = writeln!(text, "settled {} times; `reconcile` found then:", self.settlements);
        for (what, count) in &self.findings {
            let _infallible = writeln!(text, "  {what:40} {count:5}");
        }
        let (unanswered, committed) = self.unanswered;
        let _infallible = write!(
            text,
            "rows written: {}; of {unanswered} a kill took the answer, and {committed} of these were committed\nbackups restored: {}; \
             targets of point-in-time recovery that showed exactly their rows: {}\nlost moments that were refused: {}",
            self.rows, self.restores, self.targets, self.refused
        );
        formatter.write_str(&text)
    }
}
