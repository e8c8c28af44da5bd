//! The moment at which an operation is stopped.
//!
//! Two mechanisms hold it: the engine interrupts a guest that computes at every tick of its epoch, and a timer ends a guest that
//! waits in a call of the host. Either way the guest's instance is dropped.

use std::time::Duration;

use tokio::time::Instant;

/// When an operation is stopped, and how long that was in the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    seconds: u64,
}

/// The deadline has passed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the deadline of {seconds} s has passed")]
pub(crate) struct Expired {
    pub(crate) seconds: u64,
}

impl Deadline {
    /// Begins now. A span that the clock cannot hold is cut to a year.
    pub(crate) fn begin(seconds: u64) -> Self {
        const YEAR_SECS: u64 = 365 * 24 * 3600;
        Self { at: Instant::now() + Duration::from_secs(seconds.min(YEAR_SECS)), seconds }
    }

    /// What is left; zero when it has passed.
    pub(crate) fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Fails once it has passed.
    pub(crate) fn check(&self) -> Result<(), Expired> {
        if self.remaining().is_zero() { Err(self.expired()) } else { Ok(()) }
    }

    /// Drives a future until it ends or the deadline passes.
    pub(crate) async fn limit<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        tokio::time::timeout_at(self.at, future).await.map_err(|_| self.expired())
    }

    fn expired(&self) -> Expired {
        Expired { seconds: self.seconds }
    }
}
