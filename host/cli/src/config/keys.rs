//! Every key outside `[provider.*]`: name, default, kind and meaning.

use super::kind::Kind;
use super::kind::Kind::{
    Account, Choice, Conninfo, Endpoint, Files, Flag, Instance, Length, Number, Path, Program, Recipients, Role, StoreUrl, Text,
    Word,
};

/// One key of the configuration.
#[derive(Debug)]
pub struct KeyInfo {
    /// `section.key`.
    pub name: &'static str,
    /// Value when nobody says otherwise.
    pub default: Option<&'static str>,
    /// What a value may be.
    pub kind: Kind,
    /// One sentence for people.
    pub meaning: &'static str,
}

/// The longest time that a step may be given: about 136 years.
const MAX_SECONDS: u64 = u32::MAX as u64;

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>, meaning: &'static str) -> KeyInfo {
    KeyInfo { name, default, kind, meaning }
}

/// The largest number of backups that a rule may keep.
const MAX_BACKUPS: u64 = 100_000;

/// All keys, in the order in which `config show` lists them; those of one section stand together.
pub const KEYS: [KeyInfo; 66] = [
    key("cluster.name", Text, None, "prefix of this cluster's objects in the store"),
    key("cluster.pgdata", Path, None, "data directory of the server"),
    key("cluster.conninfo", Conninfo, None, "how to connect to the server, as for psql"),
    key("cluster.primary_conninfo", Conninfo, None, "how to connect to the primary, where the server is a standby"),
    key(
        "store.url",
        StoreUrl,
        None,
        "where catalog and WAL archive lie: file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
    ),
    key("store.endpoint", Endpoint, None, "server of the store, when it is not the cloud's own: https://host:port"),
    key("store.region", Word, None, "region of the bucket (S3)"),
    key("store.path_style", Flag, None, "whether the bucket stands in the path instead of the host name (S3)"),
    key("store.profile", Word, None, "profile of the credentials (S3)"),
    key("store.role_arn", Role, None, "role to take on with the credentials (S3)"),
    key("store.credentials_file", Path, None, "file with the credentials; they stand in no other place of this configuration"),
    key("store.account", Account, None, "storage account (Azure)"),
    key("store.sse", Choice(&["AES256", "aws:kms"]), None, "encryption by the store: AES256 or aws:kms (S3)"),
    key("store.sse_kms_key", Word, None, "key of aws:kms; without it S3 chooses"),
    key("store.storage_class", Word, None, "storage class of new objects (S3)"),
    key("store.ca_cert_file", Path, None, "certificates that the store is trusted by, besides the system's"),
    key("store.max_attempts", Number(1, 100), Some("5"), "how often a request is made until it is given up"),
    key("store.timeout_secs", Number(1, 3600), Some("60"), "longest time for one attempt"),
    key("archive.compression", Choice(&["zstd", "lz4", "none"]), Some("zstd"), "how new WAL is compressed: zstd, lz4 or none"),
    key("archive.level", Number(1, 22), None, "level of zstd, by default the fastest"),
    key(
        "archive.recipients",
        Recipients,
        None,
        "public keys of age that new WAL is encrypted for; without any it is not encrypted",
    ),
    key("archive.recipients_file", Path, None, "file with more of them, one per line"),
    key("archive.identity_file", Path, None, "file with the private key of age, only where you restore"),
    key("archive.identity_command", Program, None, "program and arguments that print the private key instead"),
    key("archive.workers", Number(1, 64), Some("4"), "how many files are archived or fetched at the same time"),
    key("archive.push_ahead", Number(0, 1000), Some("32"), "how many other files one call of wal-push may archive"),
    key("archive.fetch_ahead", Number(0, 256), Some("8"), "how many segments are fetched ahead of recovery"),
    key("archive.spool", Path, None, "directory for what is pushed and fetched ahead, by default in the user's cache"),
    key(
        "archive.guard",
        Choice(&["refuse", "warn", "off"]),
        Some("refuse"),
        "what happens to WAL of a copy of the cluster: refuse, warn or off",
    ),
    key("archive.instance", Instance, None, "name of this server among the copies of the cluster, by default its host's"),
    key(
        "external_archive.kind",
        Choice(&["wal-g", "other"]),
        None,
        "which tool keeps the WAL of backups with --external-archive: wal-g, or other, which is not read",
    ),
    key("external_archive.url", StoreUrl, None, "where WAL-G keeps it: the prefix in which wal_005 lies, never written by us"),
    key("external_archive.endpoint", Endpoint, None, "server of that place, when it is not the cloud's own"),
    key("external_archive.region", Word, None, "region of its bucket (S3)"),
    key("external_archive.path_style", Flag, None, "whether the bucket stands in the path instead of the host name (S3)"),
    key("external_archive.profile", Word, None, "profile of the credentials for it (S3)"),
    key("external_archive.credentials_file", Path, None, "file with the credentials for it, which need only read"),
    key("external_archive.ca_cert_file", Path, None, "certificates that it is trusted by, besides the system's"),
    key("backup.provider", Text, None, "provider of a backup that names none"),
    key("backup.checkpoint", Choice(&["fast", "spread"]), Some("fast"), "how the first checkpoint is written: fast or spread"),
    key(
        "backup.session",
        Choice(&["server", "primary"]),
        Some("server"),
        "where backup mode is while the files of a standby are cut: on that server, or on its primary",
    ),
    key(
        "backup.cut_timeout_secs",
        Number(1, MAX_SECONDS),
        Some("3600"),
        "longest time for each step of backup mode and for the flush of the disks before it",
    ),
    key("backup.archive_timeout_secs", Number(1, MAX_SECONDS), Some("600"), "longest wait for the WAL of a backup"),
    key("backup.ready_timeout_secs", Number(1, MAX_SECONDS), Some("86400"), "longest wait for the storage system"),
    key("session.directory", Path, None, "where sessions for outside tools are kept, by default in the user's state directory"),
    key(
        "session.timeout_secs",
        Number(0, MAX_SECONDS),
        Some("86400"),
        "how long a session holds backup mode when nobody ends it; 0 for no limit",
    ),
    key("drill.directory", Path, None, "where drills restore and recover: a directory of its own, which nobody else may write to"),
    key("drill.bindir", Path, None, "directory of the programs of PostgreSQL, by default that of the backup's version"),
    key("drill.user", Text, Some("postgres"), "superuser of the cluster, for the checks of a drill"),
    key("drill.database", Text, Some("postgres"), "database in which the files of `drill.sql` are run"),
    key("drill.preload", Text, None, "shared_preload_libraries that the cluster cannot be read without"),
    key("drill.sql", Files, None, "files with statements that a drill runs: absolute paths, with `*` in the name of the file"),
    key("drill.amcheck", Flag, Some("true"), "whether a drill runs pg_amcheck, where the database has its extension"),
    key("drill.checksums", Flag, Some("true"), "whether a drill compares the checksums of all pages, where the cluster has them"),
    key(
        "drill.timeout_secs",
        Number(1, MAX_SECONDS),
        Some("86400"),
        "longest time for the recovery of a drill, and for each check",
    ),
    key("retention.count", Number(1, MAX_BACKUPS), None, "`delete policy` keeps the newest so many, with all WAL since"),
    key("retention.window", Length, None, "`delete policy` keeps what recovery to every moment of this time needs: 7 days"),
    key(
        "retention.standalone",
        Length,
        None,
        "backups of so long a time stay, with their own WAL only when `window` and `count` do not reach so far: 30 days",
    ),
    key("retention.daily", Number(1, MAX_BACKUPS), None, "the newest backup of each of so many days stays"),
    key("retention.weekly", Number(1, MAX_BACKUPS), None, "the newest backup of each of so many weeks stays"),
    key("retention.monthly", Number(1, MAX_BACKUPS), None, "the newest backup of each of so many months stays"),
    key("retention.yearly", Number(1, MAX_BACKUPS), None, "the newest backup of each of so many years stays"),
    key("retention.minimum", Number(1, MAX_BACKUPS), Some("1"), "so many backups stay, however old they are, with all WAL since"),
    key("retention.keep_proven", Flag, Some("true"), "whether the last backup that a drill proved stays"),
    key("runtime.engine", Choice(&["auto", "native", "pulley"]), Some("auto"), "how providers are run: auto, native or pulley"),
    key("runtime.cache", Path, None, "directory for compiled providers, by default in the user's cache"),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static KeyInfo> {
    KEYS.iter().find(|key| key.name == name)
}

/// Name of the environment variable that overrules a key: `STILLFRAME_CLUSTER_NAME`.
pub fn variable(key: &str) -> String {
    format!("STILLFRAME_{}", key.replace('.', "_").to_uppercase())
}

/// Whether a variable is meant to overrule a key, by its name.
pub fn overrules(variable: &str) -> bool {
    let rest = variable.strip_prefix("STILLFRAME_");
    rest.is_some_and(|rest| sections().any(|section| rest.starts_with(&format!("{}_", section.to_uppercase()))))
}

/// The sections, without `provider`.
pub fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let section = key.name.split('.').next().unwrap_or_default();
        (std::mem::replace(&mut last, section) != section).then_some(section)
    })
}
