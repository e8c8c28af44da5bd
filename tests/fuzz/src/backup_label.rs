//! `backup_label`: the server's bytes, which a restore gives back to the server.

use stillframe_core::postgres::{BackupLabel, WalFileName};

use crate::Verdict;

/// A label keeps its bytes, through JSON too, and what was read of it does not contradict itself.
pub fn target(data: &[u8]) -> Verdict {
    let Ok(label) = BackupLabel::parse(data.to_vec()) else { return Verdict::Refused };
    assert_eq!(label.as_bytes(), data, "a label was changed");
    assert_eq!(label.timeline(), label.start_file().timeline());
    assert!(
        matches!(label.start_file(), WalFileName::Segment { .. }),
        "a backup starts in a segment, not in {}",
        label.start_file()
    );
    let json = serde_json::to_string(&label).expect("a label is written as JSON");
    assert_eq!(serde_json::from_str::<BackupLabel>(&json).ok().as_ref(), Some(&label), "a label changes in the catalog");
    Verdict::Accepted
}
