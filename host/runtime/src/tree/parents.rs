//! The directories that hold a file: in the source, in the clone, and in the base.
//!
//! Files come directory by directory, so these stay open from one file to the next: to walk to them anew for each costs more than to
//! link it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::beneath;
use super::transfer::Transfer;
use super::{TreeError, base::Base};

/// The open directories of one path.
pub(super) struct Parents {
    path: PathBuf,
    pub(super) source: File,
    pub(super) clone: File,
    /// None when there is no base, or when it lacks this directory.
    pub(super) base: Option<File>,
}

impl Parents {
    /// Opens the directories of this path, unless it is these that are open; none when the source's has vanished.
    pub(super) fn follow(kept: Option<Self>, transfer: &Transfer<'_>, path: &Path) -> Result<Option<Self>, TreeError> {
        if let Some(kept) = kept
            && kept.path == path
        {
            return Ok(Some(kept));
        }
        let failed = |cause: io::Error| TreeError::of("open the directory", &path.display(), &cause);
        let source = match beneath::open_directory(transfer.source, path) {
            Ok(source) => source,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(cause)),
        };
        let clone = beneath::open_directory(transfer.clone, path).map_err(failed)?;
        let base = transfer.base.and_then(|base: &Base| base.directory(path));
        Ok(Some(Self { path: path.to_owned(), source, clone, base }))
    }
}
