//! What others wrote, and what earlier versions wrote, is read for ever.

use std::fs;
use std::path::PathBuf;

use stillframe_core::catalog::{ArchiveError, ArchiveSettings, Compression, Identities, IdentitySource, Proof};
use stillframe_core::postgres::WalFileName;

use crate::place::{CLUSTER, Place, history, plain, segment, segment_content, segment_name, segment_size};

const HISTORY: &[u8] = b"1\t0/3000000\tno recovery target specified\n";

fn vectors() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors"))
}

fn settings() -> ArchiveSettings {
    let identities = Identities::new(IdentitySource::File(vectors().join("age/identity")));
    ArchiveSettings { identities, ..plain(Compression::Zstd(1)) }
}

/// Reads an object as the only one of an archive, beside these.
async fn read(writer: &str, objects: &[&str], name: WalFileName) -> Result<Vec<u8>, ArchiveError> {
    let (place, settings) = (Place::new(), settings());
    for object in objects {
        place.put(object, fs::read(vectors().join(writer).join(object)).unwrap()).await;
    }
    let (_, content) = place.archive(&settings).find(name).await?.unwrap().write_to(Vec::new()).await?;
    for file in place.archive(&settings).list().await? {
        assert!(matches!(place.archive(&settings).prove(file.name).await.unwrap(), Some(Proof::Content(_))));
    }
    Ok(content)
}

#[tokio::test]
async fn reads_what_walg_wrote_in_each_form() {
    for suffix in [".zst", ".lz4", ".br"] {
        let object = format!("000000010000000000000003{suffix}");
        assert!(read("walg", &[&object], segment_name()).await.unwrap() == segment_content(), "{object}");
    }
    assert_eq!(read("walg", &["00000002.history"], history()).await.unwrap(), HISTORY);
    let name = "00000003.history".parse().unwrap();
    let error = read("walg", &["00000003.history.lzma"], name).await.unwrap_err();
    assert!(matches!(error, ArchiveError::UnknownForm { .. }), "{error}");
}

#[tokio::test]
async fn reads_what_the_age_tool_wrote() {
    assert!(read("age", &["000000010000000000000003.zst.age"], segment_name()).await.unwrap() == segment_content());
    assert_eq!(read("age", &["00000002.history.age"], history()).await.unwrap(), HISTORY);
}

#[tokio::test]
async fn reads_what_the_first_version_wrote_in_each_form() {
    for suffix in [".zst", ".lz4", ".zst.age", ".lz4.age"] {
        let object = format!("000000010000000000000003{suffix}");
        assert!(read("stillframe", &[&object], segment_name()).await.unwrap() == segment_content(), "{object}");
    }
    assert_eq!(read("stillframe", &["00000002.history.age"], history()).await.unwrap(), HISTORY);
    let pair = ["00000002.history", "00000002.history.digest.sha256"];
    assert_eq!(read("stillframe", &pair, history()).await.unwrap(), HISTORY);
}

#[tokio::test]
async fn knows_without_a_key_what_the_first_version_encrypted() {
    for suffix in [".zst.age", ".lz4.age"] {
        let (place, settings) = (Place::new(), plain(Compression::Zstd(1)));
        let object = format!("000000010000000000000003{suffix}");
        place.put(&object, fs::read(vectors().join("stillframe").join(&object)).unwrap()).await;
        assert!(place.archive(&settings).holds_segment(segment(), segment_size(), CLUSTER).await.unwrap());
        place.push(segment_name(), &segment_content(), &settings).await.unwrap();
        assert_eq!(place.objects(), [object]);
    }
}
