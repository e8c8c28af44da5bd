//! Accepts an instance as the one that archives a timeline, on the word of an operator.

use thiserror::Error;

use crate::catalog::{ArchiveClaim, CatalogError, Instance};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::flows::wal_push::guard::OF_ANOTHER_CLUSTER;
use crate::postgres::{SystemIdentifier, TimelineId};

/// What was accepted, and in whose place.
#[derive(Debug)]
pub struct Accepted {
    /// The claim as it is now.
    pub claim: ArchiveClaim,
    /// What was there before.
    pub replaced: Replaced,
}

/// What a claim replaced.
#[derive(Debug)]
pub enum Replaced {
    /// Nobody had claimed the timeline.
    Nothing,
    /// This claim.
    Claim(ArchiveClaim),
    /// One that nobody can read.
    Damaged(CatalogError),
}

/// Makes the instance the one that archives this timeline. The one that did so before is refused from then on.
///
/// Only the claim changes: what is archived stays, and content that differs from it is refused as before. The archive of another
/// cluster is never taken over: its histories would stop the standbys of this one, whose timelines begin anew.
pub async fn archive_accept(ports: &Ports<'_>, instance: &Instance, timeline: TimelineId) -> Result<Accepted, AcceptError> {
    // It would be refused nothing without the claim, and the server that it follows would be.
    if instance.is_in_recovery {
        return Err(AcceptError::InRecovery { data_directory: instance.place.data_directory.clone() });
    }
    let claims = ports.claims();
    let is_foreign = |claim: &ArchiveClaim| claim.system_identifier != instance.system_identifier;
    if let Some(claim) = claims.all().await?.into_iter().find(is_foreign) {
        return Err(AcceptError::OtherCluster { ours: instance.system_identifier, claim: Box::new(claim) });
    }
    let replaced = match claims.read(timeline).await {
        Ok(None) => Replaced::Nothing,
        Ok(Some(claim)) => Replaced::Claim(claim),
        Err(error @ (CatalogError::Malformed { .. } | CatalogError::Inconsistent { .. })) => Replaced::Damaged(error),
        Err(error) => return Err(error.into()),
    };
    let claim = ArchiveClaim {
        system_identifier: instance.system_identifier,
        timeline,
        place: instance.place.clone(),
        claimed_at: ports.clock.now(),
        first_file: None,
    };
    claims.replace(&claim).await?;
    Ok(Accepted { claim, replaced })
}

/// Why an instance was not accepted.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// The claim cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Another cluster archives here.
    #[error(
        "this server is of the cluster {ours}, and this is the archive of the cluster {}: timeline {} is archived by {}",
        claim.system_identifier,
        claim.timeline,
        claim.place
    )]
    OtherCluster {
        /// The cluster of the server.
        ours: SystemIdentifier,
        /// One of the claims of the other cluster.
        claim: Box<ArchiveClaim>,
    },
    /// It archives nothing of its own.
    #[error("the server in `{data_directory}` is in recovery: it writes no WAL that could be archived")]
    InRecovery {
        /// Its data directory.
        data_directory: String,
    },
}

impl Classify for AcceptError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::OtherCluster { .. } | Self::InRecovery { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::OtherCluster { .. } => Some(OF_ANOTHER_CLUSTER.to_owned()),
            Self::InRecovery { .. } => Some("promote it first; a timeline that it begins is its own without this".to_owned()),
        }
    }
}
