//! A file is found in whatever form it is, and never lies in two forms with two contents.

use std::sync::Mutex;

use async_trait::async_trait;
use stillframe_core::catalog::{ArchiveError, Compression, PushOutcome, add_cluster};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::store::{Key, PutOutcome, Store};
use stillframe_core::testing::{InjectedFault, MemoryStore, WatchedStore, Watcher};

use crate::hooked_store::{Operation, hooked};
use crate::place::{Keys, Place, compressions, every_form, history, key, plain, segment_content, segment_name};

const ONE: &[u8] = b"1\t0/3000000\tone\n";
const OTHER: &[u8] = b"1\t0/4000000\tother\n";

#[tokio::test]
async fn a_file_is_found_in_every_form_whatever_form_is_written_now() {
    let keys = Keys::new();
    for writer in every_form(&keys) {
        let place = Place::new();
        place.push(history(), ONE, &writer).await.unwrap();
        place.push(segment_name(), &segment_content(), &writer).await.unwrap();
        for reader in every_form(&keys) {
            assert_eq!(place.archive(&reader).fetch(history()).await.unwrap().unwrap(), ONE, "{writer:?} {reader:?}");
            let found = place.archive(&reader).find(segment_name()).await.unwrap().unwrap();
            let (restored, content) = found.write_to(Vec::new()).await.unwrap();
            assert!(content == segment_content() && restored.size_bytes == 1 << 20 && restored.prove_segment().is_ok());
        }
    }
}

#[tokio::test]
async fn the_same_content_in_another_form_is_a_success_and_other_content_is_refused() {
    let keys = Keys::new();
    for first in every_form(&keys) {
        for second in every_form(&keys) {
            let place = Place::new();
            assert_eq!(place.push(history(), ONE, &first).await.unwrap(), PushOutcome::Stored);
            let before = place.store.snapshot();
            assert_eq!(place.push(history(), ONE, &second).await.unwrap(), PushOutcome::AlreadyStored);
            let error = place.push(history(), OTHER, &second).await.unwrap_err();
            assert!(matches!(error, ArchiveError::Conflict { .. }), "{first:?} {second:?} {error}");
            assert_eq!(place.store.snapshot(), before, "wal_never_overwritten");
        }
    }
}

#[tokio::test]
async fn of_two_pushes_that_race_in_one_form_one_wins_and_both_report_the_truth() {
    for compression in compressions() {
        for (late, class) in [(ONE, None), (OTHER, Some(ErrorClass::Refused))] {
            let (place, settings) = (Place::new(), plain(compression));
            let suffix = match compression {
                Compression::Zstd(_) => ".history.zst",
                Compression::Lz4 => ".history.lz4",
                Compression::None => ".history",
            };
            // The winner comes after the other one has seen that there is nothing.
            let store = hooked(&place.store, Operation::PutIfAbsent, suffix, async {
                place.push(history(), ONE, &settings).await.unwrap();
            });
            let outcome = place.archive_on(&store, &settings).push(history(), late.to_vec()).await;
            assert_eq!(outcome.as_ref().err().map(Classify::class), class, "{outcome:?}");
            assert_eq!(place.archive(&settings).fetch(history()).await.unwrap().unwrap(), ONE);
        }
    }
}

#[tokio::test]
async fn a_damaged_object_in_another_form_is_neither_accepted_nor_a_conflict() {
    let keys = Keys::new();
    for first in every_form(&keys) {
        let place = Place::new();
        place.push(history(), ONE, &first).await.unwrap();
        let object = place.objects()[0].clone();
        let mut body = place.read(&object).await;
        body.truncate(body.len() - 1);
        place.put(&object, body).await;
        for second in every_form(&keys) {
            assert_eq!(place.push(history(), ONE, &second).await.unwrap_err().class(), ErrorClass::Corrupt, "{first:?} {second:?}");
            let error = place.archive(&second).fetch(history()).await.unwrap_err();
            assert!(error.class() == ErrorClass::Corrupt && error.hint().is_some(), "{error}");
        }
    }
}

#[tokio::test]
async fn a_form_that_only_walg_reads_is_named_and_neither_absent_nor_doubled() {
    for suffix in ["lzma", "gz", "lzo"] {
        let (place, settings) = (Place::new(), plain(Compression::Zstd(1)));
        place.put(&format!("00000002.history.{suffix}"), &b"x"[..]).await;
        let before = place.store.snapshot();
        for error in
            [place.archive(&settings).fetch(history()).await.unwrap_err(), place.push(history(), ONE, &settings).await.unwrap_err()]
        {
            assert!(matches!(error, ArchiveError::UnknownForm { .. }) && error.class() == ErrorClass::Config, "{error}");
            assert!(error.to_string().contains(suffix) && error.hint().unwrap().contains("decompress"));
        }
        assert_eq!(place.store.snapshot(), before);
    }
}

#[tokio::test]
async fn a_form_that_nobody_is_known_to_write_is_no_absence() {
    let (place, settings) = (Place::new(), plain(Compression::Zstd(1)));
    place.put("000000010000000000000003.xz", &b"x"[..]).await;
    let error = place.archive(&settings).fetch(segment_name()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::UnknownForm { .. }), "{error}");
}

#[tokio::test]
async fn what_walg_keeps_beside_a_segment_does_not_hide_its_absence() {
    let (place, settings) = (Place::new(), plain(Compression::Zstd(1)));
    for object in [
        "000000010000000000000003.json",
        "000000010000000000000003_delta.zst",
        "000000010000000000000003.partial.lzma",
        "000000010000000000000003.partial.xz",
        "000000010000000000000003.00000028.backup",
        "000000010000000000000003.digest.sha256",
    ] {
        place.put(object, &b"x"[..]).await;
    }
    assert_eq!(place.archive(&settings).fetch(segment_name()).await.unwrap(), None);
    assert!(place.archive(&settings).list().await.unwrap().iter().all(|file| file.name != segment_name()));
}

#[tokio::test]
async fn a_file_that_arrives_while_it_is_looked_for_is_found() {
    for store in [MemoryStore::default(), MemoryStore::like_a_directory()] {
        let (place, settings) = (Place::on(store), plain(Compression::Lz4));
        // Between the look for known forms and the listing that proves an absence.
        let arrives = async { place.put("00000002.history.zst", zstd::bulk::compress(ONE, 3).unwrap()).await };
        let store = hooked(&place.store, Operation::List, "00000002.history", arrives);
        let found = place.archive_on(&store, &settings).fetch(history()).await.unwrap();
        assert_eq!(found.unwrap(), ONE);
    }
}

#[tokio::test]
async fn every_form_is_listed_and_removed_with_all_that_belongs_to_it() {
    let (keys, place) = (Keys::new(), Place::new());
    for (number, settings) in every_form(&keys).iter().enumerate() {
        place.push(format!("0000000{}.history", number + 2).parse().unwrap(), ONE, settings).await.unwrap();
    }
    place.put("00000009.history.br", &b"x"[..]).await;
    let settings = plain(Compression::Zstd(1));
    let files = place.archive(&settings).list().await.unwrap();
    assert_eq!(files.len(), 7);
    let objects = place.store.snapshot().into_iter().filter(|(key, _)| key.as_str().contains("/wal_005/"));
    let stored: u64 = objects.map(|(_, body)| body.len() as u64).sum();
    assert_eq!(files.iter().map(|file| file.size_bytes).sum::<u64>(), stored, "the digest beside a file counts as part of it");
    for file in &files {
        place.archive(&settings).remove(file).await.unwrap();
        place.archive(&settings).remove(file).await.unwrap();
    }
    assert_eq!(place.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn the_form_that_is_written_now_is_found_with_one_request() {
    for (compression, expected) in [
        (Compression::Zstd(1), vec!["get .zst"]),
        (Compression::Lz4, vec!["get .lz4"]),
        (Compression::None, vec!["get", "get .digest.sha256"]),
    ] {
        let (place, settings) = (Place::new(), plain(compression));
        place.push(history(), ONE, &settings).await.unwrap();
        let counted = WatchedStore::new(&place.store, Requests::default());
        place.archive_on(&counted, &settings).fetch(history()).await.unwrap().unwrap();
        assert_eq!(counted.take(), expected);
    }
}

#[tokio::test]
async fn an_absence_is_proven_by_two_listings_and_another_form_is_found_by_one() {
    let (place, settings) = (Place::new(), plain(Compression::Zstd(1)));
    let counted = WatchedStore::new(&place.store, Requests::default());
    assert_eq!(place.archive_on(&counted, &settings).fetch(history()).await.unwrap(), None);
    assert_eq!(counted.take(), ["get .zst", "list", "list main/"]);
    place.push(history(), ONE, &plain(Compression::Lz4)).await.unwrap();
    assert_eq!(place.archive_on(&counted, &settings).fetch(history()).await.unwrap().unwrap(), ONE);
    assert_eq!(counted.take(), ["get .zst", "list", "get .lz4"]);
}

#[tokio::test]
async fn a_directory_is_listed_only_to_prove_an_absence() {
    let (place, settings) = (Place::on(MemoryStore::like_a_directory()), plain(Compression::Zstd(1)));
    let counted = WatchedStore::new(&place.store, Requests::default());
    place.archive_on(&counted, &plain(Compression::Lz4)).push(history(), ONE.to_vec()).await.unwrap();
    assert_eq!(place.archive_on(&counted, &settings).fetch(history()).await.unwrap().unwrap(), ONE);
    assert_eq!(counted.take(), ["put_if_absent .lz4", "get .zst", "get .lz4"]);
    place.store.delete(&key("00000002.history.lz4")).await.unwrap();
    assert_eq!(place.archive_on(&counted, &settings).fetch(history()).await.unwrap(), None);
    assert_eq!(counted.take(), ["get .zst", "list"]);
}

#[tokio::test]
async fn a_segment_costs_one_look_and_one_write_and_what_two_servers_may_write_another_look() {
    let (place, settings) = (Place::new(), plain(Compression::Zstd(1)));
    let counted = WatchedStore::new(&place.store, Requests::default());
    place.archive_on(&counted, &settings).push(segment_name(), segment_content()).await.unwrap();
    assert_eq!(counted.take(), ["list", "put_if_absent .zst"]);
    place.archive_on(&counted, &settings).push(history(), ONE.to_vec()).await.unwrap();
    assert_eq!(counted.take(), ["list", "put_if_absent .zst", "list"]);
}

#[tokio::test]
async fn two_contents_in_two_forms_are_never_both_acknowledged() {
    for file in ["00000002.history", "000000010000000000000003.partial", "000000010000000000000003.00000028.backup"] {
        for (ours, theirs) in [(Compression::Zstd(1), Compression::Lz4), (Compression::None, Compression::Zstd(1))] {
            for (late, class) in [(ONE, None), (OTHER, Some(ErrorClass::Refused))] {
                let (place, file) = (Place::new(), file.parse().unwrap());
                let suffix = if ours == Compression::None { "" } else { ".zst" };
                let key: &'static str = format!("{file}{suffix}").leak();
                // The other one comes after this one has seen that there is nothing, and is stored first.
                let store = hooked(&place.store, Operation::PutIfAbsent, key, async {
                    place.push(file, ONE, &plain(theirs)).await.unwrap();
                });
                let outcome = place.archive_on(&store, &plain(ours)).push(file, late.to_vec()).await;
                assert_eq!(outcome.as_ref().err().map(Classify::class), class, "{outcome:?}");
                // And on every repetition, with both of them there.
                let again = place.push(file, late, &plain(ours)).await;
                assert_eq!(again.as_ref().err().map(Classify::class), class, "{again:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_absence_is_proven_only_where_the_cluster_is_known() {
    let settings = plain(Compression::Zstd(1));
    for like_a_directory in [false, true] {
        let store = || if like_a_directory { MemoryStore::like_a_directory() } else { MemoryStore::default() };
        let place = Place::without_cluster(store());
        // Another cluster of the store, whose name begins alike, is another one.
        place.store.put(&Key::parse("main2/wal_005/000000010000000000000003.zst").unwrap(), "x".into()).await.unwrap();
        for name in [history(), segment_name()] {
            let error = place.archive(&settings).fetch(name).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Config, "{error}");
            assert!(error.to_string().contains("`main`") && error.to_string().contains("memory:"), "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("`[cluster]`") && hint.contains("stillframe store create"), "{hint}");
        }
        // What WAL-G or an earlier push left below the name is as good as the mark.
        for object in ["main/wal_005/000000010000000000000007.lz4", "main/basebackups_005/base_x_backup_stop_sentinel.json"] {
            let place = Place::without_cluster(store());
            place.store.put(&Key::parse(object).unwrap(), "x".into()).await.unwrap();
            assert_eq!(place.archive(&settings).fetch(history()).await.unwrap(), None);
        }
        let _ = add_cluster(&place.store, &place.layout).await.unwrap();
        let before = place.store.snapshot();
        assert_eq!(place.archive(&settings).fetch(history()).await.unwrap(), None);
        assert_eq!(add_cluster(&place.store, &place.layout).await.unwrap(), PutOutcome::AlreadyExists);
        assert_eq!(place.store.snapshot(), before, "it may be added again");
    }
}

/// Takes note of every request.
#[derive(Default)]
struct Requests(Mutex<Vec<String>>);

impl Requests {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl Watcher for Requests {
    async fn before(&self, operation: Operation, target: &str) -> Result<(), InjectedFault> {
        let files = [history().to_string(), segment_name().to_string()];
        let suffix = files.iter().find_map(|file| target.strip_prefix("main/wal_005/")?.strip_prefix(file.as_str()));
        self.0.lock().unwrap().push(format!("{} {}", operation.as_str(), suffix.unwrap_or(target)).trim_end().to_owned());
        Ok(())
    }
}
