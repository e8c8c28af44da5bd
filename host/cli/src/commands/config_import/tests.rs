use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stillframe_core::error::ErrorClass;

use super::{Options, run};
use crate::config::{Config, Variables};
use crate::exit::Failure;

const EVERYTHING: &str = "WALG_S3_PREFIX=s3://bucket/wal-g/pg15\nAWS_REGION=eu-1\nAWS_ENDPOINT=http://minio:9000\n\
    AWS_S3_FORCE_PATH_STYLE=true\nAWS_ACCESS_KEY_ID=hunter1\nAWS_SECRET_ACCESS_KEY=hunter2\nAWS_SESSION_TOKEN=hunter3\n\
    WALG_S3_SSE=aws:kms\nWALG_S3_SSE_KMS_ID=k\nWALG_S3_STORAGE_CLASS=STANDARD_IA\nWALG_S3_MAX_RETRIES=15\n\
    WALG_COMPRESSION_METHOD=zstd\nWALG_ZSTD_LEVEL=3\nWALG_UPLOAD_CONCURRENCY=100\nWALG_DOWNLOAD_CONCURRENCY=10\n\
    TOTAL_BG_UPLOADED_LIMIT=64\nWALG_PREFETCH_DIR=/prefetch\nWALG_DELTA_MAX_STEPS=7\nPGHOST=/var/run/postgresql\nPGPORT=5433\n\
    PGUSER='a user'\nPGDATABASE=\"it's\"\nPGPASSWORD=hunter4\nPGDATA=/pg\n";

/// An import in this directory; the files are `settings`, `stillframe.toml` and `credentials`.
fn options(directory: &Path) -> Options {
    let [from, output] = ["settings", "stillframe.toml"].map(|name| Some(directory.join(name)));
    Options { from, output, credentials: None, partial: false }
}

fn partial(directory: &Path) -> Options {
    Options { partial: true, ..options(directory) }
}

fn with_credentials(directory: &Path) -> Options {
    Options { credentials: Some(directory.join("credentials")), ..options(directory) }
}

/// Imports these lines; returns what is written.
fn import(options: &Options, settings: &str) -> Result<String, Failure> {
    std::fs::write(options.from.as_ref().unwrap(), settings).unwrap();
    run(options, false)?;
    Ok(std::fs::read_to_string(options.output.as_ref().unwrap()).unwrap())
}

fn load(directory: &Path) -> Config {
    Config::load(Some(&directory.join("stillframe.toml")), &Variables::new()).unwrap()
}

#[test]
fn what_is_written_is_what_our_own_reader_reads() {
    let directory = tempfile::tempdir().unwrap();
    let text = import(&options(directory.path()), EVERYTHING).unwrap();
    let config = load(directory.path());
    assert_eq!((config.cluster.as_str(), config.store.url.to_string().as_str()), ("pg15", "s3://bucket/wal-g"));
    assert_eq!(config.store.endpoint.as_deref(), Some("http://minio:9000"));
    assert_eq!((config.store.path_style, config.store.max_attempts.get()), (Some(true), 16));
    let ahead = &config.archive.ahead;
    assert_eq!((ahead.workers, ahead.fetch_files, ahead.push_files), (64, 10, 64));
    assert_eq!(config.pgdata.as_deref(), Some(Path::new("/pg")));
    assert_eq!(config.conninfo, "host=/var/run/postgresql port=5433 user='a user' dbname='it\\'s'");
    for line in
        ["# from WALG_S3_PREFIX", "# from AWS_REGION", "# from WALG_UPLOAD_CONCURRENCY (100 there)", "WALG_DELTA_MAX_STEPS: "]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn no_secret_is_written_or_shown_and_each_is_told_where_it_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let text = import(&options(directory.path()), EVERYTHING).unwrap();
    assert!(!text.contains("hunter"), "{text}");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"] {
        assert!(text.contains(&format!("{name} is a secret")), "{text}");
    }
}

#[test]
fn credentials_are_written_for_their_owner_only_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let text = import(&with_credentials(directory.path()), EVERYTHING).unwrap();
    let path = directory.path().join("credentials");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, "[default]\naws_access_key_id = hunter1\naws_secret_access_key = hunter2\naws_session_token = hunter3\n");
    assert_eq!(load(directory.path()).store.credentials_file, Some(path));
    assert!(!text.contains("hunter") && !text.contains("AWS_SECRET_ACCESS_KEY is a secret"), "{text}");
}

#[test]
fn nothing_is_overwritten_and_no_credentials_stay_behind() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("stillframe.toml"), "mine").unwrap();
    let failure = import(&with_credentials(directory.path()), EVERYTHING).unwrap_err();
    assert_eq!(failure.class(), ErrorClass::Refused);
    assert_eq!(std::fs::read_to_string(directory.path().join("stillframe.toml")).unwrap(), "mine");
    assert!(!directory.path().join("credentials").exists());
}

#[test]
fn refuses_by_name_what_cannot_be_honoured_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = format!("{EVERYTHING}WALG_LIBSODIUM_KEY=hunter5\nWALG_SNAPSHOT_COMMAND=x\nWALG_SOMETHING_NEW=hunter6\n");
    let failure = import(&options(directory.path()), &settings).unwrap_err();
    assert_eq!(failure.class(), ErrorClass::Refused);
    let message = failure.chain().join(": ");
    for name in ["WALG_LIBSODIUM_KEY", "WALG_SNAPSHOT_COMMAND", "WALG_SOMETHING_NEW"] {
        assert!(message.contains(name), "{message}");
    }
    assert!(!message.contains("hunter"), "{message}");
    assert!(!directory.path().join("stillframe.toml").exists());
    let text = import(&partial(directory.path()), &settings).unwrap();
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with('[')).collect();
    assert_eq!(head.iter().filter(|line| line.starts_with("# NOT HONOURED: ")).count(), 3, "{text}");
    assert!(!text.contains("hunter"), "{text}");
    load(directory.path());
}

#[test]
fn a_value_with_a_line_break_makes_no_setting_and_no_second_credential() {
    let directory = tempfile::tempdir().unwrap();
    let write = |settings: serde_json::Value| settings.to_string();
    let settings = serde_json::json!({
        "WALG_FILE_PREFIX": "/mnt/a/main", "WALG_UPLOAD_CONCURRENCY": "x\n[archive]\nguard = \"off\"", "PGHOST": "h\n[archive]",
    });
    let text = import(&partial(directory.path()), &write(settings)).unwrap();
    assert!(!text.lines().any(|line| line == "guard = \"off\"" || line == "[archive]"), "{text}");
    assert_eq!(load(directory.path()).conninfo, "host='h\n[archive]'");
    let settings = serde_json::json!({
        "WALG_S3_PREFIX": "s3://b/main", "AWS_ACCESS_KEY_ID": "a\n[other]", "AWS_SECRET_ACCESS_KEY": "b",
    });
    let failure = import(&with_credentials(directory.path()), &write(settings)).unwrap_err();
    assert!(failure.chain()[0].contains("AWS_ACCESS_KEY_ID"), "{:?}", failure.chain());
}

#[test]
fn an_import_without_a_store_or_without_keys_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let failure = import(&options(directory.path()), "PGHOST=h\n").unwrap_err();
    assert_eq!(failure.class(), ErrorClass::Config);
    assert!(failure.hint().unwrap().contains("--from"));
    for keys in ["", "AWS_ACCESS_KEY_ID=hunter1\nAWS_SECRET_ACCESS_KEY=hunter2\n"] {
        let settings = format!("WALG_FILE_PREFIX=/mnt/a/main\n{keys}");
        let failure = import(&with_credentials(directory.path()), &settings).unwrap_err();
        assert!(failure.chain()[0].contains("no keys"), "{:?}", failure.chain());
        assert!(!directory.path().join("credentials").exists());
    }
}
