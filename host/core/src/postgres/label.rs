//! `backup_label`: where recovery of a backup begins, in the server's own bytes.
//!
//! The bytes are kept and written as they came, never rebuilt. What is read from them serves checks only.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::verbatim::Verbatim;
use crate::error::{Classify, ErrorClass};
use crate::postgres::{Lsn, TimelineId, WalFileName};

/// The contents of `backup_label`, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Verbatim", into = "Verbatim")]
pub struct BackupLabel {
    bytes: Vec<u8>,
    start: Lsn,
    start_file: WalFileName,
    checkpoint: Lsn,
    timeline: TimelineId,
    is_from_standby: bool,
}

impl BackupLabel {
    /// Keeps what a server of any version from 10 returned; fails when recovery could not begin from it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, InvalidLabel> {
        let text = String::from_utf8_lossy(&bytes);
        let (start, start_file) = line(&text, "START WAL LOCATION: ")
            .and_then(|value| {
                let (position, file) = value.split_once(" (file ")?;
                Some((position.parse().ok()?, file.strip_suffix(')')?.parse::<WalFileName>().ok()?))
            })
            // The name of any other file would be one, too.
            .filter(|(_, file)| matches!(file, WalFileName::Segment { .. }))
            .ok_or(InvalidLabel { line: "START WAL LOCATION" })?;
        let checkpoint = line(&text, "CHECKPOINT LOCATION: ")
            .and_then(|value| value.parse().ok())
            .ok_or(InvalidLabel { line: "CHECKPOINT LOCATION" })?;
        let timeline = match line(&text, "START TIMELINE: ") {
            Some(value) => value.parse().ok().and_then(|number| TimelineId::new(number).ok()),
            // PostgreSQL 10 tells it by the name of the segment only.
            None => Some(start_file.timeline()),
        };
        let timeline = timeline.filter(|timeline| *timeline == start_file.timeline());
        let timeline = timeline.ok_or(InvalidLabel { line: "START TIMELINE" })?;
        // A primary is called so from 14 on, and a master before.
        let is_from_standby = line(&text, "BACKUP FROM: ") == Some("standby");
        drop(text);
        Ok(Self { bytes, start, start_file, checkpoint, timeline, is_from_standby })
    }

    /// The file's contents.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Position from which WAL is replayed.
    #[must_use]
    pub fn start(&self) -> Lsn {
        self.start
    }

    /// The segment that the server names for the start.
    #[must_use]
    pub fn start_file(&self) -> WalFileName {
        self.start_file
    }

    /// Position of the checkpoint record with which the backup began.
    #[must_use]
    pub fn checkpoint(&self) -> Lsn {
        self.checkpoint
    }

    /// Timeline on which the backup began.
    #[must_use]
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Whether backup mode was on a standby: then recovery ends where `pg_control` says, and else at a record in the WAL.
    #[must_use]
    pub fn is_from_standby(&self) -> bool {
        self.is_from_standby
    }
}

impl TryFrom<Verbatim> for BackupLabel {
    type Error = String;

    fn try_from(stored: Verbatim) -> Result<Self, String> {
        Self::parse(Vec::try_from(stored)?).map_err(|error| error.to_string())
    }
}

impl From<BackupLabel> for Verbatim {
    fn from(label: BackupLabel) -> Self {
        label.bytes.into()
    }
}

/// Contents from which no recovery can begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the line `{line}` of backup_label is missing or invalid")]
pub struct InvalidLabel {
    /// Which line.
    pub line: &'static str,
}

impl Classify for InvalidLabel {
    fn class(&self) -> ErrorClass {
        ErrorClass::Corrupt
    }
}

/// The first line that begins so, as the server reads it: a label with a line break in it cannot shadow an earlier line.
fn line<'text>(text: &'text str, prefix: &str) -> Option<&'text str> {
    text.lines().find_map(|line| line.strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABEL_18: &str = "START WAL LOCATION: 16/B374D848 (file 0000000300000016000000B3)\nCHECKPOINT LOCATION: 16/B374D8A0\n\
        BACKUP METHOD: streamed\nBACKUP FROM: standby\nSTART TIME: 2026-11-21 10:00:00 UTC\nLABEL: it's ä\nSTART TIMELINE: 3\n";

    #[test]
    fn reads_the_labels_of_all_versions_and_keeps_their_bytes() {
        let label_10 = LABEL_18.replace("START TIMELINE: 3\n", "");
        for text in [LABEL_18, &label_10] {
            let label = BackupLabel::parse(text.as_bytes().to_vec()).unwrap();
            assert_eq!(label.as_bytes(), text.as_bytes());
            assert_eq!(label.start(), Lsn(0x16_B374_D848));
            assert_eq!(label.start_file().to_string(), "0000000300000016000000B3");
            assert_eq!(label.checkpoint(), Lsn(0x16_B374_D8A0));
            assert_eq!(label.timeline().get(), 3);
            assert!(label.is_from_standby());
        }
        for primary in ["primary", "master"] {
            let text = LABEL_18.replace("FROM: standby", &format!("FROM: {primary}"));
            assert!(!BackupLabel::parse(text.into_bytes()).unwrap().is_from_standby());
        }
    }

    #[test]
    fn keeps_a_label_that_is_no_utf8_through_json() {
        let bytes = [LABEL_18.as_bytes(), b"LABEL: \xE4\n"].concat();
        let label = BackupLabel::parse(bytes.clone()).unwrap();
        let json = serde_json::to_string(&label).unwrap();
        assert!(json.starts_with("{\"hex\":\""), "{json}");
        assert_eq!(serde_json::from_str::<BackupLabel>(&json).unwrap().as_bytes(), bytes);
    }

    #[test]
    fn refuses_a_truncated_or_contradictory_label() {
        for length in 0..LABEL_18.find("\nBACKUP METHOD").unwrap() - 8 {
            assert!(BackupLabel::parse(LABEL_18.as_bytes()[..length].to_vec()).is_err(), "{length}");
        }
        let contradictory = LABEL_18.replace("START TIMELINE: 3", "START TIMELINE: 4");
        assert_eq!(BackupLabel::parse(contradictory.into_bytes()), Err(InvalidLabel { line: "START TIMELINE" }));
    }

    #[test]
    fn refuses_a_start_in_what_is_no_segment() {
        for file in ["00000003.history", "0000000300000016000000B3.partial", "0000000300000016000000B3.00000028.backup"] {
            let label = LABEL_18.replace("0000000300000016000000B3", file);
            assert_eq!(BackupLabel::parse(label.into_bytes()), Err(InvalidLabel { line: "START WAL LOCATION" }), "{file}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = BackupLabel::parse(bytes);
        }
    }
}
