//! In which form new WAL is archived.

/// How the archive writes.
#[derive(Debug, Clone, Default)]
pub struct ArchiveSettings {
    /// How content is compressed.
    pub compression: Compression,
}

/// How content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd, at this level.
    Zstd(i32),
}

impl Default for Compression {
    /// The fastest level of zstd still halves a typical segment: archiving must keep up with the server, on its own machine.
    fn default() -> Self {
        Self::Zstd(1)
    }
}
