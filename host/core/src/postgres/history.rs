//! The history of a timeline: which stretch of which ancestor leads to it.
//!
//! A backup can be rolled forward to a timeline only when the backup's stop position lies on that timeline's path. A position
//! beyond the fork belongs to a future that the timeline never had, although the segment names would fit.

use thiserror::Error;

use crate::error::{Classify, ErrorClass};
use crate::postgres::{Lsn, TimelineId};

/// Where a timeline's path left one ancestor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The ancestor.
    pub timeline: TimelineId,
    /// Up to here the path runs on the ancestor.
    pub position: Lsn,
}

/// A timeline and the way to it from the first one; the contents of a `.history` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineHistory {
    timeline: TimelineId,
    forks: Vec<Fork>,
}

impl TimelineHistory {
    /// The history of a timeline without ancestors, for which PostgreSQL writes no file.
    #[must_use]
    pub fn root(timeline: TimelineId) -> Self {
        Self { timeline, forks: Vec::new() }
    }

    /// Reads the `.history` file of a timeline.
    ///
    /// Fails on what PostgreSQL would refuse, on forks that run backwards, and where no ancestor is named: only the first timeline has
    /// none.
    pub fn parse(timeline: TimelineId, text: &str) -> Result<Self, InvalidHistory> {
        let mut forks: Vec<Fork> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid = |reason| InvalidHistory { timeline, line: index + 1, reason };
            let fork = parse_line(line).ok_or_else(|| invalid("it is not `timeline position reason`"))?;
            if fork.timeline >= timeline {
                return Err(invalid("an ancestor has a smaller number than its child"));
            }
            if forks.last().is_some_and(|last| fork.timeline <= last.timeline || fork.position < last.position) {
                return Err(invalid("ancestors are listed from the oldest to the newest"));
            }
            forks.push(fork);
        }
        if forks.is_empty() && timeline > TimelineId::FIRST {
            return Err(InvalidHistory {
                timeline,
                line: text.lines().count().max(1),
                reason: "no ancestor is named up to its end",
            });
        }
        Ok(Self { timeline, forks })
    }

    /// The timeline itself.
    #[must_use]
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Its ancestors, the oldest first.
    #[must_use]
    pub fn ancestors(&self) -> &[Fork] {
        &self.forks
    }

    /// Where the path left this ancestor; none for the timeline itself and for one that is no ancestor.
    #[must_use]
    pub fn fork_of(&self, ancestor: TimelineId) -> Option<Lsn> {
        self.forks.iter().find(|fork| fork.timeline == ancestor).map(|fork| fork.position)
    }

    /// Whether WAL that ends at this position of this timeline lies on the path.
    ///
    /// At a fork, parent and child hold the same data, so the fork's position counts for both.
    #[must_use]
    pub fn contains(&self, timeline: TimelineId, position: Lsn) -> bool {
        let begin_after = |count: usize| count.checked_sub(1).map_or(Lsn(0), |last| self.forks[last].position);
        if timeline == self.timeline {
            return position >= begin_after(self.forks.len());
        }
        let place = self.forks.iter().position(|fork| fork.timeline == timeline);
        place.is_some_and(|place| (begin_after(place)..=self.forks[place].position).contains(&position))
    }
}

/// A `.history` file that PostgreSQL would not follow either.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the history of timeline {timeline} is invalid: {reason}")]
pub struct InvalidHistory {
    /// The timeline.
    pub timeline: TimelineId,
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Classify for InvalidHistory {
    fn class(&self) -> ErrorClass {
        ErrorClass::Corrupt
    }
}

fn parse_line(line: &str) -> Option<Fork> {
    let mut words = line.split_ascii_whitespace();
    let timeline = TimelineId::new(words.next()?.parse().ok()?).ok()?;
    let position = words.next()?.parse().ok()?;
    Some(Fork { timeline, position })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeline(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    fn history() -> TimelineHistory {
        let text = "1\t0/3000100\tbefore 2026-11-21 10:00:00+00\n\n# a comment\n  3\t0/5000000\tno recovery target specified\n";
        TimelineHistory::parse(timeline(4), text).unwrap()
    }

    #[test]
    fn a_position_counts_only_between_the_forks_that_the_path_took() {
        let history = history();
        let on_path = [(1, 0x0), (1, 0x0300_0100), (3, 0x0300_0100), (3, 0x0500_0000), (4, 0x0500_0000), (4, 0x9900_0000)];
        let beside = [(1, 0x0300_0101), (2, 0x0300_0100), (3, 0x0300_00FF), (3, 0x0500_0001), (4, 0x04FF_FFFF), (5, 0x0600_0000)];
        assert!(on_path.iter().all(|&(number, position)| history.contains(timeline(number), Lsn(position))));
        assert!(!beside.iter().any(|&(number, position)| history.contains(timeline(number), Lsn(position))));
    }

    #[test]
    fn names_ancestors_and_forks() {
        let history = history();
        assert_eq!(history.timeline(), timeline(4));
        assert_eq!(history.ancestors().iter().map(|fork| fork.timeline.get()).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(history.fork_of(timeline(3)), Some(Lsn(0x0500_0000)));
        assert_eq!((history.fork_of(timeline(2)), history.fork_of(timeline(4))), (None, None));
    }

    #[test]
    fn a_root_contains_every_position_of_its_own_and_no_other() {
        let history = TimelineHistory::root(TimelineId::FIRST);
        assert!(history.contains(TimelineId::FIRST, Lsn(0)) && history.contains(TimelineId::FIRST, Lsn(u64::MAX)));
        assert!(!history.contains(timeline(2), Lsn(0)));
    }

    #[test]
    fn refuses_what_postgresql_refuses_and_forks_that_run_backwards() {
        for text in [
            "",
            "\n",
            "# a comment\n",
            "1",
            "1\t",
            "x\t0/1\t",
            "0\t0/1\t",
            "1 0-1",
            "4\t0/1\t",
            "5\t0/1\t",
            "2\t0/1\t\n1\t0/2\t",
            "1\t0/2\t\n2\t0/1\t",
        ] {
            assert!(TimelineHistory::parse(timeline(4), text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text: String, lines in "([0-9]{1,11}[\t ][0-9A-F/]{0,20}[a-z]*\n){0,5}", number in 1u32.., position: u64) {
            for text in [text, lines] {
                if let Ok(history) = TimelineHistory::parse(timeline(number), &text) {
                    let _ = history.contains(timeline(number), Lsn(position));
                    prop_assert!(history.ancestors().iter().all(|fork| history.contains(fork.timeline, fork.position)));
                }
            }
        }
    }
}
