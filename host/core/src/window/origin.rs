//! Where a timeline comes from, as far as its archived history tells.

use crate::postgres::{Fork, TimelineHistory};

/// Where a timeline comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineOrigin {
    /// It is the first one, for which PostgreSQL writes no history.
    First,
    /// Its history is archived.
    Known(TimelineHistory),
    /// Its history is not archived.
    Missing,
    /// Its history is archived and damaged.
    Damaged(String),
    /// Its history is archived and cannot be read here: the key to it is missing.
    Unreadable(String),
}

impl TimelineOrigin {
    /// Where it left its parent, if that is known.
    #[must_use]
    pub fn parent(&self) -> Option<Fork> {
        self.history().and_then(|history| history.ancestors().last().copied())
    }

    /// The way to it.
    #[must_use]
    pub fn history(&self) -> Option<&TimelineHistory> {
        match self {
            Self::Known(history) => Some(history),
            Self::First | Self::Missing | Self::Damaged(_) | Self::Unreadable(_) => None,
        }
    }
}
