//! Every seam of one run, behind one fuse.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use stillframe_core::data_directory::{StoppedError, StoppedFiles, StoppedServer};
use stillframe_core::error::ErrorClass;
use stillframe_core::files::FileError;
use stillframe_core::flows::{ColdServer, NoProgress, Ports, Primary, ProviderSource, Server};
use stillframe_core::paths::{Locator, PathError};
use stillframe_core::postgres::{
    ArchiverStatus, CheckpointMode, Connection, ConnectionError, ConnectionFault, Lsn, ServerFacts, StoppedBackup, WalFileName,
};
use stillframe_core::provider::{
    CreateRequest, DataPath, Deletion, LockMode, Provider, ProviderDescription, ProviderError, ProviderFault, ProviderName,
    RestoreRequest, Restored, SetReference, SnapshotSet, Volume,
};
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};
use stillframe_core::testing::{
    Effect, FakeLocator, FakeProvider, FakeServer, FakeStoppedServer, Fault, FileWatch, Fuse, MemoryStore, When,
};

use crate::programs::{FusedPrograms, Servers};
use crate::world::{Restoring, Starts, Stops, World};

/// What one process sees of the world.
pub(crate) struct Seams<'a> {
    pub(crate) fuse: Arc<Fuse>,
    world: &'a World,
    store: FusedStore,
    providers: FusedProviders,
    locator: FusedLocator,
    stopped: FusedStopped,
    programs: FusedPrograms,
    _files: FileWatch,
}

impl<'a> Seams<'a> {
    pub(crate) fn new(world: &'a World, faults: impl IntoIterator<Item = Fault>) -> Self {
        let fuse = Fuse::new(faults);
        let provider = |inner: &Arc<FakeProvider>| FusedProvider {
            fuse: fuse.clone(),
            inner: inner.clone(),
            server: world.server.clone(),
            restoring: world.restoring.clone(),
            servers: world.servers.clone(),
            is_shut_down: world.stopped.is_some(),
        };
        Self {
            store: FusedStore { fuse: fuse.clone(), inner: world.store.clone(), server: world.server.clone() },
            providers: FusedProviders {
                fuse: fuse.clone(),
                providers: world.providers.iter().map(|inner| Arc::new(provider(inner))).collect(),
            },
            locator: FusedLocator { fuse: fuse.clone() },
            stopped: FusedStopped { fuse: fuse.clone(), inner: world.stopped.clone() },
            programs: FusedPrograms::new(world, &fuse),
            _files: FileWatch::new(&world.root(), &fuse),
            fuse,
            world,
        }
    }

    pub(crate) fn ports(&self) -> Ports<'_> {
        Ports {
            store: &self.store,
            layout: &self.world.layout,
            archiving: &self.world.archiving,
            clock: &self.world.clock,
            providers: &self.providers,
            progress: &NoProgress,
        }
    }

    pub(crate) fn programs(&self) -> &FusedPrograms {
        &self.programs
    }

    pub(crate) fn cold_server(&self) -> ColdServer<'_> {
        ColdServer { stopped: &self.stopped, locator: &self.locator }
    }

    pub(crate) fn server(&self) -> Server<'_> {
        let connection = FusedConnection {
            fuse: self.fuse.clone(),
            inner: Some(self.world.server.connect()),
            starts: self.world.starts.clone(),
            stops: self.world.stops.clone(),
            server: self.world.server.clone(),
            label: String::new(),
        };
        Server { connection: Box::new(connection), primary: Primary::Unknown, locator: &self.locator }
    }
}

struct FusedStore {
    fuse: Arc<Fuse>,
    inner: Arc<MemoryStore>,
    server: FakeServer,
}

impl FusedStore {
    async fn pass<T>(
        &self,
        operation: &'static str,
        target: &str,
        effect: Effect,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let name = format!("{operation} {target}");
        if self.server.in_backup_mode() > 0 {
            self.fuse.accuse(format!("backup mode lasts for the cut only, and not for `{name}`"));
        }
        let fault = |_| StoreError {
            store: self.inner.url(),
            operation,
            target: target.to_owned(),
            class: ErrorClass::Transient,
            advice: None,
            source: "injected fault".into(),
        };
        self.fuse.pass(name, effect, work, fault).await
    }

    /// What is written once and never again.
    fn is_immutable(key: &Key) -> bool {
        let is_wal = key.as_str().contains("/wal_005/") && !key.as_str().ends_with(".sha256");
        let is_record = ["sentinel.json", "intent.json", "shutdown-wal"].contains(&key.file_name());
        is_wal || key.as_str().contains("/restore_points_001/") || is_record
    }
}

#[async_trait]
impl Store for FusedStore {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.pass("get", key.as_str(), Effect::Look, self.inner.get(key)).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        if Self::is_immutable(key) && self.inner.snapshot().contains_key(key) {
            self.fuse.accuse(format!("wal_never_overwritten, nor another record that must not change: `{key}`"));
        }
        self.pass("put", key.as_str(), Effect::Change, self.inner.put(key, body)).await
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.pass("put_if_absent", key.as_str(), Effect::Change, self.inner.put_if_absent(key, body)).await
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.pass("head", key.as_str(), Effect::Look, self.inner.head(key)).await
    }

    async fn look_up(&self, keys: &[Key]) -> Result<Option<Vec<bool>>, StoreError> {
        self.pass("look_up", "", Effect::Look, self.inner.look_up(keys)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.pass("delete", key.as_str(), Effect::Change, self.inner.delete(key)).await
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        self.pass("list", prefix, Effect::Look, self.inner.list_page(prefix, after, limit)).await
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.pass("prove", "", Effect::Look, self.inner.prove()).await
    }
}

/// A session whose answer can be lost, and the session with it, or which is refused one request.
struct FusedConnection {
    fuse: Arc<Fuse>,
    inner: Option<Box<dyn Connection>>,
    starts: Starts,
    stops: Stops,
    server: FakeServer,
    /// Of the backup that was started last.
    label: String,
}

fn lost(when: When) -> ConnectionError {
    let fault = match when {
        When::Before => ConnectionFault::Server { code: "XX000".to_owned(), message: "injected fault".to_owned(), hint: None },
        When::After => ConnectionFault::Lost("injected fault".to_owned()),
    };
    ConnectionError { server: "fake".to_owned(), operation: "do what was asked", fault }
}

macro_rules! ask {
    ($self:ident, $name:literal, $effect:expr, |$inner:ident| $work:expr) => {{
        let Some($inner) = &mut $self.inner else { return Err(lost(When::After)) };
        let answer = $self.fuse.pass(format!("server {}", $name), $effect, $work, lost).await;
        if answer.as_ref().is_err_and(|error| matches!(error.fault, ConnectionFault::Lost(_))) {
            $self.inner = None;
        }
        answer
    }};
}

#[async_trait]
impl Connection for FusedConnection {
    async fn facts(&mut self) -> Result<ServerFacts, ConnectionError> {
        ask!(self, "facts", Effect::Look, |inner| inner.facts())
    }

    async fn start_backup(&mut self, label: &str, checkpoint: CheckpointMode) -> Result<Lsn, ConnectionError> {
        let server = &self.server;
        let start = ask!(self, "start_backup", Effect::Change, |inner| async {
            // The checkpoint: no two backups start at one place.
            server.change(|facts| facts.wal_position = Lsn(facts.wal_position.0 + 0x1000));
            inner.start_backup(label, checkpoint).await
        })?;
        self.starts.lock().unwrap().insert(label.to_owned(), start);
        label.clone_into(&mut self.label);
        Ok(start)
    }

    async fn stop_backup(&mut self) -> Result<StoppedBackup, ConnectionError> {
        let (stops, label) = (&self.stops, &self.label);
        ask!(self, "stop_backup", Effect::Change, |inner| async {
            let stopped = inner.stop_backup().await?;
            stops.lock().unwrap().push((label.clone(), stopped.stop_lsn));
            Ok(stopped)
        })
    }

    async fn ping(&mut self) -> Result<(), ConnectionError> {
        ask!(self, "ping", Effect::Look, |inner| inner.ping())
    }

    async fn missing_grants(&mut self) -> Result<Vec<String>, ConnectionError> {
        ask!(self, "missing_grants", Effect::Look, |inner| inner.missing_grants())
    }

    async fn archiver(&mut self) -> Result<ArchiverStatus, ConnectionError> {
        ask!(self, "archiver", Effect::Look, |inner| inner.archiver())
    }

    async fn create_restore_point_and_switch(&mut self, name: &str) -> Result<Lsn, ConnectionError> {
        ask!(self, "switch", Effect::Change, |inner| inner.create_restore_point_and_switch(name))
    }
}

struct FusedProviders {
    fuse: Arc<Fuse>,
    providers: Vec<Arc<FusedProvider>>,
}

#[async_trait]
impl ProviderSource for FusedProviders {
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        let found = self.providers.iter().find(|provider| provider.name() == name).unwrap().clone();
        let fault = |_| ProviderError {
            provider: name.clone(),
            operation: "be loaded",
            fault: ProviderFault::Unusable("injected fault".to_owned()),
        };
        self.fuse.pass(format!("{name} open"), Effect::Look, async { Ok(found as Arc<dyn Provider>) }, fault).await
    }
}

struct FusedProvider {
    fuse: Arc<Fuse>,
    inner: Arc<FakeProvider>,
    server: FakeServer,
    restoring: Restoring,
    servers: Servers,
    is_shut_down: bool,
}

impl FusedProvider {
    async fn pass<T>(
        &self,
        call: &'static str,
        effect: Effect,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        if self.server.in_backup_mode() > 0 && call != "create" {
            self.fuse.accuse(format!("backup mode lasts for the cut only, and not for `{call}`"));
        }
        let fault = |when| ProviderError {
            provider: self.name().clone(),
            operation: "do what was asked",
            fault: match when {
                When::Before => ProviderFault::Transient("injected fault".to_owned()),
                When::After => ProviderFault::Indeterminate("injected fault".to_owned()),
            },
        };
        self.fuse.pass(format!("{} {call}", self.name()), effect, work, fault).await
    }
}

#[async_trait]
impl Provider for FusedProvider {
    fn name(&self) -> &ProviderName {
        self.inner.name()
    }

    async fn describe(&self) -> Result<ProviderDescription, ProviderError> {
        self.pass("describe", Effect::Look, self.inner.describe()).await
    }

    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        self.pass("check", Effect::Look, self.inner.check()).await
    }

    async fn resolve(&self, paths: &[DataPath]) -> Result<Vec<Volume>, ProviderError> {
        self.pass("resolve", Effect::Look, self.inner.resolve(paths)).await
    }

    async fn create(&self, request: &CreateRequest) -> Result<SnapshotSet, ProviderError> {
        if self.server.in_backup_mode() == 0 && !self.is_shut_down {
            self.fuse.accuse("nothing is cut outside backup mode".to_owned());
        }
        if !self.fuse.effects().iter().any(|(name, _)| name == "flush") {
            self.fuse.accuse("what is cut was flushed before".to_owned());
        }
        self.pass("create", Effect::Change, self.inner.create(request)).await
    }

    async fn get(&self, reference: &SetReference) -> Result<Option<SnapshotSet>, ProviderError> {
        self.pass("get", Effect::Look, self.inner.get(reference)).await
    }

    async fn list(&self, owner: &str) -> Result<Vec<SnapshotSet>, ProviderError> {
        self.pass("list", Effect::Look, self.inner.list(owner)).await
    }

    async fn delete(&self, handle: &str) -> Result<Deletion, ProviderError> {
        self.pass("delete", Effect::Change, self.inner.delete(handle)).await
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<Restored, ProviderError> {
        self.restoring.lock().unwrap().clone_from(&request.handle);
        self.pass("restore", Effect::Change, self.inner.restore(request)).await
    }

    async fn release(&self, handle: &str) -> Result<(), ProviderError> {
        if !self.servers.lock().unwrap().is_empty() {
            self.fuse.accuse("nothing_is_taken_from_under_a_server".to_owned());
        }
        self.pass("release", Effect::Change, self.inner.release(handle)).await
    }

    async fn lock(&self, handle: &str, mode: LockMode, until: Timestamp) -> Result<(), ProviderError> {
        self.pass("lock", Effect::Change, self.inner.lock(handle, mode, until)).await
    }

    async fn unlock(&self, handle: &str) -> Result<(), ProviderError> {
        self.pass("unlock", Effect::Change, self.inner.unlock(handle)).await
    }
}

struct FusedLocator {
    fuse: Arc<Fuse>,
}

impl FusedLocator {
    fn fault(_: When) -> PathError {
        FileError::new("read", "/pgdata", std::io::Error::other("injected fault")).into()
    }
}

#[async_trait]
impl Locator for FusedLocator {
    fn locate(&self, facts: &ServerFacts) -> Result<Vec<DataPath>, PathError> {
        self.fuse.pass_at_once("locate".to_owned(), Effect::Look, || FakeLocator.locate(facts), Self::fault)
    }

    async fn flush(&self, paths: &[DataPath]) -> Result<(), PathError> {
        self.fuse.pass("flush".to_owned(), Effect::Change, FakeLocator.flush(paths), Self::fault).await
    }
}

struct FusedStopped {
    fuse: Arc<Fuse>,
    inner: Option<FakeStoppedServer>,
}

impl FusedStopped {
    fn fault(_: When) -> StoppedError {
        FileError::new("read", "/pgdata", std::io::Error::other("injected fault")).into()
    }
}

impl StoppedServer for FusedStopped {
    fn look(&self) -> Result<StoppedFiles, StoppedError> {
        let inner = self.inner.as_ref().unwrap();
        self.fuse.pass_at_once("stopped look".to_owned(), Effect::Look, || inner.look(), Self::fault)
    }

    fn segment(&self, name: WalFileName) -> Result<Option<Vec<u8>>, StoppedError> {
        let inner = self.inner.as_ref().unwrap();
        self.fuse.pass_at_once(format!("stopped segment {name}"), Effect::Look, || inner.segment(name), Self::fault)
    }
}
