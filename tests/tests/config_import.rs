//! From WAL-G to Stillframe: its settings become a configuration that works, or count as they are, and no secret is shown on the way.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;
use stillframe_tests::{
    Account, BUCKET, Cluster, Finished, ObjectStoreServer, ScratchDirectory, Stillframe, file_name, files, tested_major,
};

/// No part of it is a word that could appear otherwise.
const SECRET: &str = "kLr7-9dQwXz";

fn cluster() -> Cluster {
    let builder = Cluster::builder(tested_major()).small_segments().setting("autovacuum", "off");
    let cluster = builder.archive_command("").start();
    cluster.sql("CREATE TABLE t (i int)");
    cluster
}

/// A segment that is complete and that nobody has archived; the file.
fn segment(cluster: &Cluster) -> PathBuf {
    cluster.sql("INSERT INTO t SELECT generate_series(1, 10)");
    cluster.data_directory().join("pg_wal").join(cluster.switch_wal())
}

/// Archives a segment and restores it, with nothing but this configuration.
#[track_caller]
fn archives(stillframe: &Stillframe, cluster: &Cluster, directory: &ScratchDirectory) -> PathBuf {
    let segment = segment(cluster);
    stillframe.succeed(["wal-push", segment.to_str().unwrap()]);
    let target = directory.join("target");
    stillframe.succeed(["wal-fetch", file_name(&segment), target.to_str().unwrap()]);
    assert!(fs::read(&target).unwrap() == fs::read(&segment).unwrap());
    fs::remove_file(&target).unwrap();
    segment
}

#[track_caller]
fn assert_shows_no_secret(finished: &Finished) {
    assert!(!finished.says(SECRET), "{finished}");
}

#[test]
fn what_is_imported_from_a_file_of_walg_archives_to_the_place_of_walg() {
    let (cluster, directory) = (cluster(), ScratchDirectory::create());
    let prefix = directory.join("walg/pg15");
    Account::unprivileged().create_directory(&prefix);
    let settings = [
        ("WALG_FILE_PREFIX", prefix.display().to_string()),
        ("WALG_COMPRESSION_METHOD", "lz4".to_owned()),
        ("WALG_UPLOAD_CONCURRENCY", "2".to_owned()),
        ("WALG_DELTA_MAX_STEPS", "7".to_owned()),
        ("PGHOST", cluster.socket_directory().display().to_string()),
        ("PGPORT", cluster.port().to_string()),
        ("PGUSER", "postgres".to_owned()),
        ("PGPASSWORD", SECRET.to_owned()),
        ("PGDATA", cluster.data_directory().display().to_string()),
    ];
    let object: serde_json::Map<String, serde_json::Value> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let lines: Vec<String> = settings.iter().map(|(key, value)| format!("export {key}='{value}'\n")).collect();
    for (form, text) in [("walg.json", serde_json::Value::Object(object).to_string()), ("walg.env", lines.concat())] {
        let (from, output) = (directory.join(form), directory.join(format!("{form}.toml")));
        Account::unprivileged().write(&from, text);
        let import = ["config", "import", "--from", from.to_str().unwrap(), "--output", output.to_str().unwrap()];
        let imported = Stillframe::without_config().succeed(import);
        assert_shows_no_secret(&imported);
        assert!(!fs::read_to_string(&output).unwrap().contains(SECRET));
        let stillframe = Stillframe::new(&output);
        let shown = stillframe.succeed(["--json", "config", "show"]).json();
        let value = |key: &str| shown["values"][key]["value"].as_str().map(str::to_owned);
        assert_eq!(value("cluster.name").as_deref(), Some("pg15"), "{form}");
        assert_eq!(value("store.url"), Some(format!("file://{}", directory.join("walg").display())));
        assert_eq!((value("archive.compression").as_deref(), value("archive.workers").as_deref()), (Some("lz4"), Some("2")));
        if form == "walg.json" {
            stillframe.succeed(["store", "create"]);
        }
        let segment = archives(&stillframe, &cluster, &directory);
        let archived = prefix.join("wal_005").join(format!("{}.lz4", file_name(&segment)));
        assert!(archived.is_file(), "{:?}", files(&prefix));
        let verified = stillframe.run(["wal-verify", "--allow-lag", "100"]);
        assert!(verified.code() == Some(4) && verified.stdout.contains("there is no backup"), "it connects, and looks: {verified}");
        // Nothing is overwritten by a second import.
        let again = Stillframe::without_config().run(import);
        assert_eq!(again.code(), Some(4), "{again}");
    }
}

#[test]
fn variables_of_walg_alone_archive_to_where_walg_looks() {
    let (cluster, directory) = (cluster(), ScratchDirectory::create());
    let (prefix, empty) = (directory.join("walg/pg15"), directory.join("empty.toml"));
    Account::unprivileged().create_directory(&prefix);
    Account::unprivileged().write(&empty, "");
    let stillframe = Stillframe::new(&empty)
        .env("WALG_FILE_PREFIX", &prefix)
        .env("PGDATA", cluster.data_directory())
        .env("PGHOST", cluster.socket_directory())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "postgres");
    stillframe.succeed(["store", "create"]);
    let segment = archives(&stillframe, &cluster, &directory);
    let archived = prefix.join("wal_005").join(format!("{}.zst", file_name(&segment)));
    assert!(archived.is_file(), "{:?}", files(&prefix));
    let verified = stillframe.run(["wal-verify", "--allow-lag", "100"]);
    assert!(verified.code() == Some(4) && verified.stdout.contains("there is no backup"), "it connects, and looks: {verified}");
    // What WAL-G has archived there is found.
    let by_walg = "000000010000000000000063";
    let raw = zstd::stream::encode_all(&fs::read(&segment).unwrap()[..], 3).unwrap();
    Account::unprivileged()
        .write(&prefix.join("wal_005/00000009.history.zst"), zstd::stream::encode_all(&b"1\t0/3000000\tx\n"[..], 3).unwrap());
    Account::unprivileged().write(&prefix.join("wal_005").join(format!("{by_walg}.zst")), raw);
    let target = directory.join("target");
    stillframe.succeed(["wal-fetch", "00000009.history", target.to_str().unwrap()]);
    assert_eq!(fs::read(&target).unwrap(), b"1\t0/3000000\tx\n");
    let foreign = stillframe.run(["wal-fetch", by_walg, directory.join("foreign").to_str().unwrap()]);
    assert!(foreign.code().is_some_and(|code| code > 125), "a segment under the name of another is not restored: {foreign}");

    // A store of our own wins, and says so.
    Account::unprivileged()
        .write(&empty, format!("[cluster]\nname = \"main\"\n[store]\nurl = \"file://{}/own\"\n", directory.path().display()));
    let shown = stillframe.succeed(["config", "show"]).stdout;
    assert!(shown.contains("/own") && shown.contains("without effect") && shown.contains("WALG_FILE_PREFIX"), "{shown}");
    let elsewhere = stillframe.run(["wal-push", segment.to_str().unwrap()]);
    assert!(!elsewhere.is_success(), "a store that was not created: {elsewhere}");
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name_and_no_secret_is_shown() {
    let directory = ScratchDirectory::create();
    let prefix = directory.join("walg/pg15").display().to_string();
    let refused = [
        "WALG_LIBSODIUM_KEY",
        "WALG_PGP_KEY",
        "WALG_CSE_KMS_ID",
        "WALG_SNAPSHOT_COMMAND",
        "WALG_TARGET_STORAGE",
        "WALG_FAILOVER_STORAGES",
    ];
    for setting in refused {
        let from = directory.join("walg.json");
        let text = json!({ "WALG_FILE_PREFIX": prefix, setting: SECRET, "PGPASSWORD": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET });
        Account::unprivileged().write(&from, text.to_string());
        let output = directory.join(format!("{setting}.toml"));
        for json in [&[][..], &["--json"]] {
            let import = ["-vv", "config", "import", "--from", from.to_str().unwrap(), "--output", output.to_str().unwrap()];
            let finished = Stillframe::without_config().run([json, &import].concat());
            assert_eq!(finished.code(), Some(4), "{finished}");
            assert!(finished.stderr.contains(setting) && finished.stderr.contains("hint:"), "{finished}");
            assert_shows_no_secret(&finished);
            assert!(!output.exists());
        }
        let partial = ["config", "import", "--from", from.to_str().unwrap(), "--output", output.to_str().unwrap(), "--partial"];
        assert_shows_no_secret(&Stillframe::without_config().succeed(partial));
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.contains(setting) && !text.contains(SECRET), "what was left out is told: {text}");

        // The same in the environment: an archive that its owner takes for encrypted must not be plain.
        let empty = directory.join("empty.toml");
        Account::unprivileged().write(&empty, "");
        let stillframe = Stillframe::new(&empty).env("WALG_FILE_PREFIX", &prefix).env(setting, SECRET);
        for command in [&["store", "create"][..], &["wal-push", "/x/000000010000000000000001"], &["config", "show"]] {
            let finished = stillframe.run(command);
            assert_eq!(finished.code(), Some(3), "{command:?}: {finished}");
            assert!(finished.stderr.contains(setting), "{finished}");
            assert_shows_no_secret(&finished);
        }
        let fetched = stillframe.run(["wal-fetch", "000000010000000000000001", directory.join("target").to_str().unwrap()]);
        assert_eq!(fetched.code(), Some(203), "{fetched}");
    }
}

#[test]
fn keys_for_s3_go_into_a_file_of_their_own_that_works() {
    let server = ObjectStoreServer::moto_that_checks_signatures();
    let (cluster, directory) = (cluster(), ScratchDirectory::create());
    let from = directory.join("walg.json");
    let text = json!({
        "WALG_S3_PREFIX": format!("s3://{BUCKET}/walg/pg15"),
        "AWS_ENDPOINT": server.endpoint(),
        "AWS_S3_FORCE_PATH_STYLE": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": server.access_key(),
        "AWS_SECRET_ACCESS_KEY": server.secret_key(),
        "PGHOST": cluster.socket_directory(),
        "PGPORT": cluster.port().to_string(),
        "PGDATA": cluster.data_directory(),
    });
    Account::unprivileged().write(&from, text.to_string());
    let (output, credentials) = (directory.join("stillframe.toml"), directory.join("credentials"));
    let import = ["-vv", "config", "import", "--from", from.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let with_credentials = [&import[..], &["--credentials", credentials.to_str().unwrap()]].concat();
    let imported = Stillframe::without_config().succeed(with_credentials);
    assert_eq!(fs::metadata(&credentials).unwrap().permissions().mode() & 0o777, 0o600);
    let stillframe = Stillframe::new(&output).env("AWS_EC2_METADATA_DISABLED", "true");
    stillframe.succeed(["store", "create"]);
    archives(&stillframe, &cluster, &directory);
    let shown = stillframe.succeed(["-vv", "config", "show"]);
    let text = fs::read_to_string(&output).unwrap();
    for said in [&imported.stdout, &imported.stderr, &shown.stdout, &shown.stderr, &text] {
        assert!(!said.contains(server.secret_key()), "{said}");
    }
}
