//! Announces a backup so that no deletion can miss it: the intent is written while nobody deletes.
//!
//! The lease is held for this one write only. A deletion that ran before is over, and what it took the backup will not need, or
//! the backup finds it missing in the archive and is not published; one that comes later reads the intent. A long backup does not
//! keep others from deleting: its intent protects it. What the snapshots will say of themselves is decided here as well, since it
//! names the catalog, which gets its name with its first backup.

use super::preflight::Prepared;
use super::{PushError, PushRequest, labels, undo};
use crate::catalog::{CatalogError, Intent, Lease};
use crate::flows::Ports;

/// Writes the intent under the lease, and gives the lease back.
pub(in crate::flows) async fn announce(
    ports: &Ports<'_>,
    lease: Lease<'_>,
    request: &PushRequest,
    prepared: &mut Prepared,
) -> Result<(), PushError> {
    let written = match labels::label(ports, request, prepared).await {
        Ok(()) => write(ports, &lease, &prepared.intent).await,
        Err(error) => Err(error),
    };
    lease.release().await;
    written
}

async fn write(ports: &Ports<'_>, lease: &Lease<'_>, intent: &Intent) -> Result<(), PushError> {
    match ports.catalog().begin(intent).await {
        Ok(()) => {}
        // The intent of that name is somebody else's.
        Err(error @ CatalogError::NameTaken { .. }) => return Err(error.into()),
        Err(error) => return Err(undo::withdraw(ports, &intent.name, error.into()).await),
    }
    // Still held after the write, it was held at the write: whoever deletes takes the lease later and reads the intent. If not, a
    // deletion may have read the catalog before the intent was there.
    match lease.prove().await {
        Ok(()) => Ok(()),
        Err(error) => Err(undo::withdraw(ports, &intent.name, error.into()).await),
    }
}
