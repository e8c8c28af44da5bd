//! One record: its header, and what is read of its data.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{u32_at, u64_at};
use crate::postgres::Lsn;

/// Bytes of a record before its data, and how many of them come before its checksum.
pub(super) const RECORD_HEADER: usize = 24;
const BEFORE_CHECKSUM: usize = 20;

/// `RM_XLOG_ID` and `XLOG_SWITCH`: nothing follows in the segment.
const SWITCH: (u8, u8) = (0, 0x40);

/// `RM_TBLSPC_ID` and `XLOG_TBLSPC_CREATE`.
const CREATE_TABLESPACE: (u8, u8) = (5, 0x00);

/// The bits of `info` that belong to the resource manager and tell its records apart.
const KIND: u8 = 0xF0;

/// One record that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRecord<'a> {
    /// Where it begins.
    pub start: Lsn,
    /// The magic of its page: the version of the server that wrote it.
    pub(in crate::postgres) magic: u16,
    bytes: &'a [u8],
}

impl<'a> WalRecord<'a> {
    /// Takes these bytes for a record, if their checksum is right.
    pub(super) fn prove(start: Lsn, magic: u16, bytes: &'a [u8]) -> Option<Self> {
        let (header, data) = bytes.split_at_checked(RECORD_HEADER)?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(data), &header[..BEFORE_CHECKSUM]);
        (checksum == u32_at(header, BEFORE_CHECKSUM)).then_some(Self { start, magic, bytes })
    }

    /// Its resource manager, and which of that one's records it is.
    pub(in crate::postgres) fn kind(&self) -> (u8, u8) {
        (self.bytes[17], self.bytes[16] & KIND)
    }

    /// Whether its data goes on behind what every record of this kind has, for those of transactions: `XLOG_XACT_HAS_INFO`.
    pub(in crate::postgres) fn has_more(&self) -> bool {
        self.bytes[16] & 0x80 > 0
    }

    /// The transaction that wrote it; 0 if none did.
    pub(in crate::postgres) fn transaction(&self) -> u32 {
        u32_at(self.bytes, 4)
    }

    /// Where the record before it begins.
    pub(super) fn previous(&self) -> Lsn {
        Lsn(u64_at(self.bytes, 8))
    }

    pub(super) fn is_switch(&self) -> bool {
        self.kind() == SWITCH
    }

    /// The place of a tablespace that replaying it makes, and writes into; empty for one inside the data directory.
    #[must_use]
    pub fn created_tablespace(&self) -> Option<PathBuf> {
        if self.kind() != CREATE_TABLESPACE {
            return None;
        }
        // Behind its number, up to a zero.
        let path = self.main_data().and_then(|data| data.get(4..)).unwrap_or_default();
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(PathBuf::from(OsStr::from_bytes(path)))
    }

    /// The data of a record that is about no block.
    pub(in crate::postgres) fn main_data(&self) -> Option<&'a [u8]> {
        let mut rest = self.bytes.get(RECORD_HEADER..)?;
        loop {
            let (id, behind) = rest.split_first()?;
            rest = match id {
                255 => {
                    let (length, data) = behind.split_first()?;
                    return data.get(..usize::from(*length));
                }
                254 => {
                    let length = u32::from_ne_bytes(behind.get(..4)?.try_into().ok()?);
                    return behind.get(4..)?.get(..usize::try_from(length).ok()?);
                }
                // Where it came from by logical replication, and the transaction that it belongs to.
                253 => behind.get(2..)?,
                252 => behind.get(4..)?,
                _ => return None,
            };
        }
    }
}
