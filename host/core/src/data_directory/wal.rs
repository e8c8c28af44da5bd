//! `pg_wal` of a copy: emptied, since the WAL comes from the archive, and never at the expense of the original cluster.
//!
//! Where `pg_wal` is a symbolic link, the copy's link leads to the directory in which the original server may be writing right now.
//! What lies behind a link is therefore never removed: the directory is empty already, or the preparation is refused.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::occupation::entry_names;
use super::{KeptWal, PrepareError};
use crate::files::{self, FileError, LOST_AND_FOUND};

/// Directories that the server makes in `pg_wal` by itself.
const OF_SERVER: [&str; 2] = ["archive_status", "summaries"];

/// Where the WAL of the copy will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WalPlace {
    /// In the data directory.
    Inside,
    /// In this directory, behind a link.
    Linked(PathBuf),
}

/// Finds the place and refuses one that is in use; changes nothing. What an earlier run of the same preparation has put there is no
/// use of it.
pub(super) fn find_place(directory: &Path, wanted: Option<&Path>, kept: Option<&KeptWal>) -> Result<WalPlace, PrepareError> {
    let link = directory.join("pg_wal");
    let target = match wanted {
        Some(path) if !path.is_absolute() => return Err(PrepareError::Relative { path: path.to_owned() }),
        Some(path) => path.to_owned(),
        None => match std::fs::read_link(&link) {
            Ok(target) => directory.join(target),
            // A real directory, or none.
            Err(source) if matches!(source.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => return Ok(WalPlace::Inside),
            Err(source) => return Err(FileError::new("read", link, source).into()),
        },
    };
    match find_entry(&target, kept)? {
        Some(example) => Err(PrepareError::WalDirectoryInUse { directory: target, example }),
        None => Ok(WalPlace::Linked(target)),
    }
}

/// Makes the place ready and empty.
pub(super) fn make_ready(directory: &Path, place: &WalPlace, directory_mode: u32) -> Result<(), FileError> {
    let path = directory.join("pg_wal");
    let is_real = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    if is_real {
        files::remove_tree_contents(&path)?;
        files::sync_directory(&path)?;
    }
    match place {
        WalPlace::Inside => files::create_directory(&path, directory_mode),
        WalPlace::Linked(target) => {
            make_with_parents(target, directory_mode)?;
            let is_linked = std::fs::read_link(&path).is_ok_and(|found| directory.join(found) == *target);
            if is_linked { Ok(()) } else { files::link_atomically(target, &path) }
        }
    }
}

/// One entry that only a server can have written; none when the directory is empty or missing.
fn find_entry(directory: &Path, kept: Option<&KeptWal>) -> Result<Option<String>, FileError> {
    let names = match entry_names(directory) {
        Ok(names) => names,
        Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for name in names.into_iter().filter(|name| name != LOST_AND_FOUND) {
        if !OF_SERVER.contains(&name.as_str()) {
            let is_kept = |kept: &KeptWal| std::fs::read(directory.join(&name)).is_ok_and(|found| found == kept.content);
            if kept.is_some_and(|kept| kept.name.to_string() == name && is_kept(kept)) {
                continue;
            }
            return Ok(Some(name));
        }
        if let Some(inner) = entry_names(&directory.join(&name))?.first() {
            return Ok(Some(format!("{name}/{inner}")));
        }
    }
    Ok(None)
}

fn make_with_parents(directory: &Path, mode: u32) -> Result<(), FileError> {
    if let Some(parent) = directory.parent().filter(|parent| !parent.exists()) {
        make_with_parents(parent, mode)?;
    }
    files::create_directory(directory, mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fixture::Fixture;
    use super::*;

    /// A fixture whose `pg_wal` is a link to `target`, and the target's path.
    fn linked(target: &str) -> (Fixture, PathBuf) {
        let fixture = Fixture::new(15);
        std::fs::remove_dir_all(fixture.directory.join("pg_wal")).unwrap();
        symlink(target, fixture.directory.join("pg_wal")).unwrap();
        let path = fixture.directory.join(target);
        (fixture, path)
    }

    #[test]
    fn refuses_a_link_to_wal_that_may_be_the_original_s() {
        for content in ["000000010000000000000001", "archive_status/000000010000000000000001.ready"] {
            let (fixture, target) = linked("../wal");
            std::fs::create_dir_all(target.join(content).parent().unwrap()).unwrap();
            std::fs::write(target.join(content), "live").unwrap();
            let error = find_place(&fixture.directory, None, None).unwrap_err();
            assert!(matches!(error, PrepareError::WalDirectoryInUse { example, .. } if example == content));
            assert!(find_place(&fixture.directory, Some(&target), None).is_err(), "not even when it is asked for");
        }
    }

    #[test]
    fn a_link_stays_and_its_missing_or_empty_directory_is_made_ready() {
        for exists in [false, true] {
            let (fixture, target) = linked("../volume/wal");
            if exists {
                std::fs::create_dir_all(target.join("archive_status")).unwrap();
                std::fs::create_dir_all(target.join(LOST_AND_FOUND)).unwrap();
            }
            let place = find_place(&fixture.directory, None, None).unwrap();
            assert_eq!(place, WalPlace::Linked(target.clone()));
            make_ready(&fixture.directory, &place, 0o700).unwrap();
            assert_eq!(std::fs::read_link(fixture.directory.join("pg_wal")).unwrap(), Path::new("../volume/wal"));
            assert!(target.is_dir());
        }
    }

    #[test]
    fn another_directory_replaces_a_link_without_touching_what_it_led_to() {
        let (fixture, live) = linked("../live");
        std::fs::create_dir(&live).unwrap();
        std::fs::write(live.join("000000010000000000000001"), "live").unwrap();
        let wanted = fixture.beside("new wal");
        let place = find_place(&fixture.directory, Some(&wanted), None).unwrap();
        make_ready(&fixture.directory, &place, 0o700).unwrap();
        assert_eq!(std::fs::read_link(fixture.directory.join("pg_wal")).unwrap(), wanted);
        assert_eq!(std::fs::read(live.join("000000010000000000000001")).unwrap(), b"live");
    }

    #[test]
    fn a_real_directory_is_emptied_and_can_be_moved() {
        let fixture = Fixture::new(15);
        let place = find_place(&fixture.directory, None, None).unwrap();
        assert_eq!(place, WalPlace::Inside);
        make_ready(&fixture.directory, &place, 0o700).unwrap();
        assert_eq!(entry_names(&fixture.directory.join("pg_wal")).unwrap(), [""; 0]);
        let wanted = fixture.beside("new wal");
        let place = find_place(&fixture.directory, Some(&wanted), None).unwrap();
        make_ready(&fixture.directory, &place, 0o700).unwrap();
        assert_eq!(std::fs::read_link(fixture.directory.join("pg_wal")).unwrap(), wanted);
        assert!(matches!(find_place(&fixture.directory, Some(Path::new("wal")), None), Err(PrepareError::Relative { .. })));
    }
}
