//! What a provider says ends up in the operator's log: tagged, escaped, cut and counted.

use stillframe_core::provider::Provider;

use crate::harness::{Log, hostile_that};

/// The lines that a check with this behaviour logs.
async fn logged(behaviour: &str) -> Vec<String> {
    let provider = hostile_that(behaviour).await;
    let (log, _guard) = Log::begin();
    provider.check().await.unwrap();
    log.lines().into_iter().filter(|line| line.contains("provider=\"hostile\"")).collect()
}

#[tokio::test]
async fn a_message_cannot_forge_a_line_or_move_the_cursor() {
    let lines = logged("log-escape").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN"), "{lines:?}");
    assert!(lines[0].contains(r"fine\n2026-11-21 ERROR forged \u{1b}[2J\u{202e}"), "{lines:?}");
}

#[tokio::test]
async fn a_flood_of_messages_is_cut_and_said_to_be() {
    let lines = logged("log-flood").await;
    assert_eq!(lines.len(), 1_001);
    assert!(lines[999].contains("log line 999"), "{}", lines[999]);
    assert!(lines[1_000].contains("more than 1000 messages in one call; the rest is dropped"), "{}", lines[1_000]);
}

#[tokio::test]
async fn a_long_message_is_cut() {
    let lines = logged("log-huge").await;
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("xxx…") && lines[0].len() < 5 << 10, "{}", lines[0].len());
}

#[tokio::test]
async fn progress_is_told_no_faster_than_it_can_be_read() {
    let lines = logged("progress-flood").await;
    assert!((1..=60).contains(&lines.len()), "{}", lines.len());
    assert!(lines[0].contains("stillframe_runtime::progress") && lines[0].contains("done=0 total=5000"), "{}", lines[0]);
}
