//! Markers: one small file per WAL file that was pushed before PostgreSQL asked for it.
//!
//! A marker states which file was read, where it was stored, and in which boot of the machine. It counts only when every word of
//! the statement is true now, and the archive says that the object is there; then the file is not compared again. A clone, a
//! rolled-back or a rewritten file differs in a word, and the ordinary push decides.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::{FILE_MODE, Fingerprint, Place, SpoolError, age, make_private};
use crate::files::{FileError, remove_file_if_present, write_unflushed};
use crate::flows::Ports;
use crate::postgres::WalFileName;

/// PostgreSQL asks for a file within seconds after it was pushed ahead. Whatever is older has a story that we do not know, such as
/// that of a server that was stopped.
const LIFETIME: Duration = Duration::from_mins(10);

/// Longest marker that is read.
const MAX_BYTES: u64 = 4096;

/// The markers of one server.
#[derive(Debug)]
pub(crate) struct Markers {
    directory: PathBuf,
    /// The part of the statement that all markers share.
    origin: String,
}

impl Markers {
    /// Opens the markers of a server.
    pub(crate) fn open(place: &Place, ports: &Ports<'_>) -> Result<Self, SpoolError> {
        let directory = place.pushed();
        make_private(&directory)?;
        let origin = format!(
            "stillframe 1\nboot {}\nstore {}\ncluster {}\nsystem {}\n",
            place.boot,
            ports.store.url(),
            ports.layout.cluster(),
            place.system_identifier
        );
        Ok(Self { directory, origin })
    }

    /// Whether a marker proves that this file was archived as it is now. Whether it still is, only the archive knows.
    pub(crate) fn vouches_for(&self, name: WalFileName, path: &Path, now: Timestamp) -> bool {
        self.read(name, now).is_ok_and(|found| Fingerprint::of(path).is_ok_and(|file| found == self.statement(name, file)))
    }

    /// States that the archive holds the file.
    pub(crate) fn leave(&self, name: WalFileName, file: Fingerprint) -> Result<(), FileError> {
        write_unflushed(&self.directory.join(name.to_string()), self.statement(name, file).as_bytes(), FILE_MODE)
    }

    /// Removes a marker that was used, or is void. One that stays behind is harmless: it must prove itself each time.
    pub(crate) fn remove(&self, name: WalFileName) {
        let _ = remove_file_if_present(&self.directory.join(name.to_string()));
    }

    /// Removes what is too old to count.
    pub(crate) fn sweep(&self, now: Timestamp) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_young = entry.metadata().is_ok_and(|found| age(&found, now).is_some_and(|age| age <= LIFETIME));
            if !is_young {
                // Another process may have removed it.
                let _ = remove_file_if_present(&entry.path());
            }
        }
        Ok(())
    }

    fn statement(&self, name: WalFileName, file: Fingerprint) -> String {
        format!("{}file {name}\n{}", self.origin, file.to_text())
    }

    fn read(&self, name: WalFileName, now: Timestamp) -> io::Result<String> {
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let marker = OpenOptions::new().read(true).custom_flags(no_link).open(self.directory.join(name.to_string()))?;
        if age(&marker.metadata()?, now).is_none_or(|age| age > LIFETIME) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too old, or of a time to come"));
        }
        let mut text = String::new();
        marker.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }
}
