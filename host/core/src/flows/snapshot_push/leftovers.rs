//! What earlier backups of this host left in the catalog: the harmless part of `reconcile`, before each backup.
//!
//! Only records go here, and only those of which nothing else is left; no snapshot is deleted without an operator's word. It
//! takes no longer than a moment, waits for nobody, and never makes a backup fail.

use std::time::Duration;

use jiff::Timestamp;

use super::PushRequest;
use crate::catalog::{CatalogContents, Intent, Lease, LeaseRequest};
use crate::error::chain;
use crate::flows::Ports;
use crate::flows::delete::DeleteError;
use crate::flows::delete::backup::settle;
use crate::provider::SetReference;

/// How long a backup may be kept from beginning.
const DEADLINE: Duration = Duration::from_secs(30);

/// What was left.
pub(in crate::flows) struct Leftovers {
    /// Announced and never published.
    interrupted: Vec<Intent>,
    /// Beside a sentinel.
    stale: Vec<Intent>,
}

impl Leftovers {
    /// Those of this host that nobody can go on with. What others left is theirs to see to.
    pub(in crate::flows) fn of(contents: &CatalogContents, request: &PushRequest, now: Timestamp) -> Self {
        let here = request.lease.process_space.as_deref();
        let is_ours = |intent: &&Intent| intent.hostname == request.hostname;
        let stale = contents.stale_intents.iter().filter(is_ours).filter(|intent| intent.is_abandoned(now, here));
        // What a storage system was asked for just before a process ended may still come.
        let is_over = |intent: &&Intent| now >= intent.expires_at && intent.is_abandoned(now, here);
        let interrupted = contents.intents.iter().filter(is_ours).filter(is_over);
        Self { interrupted: interrupted.cloned().collect(), stale: stale.cloned().collect() }
    }

    /// Settles what can be settled at once, and says what cannot.
    pub(in crate::flows) async fn settle(&self, ports: &Ports<'_>, lease: &LeaseRequest) {
        if self.interrupted.is_empty() && self.stale.is_empty() {
            return;
        }
        // Whoever holds the lease is not waited for: the next backup, or `reconcile`, finds the same.
        let request = LeaseRequest { deadline: Duration::ZERO, ..lease.clone() };
        let lease = match ports.lease(&request).await {
            Ok(lease) => lease,
            Err(error) => return tracing::debug!("what earlier backups left stays for now: {}", chain(&error)),
        };
        // Not dropped with the work, so that this very backup does not wait for its end.
        let done = tokio::select! {
            biased;
            done = self.settle_all(ports, &lease) => done,
            () = ports.clock.sleep(DEADLINE) => return give_up(lease).await,
        };
        if let Err(error) = done {
            tracing::warn!("what earlier backups left stays for now: {}", chain(&error));
        }
        lease.release().await;
    }

    async fn settle_all(&self, ports: &Ports<'_>, lease: &Lease<'_>) -> Result<(), DeleteError> {
        for intent in &self.stale {
            lease.prove().await?;
            if ports.catalog().is_published(&intent.name).await? {
                ports.catalog().remove_intent(&intent.name).await?;
            }
        }
        for intent in &self.interrupted {
            if self.has_cut(ports, intent).await? {
                tracing::warn!(backup = %intent.name, "an interrupted backup has left snapshots: see `stillframe reconcile`");
                continue;
            }
            settle(ports, lease, intent).await?;
            tracing::info!(backup = %intent.name, "removed the record of an interrupted backup, which had cut nothing");
        }
        Ok(())
    }

    async fn has_cut(&self, ports: &Ports<'_>, intent: &Intent) -> Result<bool, DeleteError> {
        for request in &intent.requests {
            let provider = ports.providers.open(&request.provider).await?;
            if provider.get(&SetReference::Token(request.token.clone())).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn give_up(lease: Lease<'_>) {
    tracing::warn!("what earlier backups left stays for now: looking took longer than {} s", DEADLINE.as_secs());
    lease.release().await;
}
