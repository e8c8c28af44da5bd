//! One timeline with the way to it, and how far replay along it goes.
//!
//! PostgreSQL takes each segment from the newest timeline of the way that has begun by then; where a fork lies within a segment, the
//! child begins with a copy of it. Only if that copy is absent is the parent's own taken, which is right up to the fork and wrong
//! behind it: there replay ends.

use super::WindowInput;
use super::ranges;
use super::way::{Span, Way};
use crate::postgres::{Lsn, TimelineHistory, TimelineId, WalRange};

/// A timeline with the way to it, and what is archived of both.
pub(crate) struct Line<'a> {
    input: &'a WindowInput,
    way: Way,
    /// Sorted; no two of them touch.
    stretches: Vec<Stretch>,
}

/// Segments that follow one another along the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Number of the first one.
    pub(crate) first: u64,
    /// Number of the last one.
    pub(crate) last: u64,
    /// Up to here they can be replayed.
    pub(crate) end: Lsn,
    /// The timeline whose own segment stands in for the copy of the last one.
    stand_in: Option<TimelineId>,
}

/// Why replay along a timeline goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineEnd {
    /// Nothing later is archived.
    ArchiveEnds,
    /// These segments are missing, and later ones are there.
    Missing(Vec<WalRange>),
}

impl<'a> Line<'a> {
    pub(crate) fn new(input: &'a WindowInput, history: TimelineHistory) -> Self {
        let mut line = Self { input, way: Way::new(history, input.segment_size), stretches: Vec::new() };
        line.stretches = line.find_stretches();
        line
    }

    pub(crate) fn history(&self) -> &TimelineHistory {
        &self.way.history
    }

    pub(crate) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// The stretch with this segment.
    pub(crate) fn stretch_at(&self, number: u64) -> Option<&Stretch> {
        let place = self.stretches.partition_point(|stretch| stretch.last < number);
        self.stretches.get(place).filter(|stretch| stretch.first <= number)
    }

    /// The stretch over which a backup is restored to its own end, if that is archived.
    pub(crate) fn stretch_of(&self, start: Lsn, stop: Lsn) -> Option<&Stretch> {
        self.stretch_at(start.0 / self.input.segment_size.bytes()).filter(|stretch| stretch.end >= stop)
    }

    /// Why replay over this stretch goes no further.
    pub(crate) fn end_of(&self, stretch: &Stretch) -> LineEnd {
        let next = self.next_needed(stretch);
        let later = self.stretches.get(self.stretches.partition_point(|other| other.first <= stretch.first));
        let later = later.map(|later| later.first.saturating_sub(1).max(next));
        later.map_or(LineEnd::ArchiveEnds, |last| LineEnd::Missing(self.missing(next, last)))
    }

    /// Why replay goes no further that begins at a position whose segment is not archived.
    pub(crate) fn end_behind(&self, start: Lsn) -> LineEnd {
        let first = start.0 / self.input.segment_size.bytes();
        let later = self.stretches.get(self.stretches.partition_point(|other| other.first <= first));
        later.map_or(LineEnd::ArchiveEnds, |later| LineEnd::Missing(self.missing(first, later.first.saturating_sub(1).max(first))))
    }

    /// The segment without which replay over this stretch goes no further.
    pub(crate) fn next_needed(&self, stretch: &Stretch) -> u64 {
        stretch.end.0 / self.input.segment_size.bytes()
    }

    /// What is missing of these segments, each on the timeline from which it would be taken.
    pub(crate) fn missing(&self, first: u64, last: u64) -> Vec<WalRange> {
        let pieces = self.way.pieces(first, last).into_iter();
        pieces
            .flat_map(|piece| ranges::missing(piece.timeline, self.input.numbers(piece.timeline), piece.first, piece.last))
            .collect()
    }

    /// From which timelines replay over a stretch takes the segments from one to another.
    pub(crate) fn replayed(&self, stretch: &Stretch, first: u64, last: u64) -> Vec<WalRange> {
        let mut pieces = self.way.pieces(first, last);
        let Some(timeline) = stretch.stand_in.filter(|_| last >= stretch.last) else { return pieces };
        if let Some(piece) = pieces.last_mut() {
            if piece.first == piece.last {
                pieces.pop();
            } else {
                piece.last -= 1;
            }
        }
        pieces.push(WalRange { timeline, first: stretch.last, last: stretch.last });
        ranges::union(pieces)
    }

    /// Where the way enters and leaves each of its timelines, the oldest first.
    pub(crate) fn places(&self) -> impl Iterator<Item = (TimelineId, Lsn, Option<Lsn>)> {
        self.way.spans.iter().map(|span| (span.timeline, span.begin, span.fork))
    }

    fn find_stretches(&self) -> Vec<Stretch> {
        let bytes = self.input.segment_size.bytes();
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut push = |first: u64, last: u64, end: Lsn, stand_in: Option<TimelineId>| match stretches.last_mut() {
            Some(before) if before.end.0 == first.saturating_mul(bytes) => {
                (before.last, before.end, before.stand_in) = (last, end, stand_in);
            }
            _ => stretches.push(Stretch { first, last, end, stand_in }),
        };
        for (place, span) in self.way.spans.iter().enumerate().filter(|(_, span)| !span.is_empty()) {
            let numbers = self.input.numbers(span.timeline);
            let begin = numbers.partition_point(|number| *number < span.first);
            let end = span.end.map_or(numbers.len(), |end| numbers.partition_point(|number| *number <= end));
            let own = numbers.get(begin..end).unwrap_or_default();
            if own.first() != Some(&span.first)
                && let Some((timeline, fork)) = self.stand_in(place)
            {
                push(span.first, span.first, fork, Some(timeline));
            }
            for run in ranges::consecutive(span.timeline, own) {
                push(run.first, run.last, Lsn((run.last + 1).saturating_mul(bytes)), None);
            }
        }
        stretches
    }

    /// Whose own segment is taken in place of the copy with which the timeline at this place of the way should begin.
    fn stand_in(&self, place: usize) -> Option<(TimelineId, Lsn)> {
        let (bytes, number) = (self.input.segment_size.bytes(), self.way.spans[place].first);
        let holds_part = |span: &&Span| {
            span.first <= number
                && span.fork.is_some_and(|fork| fork.0 / bytes == number && fork.0 % bytes > 0)
                && self.input.numbers(span.timeline).binary_search(&number).is_ok()
        };
        self.way.spans[..place].iter().rev().find(holds_part).and_then(|span| Some((span.timeline, span.fork?)))
    }
}
