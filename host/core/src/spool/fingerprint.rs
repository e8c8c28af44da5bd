//! What tells whether a file is still the one that was read.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

/// The kernel's times advance in ticks of up to ten milliseconds: a change within the tick of the last one does not show.
const TICK: Duration = Duration::from_millis(50);

/// Identity, size and times of a file. Whatever writes to it, replaces it or renames it changes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Fingerprint {
    /// Looks at a file, which must be a regular one.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let found = path.symlink_metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(Self::from(&found))
    }

    /// Whether a change from now on would show.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        let newest = self.changed_ns.max(self.modified_ns);
        now.as_nanosecond() - newest > TICK.as_nanos().cast_signed()
    }

    /// As lines of text.
    pub(crate) fn to_text(self) -> String {
        let Self { device, inode, size_bytes, modified_ns, changed_ns } = self;
        format!("device {device}\ninode {inode}\nsize {size_bytes}\nmodified {modified_ns}\nchanged {changed_ns}\n")
    }
}

impl From<&Metadata> for Fingerprint {
    fn from(found: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.size(),
            modified_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
            changed_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
        }
    }
}
