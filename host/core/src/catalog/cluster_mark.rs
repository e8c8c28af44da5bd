//! The mark of a cluster in a store: what tells a cluster that has archived nothing yet from a name that was mistyped.
//!
//! Under a mistyped name nothing is there, which would prove that every file is absent, and PostgreSQL would end its recovery
//! there. So an absence counts only below a prefix that is known: by the mark, which `store create` makes, or by anything else that
//! lies there, as in the archives of WAL-G. A push needs no mark, and leaves a prefix that is known.

use serde::Serialize;

use super::{CatalogError, ClusterName, FORMAT_VERSION, Layout, codec};
use crate::store::{PutOutcome, Store, StoreError};

#[derive(Serialize)]
struct Mark<'a> {
    format_version: u32,
    cluster: &'a ClusterName,
}

/// Adds the cluster to the store; one that was added before is left as it is.
///
/// Call it only when the operator asks for it, as for the store itself.
pub async fn add_cluster(store: &dyn Store, layout: &Layout) -> Result<PutOutcome, CatalogError> {
    let key = layout.cluster_mark();
    let body = codec::to_bytes(&key, &Mark { format_version: FORMAT_VERSION, cluster: layout.cluster() })?;
    Ok(store.put_if_absent(&key, body).await?)
}

/// Whether the store knows the cluster; costs one request.
pub(super) async fn is_known(store: &dyn Store, layout: &Layout) -> Result<bool, StoreError> {
    // Where names are cheap to ask for, listings are not: the directories of an archive are large.
    if store.look_up(&[layout.cluster_mark()]).await?.is_some_and(|are_there| are_there == [true]) {
        return Ok(true);
    }
    Ok(!store.list_page(&layout.all(), None, 1).await?.is_empty())
}
