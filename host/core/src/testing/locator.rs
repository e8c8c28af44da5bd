//! Directories that exist in name only.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::paths::{Locator, PathError};
use crate::postgres::{PgControl, ServerFacts};
use crate::provider::{DataPath, DataPathName, DataRole};

/// Finds PGDATA and every tablespace of the server where it says they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeLocator;

#[async_trait]
impl Locator for FakeLocator {
    fn locate(&self, facts: &ServerFacts) -> Result<Vec<DataPath>, PathError> {
        let data = path(DataRole::Data, DataPathName::Data, facts.data_directory.clone(), &[PgControl::PATH]);
        let tablespaces = facts.tablespaces.iter().map(|tablespace| {
            path(DataRole::Tablespace, DataPathName::Tablespace(tablespace.oid), tablespace.location.clone(), &[])
        });
        Ok(std::iter::once(data).chain(tablespaces).collect())
    }

    async fn flush(&self, _paths: &[DataPath]) -> Result<(), PathError> {
        Ok(())
    }
}

fn path(role: DataRole, name: DataPathName, path: PathBuf, last: &[&str]) -> DataPath {
    DataPath {
        role,
        name,
        path,
        mount_point: PathBuf::from("/"),
        fs_type: "ext4".to_owned(),
        mount_source: "/dev/vda".to_owned(),
        devices: Vec::new(),
        skip: Vec::new(),
        last: last.iter().map(|file| (*file).to_owned()).collect(),
    }
}
