//! Why the sandbox ended a call, said so that an operator understands it.

use stillframe_core::provider::ProviderFault;
use wasmtime_wasi::I32Exit;

use crate::deadline::Expired;
use crate::state::State;
use crate::text::clean;

/// Bytes of the engine's message that are quoted.
const MAX_REASON_BYTES: usize = 1 << 10;

/// Bytes of the backtrace in the debug log.
const MAX_BACKTRACE_BYTES: usize = 16 << 10;

/// Tells what ended a call that did not return.
pub(crate) fn of_call(error: &wasmtime::Error, state: &State) -> ProviderFault {
    if let Some(expired) = error.downcast_ref::<Expired>() {
        return of_deadline(*expired);
    }
    tracing::debug!(provider = state.provider.as_str(), "{}", clean(&format!("{error:?}"), MAX_BACKTRACE_BYTES));
    let mut reason = match error.downcast_ref::<I32Exit>() {
        Some(_) => "it tried to exit the process".to_owned(),
        None => clean(&error.root_cause().to_string(), MAX_REASON_BYTES),
    };
    if let Some(limit) = state.limiter.refused() {
        reason = format!("{reason}, after it wanted more than its memory limit of {limit} bytes");
    }
    if let Some(words) = state.stderr.quote() {
        reason = format!("{reason}; it wrote: {words}");
    }
    ProviderFault::Stopped(reason)
}

/// The deadline ended it.
pub(crate) fn of_deadline(expired: Expired) -> ProviderFault {
    ProviderFault::Deadline { seconds: expired.seconds }
}
