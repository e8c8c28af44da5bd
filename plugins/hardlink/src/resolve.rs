//! Mapping data paths to volumes: each is a volume of its own.

use stillframe_sdk::{DataPath, DataRole, Error, Volume};

use crate::Config;

/// Longest value of an attribute, in bytes; a path may be longer, and it is told in full as the volume's path.
const LONGEST_VALUE: usize = 256;

pub(crate) fn resolve(config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
    config.clone_method()?;
    paths.into_iter().map(volume).collect()
}

fn volume(path: DataPath) -> Result<Volume, Error> {
    if path.root.is_none() {
        return Err(Error::UnmanagedPath(path.path));
    }
    let mut attributes = Vec::new();
    if path.path.len() <= LONGEST_VALUE {
        attributes.push(("path".to_owned(), path.path.clone()));
    }
    if path.role == DataRole::Wal {
        attributes.push(("content".to_owned(), "left out: it comes from the WAL archive".to_owned()));
    }
    Ok(Volume { id: path.name.clone(), paths: vec![path], attributes })
}
