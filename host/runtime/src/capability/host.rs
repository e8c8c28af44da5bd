//! `host`: log, progress and time, which every provider has.
//!
//! A provider's words end up in the operator's log, so they are escaped, cut, counted and tagged with its name.

use std::time::Duration;

use jiff::Timestamp;
use stillframe_core::provider::ProviderName;
use tokio::time::Instant;

use crate::bindings::stillframe::provider::host::{self, Level};
use crate::state::State;
use crate::text::clean;

/// Bytes of one message.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Messages of one call.
const MAX_MESSAGES: u32 = 1_000;

/// Where progress is told, so that a program can show it otherwise than a message.
const PROGRESS: &str = "stillframe_runtime::progress";

/// Progress is told no more often than a person can read it.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How much one call has said.
#[derive(Debug, Default)]
pub(crate) struct Chatter {
    messages: u32,
    last_progress: Option<Instant>,
}

impl host::Host for State {
    async fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        if self.chatter.may_log(&self.provider) {
            write(&self.provider, level, &clean(&message, MAX_MESSAGE_BYTES));
        }
        Ok(())
    }

    async fn progress(&mut self, done: u64, total: Option<u64>, message: String) -> wasmtime::Result<()> {
        if self.chatter.may_tell_progress(Instant::now()) {
            let provider = self.provider.as_str();
            tracing::info!(target: PROGRESS, provider, done, total, "{}", clean(&message, MAX_MESSAGE_BYTES));
        }
        Ok(())
    }

    async fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0))
    }

    async fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.deadline.remaining().as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_ms(&mut self, duration: u32) -> wasmtime::Result<bool> {
        let duration = Duration::from_millis(duration.into());
        if duration >= self.deadline.remaining() {
            return Ok(false);
        }
        tokio::time::sleep(duration).await;
        Ok(true)
    }
}

impl Chatter {
    /// Counts a message; says once that the rest is dropped.
    fn may_log(&mut self, provider: &ProviderName) -> bool {
        self.messages = self.messages.saturating_add(1);
        if self.messages == MAX_MESSAGES + 1 {
            tracing::warn!(provider = provider.as_str(), "more than {MAX_MESSAGES} messages in one call; the rest is dropped");
        }
        self.messages <= MAX_MESSAGES
    }

    fn may_tell_progress(&mut self, now: Instant) -> bool {
        if self.last_progress.is_some_and(|last| now.duration_since(last) < PROGRESS_INTERVAL) {
            return false;
        }
        self.last_progress = Some(now);
        true
    }
}

/// The level of an event is fixed where it is written, hence one line each.
fn write(provider: &ProviderName, level: Level, message: &str) {
    let provider = provider.as_str();
    match level {
        Level::Trace => tracing::trace!(provider, "{message}"),
        Level::Debug => tracing::debug!(provider, "{message}"),
        Level::Info => tracing::info!(provider, "{message}"),
        Level::Warn => tracing::warn!(provider, "{message}"),
        Level::Error => tracing::error!(provider, "{message}"),
    }
}
