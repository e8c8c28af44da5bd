//! The way to a timeline: from which of its ancestors each segment is taken.

use crate::postgres::{Lsn, TimelineHistory, TimelineId, WalRange, WalSegmentSize};

/// The way to a timeline, segment by segment.
pub(crate) struct Way {
    pub(super) history: TimelineHistory,
    pub(super) spans: Vec<Span>,
}

/// The segments that are taken from one timeline of the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) timeline: TimelineId,
    /// Where the way enters the timeline.
    pub(super) begin: Lsn,
    pub(super) first: u64,
    /// The last one; below the first when none are taken. None on the timeline itself, which is open, or when nothing lies before it.
    pub(super) end: Option<u64>,
    /// Where the way leaves the timeline.
    pub(super) fork: Option<Lsn>,
}

impl Way {
    pub(crate) fn new(history: TimelineHistory, size: WalSegmentSize) -> Self {
        let number = |position: Lsn| position.0 / size.bytes();
        let mut begin = Lsn(0);
        let mut spans = Vec::new();
        for fork in history.ancestors() {
            // The segment of the fork lies on the child, which begins with a copy of it.
            let end = number(fork.position).checked_sub(1);
            spans.push(Span { timeline: fork.timeline, begin, first: number(begin), end, fork: Some(fork.position) });
            begin = fork.position;
        }
        spans.push(Span { timeline: history.timeline(), begin, first: number(begin), end: None, fork: None });
        Self { history, spans }
    }

    /// The timelines from which the segments from one number to another are taken.
    pub(crate) fn pieces(&self, first: u64, last: u64) -> Vec<WalRange> {
        let taken = self.spans.iter().filter(|span| !span.is_empty());
        let clipped = taken.map(|span| WalRange {
            timeline: span.timeline,
            first: span.first.max(first),
            last: span.end.map_or(last, |end| end.min(last)),
        });
        clipped.filter(|piece| piece.first <= piece.last).collect()
    }
}

impl Span {
    pub(super) fn is_empty(&self) -> bool {
        match self.end {
            Some(end) => end < self.first,
            None => self.fork.is_some(),
        }
    }
}
