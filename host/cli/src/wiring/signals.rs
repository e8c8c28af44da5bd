//! The signals that end a command, or let it end itself.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::progress;

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on neither ends the process by itself. None when the system gives none: then both do.
    fn take() -> Option<Self> {
        Some(Self { interrupt: signal(SignalKind::interrupt()).ok()?, terminate: signal(SignalKind::terminate()).ok()? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Resolves at SIGINT or SIGTERM, of which none ends the process by itself from this call on, polled or not.
///
/// Who announces that he is there calls it before: whoever hears of it may tell him to end at once. Who would rather be ended as usual
/// until he waits for it, calls it in a block that is polled then.
pub fn termination() -> impl Future<Output = ()> {
    let signals = Signals::take();
    async {
        match signals {
            Some(mut signals) => signals.next().await,
            None => std::future::pending().await,
        }
    }
}

/// Resolves at the first SIGINT or SIGTERM. A second one ends the process at once, as without us; `left` says what finishes it then.
pub async fn interrupted(left: &'static str) {
    let Some(mut signals) = Signals::take() else { return std::future::pending().await };
    signals.next().await;
    tracing::warn!("interrupted: undoing; a second signal ends at once and leaves {left}");
    tokio::spawn(async move {
        signals.next().await;
        progress::end();
        std::process::exit(130);
    });
}
