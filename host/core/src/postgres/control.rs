//! `global/pg_control`: which cluster a directory holds, and the seal that keeps a copy from starting without its label.
//!
//! A hot copy that starts without `backup_label` recovers from the wrong checkpoint and looks healthy. Sealed, its checkpoint
//! pointer leads nowhere: with a label the server does not read the pointer, without one it refuses to start. PostgreSQL 10 has a
//! second pointer to fall back on, which must lead nowhere as well. Nobody unseals; the server writes a true pointer itself once it
//! has read the label. The checksum's offset differs between versions, so it is found by its value.

use thiserror::Error;

use crate::error::{Classify, ErrorClass};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalSegmentSize};

/// Size of the file in every supported version.
const FILE_BYTES: usize = 8192;

/// `pg_control_version` of PostgreSQL 10.
const OLDEST_VERSION: u32 = 1002;

/// `pg_control_version` of PostgreSQL 11, the first to know one checkpoint only.
const FIRST_WITH_ONE_CHECKPOINT: u32 = 1100;

/// Where the fields begin that stand at the same place in every supported version.
const SYSTEM_IDENTIFIER: usize = 0;
const CONTROL_VERSION: usize = 8;
const CATALOG_VERSION: usize = 12;
const STATE: usize = 16;
const CHECKPOINT: usize = 32;
const PREVIOUS_CHECKPOINT: usize = 40;

/// Where the copy of the newest checkpoint begins: after the pointers, of which PostgreSQL 10 has two.
const CHECKPOINT_COPY: usize = 40;
const CHECKPOINT_COPY_AFTER_PREVIOUS: usize = 48;

/// `pg_control_version` of PostgreSQL 12, the first with transaction numbers of 64 bits in a checkpoint.
const FIRST_WITH_WIDE_TRANSACTIONS: u32 = 1201;

/// Length of the copy, without and with them.
const CHECKPOINT_BYTES: usize = 80;
const WIDE_CHECKPOINT_BYTES: usize = 88;

/// Where, after the copy, the timeline of the minimum recovery point stands: behind two positions.
const RECOVERY_TIMELINE: usize = 16;

/// Where, after the copy, the limits stand: `MaxConnections` and what follows it.
const LIMITS: usize = 52;

/// Where its fields begin within the copy.
const REDO: usize = 0;
const TIMELINE: usize = 8;

/// Where, after the copy, a constant stands that proves the place of what follows it, and the size of WAL segments behind it.
const FLOAT_FORMAT: usize = 80;
const FLOAT_FORMAT_VALUE: f64 = 1_234_567.0;
const SEGMENT_SIZE: usize = 100;

/// States of a server that was shut down, as a primary and as a standby.
const SHUT_DOWN: [u32; 2] = [1, SHUT_DOWN_IN_RECOVERY];

/// State of a standby that was shut down.
const SHUT_DOWN_IN_RECOVERY: u32 = 2;

/// States of a server that replays what others wrote, and writes no WAL: shut down in recovery, and in archive recovery. Crash
/// recovery is not among them, since a primary goes through it.
const IN_RECOVERY: [u32; 2] = [2, 5];

/// Where the checksum may stand: after the fields that every version has, within the sector that is written atomically.
const CHECKSUM_OFFSETS: std::ops::RangeInclusive<usize> = 200..=508;

/// A position that no record can have, since it lies in the very first segment, yet plausible enough as an offset in a page that
/// the server does not stumble over the field itself.
const SEALED_CHECKPOINT: Lsn = Lsn(0xDEAD);

/// The contents of `global/pg_control`, with a checksum that matches.
#[derive(Clone, PartialEq, Eq)]
pub struct PgControl {
    bytes: Vec<u8>,
    checksum_offset: usize,
}

impl PgControl {
    /// Where the file lies within a data directory.
    pub const PATH: &str = "global/pg_control";

    /// Reads the contents of the file; fails unless size, version and checksum are right.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlFileError> {
        if bytes.len() != FILE_BYTES {
            return Err(ControlFileError::WrongSize { size_bytes: bytes.len() });
        }
        let version = u32::from_ne_bytes(field(bytes, CONTROL_VERSION));
        if version.swap_bytes() < 10_000 && version >= 10_000 {
            return Err(ControlFileError::ForeignByteOrder);
        }
        let checksum_offset = find_checksum(bytes).ok_or(ControlFileError::Torn)?;
        if version < OLDEST_VERSION {
            return Err(ControlFileError::TooOld { version });
        }
        Ok(Self { bytes: bytes.to_vec(), checksum_offset })
    }

    /// Identifier of the cluster.
    #[must_use]
    pub fn system_identifier(&self) -> SystemIdentifier {
        SystemIdentifier(u64::from_ne_bytes(field(&self.bytes, SYSTEM_IDENTIFIER)))
    }

    /// `pg_control_version`: 1300 for PostgreSQL 13 to 17.
    #[must_use]
    pub fn control_version(&self) -> u32 {
        u32::from_ne_bytes(field(&self.bytes, CONTROL_VERSION))
    }

    /// `catalog_version_no`, which differs between all major versions.
    #[must_use]
    pub fn catalog_version(&self) -> u32 {
        u32::from_ne_bytes(field(&self.bytes, CATALOG_VERSION))
    }

    /// Position of the newest checkpoint record, or of nothing in a sealed file.
    #[must_use]
    pub fn checkpoint(&self) -> Lsn {
        Lsn(u64::from_ne_bytes(field(&self.bytes, CHECKPOINT)))
    }

    /// Position from which the newest checkpoint is replayed. A seal leaves it as it was.
    #[must_use]
    pub fn redo(&self) -> Lsn {
        Lsn(u64::from_ne_bytes(field(&self.bytes, self.checkpoint_copy() + REDO)))
    }

    /// Whether the newest checkpoint was written on this timeline. A seal does not change that either.
    #[must_use]
    pub fn is_on(&self, timeline: TimelineId) -> bool {
        u32::from_ne_bytes(field(&self.bytes, self.checkpoint_copy() + TIMELINE)) == timeline.get()
    }

    /// The timeline of the newest checkpoint. A promoted server writes its first one a moment after its promotion.
    #[must_use]
    pub fn timeline(&self) -> Option<TimelineId> {
        TimelineId::new(u32::from_ne_bytes(field(&self.bytes, self.checkpoint_copy() + TIMELINE))).ok()
    }

    /// Whether the server is a standby, or recovers to a target: it writes no WAL of its own.
    #[must_use]
    pub fn is_in_recovery(&self) -> bool {
        IN_RECOVERY.contains(&u32::from_ne_bytes(field(&self.bytes, STATE)))
    }

    /// The timeline up to which recovery must at least go; none when no recovery is under way or has just ended.
    ///
    /// A promotion sets it at once, and the checkpoint with the new timeline comes minutes later.
    #[must_use]
    pub fn recovery_timeline(&self) -> Option<TimelineId> {
        TimelineId::new(u32::from_ne_bytes(field(&self.bytes, self.behind_copy() + RECOVERY_TIMELINE))).ok()
    }

    /// What the server that wrote the WAL had room for. One that replays it needs as much.
    #[must_use]
    pub fn limits(&self) -> ServerLimits {
        let number = |place: usize| u32::from_ne_bytes(field(&self.bytes, self.behind_copy() + LIMITS + 4 * place));
        // `max_wal_senders` stands between the others from 12 on.
        let senders = self.control_version() >= FIRST_WITH_WIDE_TRANSACTIONS;
        let behind = 2 + usize::from(senders);
        ServerLimits {
            connections: number(0),
            worker_processes: number(1),
            wal_senders: senders.then(|| number(2)),
            prepared_transactions: number(behind),
            locks_per_transaction: number(behind + 1),
        }
    }

    fn behind_copy(&self) -> usize {
        let is_wide = self.control_version() >= FIRST_WITH_WIDE_TRANSACTIONS;
        self.checkpoint_copy() + if is_wide { WIDE_CHECKPOINT_BYTES } else { CHECKPOINT_BYTES }
    }

    /// Whether a server was shut down on these files, which a copy cut in backup mode never shows.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        SHUT_DOWN.contains(&u32::from_ne_bytes(field(&self.bytes, STATE)))
    }

    /// The state of the server, as `pg_controldata` names it.
    #[must_use]
    pub fn state(&self) -> ServerState {
        match u32::from_ne_bytes(field(&self.bytes, STATE)) {
            1 => ServerState::ShutDown,
            SHUT_DOWN_IN_RECOVERY => ServerState::ShutDownInRecovery,
            0 => ServerState::Other("starting up"),
            3 => ServerState::Other("shutting down"),
            4 => ServerState::Other("in crash recovery"),
            5 => ServerState::Other("in archive recovery"),
            6 => ServerState::Other("in production"),
            _ => ServerState::Other("unrecognized"),
        }
    }

    /// Segment size of the cluster; none where the file has another layout than every known version.
    #[must_use]
    pub fn segment_size(&self) -> Option<WalSegmentSize> {
        let behind = self.behind_copy();
        let has_known_layout =
            f64::from_ne_bytes(field(&self.bytes, behind + FLOAT_FORMAT)).to_bits() == FLOAT_FORMAT_VALUE.to_bits();
        let bytes = has_known_layout.then(|| u32::from_ne_bytes(field(&self.bytes, behind + SEGMENT_SIZE)))?;
        WalSegmentSize::try_from(bytes).ok()
    }

    /// The contents of the file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the server can start from it only with a `backup_label`.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.pointers().all(|place| Lsn(u64::from_ne_bytes(field(&self.bytes, place))) == SEALED_CHECKPOINT)
    }

    /// The same file, sealed.
    #[must_use]
    pub fn sealed(&self) -> Vec<u8> {
        self.sealed_in(u32::from_ne_bytes(field(&self.bytes, STATE)))
    }

    /// The same file of a primary that was shut down, sealed, for a label that asks for no end of a backup.
    ///
    /// A server takes such a label only from a standby. This is what `pg_rewind` leaves behind as well: with it, the end of the
    /// backup is the position from which replay begins.
    #[must_use]
    pub fn sealed_cold(&self) -> Vec<u8> {
        self.sealed_in(SHUT_DOWN_IN_RECOVERY)
    }

    fn sealed_in(&self, state: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[STATE..STATE + 4].copy_from_slice(&state.to_ne_bytes());
        for place in self.pointers() {
            bytes[place..place + 8].copy_from_slice(&SEALED_CHECKPOINT.0.to_ne_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[..self.checksum_offset]);
        bytes[self.checksum_offset..self.checksum_offset + 4].copy_from_slice(&checksum.to_ne_bytes());
        bytes
    }

    /// Where the file points to checkpoints from which a server would recover without a label.
    fn pointers(&self) -> impl Iterator<Item = usize> + use<> {
        let previous = self.has_previous_checkpoint().then_some(PREVIOUS_CHECKPOINT);
        std::iter::once(CHECKPOINT).chain(previous)
    }

    fn checkpoint_copy(&self) -> usize {
        if self.has_previous_checkpoint() { CHECKPOINT_COPY_AFTER_PREVIOUS } else { CHECKPOINT_COPY }
    }

    fn has_previous_checkpoint(&self) -> bool {
        self.control_version() < FIRST_WITH_ONE_CHECKPOINT
    }
}

/// What `pg_control` says of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// A primary, or a server that never was anything else, was shut down.
    ShutDown,
    /// A standby was.
    ShutDownInRecovery,
    /// It runs, or it was not shut down, in the words of `pg_controldata`.
    Other(&'static str),
}

/// The settings of a primary that a server which replays its WAL must not fall short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// `max_connections`
    pub connections: u32,
    /// `max_worker_processes`
    pub worker_processes: u32,
    /// `max_wal_senders`; none before 12, where it does not count.
    pub wal_senders: Option<u32>,
    /// `max_prepared_transactions`
    pub prepared_transactions: u32,
    /// `max_locks_per_transaction`
    pub locks_per_transaction: u32,
}

impl ServerLimits {
    /// The larger of both, one by one.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self {
            connections: self.connections.max(other.connections),
            worker_processes: self.worker_processes.max(other.worker_processes),
            wal_senders: self.wal_senders.max(other.wal_senders),
            prepared_transactions: self.prepared_transactions.max(other.prepared_transactions),
            locks_per_transaction: self.locks_per_transaction.max(other.locks_per_transaction),
        }
    }
}

impl std::fmt::Debug for PgControl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PgControl")
            .field("system_identifier", &self.system_identifier())
            .field("control_version", &self.control_version())
            .field("checkpoint", &self.checkpoint())
            .field("redo", &self.redo())
            .finish_non_exhaustive()
    }
}

/// A file that is not the `pg_control` of a supported version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlFileError {
    /// Truncated, or something else.
    #[error("pg_control is {size_bytes} bytes long instead of {FILE_BYTES}")]
    WrongSize {
        /// Its size.
        size_bytes: usize,
    },
    /// Read while it was written, or damaged.
    #[error("no checksum in pg_control matches its contents")]
    Torn,
    /// From before PostgreSQL 10.
    #[error("pg_control has version {version}, which is older than PostgreSQL 10")]
    TooOld {
        /// Its version.
        version: u32,
    },
    /// Written on another kind of machine.
    #[error("pg_control was written on a machine with another byte order")]
    ForeignByteOrder,
}

impl Classify for ControlFileError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::WrongSize { .. } | Self::Torn => ErrorClass::Corrupt,
            Self::TooOld { .. } | Self::ForeignByteOrder => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Torn => Some("a running server may have been writing it: read it again".to_owned()),
            Self::WrongSize { .. } | Self::TooOld { .. } | Self::ForeignByteOrder => None,
        }
    }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    // In range: the size was checked, and every offset is a constant far below it.
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}

fn find_checksum(bytes: &[u8]) -> Option<usize> {
    CHECKSUM_OFFSETS.step_by(4).find(|&offset| u32::from_ne_bytes(field(bytes, offset)) == crc32c::crc32c(&bytes[..offset]))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offsets of the checksum in 64-bit builds of 10, 11 to 12, 13 to 17, and one that no version uses.
    const OFFSETS: [usize; 4] = [288, 284, 292, 508];

    /// A `pg_control` as a server would write it.
    pub(crate) fn image(system_identifier: u64, checksum_offset: usize) -> Vec<u8> {
        let mut bytes = vec![0; FILE_BYTES];
        bytes[..8].copy_from_slice(&system_identifier.to_ne_bytes());
        bytes[8..12].copy_from_slice(&1300u32.to_ne_bytes());
        bytes[12..16].copy_from_slice(&202_209_061u32.to_ne_bytes());
        bytes[16] = 6;
        bytes[32..40].copy_from_slice(&0x0200_0060u64.to_ne_bytes());
        bytes[40..48].copy_from_slice(&0x0200_0028u64.to_ne_bytes());
        bytes[48..52].copy_from_slice(&1u32.to_ne_bytes());
        bytes[120] = 7;
        let checksum = crc32c::crc32c(&bytes[..checksum_offset]);
        bytes[checksum_offset..checksum_offset + 4].copy_from_slice(&checksum.to_ne_bytes());
        bytes
    }

    #[test]
    fn finds_the_checksum_wherever_a_version_puts_it() {
        for offset in OFFSETS {
            let control = PgControl::parse(&image(7_300_000_000_000_000_001, offset)).unwrap();
            assert_eq!(control.checksum_offset, offset);
            assert_eq!(control.system_identifier(), SystemIdentifier(7_300_000_000_000_000_001));
            assert_eq!(control.control_version(), 1300);
            assert_eq!(control.catalog_version(), 202_209_061);
            assert_eq!(control.checkpoint(), Lsn(0x0200_0060));
            assert_eq!(control.redo(), Lsn(0x0200_0028));
            assert!(control.is_on(TimelineId::FIRST) && !control.is_on(TimelineId::FIRST.next()));
            assert!(!control.is_sealed() && !control.is_shut_down());
        }
    }

    #[test]
    fn a_seal_changes_the_pointer_and_the_checksum_and_nothing_else() {
        for offset in OFFSETS {
            let original = image(42, offset);
            let sealed = PgControl::parse(&original).unwrap().sealed();
            let changed = |place: usize| (32..40).contains(&place) || (offset..offset + 4).contains(&place);
            assert!((0..FILE_BYTES).all(|place| changed(place) || sealed[place] == original[place]));
            let control = PgControl::parse(&sealed).unwrap();
            assert!(control.is_sealed());
            assert_eq!(control.redo(), Lsn(0x0200_0028), "it still tells what it was cut for");
            assert_eq!(control.sealed(), sealed, "sealing twice is sealing once");
        }
    }

    #[test]
    fn postgresql_10_cannot_fall_back_on_its_previous_checkpoint() {
        let mut original = image(42, 288);
        original[8..12].copy_from_slice(&1002u32.to_ne_bytes());
        original[48..56].copy_from_slice(&0x0200_0028u64.to_ne_bytes());
        original[56..60].copy_from_slice(&2u32.to_ne_bytes());
        let checksum = crc32c::crc32c(&original[..288]);
        original[288..292].copy_from_slice(&checksum.to_ne_bytes());
        let sealed = PgControl::parse(&original).unwrap().sealed();
        assert_eq!(sealed[32..40], 0xDEADu64.to_ne_bytes());
        assert_eq!(sealed[40..48], 0xDEADu64.to_ne_bytes());
        let control = PgControl::parse(&sealed).unwrap();
        assert!(control.is_sealed());
        assert_eq!(control.redo(), Lsn(0x0200_0028));
        assert!(control.is_on(TimelineId::FIRST.next()) && !control.is_on(TimelineId::FIRST));
    }

    #[test]
    fn a_primary_is_not_in_recovery_even_after_a_crash_and_a_standby_is_even_when_shut_down() {
        // starting, shut down, shut down in recovery, shutting down, in crash recovery, in archive recovery, in production
        for (state, is_in_recovery) in [false, false, true, false, false, true, false].into_iter().enumerate() {
            let mut bytes = image(42, 288);
            bytes[16] = u8::try_from(state).unwrap();
            let checksum = crc32c::crc32c(&bytes[..288]);
            bytes[288..292].copy_from_slice(&checksum.to_ne_bytes());
            let control = PgControl::parse(&bytes).unwrap();
            assert_eq!(control.is_in_recovery(), is_in_recovery, "state {state}");
            assert_eq!(control.timeline(), Some(TimelineId::FIRST));
        }
    }

    #[test]
    fn refuses_a_torn_a_truncated_and_an_old_file() {
        let mut torn = image(42, 288);
        torn[33] ^= 1;
        assert_eq!(PgControl::parse(&torn), Err(ControlFileError::Torn));
        assert_eq!(PgControl::parse(&image(42, 288)[..512]), Err(ControlFileError::WrongSize { size_bytes: 512 }));
        let mut old = image(42, 288);
        old[8..12].copy_from_slice(&960u32.to_ne_bytes());
        let checksum = crc32c::crc32c(&old[..288]);
        old[288..292].copy_from_slice(&checksum.to_ne_bytes());
        assert_eq!(PgControl::parse(&old), Err(ControlFileError::TooOld { version: 960 }));
        let mut swapped = image(42, 288);
        swapped[8..12].copy_from_slice(&1300u32.swap_bytes().to_ne_bytes());
        assert_eq!(PgControl::parse(&swapped), Err(ControlFileError::ForeignByteOrder));
    }

    proptest! {
        #[test]
        fn any_changed_byte_before_the_checksum_is_noticed(place in 16usize..288, bits in 1u8..) {
            let mut bytes = image(42, 288);
            bytes[place] ^= bits;
            prop_assert_eq!(PgControl::parse(&bytes), Err(ControlFileError::Torn));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), fill: u8) {
            let _ = PgControl::parse(&bytes);
            let mut whole = bytes;
            whole.resize(FILE_BYTES, fill);
            let _ = PgControl::parse(&whole);
        }
    }
}
