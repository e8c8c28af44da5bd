//! Gives PostgreSQL one archived WAL file, for `restore_command`.
//!
//! PostgreSQL takes an exit code up to 125 for "there is no such file" and may then end recovery and promote. So absence is
//! reported only when it is proven, and every doubt is an error. The file appears under its name complete, or not.

mod file;
mod prefetch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use prefetch::{PrefetchRequest, wal_prefetch};

use crate::catalog::ArchiveError;
use crate::error::{self, Classify, ErrorClass};
use crate::files::FileError;
use crate::flows::Ports;
use crate::postgres::{HeaderError, InvalidWalName, WalFileName, WalSegmentSize};
use crate::spool::{AheadSettings, Prefetched};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalFetched {
    /// It is there now, with this many bytes.
    Restored(u64),
    /// The archive certainly does not have it.
    Absent,
}

/// Writes the archived file `name` (`%f`) to `destination` (`%p`), from what was prefetched when it is there and proves itself; says
/// what should be prefetched next.
///
/// Absence is never told from the spool, nor by whoever fills it: what does not lie there whole is asked of the archive.
pub async fn wal_fetch(
    ports: &Ports<'_>,
    settings: &AheadSettings,
    name: &str,
    destination: &Path,
) -> Result<(WalFetched, Option<PrefetchRequest>), WalFetchError> {
    let name: WalFileName = name.parse()?;
    let Some(prefetched) = open(ports, settings, name, destination) else {
        return Ok((file::restore_file(ports, name, destination).await?, None));
    };
    let taken = take(ports, &prefetched, name, destination).await;
    let size_bytes = match taken {
        Some(size) => size.bytes(),
        None => match file::restore_file(ports, name, destination).await? {
            WalFetched::Absent => return Ok((WalFetched::Absent, None)),
            WalFetched::Restored(size_bytes) => size_bytes,
        },
    };
    let segment_size = u32::try_from(size_bytes).ok().and_then(|size| WalSegmentSize::try_from(size).ok());
    let next = segment_size.map(|segment_size| PrefetchRequest { served: name, segment_size, destination: destination.to_owned() });
    if !prefetched.is_tended() {
        return Ok((WalFetched::Restored(size_bytes), next));
    }
    if taken.is_none() {
        let _ = prefetched.note_position(name).inspect_err(|error| tracing::debug!(%error, "the position is not noted"));
    }
    Ok((WalFetched::Restored(size_bytes), None))
}

/// How long a server waits for a segment that is under way, instead of fetching it once more.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

/// The prefetched segments of the server that recovers to this destination; none when nothing is prefetched for it.
fn open(ports: &Ports<'_>, settings: &AheadSettings, name: WalFileName, destination: &Path) -> Option<Prefetched> {
    if settings.fetch_files == 0 || !matches!(name, WalFileName::Segment { .. }) {
        return None;
    }
    let place = prefetch::place(ports, settings, destination).inspect_err(|error| {
        tracing::debug!(error = error::chain(error), "WAL is not prefetched");
    });
    Some(Prefetched::of(&place.ok()??))
}

/// Takes a prefetched segment, after a little patience when it is just under way.
async fn take(ports: &Ports<'_>, prefetched: &Prefetched, name: WalFileName, destination: &Path) -> Option<WalSegmentSize> {
    let begin = ports.clock.uptime();
    loop {
        // Asked first: it may be finished between the two looks.
        let is_under_way = prefetched.is_under_way(name);
        let now = ports.clock.now();
        let taken = prefetched.take(name, destination, now);
        if taken.is_some() || !is_under_way || ports.clock.uptime().saturating_sub(begin) > PATIENCE {
            return taken;
        }
        ports.clock.sleep(LOOK).await;
    }
}

/// Why it is not known, or could not be given.
#[derive(Debug, Error)]
pub enum WalFetchError {
    /// Not the name of a WAL file.
    #[error(transparent)]
    Name(#[from] InvalidWalName),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is archived is not the segment that its name says.
    #[error("the archived `{name}` is not the segment that its name says")]
    Header {
        /// The file.
        name: WalFileName,
        /// What is wrong with it.
        #[source]
        source: HeaderError,
    },
    /// The destination cannot be written.
    #[error("cannot restore the file to `{destination}`")]
    Write {
        /// Where to.
        destination: PathBuf,
        /// The cause.
        #[source]
        source: FileError,
    },
}

impl Classify for WalFetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_) => ErrorClass::Usage,
            Self::Archive(error) => error.class(),
            Self::Header { .. } => ErrorClass::Corrupt,
            Self::Write { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) => Some("PostgreSQL must call it: restore_command = 'stillframe wal-fetch %f %p'".to_owned()),
            Self::Archive(error) => error.hint(),
            Self::Header { .. } => Some("another tool put it there; restore it from a copy of the store".to_owned()),
            Self::Write { source, .. } => source.hint(),
        }
    }
}
