//! What the tests of the remote stores share: settings for a server of the harness, and stores whose pauses take no time.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use stillframe_core::error::chain;
use stillframe_core::store::{Key, StoreError};
use stillframe_core::testing::ManualClock;
use stillframe_tests::{BUCKET, ObjectStoreServer};
use tempfile::TempDir;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::remote::RemoteStore;
use crate::s3::S3Wire;
use crate::settings::StoreSettings;
use crate::url::StoreUrl;

/// Settings for a bucket of an S3 server, with keys from a file.
pub(crate) fn s3_settings(endpoint: &str, credentials_file: &Path) -> StoreSettings {
    StoreSettings {
        endpoint: Some(endpoint.to_owned()),
        credentials_file: Some(credentials_file.to_owned()),
        ..StoreSettings::new(format!("s3://{BUCKET}/some/prefix").parse().unwrap())
    }
}

/// The same for a server that takes any keys; the directory holds the file.
pub(crate) fn s3_settings_of_any_key(endpoint: &str) -> (StoreSettings, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    std::fs::write(&file, "[default]\naws_access_key_id = A\naws_secret_access_key = B\n").unwrap();
    (s3_settings(endpoint, &file), directory)
}

/// The same for moto.
pub(crate) fn moto_settings(server: &ObjectStoreServer) -> StoreSettings {
    s3_settings(server.endpoint(), &server.credentials_file())
}

/// One attempt of each request to an S3 server.
pub(crate) async fn s3_wire(settings: &StoreSettings) -> S3Wire {
    let StoreUrl::S3(location) = &settings.url else { panic!("{} is not S3", settings.url) };
    S3Wire::connect(settings, location).await.unwrap()
}

/// A store behind an S3 server; pauses between attempts pass at once.
pub(crate) async fn s3_store(settings: &StoreSettings) -> RemoteStore {
    let clock = ManualClock::new("2026-11-21T12:00:00Z".parse().unwrap());
    RemoteStore::new(settings, Box::new(s3_wire(settings).await), Box::new(clock))
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Everything that an operator could see of an error.
pub(crate) fn whole(error: &StoreError) -> String {
    format!("{}\n{:?}\n{error:?}", chain(error), error.advice)
}

/// Everything that is logged in this thread while the value lives, down to the last detail.
pub(crate) struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub(crate) fn of(level: tracing::Level) -> Self {
        // With a single subscriber, an event that another thread is the first to reach would be switched off for all of them.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Writer(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(writer).finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
