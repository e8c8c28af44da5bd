//! The catalog: which backups exist, which are about to, and which WAL is archived.
//!
//! The intent is written before the first side effect of a backup, the sentinel as its very last step: a backup exists when its
//! sentinel does. A sentinel never changes; what may change later (permanence, readiness, a lock, a drill, a deletion that has begun) lies in
//! objects of its own beside it. Reading tells apart what is absent from what is unreadable, so that whoever deletes can fail closed.

pub(crate) mod age;
mod archive;
mod cluster_mark;
mod codec;
mod drill;
mod error;
mod external;
mod guard;
mod identity;
mod increment;
mod intent;
mod kept;
mod layout;
mod lease;
mod lock;
mod marks;
mod name;
mod passport;
mod restores;
mod sentinel;
mod state;
mod walg;

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

pub use archive::{
    ArchiveError, ArchiveSettings, ArchivedFile, ArchivedObject, Compression, Content, Damage, EncodeError, Identities,
    IdentityError, IdentityReader, IdentitySource, InvalidRecipient, Proof, PushOutcome, Recipient, Restored, SecretString,
    WalArchive,
};
pub use cluster_mark::add_cluster;
pub use drill::{CheckFinding, DrillCheck, DrillOutcome, DrillRecord};
pub use error::CatalogError;
pub use external::{ExternalArchive, ExternalKind, ExternalProof, external_layout};
pub use guard::{ArchiveClaim, Claims, DirectoryIdentity, Instance, InstanceError, Place};
pub use identity::CatalogIdentity;
pub use increment::{Increment, Increments, InvalidRestorePointName, RestorePointName};
pub use intent::{IntendedSet, Intent, IntentProcess};
pub use layout::{ClusterName, InvalidClusterName, Layout};
pub use lease::{Lease, LeaseError, LeaseHolder, LeaseRequest, process_space};
pub use lock::BackupLock;
pub use name::{BackupName, InvalidBackupName};
pub use passport::{Passport, PassportPart, PassportProblem};
pub use restores::{RECOVERY_TIME, RestoreRecord, RestoredDirectory, RestoredPart, Restores};
pub use sentinel::{BackupPath, BackupSet, BackupVolume, Consistency, OutsideCopy, Permanence, Sentinel};
pub use state::BackupState;
pub use walg::{InvalidWalGName, WalGBackup, WalGContents, WalGName};

use crate::provider::Token;
use crate::store::{self, Key, PutOutcome, Store, StoreError};
use layout::Record;
use marks::{Condemned, Mark, Standalone};

/// One backup that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// What was written when it was published.
    pub sentinel: Sentinel,
    /// Whether retention may delete it, as last marked.
    pub permanence: Permanence,
    /// Whether its deletion has begun: its snapshot may be gone, so nobody may restore from it.
    pub is_condemned: bool,
    /// Whether its snapshots were ready, as far as anybody has asked.
    pub state: BackupState,
    /// The lock that was last put on it, which may have ended.
    pub lock: Option<BackupLock>,
    /// What its last drill found; none when there was none.
    pub drill: Option<DrillRecord>,
    /// Whether it stands alone: WAL beyond its own was given up, so that it can be restored to its own end and no further.
    pub is_standalone: bool,
    /// Its increments, in the order of their places.
    pub increments: Vec<Increment>,
}

impl Backup {
    /// A backup about which nothing is known but what was published.
    #[must_use]
    pub fn published(sentinel: Sentinel) -> Self {
        let state = BackupState::of_sentinel(&sentinel);
        Self {
            permanence: sentinel.permanence,
            sentinel,
            is_condemned: false,
            state,
            lock: None,
            drill: None,
            is_standalone: false,
            increments: Vec::new(),
        }
    }

    /// Whether its snapshots can never be restored.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.state, BackupState::Failed(_))
    }

    /// Until when it may not be deleted; none when nothing keeps it now.
    #[must_use]
    pub fn locked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.lock.map(|lock| lock.until).filter(|until| *until > now)
    }
}

/// Everything that the catalog holds about one cluster.
#[derive(Debug, Default)]
pub struct CatalogContents {
    /// Published backups, oldest first.
    pub backups: Vec<Backup>,
    /// Intents without a sentinel: running, interrupted, or waiting for an undo to be finished.
    pub intents: Vec<Intent>,
    /// Intents that stayed beside their sentinels: they account for nothing any more.
    pub stale_intents: Vec<Intent>,
    /// Names of which only a mark of deletion is left: the last step of an interrupted deletion.
    pub remnants: Vec<BackupName>,
    /// Increments whose parent is not there: nothing can be restored by them.
    pub stray_increments: Vec<Increment>,
    /// What could not be read.
    pub unreadable: Vec<CatalogError>,
}

impl CatalogContents {
    /// Gives the contents only if everything could be read: nothing may be deleted on a partial view.
    pub fn complete(mut self) -> Result<Self, CatalogError> {
        match self.unreadable.pop() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Finds a backup by name.
    #[must_use]
    pub fn find(&self, name: &BackupName) -> Option<&Backup> {
        self.backups.iter().find(|backup| &backup.sentinel.name == name)
    }

    /// The newest backup that has not failed and is not being deleted; none of a cluster that was in this place before.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Option<&Backup> {
        let standing = self.backups.iter().filter(|backup| !backup.is_condemned);
        let ordered = age::oldest_first(standing, |backup| backup.sentinel.age(), now);
        let cluster = ordered.last()?.sentinel.system_identifier;
        let is_restorable = |backup: &&Backup| backup.sentinel.system_identifier == cluster && !backup.has_failed();
        ordered.into_iter().rev().find(is_restorable)
    }
}

/// Reads and writes the records of one cluster's backups.
pub struct Catalog<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
}

impl<'a> Catalog<'a> {
    /// Opens the catalog of the cluster that the layout describes.
    #[must_use]
    pub fn new(store: &'a dyn Store, layout: &'a Layout) -> Self {
        Self { store, layout }
    }

    /// Records that a backup begins. From here on its snapshots are accounted for.
    pub async fn begin(&self, intent: &Intent) -> Result<(), CatalogError> {
        let key = self.layout.record(&intent.name, Record::Intent);
        match self.store.put_if_absent(&key, intent.to_bytes(&key)?).await? {
            PutOutcome::Created => Ok(()),
            PutOutcome::AlreadyExists => Err(CatalogError::NameTaken { name: intent.name.clone() }),
        }
    }

    /// Publishes a backup. This is the commit point; the intent goes afterwards.
    ///
    /// A write whose answer got lost is repeated: only a store that was asked to write says that the object is durable. A backup
    /// that somebody gave up meanwhile is taken back: whoever settles it condemns it first and looks for the sentinel then, and
    /// here it is the other way round, so that at least one of the two sees the other.
    pub async fn publish(&self, sentinel: &Sentinel) -> Result<(), CatalogError> {
        let name = &sentinel.name;
        let key = self.layout.record(name, Record::Sentinel);
        let body = sentinel.to_bytes(&key)?;
        let unknown = |source| CatalogError::PublicationUnknown { name: name.clone(), source };
        if self.is_given_up(name).await? {
            return Err(CatalogError::GivenUp { name: name.clone() });
        }
        let written = match self.store.put_if_absent(&key, body.clone()).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => self.store.put_if_absent(&key, body.clone()).await,
        };
        match written {
            Ok(PutOutcome::Created) => {}
            Ok(PutOutcome::AlreadyExists) => match self.store.get(&key).await.map_err(unknown)? {
                Some(found) if found == body => {}
                _ => return Err(CatalogError::NameTaken { name: name.clone() }),
            },
            Err(error) => {
                return match self.store.get(&key).await {
                    Ok(None) => Err(error.into()),
                    Ok(Some(_)) | Err(_) => Err(unknown(error)),
                };
            }
        }
        if self.is_given_up(name).await.map_err(unknown)? {
            self.store.delete(&key).await.map_err(unknown)?;
            return Err(CatalogError::GivenUp { name: name.clone() });
        }
        // Nothing else accounts for the snapshot from here on: a store that has lost it must not cost the intent as well.
        match self.store.get(&key).await.map_err(unknown)? {
            Some(found) if found == body => Ok(()),
            // It was there, and somebody has deleted the backup since.
            None if self.is_given_up(name).await.map_err(unknown)? => Err(CatalogError::GivenUp { name: name.clone() }),
            _ => Err(CatalogError::NotKept { name: name.clone() }),
        }
    }

    /// Whether somebody has settled, or is settling, a backup that has not been published.
    ///
    /// Who settles removes the intent before the condemnation: read the other way round, one of the two is always seen.
    async fn is_given_up(&self, name: &BackupName) -> Result<bool, StoreError> {
        let condemned = self.store.head(&self.layout.record(name, Record::Condemned)).await?;
        let intent = self.store.head(&self.layout.record(name, Record::Intent)).await?;
        Ok(condemned.is_some() || intent.is_none())
    }

    /// The bytes that [`Self::publish`] would write, for whoever has to keep them until then.
    pub fn render(&self, sentinel: &Sentinel) -> Result<Bytes, CatalogError> {
        sentinel.to_bytes(&self.sentinel_key(&sentinel.name))
    }

    /// Reads what [`Self::render`] gave.
    pub fn parse(&self, name: &BackupName, body: &[u8]) -> Result<Sentinel, CatalogError> {
        Sentinel::from_bytes(&self.sentinel_key(name), name, body)
    }

    /// What was announced of a backup; none when it was not, or when that is over.
    pub async fn intent(&self, name: &BackupName) -> Result<Option<Intent>, CatalogError> {
        let Some(body) = self.read(name, Record::Intent).await? else { return Ok(None) };
        Intent::from_bytes(&self.layout.record(name, Record::Intent), name, &body).map(Some)
    }

    /// Whether the backup has been published.
    pub async fn is_published(&self, name: &BackupName) -> Result<bool, CatalogError> {
        Ok(self.store.head(&self.layout.record(name, Record::Sentinel)).await?.is_some())
    }

    /// Whether a backup of this name has begun and is not published, or was not when its intent should have gone.
    pub async fn is_announced(&self, name: &BackupName) -> Result<bool, CatalogError> {
        Ok(self.store.head(&self.layout.record(name, Record::Intent)).await?.is_some())
    }

    /// What snapshots bear that belong to this catalog; none before its first backup.
    pub async fn identity(&self) -> Result<Option<CatalogIdentity>, CatalogError> {
        identity::read(self.store, self.layout).await
    }

    /// The same, made of this token when there is none yet. Of several writers one decides, and all get the same.
    pub async fn identify(&self, token: &Token) -> Result<CatalogIdentity, CatalogError> {
        identity::read_or_make(self.store, self.layout, token).await
    }

    /// What was written when the backup was published; none when it was not.
    pub async fn sentinel(&self, name: &BackupName) -> Result<Option<Sentinel>, CatalogError> {
        let Some(body) = self.read(name, Record::Sentinel).await? else { return Ok(None) };
        Sentinel::from_bytes(&self.layout.record(name, Record::Sentinel), name, &body).map(Some)
    }

    /// Removes the intent: the backup is published, or everything that it announced is undone.
    pub async fn remove_intent(&self, name: &BackupName) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.record(name, Record::Intent)).await?)
    }

    /// Marks a backup as permanent or not.
    pub async fn mark(&self, name: &BackupName, permanence: Permanence, now: Timestamp) -> Result<(), CatalogError> {
        let mark = Mark { format_version: FORMAT_VERSION, permanent: permanence == Permanence::Permanent, marked_at: now };
        let key = self.layout.record(name, Record::Mark);
        Ok(self.store.put(&key, codec::to_bytes(&key, &mark)?).await?)
    }

    /// Records that the deletion of a backup has begun, before anything of it goes. From here on nobody restores from it.
    ///
    /// Condemned before is as good: an interrupted deletion goes on, or another one is at it.
    pub async fn condemn(&self, name: &BackupName, now: Timestamp) -> Result<PutOutcome, CatalogError> {
        let key = self.layout.record(name, Record::Condemned);
        let body = codec::to_bytes(&key, &Condemned { format_version: FORMAT_VERSION, condemned_at: now })?;
        Ok(self.store.put_if_absent(&key, body).await?)
    }

    /// Takes the condemnation of a backup back, of which nothing has been deleted.
    pub async fn pardon(&self, name: &BackupName) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.record(name, Record::Condemned)).await?)
    }

    /// Whether the backup is being deleted.
    pub async fn is_condemned(&self, name: &BackupName) -> Result<bool, CatalogError> {
        Ok(self.store.head(&self.layout.record(name, Record::Condemned)).await?.is_some())
    }

    /// What the backup was last marked as; none when it never was.
    pub async fn marked(&self, name: &BackupName) -> Result<Option<Permanence>, CatalogError> {
        let Some(body) = self.read(name, Record::Mark).await? else { return Ok(None) };
        let mark: Mark = codec::from_bytes(&self.layout.record(name, Record::Mark), &body)?;
        Ok(Some(if mark.permanent { Permanence::Permanent } else { Permanence::Ordinary }))
    }

    /// Records what became of the snapshots of a published backup; gives what is recorded now. The first outcome is the last.
    pub async fn settle_state(&self, name: &BackupName, state: &BackupState, now: Timestamp) -> Result<BackupState, CatalogError> {
        let key = self.layout.record(name, Record::State);
        let Some(body) = state.to_bytes(&key, now)? else { return Ok(state.clone()) };
        // An earlier outcome stays; and a backup that was forgotten meanwhile must not come to life by it.
        let _: PutOutcome = self.store.put_if_absent(&key, body).await?;
        if !self.is_published(name).await? {
            self.store.delete(&key).await?;
        }
        Ok(self.settled_state(name).await?.unwrap_or_else(|| state.clone()))
    }

    async fn settled_state(&self, name: &BackupName) -> Result<Option<BackupState>, CatalogError> {
        let Some(body) = self.read(name, Record::State).await? else { return Ok(None) };
        BackupState::from_bytes(&self.layout.record(name, Record::State), &body).map(Some)
    }

    async fn lock(&self, name: &BackupName) -> Result<Option<BackupLock>, CatalogError> {
        let Some(body) = self.read(name, Record::Lock).await? else { return Ok(None) };
        BackupLock::from_bytes(&self.layout.record(name, Record::Lock), &body).map(Some)
    }

    /// Records what a drill found, in place of what an earlier one did.
    pub async fn record_drill(&self, name: &BackupName, drill: &DrillRecord) -> Result<(), CatalogError> {
        let key = self.layout.record(name, Record::Drill);
        self.store.put(&key, drill.to_bytes(&key)?).await?;
        // A backup that was forgotten meanwhile must not come to life by it.
        if !self.is_published(name).await? {
            self.store.delete(&key).await?;
        }
        Ok(())
    }

    async fn drill(&self, name: &BackupName) -> Result<Option<DrillRecord>, CatalogError> {
        let Some(body) = self.read(name, Record::Drill).await? else { return Ok(None) };
        DrillRecord::from_bytes(&self.layout.record(name, Record::Drill), &body).map(Some)
    }

    /// Records that WAL beyond a backup's own is given up, before any of it goes. There is no way back: what has gone is gone.
    pub async fn make_standalone(&self, name: &BackupName, now: Timestamp) -> Result<(), CatalogError> {
        let key = self.layout.record(name, Record::Standalone);
        let body = codec::to_bytes(&key, &Standalone { format_version: FORMAT_VERSION, since: now })?;
        let _: PutOutcome = self.store.put_if_absent(&key, body).await?;
        Ok(())
    }

    /// Removes every record of a backup whose snapshots are gone, but the mark of its deletion: as long as that is there, the next
    /// run sees that something is left to do.
    pub async fn unpublish(&self, name: &BackupName) -> Result<(), CatalogError> {
        let mut records = Record::ALL;
        records.sort_by_key(|record| *record != Record::Sentinel);
        for record in records.into_iter().filter(|record| *record != Record::Condemned) {
            self.store.delete(&self.layout.record(name, record)).await?;
        }
        Ok(())
    }

    /// Removes every record of a backup of which nothing is left. The mark of deletion goes last, so that an interruption is seen.
    pub async fn forget(&self, name: &BackupName) -> Result<(), CatalogError> {
        self.unpublish(name).await?;
        Ok(self.store.delete(&self.layout.record(name, Record::Condemned)).await?)
    }

    /// Reads everything; what cannot be read is listed as such.
    pub async fn contents(&self) -> Result<CatalogContents, CatalogError> {
        let prefix = self.layout.records();
        let mut records: BTreeMap<BackupName, Vec<Record>> = BTreeMap::new();
        // Before their parents: one that is made or goes meanwhile is no stray by that.
        let (increments, unreadable) = Increments::new(self.store, self.layout).all().await?;
        let mut contents = CatalogContents { unreadable, ..CatalogContents::default() };
        for entry in store::list(self.store, &prefix).await? {
            match self.layout.parse_record(&entry.key) {
                Some((name, record)) => records.entry(name).or_default().push(record),
                None => contents.unreadable.push(CatalogError::Unknown { key: entry.key }),
            }
        }
        for (name, records) in records {
            if let Err(error) = self.read_backup(&name, &records, &mut contents).await {
                contents.unreadable.push(error);
            }
        }
        // Names tell the second only.
        contents.backups.sort_by_key(|backup| (backup.sentinel.started_at, backup.sentinel.name.clone()));
        increment::attach(increments, &mut contents);
        Ok(contents)
    }

    async fn read_backup(&self, name: &BackupName, records: &[Record], contents: &mut CatalogContents) -> Result<(), CatalogError> {
        let is_listed = |record| records.contains(&record);
        if is_listed(Record::Sentinel) {
            if is_listed(Record::Intent) {
                self.read_stale_intent(name, contents).await?;
            }
            return self.read_published(name, is_listed, contents).await;
        }
        if !is_listed(Record::Intent) {
            // A listing that lags behind must not make a remnant of a backup: whatever is left of a remnant is removed.
            if self.is_published(name).await? {
                let may_be_there = |record| is_listed(record) || record != Record::Condemned;
                return self.read_published(name, may_be_there, contents).await;
            }
            contents.remnants.push(name.clone());
            return Ok(());
        }
        match self.read(name, Record::Intent).await? {
            Some(body) => contents.intents.push(Intent::from_bytes(&self.layout.record(name, Record::Intent), name, &body)?),
            // Gone since the listing: published meanwhile, or undone.
            None => self.read_published(name, |record| record != Record::Condemned, contents).await?,
        }
        Ok(())
    }

    /// It says nothing that the sentinel does not: when it cannot be read, nothing is lost.
    async fn read_stale_intent(&self, name: &BackupName, contents: &mut CatalogContents) -> Result<(), CatalogError> {
        let Some(body) = self.read(name, Record::Intent).await? else { return Ok(()) };
        match Intent::from_bytes(&self.layout.record(name, Record::Intent), name, &body) {
            Ok(intent) => contents.stale_intents.push(intent),
            Err(error) => tracing::warn!(%error, "the intent of a published backup cannot be read"),
        }
        Ok(())
    }

    async fn read_published(
        &self,
        name: &BackupName,
        is_listed: impl Fn(Record) -> bool,
        contents: &mut CatalogContents,
    ) -> Result<(), CatalogError> {
        let Some(sentinel) = self.sentinel(name).await? else { return Ok(()) };
        let mut backup = Backup { is_condemned: is_listed(Record::Condemned), ..Backup::published(sentinel) };
        if let Some(permanence) = self.marked(name).await? {
            backup.permanence = permanence;
        }
        // Most backups have neither, and each question costs a request.
        if is_listed(Record::State) {
            backup.state = self.settled_state(name).await?.unwrap_or(backup.state);
        }
        if is_listed(Record::Lock) {
            backup.lock = self.lock(name).await?;
        }
        if is_listed(Record::Drill) {
            backup.drill = self.drill(name).await?;
        }
        if is_listed(Record::Standalone) {
            backup.is_standalone = self.read(name, Record::Standalone).await?.is_some();
        }
        contents.backups.push(backup);
        Ok(())
    }

    /// Reads a record; none when it has gone since the listing, which another process may do at any time.
    async fn read(&self, name: &BackupName, record: Record) -> Result<Option<Bytes>, CatalogError> {
        Ok(self.store.get(&self.layout.record(name, record)).await?)
    }

    /// Reads the base backups that WAL-G keeps in the same place; what cannot be read is listed as such.
    pub async fn walg(&self) -> Result<WalGContents, CatalogError> {
        walg::read(self.store, self.layout).await
    }

    /// The key of a sentinel, for messages.
    #[must_use]
    pub fn sentinel_key(&self, name: &BackupName) -> Key {
        self.layout.record(name, Record::Sentinel)
    }
}

/// Version of the format of every record that has had one form so far. A reader refuses what it does not know.
const FORMAT_VERSION: u32 = 1;
