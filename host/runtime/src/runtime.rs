//! The runtime: loads and inspects providers.
//!
//! The engine is made when the first component arrives, not before: most commands of the program never load one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use stillframe_core::provider::{ProviderError, ProviderFault};
use wasmtime::Engine;

use crate::capability::CredentialSource;
use crate::component::{Compiled, ComponentBytes};
use crate::inspect::{self, Inspection};
use crate::provider::WasmProvider;
use crate::settings::{ProviderSettings, RuntimeSettings};
use crate::{cache, engine, link, roots};

/// Loads providers into their sandbox. Its futures need a tokio runtime with its timer.
pub struct Runtime {
    settings: RuntimeSettings,
    credentials: Option<Arc<dyn CredentialSource>>,
    engine: Mutex<Option<Engine>>,
}

impl Runtime {
    /// Keeps the settings; starts nothing.
    #[must_use]
    pub fn new(settings: RuntimeSettings) -> Self {
        Self { settings, credentials: None, engine: Mutex::new(None) }
    }

    /// The same with a source of AWS credentials, which is asked when a provider first calls AWS.
    #[must_use]
    pub fn with_credentials(self, source: Arc<dyn CredentialSource>) -> Self {
        Self { credentials: Some(source), ..self }
    }

    /// Loads a provider: its digest, its form, its version, its exports and its imports are checked before any of its code runs.
    pub async fn load(&self, settings: ProviderSettings) -> Result<WasmProvider, ProviderError> {
        let provider = settings.name.clone();
        self.try_load(settings).await.map_err(|fault| ProviderError { provider, operation: "be loaded", fault })
    }

    /// Tells all about a provider, also about one that cannot be loaded. Fails only when there is no component to speak of.
    pub async fn inspect(&self, settings: &ProviderSettings) -> Result<Inspection, ProviderError> {
        let named = |fault| ProviderError { provider: settings.name.clone(), operation: "be inspected", fault };
        let bytes = ComponentBytes::read(&settings.component).map_err(named)?;
        let size_bytes = bytes.bytes.len() as u64;
        let (bytes, compiled) = self.compile(bytes).await.map_err(named)?;
        Ok(inspect::inspection(settings, &bytes, size_bytes, &compiled).await)
    }

    async fn try_load(&self, settings: ProviderSettings) -> Result<WasmProvider, ProviderFault> {
        if let Some(grant) = &settings.grants.tree {
            roots::check_names(grant)?;
        }
        let bytes = ComponentBytes::read(&settings.component)?;
        bytes.check_pin(&settings.component, &settings.name)?;
        let (_, compiled) = self.compile(bytes).await?;
        if let Some(fault) = compiled.survey.faults(&settings.grants).into_iter().next() {
            return Err(fault);
        }
        let operations = link::for_operations(&compiled.component, &compiled.survey.capabilities())?;
        let description = link::for_description(&compiled.component)?;
        Ok(WasmProvider::new(settings, &compiled.survey, operations, description, self.credentials.clone()))
    }

    /// Compiles away from the threads that drive futures: a large component takes seconds.
    async fn compile(&self, bytes: ComponentBytes) -> Result<(ComponentBytes, Compiled), ProviderFault> {
        let engine = self.engine()?;
        let compilation = tokio::task::spawn_blocking(move || {
            let compiled = Compiled::of(bytes.compile(&engine)?);
            Ok((bytes, compiled))
        });
        compilation.await.map_err(|error| ProviderFault::Unusable(format!("its compilation was interrupted: {error}")))?
    }

    fn engine(&self) -> Result<Engine, ProviderFault> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let cache = cache::open(self.settings.cache.as_deref());
        let started =
            engine::start(self.settings.engine, cache.as_ref()).map_err(|error| ProviderFault::Unusable(error.to_string()))?;
        Ok(engine.insert(started).clone())
    }
}

impl fmt::Debug for Runtime {
    /// Without the source of credentials: what it says of itself is not for a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Runtime").field("settings", &self.settings).finish_non_exhaustive()
    }
}
