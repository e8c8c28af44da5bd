//! One backup with several providers, on a real server: `pg_wal` and a tablespace are cut by another provider than PGDATA.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::Path;

use stillframe_tests::{Account, ClusterBuilder, ScratchDirectory, Site, StandbyHost, table_checksums, tested_major};

/// Names of the sets in the directory of a provider.
fn sets(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.starts_with("sf-")).collect();
    names.sort();
    names
}

#[test]
fn directories_of_two_providers_are_one_backup_that_is_restored_and_deleted_as_a_whole() {
    let elsewhere = ScratchDirectory::create();
    let (wal, root) = (elsewhere.join("wal"), elsewhere.join("second snapshots"));
    Account::unprivileged().create_directory(&root);
    let mut site = Site::builder(tested_major()).cluster(|cluster| cluster.wal_at(&wal).tablespaces(1)).start();
    let location = site.cluster.scratch().join("ts1");
    site.reconfigure(|config| {
        let config = config.value("provider.second", "plugin", "hardlink");
        let config = config.value("provider.second", "root", root.display().to_string());
        config.value("paths", "wal", "second").value("paths", &location.display().to_string(), "second")
    });
    site.cluster.sql("CREATE TABLE here (i int); CREATE TABLE there (i int) TABLESPACE ts1");
    site.cluster.sql("INSERT INTO here SELECT generate_series(1, 100); INSERT INTO there SELECT generate_series(1, 200)");

    let name = site.backup(&[]);
    let shown = site.show(&name);
    assert_eq!(shown["providers"], serde_json::json!(["second", "hardlink"]), "pg_control is cut last");
    assert_eq!((shown["provider"].as_str(), shown["state"].as_str()), (Some("hardlink"), Some("ready")));
    assert_eq!(shown["consistency"], "covered-by-backup-mode");
    let held = |set: usize| -> Vec<&str> {
        let volumes = shown["sets"][set]["volumes"].as_array().unwrap();
        volumes.iter().flat_map(|volume| volume["paths"].as_array().unwrap()).map(|path| path.as_str().unwrap()).collect()
    };
    assert_eq!(held(1), ["data"]);
    assert!(held(0).len() == 2 && held(0).contains(&"wal"), "{shown}");
    let text = site.stillframe.succeed(["backup-show", &name]).stdout;
    for words in ["consistency        covered by backup mode", "state              ready", "volume 1", "volume 3", "data on"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!((sets(&root), sets(&site.place("snapshots"))), (vec![name.clone()], vec![name.clone()]));

    let mapping = format!("{}={}", location.display(), site.place("moved").display());
    let new_wal = site.place("new wal").display().to_string();
    let arguments = [&name, "--tablespace-mapping", &mapping, "--wal-directory", &new_wal, "--archiving", "off"];
    let restored = site.restore("restored", &arguments);
    assert_eq!(restored.value("SELECT (SELECT count(*) FROM here) || ' ' || (SELECT count(*) FROM there)"), "100 200");
    restored.sql("INSERT INTO there VALUES (0); CHECKPOINT");
    assert_eq!(site.cluster.value("SELECT count(*) FROM there"), "200", "the original is untouched");
    let listed = site.stillframe.succeed(["--json", "backup-list"]).json();
    assert_eq!(listed["restores"], serde_json::json!([]), "copies in their places occupy nothing of the storage system");
    let place = site.place("restored").display().to_string();
    let released = site.stillframe.succeed(["--json", "snapshot-release", &place]).json();
    assert_eq!(released["released"][0]["providers"], serde_json::json!([]), "only the hold on the backup was there: {released}");

    let refused = site.stillframe.run(["backup-lock", &name, "--until", "2100-01-01 00:00:00+00"]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains("cannot lock") && refused.stderr.contains("backup-mark"), "{refused}");
    site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
    assert!(sets(&root).is_empty() && sets(&site.place("snapshots")).is_empty() && site.backups().is_empty());
}

#[test]
fn a_standby_with_directories_of_two_providers_is_cut_with_pg_control_last_and_restored_as_a_whole() {
    let elsewhere = ScratchDirectory::create();
    let root = elsewhere.join("second snapshots");
    Account::unprivileged().create_directory(&root);
    let cluster = |cluster: ClusterBuilder| cluster.wal_at(elsewhere.join("wal")).tablespaces(1);
    let site = Site::builder(tested_major()).cluster(cluster).start();
    site.cluster.sql("CREATE TABLE here (i int); CREATE TABLE there (i int) TABLESPACE ts1");
    let mut standby = StandbyHost::start(&site, &site.cluster);
    let location = standby.cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'ts1'");
    assert_ne!(Path::new(&location), site.cluster.scratch().join("ts1"), "two servers must not share it");
    standby.stillframe = site.configured(|config| {
        let config = config.cluster("main", &standby.cluster).value("cluster", "primary_conninfo", site.cluster.conninfo());
        let config = config.value("provider.second", "plugin", "hardlink");
        let config = config.value("provider.second", "root", root.display().to_string());
        config.value("paths", "wal", "second").value("paths", &location, "second")
    });
    site.cluster.sql("INSERT INTO here SELECT generate_series(1, 100); INSERT INTO there SELECT generate_series(1, 200)");
    standby.catch_up(&site.cluster);
    let backups = ["server", "primary"].map(|session| (session, standby.backup(session)));
    site.cluster.sql("INSERT INTO there VALUES (0)");
    site.switch_wal();
    for (session, name) in &backups {
        let shown = site.show(name);
        assert_eq!(shown["providers"], serde_json::json!(["second", "hardlink"]), "{session}: pg_control is cut last");
        assert_eq!(shown["from_standby"], true);
        let mapping = format!("{location}={}", site.place(&format!("{session} moved")).display());
        let new_wal = site.place(&format!("{session} wal")).display().to_string();
        let arguments = [name.as_str(), "--tablespace-mapping", &mapping, "--wal-directory", &new_wal, "--archiving", "off"];
        let finished =
            standby.stillframe.run([&["snapshot-fetch", &site.place(session).display().to_string()], &arguments[..]].concat());
        assert!(finished.is_success(), "{session}: {finished}");
        let restored = site.recover(session);
        assert_eq!(
            restored.value("SELECT (SELECT count(*) FROM here) || ' ' || (SELECT count(*) FROM there)"),
            "100 201",
            "{session}"
        );
        assert_eq!(table_checksums(&restored), table_checksums(&site.cluster), "{session}");
        restored.sql("INSERT INTO there VALUES (0); CHECKPOINT");
    }
    standby.catch_up(&site.cluster);
    assert_eq!(standby.cluster.value("SELECT count(*) FROM there"), "201", "the standby is untouched");
}

#[test]
fn progress_in_json_makes_every_line_of_standard_error_an_object() {
    let site = Site::start(tested_major());
    let finished = site.stillframe.succeed(["--json", "snapshot-push", "--progress", "json"]);
    assert_eq!(finished.json()["state"], "ready", "the result is on standard output");
    let events: Vec<serde_json::Value> =
        finished.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(events.iter().all(|event| event["format_version"] == 1), "{events:?}");
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert!(of("progress") > 0 && of("log") > 0, "{events:?}");
    let failed = site.stillframe.run(["snapshot-push", "--provider", "none", "--progress", "json"]);
    let last: serde_json::Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((last["event"].as_str(), failed.code()), (Some("error"), Some(3)), "{failed}");
}
