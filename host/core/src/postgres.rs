//! PostgreSQL's words: positions, timelines, segments, the files of a backup, and the connection to a server.

mod backup_history;
mod connection;
mod control;
mod history;
mod label;
mod lsn;
mod private_server;
mod segment;
mod segment_header;
mod server;
mod session;
mod shutdown;
mod tablespace_map;
mod verbatim;
mod wal_marks;
mod wal_records;

pub use backup_history::{BackupHistory, InvalidBackupHistory};
pub use connection::{CheckpointMode, Connection, ConnectionError, ConnectionFault, StoppedBackup};
#[cfg(test)]
pub(crate) use control::tests::image as control_image;
pub use control::{ControlFileError, PgControl, ServerLimits, ServerState};
pub use history::{Fork, InvalidHistory, TimelineHistory};
pub use label::{BackupLabel, InvalidLabel};
pub use lsn::{InvalidLsn, Lsn};
pub use private_server::{
    PrivateServer, QuerySession, ResultSet, ServerError, ServerOrder, ServerPrograms, ShutdownMode, ToolEnd, ToolRun,
};
pub use segment::{InvalidWalName, WalFileName, WalRange, WalSegment};
pub use segment_header::{HeaderError, SegmentHeader, bytes_in_order};
pub use server::{
    ArchiveMode, ArchiverStatus, InvalidValue, PgVersion, ServerFacts, SystemIdentifier, Tablespace, TimelineId, WalSegmentSize,
};
pub use session::BackupSession;
pub use shutdown::{Shutdown, ShutdownError};
pub use tablespace_map::{InvalidTablespaceMap, TablespaceLink, TablespaceMap};
pub(crate) use wal_marks::mark;
pub use wal_marks::{MarkKind, SegmentReading, WalMark, read_marks};
pub use wal_records::{ReadingEnd, WalReader, WalRecord, wal_head};
