//! The tablespaces of a copy: where each one is, proven before a link is made.
//!
//! A link that still leads to the original location makes the copy write into the living cluster. It is refused unless the copy
//! takes the original's place, or the caller restored those directories itself.

use std::path::{Path, PathBuf};

use super::{OriginalLocations, Preparation, PrepareError};
use crate::files::{self, FileError};
use crate::postgres::{TablespaceLink, TablespaceMap};

/// The directory of the links.
const LINKS: &str = "pg_tblspc";

/// Tablespaces at the locations where the copy will use them.
#[derive(Debug)]
pub(super) struct Tablespaces {
    /// What `tablespace_map` shall say.
    pub(super) map: TablespaceMap,
    /// The same, as links.
    pub(super) links: Vec<TablespaceLink>,
    /// The directory in each location that holds the data of this major version.
    pub(super) version_directories: Vec<PathBuf>,
}

/// Finds every tablespace and refuses what is missing, foreign or the original's; changes nothing.
pub(super) fn find(preparation: &Preparation, catalog_version: u32) -> Result<Tablespaces, PrepareError> {
    let mapping = &preparation.tablespace_mapping;
    if let Some(path) = mapping.iter().map(|(_, to)| to).find(|to| !to.is_absolute()) {
        return Err(PrepareError::Relative { path: path.clone() });
    }
    if let Some(path) = mapping.iter().map(|(_, to)| to).find(|to| is_ambiguous(to)) {
        return Err(PrepareError::AmbiguousLocation { path: path.clone() });
    }
    let originals = preparation.tablespace_map.links()?;
    if let Some((from, _)) = mapping.iter().find(|(from, _)| originals.iter().all(|link| link.location != *from)) {
        return Err(PrepareError::UnknownMapping { from: from.clone() });
    }
    let map = preparation.tablespace_map.remapped(mapping)?;
    let links = map.links()?;
    let mut version_directories: Vec<PathBuf> = Vec::new();
    let expected = format!("PG_{}_{catalog_version}", preparation.version.major());
    for TablespaceLink { oid, location } in &links {
        let (oid, location) = (*oid, location.clone());
        if !location.is_dir() {
            return Err(PrepareError::TablespaceMissing { oid, location });
        }
        let is_original = originals.iter().any(|original| is_same_place(&original.location, &location));
        if is_original && !may_use_originals(preparation) {
            return Err(PrepareError::TablespaceAtOriginal { oid, location });
        }
        let version_directory = location.join(&expected);
        if !version_directory.is_dir() {
            return Err(PrepareError::TablespaceForeign { oid, location, expected });
        }
        if let Some(path) = super::linked_database(&version_directory) {
            return Err(PrepareError::LinkedDirectory { path });
        }
        if version_directories.iter().any(|other| is_same_place(other, &version_directory)) {
            return Err(PrepareError::TablespaceShared { location });
        }
        version_directories.push(version_directory);
    }
    Ok(Tablespaces { map, links, version_directories })
}

/// Makes the links; returns the names of those that were removed because the backup does not know them.
///
/// One that came after the start of the backup is made again when its creation is replayed.
pub(super) fn link(directory: &Path, links: &[TablespaceLink], directory_mode: u32) -> Result<Vec<String>, FileError> {
    let place = directory.join(LINKS);
    files::create_directory(&place, directory_mode)?;
    for TablespaceLink { oid, location } in links {
        let path = place.join(oid.to_string());
        if !std::fs::read_link(&path).is_ok_and(|target| target == *location) {
            files::link_atomically(location, &path)?;
        }
    }
    let known: Vec<String> = links.iter().map(|link| link.oid.to_string()).collect();
    let mut removed = super::occupation::entry_names(&place)?;
    removed.retain(|name| !known.contains(name) && place.join(name).is_symlink());
    for name in &removed {
        files::remove_file_if_present(&place.join(name))?;
    }
    files::sync_directory(&place)?;
    Ok(removed)
}

/// Up to 13 the server reads a backslash in `tablespace_map` as itself, from 14 as an escape.
fn is_ambiguous(location: &Path) -> bool {
    location.as_os_str().as_encoded_bytes().iter().any(|byte| b"\\\n\r".contains(byte))
}

fn may_use_originals(preparation: &Preparation) -> bool {
    match preparation.original_locations {
        OriginalLocations::Ours => true,
        OriginalLocations::Foreign => is_same_place(&preparation.data_directory, &preparation.original_data_directory),
    }
}

fn is_same_place(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || resolved(one) == resolved(other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::fixture::{Fixture, TABLESPACE};
    use super::*;

    const CATALOG: u32 = 202_209_061;

    fn refusal(preparation: &Preparation) -> PrepareError {
        find(preparation, CATALOG).unwrap_err()
    }

    #[test]
    fn refuses_a_database_that_leads_out_of_the_copy() {
        let (fixture, live) = (Fixture::new(15), tempfile::tempdir().unwrap());
        let version = fixture.tablespace.join(format!("PG_15_{CATALOG}"));
        symlink(live.path(), version.join("pgsql_tmp")).unwrap();
        assert!(find(&fixture.preparation(), CATALOG).is_ok(), "it is removed with what else belonged to the original's run");
        symlink(live.path(), version.join("77")).unwrap();
        assert!(matches!(refusal(&fixture.preparation()), PrepareError::LinkedDirectory { path } if path.ends_with("77")));
        symlink(live.path(), fixture.directory.join("base/77")).unwrap();
        let linked = super::super::linked_directory(&fixture.directory);
        assert_eq!(linked, Some(fixture.directory.join("base/77")));
    }

    #[test]
    fn a_mapped_tablespace_gets_its_new_link_and_line() {
        let fixture = Fixture::new(15);
        let found = find(&fixture.preparation(), CATALOG).unwrap();
        let line = format!("{TABLESPACE} {}\n", fixture.tablespace.display());
        assert_eq!(found.map.as_bytes(), line.as_bytes());
        let removed = link(&fixture.directory, &found.links, 0o700).unwrap();
        assert_eq!(std::fs::read_link(fixture.directory.join(format!("pg_tblspc/{TABLESPACE}"))).unwrap(), fixture.tablespace);
        assert_eq!(removed, [""; 0]);
    }

    #[test]
    fn refuses_the_original_location_unless_it_is_ours() {
        let fixture = Fixture::new(15);
        std::fs::create_dir_all(fixture.original_tablespace().join(format!("PG_15_{CATALOG}"))).unwrap();
        let mut preparation = fixture.preparation();
        preparation.tablespace_mapping.clear();
        assert!(matches!(refusal(&preparation), PrepareError::TablespaceAtOriginal { oid: TABLESPACE, .. }));
        let alias = fixture.beside("alias");
        symlink(fixture.original_tablespace(), &alias).unwrap();
        preparation.tablespace_mapping = vec![(fixture.original_tablespace(), alias)];
        assert!(matches!(refusal(&preparation), PrepareError::TablespaceAtOriginal { .. }), "not under another name either");
        preparation.tablespace_mapping.clear();
        preparation.original_locations = OriginalLocations::Ours;
        assert!(find(&preparation, CATALOG).is_ok());
        preparation.original_locations = OriginalLocations::Foreign;
        preparation.original_data_directory = fixture.directory.clone();
        assert!(find(&preparation, CATALOG).is_ok());
    }

    #[test]
    fn refuses_a_missing_a_foreign_and_a_shared_directory() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.tablespace_mapping[0].1 = fixture.beside("nothing");
        assert!(matches!(refusal(&preparation), PrepareError::TablespaceMissing { .. }));
        let preparation = fixture.preparation();
        assert!(matches!(find(&preparation, CATALOG + 1), Err(PrepareError::TablespaceForeign { .. })));
        let mut preparation = fixture.preparation();
        let second = fixture.beside("second");
        let map = format!("16384 {}\n16385 {}\n", fixture.original_tablespace().display(), second.display());
        preparation.tablespace_map = TablespaceMap::new(map.into_bytes());
        preparation.tablespace_mapping.push((second, fixture.tablespace.clone()));
        assert!(matches!(refusal(&preparation), PrepareError::TablespaceShared { .. }));
    }

    #[test]
    fn refuses_a_mapping_that_maps_nothing_or_to_an_uncertain_path() {
        let fixture = Fixture::new(15);
        let mut preparation = fixture.preparation();
        preparation.tablespace_mapping.push(("/typo".into(), fixture.tablespace.clone()));
        assert!(matches!(refusal(&preparation), PrepareError::UnknownMapping { .. }));
        preparation.tablespace_mapping = vec![(fixture.original_tablespace(), "space".into())];
        assert!(matches!(refusal(&preparation), PrepareError::Relative { .. }));
        preparation.tablespace_mapping = vec![(fixture.original_tablespace(), "/srv/a\\b".into())];
        assert!(matches!(refusal(&preparation), PrepareError::AmbiguousLocation { .. }));
    }

    #[test]
    fn removes_a_link_that_the_backup_does_not_know() {
        let fixture = Fixture::new(15);
        symlink("/somewhere", fixture.directory.join("pg_tblspc/16399")).unwrap();
        std::fs::create_dir(fixture.directory.join("pg_tblspc/16400")).unwrap();
        let links = find(&fixture.preparation(), CATALOG).unwrap().links;
        assert_eq!(link(&fixture.directory, &links, 0o700).unwrap(), ["16399"]);
        assert!(fixture.directory.join("pg_tblspc/16400").is_dir(), "a tablespace in place stays");
    }
}
