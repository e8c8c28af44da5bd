//! An archive that its own host cannot read: what works without a private key, and what restores with one.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stillframe_tests::{AgeKey, ConfigFile, Finished, Site, Stillframe, file_name};

/// A server that encrypts for these, with a table.
fn site(recipients: &[&AgeKey]) -> Site {
    let site = Site::with_small_segments().value("archive", "recipients", listed(recipients)).start();
    site.cluster.sql("CREATE TABLE t (i int)");
    site
}

fn listed(recipients: &[&AgeKey]) -> Vec<String> {
    recipients.iter().map(|key| key.recipient.clone()).collect()
}

/// Archives a segment with ten rows.
fn archived_segment(site: &Site) -> PathBuf {
    site.cluster.sql("INSERT INTO t SELECT generate_series(1, 10)");
    site.archived_segment()
}

fn object(site: &Site, segment: &Path) -> PathBuf {
    site.place("store/main/wal_005").join(format!("{}.zst.age", file_name(segment)))
}

/// The binary as on a host that restores.
fn with_identity_file(site: &Site, keys: &[&AgeKey]) -> Stillframe {
    let path = tempfile::Builder::new().prefix("identity-").tempfile_in(site.directory.path()).unwrap().into_temp_path();
    let path = path.keep().unwrap();
    AgeKey::write_identities(&path, keys);
    site.configured(|config: ConfigFile| config.value("archive", "identity_file", path.display().to_string()))
}

/// Restores as another host would; gives the number of rows.
#[track_caller]
fn rows_after_a_restore(site: &Site, stillframe: &Stillframe, place: &str, backup: &str) -> String {
    let path = site.place(place).display().to_string();
    let finished = stillframe.run(["-vv", "snapshot-fetch", &path, backup, "--archiving", "off"]);
    assert!(finished.is_success(), "{finished}");
    site.recover(place).value("SELECT count(*) FROM t")
}

fn fetch(site: &Site, stillframe: &Stillframe, segment: &Path) -> Finished {
    stillframe.run(["-vv", "wal-fetch", file_name(segment), site.place("target").to_str().unwrap()])
}

#[test]
fn a_host_without_a_private_key_archives_and_backs_up_and_says_why_it_cannot_restore() {
    let (one, other) = (AgeKey::generate(), AgeKey::generate());
    let site = site(&[&one, &other]);
    let segment = archived_segment(&site);
    assert!(object(&site, &segment).is_file(), "{:?}", site.archived());
    let before = site.everything();
    let again = site.stillframe.run(["wal-push", segment.to_str().unwrap()]);
    assert_eq!(again.code(), Some(0), "a retry of the same content: {again}");
    let refused = site.stillframe.run(["wal-push", site.forged(&segment).to_str().unwrap()]);
    assert_eq!(refused.code(), Some(4), "other content: {refused}");
    assert_eq!(site.everything(), before, "wal_never_overwritten");

    let backup = site.backup(&[]);
    assert_eq!(site.backups(), [backup.as_str()]);
    let finished = fetch(&site, &site.stillframe, &segment);
    assert_eq!(finished.code(), Some(203), "{finished}");
    assert!(finished.stderr.contains("identity_file") && finished.stderr.contains("hint:"), "{finished}");
    assert!(!site.place("target").exists());
    let destination = site.place("restored");
    let refused = site.stillframe.run(["snapshot-fetch", destination.to_str().unwrap(), "LATEST"]);
    assert_eq!(refused.code(), Some(3), "{refused}");
    assert!(refused.stderr.contains("identity_file") && !destination.exists(), "before anything is restored: {refused}");
    let absent = site.stillframe.run(["wal-fetch", "0000000100000000000000FF", site.place("target").to_str().unwrap()]);
    assert_eq!(absent.code(), Some(1), "what is absent needs no key: {absent}");
    site.stillframe.succeed(["wal-verify"]);
    let deep = site.stillframe.run(["wal-verify", "--deep"]);
    assert_eq!(deep.code(), Some(3), "what cannot be read is not passed off as fine: {deep}");
}

#[test]
fn each_recipient_restores_alone_and_nobody_else_does() {
    let (one, other, stranger) = (AgeKey::generate(), AgeKey::generate(), AgeKey::generate());
    let site = site(&[&one, &other]);
    let backup = site.backup(&[]);
    let segment = archived_segment(&site);

    let by_file = with_identity_file(&site, &[&one]);
    assert_eq!(rows_after_a_restore(&site, &by_file, "by-file", &backup), "10");
    let identity = site.place("identity-of-the-other");
    AgeKey::write_identities(&identity, &[&other]);
    let command = vec!["/bin/cat".to_owned(), identity.display().to_string()];
    let by_command = site.configured(|config| config.value("archive", "identity_command", command));
    assert_eq!(rows_after_a_restore(&site, &by_command, "by-command", &backup), "10");
    for stillframe in [&by_file, &by_command] {
        stillframe.succeed(["wal-verify", "--deep"]);
    }

    let failing = vec!["/bin/false".to_owned()];
    let missing = site.place("no-such-identity").display().to_string();
    for stillframe in [
        &site.configured(|config| config.value("archive", "identity_command", failing)),
        &with_identity_file(&site, &[&stranger]),
        &site.configured(|config| config.value("archive", "identity_file", missing)),
    ] {
        let finished = fetch(&site, stillframe, &segment);
        assert!(finished.code().is_some_and(|code| code > 125), "{finished}");
        assert!(finished.stderr.contains("error:") && !site.place("target").exists(), "{finished}");
    }
}

/// What a program makes of its standard input.
fn filter(program: &str, arguments: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("install the package {program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    writer.join().unwrap().unwrap();
    output.stdout
}

#[test]
fn the_plain_tools_open_an_object() {
    let (one, other) = (AgeKey::generate(), AgeKey::generate());
    let site = site(&[&one, &other]);
    let segment = archived_segment(&site);
    let stored = fs::read(object(&site, &segment)).unwrap();
    for key in [&one, &other] {
        let identity = site.place("identity");
        AgeKey::write_identities(&identity, &[key]);
        let compressed = filter("age", &["--decrypt", "--identity", identity.to_str().unwrap()], stored.clone());
        assert!(filter("zstd", &["-dc"], compressed) == fs::read(&segment).unwrap());
    }
}

#[test]
fn after_a_rotation_both_private_keys_in_one_file_restore_what_is_old_and_what_is_new() {
    let (old, new) = (AgeKey::generate(), AgeKey::generate());
    let mut site = site(&[&old]);
    let backup = site.backup(&[]);
    let before = archived_segment(&site);
    site.reconfigure(|config| config.value("archive", "recipients", listed(&[&new])));
    let again = site.stillframe.run(["wal-push", before.to_str().unwrap()]);
    assert_eq!(again.code(), Some(0), "a retry across the rotation: {again}");
    let after = archived_segment(&site);
    let second = site.backup(&[]);

    for (key, readable, unreadable) in [(&old, &before, &after), (&new, &after, &before)] {
        let alone = with_identity_file(&site, &[key]);
        assert_eq!(fetch(&site, &alone, readable).code(), Some(0));
        fs::remove_file(site.place("target")).unwrap();
        let refused = fetch(&site, &alone, unreadable);
        assert_eq!(refused.code(), Some(203), "{refused}");
    }
    let both = with_identity_file(&site, &[&new, &old]);
    assert_eq!(rows_after_a_restore(&site, &both, "from-the-old", &backup), "20");
    assert_eq!(rows_after_a_restore(&site, &both, "from-the-new", &second), "20");
    both.succeed(["wal-verify", "--deep"]);
}
