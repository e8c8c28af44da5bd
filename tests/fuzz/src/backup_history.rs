//! Backup history files: where a backup of a primary stopped.

use jiff::Timestamp;
use stillframe_core::postgres::BackupHistory;

use crate::Verdict;

/// The label in it is a label, and no backup is said to have stopped before it had started.
pub fn target(data: &[u8]) -> Verdict {
    let Ok(history) = BackupHistory::parse(data) else { return Verdict::Refused };
    crate::backup_label::target(history.label().as_bytes());
    assert!(!history.name().contains('\n'));
    assert!(history.stop() >= history.label().start(), "it stops at {} before it starts", history.stop());
    assert!(history.stop_timeline() >= history.label().timeline(), "it stops on an older timeline");
    for start in [Timestamp::MIN, Timestamp::UNIX_EPOCH, at("2026-11-21T10:00:02Z"), Timestamp::MAX] {
        let stopped = history.stopped_by(start);
        assert!(stopped.is_none_or(|stopped| stopped >= start), "certainly started at {start}, certainly stopped by {stopped:?}");
    }
    Verdict::Accepted
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("it is a moment")
}
