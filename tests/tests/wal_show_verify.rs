//! What an archive of two timelines shows, what its verification finds and what it lets pass, and base backups of WAL-G in it.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stillframe_tests::{Account, Cluster, Site, StopMode, file_name, files, tested_major};

/// A server that has archived a few segments, a backup, and a few more.
struct Installation {
    site: Site,
    /// Completed before the backup began.
    before: Vec<String>,
    backup: String,
    /// Completed after it.
    after: Vec<String>,
}

fn segments(site: &Site, count: usize) -> Vec<String> {
    (0..count).map(|_| segment(site, &site.cluster)).collect()
}

/// Completes a segment of this server, and waits until it is archived.
fn segment(site: &Site, server: &Cluster) -> String {
    server.sql("INSERT INTO t SELECT generate_series(1, 100)");
    let file = server.switch_wal();
    server.wait_until_archived(&file);
    assert!(site.archived().contains(&file), "{:?}", site.archived());
    file
}

fn installation() -> Installation {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int)");
    let before = segments(&site, 3);
    let backup = site.backup(&[]);
    let after = segments(&site, 3);
    Installation { site, before, backup, after }
}

/// The original ends, and a restored copy takes its place on a new timeline; gives the copy and what it has archived.
fn promoted(installation: &mut Installation) -> (Cluster, Vec<String>) {
    installation.site.cluster.stop(StopMode::Fast);
    let site = &installation.site;
    let copy = site.restore("copy", &[&installation.backup]);
    let archived = (0..2).map(|_| segment(site, &copy)).collect();
    (copy, archived)
}

fn object(site: &Site, file: &str) -> PathBuf {
    site.place("store/main/wal_005").join(format!("{file}.zst"))
}

#[test]
fn wal_show_tells_two_timelines_apart_in_a_table_and_in_json() {
    let mut installation = installation();
    let (copy, second) = promoted(&mut installation);
    let segment_bytes = copy.wal_segment_bytes();
    let site = &installation.site;
    fs::remove_file(object(site, &installation.after[1])).unwrap();

    let shown = site.stillframe.succeed(["--json", "wal-show"]).json();
    assert_eq!(
        (shown["segment_size_bytes"].as_u64(), shown["segment_size_source"].as_str()),
        (Some(segment_bytes), Some("backup"))
    );
    let timelines = shown["timelines"].as_array().unwrap();
    let numbers: Vec<u64> = timelines.iter().map(|timeline| timeline["timeline"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2]);
    let (one, two) = (&timelines[0], &timelines[1]);
    assert_eq!((one["parent"].as_u64(), two["parent"].as_u64()), (None, Some(1)));
    assert_eq!((one["history"].as_str(), two["history"].as_str()), (Some("none"), Some("present")));
    assert!(two["switch_lsn"].as_str().is_some_and(|position| position.starts_with("0/")), "{two}");
    assert_eq!(one["backups"][0]["backup_name"].as_str(), Some(installation.backup.as_str()));
    assert_eq!(one["gaps"][0]["first"].as_str(), Some(installation.after[1].as_str()), "{one}");
    assert_eq!(one["gaps"].as_array().map(Vec::len), Some(1));
    let last = two["ranges"].as_array().unwrap().last().unwrap();
    assert_eq!(last["last"].as_str(), second.last().map(String::as_str));
    let is_segment = |name: &&String| name.len() == 24;
    let names = site.archived();
    let count = |timeline: &str| names.iter().filter(is_segment).filter(|name| name.starts_with(timeline)).count() as u64;
    assert_eq!((one["segments"].as_u64(), two["segments"].as_u64()), (Some(count("00000001")), Some(count("00000002"))));

    let table = site.stillframe.succeed(["wal-show"]).stdout;
    for text in ["TIMELINE", "PARENT", second.last().unwrap(), &format!("gap on timeline 1: {}", installation.after[1])] {
        assert!(table.contains(text), "{text}:\n{table}");
    }
}

#[test]
fn wal_verify_alarms_for_what_is_needed_and_for_nothing_else() {
    let mut installation = installation();
    let (_copy, second) = promoted(&mut installation);
    let site = &installation.site;
    let verify = |arguments: &[&str]| site.stillframe.run([&["--json", "wal-verify"], arguments].concat());
    let whole = verify(&["--deep"]);
    assert_eq!(whole.code(), Some(0), "{whole}");
    assert_eq!(whole.json()["is_whole"].as_bool(), Some(true));

    // A gap before the oldest backup.
    fs::remove_file(object(site, &installation.before[1])).unwrap();
    let harmless = verify(&[]);
    assert_eq!(harmless.code(), Some(0), "{harmless}");
    assert_eq!(harmless.json()["harmless_gaps"][0]["first"].as_str(), Some(installation.before[1].as_str()), "{harmless}");

    // Missing: of the backup itself, behind it, on the newer timeline, and the way to that.
    let own = site.show(&installation.backup)["first_wal_file"].as_str().unwrap().to_owned();
    for file in [&own, &installation.after[0], &second[0]] {
        let (path, aside) = (object(site, file), site.place("aside"));
        fs::rename(&path, &aside).unwrap();
        for arguments in [&[][..], &["--deep"]] {
            let finished = verify(arguments);
            assert_eq!(finished.code(), Some(4), "{file}: {finished}");
            assert_eq!(finished.json()["missing"][0]["first"].as_str(), Some(file.as_str()), "{finished}");
        }
        assert!(site.stillframe.run(["wal-verify"]).stdout.contains(file.as_str()), "people read its name");
        fs::rename(&aside, &path).unwrap();
    }
    let (history, aside) = (object(site, "00000002.history"), site.place("aside"));
    fs::rename(&history, &aside).unwrap();
    let finished = verify(&[]);
    assert_eq!(finished.code(), Some(4), "{finished}");
    assert_eq!(finished.json()["histories"][0]["timeline"].as_u64(), Some(2), "{finished}");
    fs::rename(&aside, &history).unwrap();

    // Damaged: the name is there, and only reading tells.
    let path = object(site, &installation.after[2]);
    let body = fs::read(&path).unwrap();
    let mut flipped = body.clone();
    flipped[body.len() / 2] ^= 0xFF;
    let another = fs::read(object(site, &installation.after[1])).unwrap();
    for damaged in [&flipped, &body[..body.len() / 2], &another[..]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(verify(&[]).code(), Some(0), "the names pass");
        let finished = verify(&["--deep"]);
        assert_eq!(finished.code(), Some(6), "{finished}");
        let problem = &finished.json()["problems"][0];
        assert_eq!(
            (problem["file"].as_str(), problem["problem"].as_str()),
            (Some(installation.after[2].as_str()), Some("damaged"))
        );
    }
    fs::write(&path, &body).unwrap();
    assert_eq!(verify(&["--deep"]).code(), Some(0));
    // A store that cannot be read is no archive without gaps, nor one with.
    fs::rename(site.place("store"), site.place("away")).unwrap();
    let finished = verify(&[]);
    assert!(matches!(finished.code(), Some(3 | 5)), "{finished}");
    fs::rename(site.place("away"), site.place("store")).unwrap();
}

#[test]
fn allow_lag_compares_the_archive_with_the_server() {
    let mut installation = installation();
    let verify = |site: &Site, lag: &str| site.stillframe.run(["--json", "wal-verify", "--allow-lag", lag]);
    let level = verify(&installation.site, "0");
    assert_eq!((level.code(), level.json()["lag_segments"].as_u64()), (Some(0), Some(0)), "{level}");

    installation.site.cluster.append_setting("archive_command", "/bin/false");
    installation.site.cluster.restart();
    let site = &installation.site;
    let ahead: Vec<String> = (0..3)
        .map(|_| {
            site.cluster.sql("INSERT INTO t SELECT generate_series(1, 100)");
            site.cluster.switch_wal()
        })
        .collect();
    let lag = verify(site, "100").json()["lag_segments"].as_u64().unwrap();
    assert!((3..=4).contains(&lag), "three, and one if the restart completed one: {lag}");
    assert_eq!(verify(site, &lag.to_string()).code(), Some(0));
    let behind = verify(site, &(lag - 1).to_string());
    assert_eq!(behind.code(), Some(4), "{behind}");
    assert!(behind.json()["missing"][0]["last"].as_str() <= Some(ahead[0].as_str()), "{behind}");
    assert_eq!(verify(site, "0").code(), Some(4));
    site.stillframe.succeed(["wal-verify"]);

    let other = Site::builder(tested_major()).cluster(|cluster| cluster.small_segments().fresh_initdb()).start();
    let conninfo = other.cluster.conninfo();
    let mistaken =
        site.configured(|config| config.value("cluster", "conninfo", conninfo)).run(["wal-verify", "--allow-lag", "100"]);
    assert_eq!(mistaken.code(), Some(4), "the server of another cluster: {mistaken}");
    installation.site.cluster.kill9();
    let unreachable = verify(&installation.site, "0");
    assert!(!unreachable.is_success() && unreachable.code() != Some(4), "{unreachable}");
}

/// A record of WAL-G in its own folder of the archive.
fn write_walg_record(site: &Site, file: &str, record: &[u8]) {
    let path = site.place("store/main/basebackups_005").join(file);
    Account::unprivileged().create_directory(path.parent().unwrap());
    Account::unprivileged().write(&path, record);
}

/// Records as WAL-G writes them.
fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/walg-backups")
}

#[test]
fn base_backups_of_walg_are_listed_as_such_and_keep_their_wal() {
    let installation = installation();
    let site = &installation.site;
    // As WAL-G would have written it after the third segment; decimal positions.
    let segment_bytes = site.cluster.wal_segment_bytes();
    let position = |file: &str| u64::from_str_radix(&file[16..], 16).unwrap() * segment_bytes;
    let start = &installation.after[0];
    let name = format!("base_{start}");
    let identifier = site.cluster.value("SELECT system_identifier FROM pg_control_system()");
    let mut record: Value =
        serde_json::from_slice(&fs::read(vectors().join("base_0000000100000002000000AB_backup_stop_sentinel.json")).unwrap())
            .unwrap();
    record["LSN"] = (position(start) + 0x28).into();
    record["FinishLSN"] = (position(start) + 0x1000).into();
    record["SystemIdentifier"] = identifier.parse::<u64>().unwrap().into();
    write_walg_record(site, &format!("{name}_backup_stop_sentinel.json"), record.to_string().as_bytes());

    let listing = site.stillframe.succeed(["--json", "backup-list"]).json();
    let names = |list: &str| {
        let entries = listing[list].as_array().unwrap().iter();
        entries.map(|entry| entry["backup_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names("backups"), names("walg_backups")), (vec![installation.backup.clone()], vec![name.clone()]));
    assert_eq!(listing["walg_backups"][0]["kind"].as_str(), Some("walg"));
    let table = site.stillframe.succeed(["backup-list"]).stdout;
    assert!(table.lines().any(|line| line.contains(&name) && line.contains("WAL-G")), "{table}");
    let shown = site.stillframe.succeed(["--json", "backup-show", &name]).json();
    assert_eq!((shown["first_wal_file"].as_str(), shown["user_data"]["ticket"].as_str()), (Some(start.as_str()), Some("OPS-17")));
    assert!(site.stillframe.succeed(["backup-show", &name]).stdout.contains("WAL-G"));
    site.stillframe.succeed(["wal-verify", "--deep", "--backup", &name]);

    // It is nobody else's to delete or to restore.
    let restored = site.fetch("restored", &[&name]);
    assert!(!restored.is_success() && !site.place("restored").join("PG_VERSION").exists(), "{restored}");
    let changes = [vec!["delete", "target", &name, "--confirm"], vec!["backup-mark", &name]];
    for (change, walg) in changes.into_iter().zip(["delete target", "backup-mark"]) {
        let refused = site.stillframe.run(change);
        assert!(refused.code() == Some(4) && refused.stderr.contains(&format!("wal-g {walg} {name}")), "{refused}");
    }

    let archived = site.archived();
    for rule in [&["everything"][..], &["garbage"]] {
        site.stillframe.succeed([&["delete"], rule, &["--confirm"]].concat());
        let left = site.archived();
        let expected = archived.iter().filter(|file| *file >= start).cloned().collect();
        assert_eq!(left, expected, "after {rule:?}");
    }
    assert!(site.backups().is_empty());
    site.stillframe.succeed(["wal-verify", "--deep"]);

    // The other kinds of records, of another time: all are listed.
    for path in files(&vectors()) {
        if path.extension().is_some_and(|extension| extension == "json") {
            let file = file_name(&path).replace(".metadata.json", "/metadata.json");
            write_walg_record(site, &file, &fs::read(&path).unwrap());
        }
    }
    let listing = site.stillframe.succeed(["--json", "backup-list"]).json();
    assert_eq!(listing["walg_backups"].as_array().map(Vec::len), Some(5), "{listing}");
    // A record that cannot be read needs it is not known what: all WAL stays until somebody has looked.
    let left = site.archived();
    let file = format!("{name}_backup_stop_sentinel.json");
    write_walg_record(site, &file, b"{\"LSN\": ");
    assert!(!site.stillframe.run(["backup-list"]).is_success(), "a list that is not whole is not passed off as one");
    assert!(!site.stillframe.run(["wal-verify"]).is_success());
    let _any_code = site.stillframe.run(["delete", "everything", "--confirm"]);
    assert_eq!(site.archived(), left);
    fs::remove_file(site.place("store/main/basebackups_005").join(&file)).unwrap();
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    assert_eq!(site.archived(), [].into(), "the test can fail");
}
