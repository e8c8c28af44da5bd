//! Stretches of one timeline, and the place from which on all of it stays.

use super::super::WalReason;

/// A first and a last number, both included, and why it stays.
type Part = (u64, u64, WalReason);

/// Collects what is needed, in any order.
#[derive(Default)]
pub(super) struct Builder {
    parts: Vec<Part>,
    everything: Option<(u64, WalReason)>,
}

impl Builder {
    pub(super) fn part(&mut self, first: u64, last: u64, reason: &WalReason) {
        self.parts.push((first, last, reason.clone()));
    }

    /// Of several, the one that begins first decides.
    pub(super) fn everything_from(&mut self, first: u64, reason: &WalReason) {
        if self.everything.as_ref().is_none_or(|(earliest, _)| first < *earliest) {
            self.everything = Some((first, reason.clone()));
        }
    }

    pub(super) fn build(mut self) -> Stretches {
        self.parts.sort_by_key(|(first, last, _)| (*first, *last));
        let mut parts: Vec<Part> = Vec::with_capacity(self.parts.len());
        for (first, last, reason) in self.parts {
            // What two need is told of the one that begins first.
            let first = parts.last().map_or(first, |(_, end, _)| first.max(end.saturating_add(1)));
            if first <= last {
                parts.push((first, last, reason));
            }
        }
        Stretches { parts, everything: self.everything }
    }
}

/// Parts that do not overlap, in order.
pub(super) struct Stretches {
    parts: Vec<Part>,
    everything: Option<(u64, WalReason)>,
}

impl Stretches {
    pub(super) fn reason_for(&self, number: u64) -> Option<&WalReason> {
        let following = self.parts.partition_point(|(first, _, _)| *first <= number);
        let part = self.parts[..following].last().filter(|(_, last, _)| number <= *last).map(|(_, _, reason)| reason);
        part.or_else(|| self.everything.as_ref().filter(|(first, _)| *first <= number).map(|(_, reason)| reason))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Builder, WalReason};

    fn reason(number: usize) -> WalReason {
        WalReason::UnreadableWalG(number.to_string().into())
    }

    proptest! {
        #[test]
        fn finds_what_a_look_at_each_would_find(
            parts in proptest::collection::vec((0u64..60, 0u64..10), 0..12),
            everything in proptest::collection::vec(0u64..80, 0..3),
        ) {
            let mut builder = Builder::default();
            for (number, (first, length)) in parts.iter().enumerate() {
                builder.part(*first, first + length, &reason(number));
            }
            for first in &everything {
                builder.everything_from(*first, &WalReason::History);
            }
            let stretches = builder.build();
            for number in 0..100 {
                let holders: Vec<WalReason> = parts
                    .iter()
                    .enumerate()
                    .filter(|(_, (first, length))| (*first..=first + length).contains(&number))
                    .map(|(place, _)| reason(place))
                    .collect();
                let found = stretches.reason_for(number);
                if holders.is_empty() {
                    let stays = everything.iter().any(|first| *first <= number);
                    prop_assert_eq!(found, stays.then_some(&WalReason::History));
                } else {
                    prop_assert!(found.is_some_and(|found| holders.contains(found)), "{:?}", found);
                }
            }
        }
    }
}
