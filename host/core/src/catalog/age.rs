//! Which backup is older than which, whatever the clocks have said.
//!
//! Clocks are set back and forth, positions in the WAL never run backwards: on one timeline they decide. A time in the future is
//! corrected by the backups that are newer, and a time that is behind by those that are older. Between timelines, of whose forks
//! nothing is known here, and between clusters, the corrected times decide. Deletions know the forks as well, and have an order of
//! their own.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{BackupName, Sentinel};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId};

/// What tells how old a backup is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age<'a> {
    pub(crate) cluster: SystemIdentifier,
    pub(crate) timeline: TimelineId,
    /// Where it starts and stops.
    pub(crate) span: (Lsn, Lsn),
    /// By the server's clock.
    pub(crate) began: Timestamp,
    pub(crate) name: &'a BackupName,
}

impl Sentinel {
    pub(crate) fn age(&self) -> Age<'_> {
        Age {
            cluster: self.system_identifier,
            timeline: self.timeline,
            span: (self.start_lsn, self.stop_lsn),
            began: self.started_at,
            name: &self.name,
        }
    }
}

/// Sorts by age. Those of one cluster stay together, the cluster with the newest backup last.
pub(crate) fn oldest_first<'a, T>(
    backups: impl IntoIterator<Item = &'a T>,
    age: impl Fn(&'a T) -> Age<'a>,
    now: Timestamp,
) -> Vec<&'a T> {
    let mut lines: BTreeMap<(SystemIdentifier, TimelineId), Vec<(Age<'a>, &'a T)>> = BTreeMap::new();
    for (age, backup) in backups.into_iter().map(|backup| (age(backup), backup)) {
        lines.entry((age.cluster, age.timeline)).or_default().push((age, backup));
    }
    let mut all: Vec<(Age<'a>, &'a T)> = Vec::new();
    for (_, mut line) in lines {
        line.sort_by_key(|(age, _)| (age.span, age.began, age.name));
        correct(&mut line, now);
        all.extend(line);
    }
    let mut newest: BTreeMap<SystemIdentifier, (bool, Timestamp)> = BTreeMap::new();
    for (age, _) in &all {
        // One in the future counts only where there is no other.
        let time = (age.began <= now, age.began);
        newest.entry(age.cluster).and_modify(|known| *known = (*known).max(time)).or_insert(time);
    }
    all.sort_by_key(|(age, _)| {
        (newest.get(&age.cluster).map(|(_, time)| *time), age.cluster, age.began, age.timeline, age.span, age.name)
    });
    all.into_iter().map(|(_, backup)| backup).collect()
}

/// Lets times rise with the positions.
fn correct<T>(line: &mut [(Age<'_>, T)], now: Timestamp) {
    let mut earliest = Timestamp::MIN;
    for (age, _) in line.iter_mut().filter(|(age, _)| age.began <= now) {
        age.began = age.began.max(earliest);
        earliest = age.began;
    }
    let mut latest = Timestamp::MAX;
    for (age, _) in line.iter_mut().rev() {
        age.began = age.began.min(latest);
        latest = age.began;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    #[derive(Debug, Clone)]
    struct Taken {
        name: BackupName,
        cluster: u64,
        timeline: u32,
        start: u64,
        began: Timestamp,
    }

    impl Taken {
        fn age(&self) -> Age<'_> {
            Age {
                cluster: SystemIdentifier(self.cluster),
                timeline: TimelineId::new(self.timeline).unwrap(),
                span: (Lsn(self.start), Lsn(self.start + 1)),
                began: self.began,
                name: &self.name,
            }
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T08:00:00Z".parse().unwrap()
    }

    fn taken(number: u8, cluster: u64, timeline: u32, start: u64, hours: i64) -> Taken {
        let began = now() + jiff::SignedDuration::from_hours(hours);
        Taken { name: BackupName::new(now(), [number; 5]), cluster, timeline, start, began }
    }

    fn order(backups: &[Taken]) -> Vec<u64> {
        oldest_first(backups, Taken::age, now()).into_iter().map(|taken| taken.start).collect()
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_an_older_backup_the_newest() {
        let hours = |hours: [i64; 4]| -> Vec<Taken> {
            (1..).zip(hours).map(|(number, hours)| taken(number, 1, 1, u64::from(number), hours)).collect()
        };
        for hours in
            [hours([-4, -3, -5, -2]), hours([-1, -2, -3, -4]), hours([-500_000, -3, -500_000, -2]), hours([-4, 24, -3, -2])]
        {
            assert_eq!(order(&hours), [1, 2, 3, 4], "{hours:?}");
        }
    }

    #[test]
    fn a_time_in_the_future_does_not_bring_an_older_cluster_back() {
        let backups = [taken(1, 1, 1, 90, -9), taken(2, 1, 1, 91, 24), taken(3, 2, 1, 5, -1)];
        assert_eq!(order(&backups), [90, 91, 5]);
        // By itself it is all that is known.
        assert_eq!(order(&[taken(2, 1, 1, 91, 24)]), [91]);
    }

    #[test]
    fn between_timelines_the_corrected_times_decide() {
        // The clock of the second one's server was right all the time.
        let backups = [taken(1, 1, 1, 10, -5), taken(2, 1, 1, 20, -500_000), taken(3, 1, 2, 15, -3)];
        assert_eq!(order(&backups), [10, 20, 15]);
    }

    proptest! {
        #[test]
        fn on_one_timeline_no_clock_changes_the_order(jumps in prop::collection::vec(any::<i16>(), 1..20)) {
            let backups: Vec<Taken> =
                (1..).zip(&jumps).map(|(number, hours)| taken(number, 1, 1, u64::from(number), i64::from(*hours))).collect();
            let positions: Vec<u64> = backups.iter().map(|taken| taken.start).collect();
            prop_assert_eq!(order(&backups), positions);
        }
    }
}
