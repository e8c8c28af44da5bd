use std::collections::BTreeMap;

use stillframe_core::catalog::Compression;
use stillframe_core::error::Classify;

use super::super::{Config, ConfigError, Origin, Value, Variables};
use super::{Plan, file, plan};

const MINE: &str = "[cluster]\nname = \"main\"\n[store]\nurl = \"file:///mine\"\n";

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stillframe.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), &pairs(variables))
}

fn pairs(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn planned(settings: &[(&str, &str)]) -> Plan {
    plan(&pairs(settings), &BTreeMap::new())
}

fn refusal(variables: &[(&str, &str)]) -> String {
    let error = load("", variables).unwrap_err();
    assert!(matches!(error, ConfigError::WalG { .. }), "{error}");
    assert!(error.hint().is_some());
    error.to_string()
}

/// What people set, by the documentation of WAL-G for PostgreSQL.
const TAKEN: &[(&str, &str, &str, &str)] = &[
    ("AWS_REGION", "eu-1", "store.region", "eu-1"),
    ("AWS_DEFAULT_REGION", "eu-1", "store.region", "eu-1"),
    ("AWS_ENDPOINT", "http://minio:9000", "store.endpoint", "http://minio:9000"),
    ("AWS_ENDPOINT", "minio:9000", "store.endpoint", "https://minio:9000"),
    ("AWS_S3_FORCE_PATH_STYLE", "TRUE", "store.path_style", "true"),
    ("AWS_PROFILE", "p", "store.profile", "p"),
    ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", "store.role_arn", "arn:aws:iam::1:role/r"),
    ("WALG_S3_STORAGE_CLASS", "STANDARD_IA", "store.storage_class", "STANDARD_IA"),
    ("WALG_S3_SSE", "AES256", "store.sse", "AES256"),
    ("S3_SSE", "AES256", "store.sse", "AES256"),
    ("WALG_S3_CA_CERT_FILE", "/ca.pem", "store.ca_cert_file", "/ca.pem"),
    ("WALG_S3_MAX_RETRIES", "15", "store.max_attempts", "16"),
    ("WALG_S3_MAX_RETRIES", "1000", "store.max_attempts", "100"),
    ("WALG_COMPRESSION_METHOD", "lz4", "archive.compression", "lz4"),
    ("WALG_COMPRESSION_METHOD", "none", "archive.compression", "none"),
    ("WALG_ZSTD_LEVEL", "3", "archive.level", "3"),
    ("WALG_UPLOAD_CONCURRENCY", "16", "archive.workers", "16"),
    ("WALG_UPLOAD_CONCURRENCY", "100", "archive.workers", "64"),
    ("WALG_DOWNLOAD_CONCURRENCY", "10", "archive.fetch_ahead", "10"),
    ("WALG_DOWNLOAD_CONCURRENCY", "1", "archive.fetch_ahead", "0"),
    ("TOTAL_BG_UPLOADED_LIMIT", "1024", "archive.push_ahead", "1000"),
    ("WALG_PREFETCH_DIR", "/prefetch/", "archive.spool", "/prefetch/stillframe"),
];

/// With which value each of these is refused, beside a store in S3.
const REFUSED: &[(&str, &str)] = &[
    ("WALG_SSH_PREFIX", "ssh://host/folder"),
    ("WALG_SWIFT_PREFIX", "swift://container/folder"),
    ("WALG_OSS_PREFIX", "oss://bucket/folder"),
    ("WALG_TARGET_STORAGE", "all"),
    ("WALG_FAILOVER_STORAGES", "x"),
    ("WALG_FAILOVER_STORAGES_CACHE_LIFETIME", "15m"),
    ("WALG_LIBSODIUM_KEY", "hunter2"),
    ("WALG_LIBSODIUM_KEY_PATH", "/hunter2"),
    ("WALG_LIBSODIUM_KEY_TRANSFORM", "hex"),
    ("WALG_PGP_KEY", "hunter2"),
    ("WALG_PGP_KEY_PATH", "/hunter2"),
    ("WALG_PGP_KEY_PASSPHRASE", "hunter2"),
    ("WALE_GPG_KEY_ID", "hunter2"),
    ("WALG_ENVELOPE_PGP_KEY", "hunter2"),
    ("WALG_CSE_KMS_ID", "hunter2"),
    ("YC_CSE_KMS_KEY_ID", "hunter2"),
    ("WALG_S3_SSE_C", "hunter2"),
    ("WALG_S3_USE_LIST_OBJECTS_V1", "true"),
    ("S3_RETENTION_PERIOD", "86400"),
    ("WALG_SNAPSHOT_COMMAND", "snap hunter2"),
    ("WALG_SNAPSHOT_DELETE_COMMAND", "unsnap"),
    ("WALG_CONFIG_PATH", "/etc/wal-g.json"),
    ("WALG_COMPRESSION_METHOD", "brotli"),
    ("WALG_COMPRESSION_METHOD", "lzma"),
    ("WALG_UPLOAD_CONCURRENCY", "many"),
    ("WALG_S3_SSE", "aws:kms:dsse"),
    ("WALG_PREFETCH_DIR", "relative"),
    ("AWS_ENDPOINT", "https://me:hunter2@host"),
    ("WALG_SOMETHING_NEW", "hunter2"),
];

/// What does nothing here, with a reason.
const PASSED: &[&str] = &[
    "S3_RETENTION_MODE",
    "S3_ENABLE_VERSIONING",
    "WALG_SLOTNAME",
    "WALG_PG_WAL_SIZE",
    "WALG_PREVENT_WAL_OVERWRITE",
    "PG_READY_RENAME",
    "WALG_UPLOAD_WAL_METADATA",
    "WALG_DAEMON_WAL_UPLOAD_TIMEOUT",
    "WALG_INTEGRITY_MAX_DELAYED_WALS",
    "WALG_DELTA_MAX_STEPS",
    "WALG_DELTA_ORIGIN",
    "WALG_SENTINEL_USER_DATA",
    "WALG_FETCH_TARGET_USER_DATA",
    "WALG_ALIVE_CHECK_INTERVAL",
    "WALG_STOP_BACKUP_TIMEOUT",
    "WALG_DISK_RATE_LIMIT",
    "WALG_NETWORK_RATE_LIMIT",
    "WALG_WITHOUT_FILES_METADATA",
    "WALG_LOG_LEVEL",
    "WALG_LOG_DESTINATION",
    "WALG_STATSD_ADDRESS",
    "WALG_STATSD_EXTRA_TAGS",
    "HTTP_LISTEN",
    "NOTIFY_SOCKET",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "WALG_MYSQL_DATASOURCE_NAME",
];

const CONNECTION: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSFILE", "passfile"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGAPPNAME", "application_name"),
];

const SECRET: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"];

/// The settings that a user of PostgreSQL meets. None may be unknown.
const ALL: &str = "WALG_S3_PREFIX WALG_FILE_PREFIX WALG_GS_PREFIX WALG_AZ_PREFIX WALG_SSH_PREFIX WALG_SWIFT_PREFIX WALG_OSS_PREFIX \
    WALG_STORAGE_PREFIX WALE_S3_PREFIX WALE_FILE_PREFIX WALE_GS_PREFIX WALE_GPG_KEY_ID AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY \
    AWS_SESSION_TOKEN AWS_REGION AWS_ENDPOINT AWS_S3_FORCE_PATH_STYLE AWS_PROFILE AWS_ROLE_ARN WALG_S3_STORAGE_CLASS WALG_S3_SSE \
    WALG_S3_SSE_KMS_ID WALG_S3_CA_CERT_FILE WALG_S3_MAX_RETRIES WALG_S3_USE_LIST_OBJECTS_V1 S3_RETENTION_PERIOD S3_RETENTION_MODE \
    S3_ENABLE_VERSIONING GOOGLE_APPLICATION_CREDENTIALS AZURE_STORAGE_ACCOUNT AZURE_STORAGE_ACCESS_KEY AZURE_STORAGE_SAS_TOKEN \
    WALG_COMPRESSION_METHOD WALG_ZSTD_LEVEL WALG_LIBSODIUM_KEY WALG_LIBSODIUM_KEY_PATH WALG_LIBSODIUM_KEY_TRANSFORM WALG_PGP_KEY \
    WALG_PGP_KEY_PATH WALG_PGP_KEY_PASSPHRASE WALG_CSE_KMS_ID PGHOST PGPORT PGUSER PGPASSWORD PGPASSFILE PGDATABASE PGSSLMODE PGDATA \
    PGAPPNAME WALG_PG_WAL_SIZE WALG_SLOTNAME WALG_PREVENT_WAL_OVERWRITE WALG_UPLOAD_CONCURRENCY WALG_DOWNLOAD_CONCURRENCY \
    TOTAL_BG_UPLOADED_LIMIT WALG_PREFETCH_DIR PG_READY_RENAME WALG_UPLOAD_WAL_METADATA WALG_DAEMON_WAL_UPLOAD_TIMEOUT \
    WALG_INTEGRITY_MAX_DELAYED_WALS WALG_FAILOVER_STORAGES WALG_FAILOVER_STORAGES_CHECK WALG_FAILOVER_STORAGES_CACHE_LIFETIME \
    WALG_TARGET_STORAGE WALG_DELTA_MAX_STEPS WALG_DELTA_ORIGIN WALG_SENTINEL_USER_DATA WALG_FETCH_TARGET_USER_DATA \
    WALG_ALIVE_CHECK_INTERVAL WALG_STOP_BACKUP_TIMEOUT WALG_DISK_RATE_LIMIT WALG_NETWORK_RATE_LIMIT WALG_WITHOUT_FILES_METADATA \
    WALG_LOG_LEVEL WALG_LOG_DESTINATION WALG_STATSD_ADDRESS WALG_STATSD_EXTRA_TAGS HTTP_LISTEN NOTIFY_SOCKET WALG_CONFIG_PATH \
    WALG_SNAPSHOT_COMMAND WALG_SNAPSHOT_DELETE_COMMAND WALG_USE_WAL_DELTA";

#[test]
fn no_setting_of_wal_g_for_postgresql_is_unknown() {
    for name in ALL.split_whitespace() {
        assert!(super::table::find(name).is_some() || super::table::family(name).is_some(), "{name}");
    }
}

#[test]
fn every_setting_ends_in_exactly_one_place() {
    for name in ALL.split_whitespace() {
        let mut settings = pairs(&[(name, "x")]);
        settings.entry("WALG_S3_PREFIX".to_owned()).or_insert("s3://bucket/main".to_owned());
        let plan = plan(&settings, &BTreeMap::new());
        let named = |other: &str| other.split(" and ").any(|part| part == name);
        let count =
            plan.taken.iter().filter(|taken| taken.key != "cluster.name" && taken.names.iter().any(|other| named(other))).count()
                + plan.connection.iter().filter(|(other, ..)| named(other)).count()
                + plan.secrets.iter().filter(|(other, _)| named(other)).count()
                + plan.passed.iter().filter(|(other, _)| named(other)).count()
                + plan.refused.iter().filter(|(other, _)| named(other)).count();
        // A name of WAL-E beside its new one is not looked at; a key of KMS loses its meaning without KMS.
        let expected = usize::from(!name.starts_with("WALE_S3"));
        assert_eq!(count, expected, "{name}");
    }
}

#[test]
fn settings_become_our_keys() {
    for (name, value, key, expected) in TAKEN {
        let plan = planned(&[("WALG_S3_PREFIX", "s3://bucket/wal-g/pg15"), (name, value)]);
        let taken = plan.taken.iter().find(|taken| taken.key == *key).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((taken.text.as_str(), taken.names.as_slice()), (*expected, &[(*name).to_owned()][..]), "{name}={value}");
        assert!(plan.refused.is_empty(), "{name}: {:?}", plan.refused);
        let config = load("", &[("WALG_S3_PREFIX", "s3://bucket/wal-g/pg15"), (name, value)]).unwrap();
        assert_eq!(config.values[*key].text, *expected);
        assert_eq!(config.values[*key].origin.to_string(), format!("from {name}"));
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name_without_its_value() {
    for (name, value) in REFUSED {
        let plan = planned(&[("WALG_S3_PREFIX", "s3://bucket/main"), (name, value)]);
        assert!(plan.refused.iter().any(|(refused, reason)| refused == name && !reason.is_empty()), "{name}: {:?}", plan.refused);
        let message = refusal(&[("WALG_S3_PREFIX", "s3://bucket/main"), (name, value)]);
        assert!(message.contains(name) && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn what_has_no_equal_is_passed_over_with_a_reason() {
    for name in PASSED {
        let plan = planned(&[("WALG_S3_PREFIX", "s3://bucket/main"), (name, "1")]);
        assert!(plan.passed.iter().any(|(passed, reason)| passed == name && !reason.is_empty()), "{name}");
        assert!(plan.refused.is_empty(), "{name}");
    }
    for (name, keyword) in CONNECTION {
        let plan = planned(&[(name, "x")]);
        assert_eq!(plan.connection, [((*name).to_owned(), *keyword, "x".to_owned())]);
    }
    for name in SECRET {
        assert!(planned(&[(name, "x")]).secrets.iter().any(|(secret, _)| secret == name), "{name}");
    }
}

#[test]
fn a_harmless_value_of_a_dangerous_setting_is_no_obstacle() {
    for (name, value) in [
        ("WALG_LIBSODIUM_KEY_TRANSFORM", "none"),
        ("WALG_S3_USE_LIST_OBJECTS_V1", "False"),
        ("S3_RETENTION_PERIOD", "-1"),
        ("WALG_LIBSODIUM_KEY", ""),
    ] {
        load("", &[("WALG_FILE_PREFIX", "/backups/main"), (name, value)]).unwrap_or_else(|error| panic!("{name}: {error}"));
        load("", &[("WALG_S3_PREFIX", "s3://bucket/main"), (name, value)]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_last_part_of_a_prefix_is_the_cluster_so_that_both_tools_see_the_same_wal() {
    for (name, prefix, folder, url, cluster) in [
        ("WALG_FILE_PREFIX", "/mnt/backups/pg15", "", "file:///mnt/backups", "pg15"),
        ("WALG_FILE_PREFIX", "file://localhost/mnt/backups/pg15/", "", "file:///mnt/backups", "pg15"),
        ("WALG_S3_PREFIX", "s3://bucket/pg15", "", "s3://bucket", "pg15"),
        ("WALE_S3_PREFIX", "s3://bucket/a/b/pg15/", "", "s3://bucket/a/b", "pg15"),
        ("WALG_S3_PREFIX", "s3://bucket/a", "x/pg15", "s3://bucket/a/x", "pg15"),
        ("WALG_S3_PREFIX", "s3://bucket", "pg15", "s3://bucket", "pg15"),
        ("WALG_GS_PREFIX", "gs://bucket/a/pg15", "", "gs://bucket/a", "pg15"),
        ("WALG_AZ_PREFIX", "azure://container/a/pg15", "", "az://container/a", "pg15"),
    ] {
        let config =
            load("", &[(name, prefix), ("WALG_STORAGE_PREFIX", folder)]).unwrap_or_else(|error| panic!("{prefix}: {error}"));
        assert_eq!((config.store.url.to_string().as_str(), config.cluster.as_str()), (url, cluster), "{prefix}");
        assert!(config.values["store.url"].origin.to_string().starts_with(&format!("from {name}")));
    }
}

#[test]
fn a_prefix_that_cannot_be_parted_is_refused_with_what_to_do() {
    for (name, prefix) in [
        ("WALG_S3_PREFIX", "s3://bucket"),
        ("WALG_S3_PREFIX", "s3://bucket/"),
        ("WALG_S3_PREFIX", "s3://bucket/a/my.cluster"),
        ("WALG_S3_PREFIX", "s3://bucket/a//pg15"),
        ("WALG_S3_PREFIX", "s3://bucket/../pg15"),
        ("WALG_S3_PREFIX", "bucket/pg15"),
        ("WALG_S3_PREFIX", "s3://me:hunter2@bucket/a/pg15"),
        ("WALG_S3_PREFIX", "s3://bucket/a/000000010000000000000001"),
        ("WALG_FILE_PREFIX", "/pg15"),
        ("WALG_FILE_PREFIX", "backups/pg15"),
        ("WALG_AZ_PREFIX", "https://account/container"),
    ] {
        let message = refusal(&[(name, prefix)]);
        assert!(message.contains(name) && !message.contains("hunter2"), "{message}");
    }
    let message = refusal(&[("WALG_S3_PREFIX", "s3://bucket/a"), ("WALG_FILE_PREFIX", "/mnt/a")]);
    assert!(message.contains("WALG_S3_PREFIX") && message.contains("WALG_FILE_PREFIX"), "{message}");
}

#[test]
fn a_stray_variable_never_changes_where_wal_goes() {
    let stray = [
        ("WALG_S3_PREFIX", "s3://elsewhere/pg15"),
        ("AWS_ENDPOINT", "https://elsewhere"),
        ("AWS_REGION", "elsewhere"),
        ("WALG_COMPRESSION_METHOD", "brotli"),
        ("WALG_LIBSODIUM_KEY", "hunter2"),
        ("WALG_PREFETCH_DIR", "/elsewhere"),
    ];
    let (with, without) = (load(MINE, &stray).unwrap(), load(MINE, &[]).unwrap());
    assert_eq!((with.store, with.archive, with.cluster), (without.store, without.archive, without.cluster));
    assert!(without.notices.is_empty());
    let [notice] = with.notices.as_slice() else { panic!("{:?}", with.notices) };
    assert!(notice.contains("another place") && notice.contains("WALG_LIBSODIUM_KEY") && !notice.contains("hunter2"), "{notice}");
    let variables = [&stray[..], &[("STILLFRAME_STORE_URL", "s3://mine/a"), ("STILLFRAME_CLUSTER_NAME", "main")]].concat();
    let config = load("", &variables).unwrap();
    assert_eq!((config.store.url.to_string().as_str(), config.store.endpoint), ("s3://mine/a", None));
    let same = load(MINE, &[("WALG_FILE_PREFIX", "/mine/main")]).unwrap();
    assert!(!same.notices[0].contains("another place"), "{:?}", same.notices);
}

#[test]
fn a_setting_without_a_place_changes_nothing() {
    let config = load(MINE, &[("WALG_LIBSODIUM_KEY", "k"), ("AWS_REGION", "r"), ("WALG_COMPRESSION_METHOD", "lz4")]).unwrap();
    assert_eq!(config.archive, load(MINE, &[]).unwrap().archive);
    assert!(matches!(load("", &[("WALG_COMPRESSION_METHOD", "lz4")]), Err(ConfigError::Missing { key: "cluster.name" })));
}

#[test]
fn our_own_keys_are_stronger_one_by_one() {
    let text = "[store]\nregion = \"mine\"\n[archive]\ncompression = \"none\"\n";
    let variables = [
        ("WALG_S3_PREFIX", "s3://bucket/main"),
        ("AWS_REGION", "theirs"),
        ("WALG_COMPRESSION_METHOD", "brotli"),
        ("WALG_ZSTD_LEVEL", "9"),
    ];
    let config = load(text, &variables).unwrap();
    assert_eq!(config.store.region.as_deref(), Some("mine"));
    assert_eq!(config.archive.compression, Compression::None);
    assert!(config.notices[0].contains("WALG_COMPRESSION_METHOD") && config.notices[0].contains("WALG_ZSTD_LEVEL"));
}

#[test]
fn a_cluster_of_another_name_is_not_put_below_the_prefix() {
    let cluster = |name: &str| load(&format!("[cluster]\nname = \"{name}\"\n"), &[("WALG_S3_PREFIX", "s3://bucket/a/pg15")]);
    assert_eq!(cluster("pg15").unwrap().store.url.to_string(), "s3://bucket/a");
    let error = cluster("main").unwrap_err();
    assert!(error.to_string().contains("`pg15`") && error.to_string().contains("`main`"), "{error}");
}

#[test]
fn settings_of_another_store_are_not_taken() {
    let variables =
        [("WALG_FILE_PREFIX", "/mnt/a/main"), ("AWS_REGION", "r"), ("WALG_S3_SSE", "AES256"), ("AWS_ENDPOINT", "https://x")];
    let config = load("", &variables).unwrap();
    assert_eq!((config.store.region, config.store.endpoint, config.store.encryption), (None, None, None));
}

#[test]
fn a_role_that_belongs_to_a_web_identity_is_not_taken_on_twice() {
    let role = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    let identity = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
    let config = load("", &[("WALG_S3_PREFIX", "s3://b/main"), role, identity]).unwrap();
    assert_eq!(config.store.role_arn, None);
}

#[test]
fn settings_that_wal_g_reads_only_beside_others_are_dropped_without_them() {
    let plan = planned(&[
        ("WALG_S3_PREFIX", "s3://b/main"),
        ("WALG_S3_SSE_KMS_ID", "k"),
        ("WALG_COMPRESSION_METHOD", "lz4"),
        ("WALG_ZSTD_LEVEL", "3"),
    ]);
    let passed: Vec<&str> = plan.passed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(passed, ["WALG_ZSTD_LEVEL", "WALG_S3_SSE_KMS_ID"]);
    let plan = planned(&[("WALG_S3_PREFIX", "s3://b/main"), ("WALG_S3_SSE_KMS_ID", "k"), ("WALG_S3_SSE", "aws:kms")]);
    assert!(plan.taken.iter().any(|taken| taken.key == "store.sse_kms_key"));
}

#[test]
fn variables_of_the_connection_are_left_to_the_connection() {
    let config =
        load("", &[("WALG_FILE_PREFIX", "/mnt/a/main"), ("PGHOST", "h"), ("PGPASSWORD", "hunter2"), ("PGDATA", "/pg")]).unwrap();
    assert_eq!((config.conninfo.as_str(), config.pgdata.as_deref()), ("", Some(std::path::Path::new("/pg"))));
    assert_eq!(config.values["cluster.pgdata"], Value::new("/pg", Origin::Variable("PGDATA".to_owned())));
}

fn parse(name: &str, text: &str) -> Result<Variables, file::SettingsFileError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    file::read(&path)
}

#[test]
fn reads_every_form_of_a_configuration_alike() {
    let expected =
        pairs(&[("WALG_S3_PREFIX", "s3://bucket/a b"), ("AWS_S3_FORCE_PATH_STYLE", "true"), ("WALG_UPLOAD_CONCURRENCY", "4")]);
    for (name, text) in [
        (
            ".walg.json",
            "{\"WALG_S3_PREFIX\": \"s3://bucket/a b\", \"aws_s3_force_path_style\": true, \"WALG_UPLOAD_CONCURRENCY\": 4}",
        ),
        (
            "walg",
            "{\"WALG_S3_PREFIX\": \"s3://bucket/a b\", \"AWS_S3_FORCE_PATH_STYLE\": \"true\", \"WALG_UPLOAD_CONCURRENCY\": 4}",
        ),
        ("walg.toml", "WALG_S3_PREFIX = \"s3://bucket/a b\"\nAWS_S3_FORCE_PATH_STYLE = true\nWALG_UPLOAD_CONCURRENCY = 4\n"),
        (
            "walg.yaml",
            "---\n# c\nWALG_S3_PREFIX: s3://bucket/a b # c\nAWS_S3_FORCE_PATH_STYLE: 'true'\nWALG_UPLOAD_CONCURRENCY: \"4\" # c\n",
        ),
        (".walg", "WALG_S3_PREFIX: \"s3://bucket/a b\"\nAWS_S3_FORCE_PATH_STYLE: true\nWALG_UPLOAD_CONCURRENCY: 4\nAWS_REGION:\n"),
        (
            "env",
            "# c\nexport WALG_S3_PREFIX='s3://bucket/a b'\nAWS_S3_FORCE_PATH_STYLE=true # c\n\nWALG_UPLOAD_CONCURRENCY=\"4\"\n",
        ),
        ("env", "WALG_S3_PREFIX=s3://bucket/a\\ b\nexport AWS_S3_FORCE_PATH_STYLE=true\nWALG_UPLOAD_CONCURRENCY=4\nAWS_REGION=\n"),
    ] {
        assert_eq!(parse(name, text).unwrap(), expected, "{text}");
    }
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in &expected {
        std::fs::write(directory.path().join(name), format!("{value}\n")).unwrap();
    }
    assert_eq!(file::read(directory.path()).unwrap(), expected);
}

#[test]
fn a_form_that_is_not_understood_is_refused_by_its_line_and_nothing_is_shown() {
    for (name, text, line) in [
        ("env", "A=1\nPGPASSWORD=$(hunter2)\n", 2),
        ("env", "PGPASSWORD=\"$hunter2\"\n", 1),
        ("env", "PGPASSWORD='hunter2\n", 1),
        ("env", "PGPASSWORD=hunter2 command\n", 1),
        ("env", "A=1\nA=2\nhunter2\n", 3),
        ("env", "PGPASSWORD=hunter2; rm\n", 1),
        ("walg.json", "{\n\"PGPASSWORD\": hunter2\n}", 2),
        ("walg.toml", "A = 1\nPGPASSWORD = hunter2\n", 2),
        ("walg.yaml", "PGPASSWORD: 'hunter2\n", 1),
        ("walg.yaml", "PGPASSWORD: &hunter2 x\n", 1),
        ("walg.yaml", "AWS_REGION: a\n  hunter2\n", 2),
        ("walg.yaml", "hunter2\n", 1),
    ] {
        let error = parse(name, text).unwrap_err();
        let all = format!("{} {error:?}", stillframe_core::error::chain(&error));
        assert!(matches!(error, file::SettingsFileError::Form { line: found, .. } if found == line), "{text}: {error}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

#[test]
fn values_of_several_parts_are_passed_over_only_where_nobody_reads_them() {
    let nested = [
        ("walg.yaml", "WALG_FAILOVER_STORAGES:\n  two:\n    WALG_FILE_PREFIX: /b\nAWS_REGION: r\n"),
        ("walg.json", "{\"WALG_FAILOVER_STORAGES\": {\"two\": {}}, \"AWS_REGION\": \"r\"}"),
        ("walg.toml", "AWS_REGION = \"r\"\n[WALG_FAILOVER_STORAGES.two]\nWALG_FILE_PREFIX = \"/b\"\n"),
    ];
    for (name, text) in nested {
        let settings = parse(name, text).unwrap();
        let plan = plan(&settings, &BTreeMap::new());
        assert_eq!(plan.refused[0].0, "WALG_FAILOVER_STORAGES", "{text}");
        assert!(!settings.contains_key("WALG_FILE_PREFIX"), "{text}");
    }
    let settings = parse("walg.yaml", "WALG_PGP_KEY: |\n  -----BEGIN\n  hunter2\nPGHOST: h\n").unwrap();
    assert_eq!(settings["PGHOST"], "h");
    assert!(planned(&[]).refused.is_empty() && plan(&settings, &BTreeMap::new()).refused[0].0 == "WALG_PGP_KEY");
    let error = parse("walg.yaml", "AWS_REGION:\n  - a\n").unwrap_err();
    assert!(error.to_string().contains("AWS_REGION"), "{error}");
}
