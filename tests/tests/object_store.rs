//! A server whose archive and catalog lie in an object store, and what happens when that is wrong, lies or goes away.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use stillframe_tests::{
    BUCKET, Cluster, ConfigFile, Dialect, FETCH_ERRORS, FaultProxy, Loss, ObjectStoreServer, OwnServer, PUSH_ERRORS, Precondition,
    ScratchDirectory, Site, SiteBuilder, Stillframe, file_name, is_alive,
};

/// Longest wait for the end of a server.
const PATIENCE: Duration = Duration::from_mins(1);

fn with_credentials_file(server: &ObjectStoreServer) -> SiteBuilder {
    Site::with_small_segments().s3(server).value("store", "credentials_file", server.credentials_file().display().to_string())
}

/// Fails soon, so that a test of failures does.
fn impatient(config: ConfigFile) -> ConfigFile {
    config.value("store", "max_attempts", 1).value("store", "timeout_secs", 1).value("archive", "fetch_ahead", 0)
}

/// A backup, a restore to a moment between two changes, and a deletion.
fn goes_through_its_life(site: &Site) {
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS i");
    let name = site.backup(&[]);
    for statement in ["INSERT INTO t SELECT generate_series(1, 10)", "SELECT pg_create_restore_point('here')", "DELETE FROM t"] {
        site.cluster.sql(statement);
    }
    site.switch_wal();
    let arguments = [&name, "--target-name", "here", "--target-action", "promote", "--archiving", "off"];
    let restored = site.restore("restored", &arguments);
    assert_eq!(restored.value("SELECT count(*) FROM t"), "20");
    site.stillframe.succeed(["wal-verify", "--deep"]);
    site.release("restored");

    let second = site.backup(&[]);
    site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
    assert_eq!(site.backups(), [second]);
    assert_eq!(site.snapshots().len(), 1);
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    assert!(site.backups().is_empty() && site.snapshots().is_empty());
    assert!(!site.place("store").exists(), "nothing lies in a directory");
}

#[test]
fn a_server_lives_on_s3_with_credentials_from_the_environment() {
    let server = ObjectStoreServer::moto_that_checks_signatures();
    let variables = server.environment();
    let builder = Site::with_small_segments().s3(&server);
    let builder = variables.iter().fold(builder, |builder, (name, value)| builder.variable(name, value));
    goes_through_its_life(&builder.start());
}

#[test]
fn a_server_lives_on_s3_with_credentials_from_a_file() {
    let server = ObjectStoreServer::moto_that_checks_signatures();
    goes_through_its_life(&with_credentials_file(&server).start());
}

/// Neither is an absence proven nor a segment acknowledged, and nothing is left at the destination.
#[track_caller]
fn assert_says_why(what: &str, stillframe: &Stillframe, segment: &Path, target: &Path) {
    for file in [file_name(segment), "0000000100000000000000FF", "00000002.history"] {
        let finished = stillframe.run(["wal-fetch", file, target.to_str().unwrap()]);
        assert!(finished.code().is_some_and(|code| FETCH_ERRORS.contains(&code)), "{what}: {file}: {finished}");
        assert!(finished.stderr.contains("error:"), "{what}: {finished}");
        assert!(!target.exists(), "{what}: no partial file");
    }
    let finished = stillframe.run(["wal-push", segment.to_str().unwrap()]);
    assert!(finished.code().is_some_and(|code| PUSH_ERRORS.contains(&code)), "{what}: {finished}");
}

#[test]
fn nothing_is_taken_for_absent_or_archived_while_the_store_is_in_doubt() {
    let server = ObjectStoreServer::moto_that_checks_signatures();
    let site = with_credentials_file(&server).start();
    let segment = site.archived_segment();
    let target = site.place("target");
    let (file, place) = (file_name(&segment), target.to_str().unwrap());
    for absent in ["0000000100000000000000FF", "00000009.history"] {
        assert_eq!(site.stillframe.run(["wal-fetch", absent, place]).code(), Some(1), "a proven absence");
    }

    let wrong_secret = server.credentials_file_with("some-other-secret").display().to_string();
    let nowhere = site.place("no-credentials").display().to_string();
    let proxy = FaultProxy::before(server.endpoint());
    let cases = [
        ("a wrong secret", "credentials_file", wrong_secret),
        ("no file of credentials", "credentials_file", nowhere),
        ("another bucket", "url", "s3://no-such-bucket/an/archive".to_owned()),
        ("another prefix", "url", format!("s3://{BUCKET}/elsewhere")),
        ("nobody at the endpoint", "endpoint", "http://127.0.0.1:9".to_owned()),
    ];
    for (what, key, value) in cases {
        let stillframe = site.configured(|config| impatient(config).value("store", key, value));
        assert_says_why(what, &stillframe, &segment, &target);
    }
    let through_the_proxy = site.configured(|config| impatient(config).value("store", "endpoint", proxy.endpoint()));
    let answers =
        [Loss::Answer(503, "SlowDown"), Loss::Answer(500, "InternalError"), Loss::Answer(403, "AccessDenied"), Loss::Reset];
    for loss in answers {
        // More than the calls below make.
        for method in ["GET", "PUT", "HEAD"].into_iter().cycle().take(60) {
            proxy.lose_next(method, "", loss.clone());
        }
        assert_says_why(&format!("{loss:?}"), &through_the_proxy, &segment, &target);
        proxy.forget_losses();
    }
    // Only the objects are out of reach; their marker is not.
    for _ in 0..40 {
        proxy.lose_next("GET", "wal_005", Loss::Answer(404, "NoSuchBucket"));
    }
    let finished = through_the_proxy.run(["wal-fetch", file, place]);
    assert!(finished.code().is_some_and(|code| FETCH_ERRORS.contains(&code)), "{finished}");
    proxy.forget_losses();
    assert_eq!(through_the_proxy.run(["wal-fetch", file, place]).code(), Some(0), "the test can succeed");
    assert_eq!(fs::read(&target).unwrap(), fs::read(&segment).unwrap());
    fs::remove_file(&target).unwrap();

    let gone = site.configured(impatient);
    drop(server);
    assert_says_why("a server that ended", &gone, &segment, &target);
}

#[test]
fn a_store_that_ignores_the_condition_of_a_write_is_refused() {
    let s3rver = ObjectStoreServer::s3rver();
    let ours = [Precondition::Ignored, Precondition::Racing].map(|precondition| OwnServer::start(Dialect::S3, precondition));
    for endpoint in [s3rver.endpoint(), ours[0].endpoint(), ours[1].endpoint()] {
        let scratch = ScratchDirectory::create();
        let config = ConfigFile::new().value("cluster", "name", "main").value("store", "url", format!("s3://{BUCKET}/archive"));
        let config = config.value("store", "endpoint", endpoint).write(scratch.path());
        let variables = s3rver.environment();
        let stillframe = variables.iter().fold(Stillframe::new(config), |stillframe, (name, value)| stillframe.env(name, value));
        let refused = stillframe.run(["store", "create"]);
        assert!(!refused.is_success(), "{endpoint}: {refused}");
        assert!(refused.stderr.contains("on the condition that there is no object"), "what it did is named: {refused}");
        assert!(refused.stderr.contains("hint:"), "{refused}");
        // It is not half created.
        let target = scratch.join("target");
        let finished = stillframe.run(["wal-fetch", "000000010000000000000001", target.to_str().unwrap()]);
        assert!(finished.code().is_some_and(|code| FETCH_ERRORS.contains(&code)), "{finished}");
    }
    for server in &ours {
        assert!(server.names().is_empty(), "nothing is left: {:?}", server.names());
    }
}

#[test]
fn a_store_that_only_the_environment_leads_to_is_told_from_every_other() {
    let servers = [(); 2].map(|()| OwnServer::start(Dialect::S3, Precondition::Honoured));
    let scratch = ScratchDirectory::create();
    let config = ConfigFile::new().value("cluster", "name", "main").value("store", "url", format!("s3://{BUCKET}/archive"));
    let config = config.write(scratch.path());
    let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "B"), ("AWS_EC2_METADATA_DISABLED", "true")];
    let plain = keys.iter().fold(Stillframe::new(config), |stillframe, (name, value)| stillframe.env(name, value));
    let [one, other] = servers.each_ref().map(OwnServer::endpoint);
    for (variables, endpoint) in [
        (vec![("AWS_ENDPOINT_URL", one)], one),
        (vec![("AWS_ENDPOINT_URL_S3", other)], other),
        (vec![("AWS_ENDPOINT_URL", other), ("AWS_ENDPOINT_URL_S3", one)], one),
    ] {
        let stillframe = variables.iter().fold(plain.clone(), |stillframe, (name, value)| stillframe.env(name, value));
        let created = stillframe.run(["store", "create"]);
        assert!(created.is_success() && created.stdout.contains(&format!("(at {endpoint})")), "{variables:?}: {created}");
    }
    for server in &servers {
        assert_eq!(server.names(), ["archive/.stillframe-store.json", "archive/main/cluster.json"]);
    }
    let secret = plain.env("AWS_ENDPOINT_URL", "http://me:hun?ter2@127.0.0.1:9").run(["store", "create"]);
    assert!(!secret.is_success() && !secret.to_string().contains("hun"), "{secret}");
}

/// Starts a server whose recovery cannot go on, and waits for its end; gives its log.
#[track_caller]
fn runs_until_it_stops(server: &mut Cluster) -> String {
    if server.try_start().is_ok() {
        let deadline = Instant::now() + PATIENCE;
        while is_alive(server.pid()) {
            assert!(Instant::now() < deadline, "it goes on without the store:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        // It has ended; the harness does not know.
        server.kill9();
    }
    server.log()
}

#[test]
fn recovery_stops_when_the_object_store_dies_and_goes_on_to_the_end_when_it_is_back() {
    let server = ObjectStoreServer::moto();
    let site = with_credentials_file(&server).start();
    site.cluster.sql("CREATE TABLE t (i int)");
    let backup = site.backup(&[]);
    let mut segments = Vec::new();
    for _ in 0..5 {
        site.cluster.sql("INSERT INTO t SELECT generate_series(1, 10)");
        segments.push(site.switch_wal());
    }
    let proxy = FaultProxy::before(server.endpoint());
    let behind = site.configured(|config| impatient(config).value("store", "endpoint", proxy.endpoint()));
    let place = site.place("restored").display().to_string();
    behind.succeed(["snapshot-fetch", &place, &backup, "--archiving", "off"]);
    let mut restored = site.adopt("restored");
    // It dies when the third segment is asked for, and not before.
    proxy.cut_from(&segments[2]);
    let log = runs_until_it_stops(&mut restored);
    assert!(log.contains(&format!("restored log file \"{}\"", segments[1])), "it had begun:\n{log}");
    // Somebody starts it again, and the store is still away.
    let log = runs_until_it_stops(&mut restored);
    assert!(!log.contains("archive recovery complete"), "it must not promote with half of the data:\n{log}");
    proxy.mend();
    restored.start();
    restored.wait_until_recovered();
    assert_eq!(restored.value("SELECT count(*) FROM t"), "50");
}
