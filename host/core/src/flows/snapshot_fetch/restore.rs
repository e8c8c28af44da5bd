//! Lets the providers fill the destination, and every tablespace's directory beside it.
//!
//! The restore is announced in the store before any provider is asked, for what a provider mounts or clones must be known to somebody
//! until it is released; where the operator has no right to write, a copy is all that is made. When it fails or is interrupted,
//! everything is taken back; what cannot be stays recorded.

use super::elsewhere;
use super::places::{self, Place};
use super::{Announcement, FetchError, FetchRequest};
use crate::catalog::{BackupSet, RestoreRecord, RestoredDirectory, RestoredPart, Sentinel};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::release::{release, release_parts};
use crate::flows::{Phase, Ports, Step};
use crate::postgres::PgControl;
use crate::provider::{DataPathName, ProviderError, RestoreDirectory, RestoreRequest, Token};

/// A restore that has been announced.
pub(super) struct Restore<'a> {
    ports: &'a Ports<'a>,
    sentinel: &'a Sentinel,
    places: Vec<Place>,
    record: RestoreRecord,
    /// Whether the store has the record.
    is_announced: bool,
    /// How many providers have been asked.
    asked: usize,
}

impl<'a> Restore<'a> {
    /// Announces what will be restored, and makes the directories.
    pub(super) async fn begin(ports: &'a Ports<'a>, request: &FetchRequest, sentinel: &'a Sentinel) -> Result<Self, FetchError> {
        let places = places::find(request, sentinel)?;
        refuse_if_restored(ports, request, &places, None).await?;
        let is_alone = sentinel.sets.len() == 1;
        let part = |set: &BackupSet| RestoredPart {
            provider: set.provider.clone(),
            token: if is_alone { request.token.clone() } else { request.token.for_provider(&set.provider) },
            handle: None,
            directories: directories(sentinel, set, &places),
        };
        let record = RestoreRecord {
            token: request.token.clone(),
            backup: sentinel.name.clone(),
            hostname: request.hostname.clone(),
            destination: request.destination.clone(),
            begun_at: ports.clock.now(),
            // A set of nothing but `pg_wal` is not needed.
            parts: sentinel.sets.iter().map(part).filter(|part| !part.directories.is_empty()).collect(),
        };
        // A provider that cannot even be loaded must not leave anything behind.
        for part in &record.parts {
            ports.providers.open(&part.provider).await?;
        }
        let is_announced = request.announcement == Announcement::Required;
        let mut restore = Self { ports, sentinel, places: Vec::new(), record, is_announced, asked: 0 };
        match restore.announce(request, &places).await {
            Ok(()) => {}
            // It was refused, so that nothing is there to take back.
            Err(FetchError::NotAnnounced(error)) if error.class() == ErrorClass::Config => {
                return Err(FetchError::NotAnnounced(error));
            }
            // It may be announced all the same.
            Err(error) => return Err(restore.take_back(error).await),
        }
        // From here on the directories are ours to make, and to put back.
        let made = places::make(&places);
        restore.places = places;
        match made {
            Ok(()) => Ok(restore),
            Err(error) => Err(restore.take_back(error.into()).await),
        }
    }

    /// Announces the restore, and looks then whether somebody else is at the same place, or deletes the backup: both of them write
    /// first and look afterwards, so that one of the two sees the other.
    async fn announce(&self, request: &FetchRequest, places: &[Place]) -> Result<(), FetchError> {
        if self.is_announced {
            self.ports.restores().announce(&self.record).await.map_err(FetchError::NotAnnounced)?;
        }
        refuse_if_restored(self.ports, request, places, Some(&self.record.token)).await?;
        self.refuse_if_deleted().await
    }

    async fn refuse_if_deleted(&self) -> Result<(), FetchError> {
        let (catalog, name) = (self.ports.catalog(), &self.sentinel.name);
        // The sentinel goes before the condemnation does.
        if catalog.is_condemned(name).await? || !catalog.is_published(name).await? {
            return Err(FetchError::Condemned(name.clone()));
        }
        Ok(())
    }

    /// Lets every provider restore, proves what lies elsewhere, and links to it. May be dropped at any point: see [`Self::take_back`].
    pub(super) async fn run(&mut self) -> Result<(), FetchError> {
        let begun_at = self.ports.clock.now();
        for number in 0..self.record.parts.len() {
            self.asked = number + 1;
            let part = &self.record.parts[number];
            let provider = self.ports.providers.open(&part.provider).await?;
            let waited = self.ports.clock.now().duration_since(begun_at).unsigned_abs();
            self.ports.progress.report(&Step {
                subject: Some(part.provider.to_string()),
                done: Some(number as u64),
                total: Some(self.record.parts.len() as u64),
                waited,
                ..Step::begun(Phase::Restore)
            });
            tracing::info!(provider = %part.provider, "the provider restores the snapshot set");
            let restored = provider.restore(&self.request(part)?).await?;
            let part = &mut self.record.parts[number];
            part.handle = Some(restored.handle);
            for directory in &mut part.directories {
                let found = restored.directories.iter().find(|(name, _)| *name == directory.name);
                directory.restored = Some(found.map(|(_, path)| path.clone()).ok_or_else(|| unanswered(&part.provider))?);
            }
            // Before the first link is made, so that whoever releases knows which links are ours.
            if self.is_elsewhere() {
                if !self.is_announced {
                    return Err(FetchError::NeedsRecord(self.record.parts[number].provider.clone()));
                }
                self.ports.restores().update(&self.record).await?;
            }
        }
        // What is restored while its snapshot is deleted may lack anything.
        self.refuse_if_deleted().await?;
        elsewhere::prove(self.sentinel, &self.record.parts)?;
        Ok(elsewhere::link(&self.record.parts)?)
    }

    /// Whether something must be released one day.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.record.directories().any(|directory| directory.elsewhere().is_some())
    }

    /// Keeps the record of what must be released one day, and of nothing else.
    pub(super) async fn finish(mut self) -> Option<RestoreRecord> {
        let is_elsewhere = |part: &RestoredPart| part.directories.iter().any(|directory| directory.elsewhere().is_some());
        let parts = self.record.parts.len();
        self.record.parts.retain(is_elsewhere);
        if !self.is_announced {
            return None;
        }
        let written = match self.record.parts.len() {
            0 => self.ports.restores().remove(&self.record).await,
            kept if kept < parts => self.ports.restores().update(&self.record).await,
            _ => Ok(()),
        };
        // A record that tells of too much does no harm: to release what needs no releasing is a success.
        if let Err(error) = written {
            tracing::warn!(%error, restore = self.record.token.0, "the restore is complete, and its record could not be changed");
        }
        (!self.record.parts.is_empty()).then_some(self.record)
    }

    /// Takes back what was done; gives the error that the operator must see. Nothing of this restore is used by then.
    pub(super) async fn take_back(mut self, cause: FetchError) -> FetchError {
        tracing::warn!("taking the restore back: {}", chain(&cause));
        self.ports.progress.report(&Step::begun(Phase::Undo));
        let all = std::mem::take(&mut self.record.parts);
        self.record.parts = all.into_iter().take(self.asked).collect();
        let released =
            if self.is_announced { release(self.ports, &self.record).await } else { release_parts(self.ports, &self.record).await };
        match released {
            Ok(_) => {
                places::put_back(&self.places);
                cause
            }
            Err(removal) => {
                FetchError::NotReleased { token: self.record.token.clone(), cause: Box::new(cause), removal: Box::new(removal) }
            }
        }
    }

    fn request(&self, part: &RestoredPart) -> Result<RestoreRequest, FetchError> {
        let set = self.sentinel.set_of(&part.provider).ok_or_else(|| unanswered(&part.provider))?;
        let role = |name: &DataPathName| self.places.iter().find(|place| place.name == *name).map(|place| place.role);
        let directory = |directory: &RestoredDirectory| {
            let is_data = directory.name == DataPathName::Data;
            Some(RestoreDirectory {
                name: directory.name.clone(),
                role: role(&directory.name)?,
                path: directory.asked.clone(),
                last: if is_data { vec![PgControl::PATH.to_owned()] } else { Vec::new() },
            })
        };
        Ok(RestoreRequest {
            handle: set.snapshot.handle.clone(),
            token: part.token.clone(),
            directories: part.directories.iter().filter_map(directory).collect(),
        })
    }
}

/// The directories of a set, where they are wanted.
fn directories(sentinel: &Sentinel, set: &BackupSet, places: &[Place]) -> Vec<RestoredDirectory> {
    let held = sentinel.paths_in(set).filter_map(|path| places.iter().find(|place| place.name == path.name));
    held.map(|place| RestoredDirectory { name: place.name.clone(), asked: place.path.clone(), restored: None }).collect()
}

/// A link of ours may be there, and lead nowhere since the machine was started again: then the place only looks free.
async fn refuse_if_restored(
    ports: &Ports<'_>,
    request: &FetchRequest,
    places: &[Place],
    own: Option<&Token>,
) -> Result<(), FetchError> {
    let (records, unreadable) = ports.restores().all().await?;
    for error in unreadable {
        tracing::warn!(%error, "left out");
    }
    let uses = |record: &&RestoreRecord| {
        record.hostname == request.hostname
            && Some(&record.token) != own
            && record.directories().any(|directory| places.iter().any(|place| place.path == directory.asked))
    };
    match records.iter().find(uses) {
        Some(record) => Err(FetchError::AlreadyRestored { backup: record.backup.clone(), destination: record.destination.clone() }),
        None => Ok(()),
    }
}

/// The runtime proves that every directory is answered for.
fn unanswered(provider: &crate::provider::ProviderName) -> FetchError {
    let fault =
        crate::provider::ProviderFault::BadAnswer("the directories that it restored are not the ones of the request".to_owned());
    ProviderError { provider: provider.clone(), operation: "restore the snapshot set", fault }.into()
}
