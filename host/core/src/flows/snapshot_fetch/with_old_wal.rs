//! A store that shows, beside what is archived, WAL that an old cluster has on disk: whoever asks whether a target can be reached, and
//! over which WAL, takes both into account without knowing of it. Only what is not archived is shown, and nothing is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::catalog::Layout;
use crate::data_directory::OldFile;
use crate::files::{self, FileError};
use crate::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};

/// The store, and files that it does not have.
pub(super) struct WithOldWal<'a> {
    store: &'a dyn Store,
    files: BTreeMap<Key, PathBuf>,
}

impl<'a> WithOldWal<'a> {
    pub(super) fn new(store: &'a dyn Store, layout: &Layout, files: &[OldFile]) -> Self {
        let files = files.iter().map(|file| (layout.wal_file(file.name, ""), file.path.clone())).collect();
        Self { store, files }
    }

    fn failed(&self, key: &Key, error: FileError) -> StoreError {
        StoreError::new(self.url(), "read", key.as_str(), error)
    }
}

#[async_trait]
impl Store for WithOldWal<'_> {
    fn url(&self) -> String {
        self.store.url()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let Some(path) = self.files.get(key) else { return self.store.get(key).await };
        let content = files::read_if_present(path).map_err(|error| self.failed(key, error))?;
        Ok(content.map(Bytes::from))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        self.store.put(key, body).await
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.store.put_if_absent(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        match self.files.get(key) {
            Some(_) => Ok(self.get(key).await?.map(|content| content.len() as u64)),
            None => self.store.head(key).await,
        }
    }

    async fn look_up(&self, keys: &[Key]) -> Result<Option<Vec<bool>>, StoreError> {
        let found = self.store.look_up(keys).await?;
        Ok(found.map(|found| keys.iter().zip(found).map(|(key, is_there)| is_there || self.files.contains_key(key)).collect()))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut page = self.store.list_page(prefix, after, limit).await?;
        for (key, path) in &self.files {
            if key.as_str().starts_with(prefix) && after.is_none_or(|after| key > after) {
                let size_bytes =
                    std::fs::metadata(path).map_err(|source| self.failed(key, FileError::new("read", path, source)))?.len();
                page.push(ObjectEntry { key: key.clone(), size_bytes });
            }
        }
        page.sort_by(|one, other| one.key.cmp(&other.key));
        // Behind the end of a full page of the store there may be more of its own; what is cut off here comes with the next page.
        page.truncate(limit);
        Ok(page)
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.store.prove().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ClusterName;
    use crate::store::PAGE;
    use crate::testing::MemoryStore;

    #[tokio::test]
    async fn pages_of_any_length_list_what_is_archived_and_what_is_shown_once_and_in_order() {
        let layout = Layout::new(ClusterName::try_from("main".to_owned()).unwrap());
        let (store, directory) = (MemoryStore::default(), tempfile::tempdir().unwrap());
        let name = |number: u32| format!("0000000100000000{number:08X}").parse().unwrap();
        let mut files = Vec::new();
        for number in 0..20 {
            if number % 3 == 0 {
                let path = directory.path().join(number.to_string());
                std::fs::write(&path, "old").unwrap();
                files.push(OldFile { name: name(number), path, is_noted: false });
            } else {
                let written = store.put_if_absent(&layout.wal_file(name(number), ".zst"), Bytes::from_static(b"x")).await;
                assert_eq!(written.unwrap(), PutOutcome::Created);
            }
        }
        let shown = WithOldWal::new(&store, &layout, &files);
        for limit in [1, 2, 5, 19, 20, 21, PAGE] {
            let mut found: Vec<Key> = Vec::new();
            loop {
                let page = shown.list_page(&layout.wal(), found.last(), limit).await.unwrap();
                let is_last = page.len() < limit;
                found.extend(page.into_iter().map(|entry| entry.key));
                if is_last {
                    break;
                }
            }
            assert_eq!(found.len(), 20, "{limit}");
            assert!(found.is_sorted());
        }
        let key = layout.wal_file(name(3), "");
        assert_eq!(shown.get(&key).await.unwrap().unwrap(), "old");
        assert_eq!(store.get(&key).await.unwrap(), None, "nothing is written");
    }
}
