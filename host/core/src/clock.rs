//! The clock, as a seam: retention, deadlines and names must be testable at any moment.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall clock. Anybody may set it, back or forth, at any moment: how long something takes, [`Clock::uptime`] tells.
    fn now(&self) -> Timestamp;

    /// Time that has passed since some moment of the life of this process. Nobody sets it. Whether it goes on while the machine is
    /// suspended is not certain.
    fn uptime(&self) -> Duration;

    /// Waits for this long.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        static FIRST_ASKED: OnceLock<Instant> = OnceLock::new();
        FIRST_ASKED.get_or_init(Instant::now).elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
