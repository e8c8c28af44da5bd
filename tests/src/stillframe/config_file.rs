//! Writes the configuration file of a test.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::{Account, Cluster};

/// A configuration file in the making: the smallest that works, and what a test adds to it.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ConfigFile {
    tables: Table,
}

impl ConfigFile {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `[cluster]` table of a cluster of the harness.
    pub fn cluster(self, name: &str, cluster: &Cluster) -> Self {
        self.value("cluster", "name", name).value("cluster", "pgdata", cluster.data_directory().display().to_string()).value(
            "cluster",
            "conninfo",
            cluster.conninfo(),
        )
    }

    /// A local directory as the store.
    pub fn store_directory(self, directory: &Path) -> Self {
        self.value("store", "url", format!("file://{}", directory.display()))
    }

    /// The bundled hardlink provider, with the directory of its snapshots.
    pub fn hardlink_provider(self, root: &Path) -> Self {
        self.value("provider.hardlink", "root", root.display().to_string())
    }

    /// Sets a key of a table; the table's name may have dots.
    pub fn value(mut self, table: &str, key: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.tables;
        for part in table.split('.') {
            let entry = place.entry(part).or_insert_with(|| Value::Table(Table::new()));
            place = entry.as_table_mut().expect("a table does not share its name with a value");
        }
        place.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a key of a table that the test has not set.
    pub fn default_value(self, table: &str, key: &str, value: impl Into<Value>) -> Self {
        let mut place = Some(&self.tables);
        for part in table.split('.') {
            place = place.and_then(|tables| tables.get(part)?.as_table());
        }
        if place.is_some_and(|table| table.contains_key(key)) { self } else { self.value(table, key, value) }
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        self.tables.to_string()
    }

    /// Writes `stillframe.toml` into a directory, for the unprivileged user.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("stillframe.toml");
        Account::unprivileged().write(&path, self.text());
        path
    }
}
