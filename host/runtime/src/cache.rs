//! The directory for compiled code, and whether it can be trusted.
//!
//! What lies there is loaded as native code. The engine keys it by a SHA-256 over the component, the compiler's target and flags
//! and the engine's configuration, below a directory named after the engine's version, but it does not authenticate it: whoever
//! can write there runs code as us. So the directory must be ours alone and unreachable by others through any of its parents; if
//! not, it is left alone and every process compiles anew, which costs time and nothing else.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use wasmtime::{Cache, CacheConfig};

/// Why compiled code is not kept in the directory.
#[derive(Debug, Error)]
pub(crate) enum CacheRefusal {
    #[error("it is not an absolute path")]
    Relative,
    #[error("it is a symbolic link or not a directory")]
    NotADirectory,
    #[error("it belongs to user {owner}, and this process runs as user {us}")]
    Foreign { owner: u32, us: u32 },
    #[error("its mode is {mode:04o}, and others could have put code there; it must be 0700")]
    Open { mode: u32 },
    #[error("others can replace it through `{parent}`")]
    Replaceable { parent: PathBuf },
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Engine(String),
}

/// Opens the cache, or warns why it is not used.
pub(crate) fn open(directory: Option<&Path>) -> Option<Cache> {
    let directory = directory?;
    match try_open(directory) {
        Ok(cache) => Some(cache),
        Err(refusal) => {
            tracing::warn!("compiled providers are not cached in `{}`: {refusal}", directory.display());
            None
        }
    }
}

fn try_open(directory: &Path) -> Result<Cache, CacheRefusal> {
    if !directory.is_absolute() {
        return Err(CacheRefusal::Relative);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory).or_else(|error| match error.kind() {
        // Something else is there; what it is gets said below.
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    })?;
    ours_alone(directory)?;
    let mut config = CacheConfig::new();
    config.with_directory(directory);
    Cache::new(config).map_err(|error| CacheRefusal::Engine(format!("{error:#}")))
}

/// Fails unless only we, and root, can write to the directory or put another one in its place.
fn ours_alone(directory: &Path) -> Result<(), CacheRefusal> {
    let us = rustix::process::geteuid().as_raw();
    let found = directory.symlink_metadata()?;
    if !found.is_dir() {
        return Err(CacheRefusal::NotADirectory);
    }
    if found.uid() != us {
        return Err(CacheRefusal::Foreign { owner: found.uid(), us });
    }
    // Readable is too much already: below it, directories may have been made with a wide umask.
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CacheRefusal::Open { mode });
    }
    // The path is resolved once: a link on the way is as good as the directories that it leads through.
    for parent in directory.canonicalize()?.ancestors().skip(1) {
        if can_be_replaced_by_others(&parent.symlink_metadata()?, us) {
            return Err(CacheRefusal::Replaceable { parent: parent.to_owned() });
        }
    }
    Ok(())
}

fn can_be_replaced_by_others(parent: &Metadata, us: u32) -> bool {
    let sticky = parent.mode() & 0o1000 != 0;
    let writable_by_all = parent.mode() & 0o002 != 0;
    (parent.uid() != us && parent.uid() != 0) || (writable_by_all && !sticky)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::{CacheRefusal, try_open};

    #[test]
    fn makes_the_directory_for_us_alone() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        try_open(&directory).unwrap();
        assert_eq!(directory.metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(place.path().join("a").metadata().unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn refuses_a_directory_that_others_can_reach() {
        let place = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o770, 0o720, 0o702, 0o755, 0o701] {
            let directory = place.path().join(format!("{mode:o}"));
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(try_open(&directory), Err(CacheRefusal::Open { mode: found }) if found == mode), "{mode:o}");
        }
    }

    #[test]
    fn refuses_a_directory_below_one_that_others_can_write() {
        let place = tempfile::tempdir().unwrap();
        let open = place.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(try_open(&open.join("cache")), Err(CacheRefusal::Replaceable { .. })));
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        try_open(&open.join("cache")).unwrap();
    }

    #[test]
    fn refuses_a_link_a_file_and_a_relative_path() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("real")).unwrap();
        fs::set_permissions(place.path().join("real"), Permissions::from_mode(0o700)).unwrap();
        symlink(place.path().join("real"), place.path().join("link")).unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        assert!(matches!(try_open(&place.path().join("link")), Err(CacheRefusal::NotADirectory)));
        assert!(matches!(try_open(&place.path().join("file")), Err(CacheRefusal::NotADirectory)));
        assert!(matches!(try_open("cache".as_ref()), Err(CacheRefusal::Relative)));
    }

    #[test]
    fn refuses_a_directory_of_another_user() {
        let us = rustix::process::geteuid().as_raw();
        // Root owns this one, and root can give one away: one of the two is possible for whoever runs the tests.
        let place = tempfile::tempdir().unwrap();
        let directory = if us == 0 {
            let directory = place.path().join("given");
            fs::create_dir(&directory).unwrap();
            std::os::unix::fs::chown(&directory, Some(65534), None).unwrap();
            directory
        } else {
            "/proc/1".into()
        };
        assert!(matches!(try_open(&directory), Err(CacheRefusal::Foreign { .. })));
    }
}
