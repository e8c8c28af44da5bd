//! Every setting of WAL-G for PostgreSQL, and what becomes of it.
//!
//! Of several names for one of our keys the first one counts. `WALE_…` is the old name of `WALG_…`, and WAL-G reads the settings
//! of S3 with and without its prefix.

use super::translate::{self, Translate};
use Scope::{Any, Azure, Google, S3};
use Treatment::{Connection, Folder, Key, Passed, Place, Refused, RefusedUnless, Secret};

/// Settings of which the same becomes.
pub(super) struct Setting {
    /// With spaces between them.
    names: &'static str,
    pub(super) scope: Scope,
    pub(super) treatment: Treatment,
}

/// The stores that a setting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Any,
    S3,
    Google,
    Azure,
}

/// What becomes of a setting.
pub(super) enum Treatment {
    /// Names the store, of this scheme of ours.
    Place(&'static str),
    /// Names a folder in it.
    Folder,
    /// Becomes one of our keys.
    Key(&'static str, Translate),
    /// Is read by the connection under the same name; in a file it is this keyword of the connection string.
    Connection(&'static str),
    /// Is a secret, and belongs here instead.
    Secret(&'static str),
    /// Does nothing here, for this reason.
    Passed(&'static str),
    /// Cannot be honoured, for this reason.
    Refused(&'static str),
    /// Cannot be honoured unless it says what is so anyway.
    RefusedUnless(&'static [&'static str], &'static str),
}

const fn row(names: &'static str, scope: Scope, treatment: Treatment) -> Setting {
    Setting { names, scope, treatment }
}

const AWS_SECRET: &str = "the environment, or a file that `credentials_file` under `[store]` names (--credentials writes it)";
const AZURE_SECRET: &str = "the environment: set the variable for Stillframe as well";
const ENCRYPTION: &str =
    "archives under this key cannot be read, and new ones are not written with it: use `recipients` of age under `[archive]`";
const NO_STORE: &str = "there is no such store here: use a directory, S3, Google Cloud Storage or Azure";
const ONE_STORE: &str = "WAL is kept in one store: a file that is missing there must be known to be missing";
const HOOK: &str = "no command is started for a snapshot: add a section `[provider.NAME]`";
const BASE_BACKUP: &str = "it is about WAL-G's base backups; a backup here is a snapshot";
const SDK: &str = "the store reads it from the environment";
const OTHER_STORE: &str = "it belongs to a store that is not known here";
const GO: &str = "it is about WAL-G's own program";
const FALSE: &[&str] = &["false", "f", "0"];

/// The table.
const TABLE: &[Setting] = &[
    row("WALG_FILE_PREFIX", Any, Place("file")),
    row("WALG_S3_PREFIX", Any, Place("s3")),
    row("WALG_GS_PREFIX", Any, Place("gs")),
    row("WALG_AZ_PREFIX", Any, Place("az")),
    row("WALG_SSH_PREFIX WALG_SWIFT_PREFIX WALG_OSS_PREFIX", Any, Refused(NO_STORE)),
    row("WALG_STORAGE_PREFIX", Any, Folder),
    row("WALG_TARGET_STORAGE", Any, Refused(ONE_STORE)),
    row(
        "WALG_CONFIG_PATH",
        Any,
        Refused("settings in a file are not read at every call: take them over by `stillframe config import --from`"),
    ),
    row("AWS_REGION AWS_DEFAULT_REGION", S3, Key("store.region", translate::same)),
    row("AWS_ENDPOINT", S3, Key("store.endpoint", translate::endpoint)),
    row("AWS_S3_FORCE_PATH_STYLE", S3, Key("store.path_style", translate::flag)),
    row("AWS_PROFILE", S3, Key("store.profile", translate::same)),
    row("AWS_ROLE_ARN", S3, Key("store.role_arn", translate::same)),
    row("AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONFIG_FILE", S3, Passed(SDK)),
    row("AWS_SHARED_CREDENTIALS_FILE", S3, Key("store.credentials_file", translate::same)),
    row("AWS_DEFAULT_OUTPUT", S3, Passed(GO)),
    row("AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ACCESS_KEY AWS_SECRET_KEY", S3, Secret(AWS_SECRET)),
    row("WALG_S3_CA_CERT_FILE AWS_CA_BUNDLE", S3, Key("store.ca_cert_file", translate::same)),
    row("WALG_S3_STORAGE_CLASS", S3, Key("store.storage_class", translate::same)),
    row("WALG_S3_SSE", S3, Key("store.sse", translate::encryption)),
    row("WALG_S3_SSE_KMS_ID", S3, Key("store.sse_kms_key", translate::same)),
    row(
        "WALG_S3_SSE_C",
        S3,
        Refused("encryption with a key of the customer is not asked for: use `recipients` of age under `[archive]`"),
    ),
    row("WALG_S3_MAX_RETRIES", S3, Key("store.max_attempts", translate::attempts)),
    row(
        "WALG_S3_USE_LIST_OBJECTS_V1",
        S3,
        RefusedUnless(FALSE, "a store that lists by the old call only could hide files, and a missing file must be proven"),
    ),
    row("WALG_S3_ENDPOINT_SOURCE", S3, Refused("the endpoint is not asked for at another server: set `endpoint` under `[store]`")),
    row("WALG_S3_ENDPOINT_PORT", S3, Passed("it belongs to WALG_S3_ENDPOINT_SOURCE")),
    row("WALG_S3_REQUEST_ADDITIONAL_HEADERS", S3, Refused("requests have no additional headers")),
    row("WALG_S3_USE_YC_SESSION_TOKEN", S3, RefusedUnless(FALSE, "tokens of Yandex Cloud are not fetched: use keys")),
    row(
        "S3_RETENTION_PERIOD",
        S3,
        RefusedUnless(&["-1"], "objects are not locked one by one: set a default retention on the bucket"),
    ),
    row("S3_RETENTION_MODE", S3, Passed("it belongs to S3_RETENTION_PERIOD")),
    row("S3_ENABLE_VERSIONING", S3, Passed("older versions of objects are the business of the bucket's rules")),
    row("WALG_S3_MAX_PART_SIZE", S3, Passed("parts have a fixed size")),
    row("WALG_S3_RANGE_BATCH_ENABLED WALG_S3_RANGE_MAX_RETRIES", S3, Passed("a broken download is tried again as a whole")),
    row("WALG_S3_LOG_LEVEL", S3, Passed("say -v for a longer log")),
    row("S3_SKIP_VALIDATION", S3, Passed("the credentials are tried by the first request")),
    row("S3_MIN_THROTTLING_RETRY_DELAY S3_MAX_THROTTLING_RETRY_DELAY", S3, Passed("pauses between attempts are not configured")),
    row("GOOGLE_APPLICATION_CREDENTIALS", Google, Key("store.credentials_file", translate::same)),
    row("GCS_ENCRYPTION_KEY", Google, Refused(ENCRYPTION)),
    row("GCS_CONTEXT_TIMEOUT", Google, Passed("`timeout_secs` under `[store]` bounds one attempt")),
    row("GCS_MAX_CHUNK_SIZE", Google, Passed("parts have a fixed size")),
    row("GCS_MAX_RETRIES", Google, Key("store.max_attempts", translate::attempts)),
    row("GCS_NORMALIZE_PREFIX", Google, RefusedUnless(&["true", "t", "1"], "names of objects have no empty parts here")),
    row("AZURE_STORAGE_ACCOUNT", Azure, Key("store.account", translate::same)),
    row("AZURE_STORAGE_ACCESS_KEY AZURE_STORAGE_SAS_TOKEN AZURE_CLIENT_SECRET", Azure, Secret(AZURE_SECRET)),
    row("AZURE_CLIENT_ID AZURE_TENANT_ID", Azure, Passed(SDK)),
    row(
        "AZURE_ENVIRONMENT_NAME",
        Azure,
        RefusedUnless(&["AzurePublicCloud"], "another cloud has another server: set `endpoint` under `[store]`"),
    ),
    row("WALG_AZURE_BUFFER_SIZE WALG_AZURE_MAX_BUFFERS", Azure, Passed("parts have a fixed size")),
    row("WALG_COMPRESSION_METHOD", Any, Key("archive.compression", translate::compression)),
    row("WALG_ZSTD_LEVEL", Any, Key("archive.level", translate::same)),
    row(
        "WALG_LIBSODIUM_KEY WALG_LIBSODIUM_KEY_PATH WALG_PGP_KEY WALG_PGP_KEY_PATH WALG_PGP_KEY_PASSPHRASE \
        WALG_GPG_KEY_ID GPG_KEY_ID WALG_CSE_KMS_ID YC_CSE_KMS_KEY_ID",
        Any,
        Refused(ENCRYPTION),
    ),
    row("WALG_LIBSODIUM_KEY_TRANSFORM", Any, RefusedUnless(&["none"], ENCRYPTION)),
    row("WALG_CSE_KMS_REGION", Any, Passed("it belongs to WALG_CSE_KMS_ID")),
    row("YC_SERVICE_ACCOUNT_KEY_FILE", Any, Passed("it belongs to YC_CSE_KMS_KEY_ID")),
    row("PGHOST", Any, Connection("host")),
    row("PGPORT", Any, Connection("port")),
    row("PGUSER", Any, Connection("user")),
    row("PGDATABASE", Any, Connection("dbname")),
    row("PGPASSFILE", Any, Connection("passfile")),
    row("PGSSLMODE", Any, Connection("sslmode")),
    row("PGSSLROOTCERT", Any, Connection("sslrootcert")),
    row("PGSSLCERT", Any, Connection("sslcert")),
    row("PGSSLKEY", Any, Connection("sslkey")),
    row("PGAPPNAME", Any, Connection("application_name")),
    row("PGPASSWORD", Any, Secret("a password file: ~/.pgpass, or `passfile` in `conninfo` under `[cluster]`")),
    row("PGDATA", Any, Key("cluster.pgdata", translate::same)),
    row("WALG_PG_WAL_SIZE", Any, Passed("the size of a segment is read from its header")),
    row("WALG_PG_WAL_PAGE_SIZE", Any, Passed("the size of a page is read from the header of the segment")),
    row(
        "WALG_PG_BLOCK_SIZE WALG_UPLOAD_DISK_CONCURRENCY WALG_UPLOAD_QUEUE WALG_USE_WAL_DELTA \
        WALG_FORCE_WAL_DELTA WALG_DELTA_MAX_STEPS WALG_DELTA_ORIGIN WALG_DELTA_FROM_NAME \
        WALG_DELTA_FROM_USER_DATA WALG_SENTINEL_USER_DATA WALG_FETCH_TARGET_USER_DATA WALG_DISK_RATE_LIMIT \
        WALG_WITHOUT_FILES_METADATA WALG_TAR_SIZE_THRESHOLD WALG_TAR_DISABLE_FSYNC WALG_USE_REVERSE_UNPACK \
        WALG_SKIP_REDUNDANT_TARS WALG_VERIFY_PAGE_CHECKSUMS WALG_STORE_ALL_CORRUPT_BLOCKS \
        WALG_USE_RATING_COMPOSER WALG_USE_COPY_COMPOSER WALG_USE_DATABASE_COMPOSER \
        WALG_DISABLE_PARTIAL_RESTORE WALG_DIRECT_IO",
        Any,
        Passed(BASE_BACKUP),
    ),
    row("WALG_SLOTNAME", Any, Passed("WAL comes by `archive_command`, not by replication")),
    row("WALG_PREVENT_WAL_OVERWRITE", Any, Passed("archived WAL is never overwritten, whatever this says")),
    row("WALG_UPLOAD_CONCURRENCY", Any, Key("archive.workers", translate::workers)),
    row("WALG_DOWNLOAD_CONCURRENCY", Any, Key("archive.fetch_ahead", translate::fetch_ahead)),
    row("WALG_DOWNLOAD_FILE_RETRIES", Any, Passed("`max_attempts` under `[store]` counts attempts")),
    row("TOTAL_BG_UPLOADED_LIMIT", Any, Key("archive.push_ahead", translate::push_ahead)),
    row("WALG_PREFETCH_DIR", Any, Key("archive.spool", translate::spool)),
    row("PG_READY_RENAME", Any, Passed("the server's own files in archive_status are left alone")),
    row("WALG_UPLOAD_WAL_METADATA", Any, Passed("no metadata lies beside WAL; the digest lies in the object")),
    row("WALG_DAEMON_WAL_UPLOAD_TIMEOUT", Any, Passed("`timeout_secs` and `max_attempts` under `[store]` bound an upload")),
    row("WALG_INTEGRITY_MAX_DELAYED_WALS", Any, Passed("wal-verify says what is missing and what is only not there yet")),
    row("WALG_ALIVE_CHECK_INTERVAL", Any, Passed("a lost connection ends a backup at once")),
    row("WALG_STOP_BACKUP_TIMEOUT", Any, Passed("`cut_timeout_secs` under `[backup]` bounds each step of backup mode")),
    row("WALG_NETWORK_RATE_LIMIT", Any, Passed("there is no limit of rate; `workers` under `[archive]` bounds what is on its way")),
    row("WALG_SERIALIZER_TYPE GOMAXPROCS GODEBUG PROFILE_SAMPLING_RATIO PROFILE_MODE PROFILE_PATH", Any, Passed(GO)),
    row("WALG_SNAPSHOT_COMMAND WALG_SNAPSHOT_DELETE_COMMAND", Any, Refused(HOOK)),
    row("WALG_LOG_LEVEL", Any, Passed("say -v for a longer log")),
    row("WALG_LOG_DESTINATION", Any, Passed("the log goes to standard error")),
    row("WALG_STATSD_ADDRESS WALG_STATSD_EXTRA_TAGS", Any, Passed("no figures are sent anywhere")),
    row("HTTP_LISTEN HTTP_EXPOSE_PPROF HTTP_EXPOSE_EXPVAR", Any, Passed("there is no web server")),
    row("NOTIFY_SOCKET", Any, Passed("systemd sets it for wal-daemon as well")),
    row("PGBACKREST_STANZA", Any, Passed("archives of pgBackRest are not read")),
    row("SSH_PORT SSH_PASSWORD SSH_USERNAME SSH_PRIVATE_KEY_PATH", Any, Passed(OTHER_STORE)),
];

/// Settings that begin alike.
const FAMILIES: &[(&str, Treatment)] = &[
    ("WALG_FAILOVER_STORAGES", Refused(ONE_STORE)),
    ("WALG_LIBSODIUM_ WALG_PGP_ WALG_ENVELOPE_ WALG_CSE_", Refused(ENCRYPTION)),
    ("WALG_STREAM_ WALG_MYSQL_ WALG_REDIS_ WALG_GP_ WALG_ETCD_ MONGODB_ OPLOG_ SQLSERVER_", Passed("it is about another database")),
    ("OSS_ OS_", Passed(OTHER_STORE)),
];

/// A setting that stands in the table.
pub(super) struct Found {
    /// Row and place in it: of several names for one thing the first one counts.
    pub(super) position: (usize, usize),
    /// The name that the table has for it.
    pub(super) name: &'static str,
    pub(super) setting: &'static Setting,
}

/// Finds a setting in the table, under whichever of its names.
pub(super) fn find(name: &str) -> Option<Found> {
    let at = |name: &str| {
        TABLE.iter().enumerate().find_map(|(row, setting)| {
            let (place, name) = setting.names.split(' ').enumerate().find(|(_, known)| *known == name)?;
            Some(Found { position: (row, place), name, setting })
        })
    };
    let renamed = || name.strip_prefix("WALE_").and_then(|rest| at(&format!("WALG_{rest}")));
    let shortened = || name.strip_prefix("WALG_").filter(|rest| rest.starts_with("S3_")).and_then(at);
    let lengthened = || name.starts_with("S3_").then(|| at(&format!("WALG_{name}"))).flatten();
    at(name).or_else(renamed).or_else(shortened).or_else(lengthened)
}

/// What becomes of a setting that only its beginning is known of.
pub(super) fn family(name: &str) -> Option<&'static Treatment> {
    let is_of = |beginnings: &str| beginnings.split(' ').any(|beginning| name.starts_with(beginning));
    FAMILIES.iter().find(|(beginnings, _)| is_of(beginnings)).map(|(_, treatment)| treatment)
}

/// Whether nobody but WAL-G reads this variable.
pub(super) fn is_of_walg_alone(name: &str) -> bool {
    name.starts_with("WALG_") || name.starts_with("WALE_") || matches!(name, "AWS_ENDPOINT" | "AWS_S3_FORCE_PATH_STYLE")
}

/// Whether a setting is known and not passed over.
pub(super) fn changes_something(name: &str) -> bool {
    find(name).is_some_and(|found| !matches!(found.setting.treatment, Passed(_)))
}

/// Whether every client of PostgreSQL reads this variable.
pub(super) fn is_of_libpq(name: &str) -> bool {
    matches!(name, "PGDATA" | "PGPASSWORD") || find(name).is_some_and(|found| matches!(found.setting.treatment, Connection(_)))
}

/// Whether a value of several lines or parts can be read over, since nobody looks at it.
pub(super) fn is_never_read(name: &str) -> bool {
    let treatment = find(name).map(|found| &found.setting.treatment).or_else(|| family(name));
    matches!(treatment, Some(Passed(_) | Refused(_)) | None)
}
