//! Removes from a copy what belonged to the original server's run and not to its data.
//!
//! Replication slots would hold WAL for ever, an old label or signal file would redirect the start, and the rest is rebuilt by the
//! server. A directory that is a symbolic link is replaced by a real one: the link leads to the original's.

use std::io::ErrorKind;
use std::path::Path;

use crate::files::{self, FileError, FileStep};

/// The file whose presence lets a sealed copy start.
pub(super) const LABEL_FILE: &str = "backup_label";

/// The file from which the server makes the links of tablespaces.
pub(super) const MAP_FILE: &str = "tablespace_map";

/// Asks for archive recovery, from 12.
pub(super) const SIGNAL_FILE: &str = "recovery.signal";

/// Asks for archive recovery and says how, before 12; from 12 the server refuses to start with it.
pub(super) const OLD_RECOVERY_FILE: &str = "recovery.conf";

/// Files at the top that a copy must not bring along.
const REMOVED: [&str; 10] = [
    "backup_label.old",
    MAP_FILE,
    "tablespace_map.old",
    SIGNAL_FILE,
    "standby.signal",
    OLD_RECOVERY_FILE,
    "postmaster.pid",
    "postmaster.opts",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
];

/// Directories whose contents belong to a running server; `pg_wal` has a file of its own here.
const EMPTIED: [&str; 7] = ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];

/// Removes the label, so that the sealed copy cannot start while it changes. Returns whether there was one.
pub(super) fn remove_label(directory: &Path) -> Result<bool, FileError> {
    let was_there = files::remove_file_if_present(&directory.join(LABEL_FILE))?;
    files::sync_directory(directory)?;
    Ok(was_there)
}

/// Removes files and contents of directories; returns the names, within the directory, of what there was.
pub(super) fn clean(directory: &Path, tablespaces: &[impl AsRef<Path>], directory_mode: u32) -> Result<Vec<String>, FileError> {
    let mut removed = Vec::new();
    for name in REMOVED {
        if files::remove_file_if_present(&directory.join(name))? {
            removed.push(name.to_owned());
        }
    }
    for name in EMPTIED {
        if empty(&directory.join(name), directory_mode)? {
            removed.push(format!("{name}/*"));
        }
    }
    remove_matching(directory, files::is_temporary)?;
    remove_matching(&directory.join("global"), |name| files::is_temporary(name) || is_cache(name))?;
    clean_databases(&directory.join("base"))?;
    for tablespace in tablespaces {
        clean_databases(tablespace.as_ref())?;
    }
    files::sync_directory(directory)?;
    Ok(removed)
}

/// Makes an empty directory of what is there; returns whether something was removed.
fn empty(path: &Path, directory_mode: u32) -> Result<bool, FileError> {
    let removed = match path.symlink_metadata() {
        Err(source) if source.kind() == ErrorKind::NotFound => false,
        Err(source) => return Err(FileError::new("read", path, source)),
        Ok(found) if found.is_symlink() => files::remove_file_if_present(path)?,
        Ok(_) => files::remove_tree_contents(path)? > 0,
    };
    files::create_directory(path, directory_mode)?;
    files::sync_directory(path)?;
    Ok(removed)
}

/// Removes temporary files of queries, and caches of catalogs, from a directory of databases.
fn clean_databases(directory: &Path) -> Result<(), FileError> {
    remove_matching(directory, |name| name.as_encoded_bytes().starts_with(b"pgsql_tmp"))?;
    for entry in entries(directory)? {
        if entry.file_type().is_ok_and(|file_type| file_type.is_dir()) {
            remove_matching(&entry.path(), is_cache)?;
        }
    }
    Ok(())
}

fn is_cache(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"pg_internal.init")
}

fn remove_matching(directory: &Path, matches: impl Fn(&std::ffi::OsStr) -> bool) -> Result<(), FileError> {
    let mut is_changed = false;
    for entry in entries(directory)? {
        if !matches(&entry.file_name()) {
            continue;
        }
        is_changed = true;
        let path = entry.path();
        let file_type = entry.file_type().map_err(|source| FileError::new("read", &path, source))?;
        if file_type.is_dir() {
            files::remove_tree_contents(&path)?;
            files::change(FileStep::Remove, &path, || std::fs::remove_dir(&path))
                .map_err(|source| FileError::new("remove", &path, source))?;
        } else {
            files::remove_file_if_present(&path)?;
        }
    }
    // What was removed must not be there again after a power cut: the copy is called ready.
    if is_changed { files::sync_directory(directory) } else { Ok(()) }
}

fn entries(directory: &Path) -> Result<Vec<std::fs::DirEntry>, FileError> {
    let listed = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    listed.map_err(|source| FileError::new("list", directory, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn removes_the_server_and_keeps_the_data() {
        let fixture = Fixture::new(15);
        let space = fixture.tablespace.join("PG_15_202209061");
        std::fs::create_dir(space.join("pgsql_tmp")).unwrap();
        std::fs::write(space.join("pgsql_tmp/pgsql_tmp1.0"), "").unwrap();
        std::fs::write(space.join("1/pg_internal.init"), "").unwrap();
        std::fs::write(space.join("1/2619"), "data").unwrap();
        let removed = clean(&fixture.directory, &[&space], 0o700).unwrap();
        assert_eq!(removed, ["backup_label.old", "standby.signal", "postmaster.opts", "pg_notify/*", "pg_replslot/*"]);
        let names: Vec<String> = fixture.tree().into_iter().map(|(name, _)| name).collect();
        let expected = "PG_VERSION base base/1 base/1/1259 global global/pg_control pg_dynshmem pg_hba.conf pg_notify pg_replslot \
            pg_serial pg_snapshots pg_stat_tmp pg_subtrans pg_tblspc pg_tblspc/16384 pg_wal \
            pg_wal/000000010000000000000001 pg_wal/archive_status pg_wal/archive_status/000000010000000000000001.done \
            postgresql.auto.conf postgresql.conf";
        assert_eq!(names.join(" "), expected);
        assert!(space.join("1/2619").exists() && !space.join("1/pg_internal.init").exists() && !space.join("pgsql_tmp").exists());
    }

    #[test]
    fn a_linked_directory_becomes_a_real_one_and_what_it_led_to_stays() {
        let (fixture, live) = (Fixture::new(15), tempfile::tempdir().unwrap());
        std::fs::write(live.path().join("state"), "live").unwrap();
        symlink(live.path(), fixture.directory.join("pg_stat_tmp")).unwrap();
        symlink(live.path(), fixture.directory.join("base/pgsql_tmp_link")).unwrap();
        clean(&fixture.directory, &[] as &[&Path], 0o700).unwrap();
        let found = fixture.directory.join("pg_stat_tmp").symlink_metadata().unwrap();
        assert!(found.is_dir());
        assert!(!fixture.directory.join("base/pgsql_tmp_link").is_symlink());
        assert_eq!(std::fs::read(live.path().join("state")).unwrap(), b"live");
    }
}
