//! `wal-push` and `wal-fetch` as PostgreSQL calls them: exit codes, and what an archive that is not there looks like.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::Path;

use stillframe_tests::{Cluster, Site, Stillframe, file_name, majors, set_mode, tested_major};

#[test]
fn a_segment_comes_back_byte_for_byte_and_is_never_overwritten() {
    for major in majors(&[12, 15, 18]) {
        let site = Site::start(major);
        let path = site.archived_segment();
        let before = site.everything();
        let again = site.stillframe.run(["wal-push", path.to_str().unwrap()]);
        assert_eq!(again.code(), Some(0), "the same content again is a success: {again}");
        let refused = site.stillframe.run(["wal-push", site.forged(&path).to_str().unwrap()]);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert_eq!(site.everything(), before, "wal_never_overwritten");
    }
}

#[test]
fn under_a_mistyped_cluster_name_nothing_is_absent() {
    let site = Site::start(tested_major());
    let path = site.archived_segment();
    let before = site.everything();
    let mistyped = site.configured(|config| config.value("cluster", "name", "mian"));
    let target = site.place("target");
    let fetch = |stillframe: &Stillframe, name: &str| stillframe.run(["wal-fetch", name, target.to_str().unwrap()]);
    for name in [file_name(&path), "0000000100000000000000FF", "00000002.history"] {
        let finished = fetch(&mistyped, name);
        assert_eq!(finished.code(), Some(203), "absence_is_proven_before_exit_1: {name}: {finished}");
        for told in ["`mian`", "file://", "hint:", "stillframe store create"] {
            assert!(finished.stderr.contains(told), "{told}: {finished}");
        }
        assert!(!target.exists());
    }
    assert_eq!(site.everything(), before);
    // A second cluster of the store is added on purpose, before it archives anything; and again, which changes nothing.
    for _ in 0..2 {
        let created = mistyped.succeed(["--json", "store", "create"]).json();
        assert_eq!(created["cluster"], "mian", "{created}");
    }
    assert_eq!(fetch(&mistyped, "00000002.history").code(), Some(1));
    // What an earlier version, or WAL-G, has archived is known without a mark.
    fs::remove_file(site.place("store/main/cluster.json")).unwrap();
    assert_eq!(fetch(&site.stillframe, "00000002.history").code(), Some(1));
    assert_eq!(fetch(&site.stillframe, file_name(&path)).code(), Some(0));
}

#[test]
fn wal_fetch_exits_with_1_only_for_a_proven_absence() {
    let site = Site::start(tested_major());
    let path = site.archived_segment();
    let (file, target) = (file_name(&path).to_owned(), site.place("target"));
    let fetch = |name: &str| site.stillframe.run(["wal-fetch", name, target.to_str().unwrap()]);
    let absent = fetch("0000000100000000000000FF");
    assert_eq!(absent.code(), Some(1), "{absent}");
    assert!(!target.exists());
    assert_eq!(fetch("00000009.history").code(), Some(1));

    let doubt = |what: &str| {
        for name in [file.as_str(), "0000000100000000000000FF", "00000002.history"] {
            let finished = fetch(name);
            assert!(finished.code().is_some_and(|code| code > 125), "absence_is_proven_before_exit_1: {what}: {name}: {finished}");
            assert!(finished.stderr.contains("error:"), "{what}: {finished}");
            assert!(!target.exists(), "{what}: no partial file");
        }
    };
    let store = site.place("store");
    set_mode(&store, 0o000);
    doubt("an unreadable store");
    set_mode(&store, 0o700);
    set_mode(&store.join("main/wal_005"), 0o000);
    doubt("an unreadable archive");
    set_mode(&store.join("main/wal_005"), 0o700);
    fs::rename(&store, site.place("away")).unwrap();
    doubt("a store that is gone");
    fs::create_dir(&store).unwrap();
    set_mode(&store, 0o777);
    doubt("an empty mount point");
    fs::remove_dir(&store).unwrap();
    fs::rename(site.place("away"), &store).unwrap();

    let object = store.join("main/wal_005").join(format!("{file}.zst"));
    let body = fs::read(&object).unwrap();
    for damaged in [&body[..body.len() / 2], &[], b"garbage"] {
        fs::write(&object, damaged).unwrap();
        let finished = fetch(&file);
        assert_eq!(finished.code(), Some(206), "{finished}");
        assert!(!target.exists());
    }
    fs::write(&object, &body).unwrap();
    assert_eq!(fetch(&file).code(), Some(0));
    assert_eq!(fs::read(&target).unwrap(), fs::read(&path).unwrap());

    // What a person gets wrong in restore_command must not end a recovery either.
    for arguments in [
        vec!["wal-fetch"],
        vec!["wal-fetch", "--nonsense"],
        vec!["wal-fetch", "no-wal-name", "/x"],
        vec!["--cofnig", "wal-fetch"],
        vec!["wal_fetch", "0000000100000000000000FF", "/x"],
    ] {
        let finished = site.stillframe.run(&arguments);
        assert!(finished.code().is_some_and(|code| code > 125), "{arguments:?}: {finished}");
    }
    let unwritable = site.stillframe.run(["wal-fetch", &file, "/proc/nowhere"]);
    assert!(unwritable.code().is_some_and(|code| code > 125), "{unwritable}");
    let unconfigured = Stillframe::new("/nowhere.toml").run(["wal-fetch", &file, target.to_str().unwrap()]);
    assert_eq!(unconfigured.code(), Some(203), "{unconfigured}");
}

#[test]
fn recovery_does_not_end_early_when_the_archive_cannot_be_read() {
    let site = Site::start(tested_major());
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS i");
    let backup = site.backup(&[]);
    site.cluster.sql("INSERT INTO t SELECT generate_series(1, 10)");
    site.switch_wal();
    let finished = site.fetch("restored", &[&backup, "--archiving", "off"]);
    assert!(finished.is_success(), "{finished}");
    let archive = site.place("store/main/wal_005");
    set_mode(&archive, 0o000);
    let mut restored = site.adopt("restored");
    assert!(restored.try_start().is_err(), "it must stop and not promote with half of the data");
    set_mode(&archive, 0o700);
    let restored = site.recover("restored");
    assert_eq!(restored.value("SELECT count(*) FROM t"), "20");
}

#[test]
fn wal_push_does_not_acknowledge_what_it_cannot_store() {
    let site = Site::start(tested_major());
    let path = site.archived_segment();
    let archive = site.place("store/main/wal_005");
    for object in fs::read_dir(&archive).unwrap() {
        fs::remove_file(object.unwrap().path()).unwrap();
    }
    set_mode(&archive, 0o500);
    let refused = site.stillframe.run(["wal-push", path.to_str().unwrap()]);
    assert!(matches!(refused.code(), Some(code) if (2..126).contains(&code)), "{refused}");
    set_mode(&archive, 0o700);
    assert!(site.archived().is_empty(), "nothing partial is left: {:?}", site.archived());
    assert_eq!(site.stillframe.run(["wal-push", path.to_str().unwrap()]).code(), Some(0));
    assert_eq!(site.archived().len(), 1);
}

#[test]
fn a_segment_of_another_cluster_is_refused() {
    let site = Site::start(tested_major());
    let path = site.archived_segment();
    let other = Cluster::builder(tested_major()).fresh_initdb().create();
    let refused =
        site.stillframe.clone().env("STILLFRAME_CLUSTER_PGDATA", other.data_directory()).run(["wal-push", path.to_str().unwrap()]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("belongs to the cluster"), "{refused}");
}

#[test]
fn names_that_are_no_wal_files_are_refused() {
    let site = Site::start(tested_major());
    for path in ["/etc/passwd", "pg_wal/../postgresql.conf", "000000010000000000000001.zst"] {
        let refused = site.stillframe.run(["wal-push", path]);
        assert_eq!(refused.code(), Some(2), "{refused}");
        assert!(refused.stderr.contains("hint:"), "{refused}");
    }
}

#[test]
fn the_plain_zstd_tool_reads_the_archive() {
    let site = Site::start(tested_major());
    let path = site.archived_segment();
    let object = site.place("store/main/wal_005").join(format!("{}.zst", file_name(&path)));
    // The library that the tool is made of, without anything of ours.
    assert_eq!(zstd::stream::decode_all(fs::File::open(object).unwrap()).unwrap(), fs::read(&path).unwrap());
}

#[test]
fn wal_push_and_wal_fetch_do_not_start_the_plugin_engine() {
    let site = Site::start(tested_major());
    let path = site.archived_segment();
    // The engine's first act is to make its cache.
    let cache = site.place("cache-of-the-engine").display().to_string();
    let fresh = site.configured(|config| config.value("runtime", "cache", cache.as_str()));
    fresh.succeed(["wal-push", path.to_str().unwrap()]);
    fresh.succeed(["wal-fetch", file_name(&path), site.place("again").to_str().unwrap()]);
    assert!(!Path::new(&cache).exists());
    fresh.succeed(["provider", "inspect", "hardlink"]);
    assert!(Path::new(&cache).exists(), "the test can fail");
}
