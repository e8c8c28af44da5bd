//! Every step that changes a file goes through here: a test can count it and let it fail. Elsewhere it is just done.

use std::io;
use std::path::Path;

/// One step of a change of a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileStep {
    /// Content is written, under whatever name.
    Write,
    /// The content of a file is flushed.
    Flush,
    /// A file gets its name, in place of what bore it.
    Rename,
    /// The same for a file that need not survive a crash.
    PutInPlace,
    /// A link gets its name.
    Link,
    /// A directory is made.
    Make,
    /// A file, a link or an empty directory is removed.
    Remove,
    /// A directory is emptied.
    Empty,
    /// The entries of a directory are flushed.
    FlushDirectory,
    /// A whole file system is flushed.
    FlushFileSystem,
}

/// Does one step.
#[inline]
pub(crate) fn change<T: Default>(step: FileStep, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    #[cfg(feature = "testing")]
    return crate::testing::change_file(step, path, work);
    #[cfg(not(feature = "testing"))]
    {
        let _ = (step, path);
        work()
    }
}
