//! The section `[drill]`: where backups are proven, with which programs, and by which checks.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::{ConfigError, seconds};

/// How drills are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillConfig {
    /// Where; a flag may name another place.
    pub directory: Option<PathBuf>,
    /// Directory of the programs of PostgreSQL.
    pub bindir: Option<PathBuf>,
    /// Superuser of the cluster.
    pub user: String,
    /// Database of the operator's files.
    pub database: String,
    /// Libraries that the cluster cannot be read without.
    pub preload: String,
    /// The operator's files: absolute paths, with `*` in their last part.
    pub sql: Vec<String>,
    /// Whether `pg_amcheck` runs.
    pub amcheck: bool,
    /// Whether checksums are compared.
    pub checksums: bool,
    /// Longest time for the recovery, and for each check.
    pub deadline: Duration,
}

/// Reads the section.
pub(super) fn read(read: &Reader<'_>) -> Result<DrillConfig, ConfigError> {
    Ok(DrillConfig {
        directory: read.path("drill.directory"),
        bindir: read.path("drill.bindir"),
        user: read.text("drill.user").unwrap_or_default(),
        database: read.text("drill.database").unwrap_or_default(),
        preload: read.text("drill.preload").unwrap_or_default(),
        sql: read.list("drill.sql"),
        amcheck: read.flag("drill.amcheck").unwrap_or(true),
        checksums: read.flag("drill.checksums").unwrap_or(true),
        deadline: seconds(read, "drill.timeout_secs")?,
    })
}
