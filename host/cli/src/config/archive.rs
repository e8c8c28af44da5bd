//! The section `[archive]`: in which form WAL is archived, how much happens at the same time, and who may archive.

use std::path::{Path, PathBuf};

use stillframe_core::catalog::{Compression, Recipient};
use stillframe_core::flows::Guarding;
use stillframe_core::spool::AheadSettings;

use super::reader::Reader;
use super::{ConfigError, Origin, secrets};

/// How WAL is archived and restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// How new WAL is compressed.
    pub compression: Compression,
    /// Whom new WAL is encrypted for, without those in the file.
    pub recipients: Vec<Recipient>,
    /// File with more of them.
    pub recipients_file: Option<PathBuf>,
    /// Where the private key comes from.
    pub identity: Option<IdentitySource>,
    /// How far ahead of PostgreSQL it is archived and fetched.
    pub ahead: AheadSettings,
    /// What happens to WAL of a copy of the cluster.
    pub guard: Guarding,
    /// Name of this server among the copies of the cluster; none when its host has no usable name.
    pub instance: Option<String>,
}

/// Where the private key of age comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// A file.
    File(PathBuf),
    /// What a program prints; no shell is between.
    Command {
        /// Its absolute path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Reads the section.
pub(super) fn read(read: &Reader<'_>) -> Result<ArchiveConfig, ConfigError> {
    let level = read.number("archive.level");
    let compression = match (read.text("archive.compression").as_deref(), level) {
        (Some("lz4"), None) => Compression::Lz4,
        (Some("none"), None) => Compression::None,
        (Some(other @ ("lz4" | "none")), Some(_)) => {
            let hint = "remove `level`, or set `compression = \"zstd\"` under `[archive]`".to_owned();
            return Err(read.clash("archive.level", format!("`{other}` has no levels"), hint));
        }
        (_, level) => level.map_or_else(Compression::default, Compression::Zstd),
    };
    Ok(ArchiveConfig {
        compression,
        // Each has been checked as it was read.
        recipients: read.list("archive.recipients").iter().filter_map(|text| text.parse().ok()).collect(),
        recipients_file: read.path("archive.recipients_file"),
        identity: identity(read)?,
        ahead: AheadSettings {
            spool: spool(read)?,
            workers: read.number("archive.workers").unwrap_or(1),
            push_files: read.number("archive.push_ahead").unwrap_or(0),
            fetch_files: read.number("archive.fetch_ahead").unwrap_or(0),
        },
        guard: match read.text("archive.guard").as_deref() {
            Some("warn") => Guarding::Warn,
            Some("off") => Guarding::Off,
            _ => Guarding::Refuse,
        },
        instance: read.text("archive.instance"),
    })
}

impl ArchiveConfig {
    /// What tells this server from its copies. A name that several hosts share would make one server of them.
    pub fn instance(&self) -> Result<&str, ConfigError> {
        self.instance.as_deref().ok_or(ConfigError::NoInstance)
    }

    /// Whom new WAL is encrypted for: the list and the file. A file without any is an error, for whoever named it wanted
    /// encryption.
    pub fn all_recipients(&self) -> Result<Vec<Recipient>, ConfigError> {
        let mut all = self.recipients.clone();
        let Some(path) = &self.recipients_file else { return Ok(all) };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Recipients { path: path.clone(), source })?;
        let invalid = |reason: String| {
            let (key, origin) = ("archive.recipients_file".to_owned(), Origin::File(path.clone()));
            ConfigError::Invalid { key, origin, reason }
        };
        if secrets::has_private_key(&text) {
            return Err(ConfigError::PrivateKey { key: "archive.recipients_file".to_owned(), origin: Origin::File(path.clone()) });
        }
        let count = all.len();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            all.push(line.parse().map_err(|_| invalid(format!("line {} is no public key `age1…`", number + 1)))?);
        }
        if all.len() == count { Err(invalid("it names nobody".to_owned())) } else { Ok(all) }
    }
}

/// The spool, outside of what would carry it away or clear it. One that only a default put there is left out: nobody chose it,
/// and archiving must go on.
fn spool(read: &Reader<'_>) -> Result<Option<PathBuf>, ConfigError> {
    const WRONG_PLACES: [(&str, &str); 2] = [
        ("cluster.pgdata", "whose snapshots would carry it to every copy of the cluster"),
        ("runtime.cache", "which is cleared of everything but compiled providers"),
    ];
    let Some(spool) = read.path("archive.spool") else { return Ok(None) };
    for (key, why) in WRONG_PLACES {
        if !read.path(key).is_some_and(|directory| is_inside(&spool, &directory)) {
            continue;
        }
        if read.value("archive.spool").is_none_or(|value| value.origin == Origin::Default) {
            return Ok(None);
        }
        let hint = format!("name a directory outside of `{key}`");
        return Err(read.clash("archive.spool", format!("it lies in `{key}`, {why}"), hint));
    }
    Ok(Some(spool))
}

fn identity(read: &Reader<'_>) -> Result<Option<IdentitySource>, ConfigError> {
    let (file, mut command) = (read.path("archive.identity_file"), read.list("archive.identity_command").into_iter());
    match (file, command.next()) {
        (Some(_), Some(_)) => {
            let reason = "`archive.identity_file` already says where the private key comes from".to_owned();
            Err(read.clash("archive.identity_command", reason, "keep one of the two".to_owned()))
        }
        (Some(file), None) => Ok(Some(IdentitySource::File(file))),
        (None, Some(program)) => {
            Ok(Some(IdentitySource::Command { program: PathBuf::from(program), arguments: command.collect() }))
        }
        (None, None) => Ok(None),
    }
}

/// Whether a path lies in a directory, by its name or by where its links lead. What does not exist yet lies where its nearest
/// existing parent does.
fn is_inside(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| {
        path.ancestors().find_map(|parent| {
            let rest = path.strip_prefix(parent).ok()?;
            Some(parent.canonicalize().ok()?.join(rest))
        })
    };
    path.starts_with(directory)
        || matches!((real(path), real(directory)), (Some(path), Some(directory)) if path.starts_with(&directory))
}
