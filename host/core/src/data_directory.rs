//! A data directory on disk: what lies in it, and how a restored one is made ready to recover.
//!
//! Whatever a crash interrupts here, a server must never start on a half-prepared copy as if it were whole. So the copy is sealed
//! first, `backup_label` is removed next and written last, and a second run completes what a first one began. A refusal comes
//! before the first change. Synchronous: callers move it off their executor.

mod asked;
mod clean;
mod error;
#[cfg(test)]
mod fixture;
mod lock_out;
mod occupation;
mod old_wal;
mod postmaster;
mod preparation;
mod recovery;
mod settings;
mod stopped;
mod tablespaces;
mod wal;

pub use asked::{AskedRecovery, ReadAskedError};
pub use error::{InspectError, PrepareError};
pub use lock_out::{InstalledLockOut, InvalidRole, LockOut};
pub use occupation::{Occupation, inspect};
pub(crate) use occupation::{linked_database, linked_directory, read_control, running_server};
pub use old_wal::{OldFile, OldWal, OldWalError, SalvagedFile};
pub use postmaster::Postmaster;
pub(crate) use preparation::keep_own_settings;
pub use preparation::{KeptWal, OriginalLocations, Preparation, PreparationReport, prepare};
pub use recovery::{Archiving, Inclusion, InvalidTarget, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
pub use stopped::{LocalStoppedServer, StoppedError, StoppedFiles, StoppedServer};
