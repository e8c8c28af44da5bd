//! The catalog: which backups exist, and which are about to.

mod name;

pub use name::{BackupName, InvalidBackupName};
