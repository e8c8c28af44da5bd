//! The WAL of an old cluster that its server had no time to archive: looked at, proven, and copied into the `pg_wal` of a restored one.
//!
//! Nothing here writes where the old WAL lies. A name proves nothing: servers keep files for later under future names, empty or with
//! content from long ago, so that each file is judged by its own header, and what is replayed by its records.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::occupation::{self, entry_names};
use super::{InspectError, running_server};
use crate::error::{Classify, ErrorClass};
use crate::files::{self, FileError};
use crate::postgres::{HeaderError, PgControl, SegmentHeader, SystemIdentifier, TimelineHistory, WalFileName, WalSegmentSize};

/// The directory of the WAL within a data directory.
const WAL: &str = "pg_wal";

/// Where the server notes what was archived.
const STATUS: &str = "archive_status";

/// What lies in the `pg_wal` of a cluster that does not run.
#[derive(Debug, PartialEq, Eq)]
pub struct OldWal {
    /// The directory, without links.
    pub directory: PathBuf,
    /// The data directory around it, if there is one.
    pub data_directory: Option<PathBuf>,
    /// Of the cluster; none when it holds no segment at all and no data directory is around it.
    pub system_identifier: Option<SystemIdentifier>,
    /// Of its segments; none when there are none.
    pub segment_size: Option<WalSegmentSize>,
    /// Segments and histories, by timeline and number.
    pub files: Vec<OldFile>,
    /// Files with the name of a segment whose header is damaged, and how.
    pub damaged: Vec<(WalFileName, HeaderError)>,
}

/// A file that is what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldFile {
    /// Its name.
    pub name: WalFileName,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether the old server noted that it is in the archive.
    pub is_noted: bool,
}

/// A file for the `pg_wal` of a restored cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedFile {
    /// Its name.
    pub name: WalFileName,
    /// Where the old cluster has it.
    pub path: PathBuf,
    /// Whether the server that promotes shall archive it: nothing can be added to it any more.
    pub is_final: bool,
}

impl OldWal {
    /// Looks at an old data directory, or at its `pg_wal` alone. Refuses one on which a server runs.
    pub fn inspect(from: &Path) -> Result<Self, OldWalError> {
        let (around, directory) = find(from)?;
        let mut wal = Self {
            directory,
            data_directory: around,
            system_identifier: None,
            segment_size: None,
            files: Vec::new(),
            damaged: Vec::new(),
        };
        if let Some(data_directory) = &wal.data_directory {
            if let Some(pid) = running_server(data_directory)? {
                return Err(OldWalError::Running { directory: data_directory.clone(), pid });
            }
            wal.system_identifier = occupation::read_control(data_directory)?.map(|control| control.system_identifier());
        }
        if let Some(pid) = occupation::server_with_wal(&wal.directory)? {
            return Err(OldWalError::Running { directory: wal.directory, pid });
        }
        for text in entry_names(&wal.directory)? {
            let Ok(name) = text.parse::<WalFileName>() else { continue };
            let file = OldFile { name, path: wal.directory.join(&text), is_noted: wal.is_noted(&text) };
            match name {
                WalFileName::Segment { .. } => wal.judge_segment(file)?,
                WalFileName::History { timeline } => {
                    let content = std::fs::read(&file.path).map_err(|source| FileError::new("read", &file.path, source))?;
                    // A crash may leave one empty, and no server would follow it.
                    if TimelineHistory::parse(timeline, &String::from_utf8_lossy(&content)).is_ok() {
                        wal.files.push(file);
                    }
                }
                WalFileName::Partial { .. } | WalFileName::BackupHistory { .. } => {}
            }
        }
        wal.files.sort_by_key(|file| file.name.order());
        Ok(wal)
    }

    fn is_noted(&self, name: &str) -> bool {
        self.directory.join(STATUS).join(format!("{name}.done")).exists()
    }

    /// Takes a segment of this cluster, passes over one that is kept for later, and refuses a stranger's.
    fn judge_segment(&mut self, file: OldFile) -> Result<(), OldWalError> {
        let failed = |source| FileError::new("read", &file.path, source);
        let mut opened = File::open(&file.path).map_err(failed)?;
        let length = opened.metadata().map_err(failed)?.len();
        let mut beginning = Vec::with_capacity(SegmentHeader::LENGTH);
        opened.by_ref().take(SegmentHeader::LENGTH as u64).read_to_end(&mut beginning).map_err(failed)?;
        let header = match SegmentHeader::prove_beginning(file.name, &beginning, length) {
            Ok(header) => header,
            // Kept for later: with the content of an older segment, or made ahead and empty.
            Err(HeaderError::Address { .. }) => return Ok(()),
            Err(HeaderError::NotWal) if beginning.iter().all(|byte| *byte == 0) => return Ok(()),
            Err(error) => {
                self.damaged.push((file.name, error));
                return Ok(());
            }
        };
        let expected = *self.system_identifier.get_or_insert(header.system_identifier);
        if header.system_identifier != expected {
            return Err(OldWalError::OtherCluster { path: file.path, found: header.system_identifier, expected });
        }
        let size = *self.segment_size.get_or_insert(header.segment_size);
        if header.segment_size != size {
            return Err(OldWalError::OtherSize { path: file.path });
        }
        self.files.push(file);
        Ok(())
    }
}

/// Finds the data directory, if there is one around it, and the directory of the WAL.
fn find(from: &Path) -> Result<(Option<PathBuf>, PathBuf), OldWalError> {
    let resolve = |path: &Path| path.canonicalize().map_err(|source| FileError::new("read", path, source));
    let resolved = resolve(from)?;
    if resolved.join(PgControl::PATH).is_file() {
        let wal = resolve(&resolved.join(WAL))?;
        return Ok((Some(resolved), wal));
    }
    // A data directory has no `global` in its `pg_wal`, and whoever has lost `pg_control` names `pg_wal` itself.
    if resolved.join(WAL).exists() {
        return Err(OldWalError::NoControl { directory: resolved });
    }
    let around = resolved.parent().filter(|parent| parent.join(PgControl::PATH).is_file());
    let around = around.filter(|parent| resolve(&parent.join(WAL)).is_ok_and(|wal| wal == resolved));
    Ok((around.map(Path::to_owned), resolved))
}

/// Copies the files into an empty `pg_wal`, durably, and lets the server archive those that are final.
pub(super) fn place(files: &[SalvagedFile], directory: &Path, file_mode: u32, directory_mode: u32) -> Result<(), FileError> {
    let (wal, status) = (directory.join(WAL), directory.join(WAL).join(STATUS));
    if files.is_empty() {
        return Ok(());
    }
    files::create_directory(&status, directory_mode)?;
    for SalvagedFile { name, path, is_final } in files {
        let to = wal.join(name.to_string());
        // What is there was not there when the directory was emptied.
        if to.symlink_metadata().is_ok() {
            return Err(FileError::new("write", to, ErrorKind::AlreadyExists.into()));
        }
        let content = std::fs::read(path).map_err(|source| FileError::new("read", path, source))?;
        files::write_atomically(&to, &content, file_mode)?;
        if *is_final {
            files::write_atomically(&status.join(format!("{name}.ready")), b"", file_mode)?;
        }
    }
    Ok(())
}

/// Why the WAL of an old cluster is not taken.
#[derive(Debug, Error)]
pub enum OldWalError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its `pg_control` cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A server runs there, whose WAL is not old.
    #[error("a server runs on `{}` (process {pid})", directory.display())]
    Running {
        /// The directory.
        directory: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// It looks like a data directory and is none.
    #[error("`{}` has a `pg_wal`, and no `{}` that says of which cluster", directory.display(), PgControl::PATH)]
    NoControl {
        /// The directory.
        directory: PathBuf,
    },
    /// A segment of another cluster lies there.
    #[error("`{}` belongs to the cluster {found}, and not to {expected}", path.display())]
    OtherCluster {
        /// The segment.
        path: PathBuf,
        /// In its header.
        found: SystemIdentifier,
        /// What all others say.
        expected: SystemIdentifier,
    },
    /// Segments of two sizes lie there.
    #[error("`{}` has another size than the segments beside it", path.display())]
    OtherSize {
        /// The segment.
        path: PathBuf,
    },
}

impl Classify for OldWalError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::Running { .. } | Self::NoControl { .. } | Self::OtherCluster { .. } => ErrorClass::Refused,
            Self::OtherSize { .. } => ErrorClass::Corrupt,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::File(error) => return error.hint(),
            Self::Inspect(error) => return error.hint(),
            Self::Running { .. } => "stop it first; what a running server writes, its own archiver takes care of",
            Self::NoControl { .. } => "name its `pg_wal` itself, whose segments say it as well",
            Self::OtherCluster { .. } | Self::OtherSize { .. } => "name the directory with the WAL of the cluster that is restored",
        };
        Some(advice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::testing::wal_segment;

    const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;

    fn segment(number: u32, cluster: u64) -> Vec<u8> {
        wal_segment(number, SystemIdentifier(cluster), SIZE, 1)
    }

    fn names(files: &[OldFile]) -> Vec<String> {
        files.iter().map(|file| file.name.to_string()).collect()
    }

    #[test]
    fn takes_what_each_file_proves_to_be_and_passes_over_what_is_kept_for_later() {
        let wal = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| std::fs::write(wal.path().join(name), content).unwrap();
        write("000000010000000000000003", &segment(3, 7));
        write("000000010000000000000004", &segment(4, 7));
        // Recycled, made ahead, torn and damaged.
        write("000000010000000000000005", &segment(2, 7));
        write("000000010000000000000006", &vec![0; 1 << 20]);
        write("000000010000000000000007", &segment(7, 7)[..100_000]);
        write("000000010000000000000008", b"nonsense");
        write("00000002.history", b"1\t0/300000\tno recovery target specified\n");
        write("00000003.history", b"");
        write("xlogtemp.77", &segment(9, 7));
        std::fs::create_dir(wal.path().join("archive_status")).unwrap();
        write("archive_status/000000010000000000000003.done", b"");
        let found = OldWal::inspect(wal.path()).unwrap();
        assert_eq!(names(&found.files), ["000000010000000000000003", "000000010000000000000004", "00000002.history"]);
        assert_eq!(found.files.iter().map(|file| file.is_noted).collect::<Vec<_>>(), [true, false, false]);
        let damaged: Vec<_> = found.damaged.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(damaged, ["000000010000000000000007", "000000010000000000000008"]);
        assert_eq!((found.system_identifier, found.segment_size), (Some(SystemIdentifier(7)), Some(SIZE)));
    }

    #[test]
    fn a_strangers_segment_among_the_others_or_beside_pg_control_is_refused() {
        let wal = tempfile::tempdir().unwrap();
        std::fs::write(wal.path().join("000000010000000000000003"), segment(3, 7)).unwrap();
        std::fs::write(wal.path().join("000000010000000000000004"), segment(4, 8)).unwrap();
        assert!(matches!(OldWal::inspect(wal.path()), Err(OldWalError::OtherCluster { found: SystemIdentifier(8), .. })));
        let fixture = Fixture::new(15);
        std::fs::write(fixture.directory.join("pg_wal/000000010000000000000001"), segment(1, 8)).unwrap();
        for from in [fixture.directory.clone(), fixture.directory.join("pg_wal")] {
            assert!(matches!(OldWal::inspect(&from), Err(OldWalError::OtherCluster { .. })));
        }
        std::fs::remove_file(fixture.directory.join(PgControl::PATH)).unwrap();
        assert!(matches!(OldWal::inspect(&fixture.directory), Err(OldWalError::NoControl { .. })));
    }

    #[test]
    fn what_is_placed_is_the_same_and_replaces_nothing() {
        let (fixture, old) = (Fixture::new(15), tempfile::tempdir().unwrap());
        let path = old.path().join("000000010000000000000003");
        std::fs::write(&path, segment(3, 42)).unwrap();
        let name = "000000010000000000000003".parse().unwrap();
        let files = [SalvagedFile { name, path, is_final: true }];
        place(&files, &fixture.directory, 0o600, 0o700).unwrap();
        let placed = fixture.directory.join("pg_wal/000000010000000000000003");
        assert_eq!(std::fs::read(&placed).unwrap(), segment(3, 42));
        assert_eq!(fixture.read("pg_wal/archive_status/000000010000000000000003.ready").unwrap(), "");
        std::fs::write(&placed, "other").unwrap();
        place(&files, &fixture.directory, 0o600, 0o700).unwrap_err();
        assert_eq!(std::fs::read(&placed).unwrap(), b"other");
    }
}
