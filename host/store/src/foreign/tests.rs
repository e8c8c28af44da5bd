use stillframe_core::catalog::{ArchiveSettings, WalArchive, external_layout};
use stillframe_core::postgres::{SystemIdentifier, WalFileName, WalSegmentSize};
use stillframe_core::store;
use stillframe_core::testing::wal_segment;

use super::*;

const CLUSTER: SystemIdentifier = SystemIdentifier(7);
const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;

async fn open(root: &Path) -> Arc<dyn Store> {
    let url = format!("file://{}", root.display()).parse().unwrap();
    open_foreign(&StoreSettings::new(url), &external_layout()).await.unwrap()
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn segment(number: u32) -> WalFileName {
    format!("0000000100000000{number:08X}").parse().unwrap()
}

/// A place as WAL-G makes it, with these files.
fn place(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("wal_005/a directory")).unwrap();
    for (name, body) in files {
        std::fs::write(root.path().join("wal_005").join(name), body).unwrap();
    }
    root
}

#[tokio::test]
async fn nothing_is_ever_written_or_deleted_in_a_foreign_place() {
    let root = place(&[("000000010000000000000001", b"wal")]);
    let store = open(root.path()).await;
    let name = key("external/wal_005/000000010000000000000001");
    assert!(store.put(&name, Bytes::from_static(b"x")).await.is_err());
    assert!(store.put_if_absent(&key("external/wal_005/new"), Bytes::from_static(b"x")).await.is_err());
    assert!(store.delete(&name).await.is_err());
    let error = store.delete(&key("external/elsewhere")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Internal, "no flow may even try");
    assert_eq!(std::fs::read(root.path().join("wal_005/000000010000000000000001")).unwrap(), b"wal");
    assert_eq!(std::fs::read_dir(root.path().join("wal_005")).unwrap().count(), 2);
}

#[tokio::test]
async fn a_place_without_any_wal_proves_no_absence() {
    let (empty, missing) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(empty.path().join("wal_005")).unwrap();
    for root in [empty.path(), missing.path(), Path::new("/nonexistent")] {
        let store = open(root).await;
        for error in [
            store.prove().await.unwrap_err(),
            store.get(&key("external/wal_005/000000010000000000000001")).await.unwrap_err(),
            store::list(&*store, "external/wal_005/").await.unwrap_err(),
        ] {
            assert_eq!(error.class(), ErrorClass::Config, "{error:?}");
            assert!(error.hint().unwrap().contains("external_archive"), "{error:?}");
        }
    }
    let root = place(&[("000000010000000000000001", b"wal")]);
    let store = open(root.path()).await;
    assert_eq!(store.get(&key("external/wal_005/000000010000000000000002")).await.unwrap(), None);
    assert!(store::list(&*store, "external/wal_005/000000010000000000000002").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_forms_of_wal_g_are_read_as_those_of_our_own_archive() {
    let content = |number: u32| wal_segment(number, CLUSTER, SIZE, 1);
    let zstd = zstd::encode_all(&content(1)[..], 1).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut lz4, &content(2)).unwrap();
    let lz4 = lz4.finish().unwrap();
    let encrypted = vec![0x5A; 4096];
    let foreign = zstd::encode_all(&wal_segment(5, SystemIdentifier(8), SIZE, 1)[..], 1).unwrap();
    let misnamed = zstd::encode_all(&content(1)[..], 1).unwrap();
    let plain = content(3);
    let root = place(&[
        ("000000010000000000000001.zst", &zstd),
        ("000000010000000000000002.lz4", &lz4),
        ("000000010000000000000003", &plain),
        // As WAL-G encrypts: under the name of the compression alone.
        ("000000010000000000000004.lz4", &encrypted),
        ("000000010000000000000005.zst", &foreign),
        ("000000010000000000000006.zst", &misnamed),
        ("000000010000000000000007.lzma", b"?"),
    ]);
    let store = open(root.path()).await;
    let (layout, settings) = (external_layout(), ArchiveSettings::default());
    let archive = WalArchive::new(&*store, &layout, &settings);
    let holds = async |number: u32| {
        let wanted = segment(number).segment(SIZE).unwrap();
        archive.holds_segment(wanted, SIZE, CLUSTER).await
    };
    for number in 1..=3 {
        assert!(holds(number).await.unwrap(), "{number}");
    }
    for number in 4..=7 {
        assert!(holds(number).await.is_err(), "{number}");
    }
    assert!(!holds(8).await.unwrap());
    assert_eq!(archive.list().await.unwrap().len(), 6);
}
