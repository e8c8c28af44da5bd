//! The labels by which a snapshot says whose it is.

use crate::catalog::{CatalogIdentity, Layout};
use crate::postgres::SystemIdentifier;
use crate::provider::SnapshotSet;

/// The backup.
pub(in crate::flows) const BACKUP_LABEL: &str = "stillframe-backup";

/// Token of the request that made it.
pub(in crate::flows) const TOKEN_LABEL: &str = "stillframe-token";

/// The catalog that knows it.
pub(in crate::flows) const CATALOG_LABEL: &str = "stillframe-catalog";

/// The owner of all snapshots of a cluster. Two clusters of one name must not take each other's for leftovers.
pub(in crate::flows) fn owner(layout: &Layout, cluster: SystemIdentifier) -> String {
    format!("{}/{cluster}", layout.cluster())
}

/// Whether a set says that it belongs to this catalog; none when it does not say to which, or its labels are those of another set.
pub(super) fn is_of(set: &SnapshotSet, catalog: Option<&CatalogIdentity>) -> Option<bool> {
    let says = set.labels.get(CATALOG_LABEL)?;
    let fits = |label, own: &str| set.labels.get(label).is_none_or(|says| says == own);
    if !fits(BACKUP_LABEL, &set.name) || !fits(TOKEN_LABEL, &set.token.0) {
        return None;
    }
    Some(catalog.is_some_and(|catalog| catalog.as_str() == says))
}
