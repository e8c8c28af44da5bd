//! Content that its name has no place for: kept beside the archive, for good, and in nobody's way.

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::postgres::WalFileName;
use stillframe_core::store::Store;
use stillframe_core::testing::{FaultyStore, When};

use crate::place::{Keys, Place, compressions, encrypting, every_form, plain};

const ONE: &[u8] = b"what one server had written";
const OTHER: &[u8] = b"what another server had written";

fn partial() -> WalFileName {
    "0000000100000002000000AB.partial".parse().unwrap()
}

#[tokio::test]
async fn each_content_is_parked_once_under_a_name_of_its_own_and_the_archive_does_not_show_it() {
    let keys = Keys::new();
    for settings in every_form(&keys) {
        let place = Place::new();
        place.push(partial(), ONE, &settings).await.unwrap();
        let (listed, objects) = (place.archive(&settings).list().await.unwrap(), place.objects());
        let parked = place.archive(&settings).park(partial(), OTHER.to_vec()).await.unwrap();
        let before = place.store.snapshot();
        assert_eq!(place.archive(&settings).park(partial(), OTHER.to_vec()).await.unwrap(), parked);
        assert_eq!(place.store.snapshot(), before, "a retry writes nothing");
        let third = place.archive(&settings).park(partial(), b"a third".to_vec()).await.unwrap();
        assert!(third != parked && place.below("main/parked_001/").len() == 2);
        assert_eq!((place.archive(&settings).list().await.unwrap(), place.objects()), (listed, objects));
        assert_eq!(place.archive(&settings).fetch(partial()).await.unwrap().unwrap(), ONE);
    }
}

#[tokio::test]
async fn what_is_parked_reads_back_and_is_acknowledged_only_when_it_is_there_whole() {
    let settings = plain(compressions()[0]);
    for when in [When::Before, When::After] {
        let place = Place::new();
        let store = FaultyStore::new(&place.store, Some((0, when)));
        assert_eq!(
            place.archive_on(&store, &settings).park(partial(), OTHER.to_vec()).await.unwrap_err().class(),
            ErrorClass::Transient
        );
        let key = place.archive_on(&store, &settings).park(partial(), OTHER.to_vec()).await.unwrap();
        let body = place.store.get(&key).await.unwrap().unwrap();
        assert_eq!(zstd::stream::decode_all(&body[..]).unwrap(), OTHER);
        place.store.put(&key, body.slice(..body.len() - 1)).await.unwrap();
        let error = place.archive(&settings).park(partial(), OTHER.to_vec()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn walg_takes_nothing_that_is_parked_for_a_segment() {
    let (place, keys) = (Place::new(), Keys::new());
    for compression in compressions() {
        for settings in [plain(compression), encrypting(compression, &[&keys])] {
            let key = place.archive(&settings).park(partial(), OTHER.to_vec()).await.unwrap();
            let runs = key.as_str().split(|letter: char| !letter.is_ascii_hexdigit());
            assert!(runs.map(str::len).all(|length| length < 24), "its deletions take whatever has such a run: {key}");
        }
    }
}
