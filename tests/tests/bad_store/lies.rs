//! Servers that say what is not so: another bit, a page in place of an object, writes that are not kept, listings without an end.

use std::time::{Duration, Instant};

use stillframe_tests::{BUCKET, FETCH_ERRORS, Loss};

use crate::{Remote, assert_accounted, assert_goes_on, assert_says};

#[test]
fn a_backup_is_not_called_one_when_the_store_has_not_kept_its_sentinel_and_reconcile_finishes_it() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    proxy.lose_next("PUT", "sentinel.json", Loss::Swallow);
    let pushed = behind.run(["snapshot-push", "--provider", "hardlink"]);
    assert_says("a lost sentinel", &pushed, &[6], "does not give it back");
    assert!(pushed.stderr.contains("hint:") && pushed.stderr.contains("stillframe check"), "{pushed}");
    assert_accounted("a lost sentinel", site);
    assert_eq!((site.backups().len(), site.intents().len(), site.snapshots().len()), (0, 1, 1));
    let interrupted = site.intents();
    site.stillframe.succeed(["reconcile", "--confirm"]);
    assert_eq!((site.backups(), site.intents().len()), (interrupted, 0), "all of it is there");
    site.restore("restored", &["LATEST", "--archiving", "off"]);
}

#[test]
fn a_sentinel_that_comes_back_changed_deletes_nothing_and_is_told_of() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let (changed, other) = (site.backup(&[]), site.backup(&[]));
    site.switch_wal();
    let before = remote.everything();
    let record = format!("{changed}/sentinel.json");
    let future = "{\"format_version\": 99}".to_owned();
    for loss in [Loss::Flip, Loss::Text(200, String::new()), Loss::Text(200, future), Loss::Answer(200, "InternalError")] {
        proxy.forget_losses();
        proxy.lose_all("GET", &record, loss.clone());
        for rule in [vec!["target", &other], vec!["everything"], vec!["garbage"], vec!["retain", "1"]] {
            let arguments = [vec!["delete"], rule, vec!["--confirm"]].concat();
            let deleted = behind.run(&arguments);
            assert_says(&format!("{loss:?}: {arguments:?}"), &deleted, &[3, 5, 6], "sentinel.json");
        }
        let reconciled = behind.run(["reconcile", "--confirm"]);
        assert!(!reconciled.is_success() && reconciled.says("sentinel.json"), "{loss:?}: {reconciled}");
        assert_eq!(remote.everything(), before, "{loss:?}");
        let listed = behind.run(["backup-list"]);
        assert!(listed.says(&other) && listed.says("sentinel.json"), "{loss:?}: the other one is shown: {listed}");
        let fetched = behind.run(["snapshot-fetch", &site.place("never").display().to_string(), &changed]);
        assert!(!fetched.is_success() && !site.place("never").exists(), "{loss:?}: {fetched}");
    }
    proxy.forget_losses();
    assert_eq!(site.backups(), [changed, other]);
}

#[test]
fn an_object_that_is_cut_off_or_another_one_is_neither_restored_nor_absent() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let segment = site.archived_segment();
    let (file, target) = (stillframe_tests::file_name(&segment).to_owned(), site.place("target"));
    let page = "<html><body>Please log in</body></html>".to_owned();
    for loss in [Loss::Flip, Loss::HalfAnswer, Loss::NoLength, Loss::Answer(200, "InternalError"), Loss::Text(200, page)] {
        proxy.forget_losses();
        proxy.lose_all("GET", "wal_005/", loss.clone());
        let fetched = behind.run(["wal-fetch", &file, target.to_str().unwrap()]);
        assert!(FETCH_ERRORS.contains(&fetched.code().unwrap()), "{loss:?}: {fetched}");
        assert!(!target.exists(), "{loss:?}: {fetched}");
        let pushed = behind.run(["snapshot-push", "--provider", "hardlink"]);
        assert!(!pushed.is_success(), "{loss:?}: its WAL cannot be read: {pushed}");
        assert_accounted(&format!("{loss:?}"), site);
    }
    proxy.forget_losses();
    assert_goes_on("it is honest again", site);
}

/// A page of a listing.
fn page(entries: &str, end: &str) -> Loss {
    Loss::Text(200, format!("<?xml version=\"1.0\"?><ListBucketResult><Name>{BUCKET}</Name>{entries}{end}</ListBucketResult>"))
}

fn entry(key: &str) -> String {
    format!(
        "<Contents><Key>an/archive/main/{key}</Key><Size>10</Size><ETag>\"1\"</ETag>\
         <LastModified>2026-11-21T12:00:00.000Z</LastModified></Contents>"
    )
}

#[test]
fn a_listing_without_an_end_or_with_a_name_twice_ends_every_command_and_deletes_nothing() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let name = site.backup(&[]);
    let before = remote.everything();
    let goes_on = "<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>";
    let twice = [entry("snapshots_001/a/sentinel.json"), entry("snapshots_001/a/sentinel.json")].concat();
    let back = [entry("snapshots_001/b/sentinel.json"), entry("snapshots_001/a/sentinel.json")].concat();
    for (what, loss, words) in [
        ("empty pages", page("", goes_on), "without an object and without an end"),
        ("the same page", page(&entry("snapshots_001/a/sentinel.json"), goes_on), "which is not the order"),
        ("a name twice", page(&twice, "<IsTruncated>false</IsTruncated>"), "which is not the order"),
        ("out of order", page(&back, "<IsTruncated>false</IsTruncated>"), "which is not the order"),
        ("cut without a word", page("", ""), "does not say all that it must"),
        ("no page at all", Loss::Text(200, "<html>".to_owned()), ""),
    ] {
        proxy.forget_losses();
        proxy.lose_all("GET", "snapshots_001", loss);
        for arguments in [
            vec!["delete", "everything", "--confirm"],
            vec!["reconcile", "--confirm"],
            vec!["backup-list"],
            vec!["snapshot-push", "--provider", "hardlink"],
        ] {
            let begun = Instant::now();
            let finished = behind.run(&arguments);
            assert_says(&format!("{what}: {arguments:?}"), &finished, &[3, 5], words);
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {:?}", begun.elapsed());
        }
        assert_eq!(remote.everything(), before, "{what}");
    }
    proxy.forget_losses();
    assert_eq!(site.backups(), [name]);
}

#[test]
fn objects_of_others_in_the_prefix_hide_nothing_and_stay() {
    let remote = Remote::start();
    let Remote { site, server, .. } = &remote;
    let names = [
        "an/archive/main/wal_005/\u{1}\u{7f}control",
        "an/archive/main/wal_005/a&b<c>d\"e",
        "an/archive/main/wal_005/ein Größe 😀",
        "an/archive/main/wal_005/line\nbreak",
        "an/archive/main/snapshots_001/.hidden/sentinel.json",
        "an/archive/main/basebackups_005/../../x",
        "an/archive/other/snapshots_001/sf-20261121T083214Z-9k3m2p7x/sentinel.json",
        "an/archive/zzz",
    ];
    for name in names {
        server.put(name, b"somebody else's");
    }
    let (first, second) = (site.backup(&[]), site.backup(&[]));
    site.switch_wal();
    assert_eq!(site.backups(), [first.clone(), second.clone()]);
    for arguments in [vec!["wal-show"], vec!["wal-verify"], vec!["window"], vec!["reconcile"]] {
        site.stillframe.succeed(&arguments);
    }
    site.stillframe.succeed(["delete", "target", &first, "--confirm"]);
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    assert!(site.backups().is_empty() && site.snapshots().is_empty());
    for name in names {
        assert!(server.objects().contains_key(name), "`{name}` is not ours to delete");
    }
}

#[test]
fn a_server_that_stops_to_honour_the_condition_of_a_write_is_found_by_check() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    site.backup(&[]);
    assert!(!behind.run(["check", "--no-round-trip"]).says("on the condition that there is no object"), "the test can succeed");
    proxy.lose_all("PUT", "", Loss::Unconditional);
    let checked = behind.run(["check", "--no-round-trip"]);
    assert_eq!(checked.code(), Some(2), "{checked}");
    assert!(checked.stdout.contains("it ignored the precondition"), "{checked}");
    proxy.forget_losses();
    assert_eq!(site.backups().len(), 1);
}
