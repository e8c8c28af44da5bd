//! What lies outside of every interval, and why.

use std::collections::BTreeMap;

use super::{Gap, GapReason, RecoverableInterval, UnusableBackup};
use crate::postgres::{Lsn, TimelineId, WalRange};
use crate::window::{Line, TimelineOrigin, WindowBackup, WindowInput, ranges};

/// Finds what cannot be recovered of every timeline, between its first archived position or backup and its last.
pub(super) fn find(
    input: &WindowInput,
    lines: &BTreeMap<TimelineId, Line<'_>>,
    intervals: &[RecoverableInterval],
    unusable: &[UnusableBackup],
    bases: &[&WindowBackup],
) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut timelines: Vec<TimelineId> = input.timelines.keys().copied().chain(unusable.iter().map(|it| it.timeline)).collect();
    timelines.sort_unstable();
    timelines.dedup();
    for timeline in timelines {
        let own = |of: TimelineId| of == timeline;
        let intervals = part(intervals, |interval| interval.timeline, timeline);
        let unusable = part(unusable, |backup| backup.timeline, timeline);
        let Some(domain) = domain(input, lines.get(&timeline), timeline, unusable) else { continue };
        let finder = Finder { input, timeline, line: lines.get(&timeline), begin: domain.0, unusable, bases };
        let mut from = domain.0;
        debug_assert!(intervals.iter().all(|interval| own(interval.timeline)));
        for interval in intervals {
            if interval.from.lsn > from {
                gaps.push(finder.gap(from, interval.from.lsn));
            }
            from = from.max(interval.to.lsn);
        }
        if from < domain.1 || (intervals.is_empty() && !unusable.is_empty()) {
            gaps.push(finder.gap(from, domain.1.max(from)));
        }
    }
    gaps
}

/// The entries of one timeline in a list that is sorted by it.
fn part<T>(all: &[T], timeline_of: impl Fn(&T) -> TimelineId, timeline: TimelineId) -> &[T] {
    let begin = all.partition_point(|one| timeline_of(one) < timeline);
    let end = all.partition_point(|one| timeline_of(one) <= timeline);
    &all[begin..end]
}

/// From the first to the last position of which anything is known.
fn domain(input: &WindowInput, line: Option<&Line<'_>>, timeline: TimelineId, unusable: &[UnusableBackup]) -> Option<(Lsn, Lsn)> {
    let bytes = input.segment_size.bytes();
    let numbers = input.numbers(timeline);
    let fork = line.and_then(|line| line.history().ancestors().last()).map(|fork| fork.position);
    let stops = || unusable.iter().map(|backup| backup.stop);
    let first = numbers.first().map(|first| Lsn(first.saturating_mul(bytes)));
    let last = numbers.last().map(|last| Lsn((last + 1).saturating_mul(bytes)));
    // The first segment begins with what is the parent's. Where the parent's WAL leads here, nothing may be missing behind the fork.
    let is_led_to = |fork: &Lsn| line.is_some_and(|line| line.stretches().first().is_some_and(|it| it.first < fork.0 / bytes));
    let begin = match fork {
        Some(fork) if is_led_to(&fork) => first.or(stops().next()).map(|_| fork),
        Some(fork) => first.into_iter().chain(stops()).min().map(|begin| begin.max(fork)),
        None => first.into_iter().chain(stops()).min(),
    };
    Some((begin?, last.into_iter().chain(stops()).max()?))
}

struct Finder<'a> {
    input: &'a WindowInput,
    timeline: TimelineId,
    line: Option<&'a Line<'a>>,
    /// Where what is known of the timeline begins.
    begin: Lsn,
    unusable: &'a [UnusableBackup],
    bases: &'a [&'a WindowBackup],
}

impl Finder<'_> {
    fn gap(&self, from: Lsn, to: Lsn) -> Gap {
        let bytes = self.input.segment_size.bytes();
        let mut reasons = Vec::new();
        let mut missing = self.missing_within(from, to);
        if from == self.begin {
            missing.extend(self.missing_before());
            match self.input.timelines.get(&self.timeline).map(|wal| &wal.origin) {
                Some(TimelineOrigin::First | TimelineOrigin::Known(_)) => {}
                None if self.timeline == TimelineId::FIRST => {}
                Some(origin) => reasons.push(GapReason::History(origin.clone())),
                None => reasons.push(GapReason::History(TimelineOrigin::Missing)),
            }
        }
        let missing = ranges::union(missing);
        let own_missing = missing.iter().rev().find(|range| range.timeline == self.timeline);
        let is_followed = own_missing.is_none_or(|range| (range.last + 1).saturating_mul(bytes) < to.0);
        if !missing.is_empty() {
            reasons.push(GapReason::Missing(missing));
        }
        let begin = self.unusable.partition_point(|backup| backup.stop < from);
        let end = self.unusable.partition_point(|backup| backup.stop <= to);
        let within = self.unusable.get(begin..end).unwrap_or_default();
        reasons.extend(within.iter().cloned().map(GapReason::Backup));
        let is_explained = !reasons.is_empty() && (!is_followed || !within.is_empty());
        if !is_explained && !reasons.iter().any(|reason| matches!(reason, GapReason::History(_))) {
            reasons.push(GapReason::NoBackup);
        }
        Gap { timeline: self.timeline, from, to, reasons }
    }

    fn missing_within(&self, from: Lsn, to: Lsn) -> Vec<WalRange> {
        let bytes = self.input.segment_size.bytes();
        if from >= to {
            return Vec::new();
        }
        let mut numbers = self.input.numbers(self.timeline).to_vec();
        // What a backup keeps for itself goes up to its own end: before that, nothing of it is missing.
        let keeps = |backup: &&&WindowBackup| backup.keeps_wal && backup.timeline == self.timeline && backup.stop >= to;
        numbers.extend(self.bases.iter().filter(keeps).map(|backup| backup.wal_range().first));
        numbers.sort_unstable();
        numbers.dedup();
        ranges::missing(self.timeline, &numbers, from.0 / bytes, (to.0 - 1) / bytes)
    }

    /// What is missing on the way from the newest backup of an ancestor to where the timeline begins.
    fn missing_before(&self) -> Vec<WalRange> {
        let Some(line) = self.line else { return Vec::new() };
        let Some(fork) = line.history().ancestors().last().map(|fork| fork.position) else { return Vec::new() };
        let leads_here =
            |backup: &&&WindowBackup| backup.timeline != self.timeline && line.history().contains(backup.timeline, backup.stop);
        let Some(newest) = self.bases.iter().rfind(leads_here) else { return Vec::new() };
        line.missing(newest.wal_range().first, fork.0 / self.input.segment_size.bytes())
    }
}
