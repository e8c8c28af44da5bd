//! Why the directories of a server cannot be named with certainty.

use std::path::PathBuf;

use thiserror::Error;

use crate::data_directory::InspectError;
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;
use crate::postgres::SystemIdentifier;

/// The server and the disk disagree, or the disk cannot be read.
#[derive(Debug, Error)]
pub enum PathError {
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// `pg_control` cannot be used.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A link or the configuration names something else than a directory.
    #[error("`{}` is not a directory", path.display())]
    NotADirectory {
        /// The path, links resolved.
        path: PathBuf,
    },
    /// No cluster.
    #[error("`{}` is not a data directory: it lacks `global/pg_control`", path.display())]
    NotACluster {
        /// The directory.
        path: PathBuf,
    },
    /// Another cluster.
    #[error("`{}` belongs to the cluster {found}, and the server runs the cluster {expected}", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// In its `pg_control`.
        found: SystemIdentifier,
        /// Of the server.
        expected: SystemIdentifier,
    },
    /// A copy of the cluster.
    #[error("`{}` is not where the server runs: its data directory is `{}`", path.display(), of_server.display())]
    OtherDirectory {
        /// The directory.
        path: PathBuf,
        /// `data_directory` of the server.
        of_server: PathBuf,
    },
    /// A server that writes, and a directory in which one replays; or the other way round.
    #[error(
        "the server of `conninfo` is {}, and `{}` is the data directory of {}",
        role(*server_replays), path.display(), role(!*server_replays)
    )]
    OtherRole {
        /// The directory.
        path: PathBuf,
        /// Whether the server is in recovery.
        server_replays: bool,
    },
    /// Data that no server setting puts elsewhere, elsewhere.
    #[error("`{}` is a symbolic link: what it leads to would be missing from the backup", path.display())]
    LinkedDirectory {
        /// The link.
        path: PathBuf,
    },
    /// A tablespace is not where the server says.
    #[error(
        "tablespace `{name}` is at `{}` for the server, and its link `pg_tblspc/{oid}` {}",
        location.display(),
        found.as_ref().map_or_else(|| "does not exist here".to_owned(), |found| format!("leads to `{}`", found.display()))
    )]
    TablespaceLink {
        /// Its object identifier.
        oid: u32,
        /// Its name.
        name: String,
        /// What the server says.
        location: PathBuf,
        /// What the link says.
        found: Option<PathBuf>,
    },
    /// A link of which the server said nothing.
    #[error("`{}` belongs to no tablespace that the server knows", path.display())]
    UnknownTablespace {
        /// The link.
        path: PathBuf,
    },
    /// Another file system is mounted inside.
    #[error("`{}` is a mount point inside `{}`: a snapshot of the storage of the latter does not hold it", mount.display(), path.display())]
    MountInside {
        /// The data path.
        path: PathBuf,
        /// The mount point.
        mount: PathBuf,
    },
    /// A subvolume lies inside, or another file system that no mount explains.
    #[error("`{}` is a subvolume of its own inside `{}`: a snapshot of the latter does not hold it", inner.display(), path.display())]
    OtherStorageInside {
        /// The data path.
        path: PathBuf,
        /// The directory.
        inner: PathBuf,
    },
    /// The kernel does not tell where a path is mounted.
    #[error("no mount of this machine holds `{}`", path.display())]
    NoMount {
        /// The path.
        path: PathBuf,
    },
    /// A background task died.
    #[error("the flush of the file systems died")]
    Died(#[source] tokio::task::JoinError),
}

fn role(replays: bool) -> &'static str {
    if replays { "a standby" } else { "a primary" }
}

impl Classify for PathError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::NotADirectory { .. }
            | Self::NotACluster { .. }
            | Self::OtherCluster { .. }
            | Self::OtherDirectory { .. }
            | Self::OtherRole { .. }
            | Self::LinkedDirectory { .. }
            | Self::TablespaceLink { .. }
            | Self::MountInside { .. }
            | Self::OtherStorageInside { .. }
            | Self::NoMount { .. } => ErrorClass::Config,
            Self::UnknownTablespace { .. } => ErrorClass::Refused,
            Self::Died(_) => ErrorClass::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::File(error) => return error.hint(),
            Self::Inspect(error) => return error.hint(),
            Self::Died(_) => return None,
            Self::NotADirectory { .. } | Self::NotACluster { .. } | Self::OtherDirectory { .. } => {
                "check `pgdata` under `[cluster]`"
            }
            Self::OtherCluster { .. } => "`pgdata` and `conninfo` under `[cluster]` must name the same server, on this machine",
            Self::OtherRole { .. } => {
                "`conninfo` must name the server of `pgdata`; the primary of a standby belongs into `primary_conninfo` (and a server \
                 that was promoted or started just now tells it in a moment)"
            }
            Self::LinkedDirectory { .. } => "only `pg_wal` and tablespaces may lie outside the data directory",
            Self::TablespaceLink { .. } => "run this on the machine of the server; a moved link must be known to the server",
            Self::UnknownTablespace { .. } => {
                "a tablespace may have been created or dropped just now: run it again; a link that stays is a leftover"
            }
            Self::MountInside { .. } | Self::OtherStorageInside { .. } => {
                "only `pg_wal` and tablespaces may have storage of their own: move what it holds to the storage of the directory"
            }
            Self::NoMount { .. } => "run this where the server's file systems are mounted",
        };
        Some(advice.to_owned())
    }
}
