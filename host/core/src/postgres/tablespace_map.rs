//! `tablespace_map`: where the tablespaces of a backup lay, in the server's own bytes.
//!
//! At the first start the server makes the links in `pg_tblspc` anew from this file, so whoever moves a tablespace must change the
//! file as well. Lines that are not moved keep their bytes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::verbatim::Verbatim;
use crate::error::{Classify, ErrorClass};

/// The contents of `tablespace_map`, byte for byte; empty when the cluster has no tablespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Verbatim", into = "Verbatim")]
pub struct TablespaceMap(Vec<u8>);

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablespaceLink {
    /// Object identifier; the name of the link in `pg_tblspc`.
    pub oid: u32,
    /// What the link points to.
    pub location: PathBuf,
}

impl TablespaceMap {
    /// Keeps what the server returned.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Writes the map of these tablespaces as the server does.
    #[must_use]
    pub fn of(links: &[TablespaceLink]) -> Self {
        let line = |link: &TablespaceLink| [format!("{} ", link.oid).into_bytes(), escape(&link.location), b"\n".to_vec()].concat();
        Self(links.iter().flat_map(line).collect())
    }

    /// The file's contents.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing to write: the server then expects no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads its lines.
    pub fn links(&self) -> Result<Vec<TablespaceLink>, InvalidTablespaceMap> {
        lines(&self.0).into_iter().map(parse_line).collect()
    }

    /// The map after moves from old to new locations; untouched lines keep their bytes.
    pub fn remapped(&self, moves: &[(PathBuf, PathBuf)]) -> Result<Self, InvalidTablespaceMap> {
        let mut bytes = Vec::with_capacity(self.0.len());
        for line in lines(&self.0) {
            let link = parse_line(line)?;
            match moves.iter().find(|(old, _)| *old == link.location) {
                Some((_, new)) => {
                    bytes.extend_from_slice(format!("{} ", link.oid).as_bytes());
                    bytes.extend_from_slice(&escape(new));
                }
                None => bytes.extend_from_slice(line),
            }
            bytes.push(b'\n');
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<Verbatim> for TablespaceMap {
    type Error = String;

    fn try_from(stored: Verbatim) -> Result<Self, String> {
        let map = Self(Vec::try_from(stored)?);
        map.links().map_err(|error| error.to_string())?;
        Ok(map)
    }
}

impl From<TablespaceMap> for Verbatim {
    fn from(map: TablespaceMap) -> Self {
        map.0.into()
    }
}

/// A line that is no `oid location`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{line}` is not a line of tablespace_map")]
pub struct InvalidTablespaceMap {
    /// The line.
    pub line: String,
}

impl Classify for InvalidTablespaceMap {
    fn class(&self) -> ErrorClass {
        ErrorClass::Corrupt
    }
}

/// Lines without their ends; a line break after a backslash belongs to the location.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut begin, mut escaped) = (Vec::new(), 0, false);
    for (place, byte) in bytes.iter().enumerate() {
        if !escaped && matches!(byte, b'\n' | b'\r') {
            lines.push(&bytes[begin..place]);
            begin = place + 1;
        }
        escaped = !escaped && *byte == b'\\';
    }
    lines.push(&bytes[begin..]);
    lines.retain(|line| !line.is_empty());
    lines
}

fn parse_line(line: &[u8]) -> Result<TablespaceLink, InvalidTablespaceMap> {
    let invalid = || InvalidTablespaceMap { line: String::from_utf8_lossy(line).into_owned() };
    let space = line.iter().position(|byte| *byte == b' ').ok_or_else(invalid)?;
    let (oid, location) = (&line[..space], unescape(&line[space + 1..]).ok_or_else(invalid)?);
    let digits = std::str::from_utf8(oid).ok().filter(|oid| oid.bytes().all(|byte| byte.is_ascii_digit()));
    let oid = digits.and_then(|oid| oid.parse().ok()).filter(|oid| *oid != 0).ok_or_else(invalid)?;
    if location.is_empty() || location.contains(&0) {
        return Err(invalid());
    }
    Ok(TablespaceLink { oid, location: PathBuf::from(OsString::from_vec(location)) })
}

fn escape(location: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in location.as_os_str().as_bytes() {
        if matches!(byte, b'\n' | b'\r' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// None for one that was cut off behind a backslash: whatever is written behind it would become part of the name.
fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut bytes = escaped.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        // Older releases leave a backslash itself alone: one before an ordinary letter is part of the name.
        let escapes_next = byte == b'\\' && matches!(bytes.peek()?, b'\n' | b'\r' | b'\\');
        plain.push(if escapes_next { bytes.next().unwrap_or(byte) } else { byte });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(oid: u32, location: &str) -> TablespaceLink {
        TablespaceLink { oid, location: location.into() }
    }

    #[test]
    fn reads_names_with_spaces_line_breaks_and_backslashes() {
        let map = TablespaceMap::new(b"16384 /srv/fast disk\n16385 /srv/a\\\nb\n16386 /srv/c\\\\d\n".to_vec());
        let links = [link(16384, "/srv/fast disk"), link(16385, "/srv/a\nb"), link(16386, "/srv/c\\d")];
        assert_eq!(map.links().unwrap(), links);
        assert_eq!(TablespaceMap::default().links().unwrap(), []);
    }

    #[test]
    fn a_move_changes_its_line_only() {
        let map = TablespaceMap::new(b"16384 /srv/a\\b\n16385 /srv/two\n".to_vec());
        let moved = map.remapped(&[("/srv/two/".into(), "/new\n2".into())]).unwrap();
        assert_eq!(moved.as_bytes(), b"16384 /srv/a\\b\n16385 /new\\\n2\n");
        assert_eq!(map.remapped(&[]).unwrap(), map);
    }

    #[test]
    fn refuses_lines_that_name_no_tablespace() {
        for line in
            ["16384 /srv\\", "16384 /srv\\\\\\", "16384", "16384 ", "x /srv", "+1 /srv", "0 /srv", "99999999999 /srv", " /srv"]
        {
            assert!(TablespaceMap::new(line.into()).links().is_err(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn every_location_survives_a_move(location in "/[a-z\n\r\\\\ ]{1,12}") {
            let map = TablespaceMap::new(b"16384 /old\n".to_vec());
            let moved = map.remapped(&[("/old".into(), location.clone().into())]).unwrap();
            prop_assert_eq!(moved.links().unwrap(), vec![link(16384, &location)]);
        }

        #[test]
        fn a_map_that_is_written_is_read_as_it_was(location in "/[a-z\n\r\\\\ ]{1,12}", oid in 1u32..) {
            let links = vec![link(oid, &location), link(1, "/srv")];
            prop_assert_eq!(TablespaceMap::of(&links).links().unwrap(), links);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = TablespaceMap::new(bytes).links();
        }
    }
}
