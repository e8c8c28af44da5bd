//! A provider that takes what it should not is stopped, with one clear error that names the provider and the cause, and the next
//! operation is not affected.

use std::time::{Duration, Instant};

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::provider::{Provider, ProviderError, ProviderFault};
use stillframe_runtime::Limits;

use crate::harness::{hostile_that, load, settings, settings_until, whole};

/// What an attack gets that would end otherwise, and what one gets that would not.
const ENOUGH_SECS: u64 = 60;
const SHORT_SECS: u64 = 1;

/// Longer than any of these takes, and far shorter than an attack that nobody stops.
const SOON: Duration = Duration::from_secs(90);

/// The error of a check that misbehaves; the same provider then answers another question.
async fn stopped(behaviour: &str, deadline_secs: u64) -> ProviderError {
    let provider = load(settings_until(deadline_secs, &[("do", behaviour), ("in", "check")])).await;
    let begin = Instant::now();
    let error = provider.check().await.unwrap_err();
    assert!(begin.elapsed() < SOON, "{behaviour} took {:?}", begin.elapsed());
    assert_eq!(error.to_string(), "provider `hostile` cannot check its configuration");
    assert!(provider.delete("h").await.is_ok(), "after {behaviour}");
    error
}

#[tokio::test]
async fn an_endless_loop_is_stopped_at_the_deadline() {
    for behaviour in ["loop", "host-call-loop", "short-sleep-loop", "sleep"] {
        let error = stopped(behaviour, SHORT_SECS).await;
        assert_eq!(error.fault, ProviderFault::Deadline { seconds: 1 }, "{behaviour}");
        assert_eq!(error.class(), ErrorClass::Transient);
        assert!(error.may_have_happened());
    }
}

#[tokio::test]
async fn a_call_that_runs_leaves_the_thread_to_others() {
    let provider = load(settings_until(SHORT_SECS, &[("do", "loop")])).await;
    let mut turns = 0;
    let others = async {
        loop {
            turns += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = provider.check() => assert!(result.is_err()),
        () = others => {}
    }
    assert!(turns > 10, "one thread, and {turns} turns for the others");
}

#[tokio::test]
async fn a_sleep_past_the_deadline_is_refused_and_not_begun() {
    assert_eq!(hostile_that("polite-sleep").await.check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_future_stops_the_guest() {
    for behaviour in ["loop", "host-call-loop", "sleep"] {
        let provider = load(settings_until(3_600, &[("do", behaviour)])).await;
        let operation = tokio::spawn(async move { provider.check().await });
        tokio::task::yield_now().await;
        operation.abort();
        // The handle is ready only once the future is gone, and with it the guest.
        let ended = tokio::time::timeout(SOON, operation).await.unwrap_or_else(|_| panic!("`{behaviour}` runs on"));
        assert!(ended.unwrap_err().is_cancelled(), "{behaviour}");
    }
}

#[tokio::test]
async fn a_memory_bomb_meets_its_limit() {
    let text = whole(&stopped("memory-bomb", ENOUGH_SECS).await);
    assert!(text.contains("it was stopped: wasm trap:"), "{text}");
    assert!(text.contains("after it wanted more than its memory limit of 67108864 bytes"), "{text}");
    assert!(text.contains("it wrote: memory allocation of 1048576 bytes failed"), "{text}");
}

#[tokio::test]
async fn a_component_that_does_not_fit_its_memory_is_not_started() {
    let mut settings = settings(&[]);
    settings.limits = Limits { memory_bytes: 64 << 10, ..settings.limits };
    let error = load(settings).await.check().await.unwrap_err();
    assert!(whole(&error).contains("memory limit of 65536 bytes"), "{}", whole(&error));
}

#[tokio::test]
async fn a_panic_is_told_in_its_own_words() {
    let text = whole(&stopped("panic", ENOUGH_SECS).await);
    assert!(text.contains("it was stopped: wasm trap: wasm `unreachable` instruction executed; it wrote: thread"), "{text}");
    assert!(text.contains("attacks.rs:"), "{text}");
    assert!(text.contains("no luck\\u{1b}[31m today"), "{text}");
    assert!(!text.contains("RUST_BACKTRACE"), "{text}");
}

#[tokio::test]
async fn a_trap_an_exit_and_a_deep_recursion_are_told() {
    for (behaviour, words) in [("trap", "wasm trap"), ("exit", "it tried to exit the process"), ("recursion", "wasm trap")] {
        let error = stopped(behaviour, ENOUGH_SECS).await;
        assert!(matches!(&error.fault, ProviderFault::Stopped(reason) if reason.starts_with(words)), "{behaviour}: {error:?}");
        assert_eq!(error.class(), ErrorClass::Internal);
    }
}

#[tokio::test]
async fn a_flood_on_standard_error_keeps_its_end_and_kills_nobody() {
    let text = whole(&stopped("stderr-flood", ENOUGH_SECS).await);
    assert!(text.contains("stderr line 99999"), "{text}");
    assert!(text.contains("after the flood"), "{text}");
    assert!(text.len() < 8 << 10, "{}", text.len());
    assert!(hostile_that("stderr").await.check().await.unwrap().is_empty(), "a word on standard error is no failure");
}

#[tokio::test]
async fn an_oversized_answer_is_refused_before_it_is_copied() {
    for behaviour in ["many-values", "log-too-huge"] {
        let text = whole(&stopped(behaviour, ENOUGH_SECS).await);
        assert!(text.contains("too much data is being copied between the host and the guest"), "{behaviour}: {text}");
    }
}
