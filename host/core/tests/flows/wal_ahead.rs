//! Pushing ahead: nothing is acknowledged that is not stored, and a later call believes a marker only when every word is true.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{WalPushError, WalPushed, wal_push};
use stillframe_core::spool::AheadSettings;
use stillframe_core::store::Store;
use stillframe_core::testing::MemoryStore;

use crate::cluster::{DataDirectory, TurnedClock, ports, segment_content, telling};
use crate::hooked_store::{Operation, hooked};
use crate::house::{House, pusher, segment, segment_key};

/// Pushes with these settings, and is never told to stop.
async fn push_with(
    house: &House,
    store: &dyn Store,
    clock: &TurnedClock,
    data: &DataDirectory,
    settings: &AheadSettings,
    path: &Path,
) -> Result<WalPushed, WalPushError> {
    wal_push(&ports(house, store, clock), settings, &pusher(&data.path), path, std::future::pending()).await
}

async fn push(house: &House, store: &dyn Store, data: &DataDirectory, path: &Path) -> Result<WalPushed, WalPushError> {
    push_with(house, store, &TurnedClock::without_limits(), data, &data.settings(), path).await
}

/// A house and a data directory in which these segments wait.
async fn waiting(numbers: impl IntoIterator<Item = u32>) -> (House, DataDirectory) {
    let house = House::new().await;
    let data = DataDirectory::of(&house);
    for number in numbers {
        data.segment_waits(number);
    }
    (house, data)
}

#[tokio::test]
async fn pushes_what_waits_and_recalls_it_by_one_look_at_the_name() {
    let (house, data) = waiting(5..=9).await;
    let status = data.status();
    let store = telling(&house.store);
    assert_eq!(push(&house, &store, &data, &data.wal(&segment(5).to_string())).await.unwrap(), WalPushed::Stored);
    let archived = house.archived().await;
    for number in 5..=9 {
        assert!(archived.contains(&segment(number).to_string()), "{number}");
    }
    store.told();
    for number in 6..=9 {
        let path = data.wal(&segment(number).to_string());
        assert_eq!(push(&house, &store, &data, &path).await.unwrap(), WalPushed::Before);
        assert_eq!(store.told(), [("list", segment(number).to_string())], "{number}");
    }
    assert_eq!(data.status(), status, "the server's own files are the server's");
    assert_eq!(data.spooled(), [""; 0], "a marker is used once");
}

#[tokio::test]
async fn a_retry_after_a_marker_was_used_asks_the_archive() {
    let (house, data) = waiting([5, 6]).await;
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    let path = data.wal(&segment(6).to_string());
    assert_eq!(push(&house, &house.store, &data, &path).await.unwrap(), WalPushed::Before);
    assert_eq!(push(&house, &house.store, &data, &path).await.unwrap(), WalPushed::AlreadyStored);
}

#[tokio::test]
async fn a_marker_does_not_stand_for_an_object_that_is_gone() {
    let (house, data) = waiting([5, 6, 7]).await;
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    let path = data.wal(&segment(6).to_string());
    assert!(data.spooled_file(&segment(6).to_string()).exists());
    house.store.delete(&segment_key(6)).await.unwrap();
    assert_eq!(push(&house, &house.store, &data, &path).await.unwrap(), WalPushed::Stored);
    assert!(house.archived().await.contains(&segment(6).to_string()));
    // The object of the other one is there, and its marker stands.
    let path = data.wal(&segment(7).to_string());
    assert_eq!(push(&house, &house.store, &data, &path).await.unwrap(), WalPushed::Before);
}

#[tokio::test]
async fn a_marker_does_not_stand_for_an_object_that_is_empty() {
    for store in [MemoryStore::default(), MemoryStore::like_a_directory()] {
        let (house, data) = waiting([5, 6]).await;
        let house = House { store, ..house };
        push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
        assert!(data.spooled_file(&segment(6).to_string()).exists());
        house.store.put(&segment_key(6), Bytes::new()).await.unwrap();
        let error = push(&house, &house.store, &data, &data.wal(&segment(6).to_string())).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn a_marker_does_not_stand_where_the_store_cannot_be_asked() {
    let (house, data) = waiting([5, 6]).await;
    let store = telling(&house.store);
    push(&house, &store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    store.fail_at("000000010000000000000006");
    let error = push(&house, &store, &data, &data.wal(&segment(6).to_string())).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "acknowledged unseen");
}

#[tokio::test]
async fn a_marker_is_void_once_the_file_was_written_touched_or_replaced() {
    let name = segment(6).to_string();
    let rewrite = |path: &Path| std::fs::write(path, std::fs::read(path).unwrap()).unwrap();
    let replace = |path: &Path| {
        std::fs::copy(path, path.with_extension("copy")).unwrap();
        std::fs::rename(path.with_extension("copy"), path).unwrap();
    };
    let touch = |path: &Path| {
        let mtime = path.metadata().unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(path).unwrap().set_modified(mtime).unwrap();
    };
    for change in [&rewrite as &dyn Fn(&Path), &replace, &touch] {
        let (house, data) = waiting([5, 6]).await;
        push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
        assert!(data.spooled_file(&name).exists());
        change(&data.wal(&name));
        assert_eq!(push(&house, &house.store, &data, &data.wal(&name)).await.unwrap(), WalPushed::AlreadyStored);
    }
}

#[tokio::test]
async fn a_file_rewritten_with_other_content_meets_the_conflict_and_not_its_marker() {
    let (house, data) = waiting([5, 6]).await;
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    let other = data.waits(&segment(6).to_string(), &segment_content(6, house.server.facts().system_identifier, 99));
    let before = house.store.snapshot();
    let error = push(&house, &house.store, &data, &other).await.unwrap_err();
    assert!(matches!(error, WalPushError::Guard(_)), "{error}");
    assert_eq!(house.store.snapshot(), before, "wal_never_overwritten");
}

#[tokio::test]
async fn every_word_of_a_marker_must_be_true() {
    let name = segment(6).to_string();
    let (house, data) = waiting([5, 6]).await;
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    let marker = data.spooled_file(&name);
    let text = std::fs::read_to_string(&marker).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 10, "{text}");
    for changed in 0..lines.len() {
        let forged: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(at, line)| if at == changed { format!("{line}1\n") } else { format!("{line}\n") })
            .collect();
        std::fs::write(&marker, forged.concat()).unwrap();
        let pushed = push(&house, &house.store, &data, &data.wal(&name)).await.unwrap();
        assert_eq!(pushed, WalPushed::AlreadyStored, "`{}` is forged", lines[changed]);
    }
    std::fs::write(&marker, &text[..text.len() / 2]).unwrap();
    assert_eq!(push(&house, &house.store, &data, &data.wal(&name)).await.unwrap(), WalPushed::AlreadyStored, "torn");
    std::fs::write(&marker, &text).unwrap();
    assert_eq!(push(&house, &house.store, &data, &data.wal(&name)).await.unwrap(), WalPushed::Before, "the test itself");
}

#[tokio::test]
async fn a_marker_of_another_server_or_cluster_name_does_not_count() {
    let (house, data) = waiting([5, 6]).await;
    let clone = DataDirectory::of(&house);
    let (five, six) = (segment(5).to_string(), segment(6).to_string());
    for name in [&five, &six] {
        std::fs::copy(data.wal(name), clone.waits(name, b"")).unwrap();
    }
    push(&house, &house.store, &data, &data.wal(&five)).await.unwrap();
    let clock = TurnedClock::without_limits();
    let refused = push_with(&house, &house.store, &clock, &clone, &data.settings(), &clone.wal(&six)).await.unwrap_err();
    assert!(matches!(refused, WalPushError::Guard(_)), "the clone must not be acknowledged on the word of another: {refused}");
    let mut renamed = House::new().await;
    renamed.layout = stillframe_core::catalog::Layout::new("other".to_owned().try_into().unwrap());
    assert_eq!(push(&renamed, &renamed.store, &data, &data.wal(&six)).await.unwrap(), WalPushed::Stored);
}

#[tokio::test]
async fn what_an_earlier_boot_left_in_the_spool_is_removed() {
    let (house, data) = waiting([5, 6]).await;
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    let of_this_boot = data.spooled_file(&segment(6).to_string());
    let of_this_boot = of_this_boot.parent().unwrap();
    let left =
        ["pushed-0123456789abcdef", "pushed-fedcba9876543210", "notes-of-somebody"].map(|name| of_this_boot.with_file_name(name));
    for directory in &left {
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join(segment(1).to_string()), "").unwrap();
        let hours_ago = std::time::SystemTime::now() - Duration::from_hours(2);
        std::fs::File::open(directory).unwrap().set_modified(hours_ago).unwrap();
    }
    std::fs::File::open(&left[1]).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    data.segment_waits(7);
    push(&house, &house.store, &data, &data.wal(&segment(7).to_string())).await.unwrap();
    assert!(!left[0].exists() && left[1].exists() && left[2].exists() && of_this_boot.exists());
}

#[tokio::test]
async fn an_old_marker_does_not_count_and_is_swept() {
    let (house, data) = waiting([5, 6, 7]).await;
    let clock = TurnedClock::without_limits();
    push_with(&house, &house.store, &clock, &data, &data.settings(), &data.wal(&segment(5).to_string())).await.unwrap();
    assert_eq!(data.spooled().len(), 2);
    clock.advance(Duration::from_mins(11));
    for done in [5, 7] {
        std::fs::remove_file(data.ready(&segment(done).to_string())).unwrap();
    }
    let path = data.wal(&segment(6).to_string());
    let pushed = push_with(&house, &house.store, &clock, &data, &data.settings(), &path).await.unwrap();
    assert_eq!(pushed, WalPushed::AlreadyStored);
    std::fs::remove_file(data.ready(&segment(6).to_string())).unwrap();
    // The next batch sweeps.
    let next = data.waits(&segment(8).to_string(), &segment_content(8, house.server.facts().system_identifier, 0));
    push_with(&house, &house.store, &clock, &data, &data.settings(), &next).await.unwrap();
    assert_eq!(data.spooled(), [""; 0]);
}

#[tokio::test]
async fn a_clone_whose_segment_conflicts_places_no_other_one() {
    let (house, data) = waiting([5, 6, 7]).await;
    data.waits("00000002.history", b"1\t0/500000\tx\n");
    let body = house.store.get(&segment_key(3)).await.unwrap().unwrap();
    house.store.put(&segment_key(5), body).await.unwrap();
    let before = house.store.snapshot();
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap_err();
    assert_eq!(house.store.snapshot(), before);
}

#[tokio::test]
async fn a_failure_ahead_ends_the_batch_and_is_not_the_failure_of_the_file_asked_for() {
    let (house, data) = waiting([5, 6, 7, 8]).await;
    let store = telling(&house.store);
    store.fail_at("000000010000000000000006.zst");
    let settings = AheadSettings { workers: 1, ..data.settings() };
    let clock = TurnedClock::without_limits();
    let path = data.wal(&segment(5).to_string());
    assert_eq!(push_with(&house, &store, &clock, &data, &settings, &path).await.unwrap(), WalPushed::Stored);
    assert!(!house.archived().await.contains(&segment(7).to_string()));
    assert_eq!(data.spooled(), [""; 0], "no marker for what is not stored");
    let error = push(&house, &store, &data, &data.wal(&segment(6).to_string())).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "its own call tells its own failure");
}

#[tokio::test]
async fn histories_go_first_and_one_that_is_refused_keeps_segments_back() {
    let (house, data) = waiting([5, 6, 7]).await;
    data.waits("00000002.history", b"1\t0/500000\tx\n");
    let store = telling(&house.store);
    push(&house, &store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    // Without the claim to the timeline.
    let written: Vec<String> = store.files("put").into_iter().filter(|name| !name.starts_with("timeline-")).collect();
    assert_eq!(written[..2], [segment(5).to_string(), "00000002.history".to_owned()]);
    assert_eq!(written.len(), 4);

    let (house, data) = waiting([5, 6, 7]).await;
    data.waits("00000002.history", b"1\t0/500000\tours\n");
    house.put_wal("00000002.history", "1\t0/400000\tx\n").await;
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    assert!(!house.archived().await.contains(&segment(6).to_string()));
}

#[tokio::test]
async fn no_more_files_are_pushed_than_the_settings_say_and_the_oldest_first() {
    let (house, data) = waiting(5..=12).await;
    let settings = AheadSettings { push_files: 3, ..data.settings() };
    let clock = TurnedClock::without_limits();
    let path = data.wal(&segment(5).to_string());
    push_with(&house, &house.store, &clock, &data, &settings, &path).await.unwrap();
    let archived: Vec<String> = house.archived().await.into_iter().collect();
    assert_eq!(archived, [3, 5, 6, 7, 8].map(|number| segment(number).to_string()));
}

#[tokio::test]
async fn one_who_calls_by_hand_pushes_one_file() {
    let (house, data) = waiting([5, 6]).await;
    std::fs::remove_file(data.ready(&segment(5).to_string())).unwrap();
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    let elsewhere = data.path.join(segment(6).to_string());
    std::fs::copy(data.wal(&segment(6).to_string()), &elsewhere).unwrap();
    data.segment_waits(7);
    push(&house, &house.store, &data, &elsewhere).await.unwrap();
    assert!(!house.archived().await.contains(&segment(7).to_string()));
}

#[tokio::test]
async fn a_spool_that_cannot_be_used_costs_nothing_but_time() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let in_the_way = scratch.path().join("file");
    std::fs::write(&in_the_way, b"").unwrap();
    let open_to_all = scratch.path().join("open");
    std::fs::create_dir(&open_to_all).unwrap();
    std::fs::set_permissions(&open_to_all, std::fs::Permissions::from_mode(0o777)).unwrap();
    let link = scratch.path().join("link");
    let (house, data) = waiting([5, 6]).await;
    std::os::unix::fs::symlink(data.path.join("pg_wal"), &link).unwrap();
    let spools = [
        Some(in_the_way.clone()),
        Some(in_the_way.join("below")),
        Some(open_to_all),
        Some(data.path.join("spool")),
        Some(link.join("spool")),
        Some(scratch.path().join("x/../y")),
        Some("relative".into()),
        None,
    ];
    for (number, spool) in (10..).zip(spools) {
        let settings = AheadSettings { spool: spool.clone(), ..data.settings() };
        let path = data.segment_waits(number);
        let pushed = push_with(&house, &house.store, &TurnedClock::without_limits(), &data, &settings, &path).await.unwrap();
        assert_eq!(pushed, WalPushed::Stored, "{spool:?}");
        assert!(!house.archived().await.contains(&segment(6).to_string()), "{spool:?}");
    }
    assert!(!data.path.join("spool").exists() && !data.path.join("pg_wal/spool").exists(), "nothing is left in the data directory");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_pushed_gets_no_marker() {
    let (house, data) = waiting([5, 6]).await;
    let path = data.wal(&segment(6).to_string());
    let store = hooked(&house.store, Operation::PutIfAbsent, "000000010000000000000006.zst", async {
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    });
    push(&house, &store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    assert!(house.archived().await.contains(&segment(6).to_string()));
    assert_eq!(data.spooled(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_was_written_this_very_moment_waits_for_its_turn() {
    let (house, data) = waiting([5]).await;
    let path = data.segment_waits(6);
    let soon = std::time::SystemTime::now() + Duration::from_mins(1);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(soon).unwrap();
    push(&house, &house.store, &data, &data.wal(&segment(5).to_string())).await.unwrap();
    assert!(!house.archived().await.contains(&segment(6).to_string()));
}

#[tokio::test]
async fn nothing_is_begun_after_the_signal_to_stop() {
    let (house, data) = waiting([5, 6, 7]).await;
    let clock = TurnedClock::without_limits();
    let ports = ports(&house, &house.store, &clock);
    let path = data.wal(&segment(5).to_string());
    let pushed = wal_push(&ports, &data.settings(), &pusher(&data.path), &path, std::future::ready(())).await.unwrap();
    assert_eq!(pushed, WalPushed::Stored);
    let archived: Vec<String> = house.archived().await.into_iter().collect();
    assert_eq!(archived, [3, 5].map(|number| segment(number).to_string()));
}

#[tokio::test]
async fn the_answer_does_not_wait_for_a_file_that_hangs() {
    let (house, data) = waiting([5, 6, 7, 8]).await;
    let store = telling(&house.store);
    store.hang_at("000000010000000000000006.zst");
    let clock = TurnedClock::passing();
    let path = data.wal(&segment(5).to_string());
    assert_eq!(push_with(&house, &store, &clock, &data, &data.settings(), &path).await.unwrap(), WalPushed::Stored);
    assert!(!data.spooled().iter().any(|file| file.ends_with(&segment(6).to_string())));
}

#[tokio::test]
async fn two_calls_at_once_store_every_file_once() {
    let (house, data) = waiting(5..=10).await;
    let (five, six) = (data.wal(&segment(5).to_string()), data.wal(&segment(6).to_string()));
    let (one, two, three) = tokio::join!(
        push(&house, &house.store, &data, &five),
        push(&house, &house.store, &data, &five),
        push(&house, &house.store, &data, &six)
    );
    let (one, two, _) = (one.unwrap(), two.unwrap(), three.unwrap());
    assert!([one, two].contains(&WalPushed::Stored) || [one, two] == [WalPushed::AlreadyStored; 2], "{one:?} {two:?}");
    assert_eq!(house.archived().await.len(), 7);
    for number in 5..=10 {
        assert_eq!(house.archived_content(number).await, std::fs::read(data.wal(&segment(number).to_string())).unwrap());
    }
}
