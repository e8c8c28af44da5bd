//! What is known about the descent of timelines. What is not known counts as possible.

use std::collections::BTreeMap;

use crate::postgres::{Lsn, TimelineHistory, TimelineId};

/// What is known about the descent of timelines.
#[derive(Debug, Clone, Default)]
pub struct Ancestry {
    histories: BTreeMap<TimelineId, TimelineHistory>,
}

impl Ancestry {
    /// Collects histories.
    #[must_use]
    pub fn new(histories: impl IntoIterator<Item = (TimelineId, TimelineHistory)>) -> Self {
        Self { histories: histories.into_iter().collect() }
    }

    /// The history of a timeline; none when it is not known.
    #[must_use]
    pub fn history(&self, timeline: TimelineId) -> Option<&TimelineHistory> {
        self.histories.get(&timeline)
    }

    /// Whether what lies on `timeline` may be reached by replay from this position of `ancestor`. Unknown descent counts as yes.
    #[must_use]
    pub fn may_descend(&self, timeline: TimelineId, ancestor: TimelineId, position: Lsn) -> bool {
        timeline == ancestor
            || match self.histories.get(&timeline) {
                Some(history) => history.contains(ancestor, position),
                // A timeline is never older than its ancestor: the first one descends from nothing.
                None => timeline > ancestor,
            }
    }

    /// Whether `timeline` may have left `ancestor`, or a timeline that did, no earlier than at this position; if none is given,
    /// whether it ever did. Wider than [`Self::may_descend`], for positions of which not even the timeline is certain.
    #[must_use]
    pub fn may_have_left(&self, timeline: TimelineId, ancestor: TimelineId, position: Option<Lsn>) -> bool {
        timeline == ancestor
            || match self.histories.get(&timeline) {
                Some(history) => history.fork_of(ancestor).is_some_and(|fork| position.is_none_or(|position| fork >= position)),
                None => timeline > ancestor,
            }
    }
}
