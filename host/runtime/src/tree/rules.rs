//! How a tree is cloned: what a caller may ask for, checked.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::location::relative_path;
use super::{Location, TreeError};

/// How the content of a file gets to the clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CloneMethod {
    /// Shares extents where the file system can, otherwise copies.
    #[default]
    Auto,
    /// Shares extents, or fails.
    Reflink,
    /// Copies.
    Copy,
    /// Links to the source's own files, which the clone then follows. No snapshot; for tests.
    Shared,
}

/// How to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CloneOptions {
    /// How content is transferred.
    pub(crate) method: CloneMethod,
    /// An earlier clone of the same source, from which provably unchanged files are linked.
    pub(crate) base: Option<Location>,
    /// Glob patterns, relative to the source, of what is left out.
    pub(crate) skip: Vec<String>,
    /// Files that are cloned after everything else, in this order.
    pub(crate) last: Vec<String>,
}

/// The options after their check.
pub(super) struct Rules {
    pub(super) method: CloneMethod,
    pub(super) last: Vec<PathBuf>,
    skip: GlobSet,
}

impl Rules {
    pub(super) fn check(options: &CloneOptions) -> Result<Self, TreeError> {
        let mut skip = GlobSetBuilder::new();
        for pattern in &options.skip {
            let glob = GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()
                .map_err(|cause| TreeError::Denied(format!("the pattern {pattern:?} cannot be read: {cause}")))?;
            skip.add(glob);
        }
        let skip = skip.build().map_err(|cause| TreeError::Denied(format!("the patterns cannot be used together: {cause}")))?;
        let last = options.last.iter().map(|path| relative_path(path)).collect::<Result<_, _>>()?;
        Ok(Self { method: options.method, last, skip })
    }

    /// Whether the walk leaves this path out.
    pub(super) fn skips(&self, path: &Path) -> bool {
        self.skip.is_match(path)
    }

    /// Whether the file is cloned after everything else.
    pub(super) fn is_last(&self, path: &Path) -> bool {
        self.last.iter().any(|last| last == path)
    }
}
