//! The data that passes between the host and a provider.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalog::BackupName;
use crate::hex::to_hex;

/// Keys and values that a storage system keeps with a snapshot.
pub type Labels = BTreeMap<String, String>;

/// The label that [`super::Provider::list`] selects by: the cluster's name and system identifier.
pub const OWNER_LABEL: &str = "stillframe-owner";

/// Name of a provider: lowercase letters, digits and hyphens, at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderName(String);

impl ProviderName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProviderName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 32 || !text.bytes().all(legal) {
            return Err(format!("`{text}` is not a provider name: use lowercase letters, digits and hyphens, at most 32"));
        }
        Ok(Self(text))
    }
}

impl From<ProviderName> for String {
    fn from(name: ProviderName) -> Self {
        name.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Identifies one request to a provider, so that it can be repeated and asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl Token {
    /// The token of one of several requests that belong together, one for each provider: as long, and as unlike any other.
    #[must_use]
    pub fn for_provider(&self, provider: &ProviderName) -> Self {
        let digest = Sha256::digest(format!("{}/{provider}", self.0));
        Self(to_hex(&digest[..16]))
    }
}

/// What PostgreSQL keeps in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataRole {
    /// PGDATA itself.
    Data,
    /// `pg_wal` on a volume of its own.
    Wal,
    /// A tablespace.
    Tablespace,
}

/// Stable name of a directory within a backup: `data`, `wal` or `tablespace-<oid>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataPathName {
    /// PGDATA.
    Data,
    /// `pg_wal`.
    Wal,
    /// The tablespace with this object identifier.
    Tablespace(u32),
}

impl fmt::Display for DataPathName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => formatter.write_str("data"),
            Self::Wal => formatter.write_str("wal"),
            Self::Tablespace(oid) => write!(formatter, "tablespace-{oid}"),
        }
    }
}

impl TryFrom<String> for DataPathName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "data" => Ok(Self::Data),
            "wal" => Ok(Self::Wal),
            other => other
                .strip_prefix("tablespace-")
                .and_then(|oid| oid.parse().ok())
                .map(Self::Tablespace)
                // `tablespace-+1` would be a second name of `tablespace-1`.
                .filter(|name| name.to_string() == text)
                .ok_or_else(|| format!("`{other}` is not the name of a data path")),
        }
    }
}

impl From<DataPathName> for String {
    fn from(name: DataPathName) -> Self {
        name.to_string()
    }
}

/// One layer of a block-device stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Kernel name.
    pub name: String,
    /// `disk`, `part`, `lvm`, ...
    pub kind: String,
    /// Serial number.
    pub serial: Option<String>,
    /// Model.
    pub model: Option<String>,
}

/// One directory that a backup must contain, and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPath {
    /// What it holds.
    pub role: DataRole,
    /// Its name within the backup.
    pub name: DataPathName,
    /// Absolute path, links resolved.
    pub path: PathBuf,
    /// Mount point that it lies on.
    pub mount_point: PathBuf,
    /// File system type.
    pub fs_type: String,
    /// Source of the mount; with the directory in brackets when the mount does not show the root of its file system.
    pub mount_source: String,
    /// Topmost first.
    pub devices: Vec<BlockDevice>,
    /// Globs of what may be left out.
    pub skip: Vec<String>,
    /// Files that come last.
    pub last: Vec<String>,
}

/// A unit that the provider cuts as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The provider's id.
    pub id: String,
    /// What lies on it.
    pub paths: Vec<DataPath>,
    /// Facts for people.
    pub attributes: Labels,
}

/// What to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Identifies this request.
    pub token: Token,
    /// Name of the backup.
    pub name: BackupName,
    /// In cutting order.
    pub volumes: Vec<Volume>,
    /// To be kept with the snapshots.
    pub labels: Labels,
    /// Handle of the newest earlier set of this cluster.
    pub previous: Option<String>,
}

/// Which set is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetReference {
    /// The set of this request.
    Token(Token),
    /// The set with this handle.
    Handle(String),
}

/// How far one member has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Point in time not fixed yet.
    Cutting,
    /// Point in time fixed, still being written.
    Cut,
    /// Can be restored.
    Ready,
    /// Can never be restored.
    Failed(String),
    /// Being deleted.
    Deleting,
    /// Gone.
    Absent,
}

/// The snapshot of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Id of the volume.
    pub volume: String,
    /// The storage system's id of the snapshot.
    pub id: String,
    /// How far it has come.
    pub state: MemberState,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// Bytes of the data in it.
    pub size_bytes: Option<u64>,
    /// Facts for people.
    pub attributes: Labels,
}

/// All snapshots of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSet {
    /// The provider's handle, opaque.
    pub handle: String,
    /// Token of the request that made it.
    pub token: Token,
    /// Name of the request that made it; a foreign one is possible in a listing.
    pub name: String,
    /// All members from one instant.
    pub atomic: bool,
    /// Independent of later writes to the source.
    pub isolated: bool,
    /// Begin of the first cut.
    pub cut_begin: Timestamp,
    /// End of the last cut.
    pub cut_end: Timestamp,
    /// One per volume.
    pub members: Vec<Member>,
    /// Labels of the request.
    pub labels: Labels,
}

/// Adds up sizes that providers tell; none when one of them is not known. What cannot be true does not overflow.
#[must_use]
pub fn total_bytes(sizes: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    sizes.into_iter().try_fold(0, |total: u64, size| Some(total.saturating_add(size?)))
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Gone now.
    Deleted,
    /// Accepted; still under way.
    Pending,
    /// There was nothing.
    Absent,
}

/// Where the host wants one data path of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreDirectory {
    /// Name of the data path.
    pub name: DataPathName,
    /// What it holds.
    pub role: DataRole,
    /// Absolute path; exists and is empty.
    pub path: PathBuf,
    /// Files that come last.
    pub last: Vec<String>,
}

/// What to restore, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// Handle of the set.
    pub handle: String,
    /// Identifies this restore.
    pub token: Token,
    /// One per data path.
    pub directories: Vec<RestoreDirectory>,
}

/// What a restore made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// To be given to [`super::Provider::release`].
    pub handle: String,
    /// Where each data path is.
    pub directories: Vec<(DataPathName, PathBuf)>,
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Those with the right to.
    Governance,
    /// Nobody, before it expires.
    Compliance,
}

/// What a provider can do beyond the obligatory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent flags, as the WIT has them")]
pub struct Features {
    /// All members from one instant.
    pub atomic_group: bool,
    /// Independent of later writes.
    pub isolated: bool,
    /// Can restore.
    pub restore: bool,
    /// Can lock.
    pub lock: bool,
    /// Ready at once.
    pub immediate: bool,
    /// Shares storage with the previous set.
    pub incremental: bool,
}

/// A capability that a provider asks for, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilityNeed {
    /// `tree`, `command`, `aws` or `http`.
    pub capability: String,
    /// One sentence.
    pub reason: String,
}

/// What a provider says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderDescription {
    /// Its own name, which need not be the one in the configuration.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// What it can do.
    pub features: Features,
    /// JSON Schema of its configuration.
    pub config_schema: String,
    /// What it imports and why.
    pub needs: Vec<CapabilityNeed>,
}

#[cfg(test)]
mod tests {
    use super::DataPathName;

    #[test]
    fn a_data_path_has_one_name() {
        for name in ["data", "wal", "tablespace-0", "tablespace-4294967295"] {
            assert_eq!(DataPathName::try_from(name.to_owned()).unwrap().to_string(), name);
        }
        for name in ["", "tablespace-", "tablespace-+1", "tablespace-01", "tablespace-4294967296", "Data"] {
            assert!(DataPathName::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
