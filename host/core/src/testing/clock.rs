//! A clock that stands still until somebody sleeps, when it has passed at once; and one that follows the real time, but runs fast.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::clock::{Clock, SystemClock};

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

/// The real time since it was made, so many times as fast: for what goes on in threads and files, where no sleep can stand for time.
///
/// It begins a second ahead, so that files that were just written are settled.
#[derive(Debug, Clone, Copy)]
pub struct HastyClock {
    begin: Timestamp,
    begin_uptime: Duration,
    speed: u32,
}

impl HastyClock {
    /// Begins now.
    #[must_use]
    pub fn begin(speed: u32) -> Self {
        let begin = SystemClock.now().saturating_add(Duration::from_secs(1)).unwrap_or(Timestamp::MAX);
        Self { begin, begin_uptime: SystemClock.uptime(), speed: speed.max(1) }
    }
}

#[async_trait]
impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        self.begin.saturating_add(self.uptime()).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime().saturating_sub(self.begin_uptime).saturating_mul(self.speed)
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration / self.speed).await;
    }
}
