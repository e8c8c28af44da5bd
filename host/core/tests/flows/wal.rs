//! `wal-push` and `wal-fetch` on fakes: nothing is overwritten, nothing is acknowledged or called absent without proof.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use stillframe_core::catalog::ArchiveError;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{WalFetchError, WalFetched, WalPushError, WalPushed, wal_fetch, wal_push};
use stillframe_core::spool::AheadSettings;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FaultyStore, When};

use crate::cluster::{DataDirectory, segment_content};
use crate::hooked_store::unreadable;
use crate::house::{House, pusher, segment_key, wal_key};

const HISTORY: &str = "00000002.history";

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// Nothing is done ahead.
const ALONE: AheadSettings = AheadSettings { spool: None, workers: 1, push_files: 0, fetch_files: 0 };

async fn push_at(house: &House, data_directory: &Path, path: &Path) -> Result<WalPushed, WalPushError> {
    wal_push(&house.ports(&house.store), &ALONE, &pusher(data_directory), path, std::future::pending()).await
}

async fn push_file(house: &House, store: &dyn Store, path: &Path) -> Result<WalPushed, WalPushError> {
    let data_directory = path.parent().unwrap();
    wal_push(&house.ports(store), &ALONE, &pusher(data_directory), path, std::future::pending()).await
}

async fn push(house: &House, store: &dyn Store, files: &Files, content: &str) -> Result<WalPushed, WalPushError> {
    push_file(house, store, &files.write(HISTORY, content.as_bytes())).await
}

async fn fetch(house: &House, store: &dyn Store, name: &str, target: &Path) -> Result<WalFetched, WalFetchError> {
    wal_fetch(&house.ports(store), &ALONE, name, target).await.map(|(fetched, _)| fetched)
}

#[tokio::test]
async fn the_same_content_again_is_a_success_and_other_content_is_refused() {
    let (house, files) = (House::new().await, Files::new());
    let (one, other) = ("1\t0/3000000\tone\n", "1\t0/4000000\tother\n");
    assert_eq!(push(&house, &house.store, &files, one).await.unwrap(), WalPushed::Stored);
    let before = house.store.snapshot();
    assert_eq!(push(&house, &house.store, &files, one).await.unwrap(), WalPushed::AlreadyStored);
    let error = push(&house, &house.store, &files, other).await.unwrap_err();
    assert!(matches!(error, WalPushError::Archive(ArchiveError::Conflict { .. })), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    assert_eq!(house.store.snapshot(), before, "wal_never_overwritten");
}

#[tokio::test]
async fn a_push_whose_write_fails_is_not_acknowledged_and_a_retry_succeeds() {
    for when in [When::Before, When::After] {
        let (house, files) = (House::new().await, Files::new());
        let store = FaultyStore::new(&house.store, Some((0, when)));
        assert_eq!(push(&house, &store, &files, "1\t0/3000000\tx\n").await.unwrap_err().class(), ErrorClass::Transient);
        push(&house, &store, &files, "1\t0/3000000\tx\n").await.unwrap();
        let target = files.directory.path().join("restored");
        let found = fetch(&house, &house.store, HISTORY, &target).await.unwrap();
        assert!(matches!(found, WalFetched::Restored(_)));
        assert_eq!(std::fs::read(&target).unwrap(), b"1\t0/3000000\tx\n");
    }
}

#[tokio::test]
async fn a_damaged_object_is_neither_restored_nor_taken_for_the_same() {
    let (house, files) = (House::new().await, Files::new());
    push(&house, &house.store, &files, "1\t0/3000000\tx\n").await.unwrap();
    let key = Key::parse("main/wal_005/00000002.history.zst").unwrap();
    let mut body = house.store.get(&key).await.unwrap().unwrap().to_vec();
    body[10] ^= 1;
    house.store.put(&key, body.into()).await.unwrap();
    let target = files.directory.path().join("restored");
    let error = fetch(&house, &house.store, HISTORY, &target).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Corrupt);
    assert!(!target.exists());
    assert_eq!(push(&house, &house.store, &files, "1\t0/3000000\tx\n").await.unwrap_err().class(), ErrorClass::Corrupt);
}

#[tokio::test]
async fn an_absent_file_is_told_from_a_name_that_is_none() {
    let (house, files) = (House::new().await, Files::new());
    let target = files.directory.path().join("restored");
    assert_eq!(fetch(&house, &house.store, "000000010000000000000099", &target).await.unwrap(), WalFetched::Absent);
    assert!(matches!(fetch(&house, &house.store, "../../etc/passwd", &target).await.unwrap_err(), WalFetchError::Name(_)));
}

#[tokio::test]
async fn reads_what_walg_wrote_with_zstd_or_uncompressed() {
    let (house, files) = (House::new().await, Files::new());
    let target = files.directory.path().join("restored");
    let put = async |name: &str, body: Vec<u8>| {
        house.store.put(&Key::parse(&format!("main/wal_005/{name}")).unwrap(), Bytes::from(body)).await.unwrap();
    };
    put("00000003.history.zst", zstd::bulk::compress(b"1\t0/5000000\tz\n", 3).unwrap()).await;
    put("00000004.history", b"1\t0/6000000\tplain\n".to_vec()).await;
    fetch(&house, &house.store, "00000003.history", &target).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"1\t0/5000000\tz\n");
    fetch(&house, &house.store, "00000004.history", &target).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"1\t0/6000000\tplain\n");
}

#[tokio::test]
async fn refuses_a_segment_that_is_no_wal() {
    let (house, files) = (House::new().await, Files::new());
    let path = files.write("000000010000000000000009", &vec![0; 1 << 20]);
    let error = push_file(&house, &house.store, &path).await.unwrap_err();
    assert!(matches!(error, WalPushError::Header { .. }), "{error}");
    let path = files.write("pg_control", b"");
    assert!(matches!(push_file(&house, &house.store, &path).await, Err(WalPushError::Name(_))));
}

#[tokio::test]
async fn a_file_in_a_form_that_we_cannot_read_is_not_called_absent() {
    let (house, files) = (House::new().await, Files::new());
    let target = files.directory.path().join("restored");
    for extension in ["gz", "lzo", "lzma", "xz"] {
        let key = Key::parse(&format!("main/wal_005/000000010000000000000007.{extension}")).unwrap();
        house.store.put(&key, Bytes::from_static(b"x")).await.unwrap();
        let error = fetch(&house, &house.store, "000000010000000000000007", &target).await.unwrap_err();
        assert!(error.to_string().contains(key.as_str()), "{error}");
        house.store.delete(&key).await.unwrap();
    }
    // Other files of the same segment are other files.
    for name in [
        "000000010000000000000007.partial.zst",
        "000000010000000000000007.partial.lz4",
        "000000010000000000000007.00000028.backup.lz4",
    ] {
        house.store.put(&Key::parse(&format!("main/wal_005/{name}")).unwrap(), Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(fetch(&house, &house.store, "000000010000000000000007", &target).await.unwrap(), WalFetched::Absent);
}

#[tokio::test]
async fn an_archive_that_cannot_be_read_is_not_called_empty() {
    let (house, files) = (House::new().await, Files::new());
    let target = files.directory.path().join("restored");
    let store = unreadable(&house.store, ".zst");
    let error = fetch(&house, &store, "000000010000000000000099", &target).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
}

#[tokio::test]
async fn an_object_that_is_not_the_segment_of_its_name_is_not_restored() {
    let (house, files) = (House::new().await, Files::new());
    let target = files.directory.path().join("restored");
    let body = house.store.get(&segment_key(3)).await.unwrap().unwrap();
    house.store.put(&segment_key(4), body).await.unwrap();
    let error = fetch(&house, &house.store, "000000010000000000000004", &target).await.unwrap_err();
    assert!(matches!(error, WalFetchError::Header { .. }), "{error}");
    assert!(!target.exists());
}

#[tokio::test]
async fn a_segment_that_another_tool_cut_off_is_corrupt_and_leaves_nothing_behind() {
    let (house, files) = (House::new().await, Files::new());
    let target = files.write("pg_wal_target", b"what was there");
    let name = "000000010000000000000003";
    let zst = Key::parse(&format!("main/wal_005/{name}.zst")).unwrap();
    let whole = zstd::stream::decode_all(&house.store.get(&zst).await.unwrap().unwrap()[..]).unwrap();
    house.store.delete(&zst).await.unwrap();
    // Compressed as a whole, and stored as it is: nothing but the header of the segment tells how long it was.
    let cut = &whole[..whole.len() / 2];
    for (suffix, body) in [(".zst", zstd::bulk::compress(cut, 1).unwrap()), ("", cut.to_vec())] {
        let key = Key::parse(&format!("main/wal_005/{name}{suffix}")).unwrap();
        house.store.put(&key, body.into()).await.unwrap();
        let error = fetch(&house, &house.store, name, &target).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
        assert_eq!(std::fs::read(&target).unwrap(), b"what was there");
        assert_eq!(std::fs::read_dir(files.directory.path()).unwrap().count(), 1, "a temporary file stays behind");
        house.store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_history_is_neither_archived_nor_restored() {
    let (house, files) = (House::new().await, Files::new());
    let before = house.store.snapshot();
    for nothing in ["", "\n# a comment\n"] {
        assert_eq!(push(&house, &house.store, &files, nothing).await.unwrap_err().class(), ErrorClass::Corrupt);
    }
    assert_eq!(house.store.snapshot(), before);
    let target = files.directory.path().join("restored");
    for suffix in ["", ".zst", ".lz4", ".br", ".age", ".zst.age"] {
        let object = format!("{HISTORY}{suffix}");
        house.put_wal(&object, Bytes::new()).await;
        assert_eq!(fetch(&house, &house.store, HISTORY, &target).await.unwrap_err().class(), ErrorClass::Corrupt, "{object}");
        assert!(!target.exists());
        house.store.delete(&wal_key(&object)).await.unwrap();
    }
}

#[tokio::test]
async fn a_double_failover_in_one_segment_does_not_block_the_new_primary() {
    let house = House::new().await;
    let data = DataDirectory::of(&house);
    let (file, cluster) = ("000000010000000000000005.partial", house.server.facts().system_identifier);
    let push = async |filling| push_at(&house, &data.path, &data.waits(file, &segment_content(5, cluster, filling))).await;
    assert_eq!(push(1).await.unwrap(), WalPushed::Stored);
    let archived = house.store.snapshot();
    assert_eq!(push(2).await.unwrap(), WalPushed::Parked);
    let parked = house.store.snapshot();
    assert_eq!((push(2).await.unwrap(), push(1).await.unwrap()), (WalPushed::Parked, WalPushed::AlreadyStored));
    assert_eq!(house.store.snapshot(), parked, "repetitions write nothing");
    assert!(archived.iter().all(|(key, body)| parked.get(key) == Some(body)), "wal_never_overwritten");
    let new: Vec<_> = parked.iter().filter(|(key, _)| !archived.contains_key(key)).collect();
    assert_eq!(new.len(), 1);
    assert!(new[0].0.as_str().starts_with("main/parked_001/"), "{}", new[0].0);
    assert_eq!(zstd::stream::decode_all(&new[0].1[..]).unwrap(), segment_content(5, cluster, 2));
}
