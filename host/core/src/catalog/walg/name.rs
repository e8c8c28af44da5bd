//! The name of a WAL-G base backup: `base_<24 digits>`, with `_D_<24 digits>` for a delta.
//!
//! The first 24 digits name the segment in which the backup starts, so that even a backup whose record says nothing about
//! positions tells from where on its WAL is needed. WAL-E's form with a trailing offset is read as well.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::postgres::{TimelineId, WalFileName};

/// What every name begins with.
const PREFIX: &str = "base_";

/// Digits of a segment's name.
const SEGMENT_LEN: usize = 24;

/// Largest last part of a segment's name: there are 4,096 segments of 1 MiB in 4 GiB.
const MAX_PART: u32 = 0xFFF;

/// Name of a WAL-G base backup: `base_000000010000000200000003_D_000000010000000200000001`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalGName {
    timeline: TimelineId,
    log: u32,
    part: u32,
    is_delta: bool,
    text: String,
}

impl WalGName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The timeline that it starts on.
    #[must_use]
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// The file in which it starts.
    #[must_use]
    pub fn start_file(&self) -> WalFileName {
        WalFileName::Segment { timeline: self.timeline, log: self.log, segment: self.part }
    }

    /// The middle and the last part of that file's name, which need no segment size to be compared.
    #[must_use]
    pub fn place(&self) -> (u32, u32) {
        (self.log, self.part)
    }

    /// Whether it holds only what changed since another one.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.is_delta
    }
}

/// A text that names no base backup of WAL-G.
#[derive(Debug, Error)]
#[error("`{0}` is not the name of a WAL-G base backup: they look like `base_000000010000000200000003`")]
pub struct InvalidWalGName(pub String);

impl FromStr for WalGName {
    type Err = InvalidWalGName;

    fn from_str(text: &str) -> Result<Self, InvalidWalGName> {
        parse(text).ok_or_else(|| InvalidWalGName(text.to_owned()))
    }
}

impl fmt::Display for WalGName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn parse(text: &str) -> Option<WalGName> {
    let rest = text.strip_prefix(PREFIX)?;
    let (timeline, log, part) = segment(rest.get(..SEGMENT_LEN)?)?;
    let mut rest = rest.get(SEGMENT_LEN..)?;
    let parent = rest.strip_prefix("_D_");
    if let Some(parent) = parent {
        segment(parent.get(..SEGMENT_LEN)?)?;
        rest = parent.get(SEGMENT_LEN..)?;
    }
    let is_offset = |digits: &str| digits.len() == 8 && digits.bytes().all(is_upper_hex);
    let is_whole = rest.is_empty() || rest.strip_prefix('_').is_some_and(is_offset);
    is_whole.then(|| WalGName { timeline, log, part, is_delta: parent.is_some(), text: text.to_owned() })
}

fn segment(digits: &str) -> Option<(TimelineId, u32, u32)> {
    match digits.parse().ok()? {
        WalFileName::Segment { timeline, log, segment } if segment <= MAX_PART => Some((timeline, log, segment)),
        _ => None,
    }
}

fn is_upper_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::WalGName;

    #[test]
    fn reads_full_delta_and_legacy_names() {
        let full: WalGName = "base_0000000A0000000200000003".parse().unwrap();
        assert_eq!((full.timeline().get(), full.place(), full.is_delta()), (10, (2, 3), false));
        assert_eq!(full.start_file().to_string(), "0000000A0000000200000003");
        let delta: WalGName = "base_000000010000000200000005_D_000000010000000200000003".parse().unwrap();
        assert!(delta.is_delta() && delta.place() == (2, 5));
        assert!("base_000000010000000200000003_00000028".parse::<WalGName>().is_ok(), "WAL-E");
    }

    #[test]
    fn refuses_what_is_no_base_backup() {
        for name in [
            "",
            "base_",
            "base_00000001000000020000000",
            "base_00000001000000020000000g",
            "base_000000000000000200000003",
            "base_000000010000000200001000",
            "base_0000000100000002FFFFFFFF",
            "base_000000010000000200000003_D_",
            "base_000000010000000200000003_D_0000000100000002000000",
            "base_000000010000000200000003_",
            "base_000000010000000200000003x",
            "snapshot_000000010000000200000003",
            "stream_20261121T083214Z",
            "sf-20261121T083214Z-9k3m2p7x",
            "base_0000000100000002000000é",
        ] {
            assert!(name.parse::<WalGName>().is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_gives_back_the_text(text in "(base_)?[0-9A-Fé_D]{0,60}") {
            if let Ok(name) = text.parse::<WalGName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
