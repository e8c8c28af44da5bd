//! Everything that a judgement needs, read in an order in which nothing that lives can be taken for a leftover.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rebuild::{Obstacle, Rebuilder};
use super::{ReconcileError, ReconcileRequest, labels};
use crate::catalog::{BackupName, CatalogContents, CatalogIdentity, Intent, RestoreRecord, Sentinel};
use crate::flows::known_snapshots::KnownSnapshots;
use crate::flows::{Phase, Ports, Step};
use crate::postgres::SystemIdentifier;
use crate::provider::{ProviderError, ProviderName, SetReference, SnapshotSet, Token};

/// A set and the provider that listed it.
pub(super) type Listed<'a> = (&'a ProviderName, &'a SnapshotSet);

/// What was read.
pub(super) struct Evidence {
    pub(super) now: Timestamp,
    pub(super) contents: CatalogContents,
    pub(super) restores: Vec<RestoreRecord>,
    /// Records that cannot be read, and why.
    pub(super) unreadable: Vec<(String, String)>,
    /// What each provider that answered has listed.
    pub(super) listings: BTreeMap<ProviderName, Vec<SnapshotSet>>,
    /// Providers that did not answer.
    pub(super) unknown: Vec<ProviderError>,
    /// Sets that no listing had, asked for one by one, by handle.
    pub(super) asked: BTreeMap<(ProviderName, String), Option<SnapshotSet>>,
    pub(super) identity: Option<CatalogIdentity>,
    /// Interrupted backups that somebody has begun to settle.
    pub(super) given_up: BTreeSet<BackupName>,
    /// What could be published, and why not.
    pub(super) rebuilt: BTreeMap<BackupName, Result<Sentinel, Obstacle>>,
}

impl Evidence {
    /// Reads all of it; fails only when the catalog as such cannot be read.
    pub(super) async fn gather(ports: &Ports<'_>, request: &ReconcileRequest) -> Result<Self, ReconcileError> {
        let catalog = ports.catalog();
        // Only to learn whom to ask.
        let before = catalog.contents().await?;
        let owners = owners(ports, request, &before).await?;
        let names = providers(request, &before);
        // First the storage, then the catalog: what is cut after the listing is not in it, and what was cut before has its intent.
        let (mut listings, mut unknown) = (BTreeMap::new(), Vec::new());
        let total = names.len() as u64;
        for (done, name) in names.iter().enumerate() {
            let (subject, done) = (Some(name.to_string()), Some(done as u64));
            ports.progress.report(&Step { subject, done, total: Some(total), ..Step::begun(Phase::Compare) });
            match list(ports, name, &owners).await {
                Ok(sets) => _ = listings.insert(name.clone(), sets),
                Err(error) => unknown.push(error),
            }
        }
        let contents = catalog.contents().await?;
        let (restores, unreadable_restores) = ports.restores().all().await?;
        let unreadable = contents.unreadable.iter().chain(&unreadable_restores);
        let unreadable = unreadable.map(|error| (error.key().map_or_else(String::new, ToString::to_string), error.to_string()));
        let mut evidence = Self {
            now: ports.clock.now(),
            unreadable: unreadable.collect(),
            restores,
            listings,
            unknown,
            asked: BTreeMap::new(),
            identity: catalog.identity().await?,
            given_up: BTreeSet::new(),
            rebuilt: BTreeMap::new(),
            contents,
        };
        evidence.ask(ports).await;
        for intent in &evidence.contents.intents {
            if catalog.is_condemned(&intent.name).await? {
                evidence.given_up.insert(intent.name.clone());
            }
        }
        evidence.rebuild(ports, request).await;
        Ok(evidence)
    }

    /// Asks for what is recorded and was not listed: a listing may lag behind, and a section of the configuration may have changed.
    async fn ask(&mut self, ports: &Ports<'_>) {
        let mut asked = BTreeMap::new();
        for backup in self.contents.backups.iter().filter(|backup| !backup.is_condemned && !backup.has_failed()) {
            for set in &backup.sentinel.sets {
                if !self.is_known(&set.provider) || self.find(&set.snapshot.token, &set.snapshot.handle).is_some() {
                    continue;
                }
                match get(ports, &set.provider, SetReference::Handle(set.snapshot.handle.clone())).await {
                    Ok(found) => _ = asked.insert((set.provider.clone(), set.snapshot.handle.clone()), found),
                    Err(error) => self.unknown.push(error),
                }
            }
        }
        // Deleted since the catalog was read: then nothing is missing.
        for backup in &mut self.contents.backups {
            let is_gone = |set: &crate::catalog::BackupSet| {
                asked.get(&(set.provider.clone(), set.snapshot.handle.clone())).is_some_and(Option::is_none)
            };
            if backup.sentinel.sets.iter().any(is_gone) {
                let name = &backup.sentinel.name;
                let is_condemned = ports.catalog().is_condemned(name).await.unwrap_or(true);
                backup.is_condemned = is_condemned || !ports.catalog().is_published(name).await.unwrap_or(false);
            }
        }
        self.asked = asked;
        self.unknown.sort_by(|one, other| one.provider.cmp(&other.provider));
        self.unknown.dedup_by(|one, other| one.provider == other.provider);
    }

    /// Looks for what could be published: interrupted backups, and those that are in no record.
    async fn rebuild(&mut self, ports: &Ports<'_>, request: &ReconcileRequest) {
        let mut rebuilder = Rebuilder::new(ports, self.unknown.is_empty());
        let known = KnownSnapshots::of(&self.contents);
        let mut rebuilt = BTreeMap::new();
        for intent in self.contents.intents.iter().filter(|intent| self.is_abandoned(intent, request)) {
            let found: Vec<Listed<'_>> = self.sets_of(intent).collect();
            if !found.is_empty() && !self.given_up.contains(&intent.name) {
                let result = match shared(&known, &found) {
                    Some(obstacle) => Err(obstacle),
                    None => rebuilder.rebuild(&intent.name, &found).await,
                };
                rebuilt.insert(intent.name.clone(), result);
            }
        }
        for (name, sets) in self.in_no_record() {
            let Ok(name) = name.parse::<BackupName>() else { continue };
            if self.is_ours(&name, &sets, request) && !self.is_recorded(&name) {
                let result = match shared(&known, &sets) {
                    Some(obstacle) => Err(obstacle),
                    None => rebuilder.rebuild(&name, &sets).await,
                };
                rebuilt.insert(name, result);
            }
        }
        self.rebuilt = rebuilt;
    }

    /// Whether the provider answered.
    pub(super) fn is_known(&self, provider: &ProviderName) -> bool {
        self.listings.contains_key(provider) && !self.unknown.iter().any(|error| &error.provider == provider)
    }

    /// Whether nobody goes on with an interrupted backup.
    pub(super) fn is_abandoned(&self, intent: &Intent, request: &ReconcileRequest) -> bool {
        intent.is_abandoned(self.now, request.process_space.as_deref())
    }

    /// All sets that were listed. Two sections of a configuration may be about one storage system and list the same.
    fn all(&self) -> impl Iterator<Item = Listed<'_>> {
        self.listings.iter().flat_map(|(provider, sets)| sets.iter().map(move |set| (provider, set)))
    }

    /// How many there are.
    pub(super) fn listed(&self) -> usize {
        self.all().map(|(_, set)| &set.handle).collect::<BTreeSet<_>>().len()
    }

    /// A set by token and handle, whichever provider listed it. One that has only one of the two is not known to be the same.
    pub(super) fn find(&self, token: &Token, handle: &str) -> Option<&SnapshotSet> {
        self.all().map(|(_, set)| set).find(|set| set.token == *token && set.handle == handle)
    }

    /// The sets that an intent accounts for.
    pub(super) fn sets_of<'a>(&'a self, intent: &'a Intent) -> impl Iterator<Item = Listed<'a>> {
        intent.requests.iter().filter_map(|request| {
            let listed = || self.all().filter(|(_, set)| set.token == request.token);
            listed().find(|(provider, _)| **provider == request.provider).or_else(|| listed().next())
        })
    }

    /// The sets that are in no record, by the name that they bear. A set is known by token or handle, whatever else it says.
    pub(super) fn in_no_record(&self) -> BTreeMap<String, Vec<Listed<'_>>> {
        let contents = &self.contents;
        let snapshots = || contents.backups.iter().flat_map(|backup| &backup.sentinel.sets).map(|set| &set.snapshot);
        let intents = contents.intents.iter().chain(&contents.stale_intents).flat_map(|intent| &intent.requests);
        let tokens: BTreeSet<&str> =
            snapshots().map(|set| &set.token).chain(intents.map(|request| &request.token)).map(|token| token.0.as_str()).collect();
        let handles: BTreeSet<&str> = snapshots().map(|set| set.handle.as_str()).collect();
        let mut by_name: BTreeMap<String, Vec<Listed<'_>>> = BTreeMap::new();
        for (provider, set) in self.all() {
            if tokens.contains(set.token.0.as_str()) || handles.contains(set.handle.as_str()) {
                continue;
            }
            let sets = by_name.entry(set.name.clone()).or_default();
            if sets.iter().all(|(_, other)| other.token != set.token) {
                sets.push((provider, set));
            }
        }
        by_name
    }

    /// Whether sets of this name belong to this catalog.
    pub(super) fn is_ours(&self, name: &BackupName, sets: &[Listed<'_>], request: &ReconcileRequest) -> bool {
        request.claimed.contains(name) || sets.iter().all(|(_, set)| labels::is_of(set, self.identity.as_ref()) == Some(true))
    }

    /// Whether the catalog holds anything under this name, or may.
    pub(super) fn is_recorded(&self, name: &BackupName) -> bool {
        let contents = &self.contents;
        contents.find(name).is_some()
            || contents.intents.iter().any(|intent| &intent.name == name)
            || contents.remnants.contains(name)
            || !contents.unreadable.is_empty()
    }
}

/// What a listed backup is made of is no part of another one, and does not go with it.
fn shared(known: &KnownSnapshots, sets: &[Listed<'_>]) -> Option<Obstacle> {
    let (provider, owner) = sets.iter().find_map(|(provider, set)| Some((provider, known.other_owner(provider, set)?)))?;
    Some(Obstacle::Later(format!("the provider `{provider}` says that a snapshot of `{owner}` belongs to it")))
}

/// The owners whose snapshots this catalog may know.
async fn owners(ports: &Ports<'_>, request: &ReconcileRequest, contents: &CatalogContents) -> Result<Vec<String>, ReconcileError> {
    let mut clusters: BTreeSet<SystemIdentifier> = request.clusters.clone();
    clusters.extend(contents.backups.iter().map(|backup| backup.sentinel.system_identifier));
    clusters.extend(contents.intents.iter().map(|intent| intent.system_identifier));
    clusters.extend(ports.claims().all().await?.into_iter().map(|claim| claim.system_identifier));
    Ok(clusters.into_iter().map(|cluster| labels::owner(ports.layout, cluster)).collect())
}

/// The providers that are configured, and those that a record names.
fn providers(request: &ReconcileRequest, contents: &CatalogContents) -> BTreeSet<ProviderName> {
    let of_backups = contents.backups.iter().flat_map(|backup| &backup.sentinel.sets).map(|set| &set.provider);
    let of_intents = contents.intents.iter().flat_map(|intent| &intent.requests).map(|asked| &asked.provider);
    request.providers.iter().chain(of_backups).chain(of_intents).cloned().collect()
}

async fn list(ports: &Ports<'_>, name: &ProviderName, owners: &[String]) -> Result<Vec<SnapshotSet>, ProviderError> {
    let provider = ports.providers.open(name).await?;
    let mut sets = Vec::new();
    for owner in owners {
        sets.extend(provider.list(owner).await?);
    }
    Ok(sets)
}

async fn get(ports: &Ports<'_>, name: &ProviderName, reference: SetReference) -> Result<Option<SnapshotSet>, ProviderError> {
    ports.providers.open(name).await?.get(&reference).await
}
