//! Objects of the WAL archive: a line with the object's name, and its bytes.

use stillframe_core::catalog::{ArchiveSettings, WalArchive};
use stillframe_core::postgres::WalFileName;
use stillframe_core::testing::MemoryStore;

use crate::Verdict;
use crate::input::Input;
use crate::store::{layout, put, settled};

/// Bytes of a file up to which it is read again and again: all of a segment each time would leave a search no time.
const OFTEN_BYTES: usize = 64 << 10;

/// A file in a store is found under its name or not at all, the same content comes out each time, and a digest that it carries is
/// the content's.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let object = input.text();
    let (store, layout, settings) = (MemoryStore::default(), layout(), ArchiveSettings::default());
    let (body, sidecar) = input.parts();
    let file = object.split('.').next().unwrap_or_default();
    if !put(&store, &format!("wal_005/{object}"), body) {
        return Verdict::Refused;
    }
    if !sidecar.is_empty() {
        put(&store, &format!("wal_005/{object}.digest.sha256"), sidecar);
    }
    let archive = WalArchive::new(&store, &layout, &settings);
    let listed = settled(archive.list()).expect("a store in memory can be listed");
    assert!(listed.iter().all(|file| file.size_bytes >= body.len() as u64 || sidecar.is_empty()));
    // An object of a name that nobody knows is no file, and says nothing of one.
    let name = listed.first().map(|file| file.name).or_else(|| file.parse::<WalFileName>().ok());
    let Some(name) = name else { return Verdict::Refused };
    let proof = settled(archive.prove(name));
    let Ok(Some(content)) = settled(archive.fetch(name)) else { return Verdict::Refused };
    assert!(!listed.is_empty(), "a file that is not listed was fetched");
    if content.len() <= OFTEN_BYTES {
        assert_eq!(settled(archive.fetch(name)).ok().flatten().as_ref(), Some(&content));
        assert_eq!(settled(archive.agrees(name, &content)).ok(), Some(Some(true)), "a file does not agree with itself");
        let other = [&content[..], b"x"].concat();
        assert_ne!(settled(archive.agrees(name, &other)).ok(), Some(Some(true)), "a file agrees with another one");
    }
    if object == name.to_string() {
        assert_eq!(content, body, "an object that is the file itself was changed");
    }
    if matches!(name, WalFileName::History { .. } | WalFileName::BackupHistory { .. }) {
        assert!(proof.is_ok_and(|proof| proof.is_some()), "what was fetched is not proven");
        let _ = settled(archive.history(name.timeline()));
    }
    Verdict::Accepted
}
