//! A clock that stands still until somebody sleeps: then it has passed at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::clock::Clock;

/// A clock whose time passes by sleeping, without waiting. Clones are the same clock.
///
/// Sleepers yield first, so that whatever is ready beside them goes ahead: a deadline never beats an answer that is there.
#[derive(Debug, Clone)]
pub struct ManualClock {
    times: Arc<Mutex<Times>>,
}

#[derive(Debug)]
struct Times {
    wall: Timestamp,
    uptime: Duration,
}

impl ManualClock {
    /// Starts at this moment.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { times: Arc::new(Mutex::new(Times { wall: now, uptime: Duration::ZERO })) }
    }

    /// Moves on.
    pub fn advance(&self, duration: Duration) {
        let mut times = self.times();
        times.wall = times.wall.saturating_add(duration).unwrap_or(Timestamp::MAX);
        times.uptime = times.uptime.saturating_add(duration);
    }

    /// Is set to another time, as an operator or a time server does; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.times().wall = now;
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.times().wall
    }

    fn uptime(&self) -> Duration {
        self.times().uptime
    }

    async fn sleep(&self, duration: Duration) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.advance(duration);
    }
}
