//! Builds the components once per process, and loads the hostile one with a configuration.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::{fs, io};

use stillframe_core::provider::{
    CreateRequest, DataPath, DataPathName, DataRole, Labels, OWNER_LABEL, ProviderError, RestoreDirectory, RestoreRequest, Token,
    Volume,
};
use stillframe_runtime::{
    ComponentSource, EngineKind, Grants, Limits, ProviderSettings, Runtime, RuntimeSettings, Sha256, TreeGrant, WasmProvider,
};
use tokio::sync::OnceCell;
use tracing_subscriber::fmt::MakeWriter;

/// Owner of all sets in these tests.
pub(crate) const OWNER: &str = "main-7";

/// The components' directory. They are built into a target directory of their own, since this process's build may hold the other's
/// lock.
static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
    let guests = target_directory().join("guests");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2"])
        .args(["-p", "stillframe-guest-hostile", "-p", "stillframe-guest-runner"])
        .arg("--target-dir")
        .arg(&guests)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the components of the tests cannot be built: {built}");
    guests.join("wasm32-wasip2/plugin")
});

/// One engine for all tests, with a cache that survives them: an unoptimised compiler takes seconds.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(cached(EngineKind::Auto)));

/// Set once the component's compiled code is in the cache, so that tests in parallel do not each compile it.
static COMPILED: OnceCell<()> = OnceCell::const_new();

fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// Settings with the cache of the tests.
pub(crate) fn cached(engine: EngineKind) -> RuntimeSettings {
    RuntimeSettings { engine, cache: Some(target_directory().join("compiled-guests")) }
}

/// The hostile component's file.
pub(crate) fn hostile() -> PathBuf {
    GUESTS.join("stillframe_guest_hostile.wasm")
}

/// The file of the component that runs programs.
pub(crate) fn runner() -> PathBuf {
    GUESTS.join("stillframe_guest_runner.wasm")
}

/// A file as a source, with the digest that it has.
pub(crate) fn pinned(path: PathBuf) -> ComponentSource {
    let sha256 = Some(Sha256::of(&fs::read(&path).unwrap()));
    ComponentSource::File { path, sha256 }
}

/// The hostile provider with one behaviour and `tree` without a root; a minute for each operation, which only a fault exhausts.
pub(crate) fn settings(config: &[(&str, &str)]) -> ProviderSettings {
    ProviderSettings {
        name: "hostile".to_owned().try_into().unwrap(),
        component: pinned(hostile()),
        config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect(),
        grants: Grants { tree: Some(TreeGrant::default()), ..Grants::default() },
        command_prefix: Vec::new(),
        limits: Limits { deadline_secs: Some(60), ..Limits::default() },
    }
}

/// The same, with another deadline.
pub(crate) fn settings_until(deadline_secs: u64, config: &[(&str, &str)]) -> ProviderSettings {
    let mut settings = settings(config);
    settings.limits.deadline_secs = Some(deadline_secs);
    settings
}

/// The runtime of the tests.
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Loads it.
pub(crate) async fn load(settings: ProviderSettings) -> WasmProvider {
    COMPILED.get_or_init(async || drop(RUNTIME.load(self::settings(&[])).await.unwrap())).await;
    RUNTIME.load(settings).await.unwrap()
}

/// Loads it with one behaviour.
pub(crate) async fn hostile_that(behaviour: &str) -> WasmProvider {
    load(settings(&[("do", behaviour)])).await
}

/// An error with all its causes, as an operator reads it.
pub(crate) fn whole(error: &ProviderError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A data path that lies here.
pub(crate) fn data_path(name: DataPathName, path: &Path) -> DataPath {
    DataPath {
        role: if name == DataPathName::Data { DataRole::Data } else { DataRole::Tablespace },
        name,
        path: path.to_owned(),
        mount_point: "/".into(),
        fs_type: "ext4".to_owned(),
        mount_source: "/dev/sda1".to_owned(),
        devices: Vec::new(),
        skip: Vec::new(),
        last: vec!["global/pg_control".to_owned()],
    }
}

/// PGDATA and one tablespace.
pub(crate) fn data_paths(path: &Path) -> Vec<DataPath> {
    vec![data_path(DataPathName::Data, path), data_path(DataPathName::Tablespace(16_384), path)]
}

/// A request for one volume per path.
pub(crate) fn create_request(paths: &[DataPath]) -> CreateRequest {
    let volume =
        |path: &DataPath| Volume { id: format!("vol-{}", path.name), paths: vec![path.clone()], attributes: Labels::new() };
    CreateRequest {
        token: Token("token-1".to_owned()),
        name: "sf-20261121T083214Z-9k3m2p7x".parse().unwrap(),
        volumes: paths.iter().map(volume).collect(),
        labels: [(OWNER_LABEL.to_owned(), OWNER.to_owned())].into(),
        previous: None,
    }
}

/// A request to restore PGDATA to this place.
pub(crate) fn restore_request(path: &Path) -> RestoreRequest {
    let directory = RestoreDirectory { name: DataPathName::Data, role: DataRole::Data, path: path.to_owned(), last: Vec::new() };
    RestoreRequest { handle: "handle".to_owned(), token: Token("token-2".to_owned()), directories: vec![directory] }
}

/// Collects what is logged on this thread while it lives.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to collect.
    pub(crate) fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false).with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
