//! The server that runs on a data directory, and where it listens, as it says itself in `postmaster.pid`.

use std::path::{Path, PathBuf};

use super::occupation::running_server;
use crate::files::{self, FileError};

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postmaster {
    /// Its first process.
    pub pid: u32,
    /// Its port; none while it starts.
    pub port: Option<u16>,
    /// Directory of its first Unix socket; none when it has none.
    pub socket_directory: Option<PathBuf>,
}

impl Postmaster {
    /// The server on this data directory; none when none runs there.
    pub fn of(data_directory: &Path) -> Result<Option<Self>, FileError> {
        let Some(pid) = running_server(data_directory)? else { return Ok(None) };
        let contents = files::read_if_present(&data_directory.join("postmaster.pid"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&contents);
        // Process, data directory, start, port, directory of the socket, address.
        let mut lines = text.lines().skip(3);
        let port = lines.next().and_then(|line| line.trim().parse().ok());
        let socket_directory = lines.next().map(str::trim).filter(|line| !line.is_empty()).map(PathBuf::from);
        Ok(Some(Self { pid, port, socket_directory }))
    }
}
