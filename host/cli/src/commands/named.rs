//! The backup that an operator names: ours, WAL-G's, or the newest as `LATEST`.

use std::str::FromStr;

use jiff::Timestamp;
use stillframe_core::catalog::Catalog;
use stillframe_core::flows::{AnyBackupName, BackupSelector, FetchError};

use crate::exit::Failure;
use crate::parse;

/// The word for the newest; no backup has such a name.
const LATEST: &str = "LATEST";

/// A backup as the operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBackup {
    /// The newest of ours that has not failed and is not being deleted, as `snapshot-fetch` takes it.
    Latest,
    /// The one of this name.
    Name(AnyBackupName),
}

impl FromStr for NamedBackup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == LATEST { Ok(Self::Latest) } else { parse::any_backup(text).map(Self::Name) }
    }
}

impl NamedBackup {
    /// The name, which for the newest the catalog knows.
    pub async fn resolve(&self, catalog: &Catalog<'_>) -> Result<AnyBackupName, Failure> {
        match self {
            Self::Name(name) => Ok(name.clone()),
            Self::Latest => {
                let contents = catalog.contents().await?;
                let newest = contents.latest(Timestamp::now()).map(|backup| backup.sentinel.name.clone());
                for error in contents.unreadable {
                    tracing::warn!(%error, "left out");
                }
                Ok(AnyBackupName::Snapshot(newest.ok_or(FetchError::NoBackups)?))
            }
        }
    }
}

/// What a restore is told; one of WAL-G's is understood, so that the refusal can say what to do instead.
impl From<NamedBackup> for BackupSelector {
    fn from(named: NamedBackup) -> Self {
        match named {
            NamedBackup::Latest => Self::Latest,
            NamedBackup::Name(AnyBackupName::Snapshot(name)) => Self::Named(name),
            NamedBackup::Name(AnyBackupName::WalG(name)) => Self::WalG(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_asked_for_by_one_word_only() {
        assert_eq!("LATEST".parse(), Ok(NamedBackup::Latest));
        let name = "sf-20261121T083214Z-9k3m2p7x";
        assert_eq!(name.parse(), Ok(NamedBackup::Name(parse::any_backup(name).unwrap())));
        for text in ["latest", "LATEST ", "", "sf-20261121T083214Z"] {
            assert!(text.parse::<NamedBackup>().is_err(), "{text}");
        }
    }
}
