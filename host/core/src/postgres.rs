//! PostgreSQL's words: positions, timelines, segments, the files of a backup, and the connection to a server.

mod connection;
mod lsn;
mod segment;
mod server;

pub use connection::{CheckpointMode, Connection, ConnectionError, ConnectionFault, StoppedBackup};
pub use lsn::{InvalidLsn, Lsn};
pub use segment::{InvalidWalName, WalFileName, WalRange, WalSegment};
pub use server::{
    ArchiveMode, ArchiverStatus, InvalidValue, PgVersion, ServerFacts, SystemIdentifier, Tablespace, TimelineId, WalSegmentSize,
};
