//! A clean shutdown: what `pg_control` must say of it, the WAL that holds its checkpoint, and the label from which a copy starts.
//!
//! A server that was shut down has written everything it knew into its files, and one last record: the shutdown checkpoint. That
//! record is all the WAL that a restore of them needs. The segment with it is not archived: the server goes on in it at its next
//! start, so the archive will hold a longer content under the same name.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

use super::control::ServerState;
use super::wal_records::{ReadingEnd, WalReader};
use crate::error::{Classify, ErrorClass};
use crate::postgres::{
    BackupLabel, ControlFileError, HeaderError, InvalidLabel, Lsn, PgControl, SegmentHeader, SystemIdentifier, TimelineId,
    WalFileName, WalSegment, WalSegmentSize,
};

/// Resource manager and kind of `XLOG_CHECKPOINT_SHUTDOWN`.
const SHUTDOWN_CHECKPOINT: (u8, u8) = (0, 0x00);

/// A clean shutdown of a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Where the record of its checkpoint begins, and where replay of a copy begins.
    pub checkpoint: Lsn,
    /// The timeline of that record.
    pub timeline: TimelineId,
    /// Segment size of the cluster.
    pub segment_size: WalSegmentSize,
    /// The cluster.
    pub system_identifier: SystemIdentifier,
}

impl Shutdown {
    /// Reads it from `pg_control`; fails unless that proves a clean shutdown of a primary.
    pub fn of(control: &PgControl) -> Result<Self, ShutdownError> {
        match control.state() {
            _ if control.is_sealed() => return Err(ShutdownError::Sealed),
            ServerState::ShutDown => {}
            ServerState::ShutDownInRecovery => return Err(ShutdownError::OfStandby),
            ServerState::Other(state) => return Err(ShutdownError::NotShutDown { state }),
        }
        let (checkpoint, redo) = (control.checkpoint(), control.redo());
        // Nothing was written beside a shutdown checkpoint: it is where its own replay begins.
        if checkpoint != redo {
            return Err(ShutdownError::Redo { checkpoint, redo });
        }
        Ok(Self {
            checkpoint,
            timeline: control.timeline().ok_or(ShutdownError::Layout)?,
            segment_size: control.segment_size().ok_or(ShutdownError::Layout)?,
            system_identifier: control.system_identifier(),
        })
    }

    /// The segment that holds the record.
    #[must_use]
    pub fn segment(&self) -> WalFileName {
        WalSegment::containing(self.timeline, self.checkpoint, self.segment_size).file_name(self.segment_size)
    }

    /// Proves that this content is that segment, and holds the whole record.
    pub fn prove_segment(&self, content: &[u8]) -> Result<(), ShutdownError> {
        let name = self.segment();
        let unfit = |source| ShutdownError::Segment { name, source };
        let header = SegmentHeader::prove_beginning(name, content, content.len() as u64).map_err(unfit)?;
        if header.system_identifier != self.system_identifier {
            return Err(ShutdownError::ForeignSegment { name, found: header.system_identifier, ours: self.system_identifier });
        }
        if header.segment_size != self.segment_size {
            let (expected, found) = (self.segment_size.bytes(), header.segment_size.bytes());
            return Err(unfit(HeaderError::Length { expected, found }));
        }
        let begin = WalSegment::containing(self.timeline, self.checkpoint, self.segment_size).begin(self.segment_size);
        let mut is_there = false;
        let end = WalReader::default().read(begin, content, |record| {
            is_there |= record.start == self.checkpoint && record.kind() == SHUTDOWN_CHECKPOINT;
        });
        match end {
            _ if is_there => Ok(()),
            ReadingEnd::Cut => Err(ShutdownError::Divided { name }),
            ReadingEnd::Whole | ReadingEnd::Switched | ReadingEnd::Invalid => {
                Err(ShutdownError::NoRecord { name, checkpoint: self.checkpoint })
            }
        }
    }

    /// Makes the `backup_label` from which a copy starts: at the checkpoint, and with no end of a backup to wait for.
    ///
    /// No server wrote one. The words are those of `pg_rewind`, which leaves files in the same state: replay may stop where it begins.
    pub fn label(&self, name: &str, at: Timestamp) -> Result<BackupLabel, InvalidLabel> {
        let (checkpoint, timeline, file) = (self.checkpoint, self.timeline, self.segment());
        let time = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC");
        let text = format!(
            "START WAL LOCATION: {checkpoint} (file {file})\nCHECKPOINT LOCATION: {checkpoint}\nBACKUP METHOD: pg_rewind\n\
             BACKUP FROM: standby\nSTART TIME: {time}\nLABEL: {name}\nSTART TIMELINE: {timeline}\n"
        );
        BackupLabel::parse(text.into_bytes())
    }
}

/// Why files are not those of a server that was shut down cleanly.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ShutdownError {
    /// It runs, or it crashed.
    #[error("the server was not shut down cleanly: pg_control says `{state}`")]
    NotShutDown {
        /// In the words of `pg_controldata`.
        state: &'static str,
    },
    /// A standby was shut down.
    #[error("a standby was shut down here: its files need WAL from its last restartpoint on, and not one record only")]
    OfStandby,
    /// A copy that waits for its recovery.
    #[error("these files are a restored copy that has not recovered yet")]
    Sealed,
    /// The file contradicts itself.
    #[error("pg_control says that the shutdown checkpoint at {checkpoint} is replayed from {redo}")]
    Redo {
        /// Where the checkpoint is.
        checkpoint: Lsn,
        /// Where its replay would begin.
        redo: Lsn,
    },
    /// Fields of the file are not where every known version has them.
    #[error("pg_control tells no timeline or segment size that could be")]
    Layout,
    /// The file cannot be read as what it is.
    #[error(transparent)]
    Control(#[from] ControlFileError),
    /// The segment is not what its name says.
    #[error("`{name}` in pg_wal is not the segment that it should be")]
    Segment {
        /// The segment.
        name: WalFileName,
        /// What is wrong.
        #[source]
        source: HeaderError,
    },
    /// The segment is of another cluster.
    #[error("`{name}` in pg_wal is of the cluster {found}, and pg_control is of {ours}")]
    ForeignSegment {
        /// The segment.
        name: WalFileName,
        /// Its cluster.
        found: SystemIdentifier,
        /// That of `pg_control`.
        ours: SystemIdentifier,
    },
    /// The record is not where `pg_control` says, or damaged.
    #[error("`{name}` holds no shutdown checkpoint at {checkpoint} that can be read")]
    NoRecord {
        /// The segment.
        name: WalFileName,
        /// Where it should be.
        checkpoint: Lsn,
    },
    /// The record is the rare one that goes on in the next segment.
    #[error("the shutdown checkpoint begins in `{name}` and goes on in the next segment")]
    Divided {
        /// The segment.
        name: WalFileName,
    },
}

impl Classify for ShutdownError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotShutDown { .. } | Self::OfStandby | Self::Sealed | Self::ForeignSegment { .. } | Self::Divided { .. } => {
                ErrorClass::Refused
            }
            Self::Redo { .. } | Self::Layout | Self::Segment { .. } | Self::NoRecord { .. } => ErrorClass::Corrupt,
            Self::Control(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotShutDown { .. } => {
                "start it, so that it recovers, and stop it with `pg_ctl stop -m fast`; of a running server take a backup without --cold"
            }
            Self::OfStandby => "start it and take a backup without --cold, or stop the primary and take one of it",
            Self::Sealed => "start it, so that it recovers, and stop it with `pg_ctl stop -m fast`",
            Self::Divided { .. } => "start the server and stop it again: the next one lies elsewhere",
            Self::Control(error) => return error.hint(),
            Self::Redo { .. } | Self::Layout | Self::Segment { .. } | Self::ForeignSegment { .. } | Self::NoRecord { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests;
