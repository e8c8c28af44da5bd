//! Whether this instance may archive what it pushes: the normal primary always, a clone and a server that was rolled back never.
//!
//! The first instance that pushes a segment of a timeline claims it. Whoever writes no WAL on a timeline needs no claim: a standby,
//! which replays, and a promoted server, which leaves history, a `.partial` and whole segments that both lines share. Their content
//! is compared all the same, as that of every file whose name is in the archive already. What the claim cannot tell, the content
//! does: then [`explain`] says what has happened.

mod verdict;

use thiserror::Error;

pub(in crate::flows) use verdict::OF_ANOTHER_CLUSTER;
pub use verdict::{Finding, Verdict};

use crate::catalog::{ArchiveClaim, CatalogError, Claims, Instance};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::postgres::WalFileName;
use crate::store::{Key, PutOutcome, StoreError};

/// What happens when another instance archives the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guarding {
    /// The push is refused.
    #[default]
    Refuse,
    /// It is logged, and the push goes on.
    Warn,
    /// Nobody looks.
    Off,
}

/// Admits a push or refuses it. The content is not needed, so that it may be compressed meanwhile; nothing may be written before.
///
/// A store that fails makes the push fail, as it would fail the push itself: PostgreSQL tries again.
pub async fn admit(ports: &Ports<'_>, guarding: Guarding, instance: &Instance, name: WalFileName) -> Result<(), GuardError> {
    if guarding == Guarding::Off || !needs_claim(instance, name) {
        return Ok(());
    }
    match judge(ports, instance, name).await {
        Err(error @ (GuardError::Refused(_) | GuardError::Damaged { .. })) if guarding == Guarding::Warn => {
            tracing::warn!(hint = error.hint(), "{error}");
            Ok(())
        }
        judged => judged,
    }
}

/// Says what has happened when the archive holds the file with other content. A retry never comes here: its content is the same.
pub async fn explain(ports: &Ports<'_>, instance: &Instance, name: WalFileName) -> Verdict {
    let claim = match ports.claims().read(name.timeline()).await {
        Ok(claim) => claim,
        Err(error) => {
            tracing::warn!(%error, "it cannot be read who archives timeline {}", name.timeline());
            None
        }
    };
    let finding = match (&claim, name) {
        (_, WalFileName::History { .. }) => Finding::OtherHistory,
        (_, WalFileName::Partial { .. }) => Finding::OtherPartial,
        (Some(claim), _) if claim.system_identifier != instance.system_identifier => Finding::OtherCluster,
        _ if instance.is_in_recovery => Finding::OtherPrimary,
        (None, _) => Finding::Unclaimed,
        // A directory that is older than the claimant's was there first: that one is the copy.
        (Some(claim), _) if is_same_path(claim, instance) && !is_older(instance, claim) => Finding::RolledBackContent,
        (Some(_), _) => Finding::OtherContent,
    };
    verdict(ports, instance, name, finding, claim).await
}

/// Only whoever writes WAL on a timeline needs the claim to it.
fn needs_claim(instance: &Instance, name: WalFileName) -> bool {
    match name {
        WalFileName::Segment { .. } | WalFileName::BackupHistory { .. } => {
            // What is left of an older timeline is shared with whoever went on there.
            !instance.is_in_recovery && name.timeline() >= instance.timeline
        }
        // A promotion leaves them, on whatever host.
        WalFileName::History { .. } | WalFileName::Partial { .. } => false,
    }
}

/// How often a claim is read that somebody else makes in this moment.
const READS: usize = 3;

async fn judge(ports: &Ports<'_>, instance: &Instance, name: WalFileName) -> Result<(), GuardError> {
    let claims = ports.claims();
    for _ in 0..READS {
        let claim = claims.read(name.timeline()).await.map_err(|error| claim_error(&claims, name, error))?;
        let Some(claim) = claim else {
            match make_first(&claims, ports, instance, name).await? {
                PutOutcome::Created => return Ok(()),
                // Somebody was faster: it may have been another one.
                PutOutcome::AlreadyExists => continue,
            }
        };
        match judge_claim(ports, instance, name, claim).await? {
            Judgement::Admitted => return Ok(()),
            Judgement::Changed => {}
        }
    }
    Err(GuardError::Unsettled { key: claims.key(name.timeline()) })
}

/// Claims a timeline that nobody has claimed: a new one, or one that was archived before there were claims.
///
/// Who is behind the head of such an archive makes no claim, so that a clone which is upgraded first does not lock the primary out.
async fn make_first(
    claims: &Claims<'_>,
    ports: &Ports<'_>,
    instance: &Instance,
    name: WalFileName,
) -> Result<PutOutcome, GuardError> {
    if !matches!(name, WalFileName::Segment { .. }) || !is_at_head(claims, name).await? {
        return Ok(PutOutcome::Created);
    }
    // This timeline may be unclaimed because the cluster whose archive this is had left it before there were claims.
    let is_foreign = |claim: &ArchiveClaim| claim.system_identifier != instance.system_identifier;
    if let Some(foreign) = claims.all().await?.into_iter().find(is_foreign) {
        return Err(GuardError::Refused(Box::new(verdict(ports, instance, name, Finding::OtherCluster, Some(foreign)).await)));
    }
    let outcome = claims.make(&claim(ports, instance, name)).await?;
    if outcome == PutOutcome::Created {
        tracing::info!(file = %name, "{} archives timeline {} from now on", instance.place, name.timeline());
    }
    Ok(outcome)
}

/// What comes of a claim.
enum Judgement {
    /// The push is admitted.
    Admitted,
    /// There may be another claim now, which has to be judged.
    Changed,
}

async fn judge_claim(
    ports: &Ports<'_>,
    instance: &Instance,
    name: WalFileName,
    found: ArchiveClaim,
) -> Result<Judgement, GuardError> {
    let refuse = async |finding, found| Err(GuardError::Refused(Box::new(verdict(ports, instance, name, finding, found).await)));
    if found.system_identifier != instance.system_identifier {
        return refuse(Finding::OtherCluster, Some(found)).await;
    }
    if !is_same_path(&found, instance) {
        return refuse(Finding::OtherInstance, Some(found)).await;
    }
    if found.place.directory.is(&instance.place.directory) || !matches!(name, WalFileName::Segment { .. }) {
        return Ok(Judgement::Admitted);
    }
    // The directory was made anew in its place: moved, or brought back from an old copy. An old copy begins again at or before the
    // head, with other content.
    let claims = ports.claims();
    let around = claims.surroundings(name).await?;
    if around.is_archived {
        return Ok(Judgement::Admitted);
    }
    if around.has_later {
        return refuse(Finding::RolledBack, Some(found)).await;
    }
    tracing::warn!(
        file = %name,
        "{} was made anew and archives timeline {} from where it ends; if the server that was there lives elsewhere, one of the two is \
         a clone",
        instance.place,
        name.timeline()
    );
    take_over(&claims, &found, &claim(ports, instance, name)).await
}

/// Replaces a claim that is still the one that was judged; what is there afterwards has to be judged again.
///
/// A store cannot replace an object on the condition that it is unchanged. What remains is the moment between the look and the
/// write: an `archive accept` whose write falls there is undone, and must be said again. Until then, whoever has the host name and
/// the path of the claim that was there before archives as it did.
async fn take_over(claims: &Claims<'_>, found: &ArchiveClaim, ours: &ArchiveClaim) -> Result<Judgement, GuardError> {
    if claims.read(found.timeline).await?.as_ref() == Some(found) {
        claims.replace(ours).await?;
    }
    Ok(Judgement::Changed)
}

fn claim(ports: &Ports<'_>, instance: &Instance, name: WalFileName) -> ArchiveClaim {
    ArchiveClaim {
        system_identifier: instance.system_identifier,
        timeline: name.timeline(),
        place: instance.place.clone(),
        claimed_at: ports.clock.now(),
        first_file: Some(name),
    }
}

async fn is_at_head(claims: &Claims<'_>, name: WalFileName) -> Result<bool, StoreError> {
    let around = claims.surroundings(name).await?;
    Ok(!around.is_archived && !around.has_later)
}

fn is_older(instance: &Instance, claim: &ArchiveClaim) -> bool {
    let (ours, theirs) = (instance.place.directory, claim.place.directory);
    !ours.is(&theirs) && ours.born_at.is_some() && ours.born_at < theirs.born_at
}

fn is_same_path(claim: &ArchiveClaim, instance: &Instance) -> bool {
    claim.place.host == instance.place.host && claim.place.data_directory == instance.place.data_directory
}

async fn verdict(
    ports: &Ports<'_>,
    instance: &Instance,
    name: WalFileName,
    finding: Finding,
    claim: Option<ArchiveClaim>,
) -> Verdict {
    // The verdict stands without it.
    let newest = ports.claims().newest(name.timeline()).await.ok().flatten();
    Verdict { finding, name, instance: instance.clone(), claim, newest }
}

fn claim_error(claims: &Claims<'_>, name: WalFileName, error: CatalogError) -> GuardError {
    match error {
        CatalogError::Malformed { .. } | CatalogError::Inconsistent { .. } => {
            GuardError::Damaged { key: claims.key(name.timeline()), source: error }
        }
        other => GuardError::Catalog(other),
    }
}

/// Why a push was not admitted.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Another instance archives this timeline, or this one was rolled back.
    #[error(transparent)]
    Refused(Box<Verdict>),
    /// The claim cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive cannot be looked at.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The claim is damaged.
    #[error("it cannot be known who archives this timeline")]
    Damaged {
        /// Where it lies.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: CatalogError,
    },
    /// The claim comes and goes.
    #[error("the claim `{key}` was changed again and again while it was read")]
    Unsettled {
        /// Where it lies.
        key: Key,
    },
}

impl Classify for GuardError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(verdict) => verdict.class(),
            Self::Catalog(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Damaged { .. } => ErrorClass::Corrupt,
            Self::Unsettled { .. } => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(verdict) => verdict.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Damaged { key, .. } => Some(format!(
                "if this is the server whose WAL belongs here, run `stillframe archive accept` on it, which writes `{key}` anew"
            )),
            Self::Unsettled { .. } => None,
        }
    }
}
