//! What identifies a server and its WAL, and what a backup must know about it before it begins.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::postgres::Lsn;

/// Smallest and largest WAL segment that `initdb --wal-segsize` makes, as powers of two.
const SEGMENT_SIZES: std::ops::RangeInclusive<u32> = 20..=30;

/// A number that PostgreSQL would not use in this place.
#[derive(Debug, Error)]
#[error("{value} is not a {what}")]
pub struct InvalidValue {
    /// `timeline`, `WAL segment size`, ...
    pub what: &'static str,
    /// The value.
    pub value: String,
}

/// Number of a timeline, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimelineId(NonZeroU32);

impl TimelineId {
    /// The first timeline of every cluster.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Checks a number.
    pub fn new(number: u32) -> Result<Self, InvalidValue> {
        NonZeroU32::new(number).map(Self).ok_or(InvalidValue { what: "timeline", value: number.to_string() })
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The timeline that a promotion would try next.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Identifies a cluster since its `initdb`. Exceeds 2^53: JSON for people carries it as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SystemIdentifier(pub u64);

impl fmt::Display for SystemIdentifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// `server_version_num`: 150018 is 15.18. Stillframe knows the forms of 10 and later, which have two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PgVersion(pub u32);

impl PgVersion {
    /// The oldest major version that is supported.
    pub const OLDEST_MAJOR: u32 = 10;

    /// Major version: 15.
    #[must_use]
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major(), self.0 % 10_000)
    }
}

/// Bytes in a WAL segment: a power of two from 1 MiB to 1 GiB, fixed at `initdb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct WalSegmentSize(u32);

impl WalSegmentSize {
    /// What `initdb` chooses by itself: 16 MiB.
    pub const DEFAULT: Self = Self(16 << 20);

    /// The smallest that there is: 1 MiB.
    pub const SMALLEST: Self = Self(1 << 20);

    /// Every size that there is, the smallest first.
    pub fn every() -> impl Iterator<Item = Self> {
        SEGMENT_SIZES.map(|exponent| Self(1 << exponent))
    }

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Segments in one "log" of 4 GiB, the middle part of a file name.
    #[must_use]
    pub fn segments_per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }
}

impl Default for WalSegmentSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for WalSegmentSize {
    type Error = InvalidValue;

    fn try_from(bytes: u32) -> Result<Self, InvalidValue> {
        if bytes.is_power_of_two() && SEGMENT_SIZES.contains(&bytes.ilog2()) {
            Ok(Self(bytes))
        } else {
            Err(InvalidValue { what: "WAL segment size", value: bytes.to_string() })
        }
    }
}

impl From<WalSegmentSize> for u32 {
    fn from(size: WalSegmentSize) -> Self {
        size.0
    }
}

/// The server's `archive_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveMode {
    /// Nothing is archived.
    Off,
    /// A primary archives.
    On,
    /// A standby archives too.
    Always,
}

/// A tablespace outside PGDATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    /// Object identifier; the name of its link in `pg_tblspc`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// The directory that the link points to.
    pub location: PathBuf,
}

/// What a backup must know about the server before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version of the server.
    pub version: PgVersion,
    /// Identifier of the cluster.
    pub system_identifier: SystemIdentifier,
    /// `data_directory`, as the server spells it.
    pub data_directory: PathBuf,
    /// Segment size, from `pg_control_init()`.
    pub segment_size: WalSegmentSize,
    /// Whether it is a standby (or recovers for another reason).
    pub in_recovery: bool,
    /// The timeline it writes, or replays.
    pub timeline: TimelineId,
    /// Before this no backup that begins now can start: the end of the WAL on a primary, the last restartpoint on a standby.
    pub wal_position: Lsn,
    /// How far a standby has replayed; none on a primary.
    pub replayed: Option<Lsn>,
    /// Its `archive_mode`.
    pub archive_mode: ArchiveMode,
    /// Whether `archive_command` or `archive_library` is set.
    pub archiver_is_set: bool,
    /// Tablespaces outside PGDATA, by object identifier.
    pub tablespaces: Vec<Tablespace>,
    /// The server's clock.
    pub now: Timestamp,
}

/// `pg_stat_archiver`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArchiverStatus {
    /// Newest file that was archived.
    pub last_archived_wal: Option<String>,
    /// Newest file that could not be archived.
    pub last_failed_wal: Option<String>,
    /// Whether the newest attempt failed.
    pub is_failing: bool,
}
