//! Builds the calling component once per process, and lets it make calls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::{fs, io};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use serde_json::{Value, json};
use stillframe_core::provider::{Provider as _, ProviderError};
use stillframe_runtime::policy::Policy;
use stillframe_runtime::policy::aws::AwsIdentity;
use stillframe_runtime::{ComponentSource, CredentialSource, Limits, ProviderSettings, Runtime, RuntimeSettings, Sha256};
use tokio::sync::OnceCell;

pub(crate) const ACCESS_KEY: &str = "AKIASTILLFRAMETESTKEY";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYSTILLFRAMESECRET";
pub(crate) const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEStillframe/Session+Token==";

/// The component's file. It is built into a target directory of its own, since this process's build may hold the other's lock.
static CALLER: LazyLock<PathBuf> = LazyLock::new(|| {
    let guests = target_directory().join("guests");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2", "-p", "stillframe-guest-caller"])
        .arg("--target-dir")
        .arg(&guests)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the calling component cannot be built: {built}");
    guests.join("wasm32-wasip2/plugin/stillframe_guest_caller.wasm")
});

/// Set once the component's compiled code is in the cache, so that tests in parallel do not each compile it.
static COMPILED: OnceCell<()> = OnceCell::const_new();

fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// A runtime that signs with these keys.
pub(crate) fn runtime(keys: impl ProvideCredentials + 'static) -> Runtime {
    runtime_without_keys().with_credentials(Arc::new(Known(SharedCredentialsProvider::new(keys))))
}

/// A runtime that has none.
pub(crate) fn runtime_without_keys() -> Runtime {
    Runtime::new(RuntimeSettings { cache: Some(target_directory().join("compiled-guests")), ..RuntimeSettings::default() })
}

/// The keys of the tests.
pub(crate) fn keys() -> Credentials {
    Credentials::new(ACCESS_KEY, SECRET_KEY, Some(SESSION_TOKEN.to_owned()), None, "test")
}

/// The provider with this policy and this configuration.
pub(crate) fn settings(policy: &str, config: Value) -> ProviderSettings {
    let Value::Object(config) = config else { panic!("{config}") };
    let path = CALLER.clone();
    let sha256 = Some(Sha256::of(&fs::read(&path).unwrap()));
    ProviderSettings {
        name: "caller".to_owned().try_into().unwrap(),
        component: ComponentSource::File { path, sha256 },
        grants: Policy::parse(policy).unwrap().resolve(&config).unwrap(),
        config,
        limits: Limits { deadline_secs: Some(60), ..Limits::default() },
        command_prefix: Vec::new(),
    }
}

/// Makes the calls with this runtime; tells how each ended.
pub(crate) async fn called(runtime: &Runtime, settings: ProviderSettings) -> Result<Vec<String>, ProviderError> {
    let compile = async || drop(runtime.load(self::settings(NO_GRANTS, json!({}))).await.unwrap());
    COMPILED.get_or_init(compile).await;
    runtime.load(settings).await.unwrap().check().await
}

/// Both capabilities, which the component imports, and nothing that could be done with them.
const NO_GRANTS: &str = "[aws]\nregion = \"eu-west-1\"\nallow = []\n[http]\nallow = []\n";

/// A policy for `ec2` and `fsx` at this endpoint.
pub(crate) fn aws_policy(endpoint: &str) -> String {
    format!(
        "[http]\nallow = []\n[aws]\nregion = [\"eu-west-1\", \"eu-central-1\"]\nendpoint = \"{endpoint}\"\nallow = [\n  \
         \"ec2:Describe*\",\n  \"fsx:CreateSnapshot\",\n  {{ action = \"ec2:CreateTags\", when = {{ \"ResourceId.*\" = \"snap-{{name}}\" \
         }} }},\n]\n"
    )
}

/// A policy for `GET` and `POST` below `/api/`, with a credential in this file.
pub(crate) fn http_policy(url: &str, token: &Path) -> String {
    format!(
        "[aws]\nregion = \"eu-west-1\"\nallow = []\n[http]\nallow = [\"GET {url}/api/\", \"POST {url}/api/\", \"HEAD {url}/api/\"]\n\
         credentials.array = {{ header = \"Authorization\", prefix = \"Bearer \", file = \"{}\" }}\n",
        token.display()
    )
}

/// One call of EC2.
pub(crate) fn query(action: &str) -> Value {
    json!({ "query": { "service": "ec2", "action": action } })
}

/// Makes one call of AWS at this endpoint.
pub(crate) async fn aws_call(endpoint: &str, call: Value) -> String {
    let mut told = called(&runtime(keys()), settings(&aws_policy(endpoint), json!({ "calls": [call] }))).await.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

/// Makes one request to this address, with a credential at hand.
pub(crate) async fn http_call(url: &str, call: Value) -> String {
    let (_place, token) = token();
    let told = called(&runtime_without_keys(), settings(&http_policy(url, &token), json!({ "calls": [{ "http": call }] }))).await;
    let mut told = told.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

/// What the file of [`token`] holds.
pub(crate) const TOKEN: &str = "stillframe-array-token-f00ba4";

/// A file with a credential.
pub(crate) fn token() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("token");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    io::Write::write_all(&mut file, format!("{TOKEN}\n").as_bytes()).unwrap();
    (place, path)
}

/// A source that gives what it was made with.
struct Known(SharedCredentialsProvider);

#[async_trait]
impl CredentialSource for Known {
    async fn open(&self, _: &AwsIdentity, _: &str) -> Result<SharedCredentialsProvider, String> {
        Ok(self.0.clone())
    }
}

/// Counts how often it is asked, and gives other keys each time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counting(Arc<AtomicUsize>);

impl Counting {
    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl ProvideCredentials for Counting {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        future::ProvideCredentials::ready(Ok(Credentials::new(format!("{ACCESS_KEY}{number}"), SECRET_KEY, None, None, "test")))
    }
}

/// Never has any.
#[derive(Debug)]
pub(crate) struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let quoting = io::Error::other(format!("line 3: `{SECRET_KEY}`"));
        future::ProvideCredentials::ready(Err(CredentialsError::invalid_configuration(quoting)))
    }
}
