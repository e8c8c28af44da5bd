//! A file that is stored as it is has its digest in an object of its own, and the two may part: by a crash, a race, another tool.

use stillframe_core::catalog::{ArchiveError, ArchiveSettings, Compression, PushOutcome};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::store::Store;
use stillframe_core::testing::{FaultyStore, When};

use crate::hooked_store::{Operation, hooked};
use crate::place::{Place, history, key, plain};

const ONE: &[u8] = b"1\t0/3000000\tone\n";
const OTHER: &[u8] = b"1\t0/4000000\tother\n";
const BODY: &str = "00000002.history";
const SIDECAR: &str = "00000002.history.digest.sha256";

fn raw() -> ArchiveSettings {
    plain(Compression::None)
}

async fn fetched(place: &Place) -> Result<Option<Vec<u8>>, ArchiveError> {
    place.archive(&raw()).fetch(history()).await
}

#[tokio::test]
async fn the_object_is_the_file_and_its_digest_lies_beside_it() {
    let place = Place::new();
    assert_eq!(place.push(history(), ONE, &raw()).await.unwrap(), PushOutcome::Stored);
    assert_eq!(place.objects(), [BODY, SIDECAR]);
    assert_eq!(place.read(BODY).await, ONE);
    let line = String::from_utf8(place.read(SIDECAR).await).unwrap();
    assert!(line.len() == 64 + 2 + BODY.len() + 1 && line.ends_with("  00000002.history\n"), "{line}");
}

#[tokio::test]
async fn a_push_that_fails_at_any_write_is_not_acknowledged_and_a_retry_makes_it_whole() {
    for at in [0, 1] {
        for when in [When::Before, When::After] {
            let (place, settings) = (Place::new(), raw());
            let store = FaultyStore::new(&place.store, Some((at, when)));
            let archive = place.archive_on(&store, &settings);
            assert_eq!(archive.push(history(), ONE.to_vec()).await.unwrap_err().class(), ErrorClass::Transient);
            // What is there in between is whole or absent.
            assert!(fetched(&place).await.unwrap().is_none_or(|content| content == ONE), "{at} {when:?}");
            let other = place.push(history(), OTHER, &settings).await;
            let wins = if place.objects().is_empty() || other.is_ok() { OTHER } else { ONE };
            archive.push(history(), wins.to_vec()).await.unwrap();
            assert_eq!(place.objects(), [BODY, SIDECAR], "{at} {when:?}");
            assert_eq!(fetched(&place).await.unwrap().unwrap(), wins);
        }
    }
}

#[tokio::test]
async fn a_file_that_walg_stored_reads_without_a_digest_and_gets_one_from_a_retry() {
    let place = Place::new();
    place.put(BODY, ONE).await;
    assert_eq!(fetched(&place).await.unwrap().unwrap(), ONE);
    assert!(matches!(place.push(history(), OTHER, &raw()).await.unwrap_err(), ArchiveError::Conflict { .. }));
    assert_eq!(place.objects(), [BODY], "whoever is refused leaves no digest");
    assert_eq!(place.push(history(), ONE, &raw()).await.unwrap(), PushOutcome::AlreadyStored);
    assert_eq!(place.objects(), [BODY, SIDECAR]);
    assert_eq!(fetched(&place).await.unwrap().unwrap(), ONE);
}

#[tokio::test]
async fn a_digest_that_outlived_its_object_does_not_belie_the_next() {
    for damaged in [None, Some(&b""[..]), Some(&[0xFF; 90])] {
        let place = Place::new();
        place.push(history(), OTHER, &raw()).await.unwrap();
        // WAL-G removes object by object.
        place.store.delete(&key(BODY)).await.unwrap();
        if let Some(line) = damaged {
            place.put(SIDECAR, line.to_vec()).await;
        }
        assert_eq!(fetched(&place).await.unwrap(), None);
        assert_eq!(place.push(history(), ONE, &raw()).await.unwrap(), PushOutcome::Stored);
        assert_eq!(fetched(&place).await.unwrap().unwrap(), ONE);
    }
}

#[tokio::test]
async fn a_damaged_body_is_not_restored_and_is_no_conflict() {
    let place = Place::new();
    place.push(history(), ONE, &raw()).await.unwrap();
    let mut body = ONE.to_vec();
    body[3] ^= 4;
    place.put(BODY, body).await;
    for error in [fetched(&place).await.unwrap_err(), place.push(history(), ONE, &raw()).await.unwrap_err()] {
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn a_damaged_digest_is_told_and_a_retry_of_the_same_file_mends_it() {
    let place = Place::new();
    place.push(history(), ONE, &raw()).await.unwrap();
    let line = place.read(SIDECAR).await;
    for damaged in [line[1..].to_vec(), line[..line.len() - 1].to_vec(), vec![b'0'; line.len()], Vec::new()] {
        place.put(SIDECAR, damaged).await;
        assert_eq!(fetched(&place).await.unwrap_err().class(), ErrorClass::Corrupt);
        let error = place.push(history(), OTHER, &raw()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
        assert_eq!(place.push(history(), ONE, &raw()).await.unwrap(), PushOutcome::AlreadyStored);
        assert_eq!(place.read(SIDECAR).await, line);
    }
}

#[tokio::test]
async fn whoever_loses_the_race_for_the_body_leaves_the_winners_digest_alone() {
    let (place, settings) = (Place::new(), raw());
    // The winner has put the body, and the loser comes in before the winner's digest is there.
    let store = hooked(&place.store, Operation::PutIfAbsent, ".digest.sha256", async {
        assert!(matches!(place.push(history(), OTHER, &settings).await.unwrap_err(), ArchiveError::Conflict { .. }));
        assert_eq!(place.objects(), [BODY]);
    });
    assert_eq!(place.archive_on(&store, &settings).push(history(), ONE.to_vec()).await.unwrap(), PushOutcome::Stored);
    assert_eq!(fetched(&place).await.unwrap().unwrap(), ONE);
}

#[tokio::test]
async fn a_removal_that_is_interrupted_leaves_a_file_that_reads_and_is_listed() {
    for when in [When::Before, When::After] {
        let (place, settings) = (Place::new(), raw());
        place.push(history(), ONE, &settings).await.unwrap();
        let files = place.archive(&settings).list().await.unwrap();
        let store = FaultyStore::new(&place.store, Some((0, when)));
        place.archive_on(&store, &settings).remove(&files[0]).await.unwrap_err();
        assert_eq!(fetched(&place).await.unwrap().unwrap(), ONE);
        let files = place.archive(&settings).list().await.unwrap();
        assert_eq!(files.len(), 1);
        place.archive(&settings).remove(&files[0]).await.unwrap();
        assert_eq!(place.objects(), Vec::<String>::new());
    }
}
