//! Waiting for a lease, and the judgement that its holder is dead.
//!
//! Time is what this process has slept between its looks, which is never more than what has passed. So neither a clock that is
//! set, nor one of another host, nor a suspension of this one makes a holder look dead that is not.

use std::time::Duration;

use super::TERM;
use super::process;
use super::record::{Found, LeaseState};
use crate::catalog::LeaseError;
use crate::clock::Clock;

/// Time between two looks at a lease that is held.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whom a lease is taken over from.
pub(super) enum Predecessor {
    /// Nobody, or one who released it.
    Gone(u64),
    /// One who has shown nothing for the whole term.
    Expired(u64),
}

impl Predecessor {
    pub(super) fn token(&self) -> u64 {
        match self {
            Self::Gone(token) | Self::Expired(token) => *token,
        }
    }

    pub(super) fn expired(&self) -> Option<u64> {
        match self {
            Self::Gone(_) => None,
            Self::Expired(token) => Some(*token),
        }
    }
}

/// One wait, with what was seen last and for how long.
pub(super) struct Wait {
    waited: Duration,
    deadline: Duration,
    process_space: Option<String>,
    seen: Option<Found>,
    unchanged: Duration,
}

impl Wait {
    pub(super) fn new(deadline: Duration, process_space: Option<String>) -> Self {
        Self { waited: Duration::ZERO, deadline, process_space, seen: None, unchanged: Duration::ZERO }
    }

    /// Whom the lease can be taken over from; none while it is held.
    pub(super) fn predecessor(&mut self, found: Option<Found>) -> Option<Predecessor> {
        let Some(found) = found else { return Some(Predecessor::Gone(0)) };
        let token = found.token;
        let holder = &found.record.holder;
        if found.record.state == LeaseState::Released {
            return Some(Predecessor::Gone(token));
        }
        if self.process_space.is_some() && holder.process_space == self.process_space && process::is_gone(holder.process_id) {
            tracing::info!("the lease of this cluster was left by {holder}, which has ended");
            return Some(Predecessor::Gone(token));
        }
        self.is_silent(found).then_some(Predecessor::Expired(token))
    }

    /// Whether the holder has shown nothing for the whole term, its own or ours, whichever is longer.
    pub(super) fn is_silent(&mut self, found: Found) -> bool {
        let is_same = self.seen.as_ref().is_some_and(|seen| seen.token == found.token && seen.body == found.body);
        if !is_same {
            if self.seen.as_ref().is_none_or(|seen| seen.token != found.token) {
                tracing::warn!("waiting for the lease of this cluster, held by {}", found.record.holder);
            }
            self.unchanged = Duration::ZERO;
        }
        let term = found.record.term.max(TERM);
        let is_released = found.record.state == LeaseState::Released;
        self.seen = Some(found);
        is_released || self.unchanged >= term
    }

    /// Waits until the next look; fails when the deadline has passed.
    pub(super) async fn pause(&mut self, clock: &dyn Clock) -> Result<(), LeaseError> {
        if self.waited >= self.deadline {
            let holder = self.seen.as_ref().map(|seen| Box::new(seen.record.holder.clone()));
            return Err(LeaseError::Held { holder, waited: self.waited });
        }
        clock.sleep(LOOK_EVERY).await;
        self.waited += LOOK_EVERY;
        self.unchanged += LOOK_EVERY;
        Ok(())
    }
}
