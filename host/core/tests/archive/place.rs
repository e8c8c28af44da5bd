//! A store, a cluster in it, and WAL to archive.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use stillframe_core::catalog::{
    ArchiveError, ArchiveSettings, ClusterName, Compression, Identities, IdentitySource, Layout, PushOutcome, Recipient,
    SecretString, WalArchive, add_cluster,
};
use stillframe_core::postgres::{SystemIdentifier, WalFileName, WalSegment, WalSegmentSize};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{MemoryStore, wal_segment};

pub(crate) const CLUSTER: SystemIdentifier = SystemIdentifier(7_309_412_345_678_901_234);

pub(crate) struct Place {
    pub(crate) store: MemoryStore,
    pub(crate) layout: Layout,
}

impl Place {
    /// A store to which the cluster was added.
    pub(crate) fn new() -> Self {
        Self::on(MemoryStore::default())
    }

    pub(crate) fn on(store: MemoryStore) -> Self {
        let place = Self::without_cluster(store);
        let _ = add_cluster(&place.store, &place.layout).now_or_never().unwrap().unwrap();
        place
    }

    /// A store that knows nothing of the cluster.
    pub(crate) fn without_cluster(store: MemoryStore) -> Self {
        Self { store, layout: Layout::new(ClusterName::try_from("main".to_owned()).unwrap()) }
    }

    pub(crate) fn archive<'a>(&'a self, settings: &'a ArchiveSettings) -> WalArchive<'a> {
        self.archive_on(&self.store, settings)
    }

    pub(crate) fn archive_on<'a>(&'a self, store: &'a dyn Store, settings: &'a ArchiveSettings) -> WalArchive<'a> {
        WalArchive::new(store, &self.layout, settings)
    }

    pub(crate) async fn push(
        &self,
        name: WalFileName,
        content: &[u8],
        settings: &ArchiveSettings,
    ) -> Result<PushOutcome, ArchiveError> {
        self.archive(settings).push(name, content.to_vec()).await
    }

    pub(crate) async fn put(&self, object: &str, body: impl Into<Bytes>) {
        self.store.put(&key(object), body.into()).await.unwrap();
    }

    pub(crate) async fn read(&self, object: &str) -> Vec<u8> {
        self.store.get(&key(object)).await.unwrap().unwrap().to_vec()
    }

    /// Names of all objects of the archive, without their directory.
    pub(crate) fn objects(&self) -> Vec<String> {
        self.below("main/wal_005/")
    }

    /// What follows this prefix in the keys that begin with it.
    pub(crate) fn below(&self, prefix: &str) -> Vec<String> {
        self.store.snapshot().keys().filter_map(|key| key.as_str().strip_prefix(prefix)).map(str::to_owned).collect()
    }
}

pub(crate) fn key(object: &str) -> Key {
    Key::parse(&format!("main/wal_005/{object}")).unwrap()
}

pub(crate) fn history() -> WalFileName {
    "00000002.history".parse().unwrap()
}

pub(crate) fn segment() -> WalSegment {
    WalSegment { timeline: "000000010000000000000003".parse::<WalFileName>().unwrap().timeline(), number: 3 }
}

pub(crate) fn segment_size() -> WalSegmentSize {
    WalSegmentSize::SMALLEST
}

pub(crate) fn segment_name() -> WalFileName {
    segment().file_name(segment_size())
}

/// A segment of 1 MiB with a true header, half of it zeros; the same in every run, and on little-endian machines everywhere.
pub(crate) fn segment_content() -> Vec<u8> {
    let mut content = wal_segment(3, CLUSTER, segment_size(), 0);
    // The page size, which no server leaves out, is not in what the vectors were made of.
    content[36..40].fill(0);
    for (at, line) in content[8192..512 << 10].chunks_exact_mut(64).enumerate() {
        let text = format!("{:>60}\n", at % 97);
        line[..text.len()].copy_from_slice(text.as_bytes());
    }
    content
}

pub(crate) fn compressions() -> [Compression; 3] {
    [Compression::Zstd(1), Compression::Lz4, Compression::None]
}

pub(crate) fn plain(compression: Compression) -> ArchiveSettings {
    ArchiveSettings { compression, ..ArchiveSettings::default() }
}

/// A key pair as `age-keygen` makes it.
pub(crate) struct Keys {
    pub(crate) secret: String,
    pub(crate) public: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        Self { secret: identity.to_string().expose_secret().to_owned(), public: identity.to_public().to_string() }
    }
}

/// Settings as on a database host: it can encrypt to these and decrypt nothing.
pub(crate) fn encrypting(compression: Compression, recipients: &[&Keys]) -> ArchiveSettings {
    let recipients = recipients.iter().map(|keys| keys.public.parse::<Recipient>().unwrap()).collect();
    ArchiveSettings { compression, recipients, ..ArchiveSettings::default() }
}

/// The same settings where these private keys are at hand.
pub(crate) fn with_identities(settings: &ArchiveSettings, keys: &[&Keys]) -> ArchiveSettings {
    let lines: Vec<&str> = keys.iter().flat_map(|keys| ["# a key", &keys.secret]).collect();
    let text = lines.join("\n");
    let read = Arc::new(move || Ok(SecretString::from(text.clone())));
    let identities = Identities::new(IdentitySource::Reader { origin: "the test".to_owned(), read });
    ArchiveSettings { identities, ..settings.clone() }
}

/// Every way of writing, with what it takes to read it.
pub(crate) fn every_form(keys: &Keys) -> Vec<ArchiveSettings> {
    let sealed = compressions().map(|compression| encrypting(compression, &[keys]));
    compressions().map(plain).into_iter().chain(sealed).map(|settings| with_identities(&settings, &[keys])).collect()
}
