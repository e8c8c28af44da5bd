//! Every key outside `[provider.*]`: name, default and meaning.

/// One key of the configuration.
#[derive(Debug)]
pub struct KeyInfo {
    /// `section.key`.
    pub name: &'static str,
    /// Value when nobody says otherwise.
    pub default: Option<&'static str>,
    /// One sentence for people.
    pub meaning: &'static str,
}

/// All keys, in the order in which `config show` lists them.
pub const KEYS: [KeyInfo; 12] = [
    KeyInfo { name: "cluster.name", default: None, meaning: "prefix of this cluster's objects in the store" },
    KeyInfo { name: "cluster.pgdata", default: None, meaning: "data directory of the server" },
    KeyInfo { name: "cluster.conninfo", default: None, meaning: "how to connect to the server, as for psql" },
    KeyInfo {
        name: "cluster.primary_conninfo",
        default: None,
        meaning: "how to connect to the primary, when the server is a standby",
    },
    KeyInfo { name: "store.url", default: None, meaning: "where catalog and WAL archive lie: file:///path" },
    KeyInfo { name: "backup.provider", default: None, meaning: "provider of a backup that names none" },
    KeyInfo { name: "backup.checkpoint", default: Some("fast"), meaning: "how the first checkpoint is written: fast or spread" },
    KeyInfo {
        name: "backup.cut_timeout_secs",
        default: Some("3600"),
        meaning: "longest time for each step of backup mode: start, cut and stop",
    },
    KeyInfo { name: "backup.archive_timeout_secs", default: Some("600"), meaning: "longest wait for the WAL of a backup" },
    KeyInfo { name: "backup.ready_timeout_secs", default: Some("86400"), meaning: "longest wait for the storage system" },
    KeyInfo { name: "runtime.engine", default: Some("auto"), meaning: "how providers are run: auto, native or pulley" },
    KeyInfo { name: "runtime.cache", default: None, meaning: "directory for compiled providers, by default in the user's cache" },
];

/// Name of the environment variable that overrules a key: `STILLFRAME_CLUSTER_NAME`.
pub fn variable(key: &str) -> String {
    format!("STILLFRAME_{}", key.replace('.', "_").to_uppercase())
}

/// The sections, without `provider`.
pub fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let section = key.name.split('.').next().unwrap_or_default();
        (std::mem::replace(&mut last, section) != section).then_some(section)
    })
}
