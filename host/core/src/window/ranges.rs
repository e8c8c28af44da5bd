//! Arithmetic on sorted numbers of segments.

use crate::postgres::{TimelineId, WalRange};

/// Stretches of a sorted list without a hole.
pub(crate) fn consecutive(timeline: TimelineId, numbers: &[u64]) -> Vec<WalRange> {
    numbers
        .chunk_by(|one, next| one + 1 == *next)
        .filter_map(|run| Some(WalRange { timeline, first: *run.first()?, last: *run.last()? }))
        .collect()
}

/// What a sorted list does not hold of `first` to `last`, as stretches.
pub(crate) fn missing(timeline: TimelineId, numbers: &[u64], first: u64, last: u64) -> Vec<WalRange> {
    let mut gaps = Vec::new();
    let mut next = first;
    for number in &numbers[numbers.partition_point(|number| *number < first)..] {
        if *number > last {
            break;
        }
        if *number > next {
            gaps.push(WalRange { timeline, first: next, last: number - 1 });
        }
        next = number + 1;
    }
    if next <= last {
        gaps.push(WalRange { timeline, first: next, last });
    }
    gaps
}

/// Joins stretches that overlap or touch.
pub(crate) fn union(mut ranges: Vec<WalRange>) -> Vec<WalRange> {
    ranges.sort();
    let mut joined: Vec<WalRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.timeline == range.timeline && range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Segments in all of these stretches.
pub(crate) fn count(ranges: &[WalRange]) -> u64 {
    ranges.iter().map(|range| range.last - range.first + 1).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_is_either_there_or_in_a_gap(mut numbers in proptest::collection::vec(0u64..60, 0..40), first in 0u64..30, length in 0u64..40) {
            numbers.sort_unstable();
            numbers.dedup();
            let last = first + length;
            let gaps = missing(TimelineId::FIRST, &numbers, first, last);
            for number in first..=last {
                let is_in_gap = gaps.iter().any(|gap| (gap.first..=gap.last).contains(&number));
                prop_assert_eq!(is_in_gap, !numbers.contains(&number));
            }
            prop_assert!(gaps.iter().all(|gap| gap.first >= first && gap.last <= last));
            let runs = consecutive(TimelineId::FIRST, &numbers);
            prop_assert_eq!(count(&runs), numbers.len() as u64);
            prop_assert_eq!(union(runs.clone()), runs, "no two of them touch");
        }
    }
}
