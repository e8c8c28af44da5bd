//! The section `[session]`: where sessions for outside tools are kept, and how long they last.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::{ConfigError, seconds};

/// How sessions are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Where they are kept; none when nobody has said so and the user has no home.
    pub directory: Option<PathBuf>,
    /// How long one lasts; none without a limit.
    pub timeout: Option<Duration>,
}

/// Reads the section.
pub(super) fn read(read: &Reader<'_>) -> Result<SessionConfig, ConfigError> {
    let timeout = seconds(read, "session.timeout_secs")?;
    Ok(SessionConfig { directory: read.path("session.directory"), timeout: (!timeout.is_zero()).then_some(timeout) })
}
