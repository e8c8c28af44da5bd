//! What a service manager hears: that we serve, that we end, and that we are alive.
//!
//! Each word is said from a thread of its own: a manager that does not listen for a while must not keep WAL from being archived.

use std::time::Duration;

use sd_notify::{NotifyState, notify};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// Says that what was started is there: the socket answers, or backup mode is held.
pub fn ready() {
    drop(tell(NotifyState::Ready));
}

/// Says that the daemon ends on purpose; waits until it is said, or nobody listens, for the process may end right after.
pub(super) async fn stopping() {
    let _ = timeout(FAREWELL, tell(NotifyState::Stopping)).await;
}

/// Longest wait for a service manager that does not listen.
const FAREWELL: Duration = Duration::from_secs(1);

/// Lets the loop that accepts connections say that it is alive: said from anywhere else, it would prove nothing.
pub(super) struct Watchdog {
    ticks: Option<Interval>,
    last: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Asks the environment how often; never, when nobody watches.
    pub(super) fn new() -> Self {
        let ticks = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()).map(|limit| {
            // Half of the limit, as systemd advises.
            let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks, last: None }
    }

    /// Waits until it is time; for ever, when nobody watches.
    pub(super) async fn due(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Says so, unless the last time was not heard yet.
    pub(super) fn alive(&mut self) {
        if self.last.as_ref().is_none_or(JoinHandle::is_finished) {
            self.last = Some(tell(NotifyState::Watchdog));
        }
    }
}

fn tell(state: NotifyState<'static>) -> JoinHandle<()> {
    spawn_blocking(move || {
        // Without a service manager there is nobody to tell, and that is no error.
        if let Err(error) = notify(&[state]) {
            tracing::warn!(%error, "the service manager is not told");
        }
    })
}
