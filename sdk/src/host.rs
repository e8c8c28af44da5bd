//! The capability that every provider has: logging, progress and time.

pub use crate::bindings::base::stillframe::provider::host::Level;

/// Logging, progress and time.
pub trait Host {
    /// Writes one message to the operator's log.
    fn log(&self, level: Level, message: &str);

    /// Tells how far a long call has come, in units of the provider's choice.
    fn progress(&self, done: u64, total: Option<u64>, message: &str);

    /// Wall clock, milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Milliseconds until the host interrupts this call.
    fn remaining_ms(&self) -> u64;

    /// Sleeps; false at once when the deadline is nearer than that.
    #[must_use = "false means that there is no time left"]
    fn sleep_ms(&self, duration_ms: u32) -> bool;
}

#[cfg(target_arch = "wasm32")]
mod imported {
    use super::{Host, Level};
    use crate::Sandbox;
    use crate::bindings::base::stillframe::provider::host;

    impl Host for Sandbox {
        fn log(&self, level: Level, message: &str) {
            host::log(level, message);
        }

        fn progress(&self, done: u64, total: Option<u64>, message: &str) {
            host::progress(done, total, message);
        }

        fn now_ms(&self) -> u64 {
            host::now_ms()
        }

        fn remaining_ms(&self) -> u64 {
            host::remaining_ms()
        }

        fn sleep_ms(&self, duration_ms: u32) -> bool {
            host::sleep_ms(duration_ms)
        }
    }
}
